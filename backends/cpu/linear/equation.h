/* SPDX-License-Identifier: Apache-2.0 */
/* Equations of Einsum: "ab, bc -> ac", "...ij,...jk", "ii". */
#ifndef LT_CPU_LINEAR_EQUATION_H
#define LT_CPU_LINEAR_EQUATION_H

#include "cpu.h"

#define LT_EINSUM_OPERANDS 16
#define LT_EINSUM_LABELS 60 /* 52 letters, then the dimensions of the ellipsis from the last on */

/* Labels of one operand's dimensions, in order. */
typedef struct lt_einsum_term {
    int32_t rank;
    uint8_t label[LEAT_MAX_RANK];
} lt_einsum_term;

typedef struct lt_einsum_equation {
    uint32_t n_terms;
    lt_einsum_term terms[LT_EINSUM_OPERANDS];
    lt_einsum_term out;
    int64_t extent[LT_EINSUM_LABELS];
} lt_einsum_equation;

/* Reads the node's equation against the shapes of its inputs.
 * Errors:   INVALID; UNSUPPORTED for too many operands. */
leat_status lt_einsum_read(const leat_kernel_node *node, lt_einsum_equation *out, leat_error *err);

#endif

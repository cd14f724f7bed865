/* SPDX-License-Identifier: Apache-2.0 */
/* What transposes.c and transposes_region.c share: a Transpose that moves behind a node. */
#ifndef LT_PASSES_TRANSPOSES_H
#define LT_PASSES_TRANSPOSES_H

#include "passes/match.h"

/* What a node is to a Transpose. */
typedef enum lt_passage {
    LT_PASSAGE_NONE,
    LT_PASSAGE_UNARY, /* only input 0 has the data's shape; others are parameters without one */
    LT_PASSAGE_BINARY,
    LT_PASSAGE_CONCAT,
    LT_PASSAGE_AXIS /* as unary, with an attribute `axis` to map */
} lt_passage;

lt_passage lt_passage_of(const lt_graph *graph, const leat_node *node);

typedef struct lt_pusher {
    lt_graph *graph;
    lt_uses uses;
    int64_t perm[LEAT_MAX_RANK]; /* of the Transposes being moved */
    int32_t rank;
} lt_pusher;

/* The permutation of a Transpose of known rank; false for other nodes, and when `perm` is none. */
bool lt_read_perm(const lt_graph *graph, const leat_node *node, int64_t *perm, int32_t *rank);

void lt_invert_perm(const int64_t *perm, int32_t rank, int64_t *out);

/* Whether the value comes from a Transpose with p->perm; *out is what that reads. */
bool lt_behind(const lt_pusher *p, uint32_t value, uint32_t *out);

/* f(T(x)...) -> T(f(x...)): the node is replaced, *out_transpose now makes its result. All its data
 * operands must be behind a Transpose with p->perm, constants, or of one element.
 * Errors:   NO_MEMORY. */
leat_status lt_push_transpose(lt_pusher *p, leat_node *node, leat_node **out_transpose,
                              leat_error *err) LEAT_MUST_CHECK;

#endif

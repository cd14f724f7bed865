/* SPDX-License-Identifier: Apache-2.0 */
/* Single nodes on the host: constant folding, and shape computations when a plan is made. */
#ifndef LT_RUNTIME_EVALUATE_H
#define LT_RUNTIME_EVALUATE_H

#include "runtime/context.h"

/* Computes a node all of whose inputs have data with the CPU backend's kernel. out[i] receives
 * output i, whose shape and bytes are known (NULL for an omitted one).
 * Errors:   UNSUPPORTED when the CPU backend has no kernel; NO_MEMORY; those of the kernel. */
leat_status lt_evaluate_node(leat_context *context, const leat_node *node, const leat_value *values,
                             void *const *out, leat_error *err) LEAT_MUST_CHECK;

/* Whether computing the node once serves for ever: it has no bodies and draws no random numbers. */
bool lt_evaluate_is_pure(const leat_node *node);

/* Whether the node's result is known from the shape of its input alone (Shape, Size). */
bool lt_evaluate_is_shape(const leat_node *node);

/* Result of such a node; false when the dimensions that it asks for are not known. `out` has room
 * for LEAT_MAX_RANK elements. */
bool lt_evaluate_shape(const leat_node *node, const leat_value *input, int64_t *out,
                       size_t *out_count);

#endif

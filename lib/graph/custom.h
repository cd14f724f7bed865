/* SPDX-License-Identifier: Apache-2.0 */
/* The operators of the application, as a graph knows them. */
#ifndef LT_GRAPH_CUSTOM_H
#define LT_GRAPH_CUSTOM_H

#include "graph/infer.h"

#include <leat/operator.h>

/* Never changes and never moves once it is in the list; lives as long as the context. */
typedef struct lt_custom_op {
    struct lt_custom_op *next;
    leat_op_desc desc; /* strings are copies */
    leat_op_row row;   /* for the CPU device */
} lt_custom_op;

/* Grows at the head. Threads: any may read while one that holds the context's lock adds. */
typedef struct lt_custom_ops {
    _Atomic(lt_custom_op *) first;
} lt_custom_ops;

/* NULL when there is none, or `ops` is NULL. */
const lt_custom_op *lt_custom_find(const lt_custom_ops *ops, const leat_node *node);

/* Infers a node as lt_infer_node does. */
leat_status lt_custom_infer(lt_infer *infer, const lt_custom_op *op,
                            leat_error *err) LEAT_MUST_CHECK;

/* Fills what shape functions see; node->n_inputs is within LEAT_OP_MAX_VALUES. */
void lt_custom_inputs(const leat_node *node, const leat_value *values, leat_op_value *out);

/* A status that a callback returned, with the operator's name in the message. */
leat_status lt_custom_failed(const lt_custom_op *op, leat_status status, leat_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Type and shape inference.
 *
 * The same functions serve twice. At load, over the graph's own values: dimensions may be symbolic,
 * and what cannot be known becomes a fresh symbol or rank -1. At plan time, over a copy of the
 * values with concrete input shapes: every output becomes concrete, or infer->needs names the value
 * whose data decides the shape and is not known yet.
 */
#ifndef LT_GRAPH_INFER_H
#define LT_GRAPH_INFER_H

#include "graph/graph.h"

typedef struct lt_infer {
    lt_graph *graph;    /* for symbols; not changed otherwise. */
    leat_value *values; /* indexed as graph->values; read for inputs, written for outputs */
    bool concrete;      /* plan time: input shapes are known */
    uint32_t needs;     /* out: value whose data is needed; LEAT_NO_VALUE when none is */
    const leat_node *node;
    const struct lt_op *op; /* the node's entry, where the caller keeps it; NULL: looked up */
} lt_infer;
/* The values of bodies (If, Loop, Scan) are inferred with their node, at load only: in a run the
 * runtime carries such nodes out and sees. */

typedef leat_status (*lt_infer_fn)(lt_infer *infer, leat_error *err);

/* One operator that leat knows; see ops.def. */
typedef struct lt_op {
    const char *domain;
    const char *name;
    uint32_t name_bytes;
    int32_t since; /* first opset with this signature */
    int32_t min_inputs;
    int32_t max_inputs; /* -1: any number */
    int32_t min_outputs;
    int32_t max_outputs; /* -1: any number */
    lt_infer_fn infer;
} lt_op;

/* The operator's entry for an opset version; NULL when leat does not know it. */
const lt_op *lt_op_find(const char *domain, const char *name, int64_t opset);

/* Infers dtype, rank, shape and bytes of the node's outputs from its inputs and attributes.
 * Errors:   UNSUPPORTED for an unknown operator; INVALID for inputs that do not fit together, a
 *           missing input or an attribute out of range, naming the node. */
leat_status lt_infer_node(lt_infer *infer, const leat_node *node, leat_error *err) LEAT_MUST_CHECK;

/* Infers the whole graph at load. An operator that leat does not know is an error only when
 * strict; otherwise its outputs keep what the file declares. */
leat_status lt_infer_graph(lt_graph *graph, bool strict, leat_error *err) LEAT_MUST_CHECK;

/* False when a node, also in a body, has an operator that leat knows, but not in that version: it
 * was not inferred, so that its inputs, attributes and types are not known to be valid. */
bool lt_versions_known(const lt_graph *graph);

#endif

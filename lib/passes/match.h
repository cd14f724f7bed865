/* SPDX-License-Identifier: Apache-2.0 */
/* What several passes look for and do. */
#ifndef LT_PASSES_MATCH_H
#define LT_PASSES_MATCH_H

#include "base/error.h"
#include "base/tensor.h"
#include "graph/infer.h"
#include "passes/passes.h"

/* A node of ai.onnx, or of leat's own domain, with that operator. */
bool lt_is_op(const leat_node *node, const char *op);
/* Only of ai.onnx. */
bool lt_is_onnx(const leat_node *node, const char *op);

/* Input or output i; LEAT_NO_VALUE when it is not there. */
uint32_t lt_input_of(const leat_node *node, uint32_t i);
uint32_t lt_output_of(const leat_node *node, uint32_t i);

/* The one node that reads the value, when exactly one does, once, and nothing else needs it. */
leat_node *lt_only_reader(const lt_uses *uses, uint32_t value);

/* Whether the value is a constant of one element, F64, F32, F16 or BF16; *out is that number. */
bool lt_constant_float(const lt_graph *graph, uint32_t value, double *out);

/* Position of a node in the order; n_nodes when it is not there. */
uint32_t lt_position(const lt_graph *graph, const leat_node *node);

/* Adds a Transpose of `from` by perm[rank of it], before `before`, that makes the value `to`.
 * out_node may be NULL. Errors:   NO_MEMORY. */
leat_status lt_add_transpose(lt_graph *graph, uint32_t from, const int64_t *perm, uint32_t to,
                             const leat_node *before, leat_node **out_node,
                             leat_error *err) LEAT_MUST_CHECK;

/* Makes node `from`'s copy with other inputs, output, domain and attributes added, at the position
 * of `at`. attrs may be NULL. Errors:   NO_MEMORY. */
typedef struct lt_rewrite {
    const leat_node *from;
    const leat_node *at;
    const char *domain;
    const uint32_t *inputs;
    uint32_t n_inputs;
    uint32_t output;
    const leat_attr *attrs;
    uint32_t n_attrs;
} lt_rewrite;
leat_status lt_rewrite_node(lt_graph *graph, const lt_rewrite *rewrite, leat_node **out_node,
                            leat_error *err) LEAT_MUST_CHECK;

/* Whether the target runs a node that a pass made; one that it does not is removed. */
bool lt_keep_supported(lt_graph *graph, const lt_pass_context *context, leat_node *made);
/* The same for a node that does what these two do: then they are removed. */
bool lt_keep_for_two(lt_graph *graph, const lt_pass_context *context, leat_node *made,
                     const leat_node *first, const leat_node *second);

/* A fresh value of a type and shape; name NULL: made unique. */
leat_status lt_new_value(lt_graph *graph, leat_dtype dtype, int32_t rank, const int64_t *shape,
                         uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;

/* Whether two values have one known rank and the same dimensions (equal symbols count). */
bool lt_same_shape(const lt_graph *graph, uint32_t a, uint32_t b);

/* Runs fn with a scratch arena that is freed afterwards, once per graph: the bodies of control flow
 * first. */
typedef leat_status (*lt_graph_pass_fn)(lt_graph *graph, const lt_pass_context *context,
                                        lt_arena *scratch, bool *out_changed, leat_error *err);
leat_status lt_run_on_graphs(lt_graph *graph, const lt_pass_context *context, lt_graph_pass_fn fn,
                             bool *out_changed, leat_error *err) LEAT_MUST_CHECK;
/* The same for the outermost graph alone. */
leat_status lt_run_on_graph(lt_graph *graph, const lt_pass_context *context, lt_graph_pass_fn fn,
                            bool *out_changed, leat_error *err) LEAT_MUST_CHECK;

/* Makes at most one change, looking from node *at on, and leaves *at there: at the node changed, or
 * at the one behind, or, when nothing changed, at the end. */
typedef leat_status (*lt_graph_step_fn)(lt_graph *graph, lt_arena *scratch, uint32_t *at,
                                        bool *out_changed, leat_error *err);

/* Runs a step until it has passed all nodes; after each change it goes on `back` nodes before (at
 * most to the first). Every call gets scratch of its own, so that uses can be built anew. */
leat_status lt_run_steps(lt_graph *graph, lt_graph_step_fn step, uint32_t back, bool *out_changed,
                         leat_error *err);

#endif

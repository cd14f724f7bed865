/* SPDX-License-Identifier: Apache-2.0 */
/* Rewrites of the graph, one a file. A pass leaves the graph valid (lt_graph_check), sorted, and
 * with shapes inferred for the values that it makes. It changes nothing that the model's user can
 * see: names, types and results of the graph's inputs and outputs stay. */
#ifndef LT_PASSES_PASSES_H
#define LT_PASSES_PASSES_H

#include "graph/graph.h"

/* What a pass may ask of the runtime. */
typedef struct lt_pass_context {
    void *user;
    /* Computes a node all of whose inputs have data (values[...].data). The outputs' dtype, shape
     * and bytes are inferred already; out[i] receives output i's bytes (NULL for an omitted one).
     * Errors: UNSUPPORTED when the host has no kernel: the node then stays. */
    leat_status (*evaluate)(void *user, const leat_node *node, const leat_value *values,
                            void *const *out, leat_error *err);
    /* Whether the session's devices run this node as it is, and the layout that they wish for it.
     * NULL before devices are known: then no node of the domain "leat" may be made. */
    bool (*supports)(void *user, const lt_graph *graph, const leat_node *node,
                     leat_layout *out_layout);
    /* What the session asked for; NULL before a session is there. */
    const leat_plan_options *options;
} lt_pass_context;

/* *out_changed (never NULL) is set to true when the graph was changed, else left alone.
 * Errors:   NO_MEMORY; INTERNAL. */
typedef leat_status (*lt_pass_fn)(lt_graph *graph, const lt_pass_context *context,
                                  bool *out_changed, leat_error *err);

/* Passes that hold for every device; run once at load. */
leat_status lt_pass_remove_dead(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_remove_identity(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fold_constants(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fold_shapes(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_captures(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_inline_if(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fold_affine(lt_graph *, const lt_pass_context *, bool *, leat_error *);

/* Operators of com.microsoft become standard ones; run when a session is created, optimized or not,
 * so that the model keeps what was written. Of the context it uses `supports`, which may be NULL.
 */
bool lt_contrib_knows(const char *domain, const char *op); /* whether it expands the operator */
leat_status lt_pass_expand_contrib(lt_graph *, const lt_pass_context *, bool *, leat_error *);

/* Passes that need `supports`; run when a session is created. */
leat_status lt_pass_count_first(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_matmul_add(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_attention(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_qkv(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_layernorm(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_gelu(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_hardswish(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_activation(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_residual(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_qdq(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_dynamic_quantize(lt_graph *, const lt_pass_context *, bool *,
                                          leat_error *);
leat_status lt_pass_fuse_smooth(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_nbits(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_qdq_residual(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_qdq_mean(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_quantize(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_qdq_move(lt_graph *, const lt_pass_context *, bool *, leat_error *);
/* What is left of DequantizeLinear of constants becomes a constant. */
leat_status lt_pass_fold_dequantize(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_layout(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_transposes(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_transposes_region(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_conv_pair(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_product_norm(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_fuse_depthwise(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_quantize_image(lt_graph *, const lt_pass_context *, bool *, leat_error *);
leat_status lt_pass_precision(lt_graph *, const lt_pass_context *, bool *, leat_error *);

/* All passes of a stage in their order, repeated until nothing changes (bounded). None runs on a
 * graph with a node of an unknown version: passes rely on what inference has checked.
 * Errors:   as the passes. */
leat_status lt_passes_run_load(lt_graph *graph, const lt_pass_context *context,
                               leat_error *err) LEAT_MUST_CHECK;
leat_status lt_passes_run_device(lt_graph *graph, const lt_pass_context *context,
                                 leat_error *err) LEAT_MUST_CHECK;

#endif

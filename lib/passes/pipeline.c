/* SPDX-License-Identifier: Apache-2.0 */
/* The order of passes. */
#include "graph/infer.h"
#include "passes/passes.h"

#define MOST_ROUNDS 8

static leat_status run_round(lt_graph *graph, const lt_pass_context *context,
                             const lt_pass_fn *passes, size_t count, bool *out_changed,
                             leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        status = passes[i](graph, context, out_changed, err);
    }
    return status;
}

/* Until nothing changes; every round makes the graph smaller or moves transposes on, so that the
 * bound is only reached by graphs built to reach it. */
static leat_status run_rounds(lt_graph *graph, const lt_pass_context *context,
                              const lt_pass_fn *passes, size_t count, leat_error *err)
{
    leat_status status = LEAT_OK;
    bool changed = true;
    for (int round = 0; round < MOST_ROUNDS && changed && status == LEAT_OK; round++) {
        changed = false;
        status = run_round(graph, context, passes, count, &changed, err);
    }
    return status;
}

leat_status lt_passes_run_load(lt_graph *graph, const lt_pass_context *context, leat_error *err)
{
    static const lt_pass_fn passes[] = {
        lt_pass_remove_identity, lt_pass_fold_constants, lt_pass_captures,   lt_pass_inline_if,
        lt_pass_fold_shapes,     lt_pass_fold_affine,    lt_pass_remove_dead};
    if (!lt_versions_known(graph)) {
        return LEAT_OK;
    }
    return run_rounds(graph, context, passes, sizeof(passes) / sizeof(passes[0]), err);
}

static leat_status run_device(lt_graph *graph, const lt_pass_context *context, leat_error *err)
{
    static const lt_pass_fn fusions[] = {lt_pass_count_first,       lt_pass_fuse_dynamic_quantize,
                                         lt_pass_fuse_nbits,        lt_pass_fuse_qdq,
                                         lt_pass_qdq_move,          lt_pass_fuse_quantize,
                                         lt_pass_fuse_qdq_residual, lt_pass_fuse_qdq_mean,
                                         lt_pass_fuse_smooth,       lt_pass_fuse_attention,
                                         lt_pass_remove_dead,       lt_pass_fuse_gelu,
                                         lt_pass_fuse_hardswish,    lt_pass_matmul_add,
                                         lt_pass_fuse_qkv,          lt_pass_fuse_residual,
                                         lt_pass_fuse_activation,   lt_pass_fuse_quantize};
    static const lt_pass_fn layout[] = {lt_pass_fold_dequantize, lt_pass_layout,
                                        lt_pass_transposes_region};
    static const lt_pass_fn clean[] = {lt_pass_transposes, lt_pass_fold_constants, lt_pass_captures,
                                       lt_pass_remove_dead};
    bool normalised = false; /* nothing that the fusions do makes such formulas */
    leat_status status = lt_pass_fuse_layernorm(graph, context, &normalised, err);
    if (status == LEAT_OK) {
        status = run_rounds(graph, context, fusions, sizeof(fusions) / sizeof(fusions[0]), err);
    }
    if (status == LEAT_OK) {
        bool changed = false;
        status =
            run_round(graph, context, layout, sizeof(layout) / sizeof(layout[0]), &changed, err);
    }
    if (status == LEAT_OK) {
        status = run_rounds(graph, context, clean, sizeof(clean) / sizeof(clean[0]), err);
    }
    bool changed = false;
    if (status == LEAT_OK) {
        status = lt_pass_precision(graph, context, &changed, err);
    }
    if (status == LEAT_OK) {
        status = lt_pass_quantize_image(graph, context, &changed, err);
    }
    if (status == LEAT_OK) {
        status = lt_pass_fuse_conv_pair(graph, context, &changed, err);
    }
    if (status == LEAT_OK) {
        status = lt_pass_fuse_product_norm(graph, context, &changed, err);
    }
    return status != LEAT_OK ? status : lt_pass_fuse_depthwise(graph, context, &changed, err);
}

/* The graph, then the bodies in it: constants that were folded outside are known inside by then. */
static leat_status run_device_on_all(lt_graph *graph, const lt_pass_context *context,
                                     leat_error *err)
{
    leat_status status = run_device(graph, context, err);
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        for (uint32_t a = 0; a < node->n_attrs && status == LEAT_OK; a++) {
            if (node->attrs[a].type == LEAT_ATTR_GRAPH) {
                status = run_device_on_all((lt_graph *)node->attrs[a].u.graph, context, err);
            }
        }
    }
    return status;
}

leat_status lt_passes_run_device(lt_graph *graph, const lt_pass_context *context, leat_error *err)
{
    return lt_versions_known(graph) ? run_device_on_all(graph, context, err) : LEAT_OK;
}

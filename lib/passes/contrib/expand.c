/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and expanding the operators of contrib.h. */
#include "base/error.h"
#include "passes/contrib/contrib.h"

#include <string.h>

static const lt_contrib_op *const families[] = {lt_contrib_products, lt_contrib_norms,
                                                lt_contrib_attention, lt_contrib_quantized,
                                                lt_contrib_decoder};

/* ONNX Runtime writes SimplifiedLayerNormalization into ai.onnx, which has no such operator. */
static bool is_contrib(const leat_node *node)
{
    return strcmp(node->domain, "com.microsoft") == 0 ||
           lt_is_onnx(node, "SimplifiedLayerNormalization");
}

static lt_contrib_fn find_in(const lt_contrib_op *family, const leat_node *node)
{
    for (const lt_contrib_op *op = family; op->op != NULL; op++) {
        if (strcmp(op->op, node->op) == 0) {
            return op->expand;
        }
    }
    return NULL;
}

static lt_contrib_fn find(const lt_graph *graph, const leat_node *node)
{
    lt_contrib_fn found = NULL;
    if (lt_contrib_is_formula(graph, node)) {
        return find_in(lt_contrib_formulas, node);
    }
    if (node->domain[0] == '\0' && node->opset < 10) {
        found = find_in(lt_contrib_removed, node);
        found = found == NULL && node->opset < 7 ? find_in(lt_contrib_older, node) : found;
    }
    for (size_t f = 0;
         is_contrib(node) && found == NULL && f < sizeof(families) / sizeof(families[0]); f++) {
        found = find_in(families[f], node);
    }
    return found;
}

bool lt_contrib_knows(const char *domain, const char *op)
{
    const leat_node probe = {.op = op, .domain = domain, .opset = 1};
    return find(NULL, &probe) != NULL;
}

/* Values behind an expanded node were not inferred before. */
static leat_status infer(lt_graph *graph, const leat_node *node, leat_error *err)
{
    lt_infer state = {.graph = graph, .values = graph->values};
    leat_status status = lt_infer_node(&state, node, err);
    if (status == LEAT_UNSUPPORTED) {
        lt_error_clear(err);
        status = LEAT_OK;
    }
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    bool any = false;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        lt_contrib_fn expand = find(graph, graph->nodes[i]);
        if (expand == NULL) {
            status = any ? infer(graph, graph->nodes[i], err) : LEAT_OK;
            continue;
        }
        lt_contrib c = {.graph = graph,
                        .node = graph->nodes[i],
                        .context = context,
                        .scratch = scratch,
                        .at = i,
                        .target = LEAT_NO_VALUE,
                        .err = err};
        expand(&c);
        lt_contrib_infer(&c);
        status = c.status;
        if (status == LEAT_OK) {
            lt_graph_remove_node(graph, c.node);
            i = c.at - 1;
            any = *out_changed = true;
        }
    }
    return status;
}

leat_status lt_pass_expand_contrib(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

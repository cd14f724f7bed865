/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that only move or select elements work on bytes:
 *
 *     f(DequantizeLinear(x)...)               -> DequantizeLinear(f(x...))   equal scales
 *     QuantizeLinear(DequantizeLinear(x))     -> x                          equal scales
 *
 * f is MaxPool, Reshape, Transpose, Concat and the like. */
#include "passes/qdq.h"

static bool may_move(const leat_node *node)
{
    static const char *const ops[] = {"MaxPool", "GlobalMaxPool", "Reshape",      "Transpose",
                                      "Flatten", "Squeeze",       "Unsqueeze",    "Concat",
                                      "Slice",   "Identity",      "DepthToSpace", "SpaceToDepth",
                                      "Expand",  "Tile",          "Gather",       "Split"};
    if (node->domain[0] != '\0' || node->n_outputs != 1 || node->n_inputs == 0 ||
        node->outputs[0] == LEAT_NO_VALUE) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(node->op, ops[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A DequantizeLinear of `from` behind `at`, to the value `to`. */
static leat_status add_dequantize(lt_graph *graph, const lt_quantized *from, uint32_t to,
                                  const leat_node *at, leat_error *err)
{
    uint32_t inputs[3] = {from->value, from->scale, from->zero};
    lt_node_desc desc = {.op = "DequantizeLinear",
                         .domain = "",
                         .name = "",
                         .inputs = inputs,
                         .n_inputs = from->zero == LEAT_NO_VALUE ? 2 : 3,
                         .outputs = &to,
                         .n_outputs = 1};
    return lt_graph_add_node(graph, &desc, lt_position(graph, at) + 1, NULL, err);
}

/* The quantized operands of the node, all on one grid. */
static bool read_operands(const lt_graph *graph, const lt_uses *uses, const leat_node *node,
                          lt_quantized *first, uint32_t *inputs)
{
    uint32_t data = strcmp(node->op, "Concat") == 0 ? node->n_inputs : 1;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        lt_quantized x;
        inputs[i] = node->inputs[i];
        if (i >= data) {
            continue;
        }
        if (!lt_qdq_dequantized(graph, uses, node->inputs[i], &x) ||
            graph->values[x.value].data != NULL) {
            return false;
        }
        *first = i == 0 ? x : *first;
        if (!lt_qdq_same_grid(graph, first, &x)) {
            return false;
        }
        inputs[i] = x.value;
    }
    return true;
}

static leat_status sink(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    lt_quantized x;
    leat_node *made;
    if (!may_move(node)) {
        return LEAT_OK;
    }
    uint32_t *inputs = lt_arena_array(lt_graph_arena(graph), node->n_inputs, sizeof(*inputs));
    if (inputs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "moving nodes to bytes: out of memory");
    }
    if (!read_operands(graph, uses, node, &x, inputs)) {
        return LEAT_OK;
    }
    leat_value y = graph->values[node->outputs[0]];
    uint32_t value, out = node->outputs[0];
    leat_status status =
        lt_new_value(graph, graph->values[x.value].dtype, y.rank, y.shape, &value, err);
    lt_rewrite r = {.from = node,
                    .at = node,
                    .domain = "",
                    .inputs = inputs,
                    .n_inputs = node->n_inputs,
                    .output = value};
    if (status == LEAT_OK) {
        status = lt_rewrite_node(graph, &r, &made, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    made->opset = node->opset;
    if (!lt_keep_supported(graph, context, made)) {
        return LEAT_OK;
    }
    x.value = value;
    status = add_dequantize(graph, &x, out, node, err);
    lt_graph_remove_node(graph, node);
    *out_changed = true;
    return status;
}

static leat_status cancel(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                          leat_node *node, bool *out_changed, leat_error *err)
{
    lt_quantized x, y;
    (void)context;
    (void)err;
    if (!lt_qdq_quantizes(graph, node, &y) ||
        !lt_qdq_dequantized(graph, uses, node->inputs[0], &x) || !lt_qdq_same_grid(graph, &x, &y) ||
        uses->is_output[y.value] || graph->values[x.value].data != NULL) {
        return LEAT_OK;
    }
    lt_graph_replace_uses(graph, y.value, x.value);
    lt_graph_remove_node(graph, node);
    *out_changed = true;
    return LEAT_OK;
}

leat_status lt_pass_qdq_move(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                             leat_error *err)
{
    if (context->supports == NULL) {
        return LEAT_OK;
    }
    leat_status status = lt_qdq_run(graph, context, sink, out_changed, err);
    return status != LEAT_OK ? status : lt_qdq_run(graph, context, cancel, out_changed, err);
}

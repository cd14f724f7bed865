/* SPDX-License-Identifier: Apache-2.0 */
/* A mean of quantized pixels sums bytes:
 *
 *     DequantizeLinear -> GlobalAveragePool        to leat's QGlobalAveragePool in f32
 *     that -> QuantizeLinear                       its result in bytes */
#include "passes/qdq.h"

/* A node from x and, where `y` is not NULL, to its grid. */
static leat_status make(lt_graph *graph, const lt_pass_context *context, const lt_quantized *x,
                        const lt_quantized *y, const leat_node *at, uint32_t output, bool *out_made,
                        leat_error *err)
{
    const uint32_t inputs[5] = {x->value, x->scale, x->zero, y ? y->scale : LEAT_NO_VALUE,
                                y ? y->zero : LEAT_NO_VALUE};
    uint32_t n = 5;
    leat_node *made;
    while (inputs[n - 1] == LEAT_NO_VALUE) {
        n--;
    }
    const lt_node_desc desc = {.op = "QGlobalAveragePool",
                               .domain = "leat",
                               .name = at->name,
                               .inputs = inputs,
                               .n_inputs = n,
                               .outputs = &output,
                               .n_outputs = 1};
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, at), &made, err);
    *out_made = status == LEAT_OK && lt_keep_supported(graph, context, made);
    return status;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    const bool open = strcmp(node->domain, "leat") == 0 &&
                      strcmp(node->op, "QGlobalAveragePool") == 0 && node->n_inputs <= 3 &&
                      leat_node_int(node, "channels_last", 0) == 0;
    lt_quantized x, y;
    bool made = false;
    leat_status status = LEAT_OK;
    if (open) {
        leat_node *reader = lt_only_reader(uses, node->outputs[0]);
        if (reader == NULL || !lt_qdq_quantizes(graph, reader, &y)) {
            return LEAT_OK;
        }
        x = (lt_quantized){node->inputs[0], node->inputs[1], lt_input_of(node, 2)};
        status = make(graph, context, &x, &y, reader, y.value, &made, err);
        if (made) {
            lt_graph_remove_node(graph, reader);
        }
    } else if (lt_is_onnx(node, "GlobalAveragePool") &&
               lt_qdq_dequantized(graph, uses, lt_input_of(node, 0), &x) &&
               graph->values[x.value].data == NULL) {
        status = make(graph, context, &x, NULL, node, node->outputs[0], &made, err);
    }
    if (made) {
        lt_graph_remove_node(graph, node);
        *out_changed = true;
    }
    return status;
}

leat_status lt_pass_fuse_qdq_mean(lt_graph *graph, const lt_pass_context *context,
                                  bool *out_changed, leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Dynamically quantized products, as ONNX Runtime's quantize_dynamic writes them:
 *
 *     MatMulInteger or ConvInteger(x, w, x_zero, w_zero) -> Cast to f32 -> Mul(., x_scale *
 * w_scale)
 *
 * to leat's QMatMul or QConv with an f32 result; w_scale is one number or one a channel. x, x_scale
 * and x_zero come from DynamicQuantizeLinear, which stays: several products share it. A bias, a
 * residual and an activation behind follow as for other quantized products. */
#include "passes/qdq.h"

/* The node that reads the value alone, when it is of that operator. */
static leat_node *next(const lt_uses *uses, const leat_node *node, const char *op)
{
    leat_node *reader = lt_only_reader(uses, node->outputs[0]);
    return reader != NULL && lt_is_onnx(reader, op) ? reader : NULL;
}

static bool is_one(const leat_value *v)
{
    size_t count;
    return v->rank >= 0 && lt_shape_count(v->rank, v->shape, &count) && count == 1;
}

/* Whether the scale of data is one number and that of weights a constant: one number, or `n` of
 * them along the last (MatMul) or the second (Conv, others 1) dimension. */
static bool read_scales(const lt_graph *graph, const lt_uses *uses, uint32_t product, int64_t n,
                        uint32_t inputs[LT_Q_INPUTS])
{
    const leat_node *mul = uses->producer[product];
    if (mul == NULL || !lt_is_onnx(mul, "Mul")) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        const leat_value *x = &graph->values[mul->inputs[i]];
        const leat_value *w = &graph->values[mul->inputs[1 - i]];
        size_t count;
        if (w->data == NULL || x->data != NULL || w->dtype != LEAT_DTYPE_F32 || !is_one(x) ||
            x->dtype != LEAT_DTYPE_F32 || !lt_shape_count(w->rank, w->shape, &count) ||
            (count != 1 && count != (size_t)n)) {
            continue;
        }
        inputs[LT_Q_X_SCALE] = mul->inputs[i];
        inputs[LT_Q_W_SCALE] = mul->inputs[1 - i];
        return true;
    }
    return false;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    bool conv = lt_is_onnx(node, "ConvInteger");
    if (!conv && !lt_is_onnx(node, "MatMulInteger")) {
        return LEAT_OK;
    }
    const leat_value w = graph->values[node->inputs[1]];
    leat_node *cast = next(uses, node, "Cast");
    leat_node *mul = cast ? next(uses, cast, "Mul") : NULL;
    if (mul == NULL || leat_node_int(cast, "to", 0) != LEAT_DTYPE_F32 || w.data == NULL ||
        (conv ? w.rank < 3 : w.rank != 2)) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < LT_Q_INPUTS; i++) {
        inputs[i] = LEAT_NO_VALUE;
    }
    uint32_t scales = mul->inputs[mul->inputs[0] == cast->outputs[0]];
    int64_t n = w.shape[conv ? 0 : 1];
    size_t count;
    if (!read_scales(graph, uses, scales, n, inputs)) {
        return LEAT_OK;
    }
    const leat_value *w_scale = &graph->values[inputs[LT_Q_W_SCALE]];
    if (!lt_shape_count(w_scale->rank, w_scale->shape, &count) ||
        (count != 1 && !conv && w_scale->rank != 1) ||
        !lt_same_shape(graph, mul->outputs[0], node->outputs[0])) {
        return LEAT_OK;
    }
    if (count != 1 && conv) { /* along the channels, or along something else of that size */
        leat_status status =
            lt_qdq_channel_row(graph, inputs[LT_Q_W_SCALE], n, w.rank, &inputs[LT_Q_W_SCALE], err);
        if (status != LEAT_OK || inputs[LT_Q_W_SCALE] == LEAT_NO_VALUE) {
            return status;
        }
    }
    inputs[LT_Q_X] = node->inputs[0];
    inputs[LT_Q_W] = node->inputs[1];
    inputs[LT_Q_X_ZERO] = lt_input_of(node, 2);
    inputs[LT_Q_W_ZERO] = lt_input_of(node, 3);
    lt_qdq_desc desc = {.from = node,
                        .at = mul,
                        .op = conv ? "QConv" : "QMatMul",
                        .inputs = inputs,
                        .output = mul->outputs[0]};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){node, cast, mul}, out_changed,
                          err);
}

leat_status lt_pass_fuse_dynamic_quantize(lt_graph *graph, const lt_pass_context *context,
                                          bool *out_changed, leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

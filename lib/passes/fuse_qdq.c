/* SPDX-License-Identifier: Apache-2.0 */
/* Quantize-dequantize graphs to integer products:
 *
 *     DequantizeLinear(x), DequantizeLinear(w) -> Conv, Gemm or MatMul     to QConv, QMatMul in f32
 *     the same -> Add of a constant row                                   its bias
 *     the same -> QuantizeLinear                                          its result in bytes
 *
 * Weights are constants, with one scale or one for each output channel; data has one scale. A bias
 * that was quantized with the product of the two scales, as quantizers do, stays an integer. */
#include "passes/qdq.h"

#include <math.h>

/* --- products -----------------------------------------------------------------------------------
 */

/* Output channels of the weights of a Conv, Gemm or MatMul lie along this axis. */
static int32_t channel_axis(const leat_node *node)
{
    bool first = lt_is_onnx(node, "Conv") || leat_node_int(node, "transB", 0) != 0;
    return first ? 0 : 1;
}

/* Constant weights of bytes behind DequantizeLinear, one scale or one a channel. */
static bool read_weights(const lt_graph *graph, const lt_uses *uses, const leat_node *node,
                         uint32_t inputs[LT_Q_INPUTS])
{
    const leat_node *dq = uses->producer[node->inputs[1]];
    size_t scales;
    if (dq == NULL || !lt_is_onnx(dq, "DequantizeLinear") || dq->inputs[0] == LEAT_NO_VALUE ||
        dq->inputs[1] == LEAT_NO_VALUE || leat_node_int(dq, "block_size", 0) != 0) {
        return false;
    }
    const leat_value *w = &graph->values[dq->inputs[0]], *scale = &graph->values[dq->inputs[1]];
    uint32_t zero = lt_input_of(dq, 2);
    bool bytes = w->dtype == LEAT_DTYPE_U8 || w->dtype == LEAT_DTYPE_I8;
    bool conv = lt_is_onnx(node, "Conv");
    if (!bytes || w->data == NULL || scale->data == NULL || scale->dtype != LEAT_DTYPE_F32 ||
        (zero != LEAT_NO_VALUE && graph->values[zero].data == NULL) ||
        (conv ? w->rank < 3 : w->rank != 2) ||
        !lt_shape_count(scale->rank, scale->shape, &scales)) {
        return false;
    }
    int64_t axis = leat_node_int(dq, "axis", 1);
    axis += axis < 0 ? w->rank : 0;
    int32_t wanted = channel_axis(node);
    if (scales != 1 && (axis != wanted || scales != (size_t)w->shape[wanted])) {
        return false;
    }
    inputs[LT_Q_W] = dq->inputs[0];
    inputs[LT_Q_W_SCALE] = dq->inputs[1];
    inputs[LT_Q_W_ZERO] = zero;
    return true;
}

/* Whether each scale of the bias is the product of the other two, and its zero points are 0. */
static bool bias_on_grid(const lt_graph *graph, const leat_node *dq, const uint32_t *inputs)
{
    const leat_value *bias = &graph->values[dq->inputs[0]];
    const leat_value *scale = &graph->values[dq->inputs[1]];
    const leat_value *w_scale = &graph->values[inputs[LT_Q_W_SCALE]];
    uint32_t zero = lt_input_of(dq, 2);
    size_t n = (size_t)bias->shape[0], scales = scale->bytes / sizeof(float);
    size_t w_scales = w_scale->bytes / sizeof(float);
    float x_scale, own, weight;
    memcpy(&x_scale, graph->values[inputs[LT_Q_X_SCALE]].data, sizeof(x_scale));
    for (size_t i = 0; i < n; i++) {
        memcpy(&own, (const float *)scale->data + (scales == 1 ? 0 : i), sizeof(own));
        memcpy(&weight, (const float *)w_scale->data + (w_scales == 1 ? 0 : i), sizeof(weight));
        float wanted = x_scale * weight;
        if (!(fabsf(own - wanted) <= 1e-5f * fabsf(wanted))) {
            return false;
        }
    }
    for (size_t i = 0; zero != LEAT_NO_VALUE && i < graph->values[zero].bytes; i++) {
        if (((const uint8_t *)graph->values[zero].data)[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The bias: none, a constant of f32, or DequantizeLinear of one of i32. False when it is neither.
 */
static bool read_bias(const lt_graph *graph, const lt_uses *uses, const leat_node *node,
                      uint32_t inputs[LT_Q_INPUTS])
{
    uint32_t bias = lt_input_of(node, 2);
    if (bias == LEAT_NO_VALUE) {
        return true;
    }
    const leat_value *w = &graph->values[inputs[LT_Q_W]];
    int64_t n = w->shape[channel_axis(node)];
    leat_value value = graph->values[bias];
    const leat_node *dq = uses->producer[bias];
    if (value.rank != 1 || value.shape[0] != n) {
        return false;
    }
    inputs[LT_Q_BIAS] = bias;
    if (dq == NULL) {
        return value.data != NULL && value.dtype == LEAT_DTYPE_F32;
    }
    if (!lt_is_onnx(dq, "DequantizeLinear") || dq->inputs[0] == LEAT_NO_VALUE ||
        dq->inputs[1] == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *raw = &graph->values[dq->inputs[0]];
    const leat_value *scale = &graph->values[dq->inputs[1]];
    uint32_t zero = lt_input_of(dq, 2);
    size_t scales = scale->bytes / sizeof(float);
    inputs[LT_Q_BIAS] = dq->inputs[0];
    return raw->data != NULL && raw->dtype == LEAT_DTYPE_I32 && scale->data != NULL &&
           scale->dtype == LEAT_DTYPE_F32 && (scales == 1 || scales == (size_t)n) &&
           (zero == LEAT_NO_VALUE || graph->values[zero].data != NULL) &&
           bias_on_grid(graph, dq, inputs);
}

static bool is_product(const leat_node *node)
{
    if (node->domain[0] != '\0' || node->n_outputs != 1 || node->n_inputs < 2 ||
        node->inputs[0] == LEAT_NO_VALUE || node->inputs[1] == LEAT_NO_VALUE) {
        return false;
    }
    if (strcmp(node->op, "Gemm") == 0) {
        return leat_node_float(node, "alpha", 1) == 1.0f &&
               leat_node_float(node, "beta", 1) == 1.0f && leat_node_int(node, "transA", 0) == 0;
    }
    return strcmp(node->op, "Conv") == 0 || strcmp(node->op, "MatMul") == 0;
}

static leat_status fuse_product(lt_graph *graph, const lt_pass_context *context,
                                const lt_uses *uses, leat_node *node, bool *out_changed,
                                leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    lt_quantized x;
    for (uint32_t i = 0; i < LT_Q_INPUTS; i++) {
        inputs[i] = LEAT_NO_VALUE;
    }
    if (!is_product(node) || !lt_qdq_dequantized(graph, uses, node->inputs[0], &x)) {
        return LEAT_OK;
    }
    inputs[LT_Q_X] = x.value;
    inputs[LT_Q_X_SCALE] = x.scale;
    inputs[LT_Q_X_ZERO] = x.zero;
    if (!read_weights(graph, uses, node, inputs) || !read_bias(graph, uses, node, inputs)) {
        return LEAT_OK;
    }
    lt_qdq_desc desc = {.from = node,
                        .at = node,
                        .op = strcmp(node->op, "Conv") == 0 ? "QConv" : "QMatMul",
                        .inputs = inputs,
                        .output = node->outputs[0]};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){node, NULL, NULL}, out_changed,
                          err);
}

/* --- a constant row behind a product ------------------------------------------------------------
 */

static leat_status fuse_bias(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                             leat_node *node, bool *out_changed, leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    const bool conv = strcmp(node->op, "QConv") == 0;
    if (!lt_qdq_is_open(node) || (!conv && strcmp(node->op, "QMatMul") != 0) ||
        leat_node_attr(node, "activation") != NULL ||
        leat_node_int(node, "channels_last", 0) != 0) {
        return LEAT_OK;
    }
    lt_qdq_inputs(node, inputs);
    leat_node *add = lt_only_reader(uses, node->outputs[0]);
    if (add == NULL || !lt_is_onnx(add, "Add") || inputs[LT_Q_BIAS] != LEAT_NO_VALUE ||
        inputs[LT_Q_RESIDUAL] != LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    uint32_t other = add->inputs[add->inputs[0] == node->outputs[0]];
    const leat_value *w = &graph->values[inputs[LT_Q_W]], *row = &graph->values[other];
    int64_t n = w->shape[conv || leat_node_int(node, "transB", 0) != 0 ? 0 : 1];
    leat_status status = LEAT_OK;
    if (conv) {
        status = lt_qdq_channel_row(graph, other, n, w->rank, &inputs[LT_Q_BIAS], err);
    } else if (row->data != NULL && row->dtype == LEAT_DTYPE_F32 && row->rank == 1 &&
               row->shape[0] == n && w->rank == 2) {
        inputs[LT_Q_BIAS] = other;
    }
    if (status != LEAT_OK || inputs[LT_Q_BIAS] == LEAT_NO_VALUE) {
        return status;
    }
    lt_qdq_desc desc = {
        .from = node, .at = add, .op = node->op, .inputs = inputs, .output = add->outputs[0]};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){node, add, NULL}, out_changed,
                          err);
}

/* --- the result in bytes ------------------------------------------------------------------------
 */

static leat_status fuse_quantize(lt_graph *graph, const lt_pass_context *context,
                                 const lt_uses *uses, leat_node *node, bool *out_changed,
                                 leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    lt_quantized y;
    if (!lt_qdq_is_open(node)) {
        return LEAT_OK;
    }
    leat_node *reader = lt_only_reader(uses, node->outputs[0]);
    if (reader == NULL || !lt_qdq_quantizes(graph, reader, &y)) {
        return LEAT_OK;
    }
    lt_qdq_inputs(node, inputs);
    bool residual = inputs[LT_Q_RESIDUAL] != LEAT_NO_VALUE;
    inputs[residual ? LT_Q_Z_SCALE : LT_Q_Y_SCALE] = y.scale;
    inputs[residual ? LT_Q_Z_ZERO : LT_Q_Y_ZERO] = y.zero;
    lt_qdq_desc desc = {
        .from = node, .at = reader, .op = node->op, .inputs = inputs, .output = y.value};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){node, reader, NULL}, out_changed,
                          err);
}

leat_status lt_pass_fuse_qdq(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                             leat_error *err)
{
    if (context->supports == NULL) {
        return LEAT_OK;
    }
    leat_status status = lt_qdq_run(graph, context, fuse_product, out_changed, err);
    return status != LEAT_OK ? status : lt_qdq_run(graph, context, fuse_bias, out_changed, err);
}

leat_status lt_pass_fuse_quantize(lt_graph *graph, const lt_pass_context *context,
                                  bool *out_changed, leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse_quantize, out_changed, err)
                             : LEAT_OK;
}

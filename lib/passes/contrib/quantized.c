/* SPDX-License-Identifier: Apache-2.0 */
/* Operators on quantized tensors as DequantizeLinear, the float operator, QuantizeLinear, which the
 * passes for such chains (fuse_qdq) make into one integer operator where there is one. */
#include "passes/contrib/contrib.h"

#include <string.h>

static uint32_t dequantized(lt_contrib *c, uint32_t first)
{
    return lt_emit_dequantize(c, lt_contrib_in(c, first), lt_contrib_in(c, first + 1),
                              lt_contrib_in(c, first + 2));
}

/* Output 0 is x, quantized with scale and zero point at inputs `first` and first + 1. */
static void give_quantized(lt_contrib *c, uint32_t x, uint32_t first)
{
    lt_contrib_to(c, 0);
    lt_emit_quantize(c, x, lt_contrib_in(c, first), lt_contrib_in(c, first + 1));
}

/* A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point */
static void binary(lt_contrib *c, const char *op)
{
    uint32_t a = dequantized(c, 0), b = dequantized(c, 3);
    give_quantized(c, lt_emit2(c, op, a, b), 6);
}

static void q_add(lt_contrib *c)
{
    binary(c, "Add");
}

static void q_mul(lt_contrib *c)
{
    binary(c, "Mul");
}

/* X, X_scale, X_zero_point, Y_scale, Y_zero_point */
static void q_sigmoid(lt_contrib *c)
{
    give_quantized(c, lt_emit1(c, "Sigmoid", dequantized(c, 0)), 3);
}

static void q_leaky_relu(lt_contrib *c)
{
    uint32_t y = lt_emit1(c, "LeakyRelu", dequantized(c, 0));
    lt_with_attr(c, "alpha", NULL);
    give_quantized(c, y, 3);
}

static void q_softmax(lt_contrib *c)
{
    uint32_t x = dequantized(c, 0);
    int64_t opset = leat_node_int(c->node, "opset", 13);
    int64_t axis = leat_node_int(c->node, "axis", opset < 13 ? 1 : -1);
    int32_t rank = lt_contrib_value(c, x)->rank;
    if (opset < 13 && axis != rank - 1 && axis != -1) {
        lt_contrib_refuse(c, "before opset 13 only the last axis is served");
        return;
    }
    uint32_t y = lt_emit1(c, "Softmax", x);
    lt_with_int(c, "axis", axis);
    give_quantized(c, y, 3);
}

/* Pools work on N, C, spatial...; with channels_last their data is N, spatial..., C. */
static uint32_t move_channels(lt_contrib *c, uint32_t x, bool to_front)
{
    int64_t perm[LEAT_MAX_RANK];
    int32_t rank = lt_contrib_value(c, x)->rank;
    if (leat_node_int(c->node, "channels_last", 0) == 0) {
        return x;
    }
    if (rank < 3) {
        lt_contrib_refuse(c, "with channels_last the rank must be known");
        return x;
    }
    perm[0] = 0;
    for (int32_t i = 1; i < rank; i++) {
        perm[i] = to_front ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
    }
    return lt_emit_transpose(c, x, perm, (size_t)rank);
}

static void q_average_pool(lt_contrib *c)
{
    static const char *const attrs[] = {"auto_pad",     "ceil_mode", "count_include_pad",
                                        "kernel_shape", "pads",      "strides"};
    uint32_t x = move_channels(c, dequantized(c, 0), true);
    uint32_t y = lt_emit1(c, "AveragePool", x);
    for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
        lt_with_attr(c, attrs[i], NULL);
    }
    give_quantized(c, move_channels(c, y, false), 3);
}

static void q_global_average_pool(lt_contrib *c)
{
    uint32_t x = move_channels(c, dequantized(c, 0), true);
    uint32_t y = lt_emit1(c, "GlobalAveragePool", x);
    give_quantized(c, move_channels(c, y, false), 3);
}

/* condition, X, X_scale, X_zero_point, Y, Y_scale, Y_zero_point, Z_scale, Z_zero_point */
static void q_where(lt_contrib *c)
{
    uint32_t x = dequantized(c, 1), y = dequantized(c, 4);
    give_quantized(c, lt_emit3(c, "Where", lt_contrib_in(c, 0), x, y), 7);
}

#define MOST_PARTS 256

/* Y_scale, Y_zero_point, then X, scale, zero point of every part */
static void q_concat(lt_contrib *c)
{
    uint32_t parts[MOST_PARTS], n = (c->node->n_inputs - 2) / 3;
    if (c->node->n_inputs < 5 || (c->node->n_inputs - 2) % 3 != 0 || n > MOST_PARTS) {
        lt_contrib_refuse(c, "1 to 256 parts of three inputs each");
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        parts[i] = dequantized(c, 2 + 3 * i);
    }
    uint32_t y = lt_emit(c, "Concat", parts, n);
    lt_with_attr(c, "axis", NULL);
    give_quantized(c, y, 0);
}

/* A, a_scale, a_zero_point, B, b_scale, b_zero_point, C?, y_scale?, y_zero_point?: C is i32 in
 * units of a_scale * b_scale. B may have a scale for each column (row, when transB). */
static void q_gemm(lt_contrib *c)
{
    const leat_value *scales = lt_contrib_value(c, lt_contrib_in(c, 4));
    bool per_column = scales->rank == 1 && scales->shape[0] != 1;
    uint32_t a = dequantized(c, 0), b = dequantized(c, 3);
    if (per_column && leat_node_int(c->node, "transB", 0) != 0) {
        lt_with_int(c, "axis", 0);
    }
    uint32_t bias = lt_contrib_in(c, 6);
    if (bias != LEAT_NO_VALUE) {
        uint32_t scale = lt_emit2(c, "Mul", lt_contrib_in(c, 1), lt_contrib_in(c, 4));
        bias = lt_emit2(c, "Mul", lt_emit_cast(c, bias, LEAT_DTYPE_F32), scale);
    }
    bool quantized = lt_contrib_in(c, 7) != LEAT_NO_VALUE;
    if (!quantized) {
        lt_contrib_to(c, 0);
    }
    uint32_t y = lt_emit3(c, "Gemm", a, b, bias);
    lt_with_attr(c, "transA", NULL);
    lt_with_attr(c, "transB", NULL);
    lt_with_attr(c, "alpha", NULL);
    if (quantized) {
        give_quantized(c, y, 7);
    }
}

/* These two became standard operators; ONNX Runtime writes its own for types that came later. */
static void same_operator(lt_contrib *c)
{
    lt_contrib_to(c, 0);
    lt_emit(c, c->node->op, c->node->inputs, c->node->n_inputs);
    lt_with_attr(c, "axis", NULL);
}

/* X, W, R, B?, sequence_lens?, initial_h?, initial_c?, P?, W_scale, W_zero_point, R_scale,
 * R_zero_point: an LSTM whose weights are stored transposed in 8 bits. ONNX Runtime quantizes the
 * activations too, leat does not: its result is nearer to the float model's. */
static void dynamic_quantize_lstm(lt_contrib *c)
{
    static const char *const attrs[] = {
        "activation_alpha", "activation_beta", "activations", "clip",
        "direction",        "hidden_size",     "input_forget"};
    static const int64_t swap[3] = {0, 2, 1}, last[1] = {2};
    uint32_t weights[2];
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t scale = lt_contrib_in(c, 8 + 2 * i), zero = lt_contrib_in(c, 9 + 2 * i);
        uint32_t w = lt_emit_cast(c, lt_contrib_in(c, 1 + i), LEAT_DTYPE_F32);
        bool per_column = lt_contrib_value(c, scale)->rank == 2;
        zero = lt_emit_cast(c, zero, LEAT_DTYPE_F32);
        uint32_t axis = lt_emit_ints(c, last, 1);
        const int64_t middle[1] = {1};
        axis = per_column ? lt_emit_ints(c, middle, 1) : axis;
        scale = lt_emit2(c, "Unsqueeze", scale, axis);
        zero = lt_emit2(c, "Unsqueeze", zero, axis);
        if (!per_column) { /* one a direction: D becomes D x 1 x 1 */
            scale = lt_emit2(c, "Unsqueeze", scale, axis);
            zero = lt_emit2(c, "Unsqueeze", zero, axis);
        }
        w = lt_emit2(c, "Mul", lt_emit2(c, "Sub", w, zero), scale);
        weights[i] = lt_emit_transpose(c, w, swap, 3);
    }
    uint32_t inputs[8], outputs[3];
    for (uint32_t i = 0; i < 8; i++) {
        inputs[i] = i == 1 || i == 2 ? weights[i - 1] : lt_contrib_in(c, i);
    }
    lt_emit_outputs(c, "LSTM", inputs, 8, outputs, 3);
    for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
        lt_with_attr(c, attrs[i], NULL);
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (lt_contrib_wants(c, i)) {
            lt_contrib_give(c, i, outputs[i]);
        }
    }
}

const lt_contrib_op lt_contrib_quantized[] = {
    {"QLinearAdd", q_add},
    {"QLinearMul", q_mul},
    {"QLinearSigmoid", q_sigmoid},
    {"QLinearLeakyRelu", q_leaky_relu},
    {"QLinearSoftmax", q_softmax},
    {"QLinearWhere", q_where},
    {"QLinearAveragePool", q_average_pool},
    {"QLinearGlobalAveragePool", q_global_average_pool},
    {"QLinearConcat", q_concat},
    {"QGemm", q_gemm},
    {"QuantizeLinear", same_operator},
    {"DequantizeLinear", same_operator},
    {"DynamicQuantizeLSTM", dynamic_quantize_lstm},
    {NULL, NULL},
};

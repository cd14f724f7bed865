/* SPDX-License-Identifier: Apache-2.0 */
/* Products with something fused, and pointwise operators. Inputs and attributes as in ONNX
 * Runtime's docs/ContribOperators.md. */
#include "passes/contrib/contrib.h"

#include <string.h>

/* X, W, B?, Z?: activation(Conv(X, W, B) + Z) */
static void fused_conv(lt_contrib *c)
{
    static const char *const attrs[] = {"auto_pad",     "dilations", "group",
                                        "kernel_shape", "pads",      "strides"};
    uint32_t y = lt_emit3(c, "Conv", lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2));
    for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
        lt_with_attr(c, attrs[i], NULL);
    }
    y = lt_emit_add_if(c, y, lt_contrib_in(c, 3));
    lt_contrib_to(c, 0);
    lt_emit_activation(c, y);
}

static void fused_gemm(lt_contrib *c)
{
    static const char *const attrs[] = {"alpha", "beta", "transA", "transB"};
    uint32_t y = lt_emit3(c, "Gemm", lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2));
    for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
        lt_with_attr(c, attrs[i], NULL);
    }
    lt_contrib_to(c, 0);
    lt_emit_activation(c, y);
}

/* With the last two dimensions swapped, or (`batch`) with the first one moved in front of the last.
 */
static uint32_t transposed(lt_contrib *c, uint32_t x, const char *last, const char *batch)
{
    int32_t rank = lt_contrib_value(c, x)->rank;
    int64_t perm[LEAT_MAX_RANK];
    bool swap = leat_node_int(c->node, last, 0) != 0;
    bool move = leat_node_int(c->node, batch, 0) != 0;
    if ((!swap && !move) || rank == 1) {
        return x;
    }
    if (rank < 2) {
        lt_contrib_refuse(c, "a transposed operand's rank must be known");
        return x;
    }
    for (int32_t i = 0; i < rank; i++) {
        perm[i] = i;
    }
    if (move) { /* b x ... x k is given as m x b... : undo */
        for (int32_t i = 0; i + 2 < rank; i++) {
            perm[i] = i + 1;
        }
        perm[rank - 2] = 0;
    }
    if (swap) {
        int64_t kept = perm[rank - 1];
        perm[rank - 1] = perm[rank - 2];
        perm[rank - 2] = kept;
    }
    return lt_emit_transpose(c, x, perm, (size_t)rank);
}

static void fused_matmul(lt_contrib *c)
{
    uint32_t a = transposed(c, lt_contrib_in(c, 0), "transA", "transBatchA");
    uint32_t b = transposed(c, lt_contrib_in(c, 1), "transB", "transBatchB");
    float alpha = leat_node_float(c->node, "alpha", 1);
    if (alpha == 1) {
        lt_contrib_to(c, 0);
        lt_emit2(c, "MatMul", a, b);
        return;
    }
    uint32_t y = lt_emit2(c, "MatMul", a, b);
    uint32_t factor = lt_emit_number(c, a, (double)alpha);
    lt_contrib_to(c, 0);
    lt_emit2(c, "Mul", y, factor);
}

/* --- pointwise ----------------------------------------------------------------------------------
 */

static void gelu(lt_contrib *c)
{
    uint32_t x = lt_emit_add_if(c, lt_contrib_in(c, 0), lt_contrib_in(c, 1));
    lt_contrib_to(c, 0);
    lt_emit1(c, "Gelu", x);
}

static void fast_gelu(lt_contrib *c)
{
    gelu(c);
    lt_with_text(c, "approximate", "tanh");
}

/* x * sigmoid(alpha * x) */
static void quick_gelu(lt_contrib *c)
{
    uint32_t x = lt_contrib_in(c, 0);
    uint32_t alpha = lt_emit_number(c, x, (double)leat_node_float(c->node, "alpha", 1.702f));
    uint32_t gate = lt_emit1(c, "Sigmoid", lt_emit2(c, "Mul", x, alpha));
    lt_contrib_to(c, 0);
    lt_emit2(c, "Mul", x, gate);
}

/* --- products with quantized operands -----------------------------------------------------------
 */

/* Product of A and B as integers, times both scales, plus a bias. */
static void scaled_product(lt_contrib *c, const uint32_t operands[4], const uint32_t scales[2],
                           uint32_t bias)
{
    uint32_t y = lt_emit_cast(c, lt_emit(c, "MatMulInteger", operands, 4), LEAT_DTYPE_F32);
    uint32_t scale = lt_emit2(c, "Mul", scales[0], scales[1]);
    if (bias == LEAT_NO_VALUE) {
        lt_contrib_to(c, 0);
    }
    y = lt_emit2(c, "Mul", y, scale);
    if (bias != LEAT_NO_VALUE) {
        lt_contrib_to(c, 0);
        lt_emit2(c, "Add", y, bias);
    }
}

/* A, B, b_scale, b_zero_point?, bias?: A is quantized on the way. */
static void dynamic_quantize_matmul(lt_contrib *c)
{
    uint32_t a[3];
    const uint32_t x = lt_contrib_in(c, 0);
    lt_emit_outputs(c, "DynamicQuantizeLinear", &x, 1, a, 3);
    const uint32_t operands[4] = {a[0], lt_contrib_in(c, 1), a[2], lt_contrib_in(c, 3)};
    const uint32_t scales[2] = {a[1], lt_contrib_in(c, 2)};
    scaled_product(c, operands, scales, lt_contrib_in(c, 4));
}

/* A, B, a_scale, b_scale, a_zero_point?, b_zero_point?, bias? */
static void matmul_integer_to_float(lt_contrib *c)
{
    const uint32_t operands[4] = {lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 4),
                                  lt_contrib_in(c, 5)};
    const uint32_t scales[2] = {lt_contrib_in(c, 2), lt_contrib_in(c, 3)};
    scaled_product(c, operands, scales, lt_contrib_in(c, 6));
}

/* --- weights of a few bits ----------------------------------------------------------------------
 */

/* B is u8[N][blocks][block bytes], each row's numbers packed from the low bits on; the same numbers
 * as a tensor of 4 or 8 bits have shape N x (blocks * block size). */
static uint32_t unpacked(lt_contrib *c, uint32_t b, int64_t n, int64_t k, int64_t bits)
{
    leat_value v = *lt_contrib_value(c, b);
    size_t bytes = (size_t)n * (size_t)k * (size_t)bits / 8;
    if (v.data == NULL || v.bytes != bytes) {
        lt_contrib_refuse(c, "weights must be constant, and N x blocks x bytes of a block");
        return LEAT_NO_VALUE;
    }
    leat_array array = {
        bits == 4 ? LEAT_DTYPE_U4 : LEAT_DTYPE_U8, 2, {n, k}, (void *)v.data, bytes};
    return lt_emit_constant(c, &array);
}

/* Zero points come packed like B, or as floats; 8 (or 128) where they are left out. */
static uint32_t zero_points(lt_contrib *c, int64_t n, int64_t blocks, int64_t bits)
{
    uint32_t zero = lt_contrib_in(c, 3);
    size_t row = ((size_t)blocks * (size_t)bits + 7) / 8, bytes = row * (size_t)n;
    leat_value v = *lt_contrib_value(c, zero);
    uint8_t *out = lt_arena_array(lt_graph_arena(c->graph), bytes + 1, 1);
    if (zero != LEAT_NO_VALUE && (v.data == NULL || v.dtype != LEAT_DTYPE_U8 || v.bytes != bytes)) {
        lt_contrib_refuse(c, "zero points must be constant, and packed as the weights are");
        return LEAT_NO_VALUE;
    }
    if (out == NULL) {
        c->status = c->status ? c->status : LEAT_NO_MEMORY;
        return LEAT_NO_VALUE;
    }
    if (zero == LEAT_NO_VALUE) {
        memset(out, bits == 4 ? 0x88 : 0x80, bytes);
    } else if (bits == 8 || blocks % 2 == 0) {
        memcpy(out, v.data, bytes);
    } else { /* rows begin at whole bytes there, one behind the other in a tensor of 4 bits */
        memset(out, 0, bytes);
        for (int64_t i = 0; i < n * blocks; i++) {
            uint8_t from =
                ((const uint8_t *)v.data)[(size_t)(i / blocks) * row + (size_t)(i % blocks) / 2];
            uint8_t number = i % blocks % 2 ? from >> 4 : from & 15;
            out[i / 2] |= (uint8_t)(i % 2 ? number << 4 : number);
        }
    }
    leat_dtype dtype = bits == 4 ? LEAT_DTYPE_U4 : LEAT_DTYPE_U8;
    leat_array array = {dtype, 2, {n, blocks}, out, leat_dtype_bytes(dtype, (size_t)(n * blocks))};
    return lt_emit_constant(c, &array);
}

/* A times the weights as floats, to the target that is set. */
static uint32_t dequantized_product(lt_contrib *c, int64_t n, int64_t k, int64_t bits,
                                    int64_t block)
{
    static const int64_t swap[2] = {1, 0};
    const int64_t by_block[2] = {n, k / block};
    uint32_t target = c->target;
    c->target = LEAT_NO_VALUE;
    uint32_t b = unpacked(c, lt_contrib_in(c, 1), n, k, bits);
    uint32_t zero = zero_points(c, n, k / block, bits);
    uint32_t scales = lt_emit_reshape(c, lt_contrib_in(c, 2), by_block, 2);
    uint32_t w = lt_emit3(c, "DequantizeLinear", b, scales, zero);
    lt_with_int(c, "axis", 1);
    lt_with_int(c, "block_size", block);
    w = lt_emit_transpose(c, w, swap, 2);
    c->target = target;
    return lt_emit2(c, "MatMul", lt_contrib_in(c, 0), w);
}

/* A, B, scales, zero_points?, g_idx?, bias?: A times the transposed weights. */
static void matmul_n_bits(lt_contrib *c)
{
    int64_t k = leat_node_int(c->node, "K", 0), n = leat_node_int(c->node, "N", 0);
    int64_t bits = leat_node_int(c->node, "bits", 4);
    int64_t block = leat_node_int(c->node, "block_size", 32);
    if ((bits != 4 && bits != 8) || block < 1 || k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX ||
        k % block != 0) {
        lt_contrib_refuse(c, "only 4 and 8 bits, and K a multiple of block_size");
        return;
    }
    if (lt_contrib_in(c, 4) != LEAT_NO_VALUE) {
        lt_contrib_refuse(c, "g_idx is not served");
        return;
    }
    uint32_t bias = lt_contrib_in(c, 5), y;
    const uint32_t own[4] = {lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2),
                             lt_contrib_in(c, 3)};
    if (bias == LEAT_NO_VALUE) {
        lt_contrib_to(c, 0);
    }
    if (!lt_emit_own(c, "MatMulNBits", own, 4, &y)) {
        y = dequantized_product(c, n, k, bits, block);
    }
    if (bias != LEAT_NO_VALUE) {
        lt_contrib_to(c, 0);
        lt_emit2(c, "Add", y, bias);
    }
}
const lt_contrib_op lt_contrib_products[] = {
    {"FusedConv", fused_conv},
    {"FusedGemm", fused_gemm},
    {"FusedMatMul", fused_matmul},
    {"TransposeMatMul", fused_matmul},
    {"BiasGelu", gelu},
    {"Gelu", gelu},
    {"FastGelu", fast_gelu},
    {"QuickGelu", quick_gelu},
    {"DynamicQuantizeMatMul", dynamic_quantize_matmul},
    {"MatMulIntegerToFloat", matmul_integer_to_float},
    {"MatMulNBits", matmul_n_bits},
    {NULL, NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes, strides and attributes, for all rows. */
#include "cuda.h"

#include <float.h>

const char *lt_cuda_type_name(leat_dtype dtype)
{
    switch (dtype) {
    case LEAT_DTYPE_F32:
        return "f32";
    case LEAT_DTYPE_F16:
        return "f16";
    case LEAT_DTYPE_BF16:
        return "bf16";
    case LEAT_DTYPE_I32:
        return "i32";
    case LEAT_DTYPE_I64:
        return "i64";
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_BOOL:
        return "u8";
    default:
        return NULL;
    }
}

uint32_t lt_cuda_element_bytes(leat_dtype dtype)
{
    uint64_t bit = 1ull << dtype;
    if (bit & (LT_CUDA_T(F64) | LT_CUDA_T(I64) | LT_CUDA_T(U64))) {
        return 8;
    }
    if (bit & (LT_CUDA_T(F32) | LT_CUDA_T(I32) | LT_CUDA_T(U32))) {
        return 4;
    }
    return bit & (LT_CUDA_HALVES | LT_CUDA_T(U16) | LT_CUDA_T(I16)) ? 2 : 1;
}

const char *lt_cuda_by_bytes(leat_dtype dtype)
{
    static const char *const suffixes[] = {"1", "2", "4", "8"};
    uint32_t bytes = lt_cuda_element_bytes(dtype);
    return suffixes[bytes == 8 ? 3 : bytes / 2];
}

static bool value_fits(const leat_value *value)
{
    int64_t count = 1;
    if (value == NULL || value->rank < 0) {
        return true;
    }
    for (int32_t i = 0; i < value->rank; i++) {
        int64_t dim = value->shape[i] < 0 ? 1 : value->shape[i];
        if (dim != 0 && count > LT_GPU_MAX_COUNT / dim) {
            return false;
        }
        count *= dim;
    }
    return true;
}

leat_status lt_cuda_fits(const leat_kernel_node *node, leat_error *err)
{
    bool fits = true;
    for (uint32_t i = 0; i < node->node->n_inputs; i++) {
        fits &= value_fits(leat_kernel_input(node, i));
    }
    for (uint32_t i = 0; i < node->node->n_outputs; i++) {
        fits &= value_fits(leat_kernel_output(node, i));
    }
    return fits
               ? LEAT_OK
               : lt_cuda_fail(err, LEAT_UNSUPPORTED,
                              "cuda: %s: a tensor has more than 2^31 - 1 elements", node->node->op);
}

bool lt_cuda_broadcast(const leat_value *value, int32_t rank, const int64_t *shape,
                       int64_t *out_strides)
{
    int64_t stride = 1;
    if (value->rank > rank) {
        return false;
    }
    for (int32_t i = rank - 1, j = value->rank - 1; i >= 0; i--, j--) {
        int64_t dim = j >= 0 ? value->shape[j] : 1;
        if (dim != shape[i] && dim != 1) {
            return false;
        }
        out_strides[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return true;
}

void lt_cuda_walk_merge(lt_cuda_walk *walk, int n)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < walk->rank; i++) {
        if (walk->shape[i] == 1) {
            continue;
        }
        bool joins = kept > 0;
        for (int k = 0; k < n && joins; k++) {
            joins = walk->strides[k][kept - 1] == walk->strides[k][i] * walk->shape[i];
        }
        int32_t at = joins ? kept - 1 : kept++;
        walk->shape[at] = (joins ? walk->shape[at] : 1) * walk->shape[i];
        for (int k = 0; k < n; k++) {
            walk->strides[k][at] = walk->strides[k][i];
        }
    }
    walk->rank = kept;
}

bool lt_cuda_walk_index(const lt_cuda_walk *walk, lt_gpu_index *out_index)
{
    if (walk->rank > LT_GPU_MAX_RANK) {
        return false;
    }
    out_index->rank = walk->rank;
    for (int32_t i = 0; i < walk->rank; i++) {
        /* Empty tensors launch nothing, but a divisor has to be one. */
        uint32_t size = walk->shape[i] > 0 ? (uint32_t)walk->shape[i] : 1u;
        out_index->size[i] = lt_gpu_divisor_make(size);
    }
    return true;
}

bool lt_cuda_activation(const leat_node *node, lt_gpu_activation *out)
{
    static const struct {
        const char *name;
        lt_gpu_function function;
        float alpha, beta;
    } names[] = {
        {"Relu", LT_GPU_RELU, 0, 0},
        {"Clip", LT_GPU_CLIP, -FLT_MAX, FLT_MAX},
        {"Sigmoid", LT_GPU_SIGMOID, 0, 0},
        {"Tanh", LT_GPU_TANH, 0, 0},
        {"LeakyRelu", LT_GPU_LEAKY_RELU, 0.01f, 0},
        {"HardSigmoid", LT_GPU_HARD_SIGMOID, 0.2f, 0.5f},
        {"HardSwish", LT_GPU_HARD_SWISH, 0, 0},
        {"Gelu", LT_GPU_GELU, 0, 0},
        {"GeluTanh", LT_GPU_GELU_TANH, 0, 0},
        {"Swish", LT_GPU_SWISH, 1, 0},
        {"ScaledHardSwish", LT_GPU_SCALED_HARD_SWISH, 1, 0},
    };
    *out = (lt_gpu_activation){.function = LT_GPU_IDENTITY};
    if (leat_node_attr(node, "activation") == NULL) {
        return true;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (leat_node_string_is(node, "activation", names[i].name)) {
            out->function = (int32_t)names[i].function;
            out->alpha = leat_node_float(node, "activation_alpha", names[i].alpha);
            out->beta = leat_node_float(node, "activation_beta", names[i].beta);
            return true;
        }
    }
    return false;
}

int32_t lt_cuda_residual_input(const leat_node *node)
{
    return leat_node_int(node, "residual", 0) != 0 ? (int32_t)node->n_inputs - 1 : -1;
}

int32_t lt_cuda_bias_input(const leat_kernel_node *node)
{
    bool absent = leat_kernel_input(node, 2) == NULL;
    return absent || lt_cuda_residual_input(node->node) == 2 ? -1 : 2;
}

bool lt_cuda_product_types(const leat_kernel_node *node)
{
    leat_dtype dtype = leat_kernel_input(node, 0)->dtype;
    bool half = (LT_CUDA_HALVES >> dtype & 1) != 0;
    for (uint32_t i = 1; i <= node->node->n_inputs; i++) {
        const leat_value *value =
            i < node->node->n_inputs ? leat_kernel_input(node, i) : leat_kernel_output(node, 0);
        if (value != NULL && value->dtype != dtype &&
            !(half && i > 1 && value->dtype == LEAT_DTYPE_F32)) {
            return false;
        }
    }
    return (leat_dtype)leat_node_int(node->node, "compute", (int64_t)dtype) == dtype;
}

int64_t lt_cuda_ints(const leat_kernel_node *node, uint32_t input, int64_t *out)
{
    const leat_value *value = leat_kernel_input(node, input);
    if (value == NULL) {
        return -1;
    }
    int64_t count = value->rank == 0 ? 1 : value->rank == 1 ? value->shape[0] : -1;
    if (value->data == NULL || count < 0 || count > LEAT_MAX_RANK ||
        (value->dtype != LEAT_DTYPE_I32 && value->dtype != LEAT_DTYPE_I64)) {
        return -2;
    }
    for (int64_t i = 0; i < count; i++) {
        int32_t narrow;
        if (value->dtype == LEAT_DTYPE_I32) {
            memcpy(&narrow, (const char *)value->data + 4 * i, sizeof(narrow));
            out[i] = narrow;
        } else {
            memcpy(&out[i], (const char *)value->data + 8 * i, sizeof(out[i]));
        }
    }
    return count;
}

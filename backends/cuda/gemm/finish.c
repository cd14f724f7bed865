/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: types, and what follows the sums. */
#include "support.h"

#include <math.h>
#include <string.h>

static leat_status type_of(leat_dtype dtype, const char *what, uint32_t *out, leat_error *err)
{
    switch (dtype) {
    case LEAT_DTYPE_UNDEFINED:
        *out = LT_GEMM_NONE;
        return LEAT_OK;
    case LEAT_DTYPE_F32:
        *out = LT_GEMM_F32;
        return LEAT_OK;
    case LEAT_DTYPE_F16:
        *out = LT_GEMM_F16;
        return LEAT_OK;
    case LEAT_DTYPE_BF16:
        *out = LT_GEMM_BF16;
        return LEAT_OK;
    case LEAT_DTYPE_I8:
        *out = LT_GEMM_I8;
        return LEAT_OK;
    case LEAT_DTYPE_U8:
        *out = LT_GEMM_U8;
        return LEAT_OK;
    case LEAT_DTYPE_I32:
        *out = LT_GEMM_I32;
        return LEAT_OK;
    default:
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%s of a product: type %d", what,
                                 (int)dtype);
    }
}

/* Which of the types an operand may have: bits of lt_cuda_gemm_type. */
enum {
    REALS = 1u << LT_GEMM_F32 | 1u << LT_GEMM_F16 | 1u << LT_GEMM_BF16,
    BYTES = 1u << LT_GEMM_I8 | 1u << LT_GEMM_U8
};

static leat_status check_type(uint32_t type, uint32_t allowed, const char *what, leat_error *err)
{
    if (type != LT_GEMM_NONE && (allowed >> type & 1) == 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%s of a product: not of this type", what);
    }
    return LEAT_OK;
}

static leat_status check_types(const lt_cuda_gemm_params *p, int bytes, leat_error *err)
{
    if (p->out_type == LT_GEMM_NONE) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "a product without type of output");
    }
    uint32_t sums = bytes ? BYTES | 1u << LT_GEMM_I32 : 0;
    leat_status status = check_type(p->out_type, REALS | sums, "output", err);
    if (status == LEAT_OK) {
        status = check_type(p->bias_type, bytes ? 1u << LT_GEMM_F32 : REALS, "bias", err);
    }
    if (status == LEAT_OK) {
        status = check_type(p->residual_type, bytes ? REALS | BYTES : REALS, "residual", err);
    }
    if (status == LEAT_OK && p->out_type == LT_GEMM_I32 && (p->bias_type || p->residual_type)) {
        status = lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "sums in I32 take only offsets");
    }
    return status;
}

leat_status lt_cuda_gemm_set_types(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan,
                                   leat_dtype dtype, const leat_dtype others[3], leat_error *err)
{
    lt_cuda_gemm_params *p = &plan->params;
    int bytes = lt_cuda_gemm_unit(dtype) == 1;
    if (lt_cuda_gemm_unit(dtype) == 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED,
                                 "tensor cores take F32, F16, BF16, I8 or U8, not type %d",
                                 (int)dtype);
    }
    if (gemm->functions[lt_cuda_gemm_kernel(dtype, LT_GEMM_NK, 0)] == NULL) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "kernels of this type are not loaded");
    }
    leat_status status = type_of(others[0], "output", &p->out_type, err);
    if (status == LEAT_OK) {
        status = type_of(others[1], "bias", &p->bias_type, err);
    }
    if (status == LEAT_OK) {
        status = type_of(others[2], "residual", &p->residual_type, err);
    }
    p->bytes = (uint32_t)bytes;
    return status ? status : check_types(p, bytes, err);
}

/* An activation by its form (params.h). */
leat_status lt_cuda_gemm_set_activation(lt_cuda_gemm_params *p, int32_t activation, float alpha,
                                        float beta, float scale, leat_error *err)
{
    const float log2e = 1.44269504f;
    const float tanh_inner = 0.797884561f; /* sqrt(2 / pi) */
    const struct {
        uint32_t finish;
        float c[5];
    } forms[LT_GEMM_N_ACTIVATIONS] = {
        [LT_GEMM_LINEAR] = {LT_GEMM_FINISH_NONE, {0}},
        [LT_GEMM_RELU] = {LT_GEMM_FINISH_CLAMP, {0, INFINITY}},
        [LT_GEMM_CLIP] = {LT_GEMM_FINISH_CLAMP, {alpha, beta}},
        [LT_GEMM_SIGMOID] = {LT_GEMM_FINISH_LOGISTIC, {1, 0, -log2e, 0, 0}},
        [LT_GEMM_TANH] = {LT_GEMM_FINISH_LOGISTIC, {2, 0, -2 * log2e, 0, -1}},
        [LT_GEMM_LEAKY_RELU] = {LT_GEMM_FINISH_LEAKY, {alpha}},
        [LT_GEMM_HARD_SIGMOID] = {LT_GEMM_FINISH_HARD, {1, 0, alpha, beta, 0}},
        [LT_GEMM_HARD_SWISH] = {LT_GEMM_FINISH_HARD, {0, 1, 1.0f / 6, 0.5f, 0}},
        [LT_GEMM_GELU] = {LT_GEMM_FINISH_GELU, {0}},
        [LT_GEMM_GELU_TANH] = {LT_GEMM_FINISH_LOGISTIC,
                               {0, 1, -2 * log2e * tanh_inner, -2 * log2e * tanh_inner * 0.044715f,
                                0}},
        [LT_GEMM_SWISH] = {LT_GEMM_FINISH_LOGISTIC, {0, 1, -log2e * alpha, 0, 0}},
        [LT_GEMM_SCALED_HARD_SWISH] = {LT_GEMM_FINISH_HARD, {0, alpha, 1.0f / 6, 0.5f, beta}},
    };
    if (activation < 0 || activation >= LT_GEMM_N_ACTIVATIONS) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "activation %d", (int)activation);
    }
    p->finish = forms[activation].finish;
    memcpy(p->c, forms[activation].c, sizeof p->c);
    p->scale = scale;
    return LEAT_OK;
}

uint32_t lt_cuda_gemm_is_wide(uint32_t type, int64_t n, int64_t ld, int64_t batch_stride)
{
    int64_t unit = 16 / (int64_t)lt_cuda_gemm_type_bytes(type);
    return n % unit == 0 && ld % unit == 0 && batch_stride % unit == 0;
}

uint32_t lt_cuda_gemm_residual_wide(const lt_cuda_gemm_params *p, int64_t n, int64_t ld,
                                    int64_t batch_stride)
{
    uint32_t bytes = lt_cuda_gemm_type_bytes(p->residual_type);
    return p->residual_type != LT_GEMM_NONE && (p->bytes || bytes == 2) &&
           lt_cuda_gemm_is_wide(p->residual_type, n, ld, batch_stride);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of lt_gpu_function on one f32: pointwise kernels and epilogues. The switch is on a
 * parameter, alike for all threads. */
#ifndef LT_GPU_FUNCTION_HPP
#define LT_GPU_FUNCTION_HPP

#include "gpu.hpp"

namespace gpu
{

GPU_FN float f_sigmoid(float x)
{
    return 1.0f / (1.0f + f_exp(-x));
}

/* log(1 + exp(x)) without overflow. */
GPU_FN float f_softplus(float x)
{
    return (x > 0.0f ? x : 0.0f) + f_log1p(f_exp(-f_abs(x)));
}

GPU_FN float f_gelu_tanh(float x)
{
    return 0.5f * x * (1.0f + f_tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}

/* Comparisons so written that NaN stays NaN. */
GPU_FN float f_clip(float x, float lowest, float highest)
{
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
}

GPU_FN float f_hard_sigmoid(float x, float alpha, float beta)
{
    return f_clip(alpha * x + beta, 0.0f, 1.0f);
}

/* Those that only stand alone. */
GPU_FN float apply_other(int function, float alpha, float beta, float x)
{
    switch (function) {
    case LT_GPU_ABS:
        return f_abs(x);
    case LT_GPU_NEG:
        return -x;
    case LT_GPU_EXP:
        return f_exp(x);
    case LT_GPU_LOG:
        return f_log(x);
    case LT_GPU_SQRT:
        return f_sqrt(x);
    case LT_GPU_RECIPROCAL:
        return 1.0f / x;
    case LT_GPU_FLOOR:
        return f_floor(x);
    case LT_GPU_CEIL:
        return f_ceil(x);
    case LT_GPU_ROUND:
        return f_rint(x);
    case LT_GPU_SIGN:
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
    case LT_GPU_ERF:
        return f_erf(x);
    case LT_GPU_SIN:
        return f_sin(x);
    case LT_GPU_COS:
        return f_cos(x);
    case LT_GPU_SOFTPLUS:
        return f_softplus(x);
    case LT_GPU_SOFTSIGN:
        return x / (1.0f + f_abs(x));
    case LT_GPU_ELU:
        return x < 0.0f ? alpha * f_expm1(x) : x;
    case LT_GPU_SELU:
        return beta * (x < 0.0f ? alpha * f_expm1(x) : x);
    case LT_GPU_MISH:
        return x * f_tanh(f_softplus(x));
    case LT_GPU_AFFINE:
        return alpha * x + beta;
    default:
        return x;
    }
}

/* Those of epilogues; others leave x. */
GPU_FN float apply_activation(const lt_gpu_activation &a, float x)
{
    const float alpha = a.alpha, beta = a.beta;
    switch (a.function) {
    case LT_GPU_RELU:
        return x < 0.0f ? 0.0f : x;
    case LT_GPU_CLIP:
        return f_clip(x, alpha, beta);
    case LT_GPU_SIGMOID:
        return f_sigmoid(x);
    case LT_GPU_TANH:
        return f_tanh(x);
    case LT_GPU_LEAKY_RELU:
        return x < 0.0f ? alpha * x : x;
    case LT_GPU_HARD_SIGMOID:
        return f_hard_sigmoid(x, alpha, beta);
    case LT_GPU_HARD_SWISH:
        return x * f_hard_sigmoid(x, 1.0f / 6.0f, 0.5f);
    case LT_GPU_GELU:
        return 0.5f * x * (1.0f + f_erf(x * 0.7071067811865476f));
    case LT_GPU_GELU_TANH:
        return f_gelu_tanh(x);
    case LT_GPU_SWISH:
        return x / (1.0f + f_exp(-alpha * x));
    case LT_GPU_SCALED_HARD_SWISH:
        return alpha * (x * f_hard_sigmoid(x, 1.0f / 6.0f, 0.5f)) + beta;
    default:
        return x;
    }
}

GPU_FN float apply_function(const lt_gpu_activation &a, float x)
{
    return a.function < LT_GPU_ABS ? apply_activation(a, x)
                                   : apply_other(a.function, a.alpha, a.beta, x);
}

/* Element i of an array of T, or of f32 with `wide`: what products of halves add and store. */
template <class T> GPU_FN float load_mixed(const void *data, int64_t i, int32_t wide)
{
    return wide != 0 ? ((const float *)data)[i] : to_f32(((const T *)data)[i]);
}
template <class T> GPU_FN void store_mixed(void *data, int64_t i, int32_t wide, float v)
{
    if (wide != 0) {
        ((float *)data)[i] = v;
    } else {
        ((T *)data)[i] = from_f32<T>(v);
    }
}

/* y = activation(x + bias + residual), as every product's epilogue has it. */
GPU_FN float epilogue(float x, float bias, float residual, const lt_gpu_activation &a)
{
    return apply_activation(a, x + bias + residual);
}

} // namespace gpu

#endif

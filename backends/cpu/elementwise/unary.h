/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one number. */
#ifndef LT_CPU_UNARY_H
#define LT_CPU_UNARY_H

#include "cpu.h"

/* X(name as in ONNX, default of alpha, default of beta) */
#define LT_UNARY_OPS(X)                                                                            \
    X(Abs, 0, 0)                                                                                   \
    X(Acos, 0, 0)                                                                                  \
    X(Acosh, 0, 0)                                                                                 \
    X(Asin, 0, 0)                                                                                  \
    X(Asinh, 0, 0)                                                                                 \
    X(Atan, 0, 0)                                                                                  \
    X(Atanh, 0, 0)                                                                                 \
    X(Ceil, 0, 0)                                                                                  \
    X(Celu, 1, 0)                                                                                  \
    X(Cos, 0, 0)                                                                                   \
    X(Cosh, 0, 0)                                                                                  \
    X(Elu, 1, 0)                                                                                   \
    X(Erf, 0, 0)                                                                                   \
    X(Exp, 0, 0)                                                                                   \
    X(Floor, 0, 0)                                                                                 \
    X(Gelu, 0, 0)                                                                                  \
    X(GeluTanh, 0, 0)                                                                              \
    X(HardSigmoid, 0.2f, 0.5f)                                                                     \
    X(HardSwish, 0, 0)                                                                             \
    X(LeakyRelu, 0.01f, 0)                                                                         \
    X(Log, 0, 0)                                                                                   \
    X(Mish, 0, 0)                                                                                  \
    X(Neg, 0, 0)                                                                                   \
    X(Reciprocal, 0, 0)                                                                            \
    X(Relu, 0, 0)                                                                                  \
    X(Round, 0, 0)                                                                                 \
    X(Selu, 1.67326319217681884765625f, 1.05070102214813232421875f)                                \
    X(Sigmoid, 0, 0)                                                                               \
    X(Sign, 0, 0)                                                                                  \
    X(Sin, 0, 0)                                                                                   \
    X(Sinh, 0, 0)                                                                                  \
    X(Softplus, 0, 0)                                                                              \
    X(Softsign, 0, 0)                                                                              \
    X(Sqrt, 0, 0)                                                                                  \
    X(Swish, 1, 0)                                                                                 \
    X(Tan, 0, 0)                                                                                   \
    X(Tanh, 0, 0)                                                                                  \
    X(ThresholdedRelu, 1, 0)

typedef enum lt_unary_op {
#define X(name, alpha, beta) LT_UNARY_##name,
    LT_UNARY_OPS(X)
#undef X
} lt_unary_op;

/* y[i] = f(x[i]) for i < n; y may be x. */
typedef void (*lt_unary_f32_fn)(lt_unary_op op, const float *x, float *y, int64_t n, float alpha,
                                float beta);
void lt_cpu_unary_f32_portable(lt_unary_op op, const float *x, float *y, int64_t n, float alpha,
                               float beta);
void lt_cpu_unary_f32_avx2(lt_unary_op op, const float *x, float *y, int64_t n, float alpha,
                           float beta);
void lt_cpu_unary_f32_avx512(lt_unary_op op, const float *x, float *y, int64_t n, float alpha,
                             float beta);

#endif

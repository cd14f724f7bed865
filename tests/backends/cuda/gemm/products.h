/* SPDX-License-Identifier: Apache-2.0 */
/* Products of tests on a device: their sizes, their elements by double-precision loops, how far
 * those of a kernel may be off. */
#ifndef TESTS_BACKENDS_CUDA_GEMM_PRODUCTS_H
#define TESTS_BACKENDS_CUDA_GEMM_PRODUCTS_H

#include "operands.h"

#include <math.h>

/* F32 as the tensor cores see it: the nearest number of 11 bits. */
static inline double *factors(const operand *o)
{
    double *values = oracle_doubles(&o->array);
    for (int64_t i = 0; o->array.dtype == LEAT_DTYPE_F32 && i < o->array.shape[0]; i++) {
        int exponent;
        double part = frexp(values[i], &exponent);
        values[i] = ldexp(rint(ldexp(part, 11)), exponent - 11);
    }
    return values;
}

/* One rounding to the type of the result; sums in f32 of products below 1, as tensor cores add
 * (truncating: of TF32 every 8 products, by up to 2^-23 of the sum, half of it on average, which
 * results of F32 show); the fast exponential of activations. */
static inline double tolerance(leat_dtype dtype, double expected, int64_t k)
{
    double unit = dtype == LEAT_DTYPE_F32   ? 0x1p-22 + 0x1p-27 * (double)k
                  : dtype == LEAT_DTYPE_F16 ? 0x1p-11
                                            : 0x1p-8;
    return unit * fabs(expected) + 0x1p-21 * sqrt((double)k) + 0x1p-24 * (double)k + 4e-6;
}

/* Result (b, r, c) of a product. */
static inline double product_at(const lt_cuda_gemm_desc *d, const double *a, const double *b,
                                int64_t batch, int64_t r, int64_t c)
{
    const double *row = a + batch * d->a_batch + r * d->lda;
    const double *from = b + batch * d->b_batch + (d->b_transposed ? c * d->ldb : c);
    int64_t step = d->b_transposed ? 1 : d->ldb;
    double sum = 0;
    for (int64_t i = 0; i < d->k; i++) {
        sum += row[i] * from[i * step];
    }
    return sum * d->scale;
}

static inline lt_cuda_gemm_desc dense(leat_dtype dtype, int transposed, int64_t m, int64_t n,
                                      int64_t k)
{
    int64_t k8 = (k + 7) / 8 * 8;
    int64_t n8 = (n + 7) / 8 * 8;
    return (lt_cuda_gemm_desc){.dtype = dtype,
                               .out_dtype = dtype,
                               .b_transposed = transposed,
                               .scale = 1,
                               .m = m,
                               .n = n,
                               .k = k,
                               .batch = 1,
                               .lda = k8,
                               .ldb = transposed ? k8 : n8,
                               .ldd = n,
                               .ldr = n};
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Functions over contiguous rows of f32, in three instruction sets. */
#ifndef LT_CPU_ROWS_KERNEL_H
#define LT_CPU_ROWS_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lt_row_kernels {
    /* y = exp(x - max x) / sum, or its logarithm. n at least 1; y may be x. */
    void (*softmax)(const float *x, float *y, int64_t n, bool logarithm);
    /* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; scale and bias NULL for none. Mean
     * and 1 / sqrt(variance + epsilon) are stored. With `root` the mean is taken as 0 (RMS). */
    void (*normalize)(const float *x, float *y, int64_t n, const float *scale, const float *bias,
                      float epsilon, bool root, float *out_mean, float *out_inverse);
    /* y = x * scale[i] + shift[i] (channels last), or with one pair for all. */
    void (*affine)(const float *x, float *y, int64_t n, const float *scale, const float *shift,
                   bool one_pair);
} lt_row_kernels;

extern const lt_row_kernels lt_row_kernels_portable;
extern const lt_row_kernels lt_row_kernels_avx2;
extern const lt_row_kernels lt_row_kernels_avx512;

#endif

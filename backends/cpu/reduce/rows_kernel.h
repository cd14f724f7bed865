/* SPDX-License-Identifier: Apache-2.0 */
/* Functions over contiguous runs of f32, in three instruction sets. Inputs may be unaligned. */
#ifndef LT_CPU_ROWS_KERNEL_H
#define LT_CPU_ROWS_KERNEL_H

#include "cpu.h"

typedef enum lt_row_op {
    LT_ROW_SUM,
    LT_ROW_L1,     /* sum of |x| */
    LT_ROW_SQUARE, /* sum of x * x */
    LT_ROW_MAX,    /* NaN when any is, as are min and sums */
    LT_ROW_MIN
} lt_row_op;

/* Elements of a row that short_rows is meant for, at most. */
#define LT_ROW_SHORT 16

/* Columns that one call of softmax_columns takes at most. */
#define LT_ROW_COLUMNS 64

typedef struct lt_row_kernels {
    /* One number of n. Sums: f32 with LANES partial sums over pieces of 4096 elements,
     * pieces added in double, so that the relative error (of the sum of magnitudes) stays below
     * 2^-16 whatever n is. Of nothing: 0, or the infinity that loses. */
    double (*reduce)(lt_row_op op, const float *x, int64_t n);
    /* y[i] = the same of row i of x, rows of n in a run; in f32, n a few. */
    void (*short_rows)(lt_row_op op, const float *x, int64_t n, float *y, int64_t rows);
    /* Sum of (x - center)^2, likewise. */
    double (*squares)(const float *x, int64_t n, float center);
    /* Sum of exp(x - top), likewise; at most 2 ulp more for each exp. */
    double (*exp_sum)(const float *x, int64_t n, float top);
    /* acc[i] = acc[i] op x[i]. */
    void (*fold)(lt_row_op op, double *acc, const float *x, int64_t n);
    /* y = exp(x - max x) / sum, or its logarithm. n at least 1; y may be x. */
    void (*softmax)(const float *x, float *y, int64_t n, bool logarithm);
    /* y = exp(x - top) * factor, or with `logarithm` x - top - factor. */
    void (*softmax_apply)(const float *x, float *y, int64_t n, float top, float factor,
                          bool logarithm);
    /* Softmax down n columns, at most LT_ROW_COLUMNS, of `extent` rows that are `stride` apart. */
    void (*softmax_columns)(const float *x, float *y, int64_t extent, int64_t stride, int64_t n,
                            bool logarithm);
    /* y = (x - mean) * inverse * scale + bias; scale and bias NULL for none. */
    void (*normalize)(const float *x, float *y, int64_t n, const float *scale, const float *bias,
                      float mean, float inverse);
    /* y = (x - center) * scale + shift. */
    void (*center)(const float *x, float *y, int64_t n, float center, float scale, float shift);
    /* y = x * scale[i] + shift[i] (channels last), or with one pair for all. */
    void (*affine)(const float *x, float *y, int64_t n, const float *scale, const float *shift,
                   bool one_pair);
    /* Index of the first (last) largest or smallest element; of the first NaN if there is one. */
    int64_t (*find)(const float *x, int64_t n, bool largest, bool last);
} lt_row_kernels;

extern const lt_row_kernels lt_row_kernels_portable;
extern const lt_row_kernels lt_row_kernels_avx2;
extern const lt_row_kernels lt_row_kernels_avx512;

/* The best of the three for a device. */
const lt_row_kernels *lt_row_kernels_for(const lt_cpu_device *device);

#endif

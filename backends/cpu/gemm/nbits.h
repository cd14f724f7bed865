/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of 4 or 8 bits, a scale and a zero point for each block of a row:
 *
 *     y[m, n] = sum over k of x[m, k] * w[n, k],    w = scale[n, k / block] * (q[n, k] - zero)
 *
 * in f32, the weights made on the way from memory: what few rows of x wait for is memory, and that
 * is 5.6 times less than in f32. Columns are lanes; a group of them is packed as
 *
 *     for each block:  | 32 / bits numbers of each lane, ... | scales | lows (if zeros differ) |
 *
 * with low = -scale * zero. Inside a block q * x is summed up, and the block's sum scaled: 2 or 3
 * operations make a vector of weights, one more for each row of x uses it. */
#ifndef LT_CPU_GEMM_NBITS_H
#define LT_CPU_GEMM_NBITS_H

#include "cpu.h"

#define LT_NBITS_ROWS 8

typedef struct lt_nbits_tile {
    const uint32_t *w; /* packed, of one group */
    size_t blocks, block;
    const float *x; /* rows of `ldx` */
    size_t ldx;
    const float *sums; /* of x over each block, rows of `blocks` */
    float *y;
    size_t ldy;
    uint32_t n; /* columns that there are */
    float zero; /* without lows */
    bool has_low;
} lt_nbits_tile;

typedef void (*lt_nbits_fn)(const lt_nbits_tile *tile);

/* Kernels of 1, 2, 4 and 8 rows, for 4 and for 8 bits. */
typedef struct lt_nbits_kernels {
    const char *name;
    uint32_t lanes;
    lt_nbits_fn four[4], eight[4];
} lt_nbits_kernels;

extern const lt_nbits_kernels lt_nbits_portable, lt_nbits_avx2, lt_nbits_avx512;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of the kernels that move elements (layout.hpp). A number at the end of a kernel's name
 * is the bytes of an element. */
#ifndef LT_GPU_PARAMS_LAYOUT_H
#define LT_GPU_PARAMS_LAYOUT_H

#include "common.h"

/* lt_gpu_copy_{1,2,4,8}: y[sum i_d * y_stride[d]] = x[sum i_d * x_stride[d]] over all i in `index`:
 * Transpose of any rank, Slice (x and strides moved, negative ones too), Concat (one launch for an
 * input, y moved), Expand (x strides 0), Split. 16 bytes at a time where the innermost dimension
 * is dense in both and everything is aligned. x and y must not overlap. */
typedef struct lt_gpu_copy {
    const void *x; /* element at indices 0 */
    void *y;
    int64_t count;
    lt_gpu_index index;
    int64_t x_stride[LT_GPU_MAX_RANK]; /* in elements */
    int64_t y_stride[LT_GPU_MAX_RANK];
} lt_gpu_copy;

/* lt_gpu_interleave_{1,2,4}: y[n][g][j][r][c] = x[n][c][g * rows + r - top][j - left], `fill` where
 * that lies outside of x: an image of few channels with `rows` of its rows side by side and its
 * channels padded to 1 << slots_log2. Dimensions of y: groups, columns, rows, slots; count is a
 * multiple of 16 bytes' elements. Pointwise grid over count, 16 / bytes of an element a thread. */
typedef struct lt_gpu_interleave {
    const void *x;
    void *y; /* aligned on 16 bytes */
    int64_t count;
    int64_t x_stride[4]; /* n, c, h, w */
    lt_gpu_divisor groups;
    lt_gpu_divisor columns;
    lt_gpu_divisor pixel; /* rows << slots_log2 */
    int32_t rows;
    int32_t slots_log2;
    int32_t channels;
    int32_t height;
    int32_t width;
    int32_t top;
    int32_t left;
    uint32_t fill; /* bits of an element */
} lt_gpu_interleave;

#define LT_GPU_TRANSPOSE_TILE 32

/* lt_gpu_transpose_{1,2,4,8}: y[b][c][r] = x[b][r][c] through shared memory: NCHW to NHWC (rows C,
 * columns H * W) and back. Work items: tiles, lt_gpu_transpose_tiles; a block takes one at a time
 * (grid: at most that many blocks). 2 to LT_GPU_TRANSPOSE_FEW rows whose columns are a multiple of
 * 16 bytes: any grid, 16 bytes of each row a thread. */
#define LT_GPU_TRANSPOSE_FEW 4
typedef struct lt_gpu_transpose {
    const void *x;
    void *y;
    int32_t batch;
    int32_t rows;
    int32_t columns;
} lt_gpu_transpose;

static inline int64_t lt_gpu_transpose_tiles(const lt_gpu_transpose *p)
{
    int64_t tile = LT_GPU_TRANSPOSE_TILE;
    return p->batch * ((p->rows + tile - 1) / tile) * ((p->columns + tile - 1) / tile);
}

typedef enum lt_gpu_pad_mode {
    LT_GPU_PAD_CONSTANT = 0,
    LT_GPU_PAD_REFLECT,
    LT_GPU_PAD_EDGE,
    LT_GPU_PAD_WRAP
} lt_gpu_pad_mode;

/* lt_gpu_pad_{1,2,4,8}: y of the dimensions `index`, contiguous; before[d] elements of padding
 * (negative: crops) ahead of x's. All modes but CONSTANT need x_size >= 1. */
typedef struct lt_gpu_pad {
    const void *x;
    void *y;
    int64_t count; /* of y */
    lt_gpu_index index;
    int32_t before[LT_GPU_MAX_RANK];
    int32_t x_size[LT_GPU_MAX_RANK];
    int64_t x_stride[LT_GPU_MAX_RANK];
    int32_t mode;
    uint64_t value; /* the constant's bits, in the low bytes */
} lt_gpu_pad;

/* lt_gpu_gather_{1,2,4,8}: y[o][i][n] = x[o][indices[i]][n]. Negative indices count from the end;
 * one out of range gives zeros and sets bit 0 of *error. */
typedef struct lt_gpu_gather {
    const void *x;
    const void *indices;
    void *y;
    uint32_t *error;
    int64_t count; /* outer * n_indices * inner */
    int32_t axis_size;
    int32_t indices_64; /* 1: i64, 0: i32 */
    lt_gpu_divisor n_indices;
    lt_gpu_divisor inner;
} lt_gpu_gather;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of matrix products without tensor cores (gemm.hpp). */
#ifndef LT_GPU_PARAMS_GEMM_H
#define LT_GPU_PARAMS_GEMM_H

#include "common.h"

#define LT_GPU_GEMM_K 16       /* a split is a multiple of it */
#define LT_GPU_GEMV_ROWS 8     /* most rows of a for lt_gpu_gemv_* */
#define LT_GPU_GEMV_COLUMNS 32 /* packs of columns that a block of lt_gpu_gemv_nn_* takes */

/* y[i][j] = activation(alpha * sum_k a[i][k] * b[k][j] + beta * bias[i][j] + residual[i][j]) for
 * each of `batch` matrices; y and residual dense. a[i][k] lies at a + i * a_row + k * a_column, so
 * that a transposed matrix is one with its strides exchanged; b likewise. bias lies at i * bias_row
 * + j * bias_column, the same for all matrices; bias and residual may be NULL. wide_*: f32, not T.
 *
 * lt_gpu_gemm_{f32,f16,bf16}_{64x64,128x128}: any strides. Items: lt_gpu_gemm_items(p, 64 or 128);
 *   a block takes one at a time (grid: at most that many blocks).
 * lt_gpu_gemv_nt_T: m <= LT_GPU_GEMV_ROWS, a_column and b_row 1: a warp for a column of y. Items:
 *   n * batch warps, so (n * batch + 3) / 4 blocks or fewer. No splits.
 * lt_gpu_gemv_nn_T: m <= LT_GPU_GEMV_ROWS, b_column 1. Items: lt_gpu_gemv_nn_items(p, bytes of T),
 *   one a block.
 *
 * splits > 1: k is cut in parts of k_split (a multiple of LT_GPU_GEMM_K, k_split * splits >= k)
 * whose sums go to workspace, f32, [splits][batch][m][n]; lt_gpu_gemm_finish_T then adds them in
 * order and applies the epilogue (threads and grid of a pointwise kernel over batch * m * n). */
typedef struct lt_gpu_gemm {
    const void *a;
    const void *b;
    const void *bias;
    const void *residual;
    void *y;
    float *workspace;
    int32_t m;
    int32_t n;
    int32_t k;
    int32_t batch;
    int32_t splits; /* at least 1 */
    int32_t k_split;
    int64_t a_row;
    int64_t a_column;
    int64_t b_row;
    int64_t b_column;
    int64_t bias_row;
    int64_t bias_column;
    lt_gpu_index batch_index; /* of the matrices */
    int64_t a_stride[LT_GPU_MAX_RANK];
    int64_t b_stride[LT_GPU_MAX_RANK]; /* 0 where broadcast */
    float alpha;
    float beta;
    lt_gpu_activation activation;
    int32_t wide_bias;
    int32_t wide_residual;
    int32_t wide_y;
} lt_gpu_gemm;

static inline int64_t lt_gpu_gemm_items(const lt_gpu_gemm *p, int32_t tile)
{
    return (int64_t)p->batch * p->splits * ((p->m + tile - 1) / tile) * ((p->n + tile - 1) / tile);
}

static inline int64_t lt_gpu_gemv_nn_items(const lt_gpu_gemm *p, int32_t element_bytes)
{
    int32_t columns = LT_GPU_GEMV_COLUMNS * (16 / element_bytes);
    return (int64_t)p->batch * p->splits * ((p->n + columns - 1) / columns);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of reductions and of the softmax (reduce.hpp). */
#ifndef LT_GPU_PARAMS_REDUCE_H
#define LT_GPU_PARAMS_REDUCE_H

#include "common.h"

typedef enum lt_gpu_reduction {
    LT_GPU_REDUCE_SUM = 0,
    LT_GPU_REDUCE_MEAN,
    LT_GPU_REDUCE_MAX,
    LT_GPU_REDUCE_MIN,
    LT_GPU_REDUCE_PROD,
    LT_GPU_REDUCE_L1,
    LT_GPU_REDUCE_L2,
    LT_GPU_REDUCE_SUM_SQUARE,
    LT_GPU_REDUCE_LOG_SUM
} lt_gpu_reduction;

/* y[i] = op over all r of x[i * kept_stride + r * reduced_stride]: the kept dimensions in the order
 * of y (dense), the reduced ones in any order.
 * lt_gpu_reduce_block_{f32,f16,bf16}: a block for an element of y (grid: at most n_kept).
 *   lt_gpu_reduce_thread_T: a thread for an element (threads and grid over n_kept): better where
 *   the innermost dimension is kept. An empty reduction (n_reduced 0) gives the neutral number. */
typedef struct lt_gpu_reduce {
    const void *x;
    void *y;
    int32_t n_kept;
    int32_t n_reduced;
    lt_gpu_index kept;
    lt_gpu_index reduced;
    int64_t kept_stride[LT_GPU_MAX_RANK];
    int64_t reduced_stride[LT_GPU_MAX_RANK];
    int32_t op; /* lt_gpu_reduction */
} lt_gpu_reduce;

/* lt_gpu_arg_{f32,f16,bf16}: y[o][i] (i64) = number of the largest (or smallest) of x[o][.][i], the
 *   first or the last of several. A block for an element of y (grid: at most outer * inner). */
typedef struct lt_gpu_arg {
    const void *x;
    int64_t *y;
    int32_t outer;
    int32_t size; /* at least 1 */
    int32_t inner;
    int32_t smallest; /* 1: argmin */
    int32_t last;     /* 1: the last of equals */
} lt_gpu_arg;

/* y[o][.][i] = softmax(x[o][.][i]), or its logarithm. y may be x.
 * lt_gpu_softmax_warp_{f32,f16,bf16}: a warp for a row: (rows + 3) / 4 blocks or fewer.
 *   lt_gpu_softmax_block_T: a block for a row (outer * inner blocks or fewer): for size > 1024. */
typedef struct lt_gpu_softmax {
    const void *x;
    void *y;
    int32_t outer;
    int32_t size;
    int32_t inner;
    int32_t log;
} lt_gpu_softmax;

#endif

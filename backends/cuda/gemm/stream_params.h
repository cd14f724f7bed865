/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels of stream.cuh share. */
#ifndef LEAT_CUDA_GEMM_STREAM_PARAMS_H
#define LEAT_CUDA_GEMM_STREAM_PARAMS_H

#include "params.h"

/* Tiles of 128 rows: columns, blocks that share a multiprocessor. */
#define LT_STREAM_TILES(X)                                                                         \
    X(128, 1)                                                                                      \
    X(64, 1)                                                                                       \
    X(64, 2)
#define LT_STREAM_N_TILES 3
#define LT_STREAM_ROWS 128u

#define LT_STREAM_THREADS 384u /* a warpgroup that copies, two that compute */
#define LT_STREAM_MAX_STAGES 8u
#define LT_STREAM_MAX_SLOTS 3u /* tiles of results that are on their way in or out */

/* Shared memory beside stages, resident weights and slots: alignment, two warpgroups' bias,
 * barriers. And what a block can have. */
#define LT_STREAM_OTHER_BYTES(columns)                                                             \
    (1024u + 2 * (columns)*4u + (2 * LT_STREAM_MAX_STAGES + 2 * LT_STREAM_MAX_SLOTS + 1) * 8u)
#define LT_STREAM_SHARED_BYTES(blocks) ((233472u / (blocks)) - 1024u)

/* A second source of products: pixels of its own by strides of its own, one tap. 0 steps: none. */
typedef struct lt_cuda_stream_source {
    lt_cuda_gemm_map a, b;
    uint64_t bias;
    uint32_t bias_type;
    uint32_t steps;
    int32_t stride_h, stride_w;
} lt_cuda_stream_source;

/* Every kernel's only parameter. In `gemm` splits is 1; d, residual and their strides are not
 * used. */
typedef struct lt_cuda_stream_params {
    lt_cuda_gemm_params gemm;
    lt_cuda_gemm_map d, residual;
    lt_cuda_stream_source second;
    uint32_t slots;
    uint32_t resident; /* B of all steps stays in shared memory; grid is a multiple of tiles_n */
} lt_cuda_stream_params;

#endif

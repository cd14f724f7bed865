/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels of gemm/ share: the list of kernels and the parameter of all of them. */
#ifndef LEAT_CUDA_GEMM_PARAMS_H
#define LEAT_CUDA_GEMM_PARAMS_H

#include <stdint.h>

/* Tiles: rows, columns, stages of the pipeline. A stage is a tile's A and B of LT_GEMM_STEP
 * elements of k. (Pairs of blocks that share B by multicast were tried: 128 x 256 ran at 0.6 of the
 * speed of single blocks.) */
#define LT_GEMM_TILES(X)                                                                           \
    X(128, 256, 4)                                                                                 \
    X(128, 128, 6)                                                                                 \
    X(128, 64, 8)                                                                                  \
    X(64, 128, 8)                                                                                  \
    X(64, 64, 12)
#define LT_GEMM_N_TILES 5

/* Kernels of one type and tile, by where their operands come from: B as [n][k], B as [k][n], and
 * a convolution's (A gathered from pixels, B as [n][taps][c]). */
enum lt_cuda_gemm_source {
    LT_GEMM_NK = 0,
    LT_GEMM_KN = 1,
    LT_GEMM_CONV = 2,
    LT_GEMM_N_SOURCES = 3
};

/* Order of kernels: [type][source][tile], type 0 F16, 1 BF16. */
#define LT_GEMM_N_KERNELS (2 * LT_GEMM_N_SOURCES * LT_GEMM_N_TILES)

#define LT_GEMM_STEP 64u             /* elements of k: 128 bytes, a row of the swizzle */
#define LT_GEMM_THREADS 384u         /* a producing warpgroup and two that compute */
#define LT_GEMM_STAGING_BYTES 16384u /* results on their way out: 16 x 64 a warp */
#define LT_GEMM_BARRIER_BYTES 256u
#define LT_GEMM_MAX_SPLIT 8u

/* Bytes of a block's shared memory; 1024 to align the stages. */
#define LT_GEMM_SHARED_BYTES(rows, columns, stages)                                                \
    ((stages) * ((rows) + (columns)) * LT_GEMM_STEP * 2u + LT_GEMM_STAGING_BYTES +                 \
     LT_GEMM_BARRIER_BYTES + 1024u)

typedef enum lt_cuda_gemm_activation {
    LT_GEMM_LINEAR = 0,
    LT_GEMM_RELU = 1,
    LT_GEMM_CLIP = 2, /* to alpha .. beta */
    LT_GEMM_SIGMOID = 3,
    LT_GEMM_TANH = 4,
    LT_GEMM_LEAKY_RELU = 5,   /* slope alpha */
    LT_GEMM_HARD_SIGMOID = 6, /* clip(alpha x + beta, 0, 1) */
    LT_GEMM_HARD_SWISH = 7,
    LT_GEMM_GELU = 8,
    LT_GEMM_GELU_TANH = 9,
    LT_GEMM_SWISH = 10,             /* x sigmoid(alpha x) */
    LT_GEMM_SCALED_HARD_SWISH = 11, /* alpha HardSwish(x) + beta */
    LT_GEMM_N_ACTIVATIONS = 12
} lt_cuda_gemm_activation;

/* Activations by their form, so that kernels have code for five of them. */
enum lt_cuda_gemm_finish {
    LT_GEMM_FINISH_NONE = 0,
    LT_GEMM_FINISH_CLAMP = 1,    /* min(max(x, c0), c1) */
    LT_GEMM_FINISH_LEAKY = 2,    /* x < 0 ? c0 x : x */
    LT_GEMM_FINISH_HARD = 3,     /* (c0 + c1 x) clip(c2 x + c3, 0, 1) + c4 */
    LT_GEMM_FINISH_LOGISTIC = 4, /* (c0 + c1 x) / (1 + exp2(x (c2 + c3 x x))) + c4 */
    LT_GEMM_FINISH_GELU = 5
};

/* Types of D, bias and residual. */
enum lt_cuda_gemm_type {
    LT_GEMM_NONE = 0,
    LT_GEMM_F32 = 1,
    LT_GEMM_F16 = 2,
    LT_GEMM_BF16 = 3
};

#ifdef __cplusplus
#define LT_GEMM_ALIGNED alignas(64)
#else
#define LT_GEMM_ALIGNED _Alignas(64)
#endif

/* A CUtensorMap. */
typedef struct lt_cuda_gemm_map {
    LT_GEMM_ALIGNED uint64_t opaque[16];
} lt_cuda_gemm_map;

/* Every kernel's only parameter, by value.
 * Of a batch all tiles of one product come before those of the next. Within a product, swaths of
 * `swath` rows of tiles are walked column by column, so that what runs at one time shares its rows
 * of A and columns of B in the L2 cache. */
typedef struct lt_cuda_gemm_params {
    lt_cuda_gemm_map a, b;
    uint64_t d, bias, residual; /* device addresses */
    int64_t ldd, ldr, d_batch, r_batch;
    uint32_t m, n;
    uint32_t tiles_m, tiles_n, n_tiles; /* n_tiles: of the whole batch */
    uint32_t swath;
    uint32_t steps;                /* of k */
    uint32_t splits;               /* blocks of a cluster that share a tile's steps */
    uint32_t a_batched, b_batched; /* 0: one matrix for the whole batch */
    uint32_t a_box_rows;           /* rows of A that a load brings, at most the tile's */
    uint32_t finish;               /* lt_cuda_gemm_finish */
    float c[5];                    /* its constants */
    float scale;
    uint32_t out_type, bias_type, residual_type; /* lt_cuda_gemm_type */
    uint32_t wide;                               /* D and its rows are aligned on 16 bytes */
    uint32_t residual_wide;                      /* the same of the residual, of 16 bits */
    /* Convolution: k is taps (kh outer, kw inner), each of c_steps steps. */
    uint32_t c_steps, kw;
    uint32_t out_h, out_w;
    uint32_t stride_h, stride_w, dilation_h, dilation_w;
    int32_t corner_h, corner_w; /* -pad */
} lt_cuda_gemm_params;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels of gemm/ share: the list of kernels and the parameter of all of them. */
#ifndef LEAT_CUDA_GEMM_PARAMS_H
#define LEAT_CUDA_GEMM_PARAMS_H

#include <stdint.h>

/* Tiles: rows, columns, stages of the pipeline where a multiprocessor has one block. A stage is a
 * tile's A and B of a step of k. A warpgroup computes 64 rows; of tiles of 64 rows two blocks, of
 * half the stages, fit on a multiprocessor. */
#define LT_GEMM_TILES(X)                                                                           \
    X(128, 256, 4)                                                                                 \
    X(128, 128, 6)                                                                                 \
    X(128, 64, 8)                                                                                  \
    X(64, 128, 8)                                                                                  \
    X(64, 64, 12)
#define LT_GEMM_N_TILES 5

/* Further tiles that products of halves, and products and convolutions of bytes have, without
 * splits: the two warpgroups of a block compute 128 rows each and take turns, so that one finishes
 * its rows while the other multiplies. 512 rows are those of a cluster of two blocks, each of which
 * copies half of B to both. */
#define LT_GEMM_TURN_TILES(X)                                                                      \
    X(256, 128, 6)                                                                                 \
    X(512, 128, 6)
#define LT_GEMM_N_TURN_TILES 2
#define LT_GEMM_N_ALL_TILES (LT_GEMM_N_TILES + LT_GEMM_N_TURN_TILES)

/* Kernels of one type and tile, by where their operands come from: B as [n][k], B as [k][n], and
 * a convolution's (A gathered from pixels, B as [n][taps][c]). */
enum lt_cuda_gemm_source {
    LT_GEMM_NK = 0,
    LT_GEMM_KN = 1,
    LT_GEMM_CONV = 2
};

/* Families of kernels: the type of A (of bytes B is I8; of bytes and of TF32, which is F32 in
 * memory, B lies as [n][k]) and the source. A family has a kernel for each tile. */
#define LT_GEMM_FAMILIES(X)                                                                        \
    X(f16, nk)                                                                                     \
    X(f16, kn)                                                                                     \
    X(f16, conv)                                                                                   \
    X(bf16, nk)                                                                                    \
    X(bf16, kn)                                                                                    \
    X(bf16, conv)                                                                                  \
    X(i8, nk)                                                                                      \
    X(i8, conv)                                                                                    \
    X(u8, nk)                                                                                      \
    X(u8, conv)                                                                                    \
    X(tf32, nk)                                                                                    \
    X(tf32, conv)
#define LT_GEMM_N_FAMILIES 12

/* Those that have the further tiles, too. */
#define LT_GEMM_TURN_FAMILIES(X)                                                                   \
    X(f16, nk)                                                                                     \
    X(f16, kn)                                                                                     \
    X(bf16, nk)                                                                                    \
    X(bf16, kn)                                                                                    \
    X(tf32, nk)                                                                                    \
    X(i8, nk)                                                                                      \
    X(i8, conv)                                                                                    \
    X(u8, nk)                                                                                      \
    X(u8, conv)
#define LT_GEMM_N_TURN_FAMILIES 9
#define LT_GEMM_N_TILE_KERNELS (LT_GEMM_N_FAMILIES * LT_GEMM_N_TILES)
#define LT_GEMM_N_KERNELS (LT_GEMM_N_TILE_KERNELS + LT_GEMM_N_TURN_FAMILIES * LT_GEMM_N_TURN_TILES)

/* Kernels of bytes whose weights stay in shared memory (resident.cuh), behind all others: I8 and
 * U8, each with steps of 64 and of 128 bytes. Their tile, threads (three warpgroups, the last
 * copies) and most stages. */
#define LT_RESIDENT_N_KERNELS 4
#define LT_RESIDENT_ROWS 128u
#define LT_RESIDENT_COLUMNS 64u
#define LT_RESIDENT_THREADS 384u
#define LT_RESIDENT_MAX_STAGES 8u

/* Modules: F16, BF16, I8, U8, TF32. */
#define LT_GEMM_N_MODULES 5

#define LT_GEMM_STEP_BYTES 128u /* of k: 32 TF32, 64 halves or 128 bytes, a row of the swizzle */
#define LT_GEMM_BARRIER_BYTES 256u
#define LT_GEMM_MAX_SPLIT 8u

/* The tile of products with LayerNormalization: 512 x 128 of the further ones. */
#define LT_GEMM_NORM_TILE (LT_GEMM_N_TILES + 1)
#define LT_GEMM_NORM_ROWS 512u
#define LT_GEMM_NORM_COLUMNS 128u
#define LT_GEMM_NORM_MEETING_ROWS 128u

/* Threads of a block: warpgroups that compute, and behind them a warp that copies, or where there
 * are two of them a warpgroup, which gives its registers away. */
#define LT_GEMM_THREADS(rows) ((rows) >= 128 ? 384u : 160u)

/* Rows of a block that a stage holds, and blocks of a cluster that share B. */
#define LT_GEMM_STAGE_ROWS(rows) ((rows) < 128 ? (rows) : 128)
#define LT_GEMM_SHARERS(rows) ((rows) > 256 ? (rows) / 256u : 1u)

/* Results on their way out: 16 x 128 bytes a warp. */
#define LT_GEMM_STAGING_BYTES(rows) (LT_GEMM_STAGE_ROWS(rows) / 16 * 2048u)

/* What the epilogue needs of a tile's columns, for each warpgroup: 3 numbers, an array each; of
 * bytes 16 bytes lie between every 32 of an array. */
#define LT_GEMM_COLUMN_BYTES(rows, columns)                                                        \
    (LT_GEMM_STAGE_ROWS(rows) / 64 * (columns) / 8 * 9 * 3u * 4u)

/* Stages that a tile's residual of halves takes: panels of 64 columns, as large as a stage's A. */
#define LT_GEMM_STAGE_PANELS(rows, columns) (1 + (columns) / LT_GEMM_STAGE_ROWS(rows))
#define LT_GEMM_RESIDUAL_STAGES(rows, columns)                                                     \
    (((columns) / 64 + LT_GEMM_STAGE_PANELS(rows, columns) - 1) /                                  \
     LT_GEMM_STAGE_PANELS(rows, columns))

/* Bytes of a block's shared memory; 1024 to align the stages. */
#define LT_GEMM_SHARED_BYTES(rows, columns, stages)                                                \
    ((stages) * (LT_GEMM_STAGE_ROWS(rows) + (columns)) * LT_GEMM_STEP_BYTES +                      \
     LT_GEMM_STAGING_BYTES(rows) + LT_GEMM_COLUMN_BYTES(rows, columns) + LT_GEMM_BARRIER_BYTES +   \
     1024u)

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
    LT_GEMM_BF16 = 3,
    LT_GEMM_I8 = 4,
    LT_GEMM_U8 = 5,
    LT_GEMM_I32 = 6
};

/* What becomes of the sums of a product of bytes, in f32 and in this order; the CPU's kernels
 * (backends/cpu/int8) compute the same:
 *
 *     f = (sum + offset[n]) * scale[n] + bias[n]                          one rounding
 *     f = round(min(max(f, mid_low), mid_high))                           if mid
 *     f = f * mid_factor + (R * residual_factor + residual_offset)        with a residual R
 *     f = activation(f) * post                                            with an activation
 *     f = min(max(f, low), high)
 *     D = f, or of bytes round(f) + zero
 *
 * round is to nearest, halves to even. R of I8 counts from -128: R = 0 to 255, and residual_offset
 * takes 128 residual_factor off. D of I32 is sum + offset[n], nothing else. Where A's scale and
 * zero point are computed by a kernel before (x_scale, x_zero), scale[n] is of B alone and
 * offset[n] the sum of B's column, and the kernel makes of them
 *
 *     scale[n] = x_scale * scale[n]        offset[n] = -x_zero * offset[n] */
typedef struct lt_cuda_gemm_requantize {
    int32_t mid;
    float mid_low, mid_high, mid_factor; /* mid_factor: 1 where nothing is to be scaled */
    float residual_factor, residual_offset;
    float post;
    float low, high; /* saturation, relative to zero, and activations that are a clamp */
    int32_t zero;
} lt_cuda_gemm_requantize;

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
    lt_cuda_gemm_map r;            /* a residual that comes by the stages: panels of 64 columns */
    lt_cuda_gemm_map y;            /* D where the copy engine stores it: 16 rows of 64 columns */
    uint64_t d, bias, residual;    /* device addresses */
    uint64_t offset, column_scale; /* of bytes: i32 (0: none) and f32 by column */
    uint64_t x_scale, x_zero;      /* of bytes, 0: none: f32 and a byte of A's type */
    int64_t ldd, ldr, d_batch, r_batch;
    uint32_t m, n;
    uint32_t tiles_m, tiles_n, n_tiles; /* n_tiles: of the whole batch */
    uint32_t swath;
    uint32_t steps; /* of k */
    uint32_t stages;
    uint32_t splits;               /* blocks of a cluster that share a tile's steps */
    uint32_t a_batched, b_batched; /* 0: one matrix for the whole batch */
    uint32_t bytes;                /* A and B are bytes */
    uint32_t b_early;              /* B is there before the kernel ahead has ended */
    uint32_t a_box_rows;           /* rows of A that a load brings, at most a stage's */
    uint32_t finish;               /* lt_cuda_gemm_finish */
    float c[5];                    /* its constants */
    float scale;
    uint32_t out_type, bias_type, residual_type; /* lt_cuda_gemm_type */
    uint32_t wide;                               /* D and its rows are aligned on 16 bytes */
    uint32_t residual_wide;   /* the same of the residual; of halves, of 16 bits */
    uint32_t residual_stages; /* that a tile's residual takes behind its steps; 0: not by r */
    uint32_t by_engine;       /* D of the operands' type leaves by y; no residual but by r */
    /* LayerNormalization of D's rows (norm_end.cuh): all tiles of rows at one time. */
    uint32_t norms;
    float epsilon;
    uint64_t norm_scale, norm_bias; /* of D's type, by column */
    uint64_t moments;               /* float2 [rows of all tiles][tiles_n] */
    uint64_t meetings;              /* u32 for every 128 rows, 0 between kernels */
    lt_cuda_gemm_requantize q;      /* of bytes */
    /* Convolution: k is taps (kh outer, kw inner), each of c_steps steps. */
    uint32_t gathers; /* of resident.cuh: a convolution */
    uint32_t c_steps, kw;
    uint32_t out_h, out_w;
    uint32_t stride_h, stride_w, dilation_h, dilation_w;
    int32_t corner_h, corner_w; /* -pad */
} lt_cuda_gemm_params;

#endif

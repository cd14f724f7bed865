/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels of attend.cuh share. */
#ifndef LEAT_CUDA_GEMM_ATTEND_PARAMS_H
#define LEAT_CUDA_GEMM_ATTEND_PARAMS_H

#include "params.h"

#include "../../gpu/params/attention.h"

#define LT_ATTEND_SIZE 64u                      /* of a head, at most */
#define LT_ATTEND_GROUPS 3u                     /* warpgroups that compute, of 64 rows of q each */
#define LT_ATTEND_ROWS (64u * LT_ATTEND_GROUPS) /* of an item */
#define LT_ATTEND_KEYS 128u                     /* rows of k or v of a tile */
#define LT_ATTEND_STAGES 4u                     /* of a tile of k each, and of one of v */
#define LT_ATTEND_THREADS (128u * (LT_ATTEND_GROUPS + 1))

#define LT_ATTEND_TILE_BYTES (LT_ATTEND_KEYS * 128u)
#define LT_ATTEND_Q_BYTES (LT_ATTEND_ROWS * 128u)

/* Stages, two items' q, an item's results; biases of stages of k and whether they are all 0;
 * barriers; 1024 to align. */
#define LT_ATTEND_SHARED_BYTES                                                                     \
    (2 * LT_ATTEND_STAGES * LT_ATTEND_TILE_BYTES + 3 * LT_ATTEND_Q_BYTES +                         \
     LT_ATTEND_STAGES * (LT_ATTEND_KEYS * 4u + 8u) + (4 * LT_ATTEND_STAGES + 4) * 8u + 1024u)

/* A tensor of [batch][heads][rows][size] by strides. Rows and heads are in the map in the order of
 * their strides. */
typedef struct lt_cuda_attend_tensor {
    lt_cuda_gemm_map map;
    uint32_t heads_first; /* the head is its second coordinate, the row its third */
} lt_cuda_attend_tensor;

/* The kernels' only parameter, by value. */
typedef struct lt_cuda_attend_params {
    lt_cuda_attend_tensor q, k, v, y;
    uint64_t mask;                              /* device address, 0: none */
    int64_t mask_batch, mask_head, mask_column; /* strides in elements */
    uint32_t mask_kind, mask_columns;           /* lt_gpu_mask; further columns are hidden */
    uint32_t heads, sharers;                    /* of q; those that have one of k and v */
    uint32_t kv_rows;
    uint32_t row_tiles, key_tiles; /* of a head */
    uint32_t n_items;              /* batch, heads, row tiles */
    uint32_t together;             /* items of a head that a block takes in turn: row_tiles or 1 */
    float scale;                   /* of scores, to base 2 */
    float nothing;                 /* what a row that sees nothing gives */
} lt_cuda_attend_params;

#endif

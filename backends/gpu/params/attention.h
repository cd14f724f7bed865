/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of fused attention, without tensor cores (attention.hpp) and on them
 * (attention_mma.hpp). */
#ifndef LT_GPU_PARAMS_ATTENTION_H
#define LT_GPU_PARAMS_ATTENTION_H

#include "common.h"

#define LT_GPU_ATTENTION_ROWS 32 /* of q in a block */

typedef enum lt_gpu_mask {
    LT_GPU_MASK_NONE = 0,
    LT_GPU_MASK_ADDED, /* of T */
    LT_GPU_MASK_F32,   /* added, f32 */
    LT_GPU_MASK_BOOL   /* u8: 0 hides */
} lt_gpu_mask;

/* y = softmax(scale * q * k^T + mask) * v for each head of each image; several heads of q may share
 * one of k and v. Rows of q, k, v and y are dense; strides in elements. A row that sees nothing
 * gives `nothing`.
 * lt_gpu_attention_{f32,f16,bf16}_{64,128}: head_size and v_size up to that. Items:
 *   lt_gpu_attention_items of LT_GPU_ATTENTION_ROWS; a block takes one at a time (grid: at most
 *   that many blocks).
 * lt_gpu_attention_mma_{f16,bf16}_{64,128}x{64,128}: the same for blocks of 64 or 128 rows of q
 * (the second number), items of as many rows. Sizes and strides of q, k,
 * v and y are multiples of 8.
 * lt_gpu_attention_tf32_{64,128}x{64,128}: the same of f32, factors rounded to TF32
 * (attention_mma_tf32.hpp). Sizes and strides are multiples of 4. */
typedef struct lt_gpu_attention {
    const void *q; /* [batch][heads][q_rows][head_size] by strides; k, v, y alike */
    const void *k;
    const void *v;
    const void *mask; /* [batch][heads][q_rows][kv_rows] by strides, 0 where broadcast */
    void *y;
    int32_t batch;
    int32_t heads;
    int32_t kv_heads; /* divides heads */
    int32_t q_rows;
    int32_t kv_rows;
    int32_t head_size;
    int32_t v_size;
    int32_t mask_kind;    /* lt_gpu_mask */
    int32_t mask_columns; /* that the mask has, if there is one; further ones are hidden */
    int32_t causal;       /* 1: row i sees columns up to i + past */
    int32_t past;
    float scale;
    float nothing;       /* 0 or NaN */
    int64_t q_stride[3]; /* of batch, head, row */
    int64_t k_stride[3];
    int64_t v_stride[3];
    int64_t y_stride[3];
    int64_t mask_stride[4]; /* and column */
} lt_gpu_attention;

static inline int64_t lt_gpu_attention_items(const lt_gpu_attention *p, int32_t rows)
{
    return (int64_t)p->batch * p->heads * ((p->q_rows + rows - 1) / rows);
}

#endif

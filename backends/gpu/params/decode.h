/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of what language models run token by token (decode.hpp): attention of few queries over
 * a cache, rotary embedding, writing into a cache. */
#ifndef LT_GPU_PARAMS_DECODE_H
#define LT_GPU_PARAMS_DECODE_H

#include "common.h"

typedef enum lt_gpu_decode_mask {
    LT_GPU_DECODE_UNMASKED = 0,
    LT_GPU_DECODE_ADDED, /* of T */
    LT_GPU_DECODE_BOOL   /* u8: 0 hides */
} lt_gpu_decode_mask;

/* y = softmax(cap(scale * q * k^T) + mask) * v, cap(s) = softcap * tanh(s / softcap) where softcap
 * is not 0. Keys are past_rows rows of past_k, then kv_rows rows of k; values alike. With lengths
 * the first lengths[batch] of them count; a length outside [0, past_rows + kv_rows] sets bit 0 of
 * *error and counts as the nearest. causal: the queries are the last of the keys: row i sees the
 * first count - q_rows + i + 1 (without lengths: past_rows + i + 1). A row that sees nothing gives
 * 0. Rows are dense; strides in elements.
 * lt_gpu_decode_{f32,f16,bf16}_{64,128}: head_size and v_size up to that. Items:
 *   lt_gpu_decode_items, a block for one (grid: at most that many blocks). splits > 1: the keys
 * that count are cut in so many parts, whose sums go to `parts`, lt_gpu_decode_part floats each;
 *   lt_gpu_decode_join_T then makes y of them (a warp for a row of y). */
typedef struct lt_gpu_decode {
    const void *q;
    const void *k;
    const void *v;
    const void *past_k; /* NULL without past_rows */
    const void *past_v;
    const void *mask;
    const int64_t *lengths; /* may be NULL */
    void *y;
    float *parts;
    uint32_t *error;
    int32_t batch;
    int32_t heads;
    int32_t kv_heads; /* divides heads */
    int32_t q_rows;
    int32_t kv_rows;
    int32_t past_rows;
    int32_t head_size;
    int32_t v_size;
    int32_t mask_kind;    /* lt_gpu_decode_mask */
    int32_t mask_columns; /* columns that the mask has; others are hidden */
    int32_t causal;
    int32_t splits; /* at least 1 */
    float scale;
    float softcap;
    int64_t q_stride[3]; /* of batch, head, row */
    int64_t k_stride[3];
    int64_t v_stride[3];
    int64_t past_k_stride[3];
    int64_t past_v_stride[3];
    int64_t y_stride[3];
    int64_t mask_stride[4]; /* and column; 0 where broadcast */
} lt_gpu_decode;

static inline int64_t lt_gpu_decode_rows(const lt_gpu_decode *p)
{
    return (int64_t)p->batch * p->heads * p->q_rows;
}

static inline int64_t lt_gpu_decode_items(const lt_gpu_decode *p)
{
    return lt_gpu_decode_rows(p) * p->splits;
}

/* Largest score, total, and the sums of v_size columns. */
static inline int64_t lt_gpu_decode_part(const lt_gpu_decode *p)
{
    return (int64_t)p->v_size + 2;
}

/* lt_gpu_rotary_{f32,f16,bf16}: pairs (a, b) of a head's first 2 * half elements become (a cos - b
 * sin, a sin + b cos), the others are copied. Pairs are elements i and half + i, or neighbours with
 * `interleaved`. Row r of cosines and sines, of `half` elements, is that of the token's position,
 * or, without positions, the token's own; a position outside [0, table_rows) leaves zeros and sets
 * bit 0 of *error. x and y are dense, of [batch][heads][seq][size] with heads_first, otherwise of
 * [batch][seq][heads][size]. Pointwise grid over count. */
typedef struct lt_gpu_rotary {
    const void *x;
    const void *cosines;
    const void *sines;
    const int64_t *positions; /* [batch][seq], may be NULL */
    void *y;
    uint32_t *error;
    int64_t count;
    lt_gpu_divisor size;
    lt_gpu_divisor seq;
    lt_gpu_divisor heads;
    int32_t half;
    int32_t table_rows;
    int32_t interleaved;
    int32_t heads_first;
} lt_gpu_rotary;

/* lt_gpu_tensor_scatter_{1,2,4,8}: y = x with `update` written over rows first, first + 1, ... of
 * the axis of each batch item, first = indices[batch item] (NULL: 0); circular: modulo the axis'
 * length, else an update that does not fit is left out and sets bit 0 of *error. Of an element size
 * of 1, 2, 4 or 8 bytes, runs of `run` such elements behind the axis. x may be y: then only the
 * update is written; x and y must not overlap otherwise. Pointwise grid over batch * rows * length
 * * run. */
typedef struct lt_gpu_tensor_scatter {
    const void *x;
    const void *update;
    const int64_t *indices;
    void *y;
    uint32_t *error;
    int32_t batch;
    lt_gpu_divisor rows;   /* between batch and axis */
    lt_gpu_divisor length; /* of the axis */
    lt_gpu_divisor added;  /* of the axis in the update, at most length */
    lt_gpu_divisor run;
    int32_t circular;
} lt_gpu_tensor_scatter;

#endif

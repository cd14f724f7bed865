/* SPDX-License-Identifier: Apache-2.0 */
/* Attention at fixed shapes:
 *
 *     Y[b, h, i, :] = sum over j of softmax_j(s[i, j]) * V[b, h / group, j, :]
 *     s[i, j] = cap(scale * Q[b, h, i, :] . K[b, h / group, j, :]) + mask[b, h, i, j]
 *
 * A block of rows of s at a time is in memory, never all of s: the maximum and the sum of a row are
 * carried on from one block of keys to the next and what was added up is scaled when the maximum
 * grows (Milakov and Gimelshein, arXiv:1805.02867; Rabe and Staats, arXiv:2112.05682; Dao et al.,
 * arXiv:2205.14135).
 *
 * A task is a head of K and V of a batch item (with all heads of Q that share it) and a range of
 * their rows. For each block of keys it packs K transposed and V for gemm's micro-kernels, which
 * compute both products, meanwhile asking for the rows of the next head. Both bound it: 2 (d + dv)
 * operations for each element of s; then the exponential, about 10 operations each.
 *
 * Sums and softmax are f32. bf16 data stays bf16 as factors of the products where the processor has
 * dot products of pairs, and d is even: so do the powers, rounded. Other data is widened to f32. */
#ifndef LT_CPU_ATTENTION_H
#define LT_CPU_ATTENTION_H

#include "attention/softmax_rows.h"
#include "elementwise/half.h"
#include "gemm/mixed.h"
#include "movement/movement.h"

/* Elements between neighbours; the last dimension has no gaps. */
typedef struct lt_attention_strides {
    int64_t batch, head, row;
} lt_attention_strides;

typedef struct lt_attention {
    leat_dtype dtype; /* F32, F16, BF16 of everything but the mask */
    int64_t batch, heads, kv_heads;
    int64_t q_len, past_len, kv_len; /* keys: past_len of the cache, then kv_len new ones */
    int64_t d, dv;
    lt_attention_strides q, k, v, y, past_k, past_v;
    bool has_past;

    leat_dtype mask_dtype; /* UNDEFINED: none; F32, F16, BF16: added; BOOL: false is left out */
    int64_t mask_batch, mask_head, mask_row, mask_column; /* strides, 0 where it is repeated */
    int64_t mask_len;                                     /* keys beyond are left out */
    bool causal;          /* query i sees the keys before its own: past_len + i, or of `lengths` */
    bool zero_masked;     /* a query all of whose keys are masked gives 0; otherwise NaN */
    bool has_lengths;     /* lt_attention_data.lengths; then there is no past */
    float scale, softcap; /* softcap 0: none */

    const lt_gemm_kernels *gemm; /* from rows->factor to f32 */
    bool far_scores;             /* a block of s may be larger than the first cache */
    const lt_softmax_rows *rows;
    const lt_half_kernels *half;
    lt_transpose_fn transpose;
    const struct lt_decode_kernels *decode; /* few queries: decode.h; NULL: as here */

    /* How it is cut. */
    int64_t chunk;     /* rows (head of the group, query) of a task */
    int64_t chunks;    /* for each head of K and V */
    int64_t block;     /* rows whose s is in memory */
    int64_t key_block; /* columns of it */
    /* A thread's part of the workspace, in bytes. */
    size_t at_values, at_scores, at_sums, at_out, at_query, at_wide, at_mask, thread_bytes;
} lt_attention;

/* Chooses the cutting for a number of threads; everything else is set.
 * Errors:   false when it is too large. */
bool lt_attention_cut(lt_attention *a, uint32_t threads);

typedef struct lt_attention_data {
    const void *q, *k, *v, *mask, *past_k, *past_v;
    const int64_t *lengths; /* per batch item: the keys that count, of kv_len; the queries are the
                               last of them where causal. In [0, kv_len] */
    void *y;
} lt_attention_data;

/* `workspace`: thread_bytes a thread. */
void lt_attention_run(const lt_attention *a, const lt_attention_data *data, void *workspace,
                      const leat_kernel_args *args);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of few queries: a token or a few behind many keys, in f32 without a mask. K and V are
 * read once, from where they are: at 2 (d + dv) operations a row for 4 (d + dv) bytes memory bounds
 * it, and packing them, which pays from about 8 rows on, would be most of the work.
 *
 * The keys of a head are cut into parts, so that few heads keep all threads busy; each part leaves
 * its sums, and what they add up to is brought to a common maximum in the end (Dao et al.,
 * Flash-Decoding, 2023). */
#ifndef LT_CPU_ATTENTION_DECODE_H
#define LT_CPU_ATTENTION_DECODE_H

#include "attention/attention.h"

#define LT_DECODE_ROWS 8

/* Rows are `stride` apart; rows of s and p begin at vectors. */
typedef struct lt_decode_kernels {
    /* s[r * lds + j] = q[r] . k[j] for j < n */
    void (*scores)(const float *const *q, int64_t rows, const float *k, int64_t stride, int64_t n,
                   int64_t d, float *s, int64_t lds);
    /* out[r * ldo + c] += sum over j of p[r * ldp + j] * v[j][c] */
    void (*mix)(const float *p, int64_t ldp, int64_t rows, const float *v, int64_t stride,
                int64_t n, int64_t dv, float *out, int64_t ldo);
} lt_decode_kernels;

extern const lt_decode_kernels lt_decode_portable, lt_decode_avx2, lt_decode_avx512;

/* Whether this attention is one of those; its a->decode is to be set then. */
bool lt_decode_fits(const lt_attention *a);
/* Workspace of all threads; 0 when that overflows. */
size_t lt_decode_workspace(const lt_attention *a, uint32_t threads);
void lt_decode_run(const lt_attention *a, const lt_attention_data *data, void *workspace,
                   const leat_kernel_args *args);

#endif

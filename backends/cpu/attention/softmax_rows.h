/* SPDX-License-Identifier: Apache-2.0 */
/* Row functions of attention, in three instruction sets. Logits are to base 2: s * log2(e). Rows
 * of logits and bias consist of whole vectors of the instruction set, aligned as such.
 *
 * What the products read, powers and panels, is f32; or bf16, where processors have dot products
 * of pairs of them (AVX512-BF16). */
#ifndef LT_CPU_SOFTMAX_ROWS_H
#define LT_CPU_SOFTMAX_ROWS_H

#include "cpu.h"

#define LT_LOG2_E 0x1.715476p0f

/* Where a row's softmax stands after some of its keys. */
typedef struct lt_softmax_state {
    float top; /* largest logit so far; -infinity at first */
    float sum; /* of 2^(logit - top) */
} lt_softmax_state;

typedef struct lt_softmax_rows {
    leat_dtype factor; /* of the products */
    /* out[i] = 2^(logit[i] - top) for i < n with logit = x * scale + bias; bias NULL for none, and
     * scale is positive then. Out is of type `factor` and begins where x does, which is
     * overwritten; zeros may be written behind. Updates the state (sums are of what is not rounded
     * yet) and returns what earlier sums are to be multiplied by. */
    float (*exponentials)(float *x, int64_t n, float scale, const float *bias,
                          lt_softmax_state *state);
    /* The same for rows without bias that are `stride` apart, of one n; factors[r] is what it would
     * return. NULL: there is none. */
    void (*exponentials_of_rows)(float *x, int64_t stride, int64_t rows, int64_t n, float scale,
                                 lt_softmax_state *states, float *factors);
    /* x = cap * tanh(x * scale / cap) */
    void (*cap)(float *x, int64_t n, float scale, float cap);
    /* y = x * factor; y may be x and need not be aligned. */
    void (*scale)(const float *x, float *y, int64_t n, float factor);
    /* y = x * factor, of type `factor`; y need not be aligned. */
    void (*store)(const float *x, void *y, int64_t n, float factor);
    /* Rows of n elements of `factor` that are `stride` apart to the panels of gemm.h (pairs of
     * rows, of bf16), `width` columns each; a last one of n <= width / 2 has half as many. Width is
     * a multiple of 8, and of 32 for bf16. */
    void (*panels)(const void *x, int64_t stride, int64_t rows, int64_t n, int64_t width,
                   void *out);
} lt_softmax_rows;

extern const lt_softmax_rows lt_softmax_rows_portable;
extern const lt_softmax_rows lt_softmax_rows_avx2;
extern const lt_softmax_rows lt_softmax_rows_avx512;
extern const lt_softmax_rows lt_softmax_rows_avx512bf16;

#endif

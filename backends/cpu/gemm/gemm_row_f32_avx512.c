/* SPDX-License-Identifier: Apache-2.0 */
/* One row of f32 by whole panels of 32 columns (gemm.h, lt_gemm_kernels.row):
 *
 *     C[n] = clamp( sum over j < k of A[j] * B[j][n] + bias[n] + R[n] )
 *
 * Steps of k go to four pairs of sums in turn, which hide the latency of an FMA, eight between two
 * branches, so that the end of a panel is foreseen and loads of the next follow at once. No more:
 * to 32 load instructions that share a stream the second cache of Zen 5 gives 32 bytes a cycle, to
 * 16 up to 60. Storage, products and sums are f32; panels are 64-byte aligned. B passes once and
 * bounds it: 64 bytes an FMA, 32 a cycle on Zen 4 (`leat bench` on an MLP of batch 1). */
#include "gemm/gemm.h"
#include "vector.h"

#define CHAINS 4
#define STEPS 8
#define NR 32

static inline __attribute__((always_inline)) void step(__m512 *sum, const float *a, const float *b)
{
    const __m512 x = _mm512_set1_ps(*a);
    sum[0] = _mm512_fmadd_ps(x, _mm512_load_ps(b), sum[0]);
    sum[1] = _mm512_fmadd_ps(x, _mm512_load_ps(b + 16), sum[1]);
}

static inline __m512 settled(const __m512 *sum, const float *residual, __m512 low, __m512 high)
{
    __m512 v = _mm512_add_ps(_mm512_add_ps(sum[0], sum[2]), _mm512_add_ps(sum[4], sum[6]));
    v = residual ? _mm512_add_ps(v, _mm512_loadu_ps(residual)) : v;
    return _mm512_min_ps(high, _mm512_max_ps(low, v)); /* NaN passes */
}

void lt_cpu_gemm_row_f32_avx512(const lt_gemm_tile *tile, size_t panels)
{
    const __m512 low = _mm512_set1_ps((float)tile->low), high = _mm512_set1_ps((float)tile->high);
    const float *const a = tile->rows[0];
    const float *b = tile->b, *bias = tile->bias, *residual = tile->residual;
    const size_t k = tile->k, whole = k / STEPS * STEPS;
    float *c = tile->c;
    for (size_t p = 0; p < panels; p++, c += NR) {
        __m512 sum[2 * CHAINS];
#pragma GCC unroll 8
        for (int i = 0; i < 2 * CHAINS; i++) {
            sum[i] = i < 2 && bias ? _mm512_loadu_ps(bias + 16 * i) : _mm512_setzero_ps();
        }
        for (size_t j = 0; j < whole; j += STEPS, b += STEPS * NR) {
#pragma GCC unroll 8
            for (int i = 0; i < STEPS; i++) {
                step(sum + i % CHAINS * 2, a + j + i, b + i * NR);
            }
        }
        for (size_t j = whole; j < k; j++, b += NR) {
            step(sum, a + j, b);
        }
        _mm512_storeu_ps(c, settled(sum, residual, low, high));
        _mm512_storeu_ps(c + 16, settled(sum + 1, residual ? residual + 16 : NULL, low, high));
        bias = bias ? bias + NR : NULL;
        residual = residual ? residual + NR : NULL;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For products by vdpbf16ps: powers rounded to bf16, V in pairs of rows.
 *
 * Bound by the exponential: for 16 elements with a bias 6 multiplications or FMAs, 5 additions or
 * maxima and 4 instructions on integers, which have units of their own, then the conversion. */
#include "attention/softmax_rows.h"
#include "elementwise/vmath.h"

#include <immintrin.h>

#include <math.h>

#define VL 16
#define CHAINS 4 /* vectors that go side by side, so that their latencies overlap */

#define EACH _Pragma("GCC unroll 4") for (int c = 0; c < chains; c++)
#define FIXED 0x1p23f /* one, in the integers below */

/* 2^(x / FIXED) for x <= 0 (or a little above), -infinity and NaN as far below -127: as an integer
 * x has the exponent above and the fraction f, of which 2^f in [1, 2) is a polynomial of degree 3,
 * fitted for this file; adding the exponent to its bits multiplies. Relative error below 2^-13.
 * What is below 2^-126 is no normal number and becomes 0 when it is rounded to bf16. */
static inline __attribute__((always_inline)) void powers_of(__m512 *x, const int chains)
{
    const __m512i fraction = _mm512_set1_epi32(0x7fffff), one = _mm512_set1_epi32(0x3f800000);
    const __m512i least = _mm512_set1_epi32(-127 * (1 << 23) + (1 << 22));
    const __m512 c3 = _mm512_set1_ps(0x1.3f96a4p-4f), c2 = _mm512_set1_ps(-0x1.065aa6p-7f);
    const __m512 c1 = _mm512_set1_ps(0x1.e93d46p-2f), c0 = _mm512_set1_ps(0x1.cefc4cp-2f);
    __m512i fixed[CHAINS];
    __m512 f[CHAINS];
    EACH fixed[c] = _mm512_cvtps_epi32(x[c]);
    EACH fixed[c] = _mm512_max_epi32(fixed[c], least);
    EACH f[c] = (__m512)_mm512_ternarylogic_epi32(fixed[c], fraction, one, 0xea); /* and, or */
    EACH x[c] = _mm512_fmadd_ps(f[c], c3, c2);
    EACH x[c] = _mm512_fmadd_ps(x[c], f[c], c1);
    EACH fixed[c] = _mm512_andnot_si512(fraction, fixed[c]);
    EACH x[c] = _mm512_fmadd_ps(x[c], f[c], c0);
    EACH x[c] = (__m512)_mm512_add_epi32((__m512i)x[c], fixed[c]);
}

static inline void put(uint16_t *to, __m512 powers)
{
    _mm256_store_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh(powers));
}

#define EACH_CHAIN _Pragma("GCC unroll 4") for (int c = 0; c < CHAINS; c++)

static inline __mmask16 first_columns(int64_t n)
{
    return n >= VL ? 0xffff : (__mmask16)((1u << n) - 1);
}

/* Logits; without bias still to be multiplied by the scale, which is positive then. */
static inline __m512 logits(const float *x, __m512 scale, const float *bias, int64_t i)
{
    __m512 v = _mm512_load_ps(x + i);
    return bias ? _mm512_fmadd_ps(v, scale, _mm512_load_ps(bias + i)) : v;
}

static inline __m512 joined(const __m512 *v, __m512 (*join)(__m512, __m512))
{
    return join(join(v[0], v[1]), join(v[2], v[3]));
}

static inline __m512 sum_both(__m512 a, __m512 b)
{
    return _mm512_add_ps(a, b);
}

static inline __m512 most_both(__m512 a, __m512 b)
{
    return _mm512_max_ps(a, b);
}

/* Largest logits but NaN, which is told apart. */
static inline __attribute__((always_inline)) __m512 top_of(const float *x, int64_t n, float scale,
                                                           const float *bias, bool *out_nan)
{
    const __m512 factor = _mm512_set1_ps(scale), least = _mm512_set1_ps(-INFINITY);
    __m512 top[CHAINS], v[CHAINS];
    __mmask16 nan = 0;
    int64_t i = 0;
    EACH_CHAIN top[c] = least;
    for (; i + CHAINS * VL <= n; i += CHAINS * VL) {
        EACH_CHAIN v[c] = logits(x, factor, bias, i + c * VL);
        EACH_CHAIN top[c] = _mm512_max_ps(v[c], top[c]);
        nan |= _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q);
        nan |= _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q);
    }
    for (; i < n; i += VL) {
        v[0] = _mm512_mask_mov_ps(least, first_columns(n - i), logits(x, factor, bias, i));
        top[0] = _mm512_max_ps(v[0], top[0]);
        nan |= _mm512_cmp_ps_mask(v[0], v[0], _CMP_UNORD_Q);
    }
    *out_nan = nan != 0;
    return joined(top, most_both);
}

/* 2^(logit - level) of 16 elements a chain. */
static inline __attribute__((always_inline)) void
powers(const float *x, float scale, const float *bias, float level, __m512 *v, const int chains)
{
    const __m512 factor = _mm512_set1_ps(scale * FIXED), last = _mm512_set1_ps(-level * FIXED);
    EACH
    {
        __m512 shift = last;
        if (bias != NULL) {
            const __m512 added = _mm512_load_ps(bias + c * VL);
            shift = _mm512_fmadd_ps(added, _mm512_set1_ps(FIXED), last);
        }
        v[c] = _mm512_fmadd_ps(_mm512_load_ps(x + c * VL), factor, shift);
    }
    powers_of(v, chains);
}

/* x = 2^(logit - level) as bf16; returns what makes up their sum. */
static inline __attribute__((always_inline)) __m512 raise(float *x, int64_t n, float scale,
                                                          const float *bias, float level)
{
    __m512 sum[CHAINS], v[CHAINS];
    uint16_t *out = (uint16_t *)(void *)x;
    int64_t i = 0;
    EACH_CHAIN sum[c] = _mm512_setzero_ps();
    for (; i + CHAINS * VL <= n; i += CHAINS * VL) {
        powers(x + i, scale, bias ? bias + i : NULL, level, v, CHAINS);
        EACH_CHAIN put(out + i + c * VL, v[c]);
        EACH_CHAIN sum[c] = _mm512_add_ps(sum[c], v[c]);
    }
    for (; i < n; i += VL) {
        powers(x + i, scale, bias ? bias + i : NULL, level, v, 1);
        v[0] = _mm512_maskz_mov_ps(first_columns(n - i), v[0]);
        put(out + i, v[0]);
        sum[0] = _mm512_add_ps(sum[0], v[0]);
    }
    return joined(sum, sum_both);
}

/* The level that powers of a row are relative to: 0 while there is no key, so that all are 0. */
static inline float level_of(float top)
{
    return top == -INFINITY ? 0 : top;
}

/* A row's sum where it is not what was added up. */
static inline float settled(float sum, float top, bool nan)
{
    return nan || top == INFINITY ? NAN : top == -INFINITY ? 0 : sum;
}

static inline __attribute__((always_inline)) float
row_run(float *x, int64_t n, float scale, const float *bias, lt_softmax_state *state)
{
    const float before = state->top;
    bool nan;
    float top = _mm512_reduce_max_ps(top_of(x, n, scale, bias, &nan)), factor = 1;
    top = bias ? top : top * scale;
    top = top > before ? top : before;
    float sum = _mm512_reduce_add_ps(raise(x, n, scale, bias, level_of(top)));
    if (before != top) {
        __m512 power = _mm512_set1_ps((before - top) * FIXED);
        powers_of(&power, 1);
        factor = _mm512_cvtss_f32(power);
    }
    *state = (lt_softmax_state){top, state->sum * factor + settled(sum, top, nan)};
    return factor;
}

static float exponentials(float *x, int64_t n, float scale, const float *bias,
                          lt_softmax_state *state)
{
    return bias ? row_run(x, n, scale, bias, state) : row_run(x, n, scale, NULL, state);
}

/* Element r of the result joins all elements of v[r], which is overwritten: three instructions a
 * row where a row of its own takes eight, each of which waits for the one before. */
static inline __attribute__((always_inline)) __m512 join_rows(__m512 *v,
                                                              __m512 (*join)(__m512, __m512))
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = join(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44),
                    _mm512_shuffle_f32x4(v[i], v[i + 8], 0xee));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = join(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x88),
                    _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd));
    }
    __m512 even = join(_mm512_unpacklo_ps(v[0], v[2]), _mm512_unpackhi_ps(v[0], v[2]));
    __m512 odd = join(_mm512_unpacklo_ps(v[1], v[3]), _mm512_unpackhi_ps(v[1], v[3]));
    __m512 all = join(_mm512_unpacklo_ps(even, odd), _mm512_unpackhi_ps(even, odd));
    return _mm512_shuffle_f32x4(all, all, 0xd8); /* rows 0-3, 8-11, 4-7, 12-15 */
}

/* As exponentials, for up to 16 rows without bias, `stride` floats apart. */
static void some_rows(float *x, int64_t stride, int64_t rows, int64_t n, float scale,
                      lt_softmax_state *states, float *factors)
{
    __m512 part[VL];
    float top[VL] __attribute__((aligned(64))), sum[VL] __attribute__((aligned(64)));
    float change[VL] __attribute__((aligned(64)));
    bool nan[VL];
    for (int64_t r = 0; r < VL; r++) {
        part[r] = r < rows ? top_of(x + r * stride, n, scale, NULL, &nan[r]) : _mm512_setzero_ps();
    }
    _mm512_store_ps(top, _mm512_mul_ps(join_rows(part, most_both), _mm512_set1_ps(scale)));
    for (int64_t r = 0; r < rows; r++) {
        const float before = states[r].top;
        top[r] = top[r] > before ? top[r] : before;
        change[r] = before == top[r] ? 0 : (before - top[r]) * FIXED;
        part[r] = raise(x + r * stride, n, scale, NULL, level_of(top[r]));
    }
    _mm512_store_ps(sum, join_rows(part, sum_both));
    __m512 power = _mm512_load_ps(change);
    powers_of(&power, 1);
    _mm512_store_ps(change, power);
    for (int64_t r = 0; r < rows; r++) {
        factors[r] = states[r].top == top[r] ? 1 : change[r];
        float settled_sum = settled(sum[r], top[r], nan[r]);
        states[r] = (lt_softmax_state){top[r], states[r].sum * factors[r] + settled_sum};
    }
}

static void exponentials_of_rows(float *x, int64_t stride, int64_t rows, int64_t n, float scale,
                                 lt_softmax_state *states, float *factors)
{
    for (int64_t r = 0; r < rows; r += VL) {
        some_rows(x + r * stride, stride, rows - r < VL ? rows - r : VL, n, scale, states + r,
                  factors + r);
    }
}

/* 16 elements of two rows as pairs; `mask` says which columns exist, `second` whether row two. */
static inline __m512i pairs(const uint16_t *x, int64_t stride, __mmask16 mask, bool second)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x));
    __m512i high = _mm512_setzero_si512();
    if (second) {
        high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x + stride));
    }
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static void panels(const void *from, int64_t stride, int64_t rows, int64_t n, int64_t width,
                   void *to)
{
    char *out = to;
    for (int64_t i = 0; i < n; i += width) {
        int64_t own = n - i > width / 2 ? width : width / 2;
        const uint16_t *x = (const uint16_t *)from + i;
        for (int64_t j = 0; j < rows; j += 2, x += 2 * stride) {
            for (int64_t c = 0; c < own; c += VL, out += sizeof(__m512i)) {
                int64_t left = n - i - c;
                __mmask16 mask = left >= VL  ? 0xffff
                                 : left <= 0 ? 0
                                             : (__mmask16)((1u << left) - 1);
                _mm512_store_si512(out, pairs(x + c, stride, mask, j + 1 < rows));
            }
        }
    }
}

#include "attention/softmax_rows.inc"

static void store(const float *x, void *y, int64_t n, float factor)
{
    const __m512 all = _mm512_set1_ps(factor);
    uint16_t *to = y;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), all);
        _mm256_storeu_si256((__m256i *)(void *)(to + i), (__m256i)_mm512_cvtneps_pbh(v));
    }
    if (i < n) {
        const __mmask16 there = first_columns(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(there, x + i), all);
        _mm256_mask_storeu_epi16(to + i, there, (__m256i)_mm512_cvtneps_pbh(v));
    }
}

const lt_softmax_rows lt_softmax_rows_avx512bf16 = {
    LEAT_DTYPE_BF16, exponentials, exponentials_of_rows, cap, scale_row, store, panels};

/* SPDX-License-Identifier: Apache-2.0 */
/* For products by vdpbf16ps: powers rounded to bf16, V in pairs of rows. */
#include "attention/softmax_rows.h"
#include "elementwise/vmath.h"

#include <immintrin.h>

#define TABLE lt_softmax_rows_avx512bf16
#define VL 16
#define CHAINS 4
#define WHOLE 8
#define FACTOR LEAT_DTYPE_BF16
#define POWER uint16_t

typedef __m512 vec;

static inline vec largest(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

#define HAS_SCALE

static inline vec rounded(vec x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
}

static inline vec scaled(vec x, vec n)
{
    return _mm512_scalef_ps(x, n);
}

static inline void put(uint16_t *to, vec powers)
{
    _mm256_store_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh(powers));
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

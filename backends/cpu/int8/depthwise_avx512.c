/* SPDX-License-Identifier: Apache-2.0 */
/* depthwise.h with two taps a step: vpmaddwd multiplies and adds pairs of s16, which unpacking
 * makes of two rows of data and two of weights. Bound by the unpacking. */
#include "int8/depthwise.h"

#include <immintrin.h>

/* 32 bytes as s16; of the last block only those that exist. */
static inline __m512i load_bytes(const uint8_t *x, __mmask32 mask)
{
    return _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, x));
}

void lt_int8_depthwise_avx512(const void *const *rows, size_t taps, size_t channel, uint32_t n,
                              const int16_t *weights, size_t columns, const int32_t *offset,
                              int32_t *sums)
{
    const __mmask32 mask = n < 32 ? (1u << n) - 1 : 0xffffffffu;
    __m512i low = _mm512_setzero_si512(), high = low; /* as unpacking orders them */
    for (size_t t = 0; t < taps; t += 2) {
        const uint8_t *x = (const uint8_t *)rows[t * LT_GEMM_MAX_MR] + channel;
        const int16_t *w = weights + t * columns;
        __m512i x0 = load_bytes(x, mask), w0 = _mm512_loadu_si512(w);
        __m512i x1 = _mm512_setzero_si512(), w1 = x1;
        if (t + 1 < taps) {
            x1 = load_bytes((const uint8_t *)rows[(t + 1) * LT_GEMM_MAX_MR] + channel, mask);
            w1 = _mm512_loadu_si512(w + columns);
        }
        __m512i a = _mm512_madd_epi16(_mm512_unpacklo_epi16(x0, x1), _mm512_unpacklo_epi16(w0, w1));
        __m512i b = _mm512_madd_epi16(_mm512_unpackhi_epi16(x0, x1), _mm512_unpackhi_epi16(w0, w1));
        low = _mm512_add_epi32(low, a);
        high = _mm512_add_epi32(high, b);
    }
    /* low holds channels 0-3, 8-11, 16-19, 24-27, high the others. */
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    __m512i s0 = _mm512_permutex2var_epi64(low, first, high);
    __m512i s1 = _mm512_permutex2var_epi64(low, second, high);
    _mm512_storeu_si512(sums, _mm512_add_epi32(s0, _mm512_loadu_si512(offset)));
    _mm512_storeu_si512(sums + 16, _mm512_add_epi32(s1, _mm512_loadu_si512(offset + 16)));
}

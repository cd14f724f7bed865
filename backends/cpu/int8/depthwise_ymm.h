/* SPDX-License-Identifier: Apache-2.0 */
/* What strips of depthwise convolution in vectors of 256 bits share: see depthwise_strip.inc. */
#ifndef LT_CPU_INT8_DEPTHWISE_YMM_H
#define LT_CPU_INT8_DEPTHWISE_YMM_H

#include "int8/depthwise.h"
#include "int8/finish.h"

#include <immintrin.h>

#define VECTOR __m256i
#define LANES 2

static inline __attribute__((always_inline)) __m256i load(const __m256i *from)
{
    return _mm256_load_si256(from);
}

static inline __attribute__((always_inline)) void store(__m256i *to, __m256i x)
{
    _mm256_store_si256(to, x);
}

/* The first n of 32 bytes, n below 32; no others are read. */
static inline __attribute__((always_inline)) __m256i load_some(const uint8_t *from, uint32_t n)
{
    if (n % 4 == 0) {
        const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n / 4), order);
        return _mm256_maskload_epi32((const int *)(const void *)from, mask);
    }
    uint8_t part[32] = {0};
    memcpy(part, from, n);
    return _mm256_loadu_si256((const __m256i *)(const void *)part);
}

static inline __attribute__((always_inline)) __m256i load_bytes(const uint8_t *from, uint32_t n,
                                                                bool whole)
{
    return whole ? _mm256_loadu_si256((const __m256i *)(const void *)from) : load_some(from, n);
}

/* s32 of a vector: scaled sums to nearest. */
static inline __attribute__((always_inline)) __m256i scaled(const lt_int8_depthwise_strip *s,
                                                            __m256i sum, int j)
{
    __m256 x = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(s->scale + 8 * j),
                               _mm256_load_ps(s->bias + 8 * j));
    return _mm256_cvtps_epi32(x);
}

/* LT_INT8_WAY_BYTES: s16 with saturation, zero point and bounds there, then u8. s8 results are u8
 * ones with 128 added until the end. */
static inline __attribute__((always_inline)) void store_bytes(const lt_int8_depthwise_strip *s,
                                                              const lt_int8_epilogue *e,
                                                              const __m256i sum[4], uint8_t *c)
{
    const int32_t flip = e->is_signed ? 128 : 0;
    const __m256i zero = _mm256_set1_epi16((short)(e->zero + flip));
    const __m256i low = _mm256_set1_epi16((short)(e->low_q + flip));
    const __m256i high = _mm256_set1_epi16((short)(e->high_q + flip));
    __m256i words[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m256i x0 = scaled(s, sum[2 * i], 2 * i), x1 = scaled(s, sum[2 * i + 1], 2 * i + 1);
        words[i] = _mm256_adds_epi16(_mm256_packs_epi32(x0, x1), zero);
        words[i] = _mm256_min_epi16(_mm256_max_epi16(words[i], low), high);
    }
    __m256i q = _mm256_packus_epi16(words[0], words[1]);
    q = _mm256_xor_si256(q, _mm256_set1_epi8((char)flip));
    if (s->tile.n == 32) {
        _mm256_storeu_si256((__m256i *)(void *)c, q);
    } else {
        uint8_t part[32];
        _mm256_storeu_si256((__m256i *)(void *)part, q);
        memcpy(c, part, s->tile.n);
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Four taps for vpdpbusd, in blocks of 64 channels. */
#include "int8/depthwise.h"
#include "int8/finish.h"

#include <immintrin.h>

#define KERNELS lt_cpu_depthwise_u8s8_64_avx512vnni
#define NAME "depthwise_u8s8_64_avx512vnni"
#define FINISH lt_int8_finish_avx2
#define VECTOR __m512i
#define LANES 4
#define GROUP 4
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)

static inline __attribute__((always_inline)) __m512i load(const __m512i *from)
{
    return _mm512_load_si512(from);
}

static inline __attribute__((always_inline)) void store(__m512i *to, __m512i x)
{
    _mm512_store_si512(to, x);
}

static inline __attribute__((always_inline)) __mmask64 first_bytes(uint32_t n)
{
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

static inline __attribute__((always_inline)) __m512i load_bytes(const uint8_t *from, uint32_t n,
                                                                bool whole)
{
    return whole ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi8(first_bytes(n), from);
}

static inline __attribute__((always_inline)) void combine(const uint8_t *const at[GROUP],
                                                          uint32_t n, const bool whole, __m512i *to)
{
    __m512i x0 = load_bytes(at[0], n, whole), x1 = load_bytes(at[1], n, whole);
    __m512i x2 = load_bytes(at[2], n, whole), x3 = load_bytes(at[3], n, whole);
    __m512i low01 = _mm512_unpacklo_epi8(x0, x1), high01 = _mm512_unpackhi_epi8(x0, x1);
    __m512i low23 = _mm512_unpacklo_epi8(x2, x3), high23 = _mm512_unpackhi_epi8(x2, x3);
    store(to, _mm512_unpacklo_epi16(low01, low23));
    store(to + 1, _mm512_unpackhi_epi16(low01, low23));
    store(to + 2, _mm512_unpacklo_epi16(high01, high23));
    store(to + 3, _mm512_unpackhi_epi16(high01, high23));
}

static inline __attribute__((always_inline)) __m512i multiply_add(__m512i sum, __m512i x, __m512i w)
{
    return _mm512_dpbusd_epi32(sum, x, w);
}

static inline __attribute__((always_inline)) __m512i scaled(const lt_int8_depthwise_strip *s,
                                                            __m512i sum, int j)
{
    __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_load_ps(s->scale + 16 * j),
                               _mm512_load_ps(s->bias + 16 * j));
    return _mm512_cvtps_epi32(x);
}

/* As in depthwise_ymm.h. */
static inline __attribute__((always_inline)) void store_bytes(const lt_int8_depthwise_strip *s,
                                                              const lt_int8_epilogue *e,
                                                              const __m512i sum[4], uint8_t *c)
{
    const int32_t flip = e->is_signed ? 128 : 0;
    const __m512i zero = _mm512_set1_epi16((short)(e->zero + flip));
    const __m512i low = _mm512_set1_epi16((short)(e->low_q + flip));
    const __m512i high = _mm512_set1_epi16((short)(e->high_q + flip));
    __m512i words[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m512i x0 = scaled(s, sum[2 * i], 2 * i), x1 = scaled(s, sum[2 * i + 1], 2 * i + 1);
        words[i] = _mm512_adds_epi16(_mm512_packs_epi32(x0, x1), zero);
        words[i] = _mm512_min_epi16(_mm512_max_epi16(words[i], low), high);
    }
    __m512i q = _mm512_packus_epi16(words[0], words[1]);
    q = _mm512_xor_si512(q, _mm512_set1_epi8((char)flip));
    if (s->tile.n == 64) {
        _mm512_storeu_si512(c, q);
    } else {
        _mm512_mask_storeu_epi8(c, first_bytes(s->tile.n), q);
    }
}

#include "int8/depthwise_strip.inc"

/* SPDX-License-Identifier: Apache-2.0 */
/* Four taps for vpdpbusd, in blocks of 32 channels. */
#include "int8/depthwise_ymm.h"

#define KERNELS lt_cpu_depthwise_u8s8_32_avx512vnni
#define NAME "depthwise_u8s8_32_avx512vnni"
#define FINISH lt_int8_finish_avx2
#define GROUP 4
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)

static inline __attribute__((always_inline)) void combine(const uint8_t *const at[GROUP],
                                                          uint32_t n, const bool whole, __m256i *to)
{
    __m256i x0 = load_bytes(at[0], n, whole), x1 = load_bytes(at[1], n, whole);
    __m256i x2 = load_bytes(at[2], n, whole), x3 = load_bytes(at[3], n, whole);
    __m256i low01 = _mm256_unpacklo_epi8(x0, x1), high01 = _mm256_unpackhi_epi8(x0, x1);
    __m256i low23 = _mm256_unpacklo_epi8(x2, x3), high23 = _mm256_unpackhi_epi8(x2, x3);
    store(to, _mm256_unpacklo_epi16(low01, low23));
    store(to + 1, _mm256_unpackhi_epi16(low01, low23));
    store(to + 2, _mm256_unpacklo_epi16(high01, high23));
    store(to + 3, _mm256_unpackhi_epi16(high01, high23));
}

static inline __attribute__((always_inline)) __m256i multiply_add(__m256i sum, __m256i x, __m256i w)
{
    return _mm256_dpbusd_epi32(sum, x, w);
}

#include "int8/depthwise_strip.inc"

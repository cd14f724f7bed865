/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of taps as s16 for vpmaddwd: vpmaddubsw would saturate (255 * 127 * 2). */
#include "int8/depthwise_ymm.h"

#define KERNELS lt_cpu_depthwise_u8s16_32_avx2
#define NAME "depthwise_u8s16_32_avx2"
#define FINISH lt_int8_finish_avx2
#define GROUP 2
#define TILES(X) X(1) X(2)

static inline __attribute__((always_inline)) void combine(const uint8_t *const at[GROUP],
                                                          uint32_t n, const bool whole, __m256i *to)
{
    const __m256i none = _mm256_setzero_si256();
    __m256i x0 = load_bytes(at[0], n, whole), x1 = load_bytes(at[1], n, whole);
    __m256i low = _mm256_unpacklo_epi8(x0, x1), high = _mm256_unpackhi_epi8(x0, x1);
    store(to, _mm256_unpacklo_epi8(low, none));
    store(to + 1, _mm256_unpackhi_epi8(low, none));
    store(to + 2, _mm256_unpacklo_epi8(high, none));
    store(to + 3, _mm256_unpackhi_epi8(high, none));
}

static inline __attribute__((always_inline)) __m256i multiply_add(__m256i sum, __m256i x, __m256i w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

#include "int8/depthwise_strip.inc"

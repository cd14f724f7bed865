/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/peaks.h"

#include <immintrin.h>

#define NAME peak_f32_avx2
#define VECTOR __m256
#define INIT _mm256_set1_ps(0.5f)
#define STEP(sum) sum = _mm256_fmadd_ps(a, b, sum)
#define OPERATIONS 2 * 8
#include "leat/peaks.inc"

#define NAME peak_u8s8_avx2
#define VECTOR __m256i
#define INIT _mm256_set1_epi16(0x0101)
#define STEP(sum) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, sum), b))
#define OPERATIONS 2 * 32
#include "leat/peaks.inc"

uint64_t peak_read_avx2(const void *data, size_t bytes)
{
    const __m256i *p = data;
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};
    for (size_t i = 0; i < bytes / sizeof(*p); i += 8) {
        for (size_t k = 0; k < 4; k++) {
            sum[k] = _mm256_xor_si256(sum[k], p[i + k]);
        }
        for (size_t k = 0; k < 4; k++) {
            sum[k] = _mm256_xor_si256(sum[k], p[i + 4 + k]);
        }
    }
    sum[0] = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
    return (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(sum[0]));
}

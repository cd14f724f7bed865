/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/peaks.h"

#include <immintrin.h>

#define NAME peak_f32_avx512
#define VECTOR __m512
#define INIT _mm512_set1_ps(0.5f)
#define STEP(sum) sum = _mm512_fmadd_ps(a, b, sum)
#define OPERATIONS 2 * 16
#define SUMS 16
#include "leat/peaks.inc"

uint64_t peak_read_avx512(const void *data, size_t bytes)
{
    const __m512i *p = data;
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};
    for (size_t i = 0; i < bytes / sizeof(*p); i += 8) {
        for (size_t k = 0; k < 4; k++) {
            sum[k] = _mm512_xor_si512(sum[k], p[i + k]);
        }
        for (size_t k = 0; k < 4; k++) {
            sum[k] = _mm512_xor_si512(sum[k], p[i + 4 + k]);
        }
    }
    sum[0] = _mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3]));
    return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(sum[0]));
}

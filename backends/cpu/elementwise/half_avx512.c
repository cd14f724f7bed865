/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/half.h"

#include <immintrin.h>

#define STEP 16
static inline void widen_step(const uint16_t *x, float *y)
{
    _mm512_storeu_ps(y, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x)));
}

static inline void narrow_step(const float *x, uint16_t *y)
{
    __m256i h = _mm512_cvtps_ph(_mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256((__m256i *)(void *)y, h);
}

#define TABLE lt_half_avx512
#include "elementwise/half_kernel.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/half.h"

#include <immintrin.h>

#define STEP 8
static inline void widen_step(const uint16_t *x, float *y)
{
    _mm256_storeu_ps(y, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x)));
}

static inline void narrow_step(const float *x, uint16_t *y)
{
    __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)(void *)y, h);
}

#define TABLE lt_half_avx2
#include "elementwise/half_kernel.inc"

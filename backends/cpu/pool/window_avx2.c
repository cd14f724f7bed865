/* SPDX-License-Identifier: Apache-2.0 */
#include "pool/pool.h"

#include <immintrin.h>
#include <math.h>

static inline __m256 load_f16(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}

static inline void store_f16(uint16_t *out, __m256 x)
{
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m256 load_bf16(const uint16_t *x)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline __m256i load_bytes(const void *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

static inline void store_bytes(void *out, __m256i x)
{
    _mm256_storeu_si256((__m256i *)out, x);
}

#define FORM avx2
#define V __m256
#define LANES 8
#define V_LOAD _mm256_loadu_ps
#define V_STORE _mm256_storeu_ps
#define V_SET _mm256_set1_ps
#define V_ADD _mm256_add_ps
#define V_DIV _mm256_div_ps
#define V_MAX _mm256_max_ps
#define V_LOAD_F16 load_f16
#define V_STORE_F16 store_f16
#define V_LOAD_BF16 load_bf16
#define HALF_TO_F32 _cvtsh_ss
#define B __m256i
#define B_LOAD load_bytes
#define B_STORE store_bytes
#define B_SET _mm256_set1_epi8
#define B_MAX_U8 _mm256_max_epu8
#define B_MAX_I8 _mm256_max_epi8
#include "pool/window.inc"

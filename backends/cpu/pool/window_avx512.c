/* SPDX-License-Identifier: Apache-2.0 */
#include "pool/pool.h"

#include <immintrin.h>
#include <math.h>

static inline __m512 load_f16(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}

static inline void store_f16(uint16_t *out, __m512 x)
{
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m512 load_bf16(const uint16_t *x)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#define FORM avx512
#define V __m512
#define LANES 16
#define V_LOAD _mm512_loadu_ps
#define V_STORE _mm512_storeu_ps
#define V_SET _mm512_set1_ps
#define V_ADD _mm512_add_ps
#define V_DIV _mm512_div_ps
#define V_MAX _mm512_max_ps
#define V_LOAD_F16 load_f16
#define V_STORE_F16 store_f16
#define V_LOAD_BF16 load_bf16
#define HALF_TO_F32 _cvtsh_ss
#define B __m512i
#define B_LOAD _mm512_loadu_si512
#define B_STORE _mm512_storeu_si512
#define B_SET _mm512_set1_epi8
#define B_MAX_U8 _mm512_max_epu8
#define B_MAX_I8 _mm512_max_epi8
#include "pool/window.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/quantize.h"

#include <immintrin.h>

/* --- f32 to bytes --------------------------------------------------------------------------------
 *
 * A division of 16 floats takes ten cycles. A product with 1 / scale differs from the quotient by
 * less than 1e-4 where the result does not saturate, so it rounds alike unless it lies that near to
 * the middle of two codes: such blocks, one in forty, are divided. The reciprocal must be an
 * ordinary number. */
#define BLOCK 64

/* 16 codes before the zero point is added; *near collects lanes that lie near a middle. */
static inline __m512i round_16(__m512 q, __mmask16 *near)
{
    const __m512 bound = _mm512_set1_ps(131072.0f);
    /* NaN becomes the lower bound: these instructions then give the second operand. */
    q = _mm512_max_ps(q, _mm512_sub_ps(_mm512_setzero_ps(), bound));
    q = _mm512_min_ps(q, bound);
    __m512i code = _mm512_cvtps_epi32(q);
    __m512 off = _mm512_abs_ps(_mm512_sub_ps(q, _mm512_cvtepi32_ps(code)));
    *near |= _mm512_cmp_ps_mask(off, _mm512_set1_ps(0.4998f), _CMP_GT_OQ);
    return code;
}

/* 64 codes; the packs saturate to s16 and then to the result. */
static inline __m512i pack_64(const __m512i code[4], int32_t zero, const bool is_signed)
{
    const __m512i z = _mm512_set1_epi16((short)zero);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(code[0], code[1]), z);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(code[2], code[3]), z);
    __m512i q = is_signed ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high);
    return _mm512_permutexvar_epi32(order, q);
}

static inline __attribute__((always_inline)) void block_64(void *out, const float *x, __m512 scale,
                                                           __m512 inverse, int32_t zero,
                                                           bool multiply, const bool is_signed)
{
    __m512i code[4];
    __mmask16 near = 0;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        code[i] = round_16(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), inverse), &near);
    }
    if (near != 0 || !multiply) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            code[i] = round_16(_mm512_div_ps(_mm512_loadu_ps(x + 16 * i), scale), &near);
        }
    }
    _mm512_storeu_si512(out, pack_64(code, zero, is_signed));
}

static inline __attribute__((always_inline)) void
to_8(uint8_t *out, const float *x, int64_t n, float scale, int32_t zero, const bool is_signed)
{
    const __m512 by = _mm512_set1_ps(scale), inverse = _mm512_set1_ps(1.0f / scale);
    bool multiply = scale > 1e-30f && scale < 1e30f;
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        block_64(out + i, x + i, by, inverse, zero, multiply, is_signed);
    }
    if (i < n) {
        float rest[BLOCK] = {0};
        uint8_t codes[BLOCK];
        memcpy(rest, x + i, (size_t)(n - i) * sizeof(*x));
        block_64(codes, rest, by, inverse, zero, multiply, is_signed);
        memcpy(out + i, codes, (size_t)(n - i));
    }
}

static void to_u8_avx512(uint8_t *out, const float *x, int64_t n, float scale, int32_t zero)
{
    to_8(out, x, n, scale, zero, false);
}

static void to_i8_avx512(int8_t *out, const float *x, int64_t n, float scale, int32_t zero)
{
    to_8((uint8_t *)out, x, n, scale, zero, true);
}

#define OWN_TO_8
#define FORM avx512
#define HALF_TO_F32 _cvtsh_ss
#define F32_TO_HALF(x) _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)
#include "quantize/stages.inc"

/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel of depthwise_kernel.inc for data stored in bf16. A vector of 32 channels is widened by
 * one instruction a half: the even ones lie in the upper halves of the 32-bit lanes after a shift,
 * the odd ones do already. Weights and biases are packed apart accordingly (depthwise.h), and
 * outputs, which the conversion to bf16 puts side by side, put in turn by a permutation. */
#include "conv/depthwise.h"
#include "vector.h"

#define DW_INLINE static inline __attribute__((always_inline))
#define PARTS 2
typedef uint16_t element;

DW_INLINE void load_data(const element *p, lt_vf *out)
{
    const __m512i x = _mm512_loadu_si512(p);
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u)));
}

DW_INLINE void load_factors(const float *p, int64_t c, int64_t channels, lt_vf *out)
{
    out[0] = lt_vf_load(p + c / 2);
    out[1] = lt_vf_load(p + (channels + c) / 2);
}

DW_INLINE void store_data(element *p, const lt_vf *v)
{
    static const uint16_t turns[32] __attribute__((aligned(64))) = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i apart = (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(_mm512_load_si512(turns), apart));
}

#include "conv/depthwise_kernel.inc"

void lt_cpu_depthwise_bf16_avx512bf16(const lt_depthwise_strip *s)
{
    wide_strip(s);
}

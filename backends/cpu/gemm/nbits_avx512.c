/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/nbits.h"

#include <immintrin.h>

#define TABLE lt_nbits_avx512
#define NAME "nbits_f32_8x16_avx512"
#define VL 16

typedef __m512 vec;
typedef uint32_t uvec __attribute__((vector_size(VL * sizeof(uint32_t)), may_alias));

/* Four bits are looked up, of which the instruction takes the lowest four. */
static inline vec number(uvec q, int j, int bits)
{
    const __m512i v = (__m512i)(q >> (bits * j));
    if (bits == 4) {
        return _mm512_permutexvar_ps(
            v, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    }
    return _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32((1 << bits) - 1)));
}

#include "gemm/nbits.inc"

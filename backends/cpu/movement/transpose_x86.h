/* SPDX-License-Identifier: Apache-2.0 */
/* Squares of small elements turned in 128- and 256-bit registers; for the AVX2 and AVX-512 files.
 * Each round interleaves registers that are half the square apart; log2(side) rounds turn it. */
#ifndef LT_CPU_MOVEMENT_TRANSPOSE_X86_H
#define LT_CPU_MOVEMENT_TRANSPOSE_X86_H

#include "movement/movement.h"

#include <immintrin.h>

static inline void square_16x16_u8(uint8_t *out, int64_t out_stride, const uint8_t *in,
                                   int64_t in_stride)
{
    __m128i a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        a[i] = _mm_loadu_si128((const __m128i *)(in + i * in_stride));
    }
#pragma GCC unroll 4
    for (int round = 0; round < 4; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            a[i] = b[i];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        _mm_storeu_si128((__m128i *)(out + i * out_stride), a[i]);
    }
}

static inline void square_8x8_u16(lt_any16 *out, int64_t out_stride, const lt_any16 *in,
                                  int64_t in_stride)
{
    __m128i a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        a[i] = _mm_loadu_si128((const __m128i *)(in + i * in_stride));
    }
#pragma GCC unroll 3
    for (int round = 0; round < 3; round++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
            b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            a[i] = b[i];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        _mm_storeu_si128((__m128i *)(out + i * out_stride), a[i]);
    }
}

static inline void square_8x8_u32(lt_any32 *out, int64_t out_stride, const lt_any32 *in,
                                  int64_t in_stride)
{
    __m256 a[8], b[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* rows i and i + 4 in halves: no later exchange of lanes */
        const float *low = (const float *)(in + i * in_stride);
        const float *high = (const float *)(in + (i + 4) * in_stride);
        a[i] =
            _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
        a[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4)),
                                        _mm_loadu_ps(high + 4), 1);
    }
#pragma GCC unroll 2
    for (int h = 0; h < 8; h += 4) {
        b[h] = _mm256_unpacklo_ps(a[h], a[h + 1]);
        b[h + 1] = _mm256_unpackhi_ps(a[h], a[h + 1]);
        b[h + 2] = _mm256_unpacklo_ps(a[h + 2], a[h + 3]);
        b[h + 3] = _mm256_unpackhi_ps(a[h + 2], a[h + 3]);
        a[h] = _mm256_shuffle_ps(b[h], b[h + 2], 0x44);
        a[h + 1] = _mm256_shuffle_ps(b[h], b[h + 2], 0xee);
        a[h + 2] = _mm256_shuffle_ps(b[h + 1], b[h + 3], 0x44);
        a[h + 3] = _mm256_shuffle_ps(b[h + 1], b[h + 3], 0xee);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        _mm256_storeu_ps((float *)(out + i * out_stride), a[i]);
    }
}

static inline void square_4x4_u64(lt_any64 *out, int64_t out_stride, const lt_any64 *in,
                                  int64_t in_stride)
{
    __m256d a[4], b[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[i] = _mm256_loadu_pd((const double *)(in + i * in_stride));
    }
    b[0] = _mm256_unpacklo_pd(a[0], a[1]);
    b[1] = _mm256_unpackhi_pd(a[0], a[1]);
    b[2] = _mm256_unpacklo_pd(a[2], a[3]);
    b[3] = _mm256_unpackhi_pd(a[2], a[3]);
    _mm256_storeu_pd((double *)out, _mm256_permute2f128_pd(b[0], b[2], 0x20));
    _mm256_storeu_pd((double *)(out + out_stride), _mm256_permute2f128_pd(b[1], b[3], 0x20));
    _mm256_storeu_pd((double *)(out + 2 * out_stride), _mm256_permute2f128_pd(b[0], b[2], 0x31));
    _mm256_storeu_pd((double *)(out + 3 * out_stride), _mm256_permute2f128_pd(b[1], b[3], 0x31));
}

#define BLOCK_1 square_16x16_u8
#define SIDE_1 16
#define BLOCK_2 square_8x8_u16
#define SIDE_2 8
#define BLOCK_8 square_4x4_u64
#define SIDE_8 4

#endif

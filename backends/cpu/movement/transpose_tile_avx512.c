/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/movement.h"

#include "movement/transpose_x86.h"

/* Two rounds turn the 4 x 4 squares of every 128-bit lane, two more the lanes themselves. */
static inline void square_16x16_u32(lt_any32 *out, int64_t out_stride, const lt_any32 *in,
                                    int64_t in_stride)
{
    __m512 a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        a[i] = _mm512_loadu_ps((const float *)(in + i * in_stride));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* b[i + k], lane l: column 4 l + k of rows i..i + 3 */
        __m512 low0 = _mm512_unpacklo_ps(a[i], a[i + 1]),
               high0 = _mm512_unpackhi_ps(a[i], a[i + 1]);
        __m512 low1 = _mm512_unpacklo_ps(a[i + 2], a[i + 3]);
        __m512 high1 = _mm512_unpackhi_ps(a[i + 2], a[i + 3]);
        b[i] = _mm512_shuffle_ps(low0, low1, 0x44);
        b[i + 1] = _mm512_shuffle_ps(low0, low1, 0xee);
        b[i + 2] = _mm512_shuffle_ps(high0, high1, 0x44);
        b[i + 3] = _mm512_shuffle_ps(high0, high1, 0xee);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        __m512 even0 = _mm512_shuffle_f32x4(b[k], b[k + 4], 0x88);
        __m512 odd0 = _mm512_shuffle_f32x4(b[k], b[k + 4], 0xdd);
        __m512 even1 = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0x88);
        __m512 odd1 = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0xdd);
        a[k] = _mm512_shuffle_f32x4(even0, even1, 0x88);
        a[k + 8] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
        a[k + 4] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
        a[k + 12] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        _mm512_storeu_ps((float *)(out + i * out_stride), a[i]);
    }
}

#define BLOCK_4 square_16x16_u32
#define SIDE_4 16
#define FORM avx512
#include "movement/transpose.inc"

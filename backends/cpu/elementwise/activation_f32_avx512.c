/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/activation.h"
#include "elementwise/gelu_avx512.h"

static void own_gelu(const lt_cpu_activation_tile *tile)
{
    const float *x = tile->x;
    float *y = tile->y;
    for (int64_t r = 0; r < tile->rows; r++, x += tile->x_stride, y += tile->y_stride) {
        int64_t i = 0;
        for (; i + 32 <= tile->n; i += 32) {
            const __m512 a = lt_gelu_avx512(_mm512_loadu_ps(x + i));
            const __m512 b = lt_gelu_avx512(_mm512_loadu_ps(x + i + 16));
            _mm512_storeu_ps(y + i, a);
            _mm512_storeu_ps(y + i + 16, b);
        }
        for (; i < tile->n; i += 16) {
            const int64_t left = tile->n - i;
            const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
            const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
            _mm512_mask_storeu_ps(y + i, mask, lt_gelu_avx512(v));
        }
    }
}

#define OWN_GELU
#define NAME lt_cpu_activate_f32_avx512
#define TILE_NAME lt_cpu_activate_tile_f32_avx512
#define WIDTH 32
#include "elementwise/activation_kernel.inc"

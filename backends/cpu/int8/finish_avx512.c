/* SPDX-License-Identifier: Apache-2.0 */
/* The frequent epilogue of depthwise convolution, bytes from sums and scale, in one pass over
 * registers; the others by finish_avx2.c. */
#include "int8/int8.h"

#include <immintrin.h>

void lt_int8_finish_avx512(const lt_gemm_tile *tile, const int32_t *sums, size_t ld, size_t rows)
{
    const lt_int8_epilogue *e = tile->epilogue;
    /* LT_INT8_WAY_BYTES without its bound on f: here the clamp comes before the conversion. */
    const bool bytes = e->result == LT_INT8_RESULT_BYTE && e->column_zero == NULL &&
                       e->row_zero == NULL && e->residual_kind == LT_INT8_RESIDUAL_NONE &&
                       !e->mid && e->activate == NULL;
    if (!bytes) {
        lt_int8_finish_avx2(tile, sums, ld, rows);
        return;
    }
    const __m512 low = _mm512_set1_ps(e->low), high = _mm512_set1_ps(e->high);
    const __m512i zero = _mm512_set1_epi32(e->zero);
    for (uint32_t i = 0; i < tile->n; i += 16) {
        const uint32_t left = tile->n - i;
        const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        const size_t column = tile->column + i;
        const __m512 scale = _mm512_maskz_loadu_ps(mask, e->scale + column);
        const __m512 bias =
            e->bias ? _mm512_maskz_loadu_ps(mask, e->bias + column) : _mm512_setzero_ps();
        for (size_t r = 0; r < rows; r++) {
            const __m512i sum = _mm512_maskz_loadu_epi32(mask, sums + r * ld + i);
            __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, bias);
            x = _mm512_min_ps(_mm512_max_ps(x, low), high);
            const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(x), zero);
            _mm512_mask_cvtepi32_storeu_epi8((uint8_t *)tile->c + r * tile->ldc + i, mask, q);
        }
    }
}

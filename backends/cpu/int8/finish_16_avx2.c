/* SPDX-License-Identifier: Apache-2.0 */
/* What follows the sums of a tile (int8.h) for the kernels of 256-bit registers: rows of 16 sums in
 * memory, the frequent epilogues by vectors of eight. Bound by arithmetic; the sums lie in the
 * first cache. */
#include "int8/int8.h"

#include <immintrin.h>

#define VL 8

/* Bytes as floats; `flip` 0x80 for s8. */
static inline __m256 eight_bytes(const uint8_t *from, uint8_t flip)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)from);
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8((char)flip));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

static inline __m256 scaled(const lt_int8_epilogue *e, const int32_t *sums, size_t column)
{
    __m256 x = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(const void *)sums));
    const __m256 bias = e->bias ? _mm256_loadu_ps(e->bias + column) : _mm256_setzero_ps();
    return _mm256_fmadd_ps(x, _mm256_loadu_ps(e->scale + column), bias);
}

/* f of eight columns for a result of bytes; `add`: their residuals, or NULL. */
static inline __attribute__((always_inline)) __m256i
byte_vector(const lt_int8_epilogue *e, const int32_t *sums, size_t column, const uint8_t *add)
{
    __m256 x = scaled(e, sums, column);
    if (add != NULL) {
        if (e->mid) {
            x = _mm256_max_ps(x, _mm256_set1_ps(e->mid_low));
            x = _mm256_min_ps(x, _mm256_set1_ps(e->mid_high));
            x = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        }
        __m256 r =
            _mm256_fmadd_ps(eight_bytes(add, e->residual_flip), _mm256_set1_ps(e->residual_factor),
                            _mm256_set1_ps(e->residual_offset));
        x = _mm256_fmadd_ps(x, _mm256_set1_ps(e->mid_factor), r);
    }
    return _mm256_cvtps_epi32(x);
}

/* LT_INT8_WAY_BYTES and LT_INT8_WAY_BYTES_RESIDUAL. s8 results are u8 ones with 128 added until
 * the end. Columns of a panel beyond tile->n exist in all but C and the residual. */
static inline __attribute__((always_inline)) void
finish_bytes(const lt_gemm_tile *tile, const int32_t *sums, size_t rows, const bool residual)
{
    const lt_int8_epilogue copy = *(const lt_int8_epilogue *)tile->epilogue;
    const lt_int8_epilogue *e = &copy; /* which stores of bytes cannot change */
    const int flip = e->is_signed ? 128 : 0;
    const __m256i zero = _mm256_set1_epi16((short)(e->zero + flip));
    const __m256i low = _mm256_set1_epi16((short)(e->low_q + flip));
    const __m256i high = _mm256_set1_epi16((short)(e->high_q + flip));
    const bool whole = tile->n == 2 * VL;
    const size_t column = tile->column, second = tile->n > VL ? VL : 0;
    uint8_t *c = tile->c, *add = NULL, part[2 * VL] = {0};
    size_t at = tile->row * e->residual_ld + column;
    for (size_t r = 0; r < rows; r++, sums += 2 * VL, c += tile->ldc, at += e->residual_ld) {
        if (residual) {
            add = (uint8_t *)(uintptr_t)e->residual + at;
            if (!whole) {
                add = memcpy(part, add, tile->n);
            }
        }
        __m256i x0 = byte_vector(e, sums, column, add);
        __m256i x1 = byte_vector(e, sums + second, column + second, residual ? add + second : NULL);
        __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(x0, x1), 0xd8);
        w = _mm256_adds_epi16(w, zero);
        w = _mm256_min_epi16(_mm256_max_epi16(w, low), high);
        __m128i q = _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        q = _mm_xor_si128(q, _mm_set1_epi8((char)flip));
        if (whole) {
            _mm_storeu_si128((__m128i *)(void *)c, q);
        } else {
            _mm_storeu_si128((__m128i *)(void *)part, q);
            memcpy(c, part, tile->n);
        }
    }
}

/* LT_INT8_WAY_FLOATS, whole panels. */
static void finish_floats(const lt_gemm_tile *tile, const int32_t *sums, size_t rows)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const __m256 low = _mm256_set1_ps(e->low), high = _mm256_set1_ps(e->high);
    for (size_t r = 0; r < rows; r++, sums += 2 * VL) {
        for (size_t v = 0; v < 2 * VL; v += VL) {
            __m256 x = scaled(e, sums + v, tile->column + v);
            if (e->residual_kind != LT_INT8_RESIDUAL_NONE) {
                const size_t at = (tile->row + r) * e->residual_ld + tile->column + v;
                x = _mm256_add_ps(x, _mm256_loadu_ps((const float *)e->residual + at));
            }
            x = _mm256_min_ps(_mm256_max_ps(x, low), high);
            _mm256_storeu_ps((float *)tile->c + r * tile->ldc + v, x);
        }
    }
}

void lt_int8_finish_16_avx2(const lt_gemm_tile *tile, const int32_t *sums, size_t rows)
{
    const lt_int8_epilogue *e = tile->epilogue;
    if (e->way == LT_INT8_WAY_BYTES) {
        finish_bytes(tile, sums, rows, false);
    } else if (e->way == LT_INT8_WAY_BYTES_RESIDUAL) {
        finish_bytes(tile, sums, rows, true);
    } else if (e->way == LT_INT8_WAY_FLOATS && tile->n == 2 * VL) {
        finish_floats(tile, sums, rows);
    } else {
        lt_int8_finish_avx2(tile, sums, 2 * VL, rows);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What follows the sums (int8.h) of tiles of gemm_u8s8_avx512vnni.c: on registers where bytes or
 * floats are whole, else from stored sums. */
#ifndef LT_CPU_INT8_FINISH_AVX512_H
#define LT_CPU_INT8_FINISH_AVX512_H

#include "int8/chain.h"

#include <immintrin.h>

#define MR LT_INT8_CHAIN_ROWS
#define VL 16

static inline __attribute__((always_inline)) __m512
residual_bytes(const lt_int8_epilogue *e, size_t at, __mmask16 mask, const bool whole)
{
    const uint8_t *from = (const uint8_t *)e->residual + at;
    __m128i bytes = whole ? _mm_loadu_si128((const __m128i *)(const void *)from)
                          : _mm_maskz_loadu_epi8(mask, from);
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8((char)e->residual_flip));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

/* f of one vector for a result of bytes: scaled sums, and the addition of a residual of bytes. */
static inline __attribute__((always_inline)) __m512i
byte_vector(const lt_int8_epilogue *e, __m512i sum, const __m512 by[2], size_t residual_at,
            __mmask16 mask, const lt_int8_addend what, const bool whole)
{
    __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), by[0], by[1]);
    if (what == LT_INT8_ADD_NOTHING) {
        return _mm512_cvtps_epi32(x);
    }
    __m512 add = residual_bytes(e, residual_at, mask, whole);
    if (what == LT_INT8_ADD_RESIDUAL_MID) {
        x = _mm512_max_ps(x, _mm512_set1_ps(e->mid_low));
        x = _mm512_min_ps(x, _mm512_set1_ps(e->mid_high));
        x = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        x = _mm512_fmadd_ps(x, _mm512_set1_ps(e->mid_factor), _mm512_set1_ps(e->residual_offset));
    }
    return _mm512_cvtps_epi32(_mm512_fmadd_ps(add, _mm512_set1_ps(e->residual_factor), x));
}

/* What byte_vector takes for the vector that begins at `column`. */
static inline __attribute__((always_inline)) void
scale_and_bias(const lt_int8_epilogue *e, size_t column, const lt_int8_addend what, __m512 by[2])
{
    by[0] = _mm512_loadu_ps(e->scale + column);
    by[1] = e->bias ? _mm512_loadu_ps(e->bias + column) : _mm512_setzero_ps();
    if (what == LT_INT8_ADD_RESIDUAL) {
        by[1] = _mm512_add_ps(by[1], _mm512_set1_ps(e->residual_offset));
    }
}

static inline __mmask16 low_mask(uint32_t n)
{
    return n >= VL ? 0xffff : (__mmask16)((1u << n) - 1);
}

/* Constants of a result of bytes. s8 results are u8 ones with 128 added until the end. */
typedef struct byte_bounds {
    __m512i zero, low, high, flip, order;
} byte_bounds;

static inline __attribute__((always_inline)) byte_bounds bounds_of(const lt_int8_epilogue *e)
{
    const int32_t flip = e->is_signed ? 128 : 0;
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return (byte_bounds){
        _mm512_set1_epi16((short)(e->zero + flip)), _mm512_set1_epi16((short)(e->low_q + flip)),
        _mm512_set1_epi16((short)(e->high_q + flip)), _mm512_set1_epi8((char)flip), order};
}

/* Whole panels whose bounds are those of the type: s32 to s16 with saturation, the zero point, then
 * u8 with saturation, two rows at a time. e->way says that no f is beyond s32. */
static inline __attribute__((always_inline)) void
finish_bytes(const lt_gemm_tile *tile, __m512i sum[MR][2], const int mr, const lt_int8_addend what)
{
    const lt_int8_epilogue copy = *(const lt_int8_epilogue *)tile->epilogue;
    const lt_int8_epilogue *e = &copy; /* which stores of bytes cannot change */
    const byte_bounds bounds = bounds_of(e);
    __m512 by[2][2]; /* scale and bias */
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
        scale_and_bias(e, tile->column + v * VL, what, by[v]);
    }
    uint8_t *c = tile->c;
    size_t at = tile->row * e->residual_ld + tile->column;
#pragma GCC unroll 16
    for (int r = 0; r < mr; r += 2) {
        __m512i words[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            if (r + i == mr) {
                words[i] = words[0];
                continue;
            }
            __m512i x0 = byte_vector(e, sum[r + i][0], by[0], at, 0xffff, what, true);
            __m512i x1 = byte_vector(e, sum[r + i][1], by[1], at + VL, 0xffff, what, true);
            at += e->residual_ld;
            words[i] = _mm512_adds_epi16(_mm512_packs_epi32(x0, x1), bounds.zero);
        }
        __m512i q = _mm512_packus_epi16(words[0], words[1]);
        q = _mm512_xor_si512(_mm512_permutexvar_epi32(bounds.order, q), bounds.flip);
        _mm256_storeu_si256((__m256i *)(void *)c, _mm512_castsi512_si256(q));
        c += tile->ldc;
        if (r + 1 < mr) {
            _mm256_storeu_si256((__m256i *)(void *)c, _mm512_extracti64x4_epi64(q, 1));
            c += tile->ldc;
        }
    }
}

/* The same for half a panel and no residual, four rows at a time. */
static inline __attribute__((always_inline)) void finish_half(const lt_gemm_tile *tile,
                                                              __m512i sum[MR][2], const int mr)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const byte_bounds bounds = bounds_of(e);
    const __m512 by[2] = {_mm512_loadu_ps(e->scale + tile->column),
                          e->bias ? _mm512_loadu_ps(e->bias + tile->column) : _mm512_setzero_ps()};
    uint8_t *c = tile->c;
#pragma GCC unroll 4
    for (int r = 0; r < mr; r += 4, c += 4 * tile->ldc) {
        __m512i x[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            x[i] = r + i < mr
                       ? byte_vector(e, sum[r + i][0], by, 0, 0xffff, LT_INT8_ADD_NOTHING, true)
                       : x[0];
        }
        const __m512i w0 = _mm512_adds_epi16(_mm512_packs_epi32(x[0], x[1]), bounds.zero);
        const __m512i w1 = _mm512_adds_epi16(_mm512_packs_epi32(x[2], x[3]), bounds.zero);
        __m512i q = _mm512_permutexvar_epi32(bounds.order, _mm512_packus_epi16(w0, w1));
        q = _mm512_xor_si512(q, bounds.flip);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            if (r + i < mr) {
                _mm_storeu_si128((__m128i *)(void *)(c + (size_t)i * tile->ldc),
                                 _mm512_castsi512_si128(q));
                q = _mm512_alignr_epi64(q, q, 2);
            }
        }
    }
}

/* Writes the first n bytes, at most 32, by parts: where C takes the residual's place, a masked
 * store would keep the next row's loads waiting until it has left for the cache. */
static inline __attribute__((always_inline)) void store_bytes(uint8_t *c, __m256i q, uint32_t n)
{
    __m128i part = _mm256_castsi256_si128(q);
    if (n >= 2 * VL) {
        _mm256_storeu_si256((__m256i *)(void *)c, q);
        return;
    }
    if ((n & 16) != 0) {
        _mm_storeu_si128((__m128i *)(void *)c, part);
        part = _mm256_extracti128_si256(q, 1);
        c += 16;
    }
    if ((n & 8) != 0) {
        _mm_storel_epi64((__m128i *)(void *)c, part);
        part = _mm_srli_si128(part, 8);
        c += 8;
    }
    uint64_t last = (uint64_t)_mm_cvtsi128_si64(part);
    for (uint32_t i = 0; i < (n & 7); i++, last >>= 8) {
        c[i] = (uint8_t)last;
    }
}

/* The same from stored sums, with bounds in s16, for any number of columns. */
static inline __attribute__((always_inline)) void finish_bytes_stored(const lt_gemm_tile *tile,
                                                                      const int32_t *stored,
                                                                      const int mr, const int nv,
                                                                      const lt_int8_addend what)
{
    const lt_int8_epilogue copy = *(const lt_int8_epilogue *)tile->epilogue;
    const lt_int8_epilogue *e = &copy;
    const byte_bounds bounds = bounds_of(e);
    const uint32_t n = tile->n;
    const __mmask16 mask[2] = {low_mask(n), low_mask(n > VL ? n - VL : 0)};
    const __mmask32 store_mask = n >= 2 * VL ? 0xffffffffu : (1u << n) - 1;
    __m512 by[2][2] = {{_mm512_setzero_ps()}};
    for (int v = 0; v < nv; v++) {
        scale_and_bias(e, tile->column + v * VL, what, by[v]);
    }
    uint8_t *c = tile->c;
    size_t at = tile->row * e->residual_ld + tile->column;
    for (int r = 0; r < mr; r++, stored += 2 * VL, c += tile->ldc, at += e->residual_ld) {
        __m512i x0 = byte_vector(e, _mm512_loadu_si512(stored), by[0], at, mask[0], what, false);
        __m512i x1 = x0;
        if (nv == 2) {
            x1 = byte_vector(e, _mm512_loadu_si512(stored + VL), by[1], at + VL, mask[1], what,
                             false);
        }
        __m512i w = _mm512_adds_epi16(_mm512_packs_epi32(x0, x1), bounds.zero);
        w = _mm512_min_epi16(_mm512_max_epi16(w, bounds.low), bounds.high);
        __m512i q = _mm512_permutexvar_epi32(bounds.order, _mm512_packus_epi16(w, w));
        q = _mm512_xor_si512(q, bounds.flip);
        if (what == LT_INT8_ADD_NOTHING) {
            _mm256_mask_storeu_epi8(c, store_mask, _mm512_castsi512_si256(q));
        } else {
            store_bytes(c, _mm512_castsi512_si256(q), n);
        }
    }
}

static inline __attribute__((always_inline)) void
finish_floats(const lt_gemm_tile *tile, __m512i sum[MR][2], const int mr, const int nv)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const uint32_t n = tile->n;
    const __mmask16 mask[2] = {low_mask(n), low_mask(n > VL ? n - VL : 0)};
    const __m512 low = _mm512_set1_ps(e->low), high = _mm512_set1_ps(e->high);
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++) {
        const __m512 scale = _mm512_loadu_ps(e->scale + tile->column + v * VL);
        const __m512 bias =
            e->bias ? _mm512_loadu_ps(e->bias + tile->column + v * VL) : _mm512_setzero_ps();
        float *c = (float *)tile->c + v * VL;
        const size_t at = tile->row * e->residual_ld + tile->column + (size_t)v * VL;
        const float *add =
            e->residual_kind != LT_INT8_RESIDUAL_NONE ? (const float *)e->residual + at : NULL;
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++, c += tile->ldc) {
            __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][v]), scale, bias);
            if (e->residual_kind != LT_INT8_RESIDUAL_NONE) {
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask[v], add));
                add += e->residual_ld;
            }
            x = _mm512_min_ps(_mm512_max_ps(x, low), high);
            if (mask[v] == 0xffff) {
                _mm512_storeu_ps(c, x);
            } else {
                _mm512_mask_storeu_ps(c, mask[v], x);
            }
        }
    }
}

#endif

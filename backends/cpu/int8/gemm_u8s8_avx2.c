/* SPDX-License-Identifier: Apache-2.0 */
/* 6 x 16 sums of u8 by s8 with AVX2.
 *
 * vpmaddubsw would add two products of u8 by s8 in 16 bits and saturate (255 * 127 * 2), so both
 * factors are widened to 16 bits and vpmaddwd adds two products exactly in 32: A once a block (the
 * job's copy, lt_int8_widen_row), B when it is loaded, so that its bytes in memory stay as few.
 *
 *     a panel of B: 16 columns of (b[0][c] b[1][c]), of (b[2][c] b[3][c]), ...
 *
 * A step over two k of 6 x 16 sums is 2 widening loads, 6 broadcasts, 12 vpmaddwd and 12 additions:
 * arithmetic bounds it, at 16 products a vpmaddwd, which is what vpmaddubsw with the vpmaddwd
 * behind it has, too. */
#include "int8/int8.h"

#include <immintrin.h>

#define MR 6
#define VL 8

/* --- what follows the sums: rows of 16 in memory -------------------------------------------------
 */

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

static __attribute__((noinline)) void finish(const lt_gemm_tile *tile, const int32_t *sums,
                                             size_t rows)
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

/* --- the tile ------------------------------------------------------------------------------------
 */

static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    __m256i sum[MR][2];
#pragma GCC unroll 6
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            const int32_t *start = (const int32_t *)tile->bias + v * VL;
            sum[r][v] = tile->bias ? _mm256_loadu_si256((const __m256i *)(const void *)start)
                                   : _mm256_setzero_si256();
        }
    }
    const int8_t *b = tile->b;
    for (size_t t = 0; t < tile->taps; t++) {
        const uint16_t *rows[MR];
#pragma GCC unroll 6
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (size_t j = 0; j < tile->k; j += 2, b += nv * 2 * VL) {
            __m256i w[2];
            for (int v = 0; v < nv; v++) {
                const __m128i *from = (const __m128i *)(const void *)(b + v * 2 * VL);
                w[v] = _mm256_cvtepi8_epi16(_mm_load_si128(from));
            }
#pragma GCC unroll 6
            for (int r = 0; r < mr; r++) {
                int32_t two;
                memcpy(&two, rows[r] + j, sizeof(two));
                __m256i x = _mm256_set1_epi32(two);
                for (int v = 0; v < nv; v++) {
                    sum[r][v] = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(x, w[v]));
                }
            }
        }
    }
    int32_t stored[MR * 2 * VL];
#pragma GCC unroll 6
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            _mm256_storeu_si256((__m256i *)(void *)(stored + r * 2 * VL + v * VL), sum[r][v]);
        }
    }
    finish(tile, stored, (size_t)mr);
}

#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DEFINE_KERNELS(rows)                                                                       \
    static void full_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, 2);                                                                   \
    }                                                                                              \
    static void half_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, 1);                                                                   \
    }
ROWS(DEFINE_KERNELS)

#define FULL(rows) full_##rows,
#define HALF(rows) half_##rows,
#define TABLE(bytes)                                                                               \
    {                                                                                              \
        .name = "gemm_u8s8_6x16_avx2", .dtype = LEAT_DTYPE_U8, .a_bytes = 2, .b_bytes = 1,         \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 2, .mr = MR, .nr = 2 * VL,                   \
        .full = {ROWS(FULL)}, .half = {ROWS(HALF)}, .pack = lt_int8_pack_pairs,                    \
        .activate = lt_cpu_activate_tile_f32_avx2                                                  \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_6x16_avx2[2] = {TABLE(4), TABLE(1)};

/* SPDX-License-Identifier: Apache-2.0 */
/* Micro-kernels of f32 for last panels of 24 and 40 columns (gemm.h, lt_gemm_quarters), where
 * panels of 32 would compute on zeros.
 *
 * One vector and a half, or two and a half, by half of the tile's rows after the other: up to 7, so
 * that a step has 10.5 or 17.5 FMAs' worth of 512 bits on 9 or 10 loads. The panel passes twice,
 * the second time from the first cache.
 *
 * Storage, products and sums are f32. Loads of A and C need the alignment of f32 only. Columns
 * beyond n are computed on zeros and not stored. Arithmetic bounds them (`leat bench --profile` on
 * EfficientNet-Lite0 and the PP-OCR recogniser). */
#include "gemm/gemm.h"
#include "vector.h"

#define INLINE static inline __attribute__((always_inline))
#define MOST_ROWS (LT_GEMM_MAX_MR / 2)
#define WIDEST 48 /* what is stored of 40 columns */

/* Bias, residual, clamp and store of rows [first, first + rows): one loop for all kernels, for the
 * same text in each of them would be most of their size. */
static __attribute__((noinline)) void finish(const lt_gemm_tile *tile, const float *raw,
                                             size_t first, size_t rows)
{
    const __m512 low = _mm512_set1_ps((float)tile->low), high = _mm512_set1_ps((float)tile->high);
    for (uint32_t c = 0; c < tile->n; c += 16) {
        const __mmask16 mask = (__mmask16)(tile->n - c < 16 ? (1u << (tile->n - c)) - 1u : 0xffffu);
        const __m512 bias =
            tile->bias ? _mm512_loadu_ps((const float *)tile->bias + c) : _mm512_setzero_ps();
        const float *from =
            tile->residual ? (const float *)tile->residual + first * tile->ldr + c : NULL;
        float *to = (float *)tile->c + first * tile->ldc + c;
        for (size_t r = 0; r < rows; r++, to += tile->ldc) {
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(raw + r * WIDEST + c), bias);
            if (from != NULL) {
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, from));
                from += tile->ldr;
            }
            x = _mm512_min_ps(high, _mm512_max_ps(low, x));
            if (mask == 0xffff) {
                _mm512_storeu_ps(to, x);
            } else {
                _mm512_mask_storeu_ps(to, mask, x);
            }
        }
    }
}

/* Asks for the rows' part of C and of the residual. */
static __attribute__((noinline)) void expect(const lt_gemm_tile *tile, size_t first, size_t rows)
{
    for (size_t r = first; tile->next != NULL && r < first + rows; r++) {
        const float *to = (const float *)tile->c + r * tile->ldc;
        __builtin_prefetch(to, 1, 3);
        __builtin_prefetch(to + tile->n - 1, 1, 3);
        if (tile->residual != NULL) {
            const float *from = (const float *)tile->residual + r * tile->ldr;
            __builtin_prefetch(from, 0, 3);
            __builtin_prefetch(from + tile->n - 1, 0, 3);
        }
    }
}

/* Sums of rows [first, first + mr) by nv whole vectors and 8 columns more; mr and nv are constants
 * at every call. */
INLINE void rows_run(const lt_gemm_tile *tile, const size_t first, const int mr, const int nv)
{
    __m512 whole[MOST_ROWS][2];
    __m256 last[MOST_ROWS];
    float raw[MOST_ROWS * WIDEST];
    const float *b = tile->b;
    const char *next = tile->next != NULL ? tile->next : tile->b;
    const size_t next_step = tile->next != NULL ? tile->next_step : 0, k = tile->k;
    expect(tile, first, (size_t)mr);
#pragma GCC unroll 7
    for (int r = 0; r < mr; r++) {
        whole[r][0] = whole[r][1] = _mm512_setzero_ps();
        last[r] = _mm256_setzero_ps();
    }
    for (size_t t = 0; t < tile->taps; t++) {
        const float *near[MOST_ROWS];
#pragma GCC unroll 7
        for (int r = 0; r < mr; r++) {
            near[r] = tile->rows[t * LT_GEMM_MAX_MR + first + (size_t)r];
        }
        for (size_t j = 0; j < k; j++, b += 16 * nv + 8, next += next_step) {
            __m512 bv[2];
            __m256 b_last = _mm256_loadu_ps(b + 16 * nv);
            __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                bv[v] = _mm512_loadu_ps(b + 16 * v);
            }
#pragma GCC unroll 7
            for (int r = 0; r < mr; r++) {
                __m512 x = _mm512_set1_ps(near[r][j]);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    whole[r][v] = _mm512_fmadd_ps(x, bv[v], whole[r][v]);
                }
                last[r] = _mm256_fmadd_ps(_mm512_castps512_ps256(x), b_last, last[r]);
            }
        }
    }
#pragma GCC unroll 7
    for (int r = 0; r < mr; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            _mm512_storeu_ps(raw + r * WIDEST + 16 * v, whole[r][v]);
        }
        _mm512_storeu_ps(raw + r * WIDEST + 16 * nv, _mm512_zextps256_ps512(last[r]));
    }
    finish(tile, raw, first, (size_t)mr);
}

/* Half of a tile's rows, by nv vectors and a half. */
#define DEFINE_PART(name, nv, rows)                                                                \
    static void name##_part_##rows(const lt_gemm_tile *tile, size_t first)                         \
    {                                                                                              \
        rows_run(tile, first, rows, nv);                                                           \
    }
#define DEFINE(name, rows, upper, lower)                                                           \
    static void name##_##rows(const lt_gemm_tile *tile)                                            \
    {                                                                                              \
        name##_part_##upper(tile, 0);                                                              \
        name##_part_##lower(tile, upper);                                                          \
    }
#define DEFINE_ALL(name, nv)                                                                       \
    DEFINE_PART(name, nv, 3)                                                                       \
    DEFINE_PART(name, nv, 4)                                                                       \
    DEFINE_PART(name, nv, 5)                                                                       \
    DEFINE_PART(name, nv, 6)                                                                       \
    DEFINE_PART(name, nv, 7)                                                                       \
    DEFINE(name, 7, 4, 3)                                                                          \
    DEFINE(name, 8, 4, 4)                                                                          \
    DEFINE(name, 9, 5, 4)                                                                          \
    DEFINE(name, 10, 5, 5)                                                                         \
    DEFINE(name, 11, 6, 5)                                                                         \
    DEFINE(name, 12, 6, 6)                                                                         \
    DEFINE(name, 13, 7, 6)                                                                         \
    DEFINE(name, 14, 7, 7)
DEFINE_ALL(three, 1)
DEFINE_ALL(five, 2)

#define ALL(name)                                                                                  \
    {                                                                                              \
        name##_7, name##_8, name##_9, name##_10, name##_11, name##_12, name##_13, name##_14        \
    }
const lt_gemm_quarters lt_cpu_gemm_quarters_f32_avx512 = {ALL(three), ALL(five)};

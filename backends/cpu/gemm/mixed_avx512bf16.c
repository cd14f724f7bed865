/* SPDX-License-Identifier: Apache-2.0 */
/* Micro-kernels of mixed.h by dot products of bf16 (vdpbf16ps):
 *
 *     sum[r][c] += A[r][2j] * B[2j][c] + A[r][2j + 1] * B[2j + 1][c]     for pairs j of k
 *
 * A and B bf16, sums f32. A pair costs what one k costs in f32: 2 loads of B, one broadcast (of 32
 * bits) and 2 instructions a row, so with 14 rows arithmetic bounds it, at twice the rate of f32.
 * With one or two rows, where the latency of a chain would, pairs go to four chains in turn. C, the
 * residual and the next panel are asked for meanwhile, as in gemm_kernel.inc.
 *
 * Full panels are finished in registers, partial ones by masks; activations that are no clamp
 * through lt_gemm_mixed_finish, but for Gelu of whole tiles. */
#include "elementwise/gelu_avx512.h"
#include "gemm/mixed.h"

#include <immintrin.h>

#include <math.h>

#define VL 16
#define CHAINS 4
#define HIGH 12 /* rows */

static inline __m512 dot(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

static inline __m512i broadcast_pair(const char *a)
{
    int32_t pair;
    memcpy(&pair, a, sizeof(pair));
    return _mm512_set1_epi32(pair);
}

/* A last element without a partner. */
static inline __m512i broadcast_single(const char *a)
{
    uint16_t single;
    memcpy(&single, a, sizeof(single));
    return _mm512_set1_epi32(single);
}

static inline __m512 widened(leat_dtype dtype, __m256i h)
{
    return dtype == LEAT_DTYPE_F16
               ? _mm512_cvtph_ps(h)
               : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static inline __m512 load_any(leat_dtype dtype, const void *data, size_t at)
{
    if (dtype == LEAT_DTYPE_F32) {
        return _mm512_loadu_ps((const float *)data + at);
    }
    const uint16_t *from = (const uint16_t *)data + at;
    return widened(dtype, _mm256_loadu_si256((const __m256i *)(const void *)from));
}

static inline __m256i narrowed(leat_dtype dtype, __m512 v)
{
    return dtype == LEAT_DTYPE_F16 ? _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)
                                   : (__m256i)_mm512_cvtneps_pbh(v);
}

static inline void store_any(leat_dtype dtype, void *data, size_t at, __m512 v)
{
    if (dtype == LEAT_DTYPE_F32) {
        _mm512_storeu_ps((float *)data + at, v);
        return;
    }
    _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)data + at), narrowed(dtype, v));
}

/* The same for the elements in `mask`; the others are not touched, 0 where loaded. */
static inline __m512 load_some(leat_dtype dtype, const void *data, size_t at, __mmask16 mask)
{
    if (dtype == LEAT_DTYPE_F32) {
        return _mm512_maskz_loadu_ps(mask, (const float *)data + at);
    }
    return widened(dtype, _mm256_maskz_loadu_epi16(mask, (const uint16_t *)data + at));
}

static inline void store_some(leat_dtype dtype, void *data, size_t at, __mmask16 mask, __m512 v)
{
    if (dtype == LEAT_DTYPE_F32) {
        _mm512_mask_storeu_ps((float *)data + at, mask, v);
        return;
    }
    _mm256_mask_storeu_epi16((uint16_t *)data + at, mask, narrowed(dtype, v));
}

/* NaN passes: the second operand is what min and max return then. */
static inline __m512 clamp(__m512 v, __m512 low, __m512 high)
{
    return _mm512_min_ps(high, _mm512_max_ps(low, v));
}

/* A whole tile from registers to C and from the residual, both of `dtype`. */
static inline __attribute__((always_inline)) void
finish_whole(const lt_gemm_tile *tile, const __m512 (*sum)[2], const int mr, const int nv,
             const leat_dtype dtype, const bool residual, const bool bounded)
{
    const size_t bytes = dtype == LEAT_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    const __m512 low = _mm512_set1_ps((float)tile->low), high = _mm512_set1_ps((float)tile->high);
    char *c = (char *)tile->c + (tile->row * tile->ldc + tile->column) * bytes;
    const char *from = tile->residual;
    from = residual ? from + (tile->row * tile->ldr + tile->column) * bytes : NULL;
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++, c += tile->ldc * bytes) {
        __m512 x[2];
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            const size_t at = (size_t)v * VL;
            x[v] = residual ? _mm512_add_ps(sum[r][v], load_any(dtype, from, at)) : sum[r][v];
            x[v] = bounded ? clamp(x[v], low, high) : x[v];
        }
        if (nv == 2 && dtype == LEAT_DTYPE_BF16) {
            _mm512_storeu_si512(c, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
        } else {
            for (int v = 0; v < nv; v++) {
                store_any(dtype, c, (size_t)v * VL, x[v]);
            }
        }
        from = residual ? from + tile->ldr * bytes : NULL;
    }
}

/* Whether finish_registers has a form for the tile. */
static inline bool fits_registers(const lt_gemm_tile *tile, const int nv)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    return tile->n == (uint32_t)(nv * VL) && tile->activation == NULL &&
           mixed->c_dtype != LEAT_DTYPE_F16 &&
           (tile->residual == NULL || lt_gemm_mixed_residual(tile) == mixed->c_dtype);
}

static inline __attribute__((always_inline)) void
finish_registers(const lt_gemm_tile *tile, const __m512 (*sum)[2], const int mr, const int nv)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    const bool bounded = tile->low > -INFINITY || tile->high < INFINITY;
    if (mixed->c_dtype == LEAT_DTYPE_F32 && tile->residual != NULL) {
        finish_whole(tile, sum, mr, nv, LEAT_DTYPE_F32, true, true);
    } else if (mixed->c_dtype == LEAT_DTYPE_F32) {
        finish_whole(tile, sum, mr, nv, LEAT_DTYPE_F32, false, true);
    } else if (tile->residual != NULL) {
        finish_whole(tile, sum, mr, nv, LEAT_DTYPE_BF16, true, true);
    } else if (bounded) {
        finish_whole(tile, sum, mr, nv, LEAT_DTYPE_BF16, false, true);
    } else {
        finish_whole(tile, sum, mr, nv, LEAT_DTYPE_BF16, false, false);
    }
}

/* rows of nv vectors in memory, the last of which need not be whole: without activation. */
static __attribute__((noinline)) void finish_memory(const lt_gemm_tile *tile, const float *sums,
                                                    int rows, int nv)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    const leat_dtype c_dtype = mixed->c_dtype, r_dtype = lt_gemm_mixed_residual(tile);
    const __m512 low = _mm512_set1_ps((float)tile->low), high = _mm512_set1_ps((float)tile->high);
    for (int v = 0; v < nv; v++) {
        const size_t column = tile->column + (size_t)v * VL;
        const uint32_t left = tile->n - (uint32_t)v * VL;
        const __mmask16 mask = left >= VL ? 0xffff : (__mmask16)((1u << left) - 1);
        for (int r = 0; r < rows; r++) {
            const size_t row = tile->row + (size_t)r;
            __m512 x = _mm512_loadu_ps(sums + (r * nv + v) * VL);
            if (tile->residual != NULL) {
                size_t at = row * tile->ldr + column;
                x = _mm512_add_ps(x, load_some(r_dtype, tile->residual, at, mask));
            }
            store_some(c_dtype, tile->c, row * tile->ldc + column, mask, clamp(x, low, high));
        }
    }
}

/* rows of nv whole vectors, with Gelu, to bf16. */
static __attribute__((noinline)) void finish_gelu(const lt_gemm_tile *tile, const float *sums,
                                                  int rows, int nv)
{
    const leat_dtype r_dtype = lt_gemm_mixed_residual(tile);
    for (int r = 0; r < rows; r++) {
        size_t row = tile->row + (size_t)r;
        for (int v = 0; v < nv; v++, sums += VL) {
            size_t column = tile->column + (size_t)v * VL;
            __m512 x = _mm512_loadu_ps(sums);
            if (tile->residual != NULL) {
                x = _mm512_add_ps(x, load_any(r_dtype, tile->residual, row * tile->ldr + column));
            }
            store_any(LEAT_DTYPE_BF16, tile->c, row * tile->ldc + column, lt_gelu_avx512(x));
        }
    }
}

/* High tiles, which are nearly all where speed counts, have forms that keep to registers. */
static inline __attribute__((always_inline)) void
finish(const lt_gemm_tile *tile, const __m512 (*sum)[2], const int mr, const int nv)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    if (mr >= HIGH && fits_registers(tile, nv)) {
        finish_registers(tile, sum, mr, nv);
        return;
    }
    float out[LT_GEMM_MAX_MR * 2 * VL];
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            _mm512_storeu_ps(out + (r * nv + v) * VL, sum[r][v]);
        }
    }
    if (tile->activation == NULL) {
        finish_memory(tile, out, mr, nv);
    } else if (tile->n == (uint32_t)(nv * VL) && mixed->c_dtype == LEAT_DTYPE_BF16 &&
               tile->activation->kind == LT_CPU_ACTIVATION_GELU) {
        finish_gelu(tile, out, mr, nv);
    } else {
        lt_gemm_mixed_finish(tile, out, (size_t)mr, (size_t)(nv * VL), &lt_half_avx512,
                             lt_cpu_activate_f32_avx512);
    }
}

/* --- sums ---------------------------------------------------------------------------------------
 */

/* Row pointers beyond these are read from memory in every step: see gemm_kernel.inc. */
#define NEAR 8

/* The tile's part of C and of the residual, to be asked for row by row. */
typedef struct expected {
    const char *c, *residual;
    size_t c_step, r_step; /* bytes from row to row */
    size_t c_last, r_last; /* from the first byte of a row to its last one */
} expected;

static inline expected expected_of(const lt_gemm_tile *tile, const int nv)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    const size_t c = mixed->c_dtype == LEAT_DTYPE_F32 ? 4 : 2;
    const size_t r = lt_gemm_mixed_residual(tile) == LEAT_DTYPE_F32 ? 4 : 2;
    return (expected){.c = (const char *)tile->c + (tile->row * tile->ldc + tile->column) * c,
                      .residual = tile->residual ? (const char *)tile->residual +
                                                       (tile->row * tile->ldr + tile->column) * r
                                                 : NULL,
                      .c_step = tile->ldc * c,
                      .r_step = tile->ldr * r,
                      .c_last = (size_t)nv * VL * c - 1,
                      .r_last = (size_t)nv * VL * r - 1};
}

static inline void expect_row(expected *e)
{
    __builtin_prefetch(e->c, 1, 3);
    __builtin_prefetch(e->c + e->c_last, 1, 3);
    e->c += e->c_step;
    if (e->residual != NULL) {
        __builtin_prefetch(e->residual, 0, 3);
        __builtin_prefetch(e->residual + e->r_last, 0, 3);
        e->residual += e->r_step;
    }
}

/* A pair of k at byte `at` of every row. */
static inline __attribute__((always_inline)) void
step_run(__m512 sum[][2], const char *const near[], const char *const volatile far[], size_t at,
         const char *b, const int mr, const int nv)
{
    __m512i b0 = _mm512_load_si512(b);
    __m512i b1 = nv == 2 ? _mm512_load_si512(b + 64) : b0;
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        __m512i x = broadcast_pair((r < NEAR ? near[r] : far[r]) + at);
        sum[r][0] = dot(sum[r][0], x, b0);
        if (nv == 2) {
            sum[r][1] = dot(sum[r][1], x, b1);
        }
    }
}

/* mr and nv (vectors a row) are constants at every call, so that sums stay in registers. */
static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    __m512 sum[LT_GEMM_MAX_MR][2];
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            sum[r][v] = tile->bias ? _mm512_loadu_ps((const float *)tile->bias + v * VL)
                                   : _mm512_setzero_ps();
        }
    }
    const char *b = tile->b, *next = tile->next;
    const size_t next_step = tile->next_step, pairs = tile->k / 2;
    expected lines = expected_of(tile, nv);
    int rows_left = mr;
    /* Steps from row to row of what is asked for, so that the lines do not come in a burst. */
    const size_t stride = pairs >= (size_t)mr * 8 ? 8 : pairs >= (size_t)mr * 4 ? 4 : 2;
    for (size_t t = 0; t < tile->taps; t++) {
        const char *near[LT_GEMM_MAX_MR];
        const char *volatile far[LT_GEMM_MAX_MR];
        size_t j = 0;
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            near[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
            far[r] = near[r];
        }
        for (; next == NULL && j < pairs; j++, b += nv * 64) { /* all is near: operands, and C */
            step_run(sum, near, far, 4 * j, b, mr, nv);
        }
        while (j < pairs) {
            size_t end = pairs;
            if (rows_left > 0) {
                expect_row(&lines);
                rows_left--;
                end = j + stride < pairs ? j + stride : pairs;
            }
            for (; j < end; j++, b += nv * 64, next += next_step) {
                __builtin_prefetch(next, 0, 2);
                step_run(sum, near, far, 4 * j, b, mr, nv);
            }
        }
        if (tile->k % 2 != 0) {
#pragma GCC unroll 16
            for (int r = 0; r < mr; r++) {
                __m512i x = broadcast_single(far[r] + 4 * pairs);
                for (int v = 0; v < nv; v++) {
                    sum[r][v] = dot(sum[r][v], x, _mm512_load_si512(b + v * 64));
                }
            }
            b += nv * 64;
        }
    }
    finish(tile, (const __m512(*)[2])sum, mr, nv);
}

/* One or two rows. */
static inline __attribute__((always_inline)) void tile_few(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    __m512 part[CHAINS][2][2];
#pragma GCC unroll 4
    for (int i = 0; i < CHAINS; i++) {
        for (int r = 0; r < mr; r++) {
            part[i][r][0] = part[i][r][1] = _mm512_setzero_ps();
        }
    }
    const char *b = tile->b;
    for (size_t t = 0; t < tile->taps; t++) {
        const void *const *rows = tile->rows + t * LT_GEMM_MAX_MR;
        size_t j = 0;
        for (; j + 2 * CHAINS <= tile->k; j += 2 * CHAINS) {
#pragma GCC unroll 4
            for (size_t i = 0; i < CHAINS; i++) {
                for (int r = 0; r < mr; r++) {
                    __m512i x = broadcast_pair((const char *)rows[r] + 2 * (j + 2 * i));
                    for (int v = 0; v < nv; v++) {
                        part[i][r][v] = dot(part[i][r][v], x, _mm512_load_si512(b + v * 64));
                    }
                }
                b += nv * 64;
            }
        }
        for (; j < tile->k; j += 2) {
            for (int r = 0; r < mr; r++) {
                const char *a = (const char *)rows[r] + 2 * j;
                __m512i x = j + 1 < tile->k ? broadcast_pair(a) : broadcast_single(a);
                for (int v = 0; v < nv; v++) {
                    part[0][r][v] = dot(part[0][r][v], x, _mm512_load_si512(b + v * 64));
                }
            }
            b += nv * 64;
        }
    }
    __m512 sum[2][2];
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            sum[r][v] = _mm512_add_ps(_mm512_add_ps(part[0][r][v], part[1][r][v]),
                                      _mm512_add_ps(part[2][r][v], part[3][r][v]));
            if (tile->bias != NULL) {
                sum[r][v] =
                    _mm512_add_ps(sum[r][v], _mm512_loadu_ps((const float *)tile->bias + v * 16));
            }
        }
    }
    finish(tile, (const __m512(*)[2])sum, mr, nv);
}

#define DEFINE_KERNELS(rows)                                                                       \
    static void full_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        rows <= 2 ? tile_few(tile, rows, 2) : tile_run(tile, rows, 2);                             \
    }                                                                                              \
    static void half_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        rows <= 2 ? tile_few(tile, rows, 1) : tile_run(tile, rows, 1);                             \
    }
#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
ROWS(DEFINE_KERNELS)

#define FULL(rows) full_##rows,
#define HALF(rows) half_##rows,
#define TABLE                                                                                      \
    .name = "gemm_bf16_14x32_avx512bf16", .dtype = LEAT_DTYPE_BF16, .a_bytes = sizeof(uint16_t),   \
    .b_bytes = sizeof(uint16_t), .bias_bytes = sizeof(float), .k_group = 2, .any_k = true,         \
    .mr = LT_GEMM_MAX_MR, .nr = 32, .full = {ROWS(FULL)}, .half = {ROWS(HALF)},                    \
    .pack = lt_gemm_pack_bf16_pairs
const lt_gemm_kernels lt_cpu_gemm_bf16_14x32_avx512bf16 = {TABLE};
const lt_gemm_kernels lt_cpu_gemm_bf16_14x32_avx512bf16_to_f32 = {TABLE, .accumulates = true};

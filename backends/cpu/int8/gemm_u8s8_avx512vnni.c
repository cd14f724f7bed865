/* SPDX-License-Identifier: Apache-2.0 */
/* 14 x 32 sums of u8 by s8 in registers, four k a step: 28 of 32 vector registers hold sums, two a
 * group of B, one the broadcast four bytes of a row of A.
 *
 * A step takes 2 loads of B, 14 broadcasts and 28 vpdpbusd, so arithmetic bounds it (`leat bench
 * --profile` shows GOP/s); C, the residual and the next panel are asked for meanwhile. vpdpbusd
 * adds four products exactly; nothing saturates. What follows the sums (int8.h) is done on the
 * registers, except for what is rare.
 *
 * Measured on Zen 4 in the loop of 12 rows, with 8 more instructions on vectors of 64 bytes among
 * 24 vpdpbusd: loads, prefetches, conversions, shuffles, additions and maxima
 * cost nothing, a product of floats as much as a vpdpbusd, a store 1.6 of them (of 32 bytes 0.6).
 * So sums that go through memory, to be finished among the next tile's products, lose more than
 * that gains: storing 28 takes 78 cycles, where conversion to bytes from registers takes 98 in
 * all. */
#include "int8/finish_avx512.h"

/* Rows from which on bytes are finished on registers: products of many rows have no fewer a tile.
 */
#define MANY 12

/* --- the tile ------------------------------------------------------------------------------------
 */

/* LT_INT8_WAY_FLOATS with an activation, from sums to floats in their place and from there to C. */
static void finish_activated(const lt_gemm_tile *tile, int32_t *stored, int mr)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const bool residual = e->residual_kind != LT_INT8_RESIDUAL_NONE;
    float *rows = (float *)(void *)stored;
    for (uint32_t v = 0; v < tile->n; v += VL) {
        const __mmask16 mask = low_mask(tile->n - v);
        const size_t column = tile->column + v;
        const __m512 scale = _mm512_loadu_ps(e->scale + column);
        const __m512 bias = e->bias ? _mm512_loadu_ps(e->bias + column) : _mm512_setzero_ps();
        for (int r = 0; r < mr; r++) {
            const __m512i sum = _mm512_loadu_si512(stored + r * 2 * VL + v);
            __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, bias);
            if (residual) {
                const size_t at = (tile->row + (size_t)r) * e->residual_ld + column;
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, (const float *)e->residual + at));
            }
            _mm512_storeu_ps(rows + r * 2 * VL + v, x);
        }
    }
    const lt_cpu_activation_tile part = {rows, tile->c, mr, tile->n, 2 * VL, (int64_t)tile->ldc};
    lt_cpu_activate_tile_f32_avx512(&part, tile->activation);
}

/* What is not done on the registers of a tile: sums in memory, 2 * VL apart, to C. */
static __attribute__((noinline)) void finish_memory(const lt_gemm_tile *tile, int32_t *stored,
                                                    int mr, int nv)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const bool plain = tile->activation == NULL;
    if (e->way == LT_INT8_WAY_FLOATS) {
        finish_activated(tile, stored, mr);
        return;
    }
    if (plain && e->way == LT_INT8_WAY_BYTES && nv == 1) {
        finish_bytes_stored(tile, stored, mr, 1, LT_INT8_ADD_NOTHING);
        return;
    }
    if (plain && e->way == LT_INT8_WAY_BYTES) {
        finish_bytes_stored(tile, stored, mr, 2, LT_INT8_ADD_NOTHING);
        return;
    }
    if (plain && e->way == LT_INT8_WAY_BYTES_RESIDUAL && e->mid) {
        finish_bytes_stored(tile, stored, mr, nv, LT_INT8_ADD_RESIDUAL_MID);
        return;
    }
    if (plain && e->way == LT_INT8_WAY_BYTES_RESIDUAL) {
        finish_bytes_stored(tile, stored, mr, nv, LT_INT8_ADD_RESIDUAL);
        return;
    }
    lt_int8_finish_avx2(tile, stored, 2 * VL, (size_t)mr);
    if (!plain) {
        const int64_t ldc = (int64_t)tile->ldc;
        const lt_cpu_activation_tile part = {tile->c, tile->c, mr, tile->n, ldc, ldc};
        lt_cpu_activate_tile_f32_avx512(&part, tile->activation);
    }
}

/* The sums of a tile whose epilogue is rare or long, through memory. */
static inline __attribute__((always_inline)) void
finish_stored(const lt_gemm_tile *tile, __m512i sum[MR][2], const int mr, const int nv)
{
    int32_t stored[MR * 2 * VL];
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            _mm512_storeu_si512(stored + r * 2 * VL + v * VL, sum[r][v]);
        }
    }
    finish_memory(tile, stored, mr, nv);
}

/* Row pointers beyond these are read from memory in every step: see gemm_kernel.inc. Fewer for half
 * panels, or gcc keeps some in vector registers that are free there, from where they return slowly.
 */
#define NEAR(nv) ((nv) == 2 ? 8 : 5)

/* Asks for one line of the tile's part of C and of the residual: see gemm_kernel.inc. */
static inline __attribute__((always_inline)) void expect_line(const lt_gemm_tile *tile, size_t i,
                                                              uint32_t shift)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const size_t row = i >> shift, line = (i & 1) * 64;
    const size_t c = e->result == LT_INT8_RESULT_BYTE ? 1 : 4;
    __builtin_prefetch((const char *)tile->c + row * tile->ldc * c + (c == 4 ? line : 0), 1, 3);
    if (e->residual_kind != LT_INT8_RESIDUAL_NONE) {
        const size_t r = e->residual_kind == LT_INT8_RESIDUAL_BYTE ? 1 : 4;
        const size_t at = (tile->row + row) * e->residual_ld + tile->column;
        __builtin_prefetch((const char *)e->residual + at * r + (r == 4 ? line : 0), 0, 3);
    }
}

/* Four k at byte `at` of every row. */
static inline __attribute__((always_inline)) void
step_run(__m512i sum[][2], const uint8_t *const near[], const uint8_t *const volatile far[],
         size_t at, const int8_t *b, const int mr, const int nv)
{
    __m512i b0 = _mm512_load_si512(b);
    __m512i b1 = nv == 2 ? _mm512_load_si512(b + 64) : b0;
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        int32_t four;
        memcpy(&four, (r < NEAR(nv) ? near[r] : far[r]) + at, sizeof(four));
        __m512i x = _mm512_set1_epi32(four);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], x, b0);
        if (nv == 2) {
            sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], x, b1);
        }
    }
}

/* Adds the products of all taps to the sums of three rows and more. */
static inline __attribute__((always_inline)) void
sum_run(const lt_gemm_tile *tile, __m512i sum[MR][2], const int mr, const int nv)
{
    const int8_t *b = tile->b;
    const char *next = tile->next;
    const size_t next_step = tile->next_step, groups = tile->k / 4;
    const uint32_t shift = groups >= (size_t)mr << 3   ? 3
                           : groups >= (size_t)mr << 2 ? 2
                                                       : groups >= (size_t)mr << 1;
    size_t expected = (size_t)mr << shift;
    expected = expected < groups ? expected : groups;
    for (size_t t = 0; t < tile->taps; t++) {
        const uint8_t *near[MR];
        const uint8_t *volatile far[MR];
        size_t j = 0;
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            near[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
            far[r] = near[r];
        }
        for (; j < expected; j++, b += nv * 64, next += next_step) {
            expect_line(tile, j, shift);
            __builtin_prefetch(next, 0, 2);
            step_run(sum, near, far, 4 * j, b, mr, nv);
        }
        expected = 0;
        for (; j < groups; j++, b += nv * 64, next += next_step) {
            __builtin_prefetch(next, 0, 2);
            step_run(sum, near, far, 4 * j, b, mr, nv);
        }
    }
}

/* The same for one or two rows, whose chains of sums would wait for each other: groups of k go to
 * FEW_CHAINS of them in turn. B bounds it. */
#define FEW_CHAINS 4

static inline __attribute__((always_inline)) void
sum_few(const lt_gemm_tile *tile, __m512i sum[MR][2], const int mr, const int nv)
{
    __m512i part[FEW_CHAINS][2][2];
    const int8_t *b = tile->b;
#pragma GCC unroll 4
    for (int i = 0; i < FEW_CHAINS; i++) {
        for (int r = 0; r < mr; r++) {
            part[i][r][0] = part[i][r][1] = _mm512_setzero_si512();
        }
    }
    for (size_t t = 0; t < tile->taps; t++) {
        const uint8_t *rows[2];
        size_t j = 0;
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (; j + 4 * FEW_CHAINS <= tile->k; j += 4 * FEW_CHAINS) {
#pragma GCC unroll 4
            for (int i = 0; i < FEW_CHAINS; i++, b += nv * 64) {
                step_run(part[i], rows, rows, j + 4 * (size_t)i, b, mr, nv);
            }
        }
        for (; j < tile->k; j += 4, b += nv * 64) {
            step_run(part[0], rows, rows, j, b, mr, nv);
        }
    }
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            __m512i ab = _mm512_add_epi32(part[0][r][v], part[1][r][v]);
            __m512i cd = _mm512_add_epi32(part[2][r][v], part[3][r][v]);
            sum[r][v] = _mm512_add_epi32(sum[r][v], _mm512_add_epi32(ab, cd));
        }
    }
}

/* mr and nv (vectors a row) are constants at every call, so that sums stay in registers. */
static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    const lt_int8_epilogue *e = tile->epilogue;
    __m512i sum[MR][2];
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            sum[r][v] = tile->bias ? _mm512_loadu_si512((const int32_t *)tile->bias + v * VL)
                                   : _mm512_setzero_si512();
        }
    }
    if (mr <= 2) {
        sum_few(tile, sum, mr, nv);
    } else {
        sum_run(tile, sum, mr, nv);
    }
    const bool plain = tile->activation == NULL;
    const bool whole = mr >= MANY && plain && nv == 2 && tile->n == 2 * VL && e->type_bounds;
    const bool sum_of_bytes = whole && e->way == LT_INT8_WAY_BYTES_RESIDUAL;
    if (whole && e->way == LT_INT8_WAY_BYTES) {
        finish_bytes(tile, sum, mr, LT_INT8_ADD_NOTHING);
    } else if (mr >= MANY && nv == 1 && plain && tile->n == VL && e->type_bounds &&
               e->way == LT_INT8_WAY_BYTES) {
        finish_half(tile, sum, mr);
    } else if (sum_of_bytes && e->mid) {
        finish_bytes(tile, sum, mr, LT_INT8_ADD_RESIDUAL_MID);
    } else if (sum_of_bytes) {
        finish_bytes(tile, sum, mr, LT_INT8_ADD_RESIDUAL);
    } else if (plain && e->way == LT_INT8_WAY_FLOATS) {
        finish_floats(tile, sum, mr, nv);
    } else {
        finish_stored(tile, sum, mr, nv);
    }
}

#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
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

static void chain_any(const lt_gemm_tile *tiles, size_t count, bool wide)
{
    if (lt_int8_chain_avx512vnni(tiles, count, wide)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        full_14(&tiles[i]);
    }
}

static void chain(const lt_gemm_tile *tiles, size_t count)
{
    chain_any(tiles, count, false);
}

static void chain_wide(const lt_gemm_tile *tiles, size_t count)
{
    chain_any(tiles, count, true);
}

#define FULL(rows) full_##rows,
#define HALF(rows) half_##rows,
/* B that a full-width processor's products, which ask for nothing where it is near, leave there. */
#define WIDE_RESIDENT (320u << 10)

#define TABLE(bytes, by_chain, resident)                                                           \
    {                                                                                              \
        .name = "gemm_u8s8_14x32_avx512vnni", .dtype = LEAT_DTYPE_U8, .a_bytes = 1, .b_bytes = 1,  \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 4, .mr = MR, .nr = 2 * VL,                   \
        .full = {ROWS(FULL)}, .half = {ROWS(HALF)}, .chain = by_chain, .b_resident = resident,     \
        .pack = lt_int8_pack                                                                       \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_14x32_avx512vnni[4] = {
    TABLE(4, chain, 0), TABLE(1, chain, 0), TABLE(4, chain_wide, WIDE_RESIDENT),
    TABLE(1, chain_wide, WIDE_RESIDENT)};

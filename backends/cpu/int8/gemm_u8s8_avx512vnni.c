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
#include "int8/chain.h"

#include <immintrin.h>

#define MR 14
#define VL 16
/* Rows from which on bytes are finished on registers: products of many rows have no fewer a tile.
 */
#define MANY 12

/* --- what follows the sums, on registers --------------------------------------------------------
 */

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
        by[v][0] = _mm512_loadu_ps(e->scale + tile->column + v * VL);
        by[v][1] = e->bias ? _mm512_loadu_ps(e->bias + tile->column + v * VL) : _mm512_setzero_ps();
        if (what == LT_INT8_ADD_RESIDUAL) {
            by[v][1] = _mm512_add_ps(by[v][1], _mm512_set1_ps(e->residual_offset));
        }
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
        by[v][0] = _mm512_loadu_ps(e->scale + tile->column + v * VL);
        by[v][1] = e->bias ? _mm512_loadu_ps(e->bias + tile->column + v * VL) : _mm512_setzero_ps();
        if (what == LT_INT8_ADD_RESIDUAL) {
            by[v][1] = _mm512_add_ps(by[v][1], _mm512_set1_ps(e->residual_offset));
        }
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
        _mm256_mask_storeu_epi8(c, store_mask, _mm512_castsi512_si256(q));
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

/* Row pointers beyond these are read from memory in every step: see gemm_kernel.inc. */
#define NEAR 8

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
        memcpy(&four, (r < NEAR ? near[r] : far[r]) + at, sizeof(four));
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Several tiles of 14 x 32 sums of u8 by s8, one after the other, whose results are bytes.
 *
 * Products occupy two of a Zen 4's four vector pipes; conversions, maxima, rounding and shuffles of
 * what follows the sums (int8.h) could have the others, but a processor looks ahead too little to
 * begin the next tile meanwhile. So a tile is two halves of 7 x 32, and a half's 14 sums stay in
 * their registers while the products of the next half, also of the next tile, are added:
 *
 *     first 7 or 14 steps   finish two vectors, or one, of the half before; four k of 7 x 32
 *     later steps           four k
 *
 * (one a step where a residual makes finishing long, lest its steps be bound by it).
 *
 * 14 sums held, 14 growing, 2 of B and 1 of A are 31 registers, so constants are read from memory
 * where they are needed. A step takes 9 loads for 14 vpdpbusd: arithmetic bounds it still.
 *
 * Measured on Zen 4, all in the first cache, cycles a tile of k 64 (products alone 448): bytes 505
 * instead of 547, with a residual 610 instead of 714.
 *
 * Zen 5 (wide: 512 bits a pipe) takes half of that, and there a prefetch, which costs Zen 4
 * nothing, takes half a cycle of the 224 to 350 of a tile. So where all of B stays in the
 * second-level cache, and rows of C are written from end to end, nothing is asked for: k 64 takes
 * 247 cycles, with a residual 304, of which 14 and 42 are products of floats. What else there is
 * takes a quarter of a cycle each, as it falls to the products' pipes as often as to others: so
 * zero points and signs are passed over by a branch where there are none. Sums that go through
 * memory take longer: 28 stores cost 16 cycles. */
#include "int8/chain.h"

#include <immintrin.h>
#include <math.h>

#define HALF (LT_INT8_CHAIN_ROWS / 2)
#define VL 16
/* Of a panel, which both halves read: beyond, it leaves the first cache between them. */
#define MAX_K 1024
/* Vectors of the half before that each of the first steps finishes: bytes, bytes of a short k, and
 * with a residual. And how many steps that takes. */
#define PER_BYTES 2
#define PER_SHORT 4
#define PER_RESIDUAL 1
#define EARLY(per) ((2 * HALF + (per)-1) / (per))

/* Constants of the epilogue. */
typedef struct constants {
    __m512 mid_factor, residual_factor, residual_offset;
    __m512i mid_low, mid_high, zero, flip, order;
    __m128i residual_flip;
    bool bare; /* results and residual are u8, zero points of results 0 */
} constants;

static constants constants_of(const lt_int8_epilogue *e)
{
    const int flip = e->is_signed ? 128 : 0; /* s8 results are u8 ones with 128 added */
    return (constants){.mid_factor = _mm512_set1_ps(e->mid_factor),
                       .residual_factor = _mm512_set1_ps(e->residual_factor),
                       .residual_offset = _mm512_set1_ps(e->residual_offset),
                       .mid_low = _mm512_castps_si512(_mm512_set1_ps(-fabsf(e->mid_low))),
                       .mid_high = _mm512_castps_si512(_mm512_set1_ps(e->mid_high)),
                       .zero = _mm512_set1_epi16((short)(e->zero + flip)),
                       .flip = _mm512_set1_epi8((char)flip),
                       .order =
                           _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                       .residual_flip = _mm_set1_epi8((char)e->residual_flip),
                       .bare = e->zero == 0 && flip == 0 && e->residual_flip == 0};
}

/* Where a half's results go, and what they need beside `constants`. */
typedef struct place {
    const float *scale;
    uint8_t *c;
    const uint8_t *residual;
    size_t step; /* from row to row of both */
} place;

/* f of one vector, before the zero point. Bounds of the middle, which are integers and have 0
 * between them, are taken after rounding and by comparing floats' bits: without a sign those above
 * 0 are the smaller, with one those below. Maxima of floats would want the products' units. */
static inline __attribute__((always_inline)) __m512i finish_vector(const constants *k,
                                                                   const place *p, __m512i sum,
                                                                   int r, int v,
                                                                   const lt_int8_addend what)
{
    __m512 x = _mm512_cvtepi32_ps(sum), scale = _mm512_loadu_ps(p->scale + v * VL);
    if (what == LT_INT8_ADD_NOTHING) {
        return _mm512_cvtps_epi32(_mm512_mul_ps(x, scale));
    }
    const void *from = p->residual + (size_t)r * p->step + v * VL;
    __m128i bytes = _mm_loadu_si128(from);
    if (!k->bare) {
        bytes = _mm_xor_si128(bytes, k->residual_flip);
    }
    __m512 add = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    add = _mm512_fmadd_ps(add, k->residual_factor, k->residual_offset);
    if (what == LT_INT8_ADD_RESIDUAL) {
        return _mm512_cvtps_epi32(_mm512_fmadd_ps(x, scale, add));
    }
    x = _mm512_roundscale_ps(_mm512_mul_ps(x, scale),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512i q = _mm512_min_epu32(_mm512_castps_si512(x), k->mid_low);
    x = _mm512_castsi512_ps(_mm512_min_epi32(q, k->mid_high));
    return _mm512_cvtps_epi32(_mm512_fmadd_ps(x, k->mid_factor, add));
}

/* Writes rows r - 1 and r, or the last alone, from the s16 of both. */
static inline __attribute__((always_inline)) void store_rows(const constants *k, const place *p,
                                                             __m512i first, __m512i second, int r)
{
    uint8_t *c = p->c + (size_t)(r / 2 * 2) * p->step;
    __m512i q = _mm512_permutexvar_epi32(k->order, _mm512_packus_epi16(first, second));
    if (!k->bare) {
        q = _mm512_xor_si512(q, k->flip);
    }
    _mm256_storeu_si256((__m256i *)(void *)c, _mm512_castsi512_si256(q));
    if (r % 2 != 0) {
        _mm256_storeu_si256((__m256i *)(void *)(c + p->step), _mm512_extracti64x4_epi64(q, 1));
    }
}

/* Finishes vector v of row r of a half in its place. With a row's second one its words are made,
 * which even rows keep in *words, to be written with the next. */
static inline __attribute__((always_inline)) void finish_part(const constants *k, const place *p,
                                                              __m512i sum[2], int r, int v,
                                                              __m512i *words,
                                                              const lt_int8_addend what)
{
    sum[v] = finish_vector(k, p, sum[v], r, v, what);
    if (v == 0) {
        return;
    }
    __m512i own = _mm512_packs_epi32(sum[0], sum[1]);
    if (!k->bare) {
        own = _mm512_adds_epi16(own, k->zero);
    }
    if (r % 2 == 0 && r + 1 < HALF) {
        *words = own;
    } else {
        store_rows(k, p, r % 2 == 0 ? own : *words, own, r);
    }
}

/* Four k at byte `at` of every row. */
static inline __attribute__((always_inline)) void
step(__m512i sum[HALF][2], const uint8_t *const rows[HALF], size_t at, const int8_t *b)
{
    const __m512i b0 = _mm512_load_si512(b), b1 = _mm512_load_si512(b + 64);
#pragma GCC unroll 8
    for (int r = 0; r < HALF; r++) {
        int32_t four;
        memcpy(&four, rows[r] + at, sizeof(four));
        const __m512i x = _mm512_set1_epi32(four);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], x, b0);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], x, b1);
    }
}

static inline __attribute__((always_inline)) place place_of(const lt_gemm_tile *tile, size_t first,
                                                            const lt_int8_addend what)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const size_t at = (tile->row + first) * tile->ldc + tile->column;
    return (place){.scale = e->scale + tile->column,
                   .c = (uint8_t *)tile->c + first * tile->ldc,
                   .residual =
                       what != LT_INT8_ADD_NOTHING ? (const uint8_t *)e->residual + at : NULL,
                   .step = tile->ldc};
}

/* Asks for a half's part of C and of the residual. */
static inline __attribute__((always_inline)) void expect(const lt_gemm_tile *tile, size_t first,
                                                         const lt_int8_addend what)
{
    const place p = place_of(tile, first, what);
#pragma GCC unroll 8
    for (int r = 0; r < HALF; r++) {
        __builtin_prefetch(p.c + (size_t)r * p.step, 1, 3);
        if (what != LT_INT8_ADD_NOTHING) {
            __builtin_prefetch(p.residual + (size_t)r * p.step, 0, 3);
        }
    }
}

/* `ask`: for C, the residual and what later calls need. */
static inline __attribute__((always_inline)) void run_chain(const lt_gemm_tile *tiles, size_t count,
                                                            const bool ask, const int per,
                                                            const lt_int8_addend what)
{
    const int early = EARLY(per);
    const constants own = constants_of(tiles->epilogue), *k = &own;
    uint8_t nowhere[2 * VL]; /* for what precedes the first half */
    place before = place_of(tiles, 0, what);
    __m512i held[HALF][2], words = _mm512_setzero_si512();
    before.c = nowhere;
    before.step = 0;
#pragma GCC unroll 8
    for (int r = 0; r < HALF; r++) {
        held[r][0] = held[r][1] = _mm512_setzero_si512();
    }
    for (size_t half = 0; half < 2 * count; half++) {
        const lt_gemm_tile *tile = &tiles[half / 2];
        const size_t first = half % 2 * HALF, ahead = tile->next_step / 2;
        const place now = place_of(tile, first, what);
        const int8_t *b = tile->b;
        const char *next = (const char *)tile->next + first / HALF * ahead * (tile->k / 4);
        const uint8_t *rows[HALF];
        __m512i sum[HALF][2];
        if (ask && half + 1 < 2 * count) {
            expect(&tiles[(half + 1) / 2], HALF - first, what);
        }
        __asm__("" : "+r"(k)); /* or constants would take registers */
#pragma GCC unroll 8
        for (int r = 0; r < HALF; r++) {
            rows[r] = tile->rows[first + (size_t)r];
            sum[r][0] = _mm512_loadu_si512((const int32_t *)tile->bias);
            sum[r][1] = _mm512_loadu_si512((const int32_t *)tile->bias + VL);
        }
#pragma GCC unroll 16
        for (int i = 0; i < early; i++, next += ahead) {
#pragma GCC unroll 4
            for (int j = i * per; j < (i + 1) * per; j++) {
                if (j == 2 * HALF) {
                    break;
                }
                finish_part(k, &before, held[j / 2], j / 2, j % 2, &words, what);
            }
            if (ask) {
                __builtin_prefetch(next, 0, 2);
            }
            step(sum, rows, 4 * (size_t)i, b + 128 * i);
            __asm__ volatile("" ::: "memory"); /* in this order */
        }
        b += 128 * early;
        for (size_t t = 0, done = 4 * (size_t)early;;) {
            const size_t left = tile->k - done;
#pragma GCC unroll 8
            for (int r = 0; r < HALF; r++) {
                rows[r] += tile->k;
            }
            for (ptrdiff_t j = -(ptrdiff_t)left; j != 0; j += 4, b += 128, next += ahead) {
                if (ask) {
                    __builtin_prefetch(next, 0, 2);
                }
                step(sum, rows, (size_t)j, b);
            }
            if (++t == tile->taps) {
                break;
            }
            done = 0;
#pragma GCC unroll 8
            for (int r = 0; r < HALF; r++) {
                rows[r] = tile->rows[t * LT_GEMM_MAX_MR + first + (size_t)r];
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < HALF; r++) { /* copied here, not in every step */
            __asm__("" : "+v"(sum[r][0]), "+v"(sum[r][1]));
            held[r][0] = sum[r][0];
            held[r][1] = sum[r][1];
        }
        before = now;
    }
#pragma GCC unroll 16
    for (int i = 0; i < 2 * HALF; i++) {
        finish_part(k, &before, held[i / 2], i / 2, i % 2, &words, what);
    }
}

typedef void (*chain_fn)(const lt_gemm_tile *tiles, size_t count);

#define DEFINE_CHAIN(name, ask, per, what)                                                         \
    static __attribute__((noinline)) void name(const lt_gemm_tile *tiles, size_t count)            \
    {                                                                                              \
        run_chain(tiles, count, ask, per, what);                                                   \
    }
DEFINE_CHAIN(chain_bytes, true, PER_BYTES, LT_INT8_ADD_NOTHING)
DEFINE_CHAIN(chain_short, true, PER_SHORT, LT_INT8_ADD_NOTHING)
DEFINE_CHAIN(chain_residual, true, PER_RESIDUAL, LT_INT8_ADD_RESIDUAL)
DEFINE_CHAIN(chain_residual_mid, true, PER_RESIDUAL, LT_INT8_ADD_RESIDUAL_MID)
DEFINE_CHAIN(near_bytes, false, PER_BYTES, LT_INT8_ADD_NOTHING)
DEFINE_CHAIN(near_short, false, PER_SHORT, LT_INT8_ADD_NOTHING)
DEFINE_CHAIN(near_residual, false, PER_RESIDUAL, LT_INT8_ADD_RESIDUAL)
DEFINE_CHAIN(near_residual_mid, false, PER_RESIDUAL, LT_INT8_ADD_RESIDUAL_MID)

/* The function for tiles of k elements a tap; NULL: it is too short. */
static chain_fn choose(const lt_int8_epilogue *e, size_t k, bool near)
{
    if (e->way == LT_INT8_WAY_BYTES_RESIDUAL && k >= 4 * EARLY(PER_RESIDUAL)) {
        return e->mid ? near ? near_residual_mid : chain_residual_mid
               : near ? near_residual
                      : chain_residual;
    }
    if (e->way == LT_INT8_WAY_BYTES && k >= 4 * EARLY(PER_BYTES)) {
        return near ? near_bytes : chain_bytes;
    }
    if (e->way == LT_INT8_WAY_BYTES && k >= 4 * EARLY(PER_SHORT)) {
        return near ? near_short : chain_short;
    }
    return NULL;
}

bool lt_int8_chain_avx512vnni(const lt_gemm_tile *tiles, size_t count, bool wide)
{
    const lt_int8_epilogue *e = tiles->epilogue;
    /* gemm.c passes over all panels with the same rows where B stays near. */
    const bool near = wide && count > 1 && tiles[0].rows == tiles[1].rows;
    const chain_fn fn = choose(e, tiles->k, near);
    if (fn == NULL || !e->type_bounds ||
        (e->residual_kind != LT_INT8_RESIDUAL_NONE && e->residual_ld != tiles->ldc) ||
        (e->mid && (e->mid_low > 0 || e->mid_high < 0)) || e->bias != NULL || tiles->bias == NULL ||
        tiles->activation != NULL || tiles->k * tiles->taps > MAX_K) {
        return false;
    }
    fn(tiles, count);
    return true;
}

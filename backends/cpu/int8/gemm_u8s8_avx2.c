/* SPDX-License-Identifier: Apache-2.0 */
/* 4 x 16 sums of u8 by s8 with AVX2.
 *
 * vpmaddubsw would add two products of u8 by s8 in 16 bits and saturate (255 * 127 * 2). Widened to
 * 16 bits, vpmaddwd adds two products exactly, but then a multiplication and an addition on vectors
 * of eight sums serve no more than 16 products. Half the multiplications are saved by Winograd's
 * inner product (IEEE Trans. Comp. C-17, 1968):
 *
 *     a0 b0 + a1 b1  =  (a0 + b1) (a1 + b0)  -  a0 a1  -  b0 b1
 *
 * Sums of a byte and an s8 fit 16 bits, and vpmaddwd does two of these for four k: two vpaddw, a
 * vpmaddwd and a vpaddd for 32 products, exact modulo 2^32. The sums over a0 a1 are made once a row
 * (lt_int8_pair_row_avx2), those over b0 b1 once a column (lt_int8_column_sums, in the job's bias).
 *
 *     a row of A            16-bit words (a0 a2 a1 a3) (a4 a6 a5 a7) ..., then its sum in s32
 *     a panel of B          for four k and eight columns: 16-bit words (b1 b3) of each column, then
 *                           (b0 b2) of each
 *
 * A step over four k of 4 x 16 sums is 4 loads, 8 broadcasts, 16 vpaddw, 8 vpmaddwd and 8 vpaddd:
 * the four vector pipes bound it, at 32 products a cycle, which is also what vpmaddubsw with the
 * vpmaddwd behind it reaches on two. Measured on Zen 4 in the first cache, products a nanosecond:
 * 107; by vpmaddubsw, saturating, 106; 6 x 16 by vpmaddwd alone 89, with 16-bit words of B 96; this
 * with 6 x 16 101, whose B does not fit the registers. B's words stream from far caches, so the
 * next panel is asked for meanwhile (BERT-base: 147 ms without, 134 with). */
#include "int8/int8.h"

#include <immintrin.h>

#define MR 4
#define VL 8

/* --- the tile ------------------------------------------------------------------------------------
 */

/* Sums start at the bias less what pairs of the rows give. */
static inline __attribute__((always_inline)) void
start_sums(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv)
{
    __m256i bias[2];
    for (int v = 0; v < nv; v++) {
        const int32_t *start = (const int32_t *)tile->bias + v * VL;
        bias[v] = tile->bias ? _mm256_loadu_si256((const __m256i *)(const void *)start)
                             : _mm256_setzero_si256();
    }
#pragma GCC unroll 4
    for (int r = 0; r < mr; r++) {
        uint32_t pairs = 0;
        for (size_t t = 0; t < tile->taps; t++) {
            const uint16_t *row = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
            uint32_t own;
            memcpy(&own, row + tile->k, sizeof(own));
            pairs += own;
        }
        for (int v = 0; v < nv; v++) {
            sum[r][v] = _mm256_sub_epi32(bias[v], _mm256_set1_epi32((int)pairs));
        }
    }
}

/* Four k: `odd` (b1 b3) and `even` (b0 b2) of each column. */
static inline __attribute__((always_inline)) void add_products(__m256i sum[2], const uint16_t *four,
                                                               const __m256i odd[2],
                                                               const __m256i even[2], const int nv)
{
    int32_t first, second;
    memcpy(&first, four, sizeof(first));
    memcpy(&second, four + 2, sizeof(second));
    const __m256i x02 = _mm256_set1_epi32(first), x13 = _mm256_set1_epi32(second);
    for (int v = 0; v < nv; v++) {
        __m256i p = _mm256_add_epi16(x02, odd[v]), q = _mm256_add_epi16(x13, even[v]);
        sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(p, q));
        __asm__("" : "+x"(sum[v])); /* in this order, or sums leave the registers */
    }
}

static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    __m256i sum[MR][2];
    start_sums(tile, sum, mr, nv);
    const __m256i *b = tile->b;
    const char *next = tile->next;
    const size_t next_step = tile->next_step;
    for (size_t t = 0; t < tile->taps; t++) {
        const uint16_t *rows[MR];
#pragma GCC unroll 4
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (size_t j = 0; j < tile->k; j += 4, b += 2 * nv, next += next_step) {
            __m256i odd[2], even[2];
            __builtin_prefetch(next, 0, 2);
            for (int v = 0; v < nv; v++) {
                odd[v] = _mm256_load_si256(b + 2 * v);
                even[v] = _mm256_load_si256(b + 2 * v + 1);
            }
#pragma GCC unroll 4
            for (int r = 0; r < mr; r++) {
                add_products(sum[r], rows[r] + j, odd, even, nv);
            }
        }
    }
    int32_t stored[MR * 2 * VL];
#pragma GCC unroll 4
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            _mm256_storeu_si256((__m256i *)(void *)(stored + r * 2 * VL + v * VL), sum[r][v]);
        }
    }
    lt_int8_finish_16_avx2(tile, stored, (size_t)mr);
}

/* Sixteen bytes to words in this order; returns a0 a1 + a2 a3 of each four, in even places. */
static inline __m256i pair_bytes(__m128i bytes, uint16_t *to)
{
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    const __m256i words = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, order));
    _mm256_storeu_si256((__m256i *)(void *)to, words);
    return _mm256_madd_epi16(words, _mm256_shuffle_epi32(words, 0xb1));
}

void lt_int8_pair_row_avx2(const void *argument, const void *from, size_t row, size_t k, void *to)
{
    const uint8_t *x = from;
    uint16_t *words = to;
    __m256i all = _mm256_setzero_si256();
    size_t j = 0;
    (void)argument;
    (void)row;
    for (; j + 16 <= k; j += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(x + j));
        all = _mm256_add_epi32(all, pair_bytes(bytes, words + j));
    }
    if (j + 8 <= k) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(x + j));
        all = _mm256_add_epi32(all, pair_bytes(bytes, words + j));
        j += 8;
    }
    if (j < k) {
        uint64_t rest = 0;
        for (size_t i = k; i > j; i--) {
            rest = rest << 8 | x[i - 1];
        }
        all = _mm256_add_epi32(all, pair_bytes(_mm_cvtsi64_si128((int64_t)rest), words + j));
    }
    __m128i pairs = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    pairs = _mm_add_epi32(pairs, _mm_unpackhi_epi64(pairs, pairs));
    const int32_t sum = _mm_cvtsi128_si32(pairs);
    memcpy(words + (k + 3) / 4 * 4, &sum, sizeof(sum));
}

#define ROWS(X) X(1) X(2) X(3) X(4)
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
        .name = "gemm_u8s8_4x16_avx2", .dtype = LEAT_DTYPE_U8, .a_bytes = 2, .b_bytes = 2,         \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 4, .mr = MR, .nr = 2 * VL,                   \
        .full = {ROWS(FULL)}, .half = {ROWS(HALF)}, .pack = lt_int8_pack_pairs,                    \
        .activate = lt_cpu_activate_tile_f32_avx2                                                  \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_4x16_avx2[2] = {TABLE(4), TABLE(1)};

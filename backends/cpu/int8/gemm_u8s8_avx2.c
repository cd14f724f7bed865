/* SPDX-License-Identifier: Apache-2.0 */
/* 6 x 16 sums of u8 by s8 with AVX2.
 *
 * vpmaddubsw adds two products of u8 by s8 in 16 bits, where they saturate (255 * 127 * 2). They do
 * not while both bytes of A are at most
 *
 *     limit  =  min(255, 32767 / largest P),   P  =  |w0| + |w1| of the factors of one sign,
 *
 * the largest of the panel's columns: 255 where that is 128 or less, 129 for 127 + 127. Limits of
 * the pairs of a panel are made when it is packed (lt_int8_limits_avx2). The kernel compares them
 * with the largest byte of its rows, 32 k at a time: 1/16 of the loads, an instruction in twenty.
 * Where a byte is above its limit, its group of four k is taken apart,
 *
 *     a  =  (a & 127) + (a & 128),    |sums of two products|  <=  127 * 256  and  128 * 256,
 *
 * for twice the instructions. All sums are exact, whatever the data; activations and weights of
 * trained networks have few such groups, as both have most of their numbers near 0 and the zero
 * point (ResNet-50, BERT-base: 35 and 30 % of groups have a limit below 255, and few bytes pass
 * it).
 *
 * A step over four k of 6 x 16 sums is 2 loads of B, 6 broadcasts, 12 each of vpmaddubsw, vpmaddwd
 * (by ones) and vpaddd: two pipes that multiply bound it, at 32 products a cycle. Measured on Zen 5
 * (4.45 GHz), products a nanosecond: this loop in the first cache 143 of 142 possible; in 3x3
 * convolutions of 256 channels 133, where Winograd's inner product of 16-bit words (four
 * instructions instead of three, nothing saturates) reached 111. Where both operands are uniformly
 * random bytes most groups are above their limits: 82. */
#include "int8/int8.h"

#include <immintrin.h>

#define KERNELS lt_cpu_gemm_u8s8_6x16_avx2
#define NAME "gemm_u8s8_6x16_avx2"
#include "int8/gemm_u8s8_6x16.inc"

/* k whose limits are compared at once. */
#define BLOCK 32

static const int16_t ones[16]
    __attribute__((aligned(32))) = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

#define FOUR(x) x, x, x, x
#define ALL(x)                                                                                     \
    {                                                                                              \
        FOUR(FOUR(x)), FOUR(FOUR(x))                                                               \
    }
static const uint8_t low_bits[32] __attribute__((aligned(32))) = ALL(0x7f);
static const uint8_t top_bit[32] __attribute__((aligned(32))) = ALL(0x80);

/* Sums of two products each, of u8 by s8, which do not saturate. */
static inline __attribute__((always_inline)) void add_products(__m256i *sum, __m256i x, __m256i w)
{
    __m256i pairs = _mm256_maddubs_epi16(x, w);
    /* In this order and with the ones in memory, or sums leave the registers. */
    __asm__("vpmaddwd %2, %0, %0\n\tvpaddd %0, %1, %1"
            : "+x"(pairs), "+x"(*sum)
            : "m"(*(const __m256i *)(const void *)ones));
}

/* Products of the bits of `mask` of each byte, with all but x and the sum in memory: the sums of a
 * tile stay in registers on both ways. */
static inline __attribute__((always_inline)) void add_masked(__m256i *sum, __m256i x,
                                                             const uint8_t *mask, const __m256i *w)
{
    __m256i pairs;
    __asm__("vpand %3, %2, %0\n\tvpmaddubsw %4, %0, %0\n\tvpmaddwd %5, %0, %0\n\t"
            "vpaddd %0, %1, %1"
            : "=&x"(pairs), "+x"(*sum)
            : "x"(x), "m"(*(const __m256i *)(const void *)mask), "m"(*w),
              "m"(*(const __m256i *)(const void *)ones));
}

/* Four k at byte `at` of every row, for any bytes. */
static inline __attribute__((always_inline)) void step_large(__m256i sum[][2],
                                                             const uint8_t *const rows[], size_t at,
                                                             const __m256i *b, const int mr,
                                                             const int nv)
{
#pragma GCC unroll 6
    for (int r = 0; r < mr; r++) {
        const __m256i x = four_bytes(rows[r] + at);
        for (int v = 0; v < nv; v++) {
            add_masked(&sum[r][v], x, low_bits, b + v);
            add_masked(&sum[r][v], x, top_bit, b + v);
        }
    }
}

/* The first n bytes, whole fours of at most BLOCK. */
static inline __attribute__((always_inline)) __m256i load_bytes(const uint8_t *from, size_t n)
{
    if (n == BLOCK) {
        return _mm256_loadu_si256((const __m256i *)(const void *)from);
    }
    const __m256i order = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), order);
    return _mm256_maskload_epi32((const int *)(const void *)from, mask);
}

/* A bit for each of n k where a row has a byte above the limit. */
static inline __attribute__((always_inline)) uint32_t
find_large(const uint8_t *const rows[], size_t at, size_t n, const uint8_t *limits, const int mr)
{
    __m256i most = load_bytes(rows[0] + at, n);
#pragma GCC unroll 6
    for (int r = 1; r < mr; r++) {
        most = _mm256_max_epu8(most, load_bytes(rows[r] + at, n));
    }
    const __m256i limit = _mm256_loadu_si256((const __m256i *)(const void *)(limits + at));
    const __m256i over = _mm256_subs_epu8(most, limit);
    const __m256i within = _mm256_cmpeq_epi8(over, _mm256_setzero_si256());
    return ~(uint32_t)_mm256_movemask_epi8(within);
}

/* Adds the products of all taps to the sums. */
static inline __attribute__((always_inline)) void
sum_run(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv)
{
    const lt_int8_epilogue *e = tile->epilogue;
    const uint8_t *limits = e->limits + tile->column / (2 * VL) * e->panel_limits;
    const __m256i *b = tile->b;
    const char *next = tile->next;
    const size_t next_step = tile->next_step;
    for (size_t t = 0; t < tile->taps; t++, limits += tile->k) {
        const uint8_t *rows[MR];
#pragma GCC unroll 6
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (size_t j = 0; j < tile->k; j += BLOCK) {
            const size_t end = tile->k - j < BLOCK ? tile->k : j + BLOCK;
            uint32_t large = find_large(rows, j, end - j, limits, mr);
            for (size_t i = j; i < end; i += 4, b += nv, next += next_step, large >>= 4) {
                __builtin_prefetch(next, 0, 2);
                if (__builtin_expect((large & 15) != 0, 0)) {
                    step_large(sum, rows, i, b, mr, nv);
                } else {
                    step_run(sum, rows, i, b, mr, nv);
                }
            }
        }
    }
}

/* Of four k of eight columns: the larger of the sums of both signs, in each pair's word. */
static inline __attribute__((always_inline)) __m256i pair_sizes(__m256i w)
{
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
    const __m256i plus = _mm256_maddubs_epi16(_mm256_max_epi8(w, zero), one);
    const __m256i minus = _mm256_maddubs_epi16(_mm256_abs_epi8(_mm256_min_epi8(w, zero)), one);
    return _mm256_max_epi16(plus, minus);
}

void lt_int8_limits_avx2(const void *packed, size_t packed_k, size_t n, uint8_t *limits)
{
    const __m256i *b = packed;
    for (size_t column = 0; column < n; column += 2 * VL, limits += packed_k) {
        const size_t vectors = n - column > VL ? 2 : 1;
        for (size_t j = 0; j < packed_k; j += 4, b += vectors) {
            __m256i size = pair_sizes(_mm256_load_si256(b));
            if (vectors == 2) {
                size = _mm256_max_epi16(size, pair_sizes(_mm256_load_si256(b + 1)));
            }
            __m128i two =
                _mm_max_epi16(_mm256_castsi256_si128(size), _mm256_extracti128_si256(size, 1));
            two = _mm_max_epi16(two, _mm_shuffle_epi32(two, 0x4e));
            two = _mm_max_epi16(two, _mm_shuffle_epi32(two, 0xb1));
            for (size_t i = 0; i < 4; i += 2) {
                const int largest = i == 0 ? _mm_extract_epi16(two, 0) : _mm_extract_epi16(two, 1);
                const uint8_t limit = (uint8_t)(largest > 128 ? 32767 / largest : 255);
                limits[j + i] = limits[j + i + 1] = limit;
            }
        }
    }
}

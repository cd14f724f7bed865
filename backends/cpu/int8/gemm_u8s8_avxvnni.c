/* SPDX-License-Identifier: Apache-2.0 */
/* 6 x 16 sums of u8 by s8 with AVX-VNNI: the dot product of AVX-512 VNNI in 256-bit registers, VEX
 * encoded, for processors without AVX-512 (Intel since Alder Lake) or held to less.
 *
 * A step over four k of 6 x 16 sums is 2 loads of B, 6 broadcasts and 12 vpdpbusd, each of which
 * adds four products exactly: 12 of 16 registers hold sums, two a group of B, one the four bytes of
 * a row of A. Arithmetic bounds it where two vpdpbusd start a cycle. A and B are bytes where they
 * lie (lt_int8_pack), as for AVX-512: nothing is copied unless k is no multiple of four. Sums go
 * through memory to what follows them. */
#include "int8/int8.h"

#include <immintrin.h>

#define MR 6
#define VL 8

/* Four k at byte `at` of every row. */
static inline __attribute__((always_inline)) void step_run(__m256i sum[][2],
                                                           const uint8_t *const rows[], size_t at,
                                                           const __m256i *b, const int mr,
                                                           const int nv)
{
    const __m256i b0 = _mm256_load_si256(b), b1 = nv == 2 ? _mm256_load_si256(b + 1) : b0;
#pragma GCC unroll 6
    for (int r = 0; r < mr; r++) {
        int32_t four;
        memcpy(&four, rows[r] + at, sizeof(four));
        const __m256i x = _mm256_set1_epi32(four);
        sum[r][0] = _mm256_dpbusd_avx_epi32(sum[r][0], x, b0);
        if (nv == 2) {
            sum[r][1] = _mm256_dpbusd_avx_epi32(sum[r][1], x, b1);
        }
    }
}

/* Adds the products of all taps to the sums. */
static inline __attribute__((always_inline)) void
sum_run(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv)
{
    const __m256i *b = tile->b;
    const char *next = tile->next;
    const size_t next_step = tile->next_step;
    for (size_t t = 0; t < tile->taps; t++) {
        const uint8_t *rows[MR];
#pragma GCC unroll 6
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (size_t j = 0; j < tile->k; j += 4, b += nv, next += next_step) {
            __builtin_prefetch(next, 0, 2);
            step_run(sum, rows, j, b, mr, nv);
        }
    }
}

/* The same for one or two rows, whose chains of sums would wait for each other: groups of k go to
 * `chains` of them in turn. B bounds it. */
static inline __attribute__((always_inline)) void
sum_few(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv, const int chains)
{
    __m256i part[4][2][2];
    const __m256i *b = tile->b;
#pragma GCC unroll 4
    for (int i = 0; i < chains; i++) {
        for (int r = 0; r < mr; r++) {
            part[i][r][0] = part[i][r][1] = _mm256_setzero_si256();
        }
    }
    for (size_t t = 0; t < tile->taps; t++) {
        const uint8_t *rows[2];
        const size_t step = 4 * (size_t)chains;
        size_t j = 0;
        for (int r = 0; r < mr; r++) {
            rows[r] = tile->rows[t * LT_GEMM_MAX_MR + (size_t)r];
        }
        for (; j + step <= tile->k; j += step) {
#pragma GCC unroll 4
            for (int i = 0; i < chains; i++, b += nv) {
                step_run(part[i], rows, j + 4 * (size_t)i, b, mr, nv);
            }
        }
        for (; j < tile->k; j += 4, b += nv) {
            step_run(part[0], rows, j, b, mr, nv);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < chains; i++) {
        for (int r = 0; r < mr; r++) {
            for (int v = 0; v < nv; v++) {
                sum[r][v] = _mm256_add_epi32(sum[r][v], part[i][r][v]);
            }
        }
    }
}

/* mr and nv (vectors a row) are constants at every call, so that sums stay in registers. */
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
    if (mr <= 2) {
        sum_few(tile, sum, mr, nv, mr == 1 ? 4 : 2);
    } else {
        sum_run(tile, sum, mr, nv);
    }
    int32_t stored[MR * 2 * VL];
#pragma GCC unroll 6
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            _mm256_storeu_si256((__m256i *)(void *)(stored + r * 2 * VL + v * VL), sum[r][v]);
        }
    }
    lt_int8_finish_16_avx2(tile, stored, (size_t)mr);
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
        .name = "gemm_u8s8_6x16_avxvnni", .dtype = LEAT_DTYPE_U8, .a_bytes = 1, .b_bytes = 1,      \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 4, .mr = MR, .nr = 2 * VL,                   \
        .full = {ROWS(FULL)}, .half = {ROWS(HALF)}, .pack = lt_int8_pack,                          \
        .activate = lt_cpu_activate_tile_f32_avx2                                                  \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_6x16_avxvnni[2] = {TABLE(4), TABLE(1)};

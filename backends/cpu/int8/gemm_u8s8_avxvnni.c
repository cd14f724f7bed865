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

#define KERNELS lt_cpu_gemm_u8s8_6x16_avxvnni
#define NAME "gemm_u8s8_6x16_avxvnni"
#include "int8/gemm_u8s8_6x16.inc"

/* Sums of four products each, of u8 by s8. */
static inline __attribute__((always_inline)) void add_products(__m256i *sum, __m256i x, __m256i w)
{
    *sum = _mm256_dpbusd_avx_epi32(*sum, x, w);
}

/* Adds the products of all taps to the sums of three rows and more. */
static inline __attribute__((always_inline)) void
sum_many(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv)
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

static inline __attribute__((always_inline)) void
sum_run(const lt_gemm_tile *tile, __m256i sum[MR][2], const int mr, const int nv)
{
    if (mr <= 2) {
        sum_few(tile, sum, mr, nv, mr == 1 ? 4 : 2);
    } else {
        sum_many(tile, sum, mr, nv);
    }
}

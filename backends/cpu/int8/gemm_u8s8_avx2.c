/* SPDX-License-Identifier: Apache-2.0 */
/* 4 x 16 sums of u8 by s8 with AVX2.
 *
 * vpmaddubsw would add two products of u8 by s8 in 16 bits and saturate (255 * 127 * 2), so bytes
 * are widened: the even and the odd bytes of each group of four, of A by a mask and a shift, of B
 * by two shifts and one, and vpmaddwd adds two products exactly in 32 bits. A step over four k of
 * 4 x 16 sums is 16 vpmaddwd, 16 additions, 8 operations for A and 6 for B: arithmetic bounds it,
 * at about half of the speed that a saturating form would have. */
#include "int8/int8.h"

#include <immintrin.h>

#define MR 4
#define VL 8

static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nv)
{
    __m256i sum[MR][2];
    const __m256i even_mask = _mm256_set1_epi32(0x00ff00ff);
#pragma GCC unroll 4
    for (int r = 0; r < mr; r++) {
        for (int v = 0; v < nv; v++) {
            const int32_t *start = (const int32_t *)tile->bias + v * VL;
            sum[r][v] = tile->bias ? _mm256_loadu_si256((const __m256i *)(const void *)start)
                                   : _mm256_setzero_si256();
        }
    }
    const int8_t *b = tile->b;
    for (size_t t = 0; t < tile->taps; t++) {
        const void *const *rows = tile->rows + t * LT_GEMM_MAX_MR;
        for (size_t j = 0; j < tile->k; j += 4, b += nv * 32) {
            __m256i even[2], odd[2];
            for (int v = 0; v < nv; v++) {
                __m256i x = _mm256_load_si256((const __m256i *)(const void *)(b + v * 32));
                even[v] = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
                odd[v] = _mm256_srai_epi16(x, 8);
            }
#pragma GCC unroll 4
            for (int r = 0; r < mr; r++) {
                int32_t four;
                memcpy(&four, (const uint8_t *)rows[r] + j, sizeof(four));
                __m256i x = _mm256_set1_epi32(four);
                __m256i x_even = _mm256_and_si256(x, even_mask);
                __m256i x_odd = _mm256_srli_epi16(x, 8);
                for (int v = 0; v < nv; v++) {
                    sum[r][v] = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(x_even, even[v]));
                    sum[r][v] = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(x_odd, odd[v]));
                }
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
    lt_int8_finish_avx2(tile, stored, 2 * VL, (size_t)mr);
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
        .name = "gemm_u8s8_4x16_avx2", .dtype = LEAT_DTYPE_U8, .a_bytes = 1, .b_bytes = 1,         \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 4, .mr = MR, .nr = 2 * VL,                   \
        .full = {ROWS(FULL)}, .half = {ROWS(HALF)}, .pack = lt_int8_pack,                          \
        .activate = lt_cpu_activate_tile_f32_avx2                                                  \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_4x16_avx2[2] = {TABLE(4), TABLE(1)};

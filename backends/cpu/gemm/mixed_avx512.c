/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/mixed.h"

#include <immintrin.h>

#define VL 16
#include "gemm/mixed_types.inc"

static inline vec widen_f16(const uint16_t *b)
{
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)b));
}

#define MR 14
#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define HALF lt_half_avx512
#define ACTIVATE lt_cpu_activate_f32_avx512
#define TABLE_BF16 lt_cpu_gemm_f32bf16_14x32_avx512
#define TABLE_BF16_TEXT "gemm_f32bf16_14x32_avx512"
#define TABLE_F16 lt_cpu_gemm_f32f16_14x32_avx512
#define TABLE_F16_TEXT "gemm_f32f16_14x32_avx512"
#include "gemm/mixed_kernel.inc"

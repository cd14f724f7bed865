/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/mixed.h"

#include <immintrin.h>

#define VL 8
#include "gemm/mixed_types.inc"

static inline vec widen_f16(const uint16_t *b)
{
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)b));
}

#define MR 6
#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define HALF lt_half_avx2
#define ACTIVATE lt_cpu_activate_f32_avx2
#define TABLE_BF16 lt_cpu_gemm_f32bf16_6x16_avx2
#define TABLE_BF16_TEXT "gemm_f32bf16_6x16_avx2"
#define TABLE_F16 lt_cpu_gemm_f32f16_6x16_avx2
#define TABLE_F16_TEXT "gemm_f32f16_6x16_avx2"
#include "gemm/mixed_kernel.inc"

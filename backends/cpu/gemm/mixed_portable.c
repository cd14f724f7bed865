/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/mixed.h"

#define VL 4
#include "gemm/mixed_types.inc"

static inline vec widen_f16(const uint16_t *b)
{
    return (vec){lt_f16_to_f32(b[0]), lt_f16_to_f32(b[1]), lt_f16_to_f32(b[2]),
                 lt_f16_to_f32(b[3])};
}

#define MR 4
#define ROWS(X) X(1) X(2) X(3) X(4)
#define HALF lt_half_portable
#define ACTIVATE lt_cpu_activate_f32_portable
#define TABLE_BF16 lt_cpu_gemm_f32bf16_4x8_portable
#define TABLE_BF16_TEXT "gemm_f32bf16_4x8_portable"
#define TABLE_F16 lt_cpu_gemm_f32f16_4x8_portable
#define TABLE_F16_TEXT "gemm_f32f16_4x8_portable"
#include "gemm/mixed_kernel.inc"

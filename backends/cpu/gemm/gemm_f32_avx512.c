/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/gemm.h"

#define T float
#define V(f) lt_vf_##f
#define V_TYPE lt_vf
#define VL LT_VF_LANES
#define MR 14
#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define TABLE_NAME lt_cpu_gemm_f32_14x32_avx512
#define TABLE_TEXT "gemm_f32_14x32_avx512"
#define TABLE_PACK lt_gemm_pack_f32
#define TABLE_DTYPE LEAT_DTYPE_F32
#define TABLE_ACTIVATE lt_cpu_activate_tile_f32_avx512
#define TABLE_ROW lt_cpu_gemm_row_f32_avx512
#include "gemm/gemm_kernel.inc"

const lt_gemm_kernels lt_cpu_gemm_f32_14x32q_avx512 = TABLE_WITH(&lt_cpu_gemm_quarters_f32_avx512);

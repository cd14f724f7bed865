/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/gemm.h"

#define T double
#define V(f) lt_vd_##f
#define V_TYPE lt_vd
#define VL LT_VD_LANES
#define MR 8
#define ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define TABLE_NAME lt_cpu_gemm_f64_8x16_avx512
#define TABLE_TEXT "gemm_f64_8x16_avx512"
#define TABLE_PACK lt_gemm_pack_f64
#define TABLE_DTYPE LEAT_DTYPE_F64
#define TABLE_ACTIVATE NULL
#include "gemm/gemm_kernel.inc"

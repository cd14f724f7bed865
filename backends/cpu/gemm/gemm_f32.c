/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/gemm.h"

#define T float
#define V(f) lt_vf_##f
#define V_TYPE lt_vf
#define VL LT_VF_LANES
#define MR 4
#define ROWS(X) X(1) X(2) X(3) X(4)
#define TABLE_NAME lt_cpu_gemm_f32_4x8_portable
#define TABLE_TEXT "gemm_f32_4x8_portable"
#define TABLE_PACK lt_gemm_pack_f32
#define TABLE_DTYPE LEAT_DTYPE_F32
#define TABLE_ACTIVATE lt_cpu_activate_tile_f32_portable
#include "gemm/gemm_kernel.inc"

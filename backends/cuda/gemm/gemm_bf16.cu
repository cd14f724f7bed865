// SPDX-License-Identifier: Apache-2.0
// Products and convolutions of BF16 on tensor cores: mainloop.cuh. For sm_90a alone.
#include "attend.cuh"
#include "mainloop.cuh"
#include "stream.cuh"

#define KERNEL_NK(rows, columns, stages)                                                \
    LT_GEMM_KERNEL(__nv_bfloat16, bf16, LT_GEMM_NK, nk, 64, rows, columns, stages)
#define KERNEL_KN(rows, columns, stages)                                                \
    LT_GEMM_KERNEL(__nv_bfloat16, bf16, LT_GEMM_KN, kn, 64, rows, columns, stages)
#define KERNEL_CONV(rows, columns, stages)                                              \
    LT_GEMM_KERNEL(__nv_bfloat16, bf16, LT_GEMM_CONV, conv, 64, rows, columns, stages)

LT_GEMM_TILES(KERNEL_NK)
LT_GEMM_TILES(KERNEL_KN)
LT_GEMM_TILES(KERNEL_CONV)
LT_GEMM_TURN_TILES(KERNEL_NK)
LT_GEMM_TURN_TILES(KERNEL_KN)

#define KERNEL_STREAM(columns, blocks) LT_STREAM_KERNEL(__nv_bfloat16, bf16, columns, blocks)
LT_STREAM_TILES(KERNEL_STREAM)

LT_ATTEND_KERNEL(__nv_bfloat16, bf16)

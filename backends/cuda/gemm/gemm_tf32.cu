// SPDX-License-Identifier: Apache-2.0
// Products and convolutions of F32, rounded to TF32 on their way to the tensor cores: mainloop.cuh.
// For sm_90a alone.
#include "mainloop.cuh"

#define KERNEL_NK(rows, columns, stages)                                                \
    LT_GEMM_KERNEL(float, tf32, LT_GEMM_NK, nk, 32, rows, columns, stages)
#define KERNEL_CONV(rows, columns, stages)                                              \
    LT_GEMM_KERNEL(float, tf32, LT_GEMM_CONV, conv, 32, rows, columns, stages)

LT_GEMM_TILES(KERNEL_NK)
LT_GEMM_TILES(KERNEL_CONV)
LT_GEMM_TURN_TILES(KERNEL_NK)

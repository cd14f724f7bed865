// SPDX-License-Identifier: Apache-2.0
// Products and convolutions of I8 with I8 on tensor cores: mainloop.cuh. For sm_90a alone.
#include "mainloop.cuh"
#include "resident.cuh"

#define KERNEL_NK(rows, columns, stages)                                                \
    LT_GEMM_KERNEL(int8_t, i8, LT_GEMM_NK, nk, 128, rows, columns, stages)
#define KERNEL_CONV(rows, columns, stages)                                              \
    LT_GEMM_KERNEL(int8_t, i8, LT_GEMM_CONV, conv, 128, rows, columns, stages)

LT_GEMM_TILES(KERNEL_NK)
LT_GEMM_TILES(KERNEL_CONV)
LT_GEMM_TURN_TILES(KERNEL_NK)
LT_GEMM_TURN_TILES(KERNEL_CONV)

LT_RESIDENT_KERNEL(int8_t, i8, 64)
LT_RESIDENT_KERNEL(int8_t, i8, 128)

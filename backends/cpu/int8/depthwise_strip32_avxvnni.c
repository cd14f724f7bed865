/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of three outputs take 12 of 16 registers. */
#define KERNELS lt_cpu_depthwise_u8s8_32_avxvnni
#define NAME "depthwise_u8s8_32_avxvnni"
#define TILES(X) X(1) X(2) X(3)
#define DOT _mm256_dpbusd_avx_epi32
#include "int8/depthwise_strip32.inc"

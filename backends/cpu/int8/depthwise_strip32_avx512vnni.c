/* SPDX-License-Identifier: Apache-2.0 */
#define KERNELS lt_cpu_depthwise_u8s8_32_avx512vnni
#define NAME "depthwise_u8s8_32_avx512vnni"
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DOT _mm256_dpbusd_epi32
#include "int8/depthwise_strip32.inc"

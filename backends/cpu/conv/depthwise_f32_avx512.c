/* SPDX-License-Identifier: Apache-2.0 */
#define NAME lt_cpu_depthwise_f32_avx512
#include "conv/depthwise_f32.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#define NAME lt_cpu_unary_f32_avx2
#include "elementwise/unary_kernel.inc"

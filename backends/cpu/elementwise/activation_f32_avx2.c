/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/activation.h"

#define NAME lt_cpu_activate_f32_avx2
#define TILE_NAME lt_cpu_activate_tile_f32_avx2
#define WIDTH 16
#include "elementwise/activation_kernel.inc"

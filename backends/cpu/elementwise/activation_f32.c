/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/activation.h"

#define NAME lt_cpu_activate_f32_portable
#define TILE_NAME lt_cpu_activate_tile_f32_portable
#define WIDTH 0 /* not worth its size */
#include "elementwise/activation_kernel.inc"

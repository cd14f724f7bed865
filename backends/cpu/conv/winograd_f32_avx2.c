/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/winograd.h"

#define VL 8
#define NAME(text) text##_avx2
#define TEXT "avx2"
#include "conv/winograd_kernel.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/winograd.h"

#define VL 16
#define NAME(text) text##_avx512
#define TEXT "avx512"
#include "conv/winograd_kernel.inc"

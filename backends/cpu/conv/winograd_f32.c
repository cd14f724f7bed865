/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/winograd.h"

#define VL 4
#define NAME(text) text##_portable
#define TEXT "portable"
#include "conv/winograd_kernel.inc"

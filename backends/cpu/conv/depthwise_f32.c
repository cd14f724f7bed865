/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/depthwise.h"

#define NAME lt_cpu_depthwise_f32_portable
#include "conv/depthwise_kernel.inc"

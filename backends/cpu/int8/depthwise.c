/* SPDX-License-Identifier: Apache-2.0 */
#include "int8/depthwise.h"

#define DEPTHWISE lt_int8_depthwise_portable
#include "int8/depthwise.inc"

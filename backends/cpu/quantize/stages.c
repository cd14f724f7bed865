/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/quantize.h"

#define FORM portable
#define HALF_TO_F32 lt_f16_to_f32
#define F32_TO_HALF lt_f32_to_f16
#include "quantize/stages.inc"

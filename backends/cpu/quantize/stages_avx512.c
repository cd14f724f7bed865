/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/quantize.h"

#include <immintrin.h>

#define FORM avx512
#define HALF_TO_F32 _cvtsh_ss
#define F32_TO_HALF(x) _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)
#include "quantize/stages.inc"

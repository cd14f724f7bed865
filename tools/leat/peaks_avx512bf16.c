/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/peaks.h"

#include <immintrin.h>

#define NAME peak_bf16_avx512bf16
#define VECTOR __m512
#define INIT _mm512_set1_ps(0.5f)
#define STEP(sum) sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b)
#define OPERATIONS 2 * 32
#define SUMS 16
#include "leat/peaks.inc"

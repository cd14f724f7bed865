/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/peaks.h"

#include <immintrin.h>

#define NAME peak_u8s8_avx512vnni
#define VECTOR __m512i
#define INIT _mm512_set1_epi8(1)
#define STEP(sum) sum = _mm512_dpbusd_epi32(sum, a, b)
#define OPERATIONS 2 * 64
#define SUMS 16
#include "leat/peaks.inc"

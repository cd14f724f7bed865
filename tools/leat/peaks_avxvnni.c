/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/peaks.h"

#include <immintrin.h>

#define NAME peak_u8s8_avxvnni
#define VECTOR __m256i
#define INIT _mm256_set1_epi8(1)
#define STEP(sum) sum = _mm256_dpbusd_avx_epi32(sum, a, b)
#define OPERATIONS 2 * 32
#include "leat/peaks.inc"

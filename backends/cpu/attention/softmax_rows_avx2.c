/* SPDX-License-Identifier: Apache-2.0 */
#include "attention/softmax_rows.h"
#include "elementwise/vmath.h"

#include <immintrin.h>

#define TABLE lt_softmax_rows_avx2
#define VL 8
#define CHAINS 2
#define WHOLE 2

typedef __m256 vec;

static inline vec largest(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

#include "attention/softmax_floats.inc"

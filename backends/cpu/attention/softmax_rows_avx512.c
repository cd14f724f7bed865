/* SPDX-License-Identifier: Apache-2.0 */
#include "attention/softmax_rows.h"
#include "elementwise/vmath.h"

#include <immintrin.h>

#define TABLE lt_softmax_rows_avx512
#define VL 16
#define CHAINS 4
#define WHOLE 8

typedef __m512 vec;

static inline vec largest(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

#define HAS_SCALE

static inline vec rounded(vec x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
}

static inline vec scaled(vec x, vec n)
{
    return _mm512_scalef_ps(x, n);
}

#include "attention/softmax_floats.inc"

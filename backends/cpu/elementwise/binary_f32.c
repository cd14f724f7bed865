/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/binary.h"

#include <math.h>

static inline float modulo(float p, float q)
{
    float r = fmodf(p, q);
    return r != 0.0f && (r < 0.0f) != (q < 0.0f) ? r + q : r;
}

static inline float power(float p, float q)
{
    return q == 2.0f ? p * p : q == 0.5f ? sqrtf(p) : powf(p, q);
}

#define NAME lt_cpu_binary_f32_portable
#define T float
#define WRAP float
#define DIV(p, q) ((p) / (q))
#define POW(p, q) power(p, q)
#define MOD(p, q) modulo(p, q)
#define FMOD(p, q) fmodf(p, q)
#include "elementwise/binary_kernel.inc"

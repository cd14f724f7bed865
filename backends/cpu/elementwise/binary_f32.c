/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/binary.h"

#include <math.h>

static inline float modulo(float p, float q)
{
    float r = fmodf(p, q);
    return r != 0.0f && (r < 0.0f) != (q < 0.0f) ? r + q : r;
}

/* As pow: -0 gives 0 and -infinity gives infinity. */
static inline float root(float p)
{
    return p == -INFINITY ? INFINITY : sqrtf(p + 0.0f);
}

#define NAME lt_cpu_binary_f32_portable
#define T float
#define WRAP float
#define DIV(p, q) ((p) / (q))
#define POW(p, q) powf(p, q)
#define ROOT(p) root(p)
#define MOD(p, q) modulo(p, q)
#define FMOD(p, q) fmodf(p, q)
#include "elementwise/binary_kernel.inc"

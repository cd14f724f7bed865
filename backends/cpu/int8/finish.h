/* SPDX-License-Identifier: Apache-2.0 */
/* For the files that include finish.inc. */
#ifndef LT_CPU_INT8_FINISH_H
#define LT_CPU_INT8_FINISH_H

#include "int8/int8.h"

#define LT_INT8_MAX_NR 32

/* Clamps to [low, high], at most 2^21 in size, and rounds to nearest even: adding 1.5 * 2^23 leaves
 * the integer in the low bits. */
static inline float lt_int8_round(float x, float low, float high)
{
    const float magic = 12582912.0f;
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (x + magic) - magic;
}

#endif

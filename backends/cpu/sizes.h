/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of sizes that all families of kernels share. No operand is negative where a sum is
 * divided, and no sum overflows: sizes of arrays that exist leave room for both. */
#ifndef LT_CPU_SIZES_H
#define LT_CPU_SIZES_H

#include <stddef.h>
#include <stdint.h>

static inline int64_t lt_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline size_t lt_divide_size_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t lt_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t lt_most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t lt_clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Bytes up to whole lines of the caches, which are also the alignment of what is planned. */
static inline size_t lt_whole_lines(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions between the types that C has: f32, f64, integers of 8 to 64 bits, bool. */
#ifndef LT_CPU_CAST_H
#define LT_CPU_CAST_H

#include "cpu.h"

/* y[i] = x[i] for i < n, as cast.c says. x may be unaligned. */
typedef void (*lt_cast_fn)(const void *x, void *y, int64_t n);

/* NULL for another type. With to_odd, and `to` F32, inexact results are rounded to odd, so that
 * rounding them again to a narrower type is as if it were done once. */
lt_cast_fn lt_cast_find(leat_dtype from, leat_dtype to, bool to_odd);

#endif

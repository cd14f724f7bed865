/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of two numbers over lines of a broadcast. */
#ifndef LT_CPU_BINARY_H
#define LT_CPU_BINARY_H

#include "cpu.h"

typedef enum lt_binary_op {
    LT_BINARY_ADD,
    LT_BINARY_SUB,
    LT_BINARY_MUL,
    LT_BINARY_DIV,
    LT_BINARY_MIN,
    LT_BINARY_MAX,
    LT_BINARY_PRELU,
    LT_BINARY_POW,
    LT_BINARY_MOD,   /* sign of the divisor */
    LT_BINARY_FMOD,  /* sign of the dividend */
    LT_BINARY_EQUAL, /* from here on the result is bool */
    LT_BINARY_LESS,
    LT_BINARY_GREATER,
    LT_BINARY_LESS_EQUAL,
    LT_BINARY_GREATER_EQUAL,
} lt_binary_op;

/* y[i] = f(a[i * sa], b[i * sb]) for i < n; strides are 0 or 1. y may be a or b where strides
 * are 1. Integer division by 0 gives 0; the smallest integer divided by -1 wraps. */
typedef void (*lt_binary_fn)(lt_binary_op op, const void *a, int64_t sa, const void *b, int64_t sb,
                             void *y, int64_t n);

void lt_cpu_binary_f32_portable(lt_binary_op op, const void *a, int64_t sa, const void *b,
                                int64_t sb, void *y, int64_t n);
void lt_cpu_binary_f32_avx2(lt_binary_op op, const void *a, int64_t sa, const void *b, int64_t sb,
                            void *y, int64_t n);
void lt_cpu_binary_f32_avx512(lt_binary_op op, const void *a, int64_t sa, const void *b, int64_t sb,
                              void *y, int64_t n);

/* The function for a type of whole-byte numbers or bool; f16 and bf16 have none (they go through
 * f32), NULL then. */
lt_binary_fn lt_cpu_binary_for(leat_dtype dtype, const lt_cpu_device *device);

#endif

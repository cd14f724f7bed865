/* SPDX-License-Identifier: Apache-2.0 */
/* One element of any number type, for code that need not be fast. */
#ifndef LT_CPU_ELEMENT_H
#define LT_CPU_ELEMENT_H

#include "convert.h"
#include <math.h>

#define LT_ELEMENT_INTEGERS(X)                                                                     \
    X(U8, uint8_t)                                                                                 \
    X(I8, int8_t)                                                                                  \
    X(U16, uint16_t)                                                                               \
    X(I16, int16_t)                                                                                \
    X(U32, uint32_t)                                                                               \
    X(I32, int32_t)                                                                                \
    X(U64, uint64_t)                                                                               \
    X(I64, int64_t)                                                                                \
    X(BOOL, uint8_t)

#define LT_ELEMENT_TYPES(X)                                                                        \
    X(F32, float)                                                                                  \
    X(F64, double)                                                                                 \
    LT_ELEMENT_INTEGERS(X)

/* Element i as double; 64-bit integers above 2^53 are rounded. */
static inline double lt_element_get(leat_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
#define X(D, T)                                                                                    \
    case LEAT_DTYPE_##D: {                                                                         \
        T v;                                                                                       \
        memcpy(&v, (const char *)data + (size_t)i * sizeof(v), sizeof(v));                         \
        return (double)v;                                                                          \
    }
        LT_ELEMENT_TYPES(X)
#undef X
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        return (double)lt_cpu_get_f32(dtype, data, (size_t)i);
    default:
        return 0;
    }
}

/* A float that rounds to f16 or bf16 as v itself would: inexact results get an odd last bit (Boldo
 * and Melquiond, Emulation of FMA and Correctly Rounded Sums, 2008). */
static inline float lt_round_to_odd(double v)
{
    float f = (float)v;
    union {
        float f;
        uint32_t u;
    } b = {f};
    if ((double)f == v || v != v || (b.u & 0x7f800000u) == 0x7f800000u) {
        return f;
    }
    bool away = v < 0 ? (double)f < v : (double)f > v;
    b.u -= away; /* towards zero */
    b.u |= 1;
    return b.f;
}

/* The nearest number in the range of an integer type (0 for NaN), for lt_element_set; of other
 * types v itself. */
static inline double lt_element_fit(leat_dtype dtype, double v)
{
    int bits;
    switch (dtype) {
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_I8:
        bits = 8;
        break;
    case LEAT_DTYPE_U16:
    case LEAT_DTYPE_I16:
        bits = 16;
        break;
    case LEAT_DTYPE_U32:
    case LEAT_DTYPE_I32:
        bits = 32;
        break;
    case LEAT_DTYPE_U64:
    case LEAT_DTYPE_I64:
        bits = 64;
        break;
    default:
        return v;
    }
    const bool is_signed = dtype == LEAT_DTYPE_I8 || dtype == LEAT_DTYPE_I16 ||
                           dtype == LEAT_DTYPE_I32 || dtype == LEAT_DTYPE_I64;
    double end = ldexp(1, bits - is_signed); /* the first beyond */
    double high = bits == 64 ? end - ldexp(1, 64 - 53 - is_signed) : end - 1;
    double low = is_signed ? -end : 0;
    return v != v ? 0 : v < low ? low : v > high ? high : v;
}

/* Stores v, a value that the type can hold once it is rounded (floats) or truncated (integers). */
static inline void lt_element_set(leat_dtype dtype, void *data, int64_t i, double v)
{
    switch (dtype) {
#define X(D, T)                                                                                    \
    case LEAT_DTYPE_##D:                                                                           \
        ((T *)data)[i] = (T)v;                                                                     \
        break;
        LT_ELEMENT_TYPES(X)
#undef X
    case LEAT_DTYPE_F16:
        ((uint16_t *)data)[i] = lt_f32_to_f16(lt_round_to_odd(v));
        break;
    case LEAT_DTYPE_BF16:
        ((uint16_t *)data)[i] = lt_f32_to_bf16(lt_round_to_odd(v));
        break;
    default:
        break;
    }
}

/* Element i of an integer or bool array as 64 bits; U64 above the range of i64 is reinterpreted. */
static inline int64_t lt_element_int(leat_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
#define X(D, T)                                                                                    \
    case LEAT_DTYPE_##D: {                                                                         \
        T v;                                                                                       \
        memcpy(&v, (const char *)data + (size_t)i * sizeof(v), sizeof(v));                         \
        return (int64_t)v;                                                                         \
    }
        LT_ELEMENT_INTEGERS(X)
#undef X
    default:
        return 0;
    }
}

/* Stores the low bits of v. */
static inline void lt_element_set_int(leat_dtype dtype, void *data, int64_t i, int64_t v)
{
    switch (dtype) {
#define X(D, T)                                                                                    \
    case LEAT_DTYPE_##D:                                                                           \
        ((T *)data)[i] = (T)v;                                                                     \
        break;
        LT_ELEMENT_INTEGERS(X)
#undef X
    default:
        break;
    }
}

/* Towards zero; out of range the nearest end, NaN 0. */
static inline int64_t lt_saturate_i64(double v)
{
    if (v != v) {
        return 0;
    }
    return v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v;
}

/* base to the power of an integer, wrapping. A negative exponent gives what the exact value
 * truncates to, and 0 for a base of 0; `huge`: the exponent is unsigned. */
static inline int64_t lt_power_i64(int64_t base, int64_t exponent, bool huge)
{
    uint64_t result = 1, square = (uint64_t)base;
    if (exponent < 0 && !huge) {
        return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    }
    for (uint64_t left = (uint64_t)exponent; left != 0; left >>= 1) {
        result = left & 1 ? result * square : result;
        square *= square;
    }
    return (int64_t)result;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One element of any number type, for code that need not be fast. */
#ifndef LT_CPU_ELEMENT_H
#define LT_CPU_ELEMENT_H

#include "convert.h"

#define LT_ELEMENT_TYPES(X)                                                                        \
    X(F32, float)                                                                                  \
    X(F64, double)                                                                                 \
    X(U8, uint8_t)                                                                                 \
    X(I8, int8_t)                                                                                  \
    X(U16, uint16_t)                                                                               \
    X(I16, int16_t)                                                                                \
    X(U32, uint32_t)                                                                               \
    X(I32, int32_t)                                                                                \
    X(U64, uint64_t)                                                                               \
    X(I64, int64_t)                                                                                \
    X(BOOL, uint8_t)

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

#endif

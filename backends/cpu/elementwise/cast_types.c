/* SPDX-License-Identifier: Apache-2.0 */
/* One loop for each pair of types; compilers vectorise them. */
#include "elementwise/cast.h"
#include "elementwise/element.h"

/* Floats to integers. */
static inline int32_t f32_to_i32(float v)
{
    v = v == v ? v : 0.0f;
    v = v > -0x1p31f ? v : -0x1p31f;
    return v < 0x1p31f ? (int32_t)v : INT32_MAX;
}

static inline int64_t f32_to_i64(float v)
{
    v = v == v ? v : 0.0f;
    v = v > -0x1p63f ? v : -0x1p63f;
    return v < 0x1p63f ? (int64_t)v : INT64_MAX;
}

static inline int32_t f64_to_i32(double v)
{
    v = v == v ? v : 0.0;
    v = v > -0x1p31 ? v : -0x1p31;
    return v < 0x1p31 ? (int32_t)v : INT32_MAX;
}

static inline uint32_t f64_to_u32(double v)
{
    int64_t whole = lt_saturate_i64(v);
    return whole > UINT32_MAX ? UINT32_MAX : (uint32_t)whole;
}

static inline uint64_t f64_to_u64(double v)
{
    return v >= 0x1p64 ? UINT64_MAX : v >= 0x1p63 ? (uint64_t)v : (uint64_t)lt_saturate_i64(v);
}

/* AS_D(v): v converted from type S, the middle of the name, to D. */
#define F32_AS_F32(v) (v)
#define F32_AS_F64(v) ((double)(v))
#define F32_AS_I8(v) ((int8_t)f32_to_i32(v))
#define F32_AS_U8(v) ((uint8_t)f32_to_i32(v))
#define F32_AS_I16(v) ((int16_t)f32_to_i32(v))
#define F32_AS_U16(v) ((uint16_t)f32_to_i32(v))
#define F32_AS_I32(v) f32_to_i32(v)
#define F32_AS_U32(v) f64_to_u32((double)(v))
#define F32_AS_I64(v) f32_to_i64(v)
#define F32_AS_U64(v) f64_to_u64((double)(v))
#define F32_AS_BOOL(v) ((v) != 0.0f)
#define F64_AS_F32(v) ((float)(v))
#define F64_AS_F64(v) (v)
#define F64_AS_I8(v) ((int8_t)f64_to_i32(v))
#define F64_AS_U8(v) ((uint8_t)f64_to_i32(v))
#define F64_AS_I16(v) ((int16_t)f64_to_i32(v))
#define F64_AS_U16(v) ((uint16_t)f64_to_i32(v))
#define F64_AS_I32(v) f64_to_i32(v)
#define F64_AS_U32(v) f64_to_u32(v)
#define F64_AS_I64(v) lt_saturate_i64(v)
#define F64_AS_U64(v) f64_to_u64(v)
#define F64_AS_BOOL(v) ((v) != 0.0)
#define WHOLE_AS_F32(v) ((float)(v))
#define WHOLE_AS_F64(v) ((double)(v))
#define WHOLE_AS_I8(v) ((int8_t)(v))
#define WHOLE_AS_U8(v) ((uint8_t)(v))
#define WHOLE_AS_I16(v) ((int16_t)(v))
#define WHOLE_AS_U16(v) ((uint16_t)(v))
#define WHOLE_AS_I32(v) ((int32_t)(v))
#define WHOLE_AS_U32(v) ((uint32_t)(v))
#define WHOLE_AS_I64(v) ((int64_t)(v))
#define WHOLE_AS_U64(v) ((uint64_t)(v))
#define WHOLE_AS_BOOL(v) ((v) != 0)

#define DEFINE(name, S, D, expression)                                                             \
    static void name(const void *from, void *to, int64_t n)                                        \
    {                                                                                              \
        typedef S loose __attribute__((aligned(1), may_alias));                                    \
        const loose *restrict x = from;                                                            \
        D *restrict y = to;                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const S v = x[i];                                                                      \
            y[i] = (expression);                                                                   \
        }                                                                                          \
    }

/* X(dtype, C's type) */
#define TARGETS(X, ...)                                                                            \
    X(F32, float, __VA_ARGS__)                                                                     \
    X(F64, double, __VA_ARGS__)                                                                    \
    X(I8, int8_t, __VA_ARGS__)                                                                     \
    X(U8, uint8_t, __VA_ARGS__)                                                                    \
    X(I16, int16_t, __VA_ARGS__)                                                                   \
    X(U16, uint16_t, __VA_ARGS__)                                                                  \
    X(I32, int32_t, __VA_ARGS__)                                                                   \
    X(U32, uint32_t, __VA_ARGS__)                                                                  \
    X(I64, int64_t, __VA_ARGS__)                                                                   \
    X(U64, uint64_t, __VA_ARGS__)                                                                  \
    X(BOOL, uint8_t, __VA_ARGS__)

#define DEFINE_PAIR(D, TD, S, TS, CLASS) DEFINE(S##_to_##D, TS, TD, CLASS##_AS_##D(v))
TARGETS(DEFINE_PAIR, F32, float, F32)
TARGETS(DEFINE_PAIR, F64, double, F64)
TARGETS(DEFINE_PAIR, I8, int8_t, WHOLE)
TARGETS(DEFINE_PAIR, U8, uint8_t, WHOLE)
TARGETS(DEFINE_PAIR, I16, int16_t, WHOLE)
TARGETS(DEFINE_PAIR, U16, uint16_t, WHOLE)
TARGETS(DEFINE_PAIR, I32, int32_t, WHOLE)
TARGETS(DEFINE_PAIR, U32, uint32_t, WHOLE)
TARGETS(DEFINE_PAIR, I64, int64_t, WHOLE)
TARGETS(DEFINE_PAIR, U64, uint64_t, WHOLE)

/* Exact for what matters: the 11 bits that double has no room for become one sticky bit. */
static inline double odd_f64(bool negative, uint64_t magnitude)
{
    uint64_t low = magnitude & 0x7ff;
    if (magnitude >> 53 != 0) {
        magnitude = (magnitude - low) | (low != 0 ? 0x800 : 0);
    }
    double v = (double)magnitude;
    return negative ? -v : v;
}

DEFINE(F64_to_odd, double, float, lt_round_to_odd(v))
DEFINE(I32_to_odd, int32_t, float, lt_round_to_odd((double)v))
DEFINE(U32_to_odd, uint32_t, float, lt_round_to_odd((double)v))
DEFINE(I64_to_odd, int64_t, float,
       lt_round_to_odd(odd_f64(v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v)))
DEFINE(U64_to_odd, uint64_t, float, lt_round_to_odd(odd_f64(false, v)))

#define CASE_TARGET(D, TD, S)                                                                      \
    case LEAT_DTYPE_##D:                                                                           \
        return S##_to_##D;
#define CASE_SOURCE(S)                                                                             \
    case LEAT_DTYPE_##S:                                                                           \
        switch (to) {                                                                              \
            TARGETS(CASE_TARGET, S)                                                                \
        default:                                                                                   \
            return NULL;                                                                           \
        }

static lt_cast_fn find_odd(leat_dtype from)
{
    switch (from) {
    case LEAT_DTYPE_F64:
        return F64_to_odd;
    case LEAT_DTYPE_I32:
        return I32_to_odd;
    case LEAT_DTYPE_U32:
        return U32_to_odd;
    case LEAT_DTYPE_I64:
        return I64_to_odd;
    case LEAT_DTYPE_U64:
        return U64_to_odd;
    default:
        return NULL; /* exact in f32 */
    }
}

lt_cast_fn lt_cast_find(leat_dtype from, leat_dtype to, bool to_odd)
{
    if (to_odd && to == LEAT_DTYPE_F32 && find_odd(from) != NULL) {
        return find_odd(from);
    }
    from = from == LEAT_DTYPE_BOOL ? LEAT_DTYPE_U8 : from; /* 0 or 1 */
    switch (from) {
        CASE_SOURCE(F32)
        CASE_SOURCE(F64)
        CASE_SOURCE(I8)
        CASE_SOURCE(U8)
        CASE_SOURCE(I16)
        CASE_SOURCE(U16)
        CASE_SOURCE(I32)
        CASE_SOURCE(U32)
        CASE_SOURCE(I64)
        CASE_SOURCE(U64)
    default:
        return NULL;
    }
}

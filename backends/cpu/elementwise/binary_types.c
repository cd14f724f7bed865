/* SPDX-License-Identifier: Apache-2.0 */
/* The binary functions of all types but f32. */
#include "elementwise/binary.h"

#include <math.h>

static inline double modulo_f64(double p, double q)
{
    double r = fmod(p, q);
    return r != 0 && (r < 0) != (q < 0) ? r + q : r;
}

static inline double root_f64(double p)
{
    return p == -INFINITY ? INFINITY : sqrt(p + 0.0);
}

#define ROOT(p) root_f64(p)
#define NAME binary_f64
#define T double
#define WRAP double
#define DIV(p, q) ((p) / (q))
#define POW(p, q) pow(p, q)
#define MOD(p, q) modulo_f64(p, q)
#define FMOD(p, q) fmod(p, q)
static void binary_f64(lt_binary_op op, const void *a, int64_t sa, const void *b, int64_t sb,
                       void *y, int64_t n);
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

/* p to the power of e by squaring; a negative e gives 1, -1 or 0 as the exact value truncates. */
#define DEFINE_HELPERS(T, U, name)                                                                 \
    static inline T divide_##name(T p, T q)                                                        \
    {                                                                                              \
        return q == 0 ? 0 : (T)(q == (T)-1) && (T)-1 < 0 ? (T)(0 - (U)p) : (T)(p / q);             \
    }                                                                                              \
    static inline T remainder_##name(T p, T q)                                                     \
    {                                                                                              \
        return q == 0 || ((T)-1 < 0 && q == (T)-1) ? 0 : (T)(p % q);                               \
    }                                                                                              \
    static inline T modulo_##name(T p, T q)                                                        \
    {                                                                                              \
        T r = remainder_##name(p, q);                                                              \
        return r != 0 && (r < 0) != (q < 0) ? (T)(r + q) : r;                                      \
    }                                                                                              \
    static inline T power_##name(T p, T e)                                                         \
    {                                                                                              \
        U result = 1, square = (U)p;                                                               \
        if (e < 0) {                                                                               \
            return p == 1 ? 1 : p == (T)-1 ? (T)(e % 2 ? -1 : 1) : 0;                              \
        }                                                                                          \
        for (U left = (U)e; left != 0; left >>= 1) {                                               \
            result = (U)(left & 1 ? result * square : result);                                     \
            square = (U)(square * square);                                                         \
        }                                                                                          \
        return (T)result;                                                                          \
    }                                                                                              \
    static void binary_##name(lt_binary_op op, const void *a, int64_t sa, const void *b,           \
                              int64_t sb, void *y, int64_t n);

#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wbool-compare"
DEFINE_HELPERS(int8_t, uint32_t, i8)
DEFINE_HELPERS(int16_t, uint32_t, i16)
DEFINE_HELPERS(int32_t, uint32_t, i32)
DEFINE_HELPERS(int64_t, uint64_t, i64)
DEFINE_HELPERS(uint8_t, uint32_t, u8)
DEFINE_HELPERS(uint16_t, uint32_t, u16)
DEFINE_HELPERS(uint32_t, uint32_t, u32)
DEFINE_HELPERS(uint64_t, uint64_t, u64)

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_i8(p, q)
#define POW(p, q) power_i8(p, q)
#define MOD(p, q) modulo_i8(p, q)
#define FMOD(p, q) remainder_i8(p, q)
#define NAME binary_i8
#define T int8_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_i16(p, q)
#define POW(p, q) power_i16(p, q)
#define MOD(p, q) modulo_i16(p, q)
#define FMOD(p, q) remainder_i16(p, q)
#define NAME binary_i16
#define T int16_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_i32(p, q)
#define POW(p, q) power_i32(p, q)
#define MOD(p, q) modulo_i32(p, q)
#define FMOD(p, q) remainder_i32(p, q)
#define NAME binary_i32
#define T int32_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_i64(p, q)
#define POW(p, q) power_i64(p, q)
#define MOD(p, q) modulo_i64(p, q)
#define FMOD(p, q) remainder_i64(p, q)
#define NAME binary_i64
#define T int64_t
#define WRAP uint64_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_u8(p, q)
#define POW(p, q) power_u8(p, q)
#define MOD(p, q) modulo_u8(p, q)
#define FMOD(p, q) remainder_u8(p, q)
#define NAME binary_u8
#define T uint8_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_u16(p, q)
#define POW(p, q) power_u16(p, q)
#define MOD(p, q) modulo_u16(p, q)
#define FMOD(p, q) remainder_u16(p, q)
#define NAME binary_u16
#define T uint16_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_u32(p, q)
#define POW(p, q) power_u32(p, q)
#define MOD(p, q) modulo_u32(p, q)
#define FMOD(p, q) remainder_u32(p, q)
#define NAME binary_u32
#define T uint32_t
#define WRAP uint32_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

#define ROOT(p) (p) /* no integer is 1/2 */
#define DIV(p, q) divide_u64(p, q)
#define POW(p, q) power_u64(p, q)
#define MOD(p, q) modulo_u64(p, q)
#define FMOD(p, q) remainder_u64(p, q)
#define NAME binary_u64
#define T uint64_t
#define WRAP uint64_t
#include "elementwise/binary_kernel.inc"
#undef DIV
#undef POW
#undef MOD
#undef FMOD

lt_binary_fn lt_cpu_binary_for(leat_dtype dtype, const lt_cpu_device *device)
{
    switch (dtype) {
    case LEAT_DTYPE_F32:
#if defined(__x86_64__)
        if (device->isa == LT_CPU_AVX512) {
            return lt_cpu_binary_f32_avx512;
        }
        if (device->isa == LT_CPU_AVX2) {
            return lt_cpu_binary_f32_avx2;
        }
#endif
        (void)device;
        return lt_cpu_binary_f32_portable;
    case LEAT_DTYPE_F64:
        return binary_f64;
    case LEAT_DTYPE_I8:
        return binary_i8;
    case LEAT_DTYPE_I16:
        return binary_i16;
    case LEAT_DTYPE_I32:
        return binary_i32;
    case LEAT_DTYPE_I64:
        return binary_i64;
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_BOOL:
        return binary_u8;
    case LEAT_DTYPE_U16:
        return binary_u16;
    case LEAT_DTYPE_U32:
        return binary_u32;
    case LEAT_DTYPE_U64:
        return binary_u64;
    default:
        return NULL;
    }
}

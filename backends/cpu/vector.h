/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of f32 and f64 as wide as the file's instruction set: lt_vf of LT_VF_LANES floats, lt_vd
 * of LT_VD_LANES doubles, each with
 *
 *     load, store            unaligned
 *     load_part, store_part  the first n < lanes elements; load_part gives zeros behind
 *     all                    one number in every lane
 *     fma                    a * b + c
 *     least, most            least(limit, x): the smaller of both; NaN in x passes
 *
 * For kernels that are compiled once per instruction set (cpu.h). */
#ifndef LT_CPU_VECTOR_H
#define LT_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LT_VECTOR static inline __attribute__((always_inline))

#if defined(__AVX512F__)

#include <immintrin.h>

#define LT_VF_LANES 16
#define LT_VD_LANES 8
typedef __m512 lt_vf;
typedef __m512d lt_vd;

#define LT_VECTOR_FUNCTIONS(V, T, suffix, mask_type)                                               \
    LT_VECTOR V V##_load(const T *p)                                                               \
    {                                                                                              \
        return _mm512_loadu_##suffix(p);                                                           \
    }                                                                                              \
    LT_VECTOR void V##_store(T *p, V v)                                                            \
    {                                                                                              \
        _mm512_storeu_##suffix(p, v);                                                              \
    }                                                                                              \
    LT_VECTOR V V##_load_part(const T *p, size_t n)                                                \
    {                                                                                              \
        return _mm512_maskz_loadu_##suffix((mask_type)((1u << n) - 1u), p);                        \
    }                                                                                              \
    LT_VECTOR void V##_store_part(T *p, V v, size_t n)                                             \
    {                                                                                              \
        _mm512_mask_storeu_##suffix(p, (mask_type)((1u << n) - 1u), v);                            \
    }                                                                                              \
    LT_VECTOR V V##_all(T x)                                                                       \
    {                                                                                              \
        return _mm512_set1_##suffix(x);                                                            \
    }                                                                                              \
    LT_VECTOR V V##_fma(V a, V b, V c)                                                             \
    {                                                                                              \
        return _mm512_fmadd_##suffix(a, b, c);                                                     \
    }                                                                                              \
    LT_VECTOR V V##_least(V limit, V x)                                                            \
    {                                                                                              \
        return _mm512_min_##suffix(limit, x);                                                      \
    }                                                                                              \
    LT_VECTOR V V##_most(V limit, V x)                                                             \
    {                                                                                              \
        return _mm512_max_##suffix(limit, x);                                                      \
    }
LT_VECTOR_FUNCTIONS(lt_vf, float, ps, __mmask16)
LT_VECTOR_FUNCTIONS(lt_vd, double, pd, __mmask8)

#elif defined(__AVX2__)

#include <immintrin.h>

#define LT_VF_LANES 8
#define LT_VD_LANES 4
typedef __m256 lt_vf;
typedef __m256d lt_vd;

LT_VECTOR __m256i lt_vf_mask(size_t n)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes);
}

LT_VECTOR __m256i lt_vd_mask(size_t n)
{
    const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), lanes);
}

#define LT_VECTOR_FUNCTIONS(V, T, suffix)                                                          \
    LT_VECTOR V V##_load(const T *p)                                                               \
    {                                                                                              \
        return _mm256_loadu_##suffix(p);                                                           \
    }                                                                                              \
    LT_VECTOR void V##_store(T *p, V v)                                                            \
    {                                                                                              \
        _mm256_storeu_##suffix(p, v);                                                              \
    }                                                                                              \
    LT_VECTOR V V##_load_part(const T *p, size_t n)                                                \
    {                                                                                              \
        return _mm256_maskload_##suffix(p, V##_mask(n));                                           \
    }                                                                                              \
    LT_VECTOR void V##_store_part(T *p, V v, size_t n)                                             \
    {                                                                                              \
        _mm256_maskstore_##suffix(p, V##_mask(n), v);                                              \
    }                                                                                              \
    LT_VECTOR V V##_all(T x)                                                                       \
    {                                                                                              \
        return _mm256_set1_##suffix(x);                                                            \
    }                                                                                              \
    LT_VECTOR V V##_fma(V a, V b, V c)                                                             \
    {                                                                                              \
        return _mm256_fmadd_##suffix(a, b, c);                                                     \
    }                                                                                              \
    LT_VECTOR V V##_least(V limit, V x)                                                            \
    {                                                                                              \
        return _mm256_min_##suffix(limit, x);                                                      \
    }                                                                                              \
    LT_VECTOR V V##_most(V limit, V x)                                                             \
    {                                                                                              \
        return _mm256_max_##suffix(limit, x);                                                      \
    }
LT_VECTOR_FUNCTIONS(lt_vf, float, ps)
LT_VECTOR_FUNCTIONS(lt_vd, double, pd)

#else

#define LT_VF_LANES 4
#define LT_VD_LANES 2
typedef float lt_vf __attribute__((vector_size(16)));
typedef double lt_vd __attribute__((vector_size(16)));

/* Comparisons give vectors of integers: all bits set where true. */
#define LT_VECTOR_FUNCTIONS(V, T, bits)                                                            \
    LT_VECTOR V V##_load(const T *p)                                                               \
    {                                                                                              \
        V v;                                                                                       \
        memcpy(&v, p, sizeof(v));                                                                  \
        return v;                                                                                  \
    }                                                                                              \
    LT_VECTOR void V##_store(T *p, V v)                                                            \
    {                                                                                              \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    LT_VECTOR V V##_load_part(const T *p, size_t n)                                                \
    {                                                                                              \
        V v = {0};                                                                                 \
        memcpy(&v, p, n * sizeof(T));                                                              \
        return v;                                                                                  \
    }                                                                                              \
    LT_VECTOR void V##_store_part(T *p, V v, size_t n)                                             \
    {                                                                                              \
        memcpy(p, &v, n * sizeof(T));                                                              \
    }                                                                                              \
    LT_VECTOR V V##_all(T x)                                                                       \
    {                                                                                              \
        return x - (V){0};                                                                         \
    }                                                                                              \
    LT_VECTOR V V##_fma(V a, V b, V c)                                                             \
    {                                                                                              \
        return a * b + c;                                                                          \
    }                                                                                              \
    LT_VECTOR V V##_least(V limit, V x)                                                            \
    {                                                                                              \
        bits above = (bits)(x > limit);                                                            \
        return (V)((above & (bits)limit) | (~above & (bits)x));                                    \
    }                                                                                              \
    LT_VECTOR V V##_most(V limit, V x)                                                             \
    {                                                                                              \
        bits below = (bits)(x < limit);                                                            \
        return (V)((below & (bits)limit) | (~below & (bits)x));                                    \
    }
typedef int32_t lt_vf_bits __attribute__((vector_size(16)));
typedef int64_t lt_vd_bits __attribute__((vector_size(16)));
LT_VECTOR_FUNCTIONS(lt_vf, float, lt_vf_bits)
LT_VECTOR_FUNCTIONS(lt_vd, double, lt_vd_bits)

#endif

#undef LT_VECTOR_FUNCTIONS

#endif

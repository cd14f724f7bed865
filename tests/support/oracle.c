/* SPDX-License-Identifier: Apache-2.0 */
#include "support/oracle.h"

#include "support/test.h"

#include "cpu.h"
#include "smallfloat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t oracle_count(const leat_array *array)
{
    size_t count = 1;
    for (int32_t i = 0; i < array->rank; i++) {
        count *= (size_t)array->shape[i];
    }
    return count;
}

#define CASE_GET(D, T)                                                                             \
    case LEAT_DTYPE_##D:                                                                           \
        return (double)((const T *)array->data)[i];
#define CASE_SET(D, T)                                                                             \
    case LEAT_DTYPE_##D:                                                                           \
        ((T *)array->data)[i] = (T)v;                                                              \
        return;
#define WHOLE_TYPES(X)                                                                             \
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

/* f16 by its definition, not by the library's own conversion. */
static double half_to_double(uint16_t h)
{
    double sign = h & 0x8000 ? -1 : 1;
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31) {
        return mantissa ? NAN : sign * INFINITY;
    }
    return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

static double brain_to_double(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

/* Bits of packed element i; `bits` is 2 or 4. */
static unsigned packed_get(const void *data, size_t i, unsigned bits)
{
    size_t per_byte = 8 / bits;
    unsigned byte = ((const uint8_t *)data)[i / per_byte];
    return byte >> (i % per_byte * bits) & ((1u << bits) - 1);
}

static double sign_extend(unsigned v, unsigned bits)
{
    return v >> (bits - 1) ? (double)v - (double)(1u << bits) : (double)v;
}

double oracle_get(const leat_array *array, size_t i)
{
    switch (array->dtype) {
        WHOLE_TYPES(CASE_GET)
    case LEAT_DTYPE_F16:
        return half_to_double(((const uint16_t *)array->data)[i]);
    case LEAT_DTYPE_BF16:
        return brain_to_double(((const uint16_t *)array->data)[i]);
    case LEAT_DTYPE_U4:
        return packed_get(array->data, i, 4);
    case LEAT_DTYPE_I4:
        return sign_extend(packed_get(array->data, i, 4), 4);
    case LEAT_DTYPE_U2:
        return packed_get(array->data, i, 2);
    case LEAT_DTYPE_I2:
        return sign_extend(packed_get(array->data, i, 2), 2);
    case LEAT_DTYPE_F8E4M3FN:
    case LEAT_DTYPE_F8E4M3FNUZ:
    case LEAT_DTYPE_F8E5M2:
    case LEAT_DTYPE_F8E5M2FNUZ:
        return (double)lt_small_to_f32(array->dtype, ((const uint8_t *)array->data)[i]);
    default:
        return 0;
    }
}

void oracle_set(leat_array *array, size_t i, double v)
{
    switch (array->dtype) {
        WHOLE_TYPES(CASE_SET)
    case LEAT_DTYPE_F16:
        ((uint16_t *)array->data)[i] = lt_f32_to_f16((float)v);
        return;
    case LEAT_DTYPE_BF16:
        ((uint16_t *)array->data)[i] = lt_f32_to_bf16((float)v);
        return;
    default:
        return;
    }
}

double oracle_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

void oracle_fill(leat_array *array, uint64_t seed)
{
    uint64_t state = seed * 0x2545f4914f6cdd1du + 1;
    size_t count = oracle_count(array);
    for (size_t i = 0; i < count; i++) {
        double r = oracle_random(&state);
        switch (array->dtype) {
        case LEAT_DTYPE_F32:
        case LEAT_DTYPE_F64:
        case LEAT_DTYPE_F16:
        case LEAT_DTYPE_BF16:
            oracle_set(array, i, 2 * r - 1);
            break;
        case LEAT_DTYPE_BOOL:
            oracle_set(array, i, r < 0.5);
            break;
        case LEAT_DTYPE_U8:
            oracle_set(array, i, floor(256 * r));
            break;
        case LEAT_DTYPE_I8:
            oracle_set(array, i, floor(256 * r) - 128);
            break;
        case LEAT_DTYPE_I16:
        case LEAT_DTYPE_I32:
        case LEAT_DTYPE_I64:
            oracle_set(array, i, floor(201 * r) - 100);
            break;
        default:
            oracle_set(array, i, floor(201 * r));
            break;
        }
    }
}

double oracle_rtol(leat_dtype dtype, size_t length)
{
    double sum = dtype == LEAT_DTYPE_F64 ? 0x1p-53 : 0x1p-24;
    double unit = dtype == LEAT_DTYPE_F16 ? 0x1p-11 : dtype == LEAT_DTYPE_BF16 ? 0x1p-8 : sum;
    if (dtype != LEAT_DTYPE_F64 && dtype != LEAT_DTYPE_F32 && dtype != LEAT_DTYPE_F16 &&
        dtype != LEAT_DTYPE_BF16) {
        return 0;
    }
    return unit + 8 * sqrt((double)length) * sum;
}

double oracle_atol(leat_dtype dtype, size_t length)
{
    double partial = length > 1024 ? sqrt((double)length) / 3 : 1;
    return oracle_rtol(dtype, length) * partial;
}

void oracle_assert_close(const leat_array *actual, const double *expected, double rtol, double atol)
{
    size_t count = oracle_count(actual);
    for (size_t i = 0; i < count; i++) {
        double a = oracle_get(actual, i), e = expected[i];
        bool same = a == e || (isnan(a) && isnan(e));
        if (!same && !(fabs(a - e) <= atol + rtol * fabs(e))) {
            fail_msg("element %zu of %zu: %.9g, expected %.9g (rtol %.3g, atol %.3g)", i, count, a,
                     e, rtol, atol);
        }
    }
}

double *oracle_doubles(const leat_array *array)
{
    size_t count = oracle_count(array);
    double *exact = calloc(count + 1, sizeof(*exact));
    for (size_t i = 0; exact != NULL && i < count; i++) {
        exact[i] = oracle_get(array, i);
    }
    return exact;
}

leat_array oracle_array(leat_dtype dtype, int32_t rank, const int64_t *shape)
{
    leat_array a = {.dtype = dtype, .rank = rank};
    for (int32_t i = 0; i < rank; i++) {
        a.shape[i] = shape[i];
    }
    a.bytes = leat_dtype_bytes(dtype, oracle_count(&a));
    a.data = calloc(1, a.bytes + 1);
    assert_non_null(a.data);
    return a;
}

leat_array oracle_filled(leat_dtype dtype, int32_t rank, const int64_t *shape, uint64_t seed)
{
    leat_array a = oracle_array(dtype, rank, shape);
    oracle_fill(&a, seed);
    return a;
}

void oracle_free(leat_array *arrays, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(arrays[i].data);
        arrays[i].data = NULL;
    }
}

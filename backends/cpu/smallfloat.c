/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point types of 8 and 4 bits: sign, exponent, `mantissa` bits; value of a normal code
 * (-1)^s * 2^(exponent - bias) * 1.m, of a code with exponent 0 (-1)^s * 2^(1 - bias) * 0.m. */
#include "smallfloat.h"

typedef union float_bits {
    float f;
    uint32_t u;
} float_bits;

typedef struct small_format {
    uint32_t mantissa; /* bits */
    uint32_t bias;
    uint32_t largest;  /* code of the largest finite value */
    uint32_t sign;     /* the sign's bit */
    uint32_t infinity; /* what overflows without saturation; NaN where there is none */
    uint32_t nan;
    bool unsigned_zero; /* no -0, and NaN has no sign */
} small_format;

static const small_format *format_of(leat_dtype dtype)
{
    static const small_format e4m3fn = {3, 7, 0x7e, 0x80, 0x7f, 0x7f, false};
    static const small_format e4m3fnuz = {3, 8, 0x7f, 0x80, 0x80, 0x80, true};
    static const small_format e5m2 = {2, 15, 0x7b, 0x80, 0x7c, 0x7e, false};
    static const small_format e5m2fnuz = {2, 16, 0x7f, 0x80, 0x80, 0x80, true};
    static const small_format e2m1 = {1, 1, 0x7, 0x8, 0x7, 0x8, false};
    switch (dtype) {
    case LEAT_DTYPE_F8E4M3FN:
        return &e4m3fn;
    case LEAT_DTYPE_F8E4M3FNUZ:
        return &e4m3fnuz;
    case LEAT_DTYPE_F8E5M2:
        return &e5m2;
    case LEAT_DTYPE_F8E5M2FNUZ:
        return &e5m2fnuz;
    case LEAT_DTYPE_F4E2M1:
        return &e2m1;
    default:
        return NULL;
    }
}

static float e8m0_to_f32(uint8_t code)
{
    float_bits v = {.u = (uint32_t)code << 23};
    if (code == 255) {
        v.u = 0x7fc00000u;
    } else if (code == 0) {
        v.u = 0x00400000u; /* 2^-127 is subnormal in f32 */
    }
    return v.f;
}

float lt_small_to_f32(leat_dtype dtype, uint8_t code)
{
    if (dtype == LEAT_DTYPE_F8E8M0) {
        return e8m0_to_f32(code);
    }
    const small_format *format = format_of(dtype);
    if (format == NULL) {
        return 0.0f;
    }
    uint32_t magnitude = code & (format->sign - 1);
    uint32_t negative = (code & format->sign) != 0;
    float_bits v;
    if (format->unsigned_zero ? code == 0x80 : magnitude > format->largest) {
        bool infinite = magnitude == format->infinity && format->infinity != format->nan;
        v.u = infinite ? 0x7f800000u : 0x7fc00000u;
    } else if (magnitude >> format->mantissa == 0) {
        float_bits unit = {.u = (128 - format->bias - format->mantissa) << 23};
        v.f = (float)magnitude * unit.f;
    } else {
        v.u = (magnitude << (23 - format->mantissa)) + ((127 - format->bias) << 23);
    }
    v.u |= negative << 31;
    return v.f;
}

uint8_t lt_f32_to_small(leat_dtype dtype, float value, bool saturate)
{
    const small_format *format = format_of(dtype);
    if (format == NULL) {
        return 0;
    }
    float_bits v = {value};
    uint32_t sign = v.u >> 31 ? format->sign : 0;
    v.u &= 0x7fffffffu;
    if (v.u > 0x7f800000u) {
        return (uint8_t)(format->nan ^ (format->unsigned_zero ? 0 : sign));
    }
    uint32_t code;
    uint32_t drop = 23 - format->mantissa;
    if (v.u < (128 - format->bias) << 23) {
        /* Subnormal: adding 2^23 units leaves the rounded count of units in the low bits. */
        float_bits shift = {.u = (128 - format->bias + drop) << 23};
        v.f += shift.f;
        code = v.u - shift.u;
    } else {
        uint32_t half = (1u << (drop - 1)) - 1 + (v.u >> drop & 1);
        code = ((v.u + half) >> drop) - ((127 - format->bias) << format->mantissa);
    }
    if (code > format->largest) {
        code = saturate ? format->largest : format->infinity;
    }
    if (format->unsigned_zero && (code == 0 || code == 0x80)) {
        return (uint8_t)code;
    }
    return (uint8_t)(code | sign);
}

uint8_t lt_f32_to_e8m0(float value, lt_round round, bool saturate)
{
    float_bits v = {value};
    v.u &= 0x7fffffffu;
    if (v.u > 0x7f800000u) {
        return 255;
    }
    uint32_t code = v.u >> 23;
    uint32_t fraction = v.u & 0x7fffffu;
    if (code == 0) { /* 2^-127 has the fraction 0x400000; halfway to 2^-126 is 0x600000 */
        if (fraction < 0x400000u) {
            return saturate ? 0 : 255;
        }
        return (round == LT_ROUND_UP && fraction > 0x400000u) ||
               (round == LT_ROUND_NEAREST && fraction >= 0x600000u);
    }
    code += (round == LT_ROUND_UP && fraction != 0) ||
            (round == LT_ROUND_NEAREST && fraction >= 0x400000u);
    if (code >= 255) {
        return saturate ? 254 : 255;
    }
    return (uint8_t)code;
}

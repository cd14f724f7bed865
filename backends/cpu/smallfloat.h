/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point types of 8 and 4 bits, and elements packed two or four to a byte.
 *
 * Conversions to the small types round to nearest, ties to even, as the tables of ONNX's Cast
 * say. Converting from f16 or bf16 by way of f32 rounds once only, as those are exact in f32.
 */
#ifndef LT_CPU_SMALLFLOAT_H
#define LT_CPU_SMALLFLOAT_H

#include "cpu.h"

/* Value of a code of F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0 or F4E2M1 (its low 4 bits);
 * 0 for another type. Exact. */
float lt_small_to_f32(leat_dtype dtype, uint8_t code);

/* Code of the nearest value of one of the four float8 types or of F4E2M1. What is out of range,
 * infinity among it, becomes the largest finite value with `saturate`, else infinity (F8E5M2) or
 * NaN. F4E2M1 has neither infinity nor NaN: it saturates always, and NaN becomes a zero. */
uint8_t lt_f32_to_small(leat_dtype dtype, float value, bool saturate);

typedef enum lt_round {
    LT_ROUND_UP = 0,  /* away from zero */
    LT_ROUND_DOWN,    /* towards zero */
    LT_ROUND_NEAREST, /* ties away from zero */
} lt_round;

/* Code of F8E8M0, powers of two from 2^-127 (0) to 2^127 (254). The sign is ignored. What is out of
 * range, 0 and infinity among it, goes to the nearest end with `saturate`, else to NaN (255). */
uint8_t lt_f32_to_e8m0(float value, lt_round round, bool saturate);

/* Bits of one element of a packed type (4 or 2); 0 for a type of whole bytes. */
static inline unsigned lt_packed_bits(leat_dtype dtype)
{
    switch (dtype) {
    case LEAT_DTYPE_U4:
    case LEAT_DTYPE_I4:
    case LEAT_DTYPE_F4E2M1:
        return 4;
    case LEAT_DTYPE_U2:
    case LEAT_DTYPE_I2:
        return 2;
    default:
        return 0;
    }
}

/* Element i of packed data, `bits` (4 or 2) wide, not sign-extended. */
static inline unsigned lt_packed_get(const uint8_t *data, int64_t i, unsigned bits)
{
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)((uint64_t)i % per_byte) * bits;
    return data[(uint64_t)i / per_byte] >> shift & ((1u << bits) - 1);
}

/* The same with the sign of I4 and I2. */
static inline int lt_packed_get_signed(const uint8_t *data, int64_t i, unsigned bits)
{
    int value = (int)lt_packed_get(data, i, bits);
    int sign = 1 << (bits - 1);
    return (value ^ sign) - sign;
}

/* Changes element i; the byte's other elements stay. Threads that write elements of one byte race:
 * ranges are to be split at whole bytes. */
static inline void lt_packed_set(uint8_t *data, int64_t i, unsigned bits, unsigned value)
{
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)((uint64_t)i % per_byte) * bits;
    unsigned mask = (1u << bits) - 1;
    uint8_t *byte = &data[(uint64_t)i / per_byte];
    *byte = (uint8_t)((*byte & ~(mask << shift)) | (value & mask) << shift);
}

#endif

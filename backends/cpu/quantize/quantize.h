/* SPDX-License-Identifier: Apache-2.0 */
/* Linear quantization:  q = saturate(round(x / scale) + zero_point),  x = (q - zero_point) * scale.
 *
 * Data is worked on in pieces of at most LT_QUANT_PIECE elements that start at a multiple of 8
 * elements, so that packed types start at whole bytes. A piece goes through stages over f32 buffers
 * in the first-level cache: widen, divide or multiply, narrow.
 */
#ifndef LT_CPU_QUANTIZE_QUANTIZE_H
#define LT_CPU_QUANTIZE_QUANTIZE_H

#include "smallfloat.h"

#define LT_QUANT_PIECE 512

/* Where the scale of an element is. */
typedef struct lt_quant_grid {
    int64_t count;  /* elements */
    int64_t dim;    /* along the axis; per tensor: 1 */
    int64_t inner;  /* behind the axis */
    int64_t scales; /* along the axis: 1, dim, or blocks */
    int64_t block;  /* elements that share a scale along the axis; 0: per tensor or per axis */
} lt_quant_grid;

typedef struct lt_quant_kernels {
    const char *isa;
    /* f32 -> u8 or i8 with one scale and zero point. */
    void (*to_u8)(uint8_t *out, const float *x, int64_t n, float scale, int32_t zero);
    void (*to_i8)(int8_t *out, const float *x, int64_t n, float scale, int32_t zero);
    /* u8 or i8 -> f32 with one scale and zero point. */
    void (*from_u8)(float *out, const uint8_t *q, int64_t n, float scale, int32_t zero);
    void (*from_i8)(float *out, const int8_t *q, int64_t n, float scale, int32_t zero);
    /* f32 of elements [at, at + n) of data; `table` has the values of 8-bit codes of other types
     * than integers. */
    void (*widen)(float *out, const void *data, leat_dtype dtype, int64_t at, int64_t n,
                  const float *table);
    /* out = round to nearest even (x / scale) + zero, saturated to [low, high]; x is replaced. */
    void (*divide)(float *x, const float *scale, int64_t n);
    void (*finish)(float *x, const float *zero, int64_t n, float low, float high);
    /* x = (x - zero) * scale */
    void (*multiply)(float *x, const float *zero, const float *scale, int64_t n);
    /* Writes elements [at, at + n): integers must be in range already. */
    void (*narrow)(void *data, leat_dtype dtype, int64_t at, int64_t n, const float *x,
                   bool saturate);
    /* Lowest and highest of x[0..n) and 0; NaN is passed over. */
    void (*range)(const float *x, int64_t n, float *out_low, float *out_high);
} lt_quant_kernels;

extern const lt_quant_kernels lt_quant_portable;
extern const lt_quant_kernels lt_quant_avx2;
extern const lt_quant_kernels lt_quant_avx512;

const lt_quant_kernels *lt_quant_pick(lt_cpu_isa isa);

/* Lowest and highest value of an integer type. */
bool lt_quant_limits(leat_dtype dtype, float *out_low, float *out_high);

#endif

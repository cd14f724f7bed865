/* SPDX-License-Identifier: Apache-2.0 */
/* Products of 8-bit integers: the micro-kernels behind gemm.h's loops, and what follows a sum.
 *
 *     S[m, n] = sum over t, j of (A[m, t, j] - a_zero) * (B[t, j, n] - b_zero[n])          in s32
 *             = sum A * B  -  a_zero * (column sum of B - K * b_zero[n])  -  b_zero[n] * row sum of
 * A
 *
 * Kernels multiply u8 by s8: s8 data has 128 added and u8 weights 128 taken away, zero points
 * likewise. Products are exact on all instruction sets: none saturates in 16 bits. The second term
 * depends on n alone and is where sums start (the job's bias); the third is computed only where a
 * b_zero is not 0. Sums wrap like ONNX's.
 *
 * Then, with f in f32:
 *
 *     f = S * scale[n] + bias[n]
 *     f = min(max(f, mid_low), mid_high), rounded to nearest even            if mid
 *     f = f * mid_factor + R[m, n] * residual_factor + residual_offset       if there is a residual
 *     f = activation(f) * post                                               if there is one
 *     f = min(max(f, low), high)
 *     C = f, or round to nearest even (f) + zero
 *
 * so that a quantized result, and a quantized addition behind it, round as the nodes would one by
 * one. Saturation is in low and high (and mid_low, mid_high).
 *
 * Arithmetic bounds the product: 14 x 32 sums with AVX-512 VNNI take 16 loads for 28 vpdpbusd. */
#ifndef LT_CPU_INT8_H
#define LT_CPU_INT8_H

#include "gemm/gemm.h"

typedef enum lt_int8_result {
    LT_INT8_RESULT_SUM = 0, /* s32 sums, nothing else */
    LT_INT8_RESULT_F32,
    LT_INT8_RESULT_BYTE /* u8 or s8 */
} lt_int8_result;

typedef enum lt_int8_residual {
    LT_INT8_RESIDUAL_NONE = 0,
    LT_INT8_RESIDUAL_F32,
    LT_INT8_RESIDUAL_BYTE
} lt_int8_residual;

/* Frequent epilogues, done on registers where a kernel can. */
typedef enum lt_int8_way {
    LT_INT8_WAY_ANY = 0,        /* all that int8.h's formula says */
    LT_INT8_WAY_BYTES,          /* bytes from sums and scale alone */
    LT_INT8_WAY_BYTES_RESIDUAL, /* bytes, perhaps mid, and a residual of bytes */
    LT_INT8_WAY_FLOATS          /* f32, perhaps with bias and an f32 residual of factor 1 */
} lt_int8_way;

/* What lt_gemm_tile.epilogue points at. Arrays by column are readable to whole panels. */
typedef struct lt_int8_epilogue {
    lt_int8_result result;
    const int32_t *column_zero; /* b_zero; NULL: all 0 */
    const int32_t *row_zero;    /* a_zero of each row, where they differ, and ... */
    const int32_t *column_sum;  /* ... what each is multiplied with; NULL otherwise */
    const float *scale;         /* by column */
    const float *bias;          /* by column, or NULL */
    const uint8_t *limits;      /* by panel and k, for kernels that want them; and ... */
    size_t panel_limits;        /* ... how many a panel has */
    bool mid;
    float mid_low, mid_high, mid_factor;
    lt_int8_residual residual_kind;
    const void *residual;  /* of C's shape */
    size_t residual_ld;    /* elements */
    uint8_t residual_flip; /* 0x80 for s8 (then residual_offset says that 128 was added) */
    float residual_factor, residual_offset;
    lt_cpu_activation activation;
    lt_cpu_activate_fn activate; /* NULL: none that is not in low and high */
    float post;
    float low, high;
    int32_t zero;
    bool is_signed;
    int32_t low_q, high_q; /* bytes: bounds of the result, low and high rounded plus zero */
    lt_int8_way way;       /* by lt_int8_choose_way */
    bool type_bounds;      /* likewise: low_q and high_q are those of u8 or s8 */
} lt_int8_epilogue;

/* Sets low_q, high_q, way and type_bounds from the rest. `largest` is a bound of |S * scale|: way
 * is for bytes only where no f can leave the range of s32, beyond which a conversion in registers
 * would not saturate.
 */
void lt_int8_choose_way(lt_int8_epilogue *e, double largest, size_t columns);

/* The best kernels for a device; c_bytes 4 (s32, f32) or 1. */
const lt_gemm_kernels *lt_int8_kernels_for(const lt_cpu_device *device, uint32_t c_bytes);

/* Tables with c_bytes 4 and 1. */
extern const lt_gemm_kernels lt_cpu_gemm_u8s8_4x8_portable[2];
#if defined(__x86_64__)
extern const lt_gemm_kernels lt_cpu_gemm_u8s8_6x16_avx2[2];
extern const lt_gemm_kernels lt_cpu_gemm_u8s8_6x16_avxvnni[2];
extern const lt_gemm_kernels lt_cpu_gemm_u8s8_14x32_avx512vnni[4]; /* two more for full_width */
#endif

/* lt_gemm_pack_fn: s8 or u8 in groups of four; u8 has 128 taken away. */
void lt_int8_pack(const lt_gemm_source *piece, size_t width, void *out);

/* Makes the limits of one product's packed panels, packed_k bytes for each: for each k the largest
 * byte of A whose products with the panel do not saturate (gemm_u8s8_avx2.c). */
typedef void (*lt_int8_limits_fn)(const void *packed, size_t packed_k, size_t n, uint8_t *limits);

/* What makes the limits that kernels want in their epilogue; NULL: they want none. */
lt_int8_limits_fn lt_int8_limits_for(const lt_gemm_kernels *kernels);
void lt_int8_limits_avx2(const void *packed, size_t packed_k, size_t n, uint8_t *limits);

/* Finishes a tile of `rows` rows whose sums lie `ld` apart: everything that the formula above says
 * after S's first two terms. */
typedef void (*lt_int8_finish_fn)(const lt_gemm_tile *tile, const int32_t *sums, size_t ld,
                                  size_t rows);
void lt_int8_finish_portable(const lt_gemm_tile *tile, const int32_t *sums, size_t ld, size_t rows);
void lt_int8_finish_avx2(const lt_gemm_tile *tile, const int32_t *sums, size_t ld, size_t rows);

/* The same for rows of 16 sums that lie side by side, readable to the end whatever tile->n is. */
void lt_int8_finish_16_avx2(const lt_gemm_tile *tile, const int32_t *sums, size_t rows);

/* Sum of the row's bytes in all taps. */
int32_t lt_int8_row_sum(const lt_gemm_tile *tile, size_t row);

#endif

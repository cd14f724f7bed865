/* SPDX-License-Identifier: Apache-2.0 */
/* Products whose factors are f16 or bf16 and whose sums are f32, for data in f32, f16 and bf16.
 *
 *     C[m, n] = act( sum over k of a(A[m, k]) * b(B[k, n]) + bias[n] + R[m, n] )
 *
 * Bias is f32; R and C are f32, f16 or bf16 each, C rounded once. Where the processor has dot
 * products of bf16 (AVX512-BF16) both a and b round to bf16 and each instruction sums two products
 * (subnormal numbers count as 0). Elsewhere only B is kept in the narrow type, to halve its bytes,
 * and widened when loaded; a is then f32, exact. */
#ifndef LT_CPU_GEMM_MIXED_H
#define LT_CPU_GEMM_MIXED_H

#include "elementwise/half.h"
#include "gemm/gemm.h"

/* lt_gemm_job.epilogue of these kernels. Their c_bytes is 0: the kernels find their place in C and
 * in the residual by the tile's row and column. */
typedef struct lt_gemm_mixed {
    leat_dtype c_dtype;
    leat_dtype residual_dtype;
} lt_gemm_mixed;

/* The best kernels for factors of `compute`, F16 or BF16, and C of c_dtype. */
const lt_gemm_kernels *lt_gemm_mixed_kernels_for(const lt_cpu_device *device, leat_dtype compute,
                                                 leat_dtype c_dtype);

/* Type of a tile's residual: where k is cut, later parts add to C. */
static inline leat_dtype lt_gemm_mixed_residual(const lt_gemm_tile *tile)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    return tile->residual == tile->c ? mixed->c_dtype : mixed->residual_dtype;
}

/* How rows of A reach the type that the kernels read. */
typedef struct lt_gemm_mixed_copy {
    const lt_half_kernels *half;
    leat_dtype from, to;
} lt_gemm_mixed_copy;

/* lt_gemm_job.copy; the argument is an lt_gemm_mixed_copy. Not needed where the types agree. */
void lt_gemm_mixed_copy_row(const void *argument, const void *from, size_t row, size_t k, void *to);

/* Adds the residual to `rows` rows of sums (bias added already), `width` floats apart, applies the
 * activation and stores tile->n columns of them in C's type. `sums` is overwritten. */
void lt_gemm_mixed_finish(const lt_gemm_tile *tile, float *sums, size_t rows, size_t width,
                          const lt_half_kernels *half, lt_cpu_activate_fn activate);

/* Pack functions, from f32, f16 and bf16: single elements, and pairs of consecutive rows. */
void lt_gemm_pack_f16(const lt_gemm_source *piece, size_t width, void *out);
void lt_gemm_pack_bf16(const lt_gemm_source *piece, size_t width, void *out);
void lt_gemm_pack_bf16_pairs(const lt_gemm_source *piece, size_t width, void *out);

extern const lt_gemm_kernels lt_cpu_gemm_f32bf16_4x8_portable;
extern const lt_gemm_kernels lt_cpu_gemm_f32f16_4x8_portable;
#if defined(__x86_64__)
extern const lt_gemm_kernels lt_cpu_gemm_f32bf16_6x16_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f32f16_6x16_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f32bf16_14x32_avx512;
extern const lt_gemm_kernels lt_cpu_gemm_f32f16_14x32_avx512;
extern const lt_gemm_kernels lt_cpu_gemm_bf16_14x32_avx512bf16;
extern const lt_gemm_kernels lt_cpu_gemm_bf16_14x32_avx512bf16_to_f32; /* C is f32 */
#endif

#endif

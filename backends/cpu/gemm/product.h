/* SPDX-License-Identifier: Apache-2.0 */
/* A batch of matrix products at fixed shapes, with everything that MatMul and Gemm ask for around
 * it: dynamic or constant B, transposes, alpha and beta, bias, residual, activation, and f32, f16
 * and bf16 mixed (sums are f32 then, rounded once: see mixed.h). */
#ifndef LT_CPU_PRODUCT_H
#define LT_CPU_PRODUCT_H

#include "gemm/gemm.h"

#define LT_PRODUCT_NONE UINT32_MAX

/* Shapes:   C[i] = A[i] * B[i] for i < batch; A[i] is m x k at a_offsets[i] elements (k x m when
 *           trans_a), B[i] likewise. Offsets NULL: A is batch dense matrices; B is one, shared. */
typedef struct lt_product_desc {
    leat_dtype compute; /* f32, f64; f16, bf16: factors may be rounded to it */
    size_t batch, m, n, k;
    bool trans_a, trans_b;
    const size_t *a_offsets;
    const size_t *b_offsets;
    float alpha, beta;
    uint32_t bias_input;            /* LT_PRODUCT_NONE, or the input that is added times beta ... */
    size_t bias_rows, bias_columns; /* ... of this shape, each 1 or that of C (one product only) */
    uint32_t residual_input;        /* LT_PRODUCT_NONE, or the input with C's shape that is added */
    lt_cpu_activation activation;
} lt_product_desc;

/* Packs a constant B and makes the kernel; fields of `out_kernel` are set.
 * Errors:   NO_MEMORY; LIMIT when a size overflows. */
leat_status lt_product_prepare(const lt_product_desc *desc, const leat_kernel_node *node,
                               const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                               leat_kernel *out_kernel, leat_error *err);

/* Fills batch, m, n, k and the offsets from the inputs of a MatMul or MatMulInteger.
 * Errors:   INVALID when A and B disagree; NO_MEMORY. */
leat_status lt_matmul_shapes(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                             lt_product_desc *desc, leat_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What quantized convolutions and matrix products share: operands, constants, the epilogue.
 *
 *     QLinearConv, QLinearMatMul   x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias
 *     ConvInteger, MatMulInteger   x, w, x_zero, w_zero
 *     leat QConv, QMatMul          the first order, then r_scale, r_zero, z_scale, z_zero, residual
 *                                  (leat/backend.h, "Nodes of the domain leat")
 *
 * Whatever depends on constants alone is made by prepare, the rest by each launch: a product whose
 * activations are quantized dynamically makes two numbers a column, one with changing weights packs
 * them. */
#ifndef LT_CPU_INT8_QUANTIZED_H
#define LT_CPU_INT8_QUANTIZED_H

#include "int8/int8.h"

#include "sizes.h"

/* Numbers of inputs, LEAT_NO_VALUE where there is none. */
typedef struct lt_int8_inputs {
    uint32_t x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias;
    uint32_t r_scale, r_zero, z_scale, z_zero, residual;
} lt_int8_inputs;

typedef struct lt_int8_node {
    lt_int8_inputs in;
    leat_dtype x_type, w_type, y_type, z_type, bias_type, residual_type;
    lt_int8_result result;
    size_t x_zeros, w_scales, w_zeros; /* elements: 1, or one a row or column */
    lt_cpu_activation activation;
    lt_cpu_activate_fn activate; /* NULL for a clamp */
    size_t groups, m, n, k;      /* of one group's product; k of all taps */
    size_t columns;              /* n filled up to whole panels */
    lt_int8_limits_fn limits;    /* of the kernels, or NULL */
    size_t packed_k;             /* of all taps as the product sees it: limits of a panel */
    size_t panels;               /* of one group */
    bool constant_weights;       /* and zero points of theirs */
    bool fixed;                  /* all that the epilogue needs is constant */
} lt_int8_node;

/* Finds the operands and checks types. Sizes are set by lt_int8_check_sizes.
 * Errors:   UNSUPPORTED, INVALID. */
leat_status lt_int8_read(const leat_kernel_node *node, lt_int8_node *out, leat_error *err);

/* Checks the numbers of scales, zero points and biases against groups, m, n, which are set, and
 * decides constant_weights and fixed.
 * Errors:   UNSUPPORTED, INVALID. */
leat_status lt_int8_check_sizes(const leat_kernel_node *node, lt_int8_node *q, leat_error *err);

/* The input's data, NULL when there is none. */
static inline const void *lt_int8_input(const void *const *inputs, uint32_t i)
{
    return i == LEAT_NO_VALUE ? NULL : inputs[i];
}

/* The job's bias, and the epilogue of each group's product (arrays begin at group 0). */
typedef struct lt_int8_params {
    const int32_t *offset;
    lt_int8_epilogue epilogue;
    double largest; /* a bound of |S * scale| */
} lt_int8_params;

size_t lt_int8_params_bytes(const lt_int8_node *q);
/* Makes them from data: inputs as launch gets them (with those of constants set, and others NULL
 * where q->fixed), `sums` what lt_int8_column_sums made. */
void lt_int8_make_params(const lt_int8_node *q, const void *const *inputs, const int32_t *sums,
                         void *memory, lt_int8_params *out);
/* The epilogue of one group. */
lt_int8_epilogue lt_int8_group(const lt_int8_node *q, const lt_int8_params *params, size_t group);

/* Column sums of one group's packed panels to its place in `sums`, and behind those of all groups
 * the limits of its panels (q->limits). */
void lt_int8_column_sums(const lt_int8_node *q, const lt_gemm_kernels *kernels, const void *packed,
                         size_t group, int32_t *sums);

/* Bytes of both for all groups; limits are readable to whole blocks of 32. */
static inline size_t lt_int8_sums_bytes(const lt_int8_node *q)
{
    size_t limits = q->limits != NULL ? q->groups * q->panels * q->packed_k + 32 : 0;
    return q->groups * q->columns * sizeof(int32_t) + limits;
}

/* out = x with the sign bits turned over, on the pool. */
void lt_int8_flip(const void *x, void *out, int64_t count, const leat_kernel_args *args);

/* out[j][i] = in[i][j] for a matrix of elements of 1 or 4 bytes, each XORed with `flip` if of 1. */
void lt_int8_transpose(const void *in, void *out, int64_t rows, int64_t columns, size_t element,
                       uint8_t flip);

/* An aligned piece of a workspace that is being laid out. */
static inline size_t lt_int8_take(size_t *total, size_t bytes)
{
    size_t at = *total;
    *total += lt_whole_lines(bytes);
    return at;
}

#endif

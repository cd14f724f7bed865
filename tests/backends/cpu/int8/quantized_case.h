/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of quantized products share: operands with their grids, and what may come out. */
#ifndef TESTS_QUANTIZED_CASE_H
#define TESTS_QUANTIZED_CASE_H

#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* An operand of bytes: real value (q - zero) * scale. */
typedef struct q_grid {
    leat_dtype dtype;
    float scale;
    int32_t zero;
} q_grid;

/* What follows the sums, as in int8.h: y rounds the product, r is added, z rounds the result.
 * dtype UNDEFINED: there is none; F32 for r: not quantized. */
typedef struct q_epilogue {
    q_grid y, r, z;
    const char *activation; /* "Relu", "Clip" (to [-0.5, 0.5]), "Tanh" or NULL */
} q_epilogue;

static inline leat_array q_float(float *x)
{
    return (leat_array){.dtype = LEAT_DTYPE_F32, .rank = 0, .data = x, .bytes = sizeof(*x)};
}

/* The zero point of a grid as an array over `storage`; omitted without a grid. */
static inline leat_array q_zero(const q_grid *g, int8_t *storage)
{
    *storage = (int8_t)g->zero;
    bool byte = g->dtype == LEAT_DTYPE_U8 || g->dtype == LEAT_DTYPE_I8;
    return byte ? (leat_array){.dtype = g->dtype, .rank = 0, .data = storage, .bytes = 1}
                : (leat_array){0};
}

static inline double q_activate(const char *activation, double x)
{
    if (activation == NULL) {
        return x;
    }
    if (strcmp(activation, "Relu") == 0) {
        return x > 0 ? x : 0;
    }
    if (strcmp(activation, "Clip") == 0) {
        return x < -0.5 ? -0.5 : x > 0.5 ? 0.5 : x;
    }
    return tanh(x);
}

static inline double q_round(const q_grid *g, double x)
{
    double low = g->dtype == LEAT_DTYPE_U8 ? 0 : -128, high = g->dtype == LEAT_DTYPE_U8 ? 255 : 127;
    double q = nearbyint(x / (double)g->scale) + g->zero;
    return q < low ? low : q > high ? high : q;
}

static inline double q_real(const q_grid *g, double q)
{
    return (q - g->zero) * (double)g->scale;
}

/* The result for a product x (without rounding errors) and residual r (its code, or its value),
 * everything moved by `move` steps before each rounding: with a small move up and down the two
 * ends of what f32 arithmetic may give. */
static inline double q_result(const q_epilogue *e, double x, double r, double move)
{
    if (e->y.dtype != LEAT_DTYPE_UNDEFINED && e->r.dtype == LEAT_DTYPE_UNDEFINED) {
        return q_round(&e->y, q_activate(e->activation, x) + move * (double)e->y.scale);
    }
    if (e->y.dtype != LEAT_DTYPE_UNDEFINED) {
        x = q_real(&e->y, q_round(&e->y, x + move * (double)e->y.scale));
    }
    if (e->r.dtype == LEAT_DTYPE_F32) {
        x += r;
    } else if (e->r.dtype != LEAT_DTYPE_UNDEFINED) {
        x += q_real(&e->r, r);
    }
    x = q_activate(e->activation, x);
    return e->z.dtype == LEAT_DTYPE_UNDEFINED ? x : q_round(&e->z, x + move * (double)e->z.scale);
}

/* Fails unless `actual` lies between the ends (or near them, for f32). */
static inline void q_check(const q_epilogue *e, double actual, double x, double r, double scale,
                           const char *what)
{
    const double move = 1e-3;
    double low = q_result(e, x, r, -move), high = q_result(e, x, r, move);
    bool bytes =
        (e->r.dtype == LEAT_DTYPE_UNDEFINED ? e->y.dtype : e->z.dtype) != LEAT_DTYPE_UNDEFINED;
    double slack = bytes ? 0 : 1e-5 * (fabs(x) + fabs(r) + scale);
    if (!(actual >= low - slack && actual <= high + slack)) {
        fail_msg("%s: %.9g is not in [%.9g, %.9g]", what, actual, low, high);
    }
}

static inline leat_dtype q_result_type(const q_epilogue *e)
{
    leat_dtype t = e->r.dtype == LEAT_DTYPE_UNDEFINED ? e->y.dtype : e->z.dtype;
    return t == LEAT_DTYPE_UNDEFINED ? LEAT_DTYPE_F32 : t;
}

/* Fills bytes; with `extreme` only the ends of the type. */
static inline void q_fill(leat_array *a, uint64_t seed, bool extreme)
{
    uint8_t *data = a->data;
    uint64_t state = seed;
    for (size_t i = 0; i < a->bytes; i++) {
        double u = oracle_random(&state);
        bool u8 = a->dtype == LEAT_DTYPE_U8;
        data[i] =
            extreme ? (u8 ? (u < 0.9 ? 255 : 0) : (u < 0.9 ? 0x80 : 0x7f)) : (uint8_t)(u * 256);
    }
}

#endif

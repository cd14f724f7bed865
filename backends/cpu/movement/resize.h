/* SPDX-License-Identifier: Apache-2.0 */
/* Resize and Upsample: parameters, tables of source positions, inner loops. */
#ifndef LT_CPU_MOVEMENT_RESIZE_H
#define LT_CPU_MOVEMENT_RESIZE_H

#include "movement/movement.h"

typedef enum lt_resize_mode {
    RESIZE_NEAREST,
    RESIZE_LINEAR,
    RESIZE_CUBIC
} lt_resize_mode;

/* Which source position an output index has (coordinate_transformation_mode). */
typedef enum lt_resize_where {
    RESIZE_HALF_PIXEL,
    RESIZE_HALF_PIXEL_SYMMETRIC,
    RESIZE_PYTORCH_HALF_PIXEL,
    RESIZE_ALIGN_CORNERS,
    RESIZE_ASYMMETRIC,
    RESIZE_TF_HALF_PIXEL_FOR_NN,
    RESIZE_TF_CROP_AND_RESIZE,
    RESIZE_WHERES
} lt_resize_where;

/* nearest_mode; SIMPLE is that of opset 10: up for shrinking axes, down for others. */
typedef enum lt_resize_round {
    RESIZE_ROUND_PREFER_FLOOR,
    RESIZE_ROUND_PREFER_CEIL,
    RESIZE_FLOOR,
    RESIZE_CEIL,
    RESIZE_SIMPLE,
    RESIZE_ROUNDS
} lt_resize_round;

typedef struct lt_resize_rule {
    lt_resize_mode mode;
    lt_resize_where where;
    lt_resize_round round;
    bool antialias;
    bool exclude_outside;
    double cubic_a;
} lt_resize_rule;

/* One axis.  width: the output's width before it was cut to an integer. */
typedef struct lt_resize_axis {
    int64_t in, out;
    double scale, width;
    double roi_begin, roi_end;
} lt_resize_axis;

/* out[j] = sum over t < taps of weights[j * taps + t] * in[index[j * taps + t]]; the extrapolation
 * value where index[j * taps] is -1. Weights are f32, or f64 with `wide`; nearest has none. */
typedef struct lt_resize_table {
    int64_t taps; /* 0: the axis is copied as it is */
    const int64_t *index;
    const void *weights;
} lt_resize_table;

/* Taps that the rule needs on an axis of that scale. */
int64_t lt_resize_taps(const lt_resize_rule *rule, double scale);

/* Fills index[out * taps] and weights[out * taps]. */
void lt_resize_fill(const lt_resize_rule *rule, const lt_resize_axis *axis, int64_t taps, bool wide,
                    int64_t *index, void *weights);

/* ---- inner loops ---------------------------------------------------------------------------- */

typedef struct lt_resize_kernels {
    const char *isa;
    /* out[j, :] from in[index[j], :] with `inner` elements each, j < n. */
    void (*across)(float *out, const float *in, const lt_resize_table *table, int64_t n,
                   int64_t inner, float outside);
    void (*across_wide)(double *out, const double *in, const lt_resize_table *table, int64_t n,
                        int64_t inner, double outside);
    /* out[i] = sum of weights[t] * rows[t][i], i < n. */
    void (*down)(float *out, const float *const *rows, const float *weights, int64_t taps,
                 int64_t n);
    void (*down_wide)(double *out, const double *const *rows, const double *weights, int64_t taps,
                      int64_t n);
} lt_resize_kernels;

extern const lt_resize_kernels lt_resize_portable;
extern const lt_resize_kernels lt_resize_avx2;
extern const lt_resize_kernels lt_resize_avx512;

/* ---- passes --------------------------------------------------------------------------------- */

/* [outer, h, w, inner] -> [outer, out_h, out_w, inner]. */
typedef struct lt_resize_pass {
    const lt_resize_kernels *kernels;
    bool wide;           /* computes in f64 */
    leat_dtype from, to; /* of input and output */
    int64_t outer, inner;
    int64_t h, w, out_h, out_w;
    lt_resize_table down, across;
    double outside; /* the extrapolation value */
} lt_resize_pass;

/* Bytes of workspace that one task of a pass needs. */
size_t lt_resize_pass_bytes(const lt_resize_pass *pass);
void lt_resize_pass_run(const lt_resize_pass *pass, const leat_kernel_args *args, void *workspace,
                        uint32_t tasks, const void *in, void *out);

/* Converts elements; integers are rounded to nearest even and saturated. */
void lt_resize_load(leat_dtype dtype, const void *in, int64_t at, int64_t n, bool wide, void *out);
void lt_resize_store(leat_dtype dtype, void *out, int64_t at, int64_t n, bool wide, const void *in);

#endif

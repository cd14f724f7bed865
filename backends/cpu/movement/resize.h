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

/* ---- a node --------------------------------------------------------------------------------- */

enum {
    RESIZE_ROI,
    RESIZE_SCALES,
    RESIZE_SIZES,
    RESIZE_LISTS
};

typedef struct lt_resize_tables {
    lt_resize_table table[LEAT_MAX_RANK]; /* of each axis of the data in memory */
} lt_resize_tables;

typedef struct lt_resize_state {
    lt_move_label label;
    const lt_resize_kernels *kernels;
    lt_resize_rule rule;
    leat_dtype dtype;
    bool wide;
    int32_t rank;
    int64_t in_shape[LEAT_MAX_RANK], out_shape[LEAT_MAX_RANK]; /* as in memory */
    int32_t n_axes;
    int32_t axes[LEAT_MAX_RANK]; /* in memory, in the order of the lists */
    int32_t policy;              /* 0 stretch, 1 not_larger, 2 not_smaller */
    double outside;
    union {
        uint8_t bytes[16];
        uint64_t align[2];
    } fill; /* the extrapolation value in dtype */
    /* Inputs: which they are, or -1; what is known of them. */
    int32_t input[RESIZE_LISTS];
    leat_dtype list_dtype[RESIZE_LISTS];
    bool planned;
    lt_resize_tables tables;
    size_t table_bytes; /* room for tables */
    int64_t most_taps[LEAT_MAX_RANK];
    size_t buffer_bytes;
    uint32_t tasks;
} lt_resize_state;

typedef struct lt_resize_lists {
    bool has[RESIZE_LISTS];
    double values[RESIZE_LISTS][2 * LEAT_MAX_RANK];
} lt_resize_lists;

/* Reads and checks one of the lists. */
leat_status lt_resize_read_list(const lt_resize_state *s, int which, const void *data,
                                lt_resize_lists *lists, leat_error *err);
/* Scales and sizes of all axes in memory.
 * Errors:   INVALID when they do not lead to the planned shape. */
leat_status lt_resize_make_axes(const lt_resize_state *s, const lt_resize_lists *lists,
                                lt_resize_axis *axes, leat_error *err);
/* Room that the table of an axis takes; SIZE_MAX / 64 or more when that is beyond reason. */
size_t lt_resize_axis_table_bytes(const lt_resize_state *s, const lt_resize_axis *axis);
leat_status lt_resize_make_tables(const lt_resize_state *s, const lt_resize_axis *axes,
                                  uint8_t *room, lt_resize_tables *out_tables, leat_error *err);
/* Runs the passes, or with args NULL only measures: bytes of a buffer and of a task's space. */
void lt_resize_run_passes(const lt_resize_state *s, const lt_resize_tables *tables,
                          uint8_t *buffers, const leat_kernel_args *args, size_t *out_buffer,
                          size_t *out_task);
leat_status lt_resize_launch(const void *opaque, const leat_kernel_args *args, leat_error *err);

#endif

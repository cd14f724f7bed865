/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling: every output element is the maximum, mean or p-norm of a window of the input.
 *
 * Windows have three axes; operators of one or two spatial dimensions have leading ones. Positions
 * outside of the input are left out. NaN is ignored by maxima (a window of NaN gives -infinity).
 */
#ifndef LT_CPU_POOL_POOL_H
#define LT_CPU_POOL_POOL_H

#include "cpu.h"

typedef enum lt_pool_op {
    LT_POOL_MAX,
    LT_POOL_AVERAGE,
    LT_POOL_LP
} lt_pool_op;

typedef struct lt_pool_geometry {
    lt_pool_op op;
    leat_dtype dtype;
    bool channels_last;
    bool include_pad;  /* AveragePool: positions in the padding count */
    bool column_major; /* MaxPool: order of Indices */
    int32_t spatial;   /* dimensions of the operator, 1 to 3 */
    int64_t p;         /* LpPool */
    int64_t batch, channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
} lt_pool_geometry;

/* Positions of one window along one axis that lie inside the input. */
typedef struct lt_pool_taps {
    int64_t first; /* input index */
    int64_t count;
    int64_t counted; /* for the mean's divisor */
} lt_pool_taps;

static inline lt_pool_taps lt_pool_axis(const lt_pool_geometry *g, int axis, int64_t at)
{
    int64_t dilation = g->dilation[axis];
    int64_t start = at * g->stride[axis] - g->before[axis];
    int64_t skip = start < 0 ? (-start + dilation - 1) / dilation : 0;
    int64_t room = g->in[axis] - start; /* positions up to the end of the input */
    int64_t end = room <= 0 ? 0 : (room + dilation - 1) / dilation;
    int64_t padded = room + g->after[axis];
    int64_t padded_end = padded <= 0 ? 0 : (padded + dilation - 1) / dilation;
    end = end < g->kernel[axis] ? end : g->kernel[axis];
    padded_end = padded_end < g->kernel[axis] ? padded_end : g->kernel[axis];
    lt_pool_taps taps = {start + skip * dilation, end > skip ? end - skip : 0, 0};
    taps.counted = g->include_pad ? padded_end : taps.count;
    return taps;
}

/* Reads attributes and shapes.
 * Errors:   INVALID for attributes that do not fit; UNSUPPORTED for more than 3 dimensions. */
leat_status lt_pool_read(const leat_kernel_node *node, lt_pool_op op, lt_pool_geometry *out,
                         leat_error *err);

/* One window over channels that lie side by side:
 *     out[c] = op over taps of in[d * step[0] + h * step[1] + w * step[2] + c] */
typedef struct lt_pool_window {
    const void *in; /* first tap inside the input */
    void *out;
    int64_t channels;
    int64_t count[3];
    int64_t step[3]; /* elements */
    float divisor;
} lt_pool_window;
typedef void (*lt_pool_window_fn)(const lt_pool_window *window);

/* Output rows of planes that lie apart (N, C, spatial): rows [begin, end) of batch * channels *
 * out[0] * out[1]. */
typedef void (*lt_pool_rows_fn)(const lt_pool_geometry *g, const void *in, void *out, int64_t begin,
                                int64_t end);

typedef struct lt_pool_kernels {
    const char *name;
    lt_pool_window_fn window;
    lt_pool_rows_fn rows;
} lt_pool_kernels;

/* Kernels of MAX and AVERAGE; NULL functions for a type that has none. */
lt_pool_kernels lt_pool_kernels_portable(lt_pool_op op, leat_dtype dtype);
lt_pool_kernels lt_pool_kernels_avx2(lt_pool_op op, leat_dtype dtype);
lt_pool_kernels lt_pool_kernels_avx512(lt_pool_op op, leat_dtype dtype);

/* Any operator in either layout, with Indices: one element at a time. `indices` may be NULL.
 * Elements [begin, end) of the output. */
void lt_pool_plain(const lt_pool_geometry *g, const void *in, void *out, int64_t *indices,
                   int64_t begin, int64_t end);

#endif

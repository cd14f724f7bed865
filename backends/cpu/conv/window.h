/* SPDX-License-Identifier: Apache-2.0 */
/* How a convolution over channels-last data reads its input when it is computed as a matrix product
 * whose rows are found by pointers: one a filter position and output pixel (Dukhan, The Indirect
 * Convolution Algorithm, arXiv:1907.02129), made for one block of tiles at a time, so nothing is
 * unfolded. Three cases:
 *   matrix   1x1, stride 1, no padding: the data itself
 *   indirect otherwise; pixels outside of the data point at a constant row
 *   padded   few input channels: the data is copied once with its padding, after which the pixels
 *            of a filter's row lie side by side and one pointer serves kernel_w * channels
 * elements; without padding, and where the product allows it, they do in the data itself
 */
#ifndef LT_CPU_CONV_WINDOW_H
#define LT_CPU_CONV_WINDOW_H

#include "conv/geometry.h"
#include "gemm/gemm.h"

typedef struct lt_conv_window {
    lt_conv_geometry from; /* the data */
    lt_conv_geometry g;    /* what the product reads: after the copy when padded */
    size_t element;        /* bytes of what the product reads */
    bool matrix, padded;
    size_t m, n, k, taps;   /* of one group's product */
    const int64_t *offsets; /* [taps] bytes from the first pixel of a window */
    size_t copy_bytes;      /* of the padded data, with 64 readable bytes behind; 0 without copy */
    /* Set by the owner where the copy is of another type than the data; NULL otherwise. */
    lt_gemm_copy_fn convert;
    const void *convert_argument;
    size_t from_element; /* bytes of the data's elements, with convert */
} lt_conv_window;

/* Whether the data itself is the product's matrix. */
bool lt_conv_window_is_matrix(const lt_conv_geometry *g);

/* `exact`: the product reads the data's own type, and of a row no more than its elements.
 * Errors:   NO_MEMORY. */
leat_status lt_conv_window_plan(const lt_conv_geometry *g, size_t element, bool exact,
                                const leat_host *host, leat_plan *plan, lt_conv_window *out,
                                leat_error *err);

/* One group of one launch: argument of lt_conv_window_rows. */
typedef struct lt_conv_rows {
    const lt_conv_window *window;
    const char *data;    /* at the group's first channel */
    const void *outside; /* k elements that stand for a pixel outside of the data */
} lt_conv_rows;

/* lt_gemm_rows_fn; not for the case matrix. */
void lt_conv_window_rows(const void *argument, size_t first, size_t count, const void **rows);

/* Copies the data with its padding of `fill` bytes to copy_bytes of workspace, on the pool. */
void lt_conv_window_pad(const lt_conv_window *window, const void *from, void *to, int fill,
                        const leat_kernel_args *args);

/* Memory that packing weights of `element` bytes needs for a moment: 0 unless padded. */
size_t lt_conv_window_scratch(const lt_conv_window *window, size_t element);

/* Packs the weights [out, in, taps] of all groups, `group_bytes` apart. */
void lt_conv_window_pack(const lt_conv_window *window, const lt_gemm_kernels *kernels,
                         const void *weights, leat_dtype dtype, size_t group_bytes, void *scratch,
                         void *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of resize.hpp. */
#ifndef LT_GPU_PARAMS_RESIZE_H
#define LT_GPU_PARAMS_RESIZE_H

#include "common.h"

#define LT_GPU_RESIZE_AXES 4

/* A dimension whose elements come from `taps` ones of x each: of element j those that entries
 * j * taps and on say, from `index` (of x, in elements of the dimension) and `weight` (f32) words
 * of the table on. */
typedef struct lt_gpu_resize_axis {
    int32_t dimension; /* of y */
    int32_t taps;
    int32_t index;
    int32_t weight;
    int64_t x_stride;
} lt_gpu_resize_axis;

/* lt_gpu_resize_{f32,f16,bf16}: y = sum over the taps of all axes of the product of their weights
 * times x. lt_gpu_resize_{1,2,4,8}: elements of so many bytes are copied from the first taps.
 * y is dense in the order of `index`; x_stride of its dimensions is 0 for those of axes. Dimensions
 * of y are below 2^31 / taps. Pointwise grid over count: 16 bytes a thread where the last dimension
 * is no axis and is dense and aligned in both. */
typedef struct lt_gpu_resize {
    const void *x;
    const void *table;
    void *y;
    int64_t count;
    lt_gpu_index index;
    int64_t x_stride[LT_GPU_MAX_RANK];
    int32_t n_axes;
    int32_t packed; /* the last dimension is such a one */
    lt_gpu_resize_axis axis[LT_GPU_RESIZE_AXES];
} lt_gpu_resize;

#endif

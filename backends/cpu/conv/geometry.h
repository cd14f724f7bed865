/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of a convolution at fixed shapes. */
#ifndef LT_CPU_CONV_GEOMETRY_H
#define LT_CPU_CONV_GEOMETRY_H

#include "cpu.h"
#include "sizes.h"

/* Spatial sizes are always three, the leading ones 1 where the convolution has fewer. */
typedef struct lt_conv_geometry {
    bool channels_last;
    int64_t batch;
    int64_t groups;
    int64_t in_channels;  /* of all groups */
    int64_t out_channels; /* of all groups */
    int64_t in[3], out[3], kernel[3];
    int64_t stride[3], dilation[3], pad[3]; /* pad: before the first element */
    int64_t taps;                           /* product of kernel */
} lt_conv_geometry;

/* Reads Conv (transposed false: weights are out, in / groups, kernel...) or ConvTranspose (weights
 * are in, out / groups, kernel...), with or without channels_last.
 * Errors:   UNSUPPORTED for more than 3 spatial dimensions; INVALID for attributes that do not fit
 *           the shapes. */
leat_status lt_conv_geometry_read(const leat_kernel_node *node, bool transposed,
                                  lt_conv_geometry *out, leat_error *err);

/* The same for data, weights and output that are not the node's own. */
leat_status lt_conv_geometry_of(const leat_node *node, const leat_value *x, const leat_value *w,
                                const leat_value *y, lt_conv_geometry *out, leat_error *err);

/* Distance in elements between neighbours of a data tensor. */
typedef struct lt_conv_strides {
    int64_t batch, channel, spatial[3];
} lt_conv_strides;

lt_conv_strides lt_conv_data_strides(const lt_conv_geometry *g, int64_t channels,
                                     const int64_t spatial[3]);

/* supports() of both operators: rank, activation. */
leat_status lt_cpu_conv_supports(const leat_kernel_node *node, leat_error *err);

/* The residual of a leat node (its last input), or LEAT_NO_VALUE. */
uint32_t lt_conv_residual_input(const leat_kernel_node *node);

#endif

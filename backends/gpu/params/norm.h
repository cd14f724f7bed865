/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of normalizations (norm.hpp). */
#ifndef LT_GPU_PARAMS_NORM_H
#define LT_GPU_PARAMS_NORM_H

#include "common.h"

/* Over rows of n dense elements: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, or y = x
 * / sqrt(mean of squares + epsilon) * scale with `rms`. scale and bias have n elements, each may be
 * NULL; all of T. y may be x.
 * lt_gpu_layer_norm_warp_{f32,f16,bf16}: a warp for a row: (rows + 3) / 4 blocks or fewer.
 *   lt_gpu_layer_norm_block_T: a block for a row (rows blocks or fewer): for few or long rows. */
typedef struct lt_gpu_layer_norm {
    const void *x;
    const void *scale;
    const void *bias;
    void *y;
    float *mean;    /* [rows], may be NULL */
    float *inverse; /* [rows], 1 / sqrt(...), may be NULL */
    int32_t rows;
    int32_t n;
    float epsilon;
    int32_t rms;
} lt_gpu_layer_norm;

/* lt_gpu_batch_norm_{f32,f16,bf16}: y = activation((x - mean[c]) / sqrt(variance[c] + epsilon) *
 *   scale[c] + bias[c]), c = element / inner % channels; channel data f32. Pointwise grid over
 *   count. */
typedef struct lt_gpu_batch_norm {
    const void *x;
    void *y;
    const float *scale;
    const float *bias;
    const float *mean;
    const float *variance;
    int64_t count;
    lt_gpu_divisor inner;
    lt_gpu_divisor channels;
    float epsilon;
    lt_gpu_activation activation;
} lt_gpu_batch_norm;

/* lt_gpu_group_norm_{f32,f16,bf16}: InstanceNormalization (groups = channels) and
 *   GroupNormalization: each group of channels of an image gets mean 0 and variance 1, then y = . *
 *   scale[c] + bias[c], f32 channel data. Element (image, c, pixel) lies at image * channels *
 *   pixels + c * channel_stride + pixel * pixel_stride. A block for a group (grid: at most images *
 *   groups). y may be x. */
typedef struct lt_gpu_group_norm {
    const void *x;
    void *y;
    const float *scale;
    const float *bias;
    int32_t images;
    int32_t channels;
    int32_t groups;
    int32_t pixels;
    int64_t channel_stride;
    int64_t pixel_stride;
    float epsilon;
} lt_gpu_group_norm;

#endif

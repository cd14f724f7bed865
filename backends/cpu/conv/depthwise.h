/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of channels-last f32: a line of output at a time. */
#ifndef LT_CPU_CONV_DEPTHWISE_H
#define LT_CPU_CONV_DEPTHWISE_H

#include "cpu.h"

/* Shapes:   rows[ky] points at input pixel x = 0 of the line for filter row ky, all inside of the
 *           data; weights are [kernel_h of the whole filter][kernel_w][channels], from the first
 * row used; out is [out_w][channels]. Strides between pixels are `channels` elements. */
typedef struct lt_depthwise_line {
    const float *const *rows;
    const float *weights;
    const float *bias;     /* [channels] or NULL */
    const float *residual; /* as out, or NULL */
    float *out;
    int64_t channels;
    int64_t kernel_h; /* rows used */
    int64_t kernel_w;
    int64_t in_w, out_w;
    int64_t stride, dilation, pad; /* of x */
    float low, high;
} lt_depthwise_line;

typedef void (*lt_depthwise_fn)(const lt_depthwise_line *line);

void lt_cpu_depthwise_f32_portable(const lt_depthwise_line *line);
void lt_cpu_depthwise_f32_avx2(const lt_depthwise_line *line);
void lt_cpu_depthwise_f32_avx512(const lt_depthwise_line *line);

/* The best of the three, and its name. */
lt_depthwise_fn lt_depthwise_for(const lt_cpu_device *device, const char **out_name);

/* Higher filters are computed otherwise. */
#define LT_DEPTHWISE_MAX_KERNEL_H 64

#endif

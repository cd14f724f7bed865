/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of channels-last f32 or bf16: the kernel computes a few neighbouring pixels
 * of one output line, the band goes through lines with it. */
#ifndef LT_CPU_CONV_DEPTHWISE_H
#define LT_CPU_CONV_DEPTHWISE_H

#include "conv/geometry.h"
#include "elementwise/activation.h"

/* Most output pixels of one call of the kernel. */
#define LT_DEPTHWISE_MOST_PIXELS 7

/* Channels that blocks are multiples of: of the widest f32 vector. */
#define LT_DEPTHWISE_LANES 16

/* Least channels that are computed several pixels at a time: of the second widest. */
#define LT_DEPTHWISE_LEAST 8

/* One call of the kernel: `n_pixels` output pixels (1, 4 or 7) side by side, `count` of their
 * channels. Shapes:   pixels[ky * row_step + p * stride + kx] points at the first of these channels
 * of the input pixel that output pixel p sees under position (ky, kx) of the filter; weights are
 *           [kernel_h][kernel_w][channels], out is [n_pixels][channels], from the first one on.
 *           count is at least a vector's lanes where `channels` is.
 * Types:    pixels, residual and out are of the kernel's type, weights and bias f32. With bf16
 *           `channels` is even, all channels begin at an even one, and of a position's weights (and
 *           of the bias) all even channels' lie in front of all odd ones'. */
typedef struct lt_depthwise_strip {
    const void *const *pixels;
    int64_t row_step;
    const void *const *ahead; /* pixels that are asked for meanwhile */
    int64_t n_ahead;
    const void *next_out; /* as out, of the next call, which is asked for too */
    const float *weights;
    const float *bias;    /* [count] or NULL */
    const void *residual; /* as out, or NULL */
    void *out;
    int64_t channels, count;
    int64_t n_pixels, kernel_h, kernel_w;
    int64_t stride; /* in pixels; 1 when n_pixels is 1 */
    float low, high;
    bool hard_swish; /* then alpha * HardSwish(y) + beta of the clamped y */
    float alpha, beta;
} lt_depthwise_strip;

typedef void (*lt_depthwise_fn)(const lt_depthwise_strip *strip);

void lt_cpu_depthwise_f32_portable(const lt_depthwise_strip *strip);
void lt_cpu_depthwise_f32_avx2(const lt_depthwise_strip *strip);
void lt_cpu_depthwise_f32_avx512(const lt_depthwise_strip *strip);
void lt_cpu_depthwise_bf16_avx512bf16(const lt_depthwise_strip *strip); /* 32 channels or more */

/* The best of the first three for so many channels, and its name. */
lt_depthwise_fn lt_depthwise_for(const lt_cpu_device *device, int64_t channels,
                                 const char **out_name);

/* Whether there is a kernel for data stored in bf16 with this activation behind it. */
bool lt_depthwise_takes_bf16(const lt_conv_geometry *g, const lt_cpu_activation *activation,
                             const lt_cpu_device *device);

/* How the lines of a convolution are computed: made once at prepare. */
typedef struct lt_depthwise_plan {
    lt_conv_geometry g;
    leat_dtype dtype; /* of data: F32, or BF16 where there is a kernel for it */
    int64_t element;  /* bytes */
    int64_t lanes;    /* channels of a vector: what blocks are multiples of */
    lt_depthwise_fn kernel;
    lt_cpu_activate_tile_fn activate; /* NULL: the kernel does it */
    lt_cpu_activation activation;
    float low, high;
    bool hard_swish;    /* of the kernel, with activation.alpha and .beta */
    int64_t n_pixels;   /* of a strip */
    int64_t columns;    /* input pixels that a strip sees on one line */
    int64_t n_blocks;   /* of channels */
    int64_t ahead;      /* lines between a line and what is asked for */
    int64_t most_lines; /* of output in one band */
    size_t table_count; /* pointers in a band's table */
    const void *zeros;  /* [channels]: a pixel outside of the data */
    const float *weights, *bias;
} lt_depthwise_plan;

/* Fills all but weights and bias. Reads dtype of `out`.
 * Errors:   NO_MEMORY. */
leat_status lt_depthwise_plan_make(const lt_conv_geometry *g, const lt_cpu_activation *activation,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, lt_depthwise_plan *out, const char **out_name,
                                   leat_error *err);

/* Packs weights and bias, the node's constant inputs of these numbers in f32, f16 or bf16, as f32,
 * for lines->dtype in the kernel's order;
 * bias_input may be LEAT_NO_VALUE. Errors:   NO_MEMORY. */
leat_status lt_depthwise_pack(const leat_kernel_node *node, uint32_t weights_input,
                              uint32_t bias_input, const leat_host *host, leat_plan *plan,
                              lt_depthwise_plan *lines, leat_error *err);

/* Output lines [y0, y1) of one image, at most most_lines of them, and block `block` of the
 * channels. Line r of the image lies at x + (r - first) % ring * line. */
typedef struct lt_depthwise_band {
    const void *x;
    int64_t ring;  /* INT64_MAX: all lines are there, ... */
    int64_t first; /* ... from this one on */
    const void *residual;
    void *out; /* this and residual: at line y0 */
    int64_t y0, y1, block;
    const void **table; /* table_count pointers to work with */
} lt_depthwise_band;

void lt_depthwise_band_run(const lt_depthwise_plan *plan, const lt_depthwise_band *band);

/* The same for channels [c0, c1) in place of a block's, x having these alone: its pixels are
 * c1 - c0 elements apart. At least 16 of them where there are so many. */
void lt_depthwise_part_run(const lt_depthwise_plan *plan, const lt_depthwise_band *band, int64_t c0,
                           int64_t c1);

/* Most channels whose weights and window stay in the first cache together, a multiple of 16. */
int64_t lt_depthwise_block_channels(const lt_conv_geometry *g);

/* Input lines between the first and the last of a window. */
static inline int64_t lt_depthwise_reach(const lt_conv_geometry *g)
{
    return (g->kernel[1] - 1) * g->dilation[1] + 1;
}

/* Higher filters are computed otherwise. */
#define LT_DEPTHWISE_MAX_KERNEL_H 64

#endif

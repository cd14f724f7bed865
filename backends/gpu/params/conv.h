/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of convolutions without tensor cores (conv.hpp) and of pooling (pool.hpp); two spatial
 * dimensions, one as height 1. */
#ifndef LT_GPU_PARAMS_CONV_H
#define LT_GPU_PARAMS_CONV_H

#include "common.h"

/* Sizes of windows over an image. */
typedef struct lt_gpu_window {
    int32_t height; /* of x */
    int32_t width;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t pad_top;
    int32_t pad_left;
    lt_gpu_divisor out_h;
    lt_gpu_divisor out_w;
    /* Of conv alone: x's rows and columns lie so far apart, with zeros between them, as a
     * transposed convolution has it. Both 0: as they are; else neither is. */
    int32_t spread_h;
    int32_t spread_w;
} lt_gpu_window;

/* y[n][oh][ow][o] = activation(sum over kh, kw, i of x[n][ih][iw][i] * w[o][kh][kw][i] + bias[o] +
 * residual[n][oh][ow][o]); x, y, residual NHWC; w of [out_channels][kernel_h][kernel_w] [channels /
 * groups]; bias and residual may be NULL. wide_*: f32, not T.
 *
 * lt_gpu_conv_{f32,f16,bf16}: implicit GEMM with tiles of 64 pixels x 64 channels. Items:
 *   lt_gpu_conv_items; a block takes one at a time (grid: at most that many blocks).
 *   lt_gpu_depthwise_T: groups = channels = out_channels, w of [kernel_h][kernel_w][channels].
 *   Pointwise grid over images * out_h * out_w * channels, 16 / bytes of T a thread. */
typedef struct lt_gpu_conv {
    const void *x;
    const void *w;
    const void *bias;
    const void *residual;
    void *y;
    int32_t images;
    int32_t channels;
    int32_t out_channels;
    int32_t groups;
    lt_gpu_window window;
    lt_gpu_divisor group_channels; /* channels / groups */
    lt_gpu_divisor kernel_w;
    lt_gpu_activation activation;
    int32_t wide_bias;
    int32_t wide_residual;
    int32_t wide_y;
} lt_gpu_conv;

#define LT_GPU_CONV_TILE 64

static inline int64_t lt_gpu_conv_items(const lt_gpu_conv *p)
{
    int64_t tile = LT_GPU_CONV_TILE;
    int64_t pixels = (int64_t)p->images * p->window.out_h.value * p->window.out_w.value;
    return (pixels + tile - 1) / tile * p->groups *
           ((p->out_channels / p->groups + tile - 1) / tile);
}

/* lt_gpu_pool_{f32,f16,bf16}: y over windows of x. y is dense in the order of `index`: rank 4, the
 *   dimensions named by n, c, h, w (0 to 3): NHWC and NCHW. x_stride is in n, c, h, w order. Max:
 *   padding is ignored, NaN wins. Average: divided by the window's elements that lie within x, or
 *   with count_pad by those within x and its padding of pad_top, pad_left, pad_bottom, pad_right.
 *   Pointwise grid over count, one element a thread; 16 bytes where x and y are aligned NHWC. */
typedef struct lt_gpu_pool {
    const void *x;
    void *y;
    int64_t count;
    lt_gpu_index index;
    int32_t n;
    int32_t c;
    int32_t h;
    int32_t w;
    int64_t x_stride[4];
    lt_gpu_window window;
    int32_t pad_bottom;
    int32_t pad_right;
    int32_t average;
    int32_t count_pad;
} lt_gpu_pool;

#define LT_GPU_GLOBAL_POOL_CHANNELS 64

/* lt_gpu_global_pool_{f32,f16,bf16}: y[n][c] over all pixels of x[n][pixel][c], NHWC: the largest,
 *   NaN wins, or with `average` the mean. Items: images * ceil(channels /
 *   LT_GPU_GLOBAL_POOL_CHANNELS); a block takes one at a time (grid: at most that many blocks). */
typedef struct lt_gpu_global_pool {
    const void *x;
    void *y;
    int32_t images;
    int32_t pixels;
    int32_t channels;
    int32_t average;
} lt_gpu_global_pool;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of quantization and of products of bytes (quantize.hpp, qconv.hpp). */
#ifndef LT_GPU_PARAMS_QUANTIZE_H
#define LT_GPU_PARAMS_QUANTIZE_H

#include "conv.h"
#include "layout.h"
#include "pointwise.h"

/* lt_gpu_quantize_{f32,f16,bf16}: y[i] = saturate(round(x[i] / scale[c]) + zero[c]), halves to
 *   even; lt_gpu_dequantize_T: y[i] = (x[i] - zero[c]) * scale[c]; c = i / inner % channels. The
 *   bytes are u8, or i8 with is_signed. zero NULL: 0. Pointwise grid, one element a thread, or of
 *   one channel 16 bytes of T. */
typedef struct lt_gpu_quantize {
    const void *x;
    void *y;
    const float *scale;
    const void *zero;
    int64_t count;
    lt_gpu_divisor inner;
    lt_gpu_divisor channels;
    int32_t is_signed;
} lt_gpu_quantize;

/* lt_gpu_range_{f32,f16,bf16}: the smallest and the largest number of every block's share of x,
 * parts of [blocks][2]. Pointwise grid, 16 bytes a thread. */
typedef struct lt_gpu_range {
    const void *x;
    float *parts;
    int64_t count;
} lt_gpu_range;

/* lt_gpu_dynamic_quantize_{f32,f16,bf16}: DynamicQuantizeLinear from the parts of lt_gpu_range_T,
 * which every block reads. Pointwise grid, 16 bytes a thread. */
typedef struct lt_gpu_dynamic_quantize {
    const void *x;
    uint8_t *y;
    const float *parts;
    float *scale;
    uint8_t *zero;
    int64_t count;
    int32_t n_parts;
} lt_gpu_dynamic_quantize;

/* lt_gpu_smooth_range_T and lt_gpu_smooth_bytes_T: range and bytes of x[row][c] * factors[c];
 * y[row] has the columns and behind them columns again[0], again[1], ... once more. Both take these
 * parameters; the first writes `parts`, for each of its blocks. Pointwise grids over count, 16
 * bytes of x a thread where columns and n_again are multiples of so many elements. */
typedef struct lt_gpu_smooth_quantize {
    const void *x;
    uint8_t *y;
    const float *factors;
    const int64_t *again; /* each in [0, columns) */
    float *parts;
    float *scale;
    uint8_t *zero;
    int64_t count; /* of x */
    lt_gpu_divisor columns;
    lt_gpu_divisor again_count; /* n_again, or 1 */
    uint32_t n_again;
    int32_t n_parts;
} lt_gpu_smooth_quantize;

/* lt_gpu_quantize_rows_{f32,f16,bf16}: lt_gpu_interleave_1 of what lt_gpu_quantize_T would make of
 * image.x: an image of few channels is quantized and laid out for a convolution in one pass.
 * Outside of x lies the zero point (image.fill is not read). Pointwise grid over image.count, 16 a
 * thread. */
typedef struct lt_gpu_quantize_rows {
    lt_gpu_interleave image; /* strides in elements of T */
    const float *scale;
    const void *zero; /* NULL: 0 */
    int32_t is_signed;
} lt_gpu_quantize_rows;

/* lt_gpu_mean_of_bytes: y[n][c] = the mean over pixels of (x[n][pixel][c] - x_zero) * x_scale,
 * NHWC, by integer sums, quantized by y or, where y_scale is NULL, f32. Items: images *
 * ceil(channels / LT_GPU_GLOBAL_POOL_CHANNELS); a block takes one at a time (grid: at most that
 * many blocks). */
typedef struct lt_gpu_byte_mean {
    const void *x;
    void *y;
    const float *x_scale;
    const float *y_scale;
    const void *x_zero; /* NULL: 0 */
    const void *y_zero; /* NULL: 0 */
    int32_t images;
    int32_t pixels; /* at most LT_GPU_MEAN_PIXELS */
    int32_t channels;
    int32_t x_signed;
    int32_t y_signed;
} lt_gpu_byte_mean;

#define LT_GPU_MEAN_PIXELS (1 << 22) /* sums and zero points stay within 31 bits */

static inline int64_t lt_gpu_byte_mean_items(const lt_gpu_byte_mean *p)
{
    return (int64_t)p->images *
           ((p->channels + LT_GPU_GLOBAL_POOL_CHANNELS - 1) / LT_GPU_GLOBAL_POOL_CHANNELS);
}

/* How one number is quantized; scale NULL: not at all. */
typedef struct lt_gpu_scale {
    const float *scale;
    const void *zero;  /* NULL: 0 */
    int32_t is_signed; /* i8, otherwise u8; zero point, too */
} lt_gpu_scale;

/* QConv and QMatMul of backend.h on the device, epilogue as told there: x NHWC of bytes, y NHWC. A
 * matrix product of m x k by k x n is a convolution of one image of height 1, width m, channels k
 * with a kernel of 1 x 1.
 *
 * w: i8 (u8 weights: flip the top bit, subtract 128 from the zero points), [out_channels][kernel_h]
 * [kernel_w][words * 4], words = (channels / groups + 3) / 4, each tap padded by zeros; w_sum[o] is
 * the sum of an output channel's weights. w_zero, where given, is i8. x_scale NULL: y is the i32
 * sum and nothing else of the epilogue is done.
 *
 * batch > 1 (groups 1): as many products; x of one lies x_batch bytes behind that of the one
 * before, w, w_sum, w_zero and y follow each other.
 *
 * lt_gpu_qconv_{u8,i8}_{plain,zero}: by the type of x; "zero" where w_zero is given. Items:
 *   lt_gpu_qconv_items; a block takes one at a time (grid: at most that many).
 * lt_gpu_qdepthwise_{u8,i8}: groups = channels = out_channels, w of [kernel_h][kernel_w][channels].
 *   Pointwise grid over images * out_h * out_w * channels, one a thread. */
typedef struct lt_gpu_qconv {
    const void *x;
    const int8_t *w;
    const int32_t *w_sum;
    const float *x_scale;
    const void *x_zero; /* NULL: 0 */
    const float *w_scale;
    const int8_t *w_zero; /* NULL: 0 */
    const void *bias;     /* NULL: none; f32, or i32 in units of x_scale * w_scale */
    const void *residual; /* NULL: none */
    void *y;
    int32_t w_scale_step; /* 0: one number, 1: one for a channel */
    int32_t w_zero_step;
    int32_t bias_i32;
    int32_t residual_dtype; /* lt_gpu_dtype; bytes with r */
    int32_t y_dtype;        /* of what is stored: U8, I8, F32, F16, BF16 or I32 */
    int32_t batch;
    int64_t x_batch;
    int32_t images;
    int32_t channels;
    int32_t out_channels;
    int32_t groups;
    int32_t group_channels; /* channels / groups */
    lt_gpu_window window;
    lt_gpu_divisor words;
    lt_gpu_divisor kernel_w;
    lt_gpu_scale y_scale;
    lt_gpu_scale r_scale;
    lt_gpu_scale z_scale;
    lt_gpu_activation activation;
} lt_gpu_qconv;

static inline int64_t lt_gpu_qconv_items(const lt_gpu_qconv *p)
{
    int64_t tile = LT_GPU_CONV_TILE;
    int64_t pixels = (int64_t)p->images * p->window.out_h.value * p->window.out_w.value;
    return (pixels + tile - 1) / tile * p->groups *
           ((p->out_channels / p->groups + tile - 1) / tile) * (p->batch > 1 ? p->batch : 1);
}

/* lt_gpu_qpack_i8: weights into the form above, with their sums and zero points, one of each for an
 * output channel. Element (o, i, tap) lies at o / n * batch_stride + o % n * o_stride + i *
 * i_stride + tap * tap_stride. A thread for each of `outputs` channels. */
typedef struct lt_gpu_qpack {
    const void *w;
    const void *w_zero; /* NULL: 0; of the type of w */
    int8_t *packed;
    int32_t *sums;
    int8_t *zeros;
    int64_t batch_stride;
    int64_t o_stride;
    int64_t i_stride;
    int64_t tap_stride;
    int32_t outputs;
    int32_t n;
    int32_t inputs; /* of a group */
    int32_t taps;
    int32_t is_signed;
    int32_t zero_step; /* 0: one zero point */
    int32_t depthwise;
} lt_gpu_qpack;

/* lt_gpu_byte_columns_u8: the matrix whose product with weights of [out_channels][row] is a
 * convolution of one group: out of [images * out_h * out_w][row] bytes, k = (kh, kw, channel), zero
 * points where the window is outside, 0 behind the last k. row: a multiple of 16. Pointwise grid
 * over pixels * row, 16 a thread. */
typedef struct lt_gpu_byte_columns {
    const uint8_t *x; /* NHWC */
    uint8_t *out;
    int64_t pixels;
    int32_t row;
    int32_t end; /* kernel_h * kernel_w * channels */
    uint32_t zero;
    lt_gpu_divisor channels;
    lt_gpu_divisor kernel_w;
    lt_gpu_divisor row_packs; /* row / 16 */
    lt_gpu_window window;
} lt_gpu_byte_columns;

#endif

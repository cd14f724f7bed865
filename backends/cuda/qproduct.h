/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bytes: what qproduct.c has read of a node, for the tensor cores' way (qtensor.c). */
#ifndef LEAT_CUDA_QPRODUCT_H
#define LEAT_CUDA_QPRODUCT_H

#include "gemm/gemm.h"
#include "window.h"

#include "../gpu/params/quantize.h"

/* Numbers of inputs, -1 where there is none. */
typedef struct lt_cuda_qinputs {
    int32_t x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias;
    int32_t r_scale, r_zero, z_scale, z_zero, residual;
} lt_cuda_qinputs;

typedef struct lt_cuda_qproduct {
    lt_cuda_qinputs in;
    bool conv, depthwise;
    bool last;              /* data is channels-last, or a matrix */
    bool floats;            /* x is to be quantized, and lies channels-first */
    leat_dtype x;           /* bytes, what it is quantized to, too */
    bool constant;          /* the weights and their zero points */
    int64_t m, n, k, batch; /* of a product; of a convolution n is out_channels, k of a group */
    lt_cuda_conv_shape shape;
    lt_gpu_qpack pack;
} lt_cuda_qproduct;

/* Input i of the node, NULL for -1. */
static inline const leat_value *lt_cuda_qinput(const leat_kernel_node *node, int32_t i)
{
    return i < 0 ? NULL : leat_kernel_input(node, (uint32_t)i);
}

/* A convolution of few channels over an image that is written anew (qnarrow.c). */
typedef struct lt_cuda_qnarrow {
    int32_t slots_log2;      /* of a channel's */
    int32_t rows, pixel;     /* side by side; bytes of as many pixels */
    int32_t taps, kw;        /* groups of rows under the filter; its columns as they are stored */
    int64_t groups, columns; /* of an image */
    int64_t row;             /* bytes of a filter */
    int64_t bytes;           /* of all images */
} lt_cuda_qnarrow;

/* False for a convolution that is not for this way. */
bool lt_cuda_qnarrow_read(const lt_cuda_conv_shape *shape, lt_cuda_qnarrow *out);
/* Where a weight lies in its filter's row. */
int64_t lt_cuda_qnarrow_place(const lt_cuda_qnarrow *narrow, int64_t kh, int64_t kw,
                              int64_t channel);
/* Sets the image, the filter, strides and pads. */
void lt_cuda_qnarrow_desc(const lt_cuda_qnarrow *narrow, const lt_cuda_conv_shape *shape,
                          lt_cuda_gemm_conv_desc *desc);
/* Adds the launch that writes the workspace; fill: x's zero point. Floats are quantized by it. */
leat_status lt_cuda_qnarrow_add(lt_cuda_builder *b, const lt_cuda_qnarrow *narrow,
                                const lt_cuda_qproduct *q, uint32_t fill);

/* Adds the launch that quantizes a node's input 0, floats, as it lies, into the workspace at `to`
 * (quantize.c). */
leat_status lt_cuda_add_quantize(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t to);

/* Makes the node's kernel one of the tensor cores. False, with nothing changed, where the device or
 * the node are not for them (qtensor.c). */
bool lt_cuda_qtensor(lt_cuda_builder *b, const lt_cuda_qproduct *q);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of convolutions, for all rows that have some (window.c). */
#ifndef LEAT_CUDA_WINDOW_H
#define LEAT_CUDA_WINDOW_H

#include "cuda.h"

#include "../gpu/params/conv.h"

typedef struct lt_cuda_conv_shape {
    int32_t images, channels, out_channels, groups;
    int32_t pad_bottom, pad_right; /* those ahead are the window's */
    lt_gpu_window window;
} lt_cuda_conv_shape;

/* Reads a node that convolves input 0, of rank 3 or 4 and known shape, with weights in ONNX's
 * layout. False for shapes or attributes that make no sense. */
bool lt_cuda_conv_shape_read(const leat_kernel_node *node, const leat_value *weights,
                             lt_cuda_conv_shape *out);

#endif

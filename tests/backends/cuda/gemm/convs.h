/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions for tests of plans and kernels: sizes as rows of a table. */
#ifndef TESTS_BACKENDS_CUDA_GEMM_CONVS_H
#define TESTS_BACKENDS_CUDA_GEMM_CONVS_H

#include "../../../../backends/cuda/gemm/gemm.h"

/* s: images, h, w, c, n; kh, kw; strides; dilations; pads above, left, below, right. */
static inline lt_cuda_gemm_conv_desc conv_of(leat_dtype dtype, const int32_t s[15])
{
    return (lt_cuda_gemm_conv_desc){.dtype = dtype,
                                    .out_dtype = dtype,
                                    .scale = 1,
                                    .images = s[0],
                                    .h = s[1],
                                    .w = s[2],
                                    .c = s[3],
                                    .n = s[4],
                                    .kh = s[5],
                                    .kw = s[6],
                                    .stride_h = s[7],
                                    .stride_w = s[8],
                                    .dilation_h = s[9],
                                    .dilation_w = s[10],
                                    .pad = {s[11], s[12], s[13], s[14]}};
}

/* The same both ways, not dilated. s: images, h, w, c, n; k, stride, pad. */
static inline lt_cuda_gemm_conv_desc conv_square(leat_dtype dtype, const int32_t s[8])
{
    const int32_t all[15] = {s[0], s[1], s[2], s[3], s[4], s[5], s[5], s[6],
                             s[6], 1,    1,    s[7], s[7], s[7], s[7]};
    return conv_of(dtype, all);
}

#endif

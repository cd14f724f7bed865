/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions of many pixels. The main loop is gemm.h's; residuals come and results go by the copy
 * engine, tiles ahead and behind: bound by memory where gemm.h's were by latency. */
#ifndef LEAT_CUDA_GEMM_STREAM_H
#define LEAT_CUDA_GEMM_STREAM_H

#include "gemm.h"
#include "stream_params.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kernels of one device. Plain data; borrows `gemm`. */
typedef struct lt_cuda_stream_kernels {
    const lt_cuda_gemm *gemm;
    void *functions[2 * LT_STREAM_N_TILES]; /* [F16, BF16][tile] */
} lt_cuda_stream_kernels;

/* What to launch. Plain data, to be kept by value. */
typedef struct lt_cuda_stream_plan {
    lt_cuda_stream_params params; /* first: it is aligned on 64 bytes */
    lt_cuda_gemm_plan launch;     /* its grid, and so on; its own params are not used */
    uint32_t kernel;              /* index into functions */
} lt_cuda_stream_plan;

const char *lt_cuda_stream_kernel_name(uint32_t i);

/* Looks the kernels up, in those of the modules that are not NULL, as lt_cuda_gemm_open got them.
 * Errors:   NO_DEVICE when the driver refuses. */
leat_status lt_cuda_stream_open(const lt_cuda_gemm *gemm, void *const modules[2],
                                lt_cuda_stream_kernels *out, leat_error *err);

/* Plans a convolution whose output and residual are of its type and whose n is a multiple of 8.
 * desc->tile: 0 chooses, else tile - 1 of LT_STREAM_TILES; splits are not looked at. `second`, or
 * NULL: a convolution of one tap, without pads, activation or residual, whose results are added
 * before desc's activation; as many images, pixels and filters, the same types and scale.
 * Errors:   as lt_cuda_gemm_plan_conv. */
leat_status lt_cuda_stream_plan_conv(const lt_cuda_stream_kernels *kernels,
                                     const lt_cuda_gemm_conv_desc *desc,
                                     const lt_cuda_gemm_conv_desc *second, lt_cuda_stream_plan *out,
                                     leat_error *err);

/* Which of two plans of one convolution is the faster one: lt_cuda_gemm_plan_conv's shares tiles
 * among blocks and so is for small ones. */
int lt_cuda_stream_is_faster(const lt_cuda_stream_kernels *kernels, const lt_cuda_gemm_plan *plan,
                             const lt_cuda_stream_plan *stream);

/* As lt_cuda_gemm_launch; d and residual on 16 bytes, else INVALID. second: a, b and bias of the
 * plan's second convolution, or NULL. */
leat_status lt_cuda_stream_launch(const lt_cuda_stream_kernels *kernels,
                                  const lt_cuda_stream_plan *plan,
                                  const lt_cuda_gemm_operands *operands,
                                  const lt_cuda_gemm_operands *second, void *stream,
                                  leat_error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Attention on wgmma and the copy engine, for many rows: twice as fast as backends/gpu's
 * (attention_mma.hpp), whose masks of several rows, large heads and small work it leaves to it. */
#ifndef LEAT_CUDA_GEMM_ATTEND_H
#define LEAT_CUDA_GEMM_ATTEND_H

#include "attend_params.h"
#include "gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kernels of one device. Plain data; borrows `gemm`. */
typedef struct lt_cuda_attend_kernels {
    const lt_cuda_gemm *gemm;
    void *functions[2]; /* F16, BF16 */
} lt_cuda_attend_kernels;

/* What to launch. Plain data, to be kept by value. */
typedef struct lt_cuda_attend_plan {
    lt_cuda_attend_params params; /* first: it is aligned on 64 bytes */
    lt_cuda_gemm_plan launch;     /* its grid, and so on; its own params are not used */
    uint32_t kernel;              /* index into functions */
} lt_cuda_attend_plan;

/* Device addresses; mask: NULL where there is none. */
typedef struct lt_cuda_attend_operands {
    const void *q, *k, *v, *mask;
    void *y;
} lt_cuda_attend_operands;

const char *lt_cuda_attend_kernel_name(uint32_t i);

/* Looks the kernels up, in those of the modules that are not NULL, as lt_cuda_gemm_open got them.
 * Errors:   NO_DEVICE when the driver refuses. */
leat_status lt_cuda_attend_open(const lt_cuda_gemm *gemm, void *const modules[2],
                                lt_cuda_attend_kernels *out, leat_error *err);

/* Plans attention of F16 or BF16 as params/attention.h tells; addresses in `p` are not looked at.
 * Errors:   UNSUPPORTED for heads of more than 64 elements, sizes and strides that are no multiples
 *           of 8, masks of more than one row a head, causal ones; INVALID for empty work. */
leat_status lt_cuda_attend_plan_make(const lt_cuda_attend_kernels *kernels,
                                     const lt_gpu_attention *p, leat_dtype dtype,
                                     lt_cuda_attend_plan *out, leat_error *err);

/* Whether there is work enough to be faster than kernels of smaller blocks. */
int lt_cuda_attend_is_faster(const lt_cuda_attend_kernels *kernels,
                             const lt_cuda_attend_plan *plan);

/* Enqueues a plan on a CUstream. Never blocks or allocates.
 * Threads:  any; the device's context must be current.
 * Errors:   INVALID for addresses of q, k, v or y that are not on 16 bytes; DEVICE_LOST when the
 *           driver refuses. */
leat_status lt_cuda_attend_launch(const lt_cuda_attend_kernels *kernels,
                                  const lt_cuda_attend_plan *plan,
                                  const lt_cuda_attend_operands *operands, void *stream,
                                  leat_error *err);

#ifdef __cplusplus
}
#endif

#endif

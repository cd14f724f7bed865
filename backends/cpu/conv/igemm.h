/* SPDX-License-Identifier: Apache-2.0 */
/* A convolution as a matrix product, made once at prepare: what igemm.c runs, and what others that
 * compute a part of a convolution at a time take from it. */
#ifndef LT_CPU_CONV_IGEMM_H
#define LT_CPU_CONV_IGEMM_H

#include "conv/conv.h"
#include "conv/window.h"
#include "gemm/mixed.h"
#include "gemm/strassen.h"

typedef struct lt_igemm {
    lt_conv conv;
    const lt_gemm_kernels *kernels;
    const leat_host *host;
    lt_gemm_mixed types;     /* epilogue of mixed kernels */
    lt_gemm_mixed_copy copy; /* of padded data, or of rows, to the type of the kernels */
    bool copies_rows;
    leat_dtype row_dtype; /* of what row pointers point at */
    lt_conv_window window;
    size_t group_packed; /* bytes of one group's packed weights */
    size_t group_bias;   /* elements of one group's padded bias */
    const void *zeros;   /* k elements */
    /* Set by the owner: Strassen's product (of a job to which lt_igemm_strassen applies) instead of
     * the plain one. */
    const lt_strassen_kernels *strassen;
} lt_igemm;

/* Chooses the kernels and packs the constants, the node's inputs 1 and 2, for products of at least
 * `least_m` rows each; 0: for Strassen's product, too.
 * Errors:   NO_MEMORY; LIMIT when a size overflows. */
leat_status lt_igemm_plan(const leat_kernel_node *node, const lt_conv *conv, size_t least_m,
                          const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                          lt_igemm *out, leat_error *err);

/* The product of `count` pixels from pixel `first` on, of a convolution whose window is the case
 * matrix (one group, no residual), to `c`. */
lt_gemm_job lt_igemm_matrix_job(const lt_igemm *w, const void *data, size_t first, size_t count,
                                void *c);

/* All of the convolution, to `y`: reads the node's input 0 and residual. */
void lt_igemm_convolve(const lt_igemm *w, const leat_kernel_args *args, void *y, void *workspace);
size_t lt_igemm_convolve_workspace(const lt_igemm *w, uint32_t threads);

/* Strassen's kernels where they can compute the convolution, and both ways' estimates; else NULL.
 */
const lt_strassen_kernels *lt_igemm_strassen(const lt_conv *conv, const lt_cpu_device *device,
                                             uint32_t threads, lt_strassen_costs *out_costs);

/* Workspace of lt_igemm_run; reads what lt_gemm_workspace does. */
size_t lt_igemm_workspace(const lt_igemm *w, const lt_gemm_job *job, uint32_t threads);

/* One product on the pool, by Strassen's algorithm where w->strassen is set. */
void lt_igemm_run(const lt_igemm *w, const lt_gemm_job *job, void *workspace,
                  const leat_kernel_args *args);

#endif

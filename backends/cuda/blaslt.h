/* SPDX-License-Identifier: Apache-2.0 */
/* Products by NVIDIA's cuBLASLt where it is installed: found by dlopen when a product first asks
 * for it, so that neither building nor loading the plugin needs it. What it computes is a way among
 * others (leat_host.plan_choose); without the library the others remain.
 *
 * The environment: LEAT_CUBLASLT=off never looks for it, LEAT_CUBLASLT=prefer takes it for every
 * product that it can compute; LEAT_CUBLASLT_PATH names the file instead of the loader's search.
 *
 * Descriptors are made in the caller's memory, as the inline functions of NVIDIA's header make
 * them. */
#ifndef LEAT_CUDA_BLASLT_H
#define LEAT_CUDA_BLASLT_H

#include "blaslt_types.h"
#include "cuda.h"
#include "gemm/gemm.h"

typedef void *blaslt_handle;

/* X(field, name, arguments): every function, each returning cublasStatus_t, 0 for success. */
#define LT_CUDA_BLASLT_FUNCTIONS(X)                                                                \
    X(create, "cublasLtCreate", (blaslt_handle * out_handle))                                      \
    X(destroy, "cublasLtDestroy", (blaslt_handle handle))                                          \
    X(desc_init, "cublasLtMatmulDescInit_internal",                                                \
      (blaslt_matmul_desc * out_desc, size_t bytes, int compute, int scale_type))                  \
    X(desc_set, "cublasLtMatmulDescSetAttribute",                                                  \
      (blaslt_matmul_desc * desc, int attribute, const void *value, size_t bytes))                 \
    X(layout_init, "cublasLtMatrixLayoutInit_internal",                                            \
      (blaslt_layout * out_layout, size_t bytes, int type, uint64_t rows, uint64_t columns,        \
       int64_t ld))                                                                                \
    X(layout_set, "cublasLtMatrixLayoutSetAttribute",                                              \
      (blaslt_layout * layout, int attribute, const void *value, size_t bytes))                    \
    X(preference_init, "cublasLtMatmulPreferenceInit_internal",                                    \
      (blaslt_preference * out_preference, size_t bytes))                                          \
    X(preference_set, "cublasLtMatmulPreferenceSetAttribute",                                      \
      (blaslt_preference * preference, int attribute, const void *value, size_t bytes))            \
    X(propose, "cublasLtMatmulAlgoGetHeuristic",                                                   \
      (blaslt_handle handle, const blaslt_matmul_desc *desc, const blaslt_layout *a,               \
       const blaslt_layout *b, const blaslt_layout *c, const blaslt_layout *d,                     \
       const blaslt_preference *preference, int wanted, blaslt_proposal *out, int *out_count))     \
    X(config_get, "cublasLtMatmulAlgoConfigGetAttribute",                                          \
      (const blaslt_algorithm *algorithm, int attribute, void *out, size_t bytes,                  \
       size_t *out_bytes))                                                                         \
    X(matmul, "cublasLtMatmul",                                                                    \
      (blaslt_handle handle, const blaslt_matmul_desc *desc, const void *alpha, const void *a,     \
       const blaslt_layout *a_layout, const void *b, const blaslt_layout *b_layout,                \
       const void *beta, const void *c, const blaslt_layout *c_layout, void *d,                    \
       const blaslt_layout *d_layout, const blaslt_algorithm *algorithm, void *workspace,          \
       size_t workspace_bytes, cu_stream stream))

/* What a device has of it: nothing until it is first asked for.
 * Threads:  any; the library is looked for once, and its handle is good for all threads.
 * Errors:   NO_MEMORY. */
leat_status lt_cuda_blaslt_open(lt_cuda_device *device, leat_error *err);
void lt_cuda_blaslt_close(lt_cuda_device *device);

/* A product planned: plain data. */
typedef struct lt_cuda_blaslt_plan {
    blaslt_matmul_desc desc; /* without the bias' address */
    blaslt_layout a, b, c, d;
    blaslt_algorithm algorithm;
    float scale, residual_scale;
    bool has_bias, has_residual;
    size_t workspace_bytes;
} lt_cuda_blaslt_plan;

/* Whether a product is one that cuBLASLt's epilogues compute as the desc says: factors of halves or
 * TF32; bias and residual of the result's type, which is that of the factors or F32; no activation,
 * Relu or GeluTanh, and of rows that are not aligned on 16 bytes neither bias nor activation. Does
 * not look for the library. */
bool lt_cuda_blaslt_takes(const lt_cuda_gemm_desc *desc);

/* Plans by the proposal-th of the library's proposals; of products of 2 to 12 tiles of 128 x
 * 256 a multiprocessor one of tiles that take little energy comes before all others.
 * Errors:   UNSUPPORTED where there is no library, or no such proposal; NO_MEMORY. */
leat_status lt_cuda_blaslt_plan_product(const lt_cuda_device *device, const lt_cuda_gemm_desc *desc,
                                        uint32_t proposal, lt_cuda_blaslt_plan *out,
                                        leat_error *err);

/* Whether a plan's launch takes these addresses: all on 16 bytes. */
bool lt_cuda_blaslt_fits(const lt_cuda_gemm_operands *operands);

/* Enqueues it; can be captured. The workspace has plan->workspace_bytes.
 * Threads:  any; the device's context must be current.
 * Errors:   DEVICE_LOST when the library refuses. */
leat_status lt_cuda_blaslt_launch(const lt_cuda_device *device, const lt_cuda_blaslt_plan *plan,
                                  const lt_cuda_gemm_operands *operands, void *workspace,
                                  cu_stream queue, leat_error *err);

#endif

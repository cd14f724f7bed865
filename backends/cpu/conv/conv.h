/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to compute a convolution; conv.c chooses one. */
#ifndef LT_CPU_CONV_H
#define LT_CPU_CONV_H

#include "conv/geometry.h"
#include "gemm/gemm.h"

/* What the ways share. */
typedef struct lt_conv {
    lt_conv_geometry g;
    leat_dtype dtype;   /* of the data */
    leat_dtype compute; /* F16, BF16: weights, bias, residual and output are f32, f16 or bf16 each;
                           otherwise of the data's type */
    leat_dtype w_dtype, bias_dtype, residual_dtype, y_dtype;
    const void *weights; /* packed as the way needs; NULL: read input 1 */
    const void *bias;    /* padded or NULL; read input 2 when it is not constant */
    bool has_bias;
    uint32_t residual_input;
    int64_t spread; /* output pixels that g takes as one (spread.h), unlike the node; 0: as 1 */
    lt_cpu_activation activation;
} lt_conv;

typedef leat_status (*lt_conv_way_fn)(const leat_kernel_node *node, const lt_conv *conv,
                                      const lt_cpu_device *device, const leat_host *host,
                                      leat_plan *plan, leat_kernel *out_kernel, leat_error *err);

/* Indirect GEMM over channels-last data, f32 and f64, constant weights. */
leat_status lt_conv_igemm_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                  const lt_cpu_device *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
/* The same by Strassen's product, where lt_igemm_strassen says so (igemm.h). */
leat_status lt_conv_strassen_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                     const lt_cpu_device *device, const leat_host *host,
                                     leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
/* One filter a channel, channels-last f32, constant weights. */
leat_status lt_conv_depthwise_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                      const lt_cpu_device *device, const leat_host *host,
                                      leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
/* The same with data, residual or output in f16 or bf16. */
leat_status lt_conv_depthwise_mixed_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                            const lt_cpu_device *device, const leat_host *host,
                                            leat_plan *plan, leat_kernel *out_kernel,
                                            leat_error *err);
/* Transposed, as products: channels-last f32 and f64, constant weights and bias. */
leat_status lt_conv_transposed_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                       const lt_cpu_device *device, const leat_host *host,
                                       leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
/* Plain loops: any float type and layout, weights of any kind, no epilogue. */
leat_status lt_conv_direct_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, leat_kernel *out_kernel, leat_error *err);

#endif

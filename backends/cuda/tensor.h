/* SPDX-License-Identifier: Apache-2.0 */
/* Rows' way to the tensor cores (gemm/): products and convolutions of halves, of F32 as TF32
 * and of bytes on devices of compute capability 9.0. */
#ifndef LEAT_CUDA_TENSOR_H
#define LEAT_CUDA_TENSOR_H

#include "cuda.h"
#include "gemm/attend.h"
#include "gemm/gemm.h"
#include "gemm/stream.h"

#include "../gpu/params/conv.h"

/* Loads the kernels where the device has what they need; otherwise leaves device->tensor NULL.
 * Errors:   NO_DEVICE; NO_MEMORY. */
leat_status lt_cuda_tensor_open(lt_cuda_device *device, leat_error *err);
void lt_cuda_tensor_close(lt_cuda_device *device);

#define LT_CUDA_TENSOR_WORKSPACE (-2)

/* Where the operands come from: inputs of the node, -1 for none; b may be a packed block. a may be
 * LT_CUDA_TENSOR_WORKSPACE, which the builder's launches, run before, fill. */
typedef struct lt_cuda_tensor_inputs {
    int32_t a, b, bias, residual;
    const void *packed_b;
    const int32_t *offset; /* of bytes: on the device, as lt_cuda_gemm_operands */
    const float *scale;
    const void *packed_bias; /* NULL: input `bias` */
    /* Of an a in the workspace; 0: the caller sets the kernel's, and no ways are measured. */
    size_t workspace_bytes;
    bool scaled; /* x_scale and x_zero (-1: none) are inputs of the node, of bytes */
    int32_t x_scale, x_zero;
} lt_cuda_tensor_inputs;

/* Whether the tensor cores may take products of this type: halves, and F32 where the session allows
 * TF32. */
bool lt_cuda_tensor_takes(const lt_cuda_builder *b, leat_dtype dtype);

/* The device's kernels of gemm/; NULL where it has not what they need. */
const lt_cuda_gemm *lt_cuda_tensor_gemm(const lt_cuda_device *device);

/* A MatMul in gemm/'s words (product.c); false where it has none. */
bool lt_cuda_matmul_desc(const lt_cuda_builder *b, lt_cuda_gemm_desc *out);

/* Make the node's kernel a tensor-core one: of the tiles, splits and kernels that take it the best
 * of a measurement where the session tunes (leat_host.plan_choose), else by estimates. Errors:
 * UNSUPPORTED, with nothing changed, where these sizes or this device are not for them; NO_MEMORY;
 * CANCELLED. */
leat_status lt_cuda_tensor_product(lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                                   const lt_cuda_tensor_inputs *inputs);
leat_status lt_cuda_tensor_conv(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *desc,
                                const lt_cuda_tensor_inputs *inputs);

/* Two pointwise convolutions whose sum is the result; the first one's activation counts. */
bool lt_cuda_tensor_conv_pair(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc desc[2],
                              const lt_cuda_tensor_inputs inputs[2]);

/* A convolution with that window, and pads that its end may have beyond the last step. The rest is
 * the caller's: types, images, channels, activation. */
lt_cuda_gemm_conv_desc lt_cuda_tensor_conv_desc(const lt_gpu_window *window, int32_t bottom,
                                                int32_t right);

/* A convolution of fewer than 8 channels by way of the workspace (narrow.c); inputs->b is packed
 * anew from input 1.
 * Errors:   as lt_cuda_tensor_conv. */
leat_status lt_cuda_narrow_conv(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *desc,
                                const lt_cuda_tensor_inputs *inputs);

/* Where attention's operands lie: inputs, and bytes into them (q is at 0). mask -1: none. */
typedef struct lt_cuda_attention_inputs {
    uint32_t k, v;
    int64_t k_bytes, v_bytes;
    int32_t mask;
} lt_cuda_attention_inputs;

/* Attention; the builder's launches run where the operands' addresses are not for tensor copies. */
bool lt_cuda_tensor_attention(lt_cuda_builder *b, const lt_gpu_attention *p, leat_dtype dtype,
                              const lt_cuda_attention_inputs *inputs);

/* The activation in gemm/'s numbers; false when it has none such. */
bool lt_cuda_tensor_activation(const lt_gpu_activation *activation, int32_t *out);

#endif

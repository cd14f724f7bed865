/* SPDX-License-Identifier: Apache-2.0 */
/* Products of few rows, for product.c. */
#ifndef LEAT_CUDA_GEMV_H
#define LEAT_CUDA_GEMV_H

#include "cuda.h"

#include "../gpu/params/gemm.h"

/* A constant B of one product with its columns dense, as a device address; NULL where it is not
 * one, or its columns are no multiples of 16 bytes. The input is read all the same until the caller
 * says otherwise. Errors:   NO_MEMORY. */
leat_status lt_cuda_pack_columns(lt_cuda_builder *b, uint32_t input, const lt_gpu_gemm *p,
                                 const void **out_block);

/* Packs the constant of a product of few rows: p's b is then a device address and its strides are
 * those of a transposed matrix. Otherwise leaves p as it is.
 * Errors:   NO_MEMORY. */
leat_status lt_cuda_gemv_pack(lt_cuda_builder *b, uint32_t input, lt_gpu_gemm *p);

/* Whether gemv_nt is the kernel for the product, rather than tiles of the tensor cores. */
bool lt_cuda_gemv_fits(const lt_gpu_gemm *p);

#endif

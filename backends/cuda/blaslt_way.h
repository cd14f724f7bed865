/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt's proposals as ways to compute a product. */
#ifndef LEAT_CUDA_BLASLT_WAY_H
#define LEAT_CUDA_BLASLT_WAY_H

#include "blaslt.h"
#include "tensor.h"

#define LT_CUDA_BLASLT_WAYS 4

/* Argument of a way. */
typedef struct lt_cuda_blaslt_way {
    const lt_cuda_builder *b;
    const lt_cuda_gemm_desc *desc;
    const lt_cuda_tensor_inputs *inputs;
    uint32_t proposal;
    /* What computes the product where an address is not for cuBLASLt; NULL: the builder's launches
     * as they are. */
    const leat_way *own;
} lt_cuda_blaslt_way;

/* Fills at most LT_CUDA_BLASLT_WAYS ways and their arguments; returns how many: none without the
 * library, for a product that it does not take or one that is too small to load it for; one where
 * nothing is measured. The first has an estimate below own_ns, the others own_ns. */
uint32_t lt_cuda_blaslt_offer(const lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                              const lt_cuda_tensor_inputs *inputs, const leat_way *own,
                              double own_ns, leat_way *out_ways, lt_cuda_blaslt_way *out_arguments);

/* Where gemm/ has no kernel for a product: makes the node's kernel cuBLASLt's or leaves it as it
 * is, the builder's launches, whichever is better.
 * Errors:   NO_MEMORY; CANCELLED. */
leat_status lt_cuda_blaslt_instead(lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                                   const lt_cuda_tensor_inputs *inputs);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/nbits.h"

#define TABLE lt_nbits_avx2
#define NAME "nbits_f32_8x8_avx2"
#define VL 8

typedef float vec __attribute__((vector_size(VL * sizeof(float)), may_alias));
typedef uint32_t uvec __attribute__((vector_size(VL * sizeof(uint32_t)), may_alias));
typedef int32_t ivec __attribute__((vector_size(VL * sizeof(int32_t))));

static inline vec number(uvec q, int j, int bits)
{
    return __builtin_convertvector((ivec)(q >> (bits * j) & ((1u << bits) - 1)), vec);
}

#include "gemm/nbits.inc"

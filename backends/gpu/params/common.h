/* SPDX-License-Identifier: Apache-2.0 */
/* What the parameter structs of backends/gpu share. Plain C: the kernels' text and the C code that
 * launches it both include these headers.
 *
 * A kernel is extern "C" and takes ONE struct by value. Pointers are device addresses. Unless its
 * header says otherwise a kernel wants blocks of LT_GPU_THREADS threads, and its grid is a number
 * of blocks that stride over the work: any number is right, lt_gpu_blocks gives a good one.
 * Names end in the storage type: f32, f16, bf16; all arithmetic on these is f32, rounded to nearest
 * even once when stored. */
#ifndef LT_GPU_PARAMS_COMMON_H
#define LT_GPU_PARAMS_COMMON_H

#include <stdint.h>

#define LT_GPU_THREADS 256
#define LT_GPU_MAX_RANK 8
/* Most elements of a tensor: they are counted in 31 bits, bytes in 64. */
#define LT_GPU_MAX_COUNT 0x7fffffff

/* Division by a number known to the host: quotients of n < 2^31 by one multiplication
 * (Granlund and Montgomery, PLDI 1994). */
typedef struct lt_gpu_divisor {
    uint32_t value;
    uint32_t multiplier;
    uint32_t shift;
} lt_gpu_divisor;

/* value: 1 to 2^31 - 1. */
static inline lt_gpu_divisor lt_gpu_divisor_make(uint32_t value)
{
    lt_gpu_divisor d = {value, 0, 0};
    while (d.shift < 31 && (1u << d.shift) < value) {
        d.shift++;
    }
    d.multiplier = (uint32_t)((((1ull << d.shift) - value) << 32) / value + 1);
    return d;
}

/* The dimensions that an element number is taken apart by, outermost first. rank may be 0. */
typedef struct lt_gpu_index {
    int32_t rank;
    lt_gpu_divisor size[LT_GPU_MAX_RANK];
} lt_gpu_index;

/* Functions of one number; those from LT_GPU_RELU to LT_GPU_SCALED_HARD_SWISH are backend.h's
 * activations and serve as epilogue. alpha and beta as there. */
typedef enum lt_gpu_function {
    LT_GPU_IDENTITY = 0,
    LT_GPU_RELU,
    LT_GPU_CLIP, /* alpha: lowest, beta: highest */
    LT_GPU_SIGMOID,
    LT_GPU_TANH,
    LT_GPU_LEAKY_RELU,
    LT_GPU_HARD_SIGMOID,
    LT_GPU_HARD_SWISH,
    LT_GPU_GELU,
    LT_GPU_GELU_TANH,
    LT_GPU_SWISH, /* x * sigmoid(alpha * x) */
    LT_GPU_SCALED_HARD_SWISH,
    LT_GPU_ABS,
    LT_GPU_NEG,
    LT_GPU_EXP,
    LT_GPU_LOG,
    LT_GPU_SQRT,
    LT_GPU_RECIPROCAL,
    LT_GPU_FLOOR,
    LT_GPU_CEIL,
    LT_GPU_ROUND, /* halves to even */
    LT_GPU_SIGN,
    LT_GPU_ERF,
    LT_GPU_SIN,
    LT_GPU_COS,
    LT_GPU_SOFTPLUS,
    LT_GPU_SOFTSIGN,
    LT_GPU_ELU,  /* alpha */
    LT_GPU_SELU, /* alpha, beta: gamma */
    LT_GPU_MISH,
    LT_GPU_AFFINE, /* alpha * x + beta */
    LT_GPU_N_FUNCTIONS
} lt_gpu_function;

typedef struct lt_gpu_activation {
    int32_t function; /* lt_gpu_function */
    float alpha;
    float beta;
} lt_gpu_activation;

/* Blocks for `items` of work of which a thread takes `per_thread` at a time, on a device of
 * `processors`: enough to fill it, no more than strides pay for. At least 1. */
static inline uint32_t lt_gpu_blocks(int64_t items, int64_t per_thread, uint32_t processors)
{
    int64_t per_block = per_thread * LT_GPU_THREADS;
    int64_t blocks = (items + per_block - 1) / per_block;
    int64_t most = (int64_t)processors * 16;
    blocks = blocks < most ? blocks : most;
    return blocks > 1 ? (uint32_t)blocks : 1u;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of the pointwise kernels (pointwise.hpp). Threads and grid: see common.h; elements
 * 16 / bytes of T a thread. */
#ifndef LT_GPU_PARAMS_POINTWISE_H
#define LT_GPU_PARAMS_POINTWISE_H

#include "common.h"

/* lt_gpu_unary_{f32,f16,bf16}: y[i] = function(x[i]). y may be x. */
typedef struct lt_gpu_unary {
    const void *x;
    void *y;
    int64_t count;
    lt_gpu_activation op;
} lt_gpu_unary;

typedef enum lt_gpu_binary_op {
    LT_GPU_ADD = 0,
    LT_GPU_SUB,
    LT_GPU_MUL,
    LT_GPU_DIV, /* integers: towards 0; by 0 gives 0 */
    LT_GPU_MIN, /* NaN if one is */
    LT_GPU_MAX,
    LT_GPU_POW,
    LT_GPU_PRELU, /* a < 0 ? a * b : a */
    LT_GPU_MOD,   /* sign of b; by 0 gives 0 for integers */
    LT_GPU_FMOD,  /* sign of a */
    LT_GPU_AND,
    LT_GPU_OR,
    LT_GPU_XOR,
    /* The kernels lt_gpu_compare_T only; y is u8, 0 or 1. */
    LT_GPU_EQUAL,
    LT_GPU_LESS,
    LT_GPU_LESS_EQUAL,
    LT_GPU_GREATER,
    LT_GPU_GREATER_EQUAL
} lt_gpu_binary_op;

/* lt_gpu_binary_{f32,f16,bf16,i32,i64,u8}: y = activation(a op b), floats only with activation;
 * lt_gpu_compare_{the same}: y u8.
 * y is contiguous, its dimensions in `index`; strides of a and b in elements, 0 where broadcast.
 * Merged dimensions make it fast: rank 1 where all shapes are alike or one operand is one number.
 * y may be a or b where that one is not broadcast. */
typedef struct lt_gpu_binary {
    const void *a;
    const void *b;
    void *y;
    int64_t count; /* of y */
    lt_gpu_index index;
    int64_t a_stride[LT_GPU_MAX_RANK];
    int64_t b_stride[LT_GPU_MAX_RANK];
    int32_t op; /* lt_gpu_binary_op */
    lt_gpu_activation activation;
} lt_gpu_binary;

/* lt_gpu_where_{1,2,4,8} (bytes of an element): y = condition (u8) ? a : b. Strides as above. */
typedef struct lt_gpu_where {
    const void *condition;
    const void *a;
    const void *b;
    void *y;
    int64_t count;
    lt_gpu_index index;
    int64_t condition_stride[LT_GPU_MAX_RANK];
    int64_t a_stride[LT_GPU_MAX_RANK];
    int64_t b_stride[LT_GPU_MAX_RANK];
} lt_gpu_where;

typedef enum lt_gpu_dtype {
    LT_GPU_F32 = 0,
    LT_GPU_F16,
    LT_GPU_BF16,
    LT_GPU_I32,
    LT_GPU_I64,
    LT_GPU_U8,
    LT_GPU_I8,
    LT_GPU_BOOL
} lt_gpu_dtype;

/* lt_gpu_cast_any: y[i] = (type of y)x[i], any of lt_gpu_dtype. Floats to integers towards 0,
 * saturated; NaN gives 0. Integers to narrower ones wrap. To bool: not 0.
 * lt_gpu_cast_{f32_f16,f32_bf16,f16_f32,bf16_f32}: the same, 16 bytes at a time. */
typedef struct lt_gpu_cast {
    const void *x;
    void *y;
    int64_t count;
    int32_t x_dtype;
    int32_t y_dtype;
} lt_gpu_cast;

#define LT_GPU_CHAIN_INPUTS 6
#define LT_GPU_CHAIN_STEPS 12

typedef enum lt_gpu_chain_operand {
    LT_GPU_OPERAND_INPUT = 0, /* inputs[input] */
    LT_GPU_OPERAND_SAVED,     /* what the last step with `save` left */
    LT_GPU_OPERAND_NUMBER     /* alpha */
} lt_gpu_chain_operand;

/* One step: v = function(v), or v = v op operand, or (swapped) v = operand op v. */
typedef struct lt_gpu_chain_step {
    uint8_t binary; /* 1: op is a lt_gpu_binary_op up to LT_GPU_FMOD; 0: a lt_gpu_function */
    uint8_t op;
    uint8_t operand; /* lt_gpu_chain_operand */
    uint8_t input;
    uint8_t swapped;
    uint8_t save; /* 1: the step's result is kept for LT_GPU_OPERAND_SAVED, too */
    uint8_t reserved[2];
    float alpha;
    float beta;
} lt_gpu_chain_step;

typedef struct lt_gpu_chain_input {
    const void *data;
    int64_t stride[LT_GPU_MAX_RANK]; /* 0 where broadcast */
} lt_gpu_chain_input;

/* lt_gpu_chain_{f32,f16,bf16}: several pointwise operators in one pass. v begins as inputs[0] (and
 * is what LT_GPU_OPERAND_SAVED means until a step saves); what the last step gives is stored. All
 * data is of one type; nothing is rounded between steps. */
typedef struct lt_gpu_chain {
    void *y;
    int64_t count;
    lt_gpu_index index;
    int32_t n_inputs; /* at least 1 */
    int32_t n_steps;
    lt_gpu_chain_input inputs[LT_GPU_CHAIN_INPUTS];
    lt_gpu_chain_step steps[LT_GPU_CHAIN_STEPS];
} lt_gpu_chain;

#endif

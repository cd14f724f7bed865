/* SPDX-License-Identifier: Apache-2.0 */
/* Activations that leat's passes put into other nodes (leat/backend.h, "Nodes of the domain leat").
 */
#ifndef LT_CPU_ACTIVATION_H
#define LT_CPU_ACTIVATION_H

#include "cpu.h"

typedef enum lt_cpu_activation_kind {
    LT_CPU_ACTIVATION_NONE = 0,
    LT_CPU_ACTIVATION_RELU,
    LT_CPU_ACTIVATION_CLIP,       /* alpha to beta */
    LT_CPU_ACTIVATION_LEAKY_RELU, /* slope alpha below 0 */
    LT_CPU_ACTIVATION_SIGMOID,
    LT_CPU_ACTIVATION_TANH,
    LT_CPU_ACTIVATION_HARD_SIGMOID,      /* max(0, min(1, alpha * x + beta)) */
    LT_CPU_ACTIVATION_HARD_SWISH,        /* x * max(0, min(1, x / 6 + 1 / 2)) */
    LT_CPU_ACTIVATION_GELU,              /* x * (1 + erf(x / sqrt(2))) / 2 */
    LT_CPU_ACTIVATION_GELU_TANH,         /* x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
    LT_CPU_ACTIVATION_SWISH,             /* x * sigmoid(alpha * x) */
    LT_CPU_ACTIVATION_SCALED_HARD_SWISH, /* alpha * HardSwish(x) + beta */
} lt_cpu_activation_kind;

typedef struct lt_cpu_activation {
    lt_cpu_activation_kind kind;
    float alpha, beta;
} lt_cpu_activation;

/* Reads the activation attributes of a node; NONE when it has none. False for an unknown name. */
bool lt_cpu_activation_read(const leat_node *node, lt_cpu_activation *out);
/* The activation of a fused node's first part: attributes first_activation... */
bool lt_cpu_activation_read_first(const leat_node *node, lt_cpu_activation *out);

/* True when the activation is a clamp (or none): *low and *high are its bounds then, infinities
 * where there is none, and untouched otherwise. */
bool lt_cpu_activation_clamp(const lt_cpu_activation *activation, double *low, double *high);

/* x[i] = f(x[i]) for i < n. */
typedef void (*lt_cpu_activate_fn)(float *x, int64_t n, const lt_cpu_activation *activation);
void lt_cpu_activate_f32_portable(float *x, int64_t n, const lt_cpu_activation *activation);
void lt_cpu_activate_f32_avx2(float *x, int64_t n, const lt_cpu_activation *activation);
void lt_cpu_activate_f32_avx512(float *x, int64_t n, const lt_cpu_activation *activation);

/* `rows` rows of n elements, x_stride and y_stride apart. y may be x. */
typedef struct lt_cpu_activation_tile {
    const float *x;
    float *y;
    int64_t rows, n, x_stride, y_stride;
} lt_cpu_activation_tile;

/* y = f(x) for all of them. */
typedef void (*lt_cpu_activate_tile_fn)(const lt_cpu_activation_tile *tile,
                                        const lt_cpu_activation *activation);
void lt_cpu_activate_tile_f32_portable(const lt_cpu_activation_tile *tile,
                                       const lt_cpu_activation *activation);
void lt_cpu_activate_tile_f32_avx2(const lt_cpu_activation_tile *tile,
                                   const lt_cpu_activation *activation);
void lt_cpu_activate_tile_f32_avx512(const lt_cpu_activation_tile *tile,
                                     const lt_cpu_activation *activation);

/* The best of the three for a device. */
lt_cpu_activate_fn lt_cpu_activate_for(const lt_cpu_device *device);
lt_cpu_activate_tile_fn lt_cpu_activate_tile_for(const lt_cpu_device *device);

#endif

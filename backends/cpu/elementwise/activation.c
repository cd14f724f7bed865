/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/activation.h"

#include <math.h>

static const struct {
    const char *name;
    lt_cpu_activation_kind kind;
    float alpha, beta; /* where the attributes are absent */
} kinds[] = {
    {"Relu", LT_CPU_ACTIVATION_RELU, 0, 0},
    {"Clip", LT_CPU_ACTIVATION_CLIP, -INFINITY, INFINITY},
    {"LeakyRelu", LT_CPU_ACTIVATION_LEAKY_RELU, 0.01f, 0},
    {"Sigmoid", LT_CPU_ACTIVATION_SIGMOID, 0, 0},
    {"Tanh", LT_CPU_ACTIVATION_TANH, 0, 0},
    {"HardSigmoid", LT_CPU_ACTIVATION_HARD_SIGMOID, 0.2f, 0.5f},
    {"HardSwish", LT_CPU_ACTIVATION_HARD_SWISH, 0, 0},
    {"Gelu", LT_CPU_ACTIVATION_GELU, 0, 0},
    {"GeluTanh", LT_CPU_ACTIVATION_GELU_TANH, 0, 0},
    {"Swish", LT_CPU_ACTIVATION_SWISH, 1, 0},
    {"ScaledHardSwish", LT_CPU_ACTIVATION_SCALED_HARD_SWISH, 1, 0},
};

static bool read_named(const leat_node *node, const char *name, const char *alpha, const char *beta,
                       lt_cpu_activation *out)
{
    memset(out, 0, sizeof(*out));
    if (leat_node_attr(node, name) == NULL) {
        return true;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (leat_node_string_is(node, name, kinds[i].name)) {
            out->kind = kinds[i].kind;
            out->alpha = leat_node_float(node, alpha, kinds[i].alpha);
            out->beta = leat_node_float(node, beta, kinds[i].beta);
            return true;
        }
    }
    return false;
}

bool lt_cpu_activation_read(const leat_node *node, lt_cpu_activation *out)
{
    return read_named(node, "activation", "activation_alpha", "activation_beta", out);
}

bool lt_cpu_activation_read_first(const leat_node *node, lt_cpu_activation *out)
{
    return read_named(node, "first_activation", "first_activation_alpha", "first_activation_beta",
                      out);
}

bool lt_cpu_activation_clamp(const lt_cpu_activation *activation, double *low, double *high)
{
    switch (activation->kind) {
    case LT_CPU_ACTIVATION_NONE:
        *low = -INFINITY, *high = INFINITY;
        return true;
    case LT_CPU_ACTIVATION_RELU:
        *low = 0, *high = INFINITY;
        return true;
    case LT_CPU_ACTIVATION_CLIP:
        *low = (double)activation->alpha, *high = (double)activation->beta;
        return true;
    default:
        return false;
    }
}

lt_cpu_activate_fn lt_cpu_activate_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return lt_cpu_activate_f32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return lt_cpu_activate_f32_avx2;
    }
#endif
    (void)device;
    return lt_cpu_activate_f32_portable;
}

lt_cpu_activate_tile_fn lt_cpu_activate_tile_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return lt_cpu_activate_tile_f32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return lt_cpu_activate_tile_f32_avx2;
    }
#endif
    (void)device;
    return lt_cpu_activate_tile_f32_portable;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a depthwise convolution as its kernels read them. */
#include "conv/depthwise.h"
#include "convert.h"

/* Where channel c lies: bf16's kernel takes the odd ones behind all even ones. */
static size_t place_of(const lt_depthwise_plan *lines, size_t c)
{
    size_t channels = (size_t)lines->g.in_channels;
    return lines->dtype != LEAT_DTYPE_BF16 ? c : c / 2 + c % 2 * (channels / 2);
}

/* [channels][taps] of any type to f32 [taps][channels]. */
static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const lt_depthwise_plan *lines = argument;
    size_t channels = (size_t)lines->g.in_channels, taps = (size_t)lines->g.taps;
    (void)bytes;
    (void)err;
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < taps; t++) {
            ((float *)out)[t * channels + place_of(lines, c)] =
                lt_cpu_get_f32(constant->dtype, constant->data, c * taps + t);
        }
    }
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const lt_depthwise_plan *lines = argument;
    (void)err;
    for (size_t c = 0; c < bytes / sizeof(float); c++) {
        ((float *)out)[place_of(lines, c)] = lt_cpu_get_f32(constant->dtype, constant->data, c);
    }
    return LEAT_OK;
}

leat_status lt_depthwise_pack(const leat_kernel_node *node, uint32_t weights_input,
                              uint32_t bias_input, const leat_host *host, leat_plan *plan,
                              lt_depthwise_plan *lines, leat_error *err)
{
    const void *weights = NULL, *bias = NULL;
    size_t channels = (size_t)lines->g.in_channels;
    uint64_t key = lines->dtype == LEAT_DTYPE_BF16 ? 0x212 : 0x210;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, weights_input), key,
                                         channels * (size_t)lines->g.taps * sizeof(float),
                                         fill_weights, lines, &weights, err);
    if (status == LEAT_OK && bias_input != LEAT_NO_VALUE) {
        status = host->plan_pack(plan, leat_kernel_input(node, bias_input), key + 1,
                                 channels * sizeof(float), fill_bias, lines, &bias, err);
    }
    lines->weights = weights;
    lines->bias = bias;
    return status;
}

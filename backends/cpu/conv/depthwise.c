/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution: weights to [kernel_h][kernel_w][channels], lines to the pool. */
#include "conv/depthwise.h"

#include "conv/conv.h"

#include <math.h>

typedef struct depthwise {
    lt_conv conv;
    lt_depthwise_fn kernel;
    lt_cpu_activate_fn activate; /* or NULL */
    float low, high;
} depthwise;

/* [channels][taps] to [taps][channels]. */
static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const depthwise *d = argument;
    size_t channels = (size_t)d->conv.g.in_channels, taps = (size_t)d->conv.g.taps;
    (void)bytes;
    (void)err;
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < taps; t++) {
            memcpy((float *)out + t * channels + c,
                   (const char *)constant->data + (c * taps + t) * sizeof(float), sizeof(float));
        }
    }
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    (void)argument;
    (void)err;
    memcpy(out, constant->data, bytes);
    return LEAT_OK;
}

typedef struct depthwise_launch {
    const depthwise *d;
    const float *x;
    const float *residual;
    float *y;
} depthwise_launch;

static void run_lines(void *argument, int64_t begin, int64_t end)
{
    const depthwise_launch *l = argument;
    const depthwise *d = l->d;
    const lt_conv_geometry *g = &d->conv.g;
    int64_t in_line = g->in[2] * g->in_channels, out_line = g->out[2] * g->in_channels;
    for (int64_t i = begin; i < end; i++) {
        int64_t y = i % g->out[1], image = i / g->out[1];
        const float *rows[LT_DEPTHWISE_MAX_KERNEL_H];
        int64_t first = 0, used = 0;
        for (int64_t ky = 0; ky < g->kernel[1]; ky++) {
            int64_t at = y * g->stride[1] - g->pad[1] + ky * g->dilation[1];
            if (at >= 0 && at < g->in[1]) {
                first = used == 0 ? ky : first;
                rows[used++] = l->x + (image * g->in[1] + at) * in_line;
            }
        }
        lt_depthwise_line line = {.rows = rows,
                                  .weights = (const float *)d->conv.weights +
                                             first * g->kernel[2] * g->in_channels,
                                  .bias = d->conv.bias,
                                  .residual = l->residual ? l->residual + i * out_line : NULL,
                                  .out = l->y + i * out_line,
                                  .channels = g->in_channels,
                                  .kernel_h = used,
                                  .kernel_w = g->kernel[2],
                                  .in_w = g->in[2],
                                  .out_w = g->out[2],
                                  .stride = g->stride[2],
                                  .dilation = g->dilation[2],
                                  .pad = g->pad[2],
                                  .low = d->low,
                                  .high = d->high};
        d->kernel(&line);
        if (d->activate != NULL) {
            d->activate(line.out, out_line, &d->conv.activation);
        }
    }
}

static leat_status depthwise_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const depthwise *d = state;
    const lt_conv_geometry *g = &d->conv.g;
    depthwise_launch l = {
        d, args->inputs[0],
        d->conv.residual_input != LEAT_NO_VALUE ? args->inputs[d->conv.residual_input] : NULL,
        args->outputs[0]};
    double work = (double)(g->out[2] * g->in_channels) * (double)g->taps;
    (void)err;
    lt_cpu_parallel_range(args, g->batch * g->out[1], 1, work, run_lines, &l);
    return LEAT_OK;
}

lt_depthwise_fn lt_depthwise_for(const lt_cpu_device *device, const char **out_name)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        *out_name = "depthwise_f32_avx512";
        return lt_cpu_depthwise_f32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        *out_name = "depthwise_f32_avx2";
        return lt_cpu_depthwise_f32_avx2;
    }
#endif
    (void)device;
    *out_name = "depthwise_f32_portable";
    return lt_cpu_depthwise_f32_portable;
}

leat_status lt_conv_depthwise_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                      const lt_cpu_device *device, const leat_host *host,
                                      leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_conv_geometry *g = &conv->g;
    if (g->kernel[1] > LT_DEPTHWISE_MAX_KERNEL_H) {
        return lt_conv_igemm_prepare(node, conv, device, host, plan, out_kernel, err);
    }
    depthwise *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    d->conv = *conv;
    double low = -INFINITY, high = INFINITY;
    if (!lt_cpu_activation_clamp(&conv->activation, &low, &high)) {
        d->activate = lt_cpu_activate_for(device);
    }
    d->low = (float)low;
    d->high = (float)high;
    d->kernel = lt_depthwise_for(device, &out_kernel->name);
    size_t channels = (size_t)g->in_channels;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, 1), 0x200,
                                         channels * (size_t)g->taps * sizeof(float), fill_weights,
                                         d, &d->conv.weights, err);
    if (status == LEAT_OK && conv->has_bias) {
        status = host->plan_pack(plan, leat_kernel_input(node, 2), 0x201, channels * sizeof(float),
                                 fill_bias, d, &d->conv.bias, err);
    }
    out_kernel->launch = depthwise_run;
    out_kernel->state = d;
    out_kernel->flops = 2 * (uint64_t)(g->batch * g->out[1] * g->out[2] * g->in_channels * g->taps);
    return status;
}

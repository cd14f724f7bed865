/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution: weights to [kernel_h][kernel_w][channels], bands of lines and blocks of
 * channels to the pool. */
#include "conv/depthwise.h"

#include "conv/conv.h"

#define TASKS_PER_THREAD 4

typedef struct depthwise {
    lt_conv conv;
    lt_depthwise_plan lines;
    int64_t bands, band_lines; /* of one image */
} depthwise;

typedef struct depthwise_launch {
    const depthwise *d;
    const char *x;
    const char *residual;
    char *y;
    const void **tables; /* one a thread */
} depthwise_launch;

/* Tasks are numbered by image, band and block of channels. */
static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const depthwise_launch *l = argument;
    const depthwise *d = l->d;
    const lt_conv_geometry *g = &d->conv.g;
    int64_t block = task % d->lines.n_blocks, band = task / d->lines.n_blocks;
    int64_t image = band / d->bands, y0 = band % d->bands * d->band_lines;
    int64_t end = y0 + d->band_lines;
    int64_t pixel = g->in_channels * d->lines.element;
    int64_t at = (image * g->out[1] + y0) * g->out[2] * pixel;
    lt_depthwise_band b = {.x = l->x + image * g->in[1] * g->in[2] * pixel,
                           .ring = INT64_MAX,
                           .residual = l->residual != NULL ? l->residual + at : NULL,
                           .out = l->y + at,
                           .y0 = y0,
                           .y1 = end < g->out[1] ? end : g->out[1],
                           .block = block,
                           .table = l->tables + thread * d->lines.table_count};
    lt_depthwise_band_run(&d->lines, &b);
}

static leat_status depthwise_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const depthwise *d = state;
    const lt_conv_geometry *g = &d->conv.g;
    depthwise_launch l = {
        d, args->inputs[0],
        d->conv.residual_input != LEAT_NO_VALUE ? args->inputs[d->conv.residual_input] : NULL,
        args->outputs[0], args->workspace};
    (void)err;
    if (g->batch * g->out[1] * g->out[2] > 0) {
        args->host->parallel(args->pool, (uint32_t)(g->batch * d->bands * d->lines.n_blocks),
                             run_task, &l);
    }
    return LEAT_OK;
}

/* Bands of lines: one where nothing is gained by more. */
static void plan_bands(depthwise *d, uint32_t threads)
{
    const lt_conv_geometry *g = &d->conv.g;
    double work = (double)(g->batch * g->out[1] * g->out[2] * g->in_channels) * (double)g->taps;
    int64_t want = threads > 1 && work >= 4 * LT_CPU_GRAIN_BYTES ? threads * TASKS_PER_THREAD : 1;
    int64_t others = g->batch * d->lines.n_blocks;
    int64_t bands = others < 1 ? 1 : (want + others - 1) / others;
    int64_t lines = (g->out[1] + bands - 1) / bands;
    lines = lines > d->lines.most_lines ? d->lines.most_lines : lines;
    d->band_lines = lines < 1 ? 1 : lines;
    d->bands = (g->out[1] + d->band_lines - 1) / d->band_lines;
}

lt_depthwise_fn lt_depthwise_for(const lt_cpu_device *device, int64_t channels,
                                 const char **out_name)
{
#if defined(__x86_64__)
    bool half = channels >= LT_DEPTHWISE_LEAST && channels < LT_DEPTHWISE_LANES;
    if (device->isa == LT_CPU_AVX512 && !half) {
        *out_name = "depthwise_f32_avx512";
        return lt_cpu_depthwise_f32_avx512;
    }
    if (device->isa != LT_CPU_PORTABLE) { /* whole vectors of half the width, too */
        *out_name = "depthwise_f32_avx2";
        return lt_cpu_depthwise_f32_avx2;
    }
#endif
    (void)device, (void)channels;
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
    d->lines.dtype = conv->dtype;
    leat_status status = lt_depthwise_plan_make(g, &conv->activation, device, host, plan, &d->lines,
                                                &out_kernel->name, err);
    if (status == LEAT_OK) {
        status = lt_depthwise_pack(node, 1, conv->has_bias ? 2 : LEAT_NO_VALUE, host, plan,
                                   &d->lines, err);
    }
    uint32_t threads = host->pool_threads(host->pool);
    if (status == LEAT_OK) {
        plan_bands(d, threads);
    }
    out_kernel->launch = depthwise_run;
    out_kernel->state = d;
    out_kernel->workspace_bytes = d->lines.table_count * sizeof(void *) * threads;
    out_kernel->flops = 2 * (uint64_t)(g->batch * g->out[1] * g->out[2] * g->in_channels * g->taps);
    return status;
}

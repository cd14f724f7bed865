/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/spread.h"

#include "conv/igemm.h"

/* Multiply-adds that a row costs beside its sums: pointers, a part of a call, the store. */
#define ROW_MACS 160.0
/* A half panel is bound by loads, which take so many times as long as its arithmetic. */
#define HALF_COST 1.07
#define LEAST_GAIN 1.25

typedef struct spread {
    lt_igemm igemm;
    /* Where the pixels of a row do not divide a line, lines are made with some behind them ... */
    bool ragged;
    size_t made_line, line; /* ... and their bytes copied to the output */
    int64_t lines;
    size_t made_bytes;
} spread;

/* --- launch -------------------------------------------------------------------------------------
 */

typedef struct copy_job {
    const spread *d;
    const char *from;
    char *to;
} copy_job;

static void copy_lines(void *argument, int64_t begin, int64_t end)
{
    const copy_job *job = argument;
    for (int64_t i = begin; i < end; i++) {
        memcpy(job->to + (size_t)i * job->d->line, job->from + (size_t)i * job->d->made_line,
               job->d->line);
    }
}

static leat_status spread_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const spread *d = state;
    char *workspace = args->workspace;
    (void)err;
    lt_igemm_convolve(&d->igemm, args, d->ragged ? workspace : args->outputs[0],
                      workspace + d->made_bytes);
    if (d->ragged) {
        copy_job job = {d, workspace, args->outputs[0]};
        lt_cpu_parallel_range(args, d->lines, 1, 2.0 * (double)d->line, copy_lines, &job);
    }
    return LEAT_OK;
}

/* --- plan ---------------------------------------------------------------------------------------
 */

static lt_conv_geometry spread_geometry(const lt_conv_geometry *g, int64_t pixels)
{
    lt_conv_geometry wide = *g;
    wide.out_channels = pixels * g->out_channels;
    wide.out[2] = lt_divide_up(g->out[2], pixels);
    wide.kernel[2] = g->kernel[2] + (pixels - 1) * g->stride[2];
    wide.stride[2] = pixels * g->stride[2];
    wide.taps = wide.kernel[0] * wide.kernel[1] * wide.kernel[2];
    return wide;
}

/* Of one line, in multiply-adds. */
static double line_cost(const lt_conv_geometry *g, int64_t pixels, const lt_gemm_kernels *kernels)
{
    const lt_conv_geometry wide = spread_geometry(g, pixels);
    size_t n = (size_t)wide.out_channels, nr = kernels->nr;
    double columns = n > nr / 2 ? (double)nr : HALF_COST * (double)nr / 2;
    return (double)wide.out[2] * ((double)(wide.taps * g->in_channels) * columns + ROW_MACS);
}

int64_t lt_conv_spread_pixels(const lt_conv *conv, const lt_cpu_device *device, double *out_gain)
{
    const lt_conv_geometry *g = &conv->g;
    const lt_gemm_kernels *kernels = lt_gemm_kernels_for(device, LEAT_DTYPE_F32);
    const bool adds = conv->residual_input != LEAT_NO_VALUE;
    int64_t best = 1;
    *out_gain = 1;
    if (conv->compute == LEAT_DTYPE_F64 || g->groups != 1 || g->dilation[2] != 1 ||
        g->kernel[2] == 1 || g->out_channels < 1) {
        return 1;
    }
    double plain = line_cost(g, 1, kernels);
    int64_t most = lt_least((int64_t)kernels->nr / g->out_channels, g->out[2]);
    for (int64_t pixels = 2; pixels <= most; pixels++) {
        double gain = plain / line_cost(g, pixels, kernels);
        if (gain > *out_gain && gain >= LEAST_GAIN && (!adds || g->out[2] % pixels == 0)) {
            *out_gain = gain;
            best = pixels;
        }
    }
    return best;
}

void lt_conv_spread_weights(const lt_conv_geometry *wide, int64_t pixels, size_t element,
                            const void *weights, void *out)
{
    const int64_t channels = wide->out_channels / pixels, stride = wide->stride[2] / pixels;
    const int64_t width = wide->kernel[2] - (pixels - 1) * stride;
    const int64_t lines = wide->in_channels * wide->kernel[0] * wide->kernel[1];
    memset(out, 0, (size_t)(wide->out_channels * lines * wide->kernel[2]) * element);
    for (int64_t i = 0; i < wide->out_channels * lines; i++) {
        const int64_t pixel = i / lines / channels, from = i % (channels * lines);
        memcpy((char *)out + (size_t)(i * wide->kernel[2] + pixel * stride) * element,
               (const char *)weights + (size_t)(from * width) * element, (size_t)width * element);
    }
}

leat_status lt_conv_spread_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    spread *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    const lt_conv_geometry *g = &conv->g;
    double gain;
    lt_conv wide = *conv;
    wide.spread = lt_conv_spread_pixels(conv, device, &gain);
    wide.g = spread_geometry(g, wide.spread);
    d->lines = g->batch * g->out[0] * g->out[1];
    size_t m = (size_t)(d->lines * wide.g.out[2]);
    leat_status status = lt_igemm_plan(node, &wide, m, device, host, plan, &d->igemm, err);
    if (status != LEAT_OK) {
        return status;
    }
    size_t pixel = (size_t)g->out_channels * lt_cpu_element_bytes(conv->y_dtype);
    d->ragged = g->out[2] % wide.spread != 0;
    d->line = (size_t)g->out[2] * pixel;
    d->made_line = (size_t)(wide.g.out[2] * wide.spread) * pixel;
    d->made_bytes = d->ragged ? lt_whole_lines((size_t)d->lines * d->made_line) : 0;
    out_kernel->name = "conv_spread";
    out_kernel->launch = spread_run;
    out_kernel->state = d;
    out_kernel->workspace_bytes =
        d->made_bytes + lt_igemm_convolve_workspace(&d->igemm, host->pool_threads(host->pool));
    out_kernel->flops = 2 * (uint64_t)(d->lines * g->out[2] * g->taps) *
                        (uint64_t)(g->in_channels * g->out_channels);
    return LEAT_OK;
}

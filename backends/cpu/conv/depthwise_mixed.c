/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of data stored in f16 or bf16, by the f32 kernels of depthwise.h (where
 * there is one for bf16, by that: see conv.c): arithmetic is f32, weights too (they are few). A
 * task widens every input line once, into a ring of the lines that one output line needs, and
 * narrows each output line when it is done:
 *
 *     X line 4 -> ring[1]    X line 5 -> ring[2]    X line 6 -> ring[0]
 *     ring[1], ring[2], ring[0] -> f32 line -> Y line 5
 *
 * Bound, like the f32 form, by loads from the first two caches; memory sees half the bytes. */
#include "conv/conv.h"
#include "conv/depthwise.h"
#include "convert.h"
#include "elementwise/half.h"

#define TASKS_PER_THREAD 4

typedef struct depthwise {
    lt_conv conv;
    lt_depthwise_plan lines;
    const lt_half_kernels *half;
    int64_t ring; /* lines; 0: the data is f32 */
    int64_t ring_floats;
    int64_t in_line; /* elements */
    int64_t out_line;
    size_t thread_floats; /* workspace of one thread: ring, output line, residual line, table */
    int64_t table_at;     /* floats behind the ring */
    int64_t lines_per_task;
} depthwise;

typedef struct depthwise_launch {
    const depthwise *d;
    const char *x, *residual;
    char *y;
    float *workspace;
} depthwise_launch;

/* The f32 form of input lines, each widened when it is first asked for. */
typedef struct line_ring {
    const depthwise_launch *l;
    float *lines;
    int64_t image; /* that the lines are of; -1: none yet */
    int64_t next;  /* line to widen next */
} line_ring;

/* Widens lines up to `last`. No line below `lowest` will be asked for later. */
static void expect_lines(line_ring *ring, int64_t image, int64_t lowest, int64_t last)
{
    const depthwise *d = ring->l->d;
    int64_t first = image * d->conv.g.in[1];
    if (ring->image != image || ring->next < lowest) {
        ring->next = lowest;
        ring->image = image;
    }
    for (; ring->next <= last; ring->next++) {
        const uint16_t *from =
            (const uint16_t *)(const void *)ring->l->x + (first + ring->next) * d->in_line;
        d->half->widen(d->conv.dtype, from, ring->lines + ring->next % d->ring * d->in_line,
                       d->in_line);
    }
}

static void finish_line(const depthwise_launch *l, float *line, int64_t i)
{
    const depthwise *d = l->d;
    size_t at = (size_t)(i * d->out_line) * lt_cpu_element_bytes(d->conv.y_dtype);
    d->half->narrow(d->conv.y_dtype, line, l->y + at, d->out_line);
}

/* Output line i, counted over all images. `own` is the thread's workspace behind the ring. */
static void run_line(const depthwise_launch *l, int64_t i, line_ring *ring, float *own)
{
    const depthwise *d = l->d;
    const lt_conv_geometry *g = &d->conv.g;
    int64_t y = i % g->out[1], image = i / g->out[1], top = y * g->stride[1] - g->pad[1];
    int64_t last = top + (g->kernel[1] - 1) * g->dilation[1];
    if (d->ring != 0) {
        expect_lines(ring, image, top > 0 ? top : 0, last < g->in[1] ? last : g->in[1] - 1);
    }
    float *residual = own + d->out_line;
    if (l->residual != NULL) {
        size_t element = lt_cpu_element_bytes(d->conv.residual_dtype);
        d->half->widen(d->conv.residual_dtype, l->residual + (size_t)(i * d->out_line) * element,
                       residual, d->out_line);
    }
    const float *wide = (const float *)(const void *)l->x + image * g->in[1] * d->in_line;
    lt_depthwise_band band = {.x = d->ring != 0 ? ring->lines : wide,
                              .ring = d->ring != 0 ? d->ring : INT64_MAX,
                              .residual = l->residual != NULL ? residual : NULL,
                              .out = own,
                              .y0 = y,
                              .y1 = y + 1,
                              .table = (const void **)(void *)(own + d->table_at)};
    for (; band.block < d->lines.n_blocks; band.block++) {
        lt_depthwise_band_run(&d->lines, &band);
    }
    finish_line(l, own, i);
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const depthwise_launch *l = argument;
    const depthwise *d = l->d;
    float *own = l->workspace + thread * d->thread_floats;
    line_ring ring = {.l = l, .lines = own, .image = -1};
    int64_t total = d->conv.g.batch * d->conv.g.out[1];
    int64_t i = task * d->lines_per_task, end = i + d->lines_per_task;
    for (; i < end && i < total; i++) {
        run_line(l, i, &ring, own + d->ring_floats);
    }
}

static leat_status depthwise_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const depthwise *d = state;
    int64_t lines = d->conv.g.batch * d->conv.g.out[1];
    bool adds = d->conv.residual_input != LEAT_NO_VALUE;
    depthwise_launch l = {d, args->inputs[0], adds ? args->inputs[d->conv.residual_input] : NULL,
                          args->outputs[0], args->workspace};
    (void)err;
    if (lines > 0) {
        args->host->parallel(args->pool,
                             (uint32_t)((lines + d->lines_per_task - 1) / d->lines_per_task),
                             run_task, &l);
    }
    return LEAT_OK;
}

static void plan_lines(depthwise *d, uint32_t threads)
{
    const lt_conv_geometry *g = &d->conv.g;
    int64_t reach = (g->kernel[1] - 1) * g->dilation[1] + 1;
    int64_t lines = g->batch * g->out[1];
    double work = (double)lines * (double)g->out[2] * (double)(g->in_channels * g->taps);
    int64_t tasks = threads == 1 || work < LT_CPU_GRAIN_BYTES ? 1 : threads * TASKS_PER_THREAD;
    d->in_line = g->in[2] * g->in_channels;
    d->out_line = g->out[2] * g->in_channels;
    d->ring = d->conv.dtype == LEAT_DTYPE_F32 ? 0 : reach < g->in[1] ? reach : g->in[1];
    d->table_at = (2 * d->out_line + 15) & ~(int64_t)15;
    d->ring_floats = (d->ring * d->in_line + 15) & ~(int64_t)15;
    size_t floats = (size_t)(d->ring_floats + d->table_at) +
                    d->lines.table_count * (sizeof(void *) / sizeof(float));
    d->thread_floats = (floats + 15) & ~(size_t)15;
    d->lines_per_task = lines < tasks ? 1 : (lines + tasks - 1) / tasks;
}

leat_status lt_conv_depthwise_mixed_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                            const lt_cpu_device *device, const leat_host *host,
                                            leat_plan *plan, leat_kernel *out_kernel,
                                            leat_error *err)
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
    d->half = lt_half_for(device);
    d->lines.dtype = LEAT_DTYPE_F32;
    leat_status status = lt_depthwise_plan_make(g, &conv->activation, device, host, plan, &d->lines,
                                                &out_kernel->name, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t threads = host->pool_threads(host->pool);
    plan_lines(d, threads);
    status =
        lt_depthwise_pack(node, 1, conv->has_bias ? 2 : LEAT_NO_VALUE, host, plan, &d->lines, err);
    out_kernel->launch = depthwise_run;
    out_kernel->state = d;
    out_kernel->workspace_bytes = d->thread_floats * sizeof(float) * threads;
    out_kernel->flops = 2 * (uint64_t)(g->batch * g->out[1] * d->out_line * g->taps);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ConvDepthwise of f32 (conv_depthwise.c) by ranges of channels: a thread makes some channels of
 * all of E, which stay in its own second-level cache, and at once the same channels of Y.
 *
 *              panels of W1            of E (own)             of Y
 *     X   *    | 0 1 | 2 3 | 4 |  ->   | 0 1 |          ->    | 0 1 | 2 3 | 4 |    thread 0
 *                                            | 2 3 |                               thread 1
 *
 * Threads do not wait for one another between the parts, and nothing of E passes from one to
 * another. What is left when every thread has as many blocks as the others is cut by output lines,
 * one range a thread; lines of E that two of these see are computed by both. */
#include "conv/conv_depthwise.h"

/* Rates of one core for the choice between sizes and ways. */
#define STRIP_NS 12.0         /* around a strip of the second part that the other ways lack */
#define X_BYTES_PER_NS 150.0  /* of X, read again for every block */
#define FAR_BYTES_PER_NS 15.0 /* of X and a block of E that leave the second-level cache */
#define LEAST_CHANNELS 16     /* of the second part's kernels */

typedef struct channels {
    lt_conv_depthwise_parts parts;
    lt_conv_depthwise_channels how;
    uint32_t threads;
    int64_t tasks;
    size_t table_at, gemm_at, thread_bytes; /* workspace of a thread: E, table, the product's */
} channels;

typedef struct channels_launch {
    const channels *d;
    const float *x;
    float *y;
    char *workspace;
} channels_launch;

/* --- launch -------------------------------------------------------------------------------------
 */

/* Output lines [y0, y1) of a unit. */
static void run_lines(const channels_launch *l, int64_t unit, int64_t y0, int64_t y1, char *own)
{
    const channels *d = l->d;
    const lt_depthwise_plan *lines = &d->parts.lines;
    const lt_conv_geometry *g = &lines->g;
    int64_t image = unit / d->how.blocks, block = unit % d->how.blocks;
    bool last = block + 1 == d->how.blocks;
    size_t p0 = (size_t)block * d->how.panels, n = (size_t)g->in_channels;
    size_t p1 = last ? lt_gemm_panels(d->parts.first.kernels, n) : p0 + d->how.panels;
    int64_t c0 = (int64_t)(p0 * d->parts.first.kernels->nr);
    int64_t c1 = last ? g->in_channels : (int64_t)(p1 * d->parts.first.kernels->nr);
    int64_t e0 = lt_most(y0 * g->stride[1] - g->pad[1], 0);
    int64_t e1 = lt_least((y1 - 1) * g->stride[1] - g->pad[1] + lt_depthwise_reach(g), g->in[1]);
    if (e1 > e0) {
        size_t pixel = (size_t)((image * g->in[1] + e0) * g->in[2]);
        lt_gemm_job job =
            lt_igemm_matrix_job(&d->parts.first, l->x, pixel, (size_t)((e1 - e0) * g->in[2]), own);
        job.ldc = (size_t)(c1 - c0);
        lt_gemm_run_panels(&job, p0, p1, own + d->gemm_at, 0);
    }
    lt_depthwise_band band = {.x = (const float *)(const void *)own,
                              .ring = INT64_MAX,
                              .first = e0,
                              .table = (const void **)(void *)(own + d->table_at)};
    for (band.y0 = y0; band.y0 < y1; band.y0 = band.y1) {
        band.y1 = lt_least(band.y0 + lines->most_lines, y1);
        band.out = l->y + (image * g->out[1] + band.y0) * g->out[2] * g->in_channels;
        lt_depthwise_part_run(lines, &band, c0, c1);
    }
}

/* A thread's tasks are neighbours: its whole units, then its part of each unit that is cut. */
static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const channels_launch *l = argument;
    const channels *d = l->d;
    const lt_conv_depthwise_channels *how = &d->how;
    int64_t lines = d->parts.lines.g.out[1], whole = how->per_thread * (int64_t)d->threads;
    char *own = l->workspace + thread * d->thread_bytes;
    if (how->cut == 1) {
        run_lines(l, task, 0, lines, own);
        return;
    }
    int64_t each = d->tasks / (int64_t)d->threads, owner = task / each, i = task % each;
    if (i < how->per_thread) {
        run_lines(l, owner * how->per_thread + i, 0, lines, own);
    } else {
        run_lines(l, whole + i - how->per_thread, lines * owner / how->cut,
                  lines * (owner + 1) / how->cut, own);
    }
}

static leat_status channels_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const channels *d = state;
    channels_launch l = {d, args->inputs[0], args->outputs[0], args->workspace};
    (void)err;
    if (d->parts.lines.g.out[1] * d->parts.lines.g.out[2] > 0) {
        args->host->parallel(args->pool, (uint32_t)d->tasks, run_task, &l);
    }
    return LEAT_OK;
}

/* --- plan ---------------------------------------------------------------------------------------
 */

/* Blocks of so many channels; what is left joins the last one where it is no vector. */
static int64_t count_blocks(int64_t all, int64_t width)
{
    int64_t blocks = lt_divide_up(all, width);
    return blocks > 1 && all - (blocks - 1) * width < LEAST_CHANNELS ? blocks - 1 : blocks;
}

/* Cuts the work into blocks of `width` channels. `image_ns`: arithmetic of one image; `unit_ns`:
 * what every unit costs beside it. */
static lt_conv_depthwise_channels cut_work(const lt_conv_geometry *g, int64_t width,
                                           double image_ns, double unit_ns, uint32_t threads)
{
    lt_conv_depthwise_channels how = {.cut = 1};
    how.blocks = count_blocks(g->in_channels, width);
    how.units = g->batch * how.blocks;
    how.per_thread = how.units / threads;
    double left = (double)(how.units - how.per_thread * threads), left_channels = left;
    left_channels *= (double)width;
    if (g->batch == 1) { /* the last block may be narrower */
        left_channels = (double)(g->in_channels - how.per_thread * threads * width);
    }
    double arithmetic = image_ns * (double)width / (double)g->in_channels;
    double twice = (double)lt_most(lt_depthwise_reach(g) - g->stride[1], 0) / (double)g->in[1];
    double in_parts = image_ns * left_channels / (double)g->in_channels;
    in_parts = in_parts * (1.0 / threads + twice) + left * unit_ns;
    double at_once = left > 0 ? arithmetic + unit_ns : 0;
    if (left > 0 && g->out[1] >= threads && in_parts < at_once) {
        how.cut = threads;
        at_once = in_parts;
    }
    how.cost_ns = (double)how.per_thread * (arithmetic + unit_ns) + at_once;
    return how;
}

lt_conv_depthwise_channels
lt_conv_depthwise_channels_plan(const lt_conv *first, const lt_conv_geometry *g,
                                const leat_value *y, const lt_cpu_device *device, uint32_t threads)
{
    lt_conv_depthwise_channels best = {.cost_ns = 0};
    int64_t pixels = g->in[1] * g->in[2];
    if (first->dtype != LEAT_DTYPE_F32 || first->compute != LEAT_DTYPE_F32 ||
        y->dtype != LEAT_DTYPE_F32 || g->in_channels < LEAST_CHANNELS ||
        g->batch * pixels * g->out[1] * g->out[2] == 0) {
        return best;
    }
    const int64_t nr = lt_gemm_kernels_for(device, LEAT_DTYPE_F32)->nr;
    double k = (double)first->g.in_channels, x_bytes = (double)pixels * k * sizeof(float);
    double image_ns = 2 * (double)pixels * k * (double)g->in_channels;
    image_ns /= LT_CONV_DEPTHWISE_FLOPS_PER_NS;
    double strips_ns = STRIP_NS * (double)(g->out[1] * lt_divide_up(g->out[2], 7));
    int64_t most_channels = lt_depthwise_block_channels(g);
    double others_ns = strips_ns * (double)(g->batch * lt_divide_up(g->in_channels, most_channels));
    for (int64_t width = nr; width == nr || width <= most_channels; width += nr) {
        double e_bytes = (double)(pixels * width) * sizeof(float);
        double unit_ns = LT_CONV_DEPTHWISE_CALL_NS + strips_ns + x_bytes / X_BYTES_PER_NS;
        double near_bytes = (double)(device->l2_bytes / 2);
        unit_ns += x_bytes + e_bytes > near_bytes ? (x_bytes + e_bytes) / FAR_BYTES_PER_NS : 0;
        lt_conv_depthwise_channels how = cut_work(g, width, image_ns, unit_ns, threads);
        how.panels = (size_t)(width / nr);
        how.cost_ns -= others_ns / threads;
        if (best.cost_ns == 0 || how.cost_ns < best.cost_ns) {
            best = how;
        }
    }
    return best;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static size_t plan_workspace(channels *d)
{
    const lt_conv_geometry *g = &d->parts.lines.g;
    int64_t width = (int64_t)(d->how.panels * d->parts.first.kernels->nr);
    int64_t widest = lt_most(width, g->in_channels - (d->how.blocks - 1) * width);
    d->table_at = lt_whole_lines((size_t)(g->in[1] * g->in[2] * widest) * sizeof(float));
    d->gemm_at = d->table_at + lt_whole_lines(d->parts.lines.table_count * sizeof(void *));
    size_t gemm_bytes = 0;
    for (int64_t lines = d->how.cut == 1 ? g->in[1] : 1; lines <= g->in[1]; lines++) {
        lt_gemm_job job =
            lt_igemm_matrix_job(&d->parts.first, NULL, 0, (size_t)(lines * g->in[2]), NULL);
        size_t bytes = lt_gemm_workspace(&job, 1); /* not the same for every m */
        gemm_bytes = bytes > gemm_bytes ? bytes : gemm_bytes;
    }
    d->thread_bytes = d->gemm_at + lt_whole_lines(gemm_bytes);
    return d->thread_bytes * d->threads;
}

leat_status lt_conv_depthwise_channels_prepare(const leat_kernel_node *node, void *device,
                                               const leat_host *host, leat_plan *plan,
                                               const void *argument, leat_kernel *out_kernel,
                                               leat_error *err)
{
    channels *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvDepthwise: no memory for the plan");
    }
    leat_status status =
        lt_conv_depthwise_plan_parts(&d->parts, node, false, device, host, plan, err);
    if (status != LEAT_OK) {
        return status;
    }
    d->how = *(const lt_conv_depthwise_channels *)argument;
    d->threads = host->pool_threads(host->pool);
    d->tasks = d->how.units;
    if (d->how.cut > 1) {
        int64_t left = d->how.units - d->how.per_thread * (int64_t)d->threads;
        d->tasks = (d->how.per_thread + left) * (int64_t)d->threads;
    }
    out_kernel->name = "conv_depthwise_channels";
    out_kernel->launch = channels_run;
    out_kernel->state = d;
    out_kernel->workspace_bytes = plan_workspace(d);
    out_kernel->flops = lt_conv_depthwise_flops(&d->parts);
    return LEAT_OK;
}

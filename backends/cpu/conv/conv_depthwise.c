/* SPDX-License-Identifier: Apache-2.0 */
/* A pointwise convolution and the depthwise one behind it as one node (leat's ConvDepthwise).
 *
 *     E[p, c] = act1( sum over j of X[p, j] * W1[c, j] + B1[c] )
 *     Y[q, c] = act2( sum over t of E[pixel(q, t), c] * W2[c, t] + B2[c] )
 *
 * E is the largest tensor of a mobile network's block, and writing it out and reading it back costs
 * about as much as the sums of either part. Here a task keeps only the lines of E that its next
 * output lines see, in a ring that stays in the second-level cache:
 *
 *     X line 4 -> ring[0]    X line 5 -> ring[1]   ...       by the matrix product of gemm.h
 *     ring[0], ring[1], ... -> Y lines 1 and 2               by the kernels of depthwise.h
 *
 * Tasks take output lines; the lines of E that two threads see are computed by both. Where E fits
 * the caches anyway, or such lines would be too many, all of E is made first (the way "whole"),
 * where it pays by Strassen's product (the way "strassen"). Where a few channels of all of E do,
 * tasks take ranges of channels and make of E what they need (the way "channels",
 * conv_depthwise_channels.c).
 *
 * X, weights, biases and Y are f32, f16 or bf16 each; the second part's arithmetic is f32. E has
 * Y's type where depthwise.h has a kernel for it, and is f32 otherwise.
 * The arithmetic of the first part bounds it (`leat bench --profile` on EfficientNet-Lite0). */
#include "conv/conv_depthwise.h"

#define TASKS_PER_THREAD 4
/* Rates that the choice between the ways rests on, of one core. */
#define FAR_BYTES_PER_NS 30.0    /* written and read again beyond the second-level cache */
#define WAIT_NS 5000.0           /* of a thread for slower ones, between the parts */
#define AGAIN_BYTES_PER_NS 100.0 /* lines of the ring that a later filling's output sees again */

typedef struct conv_depthwise {
    lt_conv_depthwise_parts parts;
    int64_t ring;           /* lines of E that a thread keeps; 0: all of E is made first */
    int64_t step;           /* output lines made from one filling of the ring */
    int64_t e_line, y_line; /* elements */
    int64_t chunks;         /* tasks, or with the way "whole" tasks of one block of channels */
    int64_t all_lines;      /* of output, of all images: what the chunks share out */
    /* The workspace: all of E, then for each thread its ring, what that has, output lines, table
     * and the product's own. Bytes. */
    size_t e_bytes, has_at, y_at, table_at, gemm_at, thread_bytes;
    size_t gemm_bytes; /* of all threads, with the way "whole" */
} conv_depthwise;

typedef struct conv_depthwise_launch {
    const conv_depthwise *d;
    const char *x;
    char *y;
    char *workspace;
    char *threads; /* their parts of it */
} conv_depthwise_launch;

/* Lines of E that a thread has, from one of its tasks to the next. */
typedef struct line_ring {
    int64_t image;       /* that they are of; -1: none yet */
    int64_t first, next; /* made first, and to be made next */
} line_ring;

/* --- launch -------------------------------------------------------------------------------------
 */

static line_ring *ring_of(const conv_depthwise *d, char *own)
{
    return (line_ring *)(void *)(own + d->has_at);
}

/* Makes those of the lines [lowest, last] of E, no more than the ring has room for, that are not
 * there. */
static void expect_lines(const conv_depthwise_launch *l, int64_t image, int64_t lowest,
                         int64_t last, char *own)
{
    const conv_depthwise *d = l->d;
    const lt_conv_geometry *g = &d->parts.lines.g;
    line_ring *ring = ring_of(d, own);
    bool follows = ring->image == image && lowest >= ring->first && lowest <= ring->next &&
                   lowest >= ring->next - d->ring;
    if (!follows) {
        *ring = (line_ring){image, lowest, lowest};
    }
    while (ring->next <= last) {
        int64_t slot = ring->next % d->ring;
        int64_t count = lt_least(last + 1 - ring->next, d->ring - slot);
        size_t pixel = (size_t)((image * g->in[1] + ring->next) * g->in[2]);
        lt_gemm_job job =
            lt_igemm_matrix_job(&d->parts.first, l->x, pixel, (size_t)(count * g->in[2]),
                                own + slot * d->e_line * d->parts.lines.element);
        lt_gemm_run_serial(&job, own + d->gemm_at, 0);
        ring->next += count;
    }
}

/* Blocks [begin, end) of the channels of output lines [y0, y1) of an image. */
static void run_lines(const conv_depthwise_launch *l, int64_t image, lt_depthwise_band *band,
                      int64_t begin, int64_t end)
{
    const conv_depthwise *d = l->d;
    int64_t at = (image * d->parts.lines.g.out[1] + band->y0) * d->y_line;
    bool done = d->parts.y_dtype == d->parts.lines.dtype; /* by the band */
    void *made = band->out;
    band->out = done ? l->y + at * d->parts.lines.element : made;
    for (band->block = begin; band->block < end; band->block++) {
        lt_depthwise_band_run(&d->parts.lines, band);
    }
    if (!done) {
        d->parts.half->narrow(d->parts.y_dtype, made, (uint16_t *)(void *)l->y + at,
                              (band->y1 - band->y0) * d->y_line);
    }
}

/* Whether tasks take one block of channels each: narrow output lines are finished as a whole. */
static bool in_blocks(const conv_depthwise *d)
{
    return d->ring == 0 && d->parts.y_dtype == d->parts.lines.dtype;
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const conv_depthwise_launch *l = argument;
    const conv_depthwise *d = l->d;
    const lt_conv_geometry *g = &d->parts.lines.g;
    char *own = l->threads + thread * d->thread_bytes;
    bool by_block = in_blocks(d);
    int64_t block = by_block ? task / d->chunks : 0;
    int64_t i = d->all_lines * (task % d->chunks) / d->chunks;
    int64_t end = d->all_lines * (task % d->chunks + 1) / d->chunks;
    while (i < end) {
        int64_t image = i / g->out[1], y0 = i % g->out[1];
        int64_t count = lt_least(lt_least(d->step, end - i), g->out[1] - y0);
        lt_depthwise_band band = {.x = own,
                                  .ring = d->ring,
                                  .out = own + d->y_at,
                                  .y0 = y0,
                                  .y1 = y0 + count,
                                  .table = (const void **)(void *)(own + d->table_at)};
        if (d->ring == 0) {
            band.x = l->workspace + image * g->in[1] * d->e_line * d->parts.lines.element;
            band.ring = INT64_MAX;
        } else {
            int64_t top = y0 * g->stride[1] - g->pad[1];
            int64_t last = top + (count - 1) * g->stride[1] + lt_depthwise_reach(g) - 1;
            expect_lines(l, image, top > 0 ? top : 0, lt_least(last, g->in[1] - 1), own);
        }
        run_lines(l, image, &band, block, by_block ? block + 1 : d->parts.lines.n_blocks);
        i += count;
    }
}

static leat_status conv_depthwise_run(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const conv_depthwise *d = state;
    char *workspace = args->workspace;
    conv_depthwise_launch l = {d, args->inputs[0], args->outputs[0], workspace,
                               workspace + d->e_bytes + d->gemm_bytes};
    (void)err;
    if (d->parts.lines.g.batch * d->parts.lines.g.out[1] * d->parts.lines.g.out[2] == 0) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < args->host->pool_threads(args->pool); i++) {
        ring_of(d, l.threads + i * d->thread_bytes)->image = -1;
    }
    if (d->ring == 0) {
        lt_gemm_job job = lt_igemm_matrix_job(&d->parts.first, args->inputs[0], 0,
                                              d->parts.first.window.m, workspace);
        lt_igemm_run(&d->parts.first, &job, workspace + d->e_bytes, args);
    }
    bool by_block = in_blocks(d);
    args->host->parallel(
        args->pool, (uint32_t)(d->chunks * (by_block ? d->parts.lines.n_blocks : 1)), run_task, &l);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static int64_t count_tasks(const lt_conv_geometry *g, uint32_t threads)
{
    double work = (double)(g->batch * g->out[1] * g->out[2] * g->in_channels) * (double)g->taps;
    return threads > 1 && work >= 4 * LT_CPU_GRAIN_BYTES ? threads * TASKS_PER_THREAD : 1;
}

/* Output lines that a quarter of the cache has the lines of E for, one at least: rows of X, weights
 * and the output pass through it, too. */
static int64_t ring_step(const lt_conv_geometry *g, int64_t element, const lt_cpu_device *device)
{
    int64_t line_bytes = g->in[2] * g->in_channels * element;
    int64_t fit = (int64_t)(device->l2_bytes / 4) / (line_bytes > 0 ? line_bytes : 1);
    int64_t step = (fit - lt_depthwise_reach(g)) / g->stride[1] + 1;
    return step < 1 ? 1 : step;
}

/* Output lines of a task, and of a filling of the ring. */
static void plan_lines(conv_depthwise *d, bool whole, const lt_cpu_device *device, uint32_t threads)
{
    const lt_conv_geometry *g = &d->parts.lines.g;
    int64_t lines = g->batch * g->out[1], tasks = count_tasks(g, threads);
    bool by_block = whole && d->parts.y_dtype == d->parts.lines.dtype;
    d->e_line = g->in[2] * g->in_channels;
    d->y_line = g->out[2] * g->out_channels;
    if (by_block && d->parts.lines.n_blocks > 0) {
        tasks = lt_divide_up(tasks, d->parts.lines.n_blocks);
    }
    d->all_lines = lines;
    d->chunks = lines < 1 ? 1 : lt_least(tasks, lines);
    d->step = lt_least(d->parts.lines.most_lines, lt_divide_up(lines, d->chunks));
    d->step = d->step < 1 ? 1 : d->step;
    if (!whole) {
        d->step = lt_least(ring_step(g, d->parts.lines.element, device), d->step);
        d->ring = lt_least((d->step - 1) * g->stride[1] + lt_depthwise_reach(g), g->in[1]);
        d->ring = d->ring < 1 ? 1 : d->ring;
    }
}

static size_t plan_workspace(conv_depthwise *d, uint32_t threads)
{
    const lt_conv_geometry *g = &d->parts.lines.g;
    lt_gemm_job job = lt_igemm_matrix_job(&d->parts.first, NULL, 0, d->parts.first.window.m, NULL);
    bool done = d->parts.y_dtype == d->parts.lines.dtype;
    size_t line = (size_t)(d->e_line * d->parts.lines.element);
    size_t at = lt_whole_lines((size_t)d->ring * line);
    d->has_at = at;
    at += lt_whole_lines(sizeof(line_ring));
    d->y_at = at;
    at += done ? 0 : lt_whole_lines((size_t)(d->step * d->y_line) * sizeof(float));
    d->table_at = at;
    at += lt_whole_lines(d->parts.lines.table_count * sizeof(void *));
    d->gemm_at = at;
    if (d->ring == 0) {
        d->e_bytes = lt_whole_lines((size_t)(g->batch * g->in[1]) * line);
        d->gemm_bytes = lt_whole_lines(lt_igemm_workspace(&d->parts.first, &job, threads));
    } else {
        /* The workspace is not the same for every m: a product's calls differ in theirs. */
        for (int64_t n = 1; n <= d->ring; n++) {
            job.m = (size_t)(n * g->in[2]);
            size_t bytes = lt_whole_lines(lt_gemm_workspace(&job, 1));
            at = d->gemm_at + bytes > at ? d->gemm_at + bytes : at;
        }
    }
    d->thread_bytes = at;
    return d->e_bytes + d->gemm_bytes + threads * d->thread_bytes;
}

/* The value between the two parts. */
static leat_value middle_of(const leat_kernel_node *node)
{
    leat_value e = *leat_kernel_input(node, 0);
    e.shape[3] = leat_kernel_input(node, 1)->shape[0];
    e.dtype = LEAT_DTYPE_F32;
    return e;
}

/* The type of E. */
static leat_dtype dtype_of_middle(const leat_kernel_node *node, const lt_conv_geometry *g,
                                  const lt_cpu_device *device)
{
    lt_cpu_activation activation;
    lt_cpu_activation_read(node->node, &activation);
    bool brain = lt_cpu_compute_dtype(node) == LEAT_DTYPE_BF16 &&
                 leat_kernel_output(node, 0)->dtype == LEAT_DTYPE_BF16;
    return brain && lt_depthwise_takes_bf16(g, &activation, device) ? LEAT_DTYPE_BF16
                                                                    : LEAT_DTYPE_F32;
}

/* The first part as a convolution of its own; g is the second part's. */
static lt_conv first_of(const leat_kernel_node *node, const lt_conv_geometry *g, leat_dtype e_dtype)
{
    const leat_value *x = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    const leat_value *bias = leat_kernel_input(node, 2);
    lt_conv first = {.g = *g,
                     .dtype = x->dtype,
                     .compute = lt_cpu_compute_dtype(node),
                     .w_dtype = w->dtype,
                     .bias_dtype = bias ? bias->dtype : LEAT_DTYPE_F32,
                     .residual_dtype = LEAT_DTYPE_F32,
                     .y_dtype = e_dtype,
                     .has_bias = bias != NULL,
                     .residual_input = LEAT_NO_VALUE};
    first.g.groups = first.g.taps = 1;
    first.g.in_channels = x->shape[3];
    first.g.out_channels = g->in_channels;
    for (int i = 0; i < 3; i++) {
        first.g.out[i] = g->in[i];
        first.g.kernel[i] = first.g.stride[i] = first.g.dilation[i] = 1;
        first.g.pad[i] = 0;
    }
    lt_cpu_activation_read_first(node->node, &first.activation);
    return first;
}

leat_status lt_conv_depthwise_plan_parts(lt_conv_depthwise_parts *d, const leat_kernel_node *node,
                                         bool strassen, const lt_cpu_device *device,
                                         const leat_host *host, leat_plan *plan, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, 0);
    leat_value e = middle_of(node);
    lt_conv_geometry g;
    lt_cpu_activation activation;
    leat_status status =
        lt_conv_geometry_of(node->node, &e, leat_kernel_input(node, 3), y, &g, err);
    if (status != LEAT_OK) {
        return status;
    }
    d->lines.dtype = dtype_of_middle(node, &g, device);
    const lt_conv first = first_of(node, &g, d->lines.dtype);
    lt_cpu_activation_read(node->node, &activation);
    const char *name;
    size_t least_m = strassen ? 0 : (size_t)g.in[2]; /* a line of E */
    status = lt_igemm_plan(node, &first, least_m, device, host, plan, &d->first, err);
    if (status == LEAT_OK) {
        status = lt_depthwise_plan_make(&g, &activation, device, host, plan, &d->lines, &name, err);
    }
    d->y_dtype = y->dtype;
    d->half = lt_half_for(device);
    uint32_t second_bias = leat_kernel_input(node, 4) ? 4 : LEAT_NO_VALUE;
    return status != LEAT_OK ? status
                             : lt_depthwise_pack(node, 3, second_bias, host, plan, &d->lines, err);
}

uint64_t lt_conv_depthwise_flops(const lt_conv_depthwise_parts *d)
{
    const lt_conv_geometry *g = &d->lines.g;
    return 2 * (uint64_t)(g->batch * g->out[1] * g->out[2] * g->out_channels * g->taps) +
           2 * (uint64_t)d->first.window.m * d->first.window.k * d->first.window.n;
}

/* A way for plan_choose. */
typedef struct way {
    const char *kernel;
    bool whole;                          /* all of E is made first, ... */
    const lt_strassen_kernels *strassen; /* ... by Strassen's product unless NULL */
} way;

static leat_status prepare_way(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                               leat_error *err)
{
    const way *way = argument;
    conv_depthwise *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvDepthwise: no memory for the plan");
    }
    leat_status status = lt_conv_depthwise_plan_parts(&d->parts, node, way->strassen != NULL,
                                                      device, host, plan, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t threads = host->pool_threads(host->pool);
    d->parts.first.strassen = way->strassen;
    plan_lines(d, way->whole, device, threads);
    out_kernel->name = way->kernel;
    out_kernel->launch = conv_depthwise_run;
    out_kernel->state = d;
    out_kernel->workspace_bytes = plan_workspace(d, threads);
    out_kernel->flops = lt_conv_depthwise_flops(&d->parts);
    return LEAT_OK;
}

leat_status lt_cpu_conv_depthwise_prepare(const leat_kernel_node *node, void *device_argument,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *device = device_argument;
    leat_value e = middle_of(node);
    lt_conv_geometry g;
    int64_t e_bytes_all = (int64_t)sizeof(float);
    for (int i = 0; i < 4; i++) {
        if (__builtin_mul_overflow(e_bytes_all, e.shape[i], &e_bytes_all)) {
            return lt_cpu_fail(err, LEAT_LIMIT, "ConvDepthwise '%s': its data is too large",
                               node->node->name);
        }
    }
    leat_status status = lt_conv_geometry_of(node->node, &e, leat_kernel_input(node, 3),
                                             leat_kernel_output(node, 0), &g, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t threads = host->pool_threads(host->pool);
    leat_dtype e_dtype = dtype_of_middle(node, &g, device);
    int64_t element = (int64_t)lt_cpu_element_bytes(e_dtype);
    double e_bytes = (double)(e_bytes_all / (int64_t)sizeof(float) * element);
    double flops = (double)e_bytes_all / 2 * (double)leat_kernel_input(node, 0)->shape[3];
    double arithmetic = flops / LT_CONV_DEPTHWISE_FLOPS_PER_NS / threads;
    /* Lines that neighbouring tasks both make where different threads take them. */
    double twice = (double)count_tasks(&g, threads) - 1, lines = (double)(g.batch * g.in[1]);
    twice *=
        (double)(lt_depthwise_reach(&g) > g.stride[1] ? lt_depthwise_reach(&g) - g.stride[1] : 0);
    double calls = LT_CONV_DEPTHWISE_CALL_NS * (lines + twice) / threads;
    double step = (double)lt_least(ring_step(&g, element, device), g.out[1] > 0 ? g.out[1] : 1);
    double seen_again =
        (double)(lt_depthwise_reach(&g) - g.stride[1]) / (step * (double)g.stride[1]);
    double again = seen_again > 0 ? seen_again * e_bytes / AGAIN_BYTES_PER_NS / threads : 0;
    double far = e_bytes > (double)device->l2_bytes / 2 * threads ? e_bytes / FAR_BYTES_PER_NS : 0;
    if (threads > 1) { /* what of E another thread has made */
        far += e_bytes * (1 - 1.0 / threads) / FAR_BYTES_PER_NS + WAIT_NS * threads;
    }
    lt_strassen_costs costs;
    const lt_conv first = first_of(node, &g, e_dtype);
    const way ring = {"conv_depthwise_ring", false, NULL};
    const way whole = {"conv_depthwise_whole", true, NULL};
    const way strassen = {"conv_depthwise_strassen", true,
                          host->plan_options(plan)->plain_algorithms
                              ? NULL
                              : lt_igemm_strassen(&first, device, threads, &costs)};
    leat_way ways[4] = {{"ring", arithmetic * (1 + twice / (lines < 1 ? 1 : lines)) + calls + again,
                         prepare_way, &ring},
                        {"whole", arithmetic + far / threads, prepare_way, &whole}};
    size_t count = 2;
    if (strassen.strassen != NULL) {
        double cost = arithmetic * costs.strassen_ns / costs.plain_ns + far / threads;
        ways[count++] = (leat_way){"strassen", cost, prepare_way, &strassen};
    }
    const lt_conv_depthwise_channels channels =
        lt_conv_depthwise_channels_plan(&first, &g, leat_kernel_output(node, 0), device, threads);
    if (channels.cost_ns > 0) {
        ways[count++] =
            (leat_way){"channels", channels.cost_ns, lt_conv_depthwise_channels_prepare, &channels};
    }
    return host->plan_choose(plan, node, ways, count, out_kernel, err);
}

leat_status lt_cpu_conv_depthwise_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *filters = leat_kernel_input(node, 3);
    lt_cpu_activation activation;
    for (uint32_t i = 1; i < 5; i++) {
        const leat_value *constant = leat_kernel_input(node, i);
        if ((constant == NULL && i % 2 == 1) || (constant != NULL && constant->data == NULL)) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "ConvDepthwise: weights that change");
        }
    }
    if (leat_node_int(node->node, "channels_last", 0) == 0 ||
        lt_conv_residual_input(node) != LEAT_NO_VALUE || filters->rank != 4 ||
        filters->shape[2] > LT_DEPTHWISE_MAX_KERNEL_H ||
        !lt_cpu_activation_read(node->node, &activation) ||
        !lt_cpu_activation_read_first(node->node, &activation)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "ConvDepthwise: not in this form");
    }
    return lt_cpu_compute_supports(node, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* MaxPool, AveragePool, LpPool and their global forms, in both layouts. */
#include "pool/pool.h"

typedef struct pool_state {
    lt_pool_geometry g;
    lt_pool_kernels kernels;
    bool indices;          /* output 1 is wanted */
    int64_t channel_piece; /* channels last: channels of one work item */
} pool_state;

typedef struct pool_job {
    const pool_state *state;
    const uint8_t *in;
    uint8_t *out;
    int64_t *indices;
} pool_job;

static void run_plain(void *argument, int64_t begin, int64_t end)
{
    const pool_job *job = argument;
    lt_pool_plain(&job->state->g, job->in, job->out, job->indices, begin, end);
}

static void run_planes(void *argument, int64_t begin, int64_t end)
{
    const pool_job *job = argument;
    job->state->kernels.rows(&job->state->g, job->in, job->out, begin, end);
}

/* One output row, channels [c, c + count). */
static void channels_row(const pool_job *job, int64_t row, int64_t c, int64_t count)
{
    const lt_pool_geometry *g = &job->state->g;
    int64_t bytes = (int64_t)lt_cpu_element_bytes(g->dtype);
    int64_t oh = row % g->out[1], od = row / g->out[1] % g->out[0], n = row / g->out[1] / g->out[0];
    lt_pool_taps td = lt_pool_axis(g, 0, od), th = lt_pool_axis(g, 1, oh);
    int64_t pixel = g->channels, line = g->in[2] * pixel, slice = g->in[1] * line;
    lt_pool_window window = {
        .channels = count,
        .count = {td.count, th.count, 0},
        .step = {slice * g->dilation[0], line * g->dilation[1], pixel * g->dilation[2]}};
    for (int64_t ow = 0; ow < g->out[2]; ow++) {
        lt_pool_taps tw = lt_pool_axis(g, 2, ow);
        int64_t counted = td.counted * th.counted * tw.counted;
        bool empty = td.count == 0 || th.count == 0 || tw.count == 0;
        int64_t at = n * g->in[0] * slice + td.first * slice + th.first * line + tw.first * pixel;
        window.in = job->in + (empty ? 0 : (at + c) * bytes);
        window.out = job->out + ((row * g->out[2] + ow) * g->channels + c) * bytes;
        window.count[2] = tw.count;
        window.divisor = counted ? (float)counted : 1.0f;
        job->state->kernels.window(&window);
    }
}

static void run_channels(void *argument, int64_t begin, int64_t end)
{
    const pool_job *job = argument;
    const lt_pool_geometry *g = &job->state->g;
    int64_t piece = job->state->channel_piece, pieces = (g->channels + piece - 1) / piece;
    for (int64_t item = begin; item < end; item++) {
        int64_t c = item % pieces * piece;
        channels_row(job, item / pieces, c, g->channels - c < piece ? g->channels - c : piece);
    }
}

static leat_status launch_pool(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const pool_state *state = opaque;
    const lt_pool_geometry *g = &state->g;
    pool_job job = {state, args->inputs[0], args->outputs[0],
                    state->indices ? args->outputs[1] : NULL};
    int64_t rows = g->batch * g->out[0] * g->out[1], elements = rows * g->out[2] * g->channels;
    double taps = (double)g->kernel[0] * (double)g->kernel[1] * (double)g->kernel[2];
    double bytes = (double)lt_cpu_element_bytes(g->dtype) * taps;
    if (elements == 0) {
        return LEAT_OK;
    }
    if (state->kernels.rows == NULL) {
        lt_cpu_parallel_range(args, elements, 1, 8.0 * bytes, run_plain, &job);
    } else if (g->channels_last) {
        int64_t items = rows * ((g->channels + state->channel_piece - 1) / state->channel_piece);
        double each = bytes * (double)elements / (double)items;
        lt_cpu_parallel_range(args, items, 1, each, run_channels, &job);
    } else {
        lt_cpu_parallel_range(args, rows * g->channels, 1, bytes * (double)g->out[2], run_planes,
                              &job);
    }
    return LEAT_OK;
}

#if defined(__x86_64__)
static lt_pool_kernels pick(lt_cpu_isa isa, lt_pool_op op, leat_dtype dtype)
{
    return isa == LT_CPU_AVX512 ? lt_pool_kernels_avx512(op, dtype)
           : isa == LT_CPU_AVX2 ? lt_pool_kernels_avx2(op, dtype)
                                : lt_pool_kernels_portable(op, dtype);
}
#else
static lt_pool_kernels pick(lt_cpu_isa isa, lt_pool_op op, leat_dtype dtype)
{
    (void)isa;
    return lt_pool_kernels_portable(op, dtype);
}
#endif

static leat_status prepare_pool(const leat_kernel_node *node, lt_pool_op op, void *device,
                                const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *indices = op == LT_POOL_MAX ? leat_kernel_output(node, 1) : NULL;
    pool_state *state = host->plan_alloc(plan, sizeof(*state));
    if (state == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s node '%s': no memory for its plan",
                           node->node->op, node->node->name);
    }
    leat_status status = lt_pool_read(node, op, &state->g, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (indices != NULL &&
        (indices->dtype != LEAT_DTYPE_I64 ||
         leat_value_count(indices) != leat_value_count(leat_kernel_output(node, 0)))) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': Indices must be i64 of Y's shape",
                           node->node->op, node->node->name);
    }
    const lt_pool_geometry *g = &state->g;
    state->indices = indices != NULL;
    if (op != LT_POOL_LP && indices == NULL) {
        state->kernels = pick(cpu->isa, op, g->dtype);
    } else {
        state->kernels.name = op == LT_POOL_LP ? "lp_pool_plain" : "max_pool_indices_plain";
    }
    /* Few rows: the channels are shared out, too. */
    bool few = g->batch * g->out[0] * g->out[1] < 16;
    state->channel_piece = few ? 64 : g->channels > 0 ? g->channels : 1;
    out_kernel->name = state->kernels.name;
    out_kernel->launch = launch_pool;
    out_kernel->state = state;
    out_kernel->flops = (uint64_t)leat_value_count(leat_kernel_output(node, 0)) *
                        (uint64_t)(g->kernel[0] * g->kernel[1] * g->kernel[2]);
    return LEAT_OK;
}

leat_status lt_cpu_max_pool_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    return prepare_pool(node, LT_POOL_MAX, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_average_pool_prepare(const leat_kernel_node *node, void *device,
                                        const leat_host *host, leat_plan *plan,
                                        leat_kernel *out_kernel, leat_error *err)
{
    return prepare_pool(node, LT_POOL_AVERAGE, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_lp_pool_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    return prepare_pool(node, LT_POOL_LP, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_pool_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    bool global = strncmp(node->node->op, "Global", 6) == 0;
    if (in == NULL || (!global && in->rank >= 0 && (in->rank < 3 || in->rank > 5)) ||
        (global && in->rank >= 0 && in->rank < 3)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': it takes data of rank 3 to 5",
                           node->node->op, node->node->name);
    }
    if (leat_node_attr(node->node, "activation") != NULL ||
        leat_node_int(node->node, "residual", 0) != 0) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': no activation or residual here",
                           node->node->op, node->node->name);
    }
    if (leat_node_int(node->node, "p", 2) < 1) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': p must be at least 1",
                           node->node->op, node->node->name);
    }
    return LEAT_OK;
}

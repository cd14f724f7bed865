/* SPDX-License-Identifier: Apache-2.0 */
/* DFT along one axis of real or complex data, and STFT: windowed frames of a signal, transformed.
 * Complex numbers are pairs along the last axis. Each line goes through f64 (signal/fft.h). */
#include "elementwise/element.h"
#include "movement/movement.h"
#include "signal/fft.h"

/* Where the lines of one transform lie. */
typedef struct dft {
    leat_dtype dtype;
    bool inverse, onesided;
    int64_t outer, inner;        /* lines; inner without the pair */
    int64_t in, out;             /* elements along the axis */
    int64_t in_parts, out_parts; /* 1 real, 2 complex */
    /* STFT: line (b, f) starts at b * length + f * step, window is input 2 */
    bool frames, has_window;
    leat_dtype window_dtype;
    int64_t length, step;
    lt_fft fft;
} dft;

typedef struct dft_job {
    const dft *d;
    const void *x, *window;
    void *y;
    lt_complex *workspace;
} dft_job;

static int64_t line_elements(const dft *d)
{
    return d->fft.n + lt_fft_workspace(&d->fft);
}

/* Element k of the line that begins at `first`, `stride` apart. */
static lt_complex load(const dft_job *job, int64_t first, int64_t stride, int64_t k)
{
    const dft *d = job->d;
    int64_t at = (first + k * stride) * d->in_parts;
    lt_complex c = {lt_element_get(d->dtype, job->x, at),
                    d->in_parts == 2 ? lt_element_get(d->dtype, job->x, at + 1) : 0};
    if (d->has_window) {
        double w = lt_element_get(d->window_dtype, job->window, k);
        c.re *= w;
        c.im *= w;
    }
    return c;
}

/* Reads a line; an inverse is the transform of the conjugate, conjugated. */
static void read_line(const dft_job *job, int64_t first, int64_t stride, lt_complex *line)
{
    const dft *d = job->d;
    int64_t n = d->fft.n, given = d->in < n ? d->in : n;
    memset(line, 0, (size_t)n * sizeof(*line));
    for (int64_t k = 0; k < given; k++) {
        line[k] = load(job, first, stride, k);
    }
    if (d->inverse && d->onesided) { /* the other half mirrors this one */
        line[0].im = 0;
        for (int64_t k = n / 2 + 1; k < n; k++) {
            line[k].re = line[n - k].re;
            line[k].im = -line[n - k].im;
        }
        if (n % 2 == 0) {
            line[n / 2].im = 0;
        }
    }
    for (int64_t k = 0; k < n && d->inverse; k++) {
        line[k].im = -line[k].im;
    }
}

static void dft_line(const dft_job *job, lt_complex *line, int64_t item)
{
    const dft *d = job->d;
    int64_t outer = item / d->inner, inner = item % d->inner;
    int64_t first =
        d->frames ? outer * d->length + inner * d->step : outer * d->in * d->inner + inner;
    read_line(job, first, d->frames ? 1 : d->inner, line);
    lt_fft_run(&d->fft, line, line + d->fft.n);
    double scale = d->inverse ? 1 / (double)d->fft.n : 1;
    for (int64_t k = 0; k < d->out; k++) {
        int64_t at = d->frames ? item * d->out + k : (outer * d->out + k) * d->inner + inner;
        lt_element_set(d->dtype, job->y, at * d->out_parts, line[k].re * scale);
        if (d->out_parts == 2) {
            lt_element_set(d->dtype, job->y, at * 2 + 1,
                           d->inverse ? -line[k].im * scale : line[k].im);
        }
    }
}

#define LINES_PER_TASK 8

static void dft_task(void *argument, uint32_t task, uint32_t thread)
{
    const dft_job *job = argument;
    const dft *d = job->d;
    lt_complex *line = job->workspace + thread * line_elements(d);
    int64_t end = ((int64_t)task + 1) * LINES_PER_TASK;
    for (int64_t i = (int64_t)task * LINES_PER_TASK; i < end && i < d->outer * d->inner; i++) {
        dft_line(job, line, i);
    }
}

static leat_status launch_dft(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const dft *d = state;
    dft_job job = {d, args->inputs[0], d->has_window ? args->inputs[2] : NULL, args->outputs[0],
                   args->workspace};
    int64_t tasks = (d->outer * d->inner + LINES_PER_TASK - 1) / LINES_PER_TASK;
    (void)err;
    args->host->parallel(args->pool, (uint32_t)tasks, dft_task, &job);
    return LEAT_OK;
}

static leat_status finish(const leat_kernel_node *node, dft *d, int64_t n, const leat_host *host,
                          leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    int64_t lines = d->outer * d->inner;
    if (n < 1 || d->out > n || lines / LINES_PER_TASK >= UINT32_MAX ||
        leat_value_count(leat_kernel_output(node, 0)) != lines * d->out * d->out_parts) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: a transform of %lld does not fit",
                           lt_move_name(node->node).text, (long long)n);
    }
    if (!lt_fft_prepare(&d->fft, n, host, plan)) {
        return lt_move_no_memory(node->node, err);
    }
    out_kernel->name = d->frames ? "stft" : "dft";
    out_kernel->launch = launch_dft;
    out_kernel->state = d;
    out_kernel->workspace_bytes =
        (size_t)line_elements(d) * sizeof(lt_complex) * host->pool_threads(host->pool);
    return LEAT_OK;
}

/* The axis: an attribute before opset 20, an input since, which must be known. */
static leat_status read_axis(const leat_kernel_node *node, int32_t rank, int32_t *out,
                             leat_error *err)
{
    const leat_value *given = node->node->opset >= 20 ? leat_kernel_input(node, 2) : NULL;
    int64_t axis = node->node->opset >= 20 ? -2 : leat_node_int(node->node, "axis", 1);
    if (given != NULL) {
        if (given->data == NULL || leat_value_count(given) != 1) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its axis must be known",
                               lt_move_name(node->node).text);
        }
        axis = lt_element_int(given->dtype, given->data, 0);
    }
    return lt_move_axis(node->node, axis, rank, out, err);
}

leat_status lt_cpu_dft_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *length = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    dft *d = host->plan_alloc(plan, sizeof(*d));
    int32_t axis = 0;
    (void)device;
    if (d == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_status status = read_axis(node, x->rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (axis == x->rank - 1 || (length != NULL && length->data == NULL)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: the last axis has the parts of numbers",
                           lt_move_name(node->node).text);
    }
    d->dtype = x->dtype;
    d->inverse = leat_node_int(node->node, "inverse", 0) != 0;
    d->onesided = leat_node_int(node->node, "onesided", 0) != 0;
    d->outer = lt_move_product(x->shape, 0, axis);
    d->inner = lt_move_product(x->shape, axis + 1, x->rank - 1);
    d->in = x->shape[axis];
    d->out = y->shape[axis];
    d->in_parts = x->shape[x->rank - 1];
    d->out_parts = y->shape[y->rank - 1];
    int64_t n = d->inverse && d->onesided ? 2 * (d->in - 1) : d->in;
    n = length != NULL ? lt_element_int(length->dtype, length->data, 0) : n;
    out_kernel->unread_mask = 6;
    return finish(node, d, n, host, plan, out_kernel, err);
}

leat_status lt_cpu_stft_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *window = leat_kernel_input(node, 2);
    return window != NULL && !(CPU_FLOATS >> window->dtype & 1)
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its window must be of floats",
                             lt_move_name(node->node).text)
               : LEAT_OK;
}

leat_status lt_cpu_stft_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *step = leat_kernel_input(node, 1);
    const leat_value *window = leat_kernel_input(node, 2), *length = leat_kernel_input(node, 3);
    const leat_value *y = leat_kernel_output(node, 0);
    dft *d = host->plan_alloc(plan, sizeof(*d));
    (void)device;
    if (d == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (step->data == NULL || (length != NULL && length->data == NULL)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its step and length must be known",
                           lt_move_name(node->node).text);
    }
    d->frames = true;
    d->dtype = x->dtype;
    d->has_window = window != NULL;
    d->window_dtype = window ? window->dtype : x->dtype;
    d->length = x->rank > 1 ? x->shape[1] : 0;
    d->step = lt_element_int(step->dtype, step->data, 0);
    d->in_parts = x->rank == 3 ? x->shape[2] : 1;
    d->out_parts = 2;
    d->in = length != NULL   ? lt_element_int(length->dtype, length->data, 0)
            : window != NULL ? leat_value_count(window)
                             : d->length;
    d->outer = x->shape[0];
    d->inner = y->rank == 4 ? y->shape[1] : 0;
    d->out = y->rank == 4 ? y->shape[2] : 0;
    if (d->step < 1 || d->in > d->length || d->in_parts < 1 || d->in_parts > 2 ||
        (window != NULL && leat_value_count(window) != d->in) ||
        (d->inner > 0 && (d->inner - 1) * d->step > d->length - d->in)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: frames of %lld each %lld do not fit %lld",
                           lt_move_name(node->node).text, (long long)d->in, (long long)d->step,
                           (long long)d->length);
    }
    out_kernel->unread_mask = 10;
    return finish(node, d, d->in, host, plan, out_kernel, err);
}

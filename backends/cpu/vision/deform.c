/* SPDX-License-Identifier: Apache-2.0 */
/* DeformConv (Zhu et al., arXiv:1811.11168) of two spatial dimensions: a convolution whose taps
 * are moved by offsets that come as data, and weighted by a mask:
 *
 *     y[n, o, p] = b[o] + sum over c, t of w[o, c, t] m[n, g, t, p] x[n, c](place(p, t) + off(n, g,
 * t, p))
 *
 * x between pixels is bilinear, 0 outside. A block of places is sampled for all taps of a group,
 * then multiplied by the weights. In f64; rare enough to be plain. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

#define BLOCK 64 /* places at a time */

typedef struct deform {
    leat_dtype dtype;
    bool has_bias, has_mask;
    int64_t batch, channels, height, width, outputs, out_height, out_width;
    int64_t group, offset_group, taps, kernel[2], stride[2], dilation[2], pad[2];
} deform;

typedef struct deform_job {
    const deform *d;
    const void *x, *w, *offset, *bias, *mask;
    void *y;
    char *workspace;
} deform_job;

static double pixel(const deform_job *job, int64_t plane, int64_t y, int64_t x)
{
    const deform *d = job->d;
    if (y < 0 || y >= d->height || x < 0 || x >= d->width) {
        return 0;
    }
    return lt_element_get(d->dtype, job->x, (plane * d->height + y) * d->width + x);
}

static double between(const deform_job *job, int64_t plane, double y, double x)
{
    if (!(y > -1 && y < (double)job->d->height && x > -1 && x < (double)job->d->width)) {
        return 0; /* NaN among it */
    }
    double top = floor(y), left = floor(x), down = y - top, over = x - left;
    int64_t i = (int64_t)top, j = (int64_t)left;
    return (1 - down) *
               ((1 - over) * pixel(job, plane, i, j) + over * pixel(job, plane, i, j + 1)) +
           down *
               ((1 - over) * pixel(job, plane, i + 1, j) + over * pixel(job, plane, i + 1, j + 1));
}

/* What tap t of channel c of image n meets at place p. */
static double tap(const deform_job *job, int64_t n, int64_t c, int64_t t, int64_t p)
{
    const deform *d = job->d;
    int64_t places = d->out_height * d->out_width;
    int64_t g = n * d->offset_group + c / (d->channels / d->offset_group);
    int64_t at = (g * d->taps + t) * 2 * places + p;
    double y =
        (double)(p / d->out_width * d->stride[0] - d->pad[0] + t / d->kernel[1] * d->dilation[0]) +
        lt_element_get(d->dtype, job->offset, at);
    double x =
        (double)(p % d->out_width * d->stride[1] - d->pad[1] + t % d->kernel[1] * d->dilation[1]) +
        lt_element_get(d->dtype, job->offset, at + places);
    double m =
        d->has_mask ? lt_element_get(d->dtype, job->mask, (g * d->taps + t) * places + p) : 1;
    return m * between(job, n * d->channels + c, y, x);
}

/* Places [p0, p1) of one group of one image. */
static void deform_block(const deform_job *job, double *columns, int64_t item, int64_t p0,
                         int64_t p1)
{
    const deform *d = job->d;
    int64_t n = item / d->group, g = item % d->group, places = d->out_height * d->out_width;
    int64_t in = d->channels / d->group, out = d->outputs / d->group, depth = in * d->taps;
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t p = p0; p < p1; p++) {
            columns[k * BLOCK + p - p0] = tap(job, n, g * in + k / d->taps, k % d->taps, p);
        }
    }
    for (int64_t o = g * out; o < (g + 1) * out; o++) {
        double sum[BLOCK];
        double first = d->has_bias ? lt_element_get(d->dtype, job->bias, o) : 0;
        for (int64_t i = 0; i < p1 - p0; i++) {
            sum[i] = first;
        }
        for (int64_t k = 0; k < depth; k++) {
            double w = lt_element_get(d->dtype, job->w, o * depth + k);
            for (int64_t i = 0; i < p1 - p0; i++) {
                sum[i] += w * columns[k * BLOCK + i];
            }
        }
        for (int64_t i = 0; i < p1 - p0; i++) {
            lt_element_set(d->dtype, job->y, (n * d->outputs + o) * places + p0 + i, sum[i]);
        }
    }
}

static size_t column_bytes(const deform *d)
{
    return (size_t)(d->channels / d->group * d->taps * BLOCK) * sizeof(double);
}

static int64_t blocks_of(const deform *d)
{
    return (d->out_height * d->out_width + BLOCK - 1) / BLOCK;
}

static void deform_task(void *argument, uint32_t task, uint32_t thread)
{
    const deform_job *job = argument;
    const deform *d = job->d;
    int64_t blocks = blocks_of(d), places = d->out_height * d->out_width;
    double *columns = (double *)(void *)(job->workspace + thread * column_bytes(d));
    for (int64_t item = task; item < d->batch * d->group * blocks; item += d->batch * d->group) {
        int64_t p0 = item / (d->batch * d->group) * BLOCK, p1 = p0 + BLOCK;
        deform_block(job, columns, item % (d->batch * d->group), p0, p1 < places ? p1 : places);
    }
}

static leat_status launch_deform(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const deform *d = state;
    deform_job job = {d,
                      args->inputs[0],
                      args->inputs[1],
                      args->inputs[2],
                      d->has_bias ? args->inputs[3] : NULL,
                      d->has_mask ? args->inputs[4] : NULL,
                      args->outputs[0],
                      args->workspace};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)(d->batch * d->group), deform_task, &job);
    return LEAT_OK;
}

leat_status lt_cpu_deform_conv_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    for (uint32_t i = 1; i < 5; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (x == NULL || (i < 3 && value == NULL) || (value != NULL && value->dtype != x->dtype)) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or of another type",
                               lt_move_name(node->node).text, i);
        }
    }
    if (x->rank >= 0 && x->rank != 4) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: only two spatial dimensions are served",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static void read_pair(const leat_node *node, const char *name, int64_t otherwise, int64_t *out)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    out[0] = list && count >= 2 ? list[0] : otherwise;
    out[1] = list && count >= 2 ? list[1] : otherwise;
}

static bool fits(const leat_kernel_node *node, const deform *d)
{
    const leat_value *w = leat_kernel_input(node, 1), *offset = leat_kernel_input(node, 2);
    const leat_value *bias = leat_kernel_input(node, 3), *mask = leat_kernel_input(node, 4);
    int64_t places = d->batch * d->offset_group * d->taps * d->out_height * d->out_width;
    return d->group > 0 && d->offset_group > 0 && d->channels % d->group == 0 &&
           d->channels % d->offset_group == 0 && d->outputs % d->group == 0 &&
           w->shape[1] == d->channels / d->group && leat_value_count(offset) == 2 * places &&
           (bias == NULL || leat_value_count(bias) == d->outputs) &&
           (mask == NULL || leat_value_count(mask) == places) && d->batch * d->group < UINT32_MAX;
}

leat_status lt_cpu_deform_conv_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    deform *d = host->plan_alloc(plan, sizeof(*d));
    (void)device;
    if (d == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    d->dtype = x->dtype;
    d->has_bias = leat_kernel_input(node, 3) != NULL;
    d->has_mask = leat_kernel_input(node, 4) != NULL;
    d->group = leat_node_int(node->node, "group", 1);
    d->offset_group = leat_node_int(node->node, "offset_group", 1);
    if (x->rank == 4 && w->rank == 4 && y->rank == 4) {
        d->batch = x->shape[0];
        d->channels = x->shape[1];
        d->height = x->shape[2];
        d->width = x->shape[3];
        d->outputs = w->shape[0];
        d->kernel[0] = w->shape[2];
        d->kernel[1] = w->shape[3];
        d->taps = w->shape[2] * w->shape[3];
        d->out_height = y->shape[2];
        d->out_width = y->shape[3];
    }
    read_pair(node->node, "strides", 1, d->stride);
    read_pair(node->node, "dilations", 1, d->dilation);
    read_pair(node->node, "pads", 0, d->pad);
    if (d->taps == 0 || !fits(node, d)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit",
                           lt_move_name(node->node).text);
    }
    out_kernel->name = "deform_conv";
    out_kernel->launch = launch_deform;
    out_kernel->state = d;
    out_kernel->workspace_bytes = column_bytes(d) * host->pool_threads(host->pool);
    return LEAT_OK;
}

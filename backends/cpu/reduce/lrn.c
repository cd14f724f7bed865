/* SPDX-License-Identifier: Apache-2.0 */
/* LRN: y = x / (bias + alpha / size * sum of x^2 over a window of channels)^beta
 *
 * x is N x C x inner. The window of channel c is [c - (size - 1) / 2, c + size / 2], cut at the
 * ends. Along inner the elements of a channel lie together: a block of them is summed over the
 * window at once and raised to -beta by exp and log (elementwise/vmath.h). f16 and bf16 go through
 * f32, f64 element by element. Bound by the arithmetic of exp and log. */
#include "convert.h"
#include "elementwise/vmath.h"
#include "movement/movement.h"

#include <math.h>

#define BLOCK 256

typedef struct lrn {
    leat_dtype dtype;
    int64_t batch, channels, inner, size;
    double alpha, beta, bias;
} lrn;

typedef struct lrn_job {
    const lrn *l;
    const void *x;
    void *y;
} lrn_job;

/* First and behind-last channel of the window. */
static void window(const lrn *l, int64_t c, int64_t *first, int64_t *end)
{
    int64_t behind = l->size / 2 + 1;
    *first = c > (l->size - 1) / 2 ? c - (l->size - 1) / 2 : 0;
    *end = behind < l->channels - c ? c + behind : l->channels;
}

static void block_f32(const lrn *l, const void *x, void *y, int64_t plane, int64_t at, int64_t n)
{
    float sum[BLOCK] = {0}, v[BLOCK];
    size_t bytes = lt_cpu_element_bytes(l->dtype);
    int64_t first, end, batch = plane / l->channels * l->channels;
    window(l, plane - batch, &first, &end);
    for (int64_t c = first; c < end; c++) {
        size_t from = (size_t)((batch + c) * l->inner + at);
        lt_cpu_widen_f32(l->dtype, (const char *)x + from * bytes, v, (size_t)n);
        for (int64_t i = 0; i < n; i++) {
            sum[i] += v[i] * v[i];
        }
    }
    size_t from = (size_t)(plane * l->inner + at);
    const float scale = (float)(l->alpha / (double)l->size), bias = (float)l->bias;
    const float power = (float)-l->beta;
    lt_cpu_widen_f32(l->dtype, (const char *)x + from * bytes, v, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        v[i] *= lt_exp_f32(power * lt_log_f32(bias + scale * sum[i]));
    }
    lt_cpu_narrow_f32(l->dtype, v, (char *)y + from * bytes, (size_t)n);
}

static double get_f64(const void *x, int64_t i)
{
    double v;
    memcpy(&v, (const char *)x + (size_t)i * sizeof(v), sizeof(v));
    return v;
}

static void plane_f64(const lrn *l, const void *x, double *y, int64_t plane)
{
    int64_t first, end, batch = plane / l->channels * l->channels;
    window(l, plane - batch, &first, &end);
    for (int64_t i = 0; i < l->inner; i++) {
        double sum = 0;
        for (int64_t c = first; c < end; c++) {
            double v = get_f64(x, (batch + c) * l->inner + i);
            sum += v * v;
        }
        y[plane * l->inner + i] = get_f64(x, plane * l->inner + i) *
                                  pow(l->bias + l->alpha / (double)l->size * sum, -l->beta);
    }
}

static void lrn_range(void *argument, int64_t begin, int64_t end)
{
    const lrn_job *job = argument;
    const lrn *l = job->l;
    for (int64_t plane = begin; plane < end; plane++) {
        if (l->dtype == LEAT_DTYPE_F64) {
            plane_f64(l, job->x, job->y, plane);
            continue;
        }
        for (int64_t at = 0; at < l->inner; at += BLOCK) {
            int64_t left = l->inner - at;
            block_f32(l, job->x, job->y, plane, at, left < BLOCK ? left : BLOCK);
        }
    }
}

static leat_status launch_lrn(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const lrn *l = state;
    lrn_job job = {l, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, l->batch * l->channels, 1, 4.0 * (double)(l->inner * (l->size + 8)),
                          lrn_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_lrn_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    lrn *l = host->plan_alloc(plan, sizeof(*l));
    (void)device;
    if (l == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    l->dtype = x->dtype;
    l->size = leat_node_int(node->node, "size", 0);
    if (x->rank < 2 || l->size < 1 || l->size > INT32_MAX ||
        leat_value_count(x) != leat_value_count(y)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: size %lld for data of rank %d",
                           lt_move_name(node->node).text, (long long)l->size, x->rank);
    }
    l->batch = x->shape[0];
    l->channels = x->shape[1];
    l->inner = lt_move_product(x->shape, 2, x->rank);
    l->alpha = (double)leat_node_float(node->node, "alpha", 1e-4f);
    l->beta = (double)leat_node_float(node->node, "beta", 0.75f);
    l->bias = (double)leat_node_float(node->node, "bias", 1);
    out_kernel->name = "lrn";
    out_kernel->launch = launch_lrn;
    out_kernel->state = l;
    return LEAT_OK;
}

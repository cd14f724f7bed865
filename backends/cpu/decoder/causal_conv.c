/* SPDX-License-Identifier: Apache-2.0 */
/* CausalConvWithState: a convolution of each channel with taps that reach back in time; what lies
 * before the first element comes from a state, and the last elements become the next one.
 *
 *     y[l] = silu( b + sum over j < k of w[j] * (past, x)[l + j] )
 *
 * A tap at a time over all of a channel's elements. Computed in f32; bound by memory. */
#include "convert.h"
#include "elementwise/vmath.h"
#include "movement/movement.h"

typedef struct causal_conv {
    leat_dtype dtype;
    bool has_bias, has_past, silu;
    uint32_t n_outputs;
    int64_t rows, channels, length, taps; /* rows: batch * channels */
} causal_conv;

typedef struct causal_job {
    const causal_conv *c;
    const void *x, *w, *bias, *past;
    void *y, *present;
    float *workspace;
} causal_job;

static void causal_row(const causal_job *job, float *line, float *sum, int64_t row)
{
    const causal_conv *c = job->c;
    int64_t channel = row % c->channels, state = c->taps - 1;
    size_t bytes = lt_cpu_element_bytes(c->dtype);
    float first = job->bias ? lt_cpu_get_f32(c->dtype, job->bias, (size_t)channel) : 0;
    memset(line, 0, (size_t)state * sizeof(*line));
    if (job->past != NULL) {
        lt_cpu_widen_f32(c->dtype, (const char *)job->past + (size_t)(row * state) * bytes, line,
                         (size_t)state);
    }
    lt_cpu_widen_f32(c->dtype, (const char *)job->x + (size_t)(row * c->length) * bytes,
                     line + state, (size_t)c->length);
    for (int64_t l = 0; l < c->length; l++) {
        sum[l] = first;
    }
    for (int64_t j = 0; j < c->taps; j++) {
        float w = lt_cpu_get_f32(c->dtype, job->w, (size_t)(channel * c->taps + j));
        for (int64_t l = 0; l < c->length; l++) {
            sum[l] += w * line[l + j];
        }
    }
    for (int64_t l = 0; l < c->length && c->silu; l++) {
        sum[l] *= lt_sigmoid_f32(sum[l]);
    }
    lt_cpu_narrow_f32(c->dtype, sum, (char *)job->y + (size_t)(row * c->length) * bytes,
                      (size_t)c->length);
    if (job->present != NULL) {
        lt_cpu_narrow_f32(c->dtype, line + c->length,
                          (char *)job->present + (size_t)(row * state) * bytes, (size_t)state);
    }
}

static void causal_task(void *argument, uint32_t task, uint32_t thread)
{
    const causal_job *job = argument;
    int64_t room = job->c->length + job->c->taps;
    float *line = job->workspace + (int64_t)thread * 2 * room;
    int64_t end = ((int64_t)task + 1) * 16;
    for (int64_t row = (int64_t)task * 16; row < end && row < job->c->rows; row++) {
        causal_row(job, line, line + room, row);
    }
}

static leat_status launch_causal_conv(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const causal_conv *c = state;
    causal_job job = {c,
                      args->inputs[0],
                      args->inputs[1],
                      c->has_bias ? args->inputs[2] : NULL,
                      c->has_past ? args->inputs[3] : NULL,
                      args->outputs[0],
                      c->n_outputs > 1 ? args->outputs[1] : NULL,
                      args->workspace};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)((c->rows + 15) / 16), causal_task, &job);
    return LEAT_OK;
}

leat_status lt_cpu_causal_conv_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    for (uint32_t i = 1; i < 4; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (x == NULL || (i == 1 && value == NULL) || (value != NULL && value->dtype != x->dtype)) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or of another type",
                               lt_move_name(node->node).text, i);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_causal_conv_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    const leat_value *bias = leat_kernel_input(node, 2), *past = leat_kernel_input(node, 3);
    causal_conv *c = host->plan_alloc(plan, sizeof(*c));
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    bool ranks = x->rank == 3 && w->rank == 3;
    c->dtype = x->dtype;
    c->rows = ranks ? x->shape[0] * x->shape[1] : 0;
    c->channels = ranks ? x->shape[1] : 0;
    c->length = ranks ? x->shape[2] : 0;
    c->taps = ranks ? w->shape[2] : 0;
    if (!ranks || c->taps < 1 || leat_value_count(w) != c->channels * c->taps ||
        (bias != NULL && leat_value_count(bias) != c->channels) ||
        (past != NULL && leat_value_count(past) != c->rows * (c->taps - 1))) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit",
                           lt_move_name(node->node).text);
    }
    c->has_bias = bias != NULL;
    c->has_past = past != NULL;
    c->n_outputs = node->node->n_outputs;
    c->silu = leat_node_string_is(node->node, "activation", "silu") ||
              leat_node_string_is(node->node, "activation", "swish");
    out_kernel->name = "causal_conv";
    out_kernel->launch = launch_causal_conv;
    out_kernel->state = c;
    out_kernel->workspace_bytes =
        (size_t)(2 * (c->length + c->taps)) * sizeof(float) * host->pool_threads(host->pool);
    return LEAT_OK;
}

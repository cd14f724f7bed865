/* SPDX-License-Identifier: Apache-2.0 */
/* Shrink: x - bias above lambd, x + bias below -lambd, else 0. */
#include "elementwise/element.h"

typedef struct shrink {
    leat_dtype dtype;
    double lambd, bias;
    int64_t count;
} shrink;

typedef struct shrink_job {
    const shrink *s;
    const void *x;
    void *y;
} shrink_job;

static void shrink_f32(const shrink *s, const float *x, float *y, int64_t n)
{
    typedef float loose __attribute__((aligned(1), may_alias));
    const loose *from = x;
    const float lambd = (float)s->lambd, bias = (float)s->bias;
    for (int64_t i = 0; i < n; i++) {
        float v = from[i], r = v > lambd ? v - bias : 0.0f;
        y[i] = v < -lambd ? v + bias : r;
    }
}

static void shrink_range(void *argument, int64_t begin, int64_t end)
{
    const shrink_job *job = argument;
    const shrink *s = job->s;
    if (s->dtype == LEAT_DTYPE_F32) {
        shrink_f32(s, (const float *)job->x + begin, (float *)job->y + begin, end - begin);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        double v = lt_element_get(s->dtype, job->x, i);
        double r = v < -s->lambd ? v + s->bias : v > s->lambd ? v - s->bias : 0;
        lt_element_set(s->dtype, job->y, i, lt_element_fit(s->dtype, r));
    }
}

static leat_status launch_shrink(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const shrink *s = state;
    shrink_job job = {s, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, s->count, 64, 2.0 * (double)lt_cpu_element_bytes(s->dtype),
                          shrink_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_shrink_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    shrink *s = host->plan_alloc(plan, sizeof(*s));
    (void)device;
    if (s == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Shrink: no memory for its plan");
    }
    s->dtype = x->dtype;
    s->lambd = (double)leat_node_float(node->node, "lambd", 0.5f);
    s->bias = (double)leat_node_float(node->node, "bias", 0);
    s->count = leat_value_count(x);
    out_kernel->name = "shrink";
    out_kernel->launch = launch_shrink;
    out_kernel->state = s;
    out_kernel->inplace_mask = 1;
    if (leat_value_count(y) != s->count || y->dtype != x->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "Shrink: its output differs in type or shape");
    }
    return LEAT_OK;
}

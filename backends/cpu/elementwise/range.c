/* SPDX-License-Identifier: Apache-2.0 */
/* Range:  y[i] = start + i * delta. Floats in double, rounded once. */
#include "elementwise/element.h"

typedef struct range {
    leat_dtype dtype;
    int64_t count;
} range;

static leat_status range_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const range *r = state;
    void *y = args->outputs[0];
    (void)err;
    if (r->dtype == LEAT_DTYPE_I64) {
        uint64_t start = *(const uint64_t *)args->inputs[0],
                 step = *(const uint64_t *)args->inputs[2];
        for (int64_t i = 0; i < r->count; i++) {
            ((uint64_t *)y)[i] = start + (uint64_t)i * step;
        }
        return LEAT_OK;
    }
    double start = lt_element_get(r->dtype, args->inputs[0], 0);
    double step = lt_element_get(r->dtype, args->inputs[2], 0);
    for (int64_t i = 0; i < r->count; i++) {
        lt_element_set(r->dtype, y, i, start + (double)i * step);
    }
    return LEAT_OK;
}

leat_status lt_cpu_range_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    range *r = host->plan_alloc(plan, sizeof(*r));
    (void)device;
    if (r == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Range: no memory for the plan");
    }
    for (uint32_t i = 0; i < 3; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        if (in == NULL || in->dtype != leat_kernel_output(node, 0)->dtype ||
            leat_value_count(in) != 1) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "Range node '%s': input %u must be one number of the output's type",
                               node->node->name, i);
        }
    }
    r->dtype = leat_kernel_output(node, 0)->dtype;
    r->count = leat_value_count(leat_kernel_output(node, 0));
    out_kernel->name = "range";
    out_kernel->launch = range_run;
    out_kernel->state = r;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Range, and Dropout (at inference the data passes through). */
#include "elementwise/element.h"
#include "elementwise/mt19937.h"

/* --- Range --------------------------------------------------------------------------------------
 */

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
    r->dtype = leat_kernel_output(node, 0)->dtype;
    r->count = leat_value_count(leat_kernel_output(node, 0));
    out_kernel->name = "range";
    out_kernel->launch = range_run;
    out_kernel->state = r;
    return LEAT_OK;
}

/* --- Dropout ------------------------------------------------------------------------------------
 */

typedef struct dropout {
    leat_dtype dtype, ratio_dtype;
    int64_t count;
    uint32_t seed;
    uint32_t n_inputs, n_outputs;
} dropout;

static leat_status dropout_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const dropout *d = state;
    uint8_t *mask = d->n_outputs > 1 ? args->outputs[1] : NULL;
    bool training = d->n_inputs > 2 && args->inputs[2] && *(const uint8_t *)args->inputs[2];
    double ratio = d->n_inputs > 1 && args->inputs[1]
                       ? lt_element_get(d->ratio_dtype, args->inputs[1], 0)
                       : 0.5;
    size_t bytes = (size_t)d->count * lt_cpu_element_bytes(d->dtype);
    if (!training || ratio == 0) {
        memcpy(args->outputs[0], args->inputs[0], bytes);
        if (mask != NULL) {
            memset(mask, 1, (size_t)d->count);
        }
        return LEAT_OK;
    }
    if (!(ratio > 0 && ratio < 1)) {
        return lt_cpu_fail(err, LEAT_INVALID, "Dropout: ratio is %g; it must be in [0, 1)", ratio);
    }
    lt_mt19937 *random = args->workspace;
    lt_mt19937_seed(random, d->seed);
    for (int64_t i = 0; i < d->count; i++) {
        bool keep = lt_mt19937_uniform(random) >= ratio;
        double v = lt_element_get(d->dtype, args->inputs[0], i);
        lt_element_set(d->dtype, args->outputs[0], i, keep ? v / (1 - ratio) : 0);
        if (mask != NULL) {
            mask[i] = keep;
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_dropout_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    const leat_value *training = leat_kernel_input(node, 2), *ratio = leat_kernel_input(node, 1);
    bool off = training == NULL || (training->data && *(const uint8_t *)training->data == 0);
    out_kernel->name = "dropout";
    (void)device;
    if (off && leat_kernel_output(node, 1) == NULL) {
        out_kernel->name = "view";
        out_kernel->view_of = 1;
        return LEAT_OK;
    }
    dropout *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Dropout: no memory for the plan");
    }
    d->dtype = leat_kernel_input(node, 0)->dtype;
    d->ratio_dtype = ratio ? ratio->dtype : LEAT_DTYPE_F32;
    d->count = leat_value_count(leat_kernel_input(node, 0));
    d->seed = (uint32_t)leat_node_int(node->node, "seed", 0);
    d->n_inputs = node->node->n_inputs;
    d->n_outputs = leat_kernel_output(node, 1) ? 2 : 1;
    out_kernel->workspace_bytes = sizeof(lt_mt19937);
    out_kernel->launch = dropout_run;
    out_kernel->state = d;
    return LEAT_OK;
}

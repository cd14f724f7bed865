/* SPDX-License-Identifier: Apache-2.0 */
/* Det: determinants by elimination with partial pivoting, in f64. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

typedef struct det {
    leat_dtype dtype;
    int64_t batch, n;
} det;

/* Eliminates column `at`; returns its pivot, negated when rows were exchanged. */
static double eliminate(double *m, int64_t n, int64_t at)
{
    int64_t best = at;
    for (int64_t r = at + 1; r < n; r++) {
        best = fabs(m[r * n + at]) > fabs(m[best * n + at]) ? r : best;
    }
    double pivot = m[best * n + at];
    for (int64_t c = at; c < n && best != at; c++) {
        double other = m[at * n + c];
        m[at * n + c] = m[best * n + c];
        m[best * n + c] = other;
    }
    for (int64_t r = at + 1; r < n && pivot != 0; r++) {
        double factor = m[r * n + at] / pivot;
        for (int64_t c = at; c < n; c++) {
            m[r * n + c] -= factor * m[at * n + c];
        }
    }
    return best == at ? pivot : -pivot;
}

static leat_status launch_det(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const det *d = state;
    double *m = args->workspace;
    (void)err;
    for (int64_t b = 0; b < d->batch; b++) {
        double product = 1;
        for (int64_t i = 0; i < d->n * d->n; i++) {
            m[i] = lt_element_get(d->dtype, args->inputs[0], b * d->n * d->n + i);
        }
        for (int64_t i = 0; i < d->n; i++) {
            product *= eliminate(m, d->n, i);
        }
        lt_element_set(d->dtype, args->outputs[0], b, product);
    }
    return LEAT_OK;
}

leat_status lt_cpu_det_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    det *d = host->plan_alloc(plan, sizeof(*d));
    (void)device;
    if (d == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    d->dtype = x->dtype;
    d->n = x->rank >= 2 ? x->shape[x->rank - 1] : 0;
    d->batch = x->rank >= 2 ? lt_move_product(x->shape, 0, x->rank - 2) : 0;
    if (x->rank < 2 || x->shape[x->rank - 2] != d->n || leat_value_count(y) != d->batch) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its matrices must be square",
                           lt_move_name(node->node).text);
    }
    out_kernel->name = "det";
    out_kernel->launch = launch_det;
    out_kernel->state = d;
    out_kernel->workspace_bytes = (size_t)(d->n * d->n) * sizeof(double);
    return LEAT_OK;
}

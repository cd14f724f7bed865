/* SPDX-License-Identifier: Apache-2.0 */
/* LpNormalization: y = x / norm along one axis, 0 where the norm is 0.
 * MeanVarianceNormalization: y = (x - mean) / (sqrt(variance) + 1e-9) over any axes.
 * Sums in f64, element by element. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

/* ---- LpNormalization ------------------------------------------------------------------------ */

typedef struct lp_norm {
    leat_dtype dtype;
    int64_t p, outer, dim, inner;
} lp_norm;

typedef struct norm_job {
    const void *state;
    const void *x;
    void *y;
} norm_job;

static void lp_range(void *argument, int64_t begin, int64_t end)
{
    const norm_job *job = argument;
    const lp_norm *n = job->state;
    for (int64_t line = begin; line < end; line++) {
        int64_t first = line / n->inner * n->dim * n->inner + line % n->inner;
        double sum = 0;
        for (int64_t k = 0; k < n->dim; k++) {
            double v = fabs(lt_element_get(n->dtype, job->x, first + k * n->inner));
            sum += n->p == 1 ? v : v * v;
        }
        sum = n->p == 1 ? sum : sqrt(sum);
        for (int64_t k = 0; k < n->dim; k++) {
            int64_t at = first + k * n->inner;
            double v = lt_element_get(n->dtype, job->x, at);
            lt_element_set(n->dtype, job->y, at, sum == 0 ? 0 : v / sum);
        }
    }
}

static leat_status launch_lp_norm(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const lp_norm *n = state;
    norm_job job = {n, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, n->outer * n->inner, 1, 24.0 * (double)n->dim, lp_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_lp_norm_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    lp_norm *n = host->plan_alloc(plan, sizeof(*n));
    int32_t axis = 0;
    (void)device;
    if (n == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", -1), x->rank, &axis, err);
    n->p = leat_node_int(node->node, "p", 2);
    if (status == LEAT_OK && n->p != 1 && n->p != 2) {
        status = lt_cpu_fail(err, LEAT_INVALID, "%s: p is %lld, not 1 or 2",
                             lt_move_name(node->node).text, (long long)n->p);
    }
    if (status != LEAT_OK) {
        return status;
    }
    n->dtype = x->dtype;
    n->outer = lt_move_product(x->shape, 0, axis);
    n->dim = x->shape[axis];
    n->inner = lt_move_product(x->shape, axis + 1, x->rank);
    out_kernel->name = "lp_norm";
    out_kernel->launch = launch_lp_norm;
    out_kernel->state = n;
    return LEAT_OK;
}

/* ---- MeanVarianceNormalization -------------------------------------------------------------- */

typedef struct mvn {
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    int64_t group_stride[LEAT_MAX_RANK]; /* 0 along axes that are normalised over */
    int64_t count, groups;
} mvn;

/* The group of element i. */
static int64_t group_of(const mvn *n, int64_t i)
{
    int64_t group = 0;
    for (int32_t k = n->rank - 1; k >= 0; k--) {
        group += i % n->shape[k] * n->group_stride[k];
        i /= n->shape[k];
    }
    return group;
}

static leat_status launch_mvn(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const mvn *n = state;
    double *mean = args->workspace, *variance = mean + n->groups;
    double each = (double)(n->count / (n->groups ? n->groups : 1));
    (void)err;
    memset(mean, 0, (size_t)n->groups * 2 * sizeof(*mean));
    for (int64_t i = 0; i < n->count; i++) {
        mean[group_of(n, i)] += lt_element_get(n->dtype, args->inputs[0], i) / each;
    }
    for (int64_t i = 0; i < n->count; i++) {
        int64_t g = group_of(n, i);
        double v = lt_element_get(n->dtype, args->inputs[0], i) - mean[g];
        variance[g] += v * v / each;
    }
    for (int64_t i = 0; i < n->count; i++) {
        int64_t g = group_of(n, i);
        double v = lt_element_get(n->dtype, args->inputs[0], i) - mean[g];
        lt_element_set(n->dtype, args->outputs[0], i, v / (sqrt(variance[g]) + 1e-9));
    }
    return LEAT_OK;
}

leat_status lt_cpu_mvn_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    static const int64_t usual[] = {0, 2, 3};
    const leat_value *x = leat_kernel_input(node, 0);
    size_t n_axes;
    const int64_t *axes = leat_node_ints(node->node, "axes", &n_axes);
    bool over[LEAT_MAX_RANK] = {false};
    mvn *n = host->plan_alloc(plan, sizeof(*n));
    (void)device;
    if (n == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    n_axes = axes ? n_axes : 3;
    axes = axes ? axes : usual;
    for (size_t i = 0; i < n_axes; i++) {
        int32_t axis = 0;
        leat_status status = lt_move_axis(node->node, axes[i], x->rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        over[axis] = true;
    }
    n->dtype = x->dtype;
    n->rank = x->rank;
    n->count = leat_value_count(x);
    n->groups = 1;
    memcpy(n->shape, x->shape, sizeof(n->shape));
    for (int32_t k = x->rank - 1; k >= 0; k--) {
        n->group_stride[k] = over[k] ? 0 : n->groups;
        n->groups *= over[k] ? 1 : x->shape[k];
    }
    out_kernel->name = "mean_variance_norm";
    out_kernel->launch = launch_mvn;
    out_kernel->state = n;
    out_kernel->workspace_bytes = ((size_t)n->groups * 2 + 1) * sizeof(double); /* never none */
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss:
 *
 *     loss[n, i] = -w[t] * p[n, t, i]      t = target[n, i], p = x, or log_softmax(x) over classes
 *
 * then none, the sum, or the sum over the sum of weights. x is N x C x inner. A target that equals
 * ignore_index counts as loss and weight 0. Everything is computed in f64. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

typedef enum reduction {
    NONE,
    SUM,
    MEAN
} reduction;

typedef struct loss {
    lt_move_label label;
    leat_dtype dtype, target_dtype;
    bool softmax;
    bool weighted;
    bool wants_log_prob;
    reduction reduction;
    bool ignores;
    int64_t ignored;
    int64_t batch, classes, inner;
} loss;

typedef struct loss_job {
    const loss *l;
    const void *x, *target, *weight;
    void *log_prob;
    double *losses, *weights; /* batch x inner */
} loss_job;

static int64_t target_at(const loss *l, const void *target, int64_t i)
{
    return lt_element_int(l->target_dtype, target, i);
}

/* Logarithm of what softmax divides by, over the classes of one place; 0 without softmax. */
static double log_sum(const loss *l, const void *x, int64_t first)
{
    double most = -INFINITY, sum = 0;
    if (!l->softmax) {
        return 0;
    }
    for (int64_t c = 0; c < l->classes; c++) {
        most = fmax(most, lt_element_get(l->dtype, x, first + c * l->inner));
    }
    for (int64_t c = 0; c < l->classes; c++) {
        sum += exp(lt_element_get(l->dtype, x, first + c * l->inner) - most);
    }
    return most + log(sum);
}

static void loss_range(void *argument, int64_t begin, int64_t end)
{
    const loss_job *job = argument;
    const loss *l = job->l;
    for (int64_t place = begin; place < end; place++) {
        int64_t first = place / l->inner * l->classes * l->inner + place % l->inner;
        int64_t t = target_at(l, job->target, place);
        double norm = log_sum(l, job->x, first);
        for (int64_t c = 0; c < l->classes && job->log_prob != NULL; c++) {
            int64_t at = first + c * l->inner;
            lt_element_set(l->dtype, job->log_prob, at,
                           lt_element_get(l->dtype, job->x, at) - norm);
        }
        bool counts = !(l->ignores && t == l->ignored);
        double w = !counts ? 0 : l->weighted ? lt_element_get(l->dtype, job->weight, t) : 1;
        job->weights[place] = w;
        job->losses[place] =
            counts ? -w * (lt_element_get(l->dtype, job->x, first + t * l->inner) - norm) : 0;
    }
}

static leat_status check_targets(const loss *l, const void *target, leat_error *err)
{
    for (int64_t i = 0; i < l->batch * l->inner; i++) {
        int64_t t = target_at(l, target, i);
        if ((t < 0 || t >= l->classes) && !(l->ignores && t == l->ignored)) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: target %lld at position %lld is not one of %lld classes",
                               l->label.text, (long long)t, (long long)i, (long long)l->classes);
        }
    }
    return LEAT_OK;
}

static void reduce_losses(const loss_job *job, void *out)
{
    const loss *l = job->l;
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < l->batch * l->inner; i++) {
        if (l->reduction == NONE) {
            lt_element_set(l->dtype, out, i, job->losses[i]);
        }
        sum += job->losses[i];
        weights += job->weights[i];
    }
    if (l->reduction != NONE) {
        lt_element_set(l->dtype, out, 0, l->reduction == SUM ? sum : sum / weights);
    }
}

static leat_status launch_loss(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const loss *l = state;
    int64_t places = l->batch * l->inner;
    double *scratch = args->workspace;
    loss_job job = {l,
                    args->inputs[0],
                    args->inputs[1],
                    l->weighted ? args->inputs[2] : NULL,
                    l->wants_log_prob ? args->outputs[1] : NULL,
                    scratch,
                    scratch + places};
    leat_status status = check_targets(l, args->inputs[1], err);
    if (status == LEAT_OK) {
        lt_cpu_parallel_range(args, places, 1, 32.0 * (double)l->classes, loss_range, &job);
        reduce_losses(&job, args->outputs[0]);
    }
    return status;
}

leat_status lt_cpu_loss_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *target = leat_kernel_input(node, 1);
    const leat_value *weight = leat_kernel_input(node, 2);
    if (x == NULL || target == NULL ||
        (target->dtype != LEAT_DTYPE_I32 && target->dtype != LEAT_DTYPE_I64) ||
        (weight != NULL && weight->dtype != x->dtype)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s: targets must be i32 or i64, weights as scores",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static leat_status check_shapes(const leat_kernel_node *node, const loss *l, leat_error *err)
{
    const leat_value *target = leat_kernel_input(node, 1), *weight = leat_kernel_input(node, 2);
    const leat_value *out = leat_kernel_output(node, 0), *log_prob = leat_kernel_output(node, 1);
    int64_t places = l->batch * l->inner;
    bool fits = leat_value_count(target) == places &&
                (weight == NULL || leat_value_count(weight) == l->classes) &&
                leat_value_count(out) == (l->reduction == NONE ? places : 1) &&
                (log_prob == NULL || leat_value_count(log_prob) == places * l->classes);
    return fits ? LEAT_OK : lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit", l->label.text);
}

leat_status lt_cpu_loss_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    const leat_attr *ignore = leat_node_attr(node->node, "ignore_index");
    loss *l = host->plan_alloc(plan, sizeof(*l));
    (void)device;
    if (l == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    l->label = lt_move_name(node->node);
    if (x->rank < 2) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: scores of rank %d", l->label.text, x->rank);
    }
    l->dtype = x->dtype;
    l->target_dtype = leat_kernel_input(node, 1)->dtype;
    l->softmax = node->node->op[0] == 'S';
    l->weighted = leat_kernel_input(node, 2) != NULL;
    l->wants_log_prob = leat_kernel_output(node, 1) != NULL;
    l->reduction = leat_node_string_is(node->node, "reduction", "none")  ? NONE
                   : leat_node_string_is(node->node, "reduction", "sum") ? SUM
                                                                         : MEAN;
    l->ignores = ignore != NULL && ignore->type == LEAT_ATTR_INT;
    l->ignored = l->ignores ? ignore->u.i : 0;
    l->batch = x->shape[0];
    l->classes = x->shape[1];
    l->inner = lt_move_product(x->shape, 2, x->rank);
    out_kernel->name = "loss";
    out_kernel->launch = launch_loss;
    out_kernel->state = l;
    out_kernel->workspace_bytes = (size_t)(l->batch * l->inner) * 2 * sizeof(double);
    return check_shapes(node, l, err);
}

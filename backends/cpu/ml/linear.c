/* SPDX-License-Identifier: Apache-2.0 */
/* LinearRegressor and LinearClassifier of ai.onnx.ml: scores = X * coefficients^T + intercepts,
 * summed in double. What the standard leaves open about two classes with one score follows ONNX
 * Runtime: the other score is derived from it. */
#include "ml/ml.h"

#include "elementwise/element.h"

typedef struct linear {
    lt_ml_rows in;
    size_t n_scores; /* computed */
    size_t n_out;    /* given out: n_scores, or 2 where one was computed for two classes */
    const float *coefficients; /* [n_scores][features] */
    const float *intercepts;   /* [n_scores] or NULL */
    lt_ml_transform transform;
    lt_ml_labels labels;
} linear;

typedef struct linear_launch {
    const linear *l;
    const void *x;
    void *labels; /* NULL: not wanted */
    float *scores;
    char *workspace;
    int64_t rows_per_task;
} linear_launch;

static double dot(leat_dtype dtype, const void *x, int64_t first, const float *w, int64_t n)
{
    double sum[4] = {0};
    int64_t j = 0;
    if (dtype == LEAT_DTYPE_F32) {
        const float *f = (const float *)x + first;
        for (; j + 4 <= n; j += 4) {
            for (int k = 0; k < 4; k++) {
                sum[k] += (double)f[j + k] * (double)w[j + k];
            }
        }
    }
    for (; j < n; j++) {
        sum[0] += lt_element_get(dtype, x, first + j) * (double)w[j];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void scores_of(const linear *l, const void *x, int64_t row, double *scores)
{
    for (size_t t = 0; t < l->n_scores; t++) {
        scores[t] = l->intercepts ? (double)l->intercepts[t] : 0;
        if (l->in.features > 0) { /* otherwise there may be no coefficients */
            scores[t] += dot(l->in.dtype, x, row * l->in.features,
                             l->coefficients + t * (size_t)l->in.features, l->in.features);
        }
    }
}

static size_t label_of(const linear *l, const double *scores)
{
    size_t best = 0;
    if (l->n_scores == 1) {
        return scores[0] > 0 && l->labels.count > 1;
    }
    for (size_t t = 1; t < l->n_scores; t++) {
        best = scores[t] > scores[best] ? t : best;
    }
    return best;
}

/* One score for two classes. */
static void add_second(const linear *l, double *scores)
{
    double score = scores[0];
    bool logistic = l->transform == LT_ML_LOGISTIC;
    scores[0] = logistic ? lt_ml_logistic(-score) : 1 - score;
    scores[1] = logistic ? lt_ml_logistic(score) : score;
    if (l->transform == LT_ML_PROBIT) {
        lt_ml_transform_run(l->transform, scores, 2);
    }
}

static void rows_task(void *argument, uint32_t task, uint32_t thread)
{
    const linear_launch *job = argument;
    const linear *l = job->l;
    double *scores = (double *)(void *)job->workspace + thread * (l->n_out + 8);
    int64_t row = task * job->rows_per_task, end = row + job->rows_per_task;
    for (end = end < l->in.rows ? end : l->in.rows; row < end; row++) {
        scores_of(l, job->x, row, scores);
        if (job->labels != NULL) {
            lt_ml_labels_store(&l->labels, label_of(l, scores), job->labels, row);
        }
        if (l->n_out != l->n_scores) {
            add_second(l, scores);
        } else {
            lt_ml_transform_run(l->transform, scores, l->n_out);
        }
        for (size_t t = 0; t < l->n_out && job->scores != NULL; t++) {
            job->scores[(size_t)row * l->n_out + t] = (float)scores[t];
        }
    }
}

static void run_rows(const linear *l, const leat_kernel_args *args, void *labels, float *scores)
{
    linear_launch job = {l, args->inputs[0], labels, scores, args->workspace, 64};
    if (l->in.rows != 0) {
        args->host->parallel(args->pool, (uint32_t)((l->in.rows + 63) / 64), rows_task, &job);
    }
}

static leat_status regress_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    run_rows(state, args, NULL, args->outputs[0]);
    return LEAT_OK;
}

static leat_status classify_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    run_rows(state, args, args->outputs[0], args->outputs[1]);
    return LEAT_OK;
}

/* Reads what both have: coefficients and intercepts of n_scores scores. */
static leat_status read_model(linear *l, const leat_kernel_node *node, leat_error *err)
{
    size_t n_coefficients, n_intercepts;
    l->coefficients = lt_ml_floats(node->node, "coefficients", &n_coefficients);
    l->intercepts = lt_ml_floats(node->node, "intercepts", &n_intercepts);
    leat_status status = lt_ml_rows_read(node, &l->in, err);
    status = status ? status : lt_ml_transform_read(node, &l->transform, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (l->n_scores == 0) {
        l->n_scores = l->in.features ? n_coefficients / (size_t)l->in.features : 0;
    }
    size_t wanted;
    if (l->n_scores == 0 || __builtin_mul_overflow(l->n_scores, (size_t)l->in.features, &wanted) ||
        n_coefficients != wanted || (n_intercepts != 0 && n_intercepts != l->n_scores)) {
        return lt_ml_invalid(node, err, "%zu coefficients and %zu intercepts for %lld features",
                             n_coefficients, n_intercepts, (long long)l->in.features);
    }
    l->n_out = l->n_scores;
    return LEAT_OK;
}

static leat_status finish(linear *l, const leat_kernel_node *node, uint32_t output,
                          const leat_host *host, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, output);
    if (y != NULL && leat_value_count(y) != l->in.rows * (int64_t)l->n_out) {
        return lt_ml_invalid(node, err, "the output does not hold %lld rows of %zu scores",
                             (long long)l->in.rows, l->n_out);
    }
    out_kernel->state = l;
    out_kernel->workspace_bytes = host->pool_threads(host->pool) * (l->n_out + 8) * sizeof(double);
    out_kernel->flops = 2 * (uint64_t)l->in.rows * l->n_scores * (uint64_t)l->in.features;
    return LEAT_OK;
}

leat_status lt_cpu_linear_regressor_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    linear *l = host->plan_alloc(plan, sizeof(*l));
    int64_t targets = leat_node_int(node->node, "targets", 1);
    (void)device;
    if (l == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "LinearRegressor: no memory for the plan");
    }
    if (targets < 1) {
        return lt_ml_invalid(node, err, "targets is %lld", (long long)targets);
    }
    l->n_scores = (size_t)targets;
    leat_status status = read_model(l, node, err);
    out_kernel->name = "linear_regressor";
    out_kernel->launch = regress_run;
    return status ? status : finish(l, node, 0, host, out_kernel, err);
}

leat_status lt_cpu_linear_classifier_prepare(const leat_kernel_node *node, void *device,
                                             const leat_host *host, leat_plan *plan,
                                             leat_kernel *out_kernel, leat_error *err)
{
    linear *l = host->plan_alloc(plan, sizeof(*l));
    (void)device;
    if (l == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "LinearClassifier: no memory for the plan");
    }
    leat_status status =
        lt_ml_labels_read(node, "classlabels_strings", "classlabels_ints", &l->labels, err);
    status = status ? status : read_model(l, node, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (l->n_scores == 1 && l->labels.count == 2) {
        l->n_out = 2;
    } else if (l->n_scores != l->labels.count) {
        return lt_ml_invalid(node, err, "%zu scores for %zu labels", l->n_scores, l->labels.count);
    }
    out_kernel->name = "linear_classifier";
    out_kernel->launch = classify_run;
    return finish(l, node, 1, host, out_kernel, err);
}

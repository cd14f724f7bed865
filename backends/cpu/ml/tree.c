/* SPDX-License-Identifier: Apache-2.0 */
/* TreeEnsembleClassifier, TreeEnsembleRegressor and TreeEnsemble of ai.onnx.ml. What the standard
 * leaves open about two classes follows ONNX Runtime: see derived_class. Unlike there, of two
 * classes with scores of their own the higher one wins, and post_transform holds for a single
 * target too. */
#include "ml/tree.h"

#include "elementwise/element.h"

typedef struct tree_op {
    lt_forest forest;
    lt_ml_transform transform;
    lt_ml_numbers base; /* per target; may be empty */
    leat_dtype out_dtype;
    /* classifier */
    lt_ml_labels labels;
    bool one_class;    /* all weights are for one of two classes */
    bool all_positive; /* no weight is below 0 */
    uint32_t only;     /* that class */
} tree_op;

typedef struct tree_launch {
    const tree_op *op;
    void *labels;
    void *scores;
} tree_launch;

static void store(const tree_op *op, void *out, int64_t row, const double *scores)
{
    for (uint32_t t = 0; t < op->forest.n_targets; t++) {
        lt_element_set(op->out_dtype, out, row * op->forest.n_targets + t, scores[t]);
    }
}

static double base_of(const tree_op *op, uint32_t target)
{
    return op->base.count == op->forest.n_targets ? lt_ml_number(&op->base, target) : 0;
}

/* --- regression ---------------------------------------------------------------------------------
 */

static void regress_row(void *argument, int64_t row, double *scores, const bool *has)
{
    const tree_launch *l = argument;
    (void)has;
    for (uint32_t t = 0; t < l->op->forest.n_targets; t++) {
        scores[t] += base_of(l->op, t);
    }
    lt_ml_transform_run(l->op->transform, scores, l->op->forest.n_targets);
    store(l->op, l->scores, row, scores);
}

static leat_status regress_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const tree_op *op = state;
    tree_launch l = {op, NULL, args->outputs[0]};
    (void)err;
    lt_forest_run(&op->forest, args->inputs[0], args, regress_row, &l);
    return LEAT_OK;
}

/* --- classification -----------------------------------------------------------------------------
 */

/* Two classes of which the leaves only know class 0: what they give is the score of class 1, a
 * probability when no weight is negative, and the other's is derived from it. */
static size_t derived_class(const tree_op *op, double *scores)
{
    double score = scores[0] + (op->base.count == 1 ? lt_ml_number(&op->base, 0) : 0);
    scores[0] = op->all_positive ? 1 - score : -score;
    scores[1] = score;
    if (op->transform == LT_ML_LOGISTIC) {
        scores[0] = lt_ml_logistic(-score);
        scores[1] = lt_ml_logistic(score);
    } else if (op->transform == LT_ML_PROBIT) {
        lt_ml_transform_run(op->transform, scores, 2);
    }
    return op->all_positive ? score > 0.5 : score > 0;
}

/* A score for every class. Of two classes of which the leaves only know class 1, that one must
 * pass the threshold of derived_class; otherwise the highest score wins, the first of equal ones.
 */
static size_t known_class(const tree_op *op, double *scores, const bool *has)
{
    size_t best = 0, n = op->forest.n_targets;
    bool any = false;
    for (uint32_t t = 0; t < n; t++) {
        double base = base_of(op, t);
        scores[t] += base;
        if ((has[t] || base != 0) && (!any || scores[t] > scores[best])) {
            best = t;
            any = true;
        }
    }
    if (op->one_class) {
        best = scores[1] > (op->all_positive ? 0.5 : 0);
    }
    lt_ml_transform_run(op->transform, scores, n);
    return best;
}

static void classify_row(void *argument, int64_t row, double *scores, const bool *has)
{
    const tree_launch *l = argument;
    const tree_op *op = l->op;
    bool derived = op->one_class && op->only == 0 && op->base.count != 2;
    size_t label = derived ? derived_class(op, scores) : known_class(op, scores, has);
    if (l->labels != NULL) {
        lt_ml_labels_store(&op->labels, label, l->labels, row);
    }
    if (l->scores != NULL) {
        store(op, l->scores, row, scores);
    }
}

static leat_status classify_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const tree_op *op = state;
    tree_launch l = {op, args->outputs[0], args->outputs[1]};
    (void)err;
    lt_forest_run(&op->forest, args->inputs[0], args, classify_row, &l);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static tree_op *make(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                     leat_status *status, leat_error *err)
{
    tree_op *op = host->plan_alloc(plan, sizeof(*op));
    if (op == NULL) {
        *status = lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
        return NULL;
    }
    *status = lt_ml_rows_read(node, &op->forest.in, err);
    op->forest.aggregate = LT_TREE_SUM;
    return op;
}

static leat_status finish(tree_op *op, const leat_host *host, const char *name,
                          leat_status (*run)(const void *, const leat_kernel_args *, leat_error *),
                          leat_kernel *out_kernel)
{
    out_kernel->name = name;
    out_kernel->launch = run;
    out_kernel->state = op;
    out_kernel->workspace_bytes = lt_forest_workspace(&op->forest, host->pool_threads(host->pool));
    return LEAT_OK;
}

static leat_status read_aggregate(const leat_kernel_node *node, lt_tree_aggregate *out,
                                  leat_error *err)
{
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    if (leat_node_attr(node->node, "aggregate_function") == NULL) {
        return LEAT_OK;
    }
    for (int i = 0; i < 4; i++) {
        if (leat_node_string_is(node->node, "aggregate_function", names[i])) {
            *out = (lt_tree_aggregate)i;
            return LEAT_OK;
        }
    }
    return lt_ml_invalid(node, err, "unknown aggregate_function");
}

/* Output `index` must be rows x targets. */
static leat_status check_scores(const leat_kernel_node *node, const tree_op *op, uint32_t index,
                                leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, index);
    if (y != NULL && leat_value_count(y) != op->forest.in.rows * (int64_t)op->forest.n_targets) {
        return lt_ml_invalid(node, err, "the output does not hold %lld rows of %u scores",
                             (long long)op->forest.in.rows, op->forest.n_targets);
    }
    return LEAT_OK;
}

static void look_at_classes(tree_op *op, const lt_forest_source *source)
{
    op->all_positive = true;
    op->one_class = op->labels.count == 2 && source->n_weights != 0;
    op->only = source->n_weights ? source->weights[0].target : 0;
    for (size_t i = 0; i < source->n_weights; i++) {
        op->one_class &= source->weights[i].target == op->only;
        op->all_positive &= source->weights[i].weight >= 0;
    }
}

/* Reads the node's trees and lays them out. Prefix as for lt_tree_read_pairs; NULL: the attributes
 * of TreeEnsemble. What is noted of the classes only the classifier asks for. */
static leat_status read_forest(tree_op *op, const leat_kernel_node *node, const char *prefix,
                               const leat_host *host, leat_plan *plan, leat_error *err)
{
    lt_forest_source source;
    lt_tree_scratch scratch = {0};
    leat_status status = prefix ? lt_tree_read_pairs(node, prefix, host, &scratch, &source, err)
                                : lt_tree_read_positions(node, host, &scratch, &source, err);
    if (status == LEAT_OK) {
        look_at_classes(op, &source);
        status = lt_forest_build(node, &source, host, plan, &op->forest, err);
    }
    lt_tree_scratch_free(&scratch, host);
    return status;
}

leat_status lt_cpu_tree_regressor_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    tree_op *op = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    int64_t targets = leat_node_int(node->node, "n_targets", 1);
    if (targets < 1 || targets > INT32_MAX) {
        return lt_ml_invalid(node, err, "n_targets is %lld", (long long)targets);
    }
    op->forest.n_targets = (uint32_t)targets;
    op->out_dtype = leat_kernel_output(node, 0)->dtype;
    status = read_aggregate(node, &op->forest.aggregate, err);
    status = status ? status : lt_ml_transform_read(node, &op->transform, err);
    status = status ? status : lt_ml_numbers_read(node, "base_values", &op->base, err);
    status = status ? status : check_scores(node, op, 0, err);
    status = status ? status : read_forest(op, node, "target", host, plan, err);
    return status ? status : finish(op, host, "tree_regressor", regress_run, out_kernel);
}

leat_status lt_cpu_tree_ensemble_prepare(const leat_kernel_node *node, void *device,
                                         const leat_host *host, leat_plan *plan,
                                         leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    tree_op *op = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    int64_t targets = leat_node_int(node->node, "n_targets", 1);
    int64_t aggregate = leat_node_int(node->node, "aggregate_function", LT_TREE_SUM);
    int64_t transform = leat_node_int(node->node, "post_transform", LT_ML_NONE);
    if (targets < 1 || targets > INT32_MAX || aggregate < 0 || aggregate > LT_TREE_MAX ||
        transform < 0 || transform > LT_ML_PROBIT) {
        return lt_ml_invalid(node, err, "n_targets %lld, aggregate %lld or transform %lld unknown",
                             (long long)targets, (long long)aggregate, (long long)transform);
    }
    op->forest.n_targets = (uint32_t)targets;
    op->forest.aggregate = (lt_tree_aggregate)aggregate;
    op->transform = (lt_ml_transform)transform;
    op->out_dtype = leat_kernel_output(node, 0)->dtype;
    status = check_scores(node, op, 0, err);
    status = status ? status : read_forest(op, node, NULL, host, plan, err);
    return status ? status : finish(op, host, "tree_ensemble", regress_run, out_kernel);
}

leat_status lt_cpu_tree_classifier_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    tree_op *op = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_ml_labels_read(node, "classlabels_strings", "classlabels_int64s", &op->labels, err);
    status = status ? status : lt_ml_transform_read(node, &op->transform, err);
    status = status ? status : lt_ml_numbers_read(node, "base_values", &op->base, err);
    op->forest.n_targets = (uint32_t)op->labels.count;
    op->out_dtype = LEAT_DTYPE_F32;
    status = status ? status : check_scores(node, op, 1, err);
    status = status ? status : read_forest(op, node, "class", host, plan, err);
    return status ? status : finish(op, host, "tree_classifier", classify_run, out_kernel);
}

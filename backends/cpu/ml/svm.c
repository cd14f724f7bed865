/* SPDX-License-Identifier: Apache-2.0 */
/* SVMRegressor and SVMClassifier of ai.onnx.ml, in double.
 *
 *     kernel(a, b)   LINEAR  a.b      POLY  (gamma a.b + coef0)^degree
 *                    RBF     exp(-gamma |a - b|^2)      SIGMOID  tanh(gamma a.b + coef0)
 *
 * Regressor:   y = sum of coefficients[v] * kernel(x, vector v) + rho; without vectors (n_supports
 * 0) the coefficients weigh the features themselves. one_class: 1 or -1 by its sign. Classifier:
 * libsvm's: the vectors are sorted by class; for each pair i < j of classes score = sum over the
 * vectors of i of coefficients[j - 1][v] * kernel
 *                    + sum over those of j of coefficients[i][v] * kernel + rho[pair]
 *              and each pair votes for i where its score is above 0, which decides the label. With
 * prob_a and prob_b the scores become probabilities (Wu, Lin, Weng 2004, second method). Without
 * vectors each class has coefficients of its own. What the standard leaves open follows ONNX
 * Runtime. */
#include "ml/ml.h"

#include "elementwise/element.h"

#include <math.h>

typedef enum kernel_kind {
    KERNEL_LINEAR,
    KERNEL_POLY,
    KERNEL_RBF,
    KERNEL_SIGMOID
} kernel_kind;

typedef struct svm {
    lt_ml_rows in;
    kernel_kind kind;
    double gamma, coef0, degree;
    size_t n_vectors, n_classes, n_out;
    const float *vectors; /* [n_vectors][features]; NULL: linear weights */
    const float
        *coefficients; /* [n_classes - 1][n_vectors], [n_vectors] or [n_classes][features] */
    const float *rho;  /* a pair of classes, or one */
    const float *prob_a, *prob_b; /* a pair, or NULL */
    const int64_t *per_class;     /* vectors of each class */
    lt_ml_transform transform;
    lt_ml_labels labels;
    bool one_class;
    size_t doubles; /* of one thread's workspace */
} svm;

typedef struct svm_launch {
    const svm *s;
    const leat_kernel_args *args;
} svm_launch;

/* --- kernels ------------------------------------------------------------------------------------
 */

static void dot_and_distance(const double *x, const float *v, int64_t n, double *dot, double *far)
{
    *dot = *far = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = x[i] - (double)v[i];
        *dot += x[i] * (double)v[i];
        *far += d * d;
    }
}

static double kernel_of(const svm *s, const double *x, const float *v)
{
    double dot, far;
    dot_and_distance(x, v, s->in.features, &dot, &far);
    switch (s->kind) {
    case KERNEL_LINEAR:
        return dot;
    case KERNEL_POLY:
        return pow(s->gamma * dot + s->coef0, s->degree);
    case KERNEL_RBF:
        return exp(-s->gamma * far);
    default:
        return tanh(s->gamma * dot + s->coef0);
    }
}

static void read_row(const svm *s, const void *data, int64_t row, double *x)
{
    for (int64_t i = 0; i < s->in.features; i++) {
        x[i] = lt_element_get(s->in.dtype, data, row * s->in.features + i);
    }
}

/* --- regression ---------------------------------------------------------------------------------
 */

static double regress(const svm *s, const double *x)
{
    double y = (double)s->rho[0];
    for (size_t v = 0; v < s->n_vectors; v++) {
        y += (double)s->coefficients[v] * kernel_of(s, x, s->vectors + v * (size_t)s->in.features);
    }
    if (s->n_vectors == 0) {
        y += kernel_of(s, x, s->coefficients);
    }
    return s->one_class ? (y > 0 ? 1 : -1) : y;
}

static void regress_task(void *argument, uint32_t task, uint32_t thread)
{
    const svm_launch *l = argument;
    double *x = (double *)l->args->workspace + thread * l->s->doubles;
    read_row(l->s, l->args->inputs[0], task, x);
    x[l->s->in.features] = regress(l->s, x);
    lt_ml_transform_run(l->s->one_class ? LT_ML_NONE : l->s->transform, x + l->s->in.features, 1);
    ((float *)l->args->outputs[0])[task] = (float)x[l->s->in.features];
}

static leat_status regress_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    svm_launch l = {state, args};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)l.s->in.rows, regress_task, &l);
    return LEAT_OK;
}

/* --- classification -----------------------------------------------------------------------------
 */

/* Scores of all pairs, votes of all classes. `k` has a kernel a vector. */
static void score_pairs(const svm *s, const double *k, double *scores, double *votes)
{
    size_t first_i = 0, pair = 0;
    for (size_t c = 0; c < s->n_classes; c++) {
        votes[c] = 0;
    }
    for (size_t i = 0; i < s->n_classes; first_i += (size_t)s->per_class[i], i++) {
        size_t first_j = first_i + (size_t)s->per_class[i];
        for (size_t j = i + 1; j < s->n_classes; j++, pair++) {
            double score = (double)s->rho[pair];
            for (size_t v = first_i; v < first_i + (size_t)s->per_class[i]; v++) {
                score += (double)s->coefficients[(j - 1) * s->n_vectors + v] * k[v];
            }
            for (size_t v = first_j; v < first_j + (size_t)s->per_class[j]; v++) {
                score += (double)s->coefficients[i * s->n_vectors + v] * k[v];
            }
            first_j += (size_t)s->per_class[j];
            scores[pair] = score;
            votes[score > 0 ? i : j]++;
        }
    }
}

/* Chances of each class from those of pairs, r[i][j] + r[j][i] = 1: the p that minimises
 * sum (r[j][i] p[i] - r[i][j] p[j])^2, by coordinate steps. */
static void couple(size_t n, const double *r, double *q, double *p, double *qp)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = 1.0 / (double)n;
        q[i * n + i] = 0;
        for (size_t j = 0; j < n; j++) {
            if (j != i) {
                q[i * n + i] += r[j * n + i] * r[j * n + i];
                q[i * n + j] = -r[j * n + i] * r[i * n + j];
            }
        }
    }
    for (int round = 0; round < 100; round++) {
        double whole = 0, worst = 0;
        for (size_t i = 0; i < n; i++) {
            qp[i] = 0;
            for (size_t j = 0; j < n; j++) {
                qp[i] += q[i * n + j] * p[j];
            }
            whole += p[i] * qp[i];
        }
        for (size_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs(qp[i] - whole));
        }
        if (worst < 0.005 / (double)n) {
            return;
        }
        for (size_t i = 0; i < n; i++) {
            double step = (whole - qp[i]) / q[i * n + i];
            p[i] += step;
            whole = (whole + step * (step * q[i * n + i] + 2 * qp[i])) / (1 + step) / (1 + step);
            for (size_t j = 0; j < n; j++) {
                qp[j] = (qp[j] + step * q[i * n + j]) / (1 + step);
                p[j] /= 1 + step;
            }
        }
    }
}

/* out: a chance for every class; `work` has room for 2 n^2 + n. */
static void chances(const svm *s, const double *scores, double *work, double *out)
{
    size_t n = s->n_classes, pair = 0;
    double *r = work, *q = r + n * n;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++, pair++) {
            double f = scores[pair] * (double)s->prob_a[pair] + (double)s->prob_b[pair];
            double chance = 1 - lt_ml_logistic(f);
            chance = fmin(fmax(chance, 1e-7), 1 - 1e-7);
            r[i * n + j] = chance;
            r[j * n + i] = 1 - chance;
        }
    }
    couple(n, r, q, out, q + n * n);
}

static size_t largest(const double *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

/* Scores of one row, at out[n_out]; returns the label. */
static size_t classify(const svm *s, const double *x, double *work, double *out)
{
    double *k = work, *votes = k + s->n_vectors, *scores = votes + s->n_classes;
    size_t n_pairs = s->n_classes * (s->n_classes - 1) / 2;
    if (s->n_vectors == 0) {
        for (size_t c = 0; c < s->n_classes; c++) {
            out[c] =
                kernel_of(s, x, s->coefficients + c * (size_t)s->in.features) + (double)s->rho[0];
        }
        return largest(out, s->n_classes);
    }
    for (size_t v = 0; v < s->n_vectors; v++) {
        k[v] = kernel_of(s, x, s->vectors + v * (size_t)s->in.features);
    }
    score_pairs(s, k, scores, votes);
    if (s->prob_a != NULL) {
        chances(s, scores, scores + n_pairs, out);
    } else {
        memcpy(out, scores, n_pairs * sizeof(*out));
    }
    return largest(votes, s->n_classes);
}

/* One score for two classes stands for both; what a transform makes of it is ONNX Runtime's. */
static void finish_scores(const svm *s, double *out)
{
    bool one = s->n_vectors != 0 && s->prob_a == NULL && s->n_classes == 2;
    if (one) {
        bool soft = s->transform == LT_ML_SOFTMAX || s->transform == LT_ML_SOFTMAX_ZERO;
        out[1] = out[0];
        out[0] = soft ? 1 - out[0] : -out[0];
        if (soft) {
            return;
        }
    }
    lt_ml_transform_run(s->transform, out, s->n_out);
}

static void classify_task(void *argument, uint32_t task, uint32_t thread)
{
    const svm_launch *l = argument;
    const svm *s = l->s;
    double *x = (double *)l->args->workspace + thread * s->doubles;
    double *out = x + s->in.features, *work = out + s->n_out + 2;
    float *scores = l->args->outputs[1];
    read_row(s, l->args->inputs[0], task, x);
    size_t label = classify(s, x, work, out);
    if (l->args->outputs[0] != NULL) {
        lt_ml_labels_store(&s->labels, label, l->args->outputs[0], task);
    }
    finish_scores(s, out);
    for (size_t i = 0; i < s->n_out && scores != NULL; i++) {
        scores[(size_t)task * s->n_out + i] = (float)out[i];
    }
}

static leat_status classify_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    svm_launch l = {state, args};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)l.s->in.rows, classify_task, &l);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static leat_status read_kernel(svm *s, const leat_kernel_node *node, leat_error *err)
{
    static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
    size_t n, found = 0;
    const float *params = lt_ml_floats(node->node, "kernel_params", &n);
    while (found < 4 && leat_node_attr(node->node, "kernel_type") != NULL &&
           !leat_node_string_is(node->node, "kernel_type", names[found])) {
        found++;
    }
    if (found == 4 || (n != 0 && n < 3)) {
        return lt_ml_invalid(node, err, "unknown kernel_type, or kernel_params are not 3");
    }
    s->kind = (kernel_kind)found;
    s->gamma = n ? (double)params[0] : 0;
    s->coef0 = n ? (double)params[1] : 0;
    s->degree = n ? (double)params[2] : 0;
    return LEAT_OK;
}

/* What both have; `rows` rows of coefficients, each one a vector (or a feature). */
static leat_status read_model(svm *s, const leat_kernel_node *node, size_t rows, leat_error *err)
{
    size_t n_coefficients, n_vectors, n_rho, wanted, per_row;
    s->coefficients = lt_ml_floats(node->node, "coefficients", &n_coefficients);
    s->vectors = lt_ml_floats(node->node, "support_vectors", &n_vectors);
    s->rho = lt_ml_floats(node->node, "rho", &n_rho);
    per_row = s->n_vectors ? s->n_vectors : (size_t)s->in.features;
    if (s->in.features < 1 || n_rho == 0 || __builtin_mul_overflow(rows, per_row, &wanted) ||
        n_coefficients != wanted ||
        __builtin_mul_overflow(s->n_vectors, (size_t)s->in.features, &wanted) ||
        n_vectors != wanted || s->in.rows > UINT32_MAX) {
        return lt_ml_invalid(node, err,
                             "%zu coefficients, %zu numbers of vectors and %zu rho for %zu vectors "
                             "of %lld features",
                             n_coefficients, n_vectors, n_rho, s->n_vectors,
                             (long long)s->in.features);
    }
    return LEAT_OK;
}

static svm *start(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                  leat_status *out_status, leat_error *err)
{
    svm *s = host->plan_alloc(plan, sizeof(*s));
    if (s == NULL) {
        *out_status = lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory", node->node->op);
        return NULL;
    }
    *out_status = lt_ml_rows_read(node, &s->in, err);
    *out_status = *out_status ? *out_status : lt_ml_transform_read(node, &s->transform, err);
    *out_status = *out_status ? *out_status : read_kernel(s, node, err);
    return s;
}

static leat_status finish(svm *s, const leat_kernel_node *node, uint32_t output,
                          const leat_host *host, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, output);
    if (y != NULL && leat_value_count(y) != s->in.rows * (int64_t)s->n_out) {
        return lt_ml_invalid(node, err, "its output does not hold %lld rows of %zu scores",
                             (long long)s->in.rows, s->n_out);
    }
    out_kernel->state = s;
    out_kernel->workspace_bytes =
        host->pool_threads(host->pool) * (s->doubles + 8) * sizeof(double);
    return LEAT_OK;
}

leat_status lt_cpu_svm_regressor_prepare(const leat_kernel_node *node, void *device,
                                         const leat_host *host, leat_plan *plan,
                                         leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    svm *s = start(node, host, plan, &status, err);
    int64_t n = leat_node_int(node->node, "n_supports", 0);
    (void)device;
    if (status == LEAT_OK && (n < 0 || n > INT32_MAX)) {
        status = lt_ml_invalid(node, err, "n_supports is %lld", (long long)n);
    }
    if (status != LEAT_OK) {
        return status;
    }
    s->n_vectors = (size_t)n;
    s->n_out = 1;
    s->kind = n == 0 ? KERNEL_LINEAR : s->kind;
    s->one_class = leat_node_int(node->node, "one_class", 0) != 0;
    s->doubles = (size_t)s->in.features + 1;
    out_kernel->name = "svm_regressor";
    out_kernel->launch = regress_run;
    status = read_model(s, node, 1, err);
    return status ? status : finish(s, node, 0, host, out_kernel, err);
}

/* Counts of vectors, probabilities, sizes that follow from the number of classes. */
static leat_status read_classes(svm *s, const leat_kernel_node *node, leat_error *err)
{
    size_t n_counts, n_a, n_b, n_rho, c = s->labels.count, n_pairs = c * (c - 1) / 2;
    s->per_class = leat_node_ints(node->node, "vectors_per_class", &n_counts);
    s->prob_a = lt_ml_floats(node->node, "prob_a", &n_a);
    s->prob_b = lt_ml_floats(node->node, "prob_b", &n_b);
    (void)lt_ml_floats(node->node, "rho", &n_rho);
    s->n_classes = c;
    if (c > 1 << 12 || (n_counts != 0 && n_counts != c) || n_a != n_b) {
        return lt_ml_invalid(node, err, "%zu classes, %zu counts of vectors, %zu prob_a", c,
                             n_counts, n_a);
    }
    for (size_t i = 0; i < n_counts; i++) {
        if (s->per_class[i] < 0 || s->per_class[i] > INT32_MAX) {
            return lt_ml_invalid(node, err, "a class of %lld vectors", (long long)s->per_class[i]);
        }
        s->n_vectors += (size_t)s->per_class[i];
    }
    if (s->n_vectors != 0 && (c < 2 || n_rho < n_pairs || (n_a != 0 && n_a < n_pairs))) {
        return lt_ml_invalid(node, err, "%zu rho and %zu prob_a for %zu pairs of classes", n_rho,
                             n_a, n_pairs);
    }
    bool pairs = s->n_vectors != 0 && s->prob_a == NULL && c > 2;
    s->n_out = pairs ? n_pairs : c;
    s->doubles = (size_t)s->in.features + s->n_out + 2 + s->n_vectors + c + n_pairs + 2 * c * c + c;
    return LEAT_OK;
}

leat_status lt_cpu_svm_classifier_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    svm *s = start(node, host, plan, &status, err);
    (void)device;
    status = status ? status
                    : lt_ml_labels_read(node, "classlabels_strings", "classlabels_ints", &s->labels,
                                        err);
    status = status ? status : read_classes(s, node, err);
    if (status != LEAT_OK) {
        return status;
    }
    s->kind = s->n_vectors == 0 ? KERNEL_LINEAR : s->kind;
    out_kernel->name = "svm_classifier";
    out_kernel->launch = classify_run;
    status = read_model(s, node, s->n_vectors ? s->n_classes - 1 : s->n_classes, err);
    return status ? status : finish(s, node, 1, host, out_kernel, err);
}

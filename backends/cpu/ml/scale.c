/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx.ml on columns of numbers: Scaler, Normalizer, Imputer, Binarizer,
 * FeatureVectorizer, ArrayFeatureExtractor. Each reads and writes every element once. */
#include "ml/ml.h"

#include "elementwise/element.h"

#include <math.h>

typedef struct columns {
    leat_dtype dtype, out_dtype;
    int64_t rows, features; /* all leading dimensions together, and the last one */
    const float *offset, *scale;
    size_t n_offset, n_scale;
    char norm;       /* 'M'AX, '1', '2' */
    float threshold; /* Binarizer */
    /* Imputer */
    double replaced;      /* among floats */
    int64_t replaced_int; /* among integers */
    const float *floats;
    const int64_t *ints;
    size_t n_imputed;
} columns;

typedef struct columns_launch {
    const columns *c;
    const void *x;
    void *y;
} columns_launch;

static columns *make(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                     leat_status *status, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    columns *c = host->plan_alloc(plan, sizeof(*c));
    if (c == NULL) {
        *status = lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
        return NULL;
    }
    c->dtype = x->dtype;
    c->out_dtype = y->dtype;
    c->features = x->rank ? x->shape[x->rank - 1] : 1;
    c->rows = c->features ? leat_value_count(x) / c->features : 0;
    *status = leat_value_count(x) == leat_value_count(y)
                  ? LEAT_OK
                  : lt_ml_invalid(node, err, "input and output differ in size");
    return c;
}

static void finish(const columns *c, const char *name,
                   leat_status (*run)(const void *, const leat_kernel_args *, leat_error *),
                   leat_kernel *out_kernel)
{
    out_kernel->name = name;
    out_kernel->launch = run;
    out_kernel->state = c;
}

static void over_rows(const columns *c, const leat_kernel_args *args, lt_cpu_range_fn fn)
{
    columns_launch l = {c, args->inputs[0], args->outputs[0]};
    lt_cpu_parallel_range(args, c->rows, 1, 8 * (double)c->features, fn, &l);
}

/* --- Scaler: (x - offset) * scale ---------------------------------------------------------------
 */

static void scale_rows(void *argument, int64_t begin, int64_t end)
{
    const columns_launch *l = argument;
    const columns *c = l->c;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < c->features; j++) {
            int64_t at = i * c->features + j;
            float offset = c->offset[c->n_offset == 1 ? 0 : j];
            float scale = c->scale[c->n_scale == 1 ? 0 : j];
            ((float *)l->y)[at] = ((float)lt_element_get(c->dtype, l->x, at) - offset) * scale;
        }
    }
}

static leat_status scale_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    over_rows(state, args, scale_rows);
    return LEAT_OK;
}

leat_status lt_cpu_scaler_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    static const float zero = 0, one = 1;
    leat_status status;
    columns *c = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    c->offset = lt_ml_floats(node->node, "offset", &c->n_offset);
    c->scale = lt_ml_floats(node->node, "scale", &c->n_scale);
    if (c->offset == NULL) {
        c->offset = &zero, c->n_offset = 1;
    }
    if (c->scale == NULL) {
        c->scale = &one, c->n_scale = 1;
    }
    if ((c->n_offset != 1 && c->n_offset != (size_t)c->features) ||
        (c->n_scale != 1 && c->n_scale != (size_t)c->features)) {
        return lt_ml_invalid(node, err, "%zu offsets and %zu scales for %lld columns", c->n_offset,
                             c->n_scale, (long long)c->features);
    }
    finish(c, "scaler", scale_run, out_kernel);
    return LEAT_OK;
}

/* --- Normalizer: rows divided by their norm -----------------------------------------------------
 */

static double norm_of(const columns *c, const void *x, int64_t first)
{
    double norm = c->norm == 'M' ? -INFINITY : 0;
    for (int64_t j = 0; j < c->features; j++) {
        double v = lt_element_get(c->dtype, x, first + j);
        if (c->norm == 'M') {
            norm = v > norm ? v : norm;
        } else {
            norm += c->norm == '1' ? fabs(v) : v * v;
        }
    }
    return c->norm == '2' ? sqrt(norm) : norm;
}

static void normalize_rows(void *argument, int64_t begin, int64_t end)
{
    const columns_launch *l = argument;
    const columns *c = l->c;
    for (int64_t i = begin; i < end; i++) {
        double norm = norm_of(c, l->x, i * c->features);
        for (int64_t j = 0; j < c->features; j++) {
            int64_t at = i * c->features + j;
            double v = lt_element_get(c->dtype, l->x, at);
            ((float *)l->y)[at] = (float)(norm != 0 ? v / norm : v);
        }
    }
}

static leat_status normalize_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    over_rows(state, args, normalize_rows);
    return LEAT_OK;
}

leat_status lt_cpu_normalizer_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    columns *c = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    const leat_node *n = node->node;
    c->norm = leat_node_string_is(n, "norm", "L1")   ? '1'
              : leat_node_string_is(n, "norm", "L2") ? '2'
                                                     : 'M';
    if (c->norm == 'M' && leat_node_attr(n, "norm") && !leat_node_string_is(n, "norm", "MAX")) {
        return lt_ml_invalid(node, err, "norm must be MAX, L1 or L2");
    }
    finish(c, "normalizer", normalize_run, out_kernel);
    return LEAT_OK;
}

/* --- Imputer: a value that stands for "missing" is replaced -------------------------------------
 */

static void impute_rows(void *argument, int64_t begin, int64_t end)
{
    const columns_launch *l = argument;
    const columns *c = l->c;
    for (int64_t at = begin * c->features; at < end * c->features; at++) {
        size_t column = c->n_imputed == 1 ? 0 : (size_t)(at % c->features);
        if (c->ints != NULL) {
            int64_t v = lt_element_int(c->dtype, l->x, at);
            lt_element_set_int(c->dtype, l->y, at, v == c->replaced_int ? c->ints[column] : v);
        } else {
            double v = lt_element_get(c->dtype, l->x, at);
            bool missing = v == c->replaced || (v != v && c->replaced != c->replaced);
            lt_element_set(c->dtype, l->y, at, missing ? (double)c->floats[column] : v);
        }
    }
}

static leat_status impute_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    over_rows(state, args, impute_rows);
    return LEAT_OK;
}

leat_status lt_cpu_imputer_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    leat_status status;
    columns *c = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    size_t n_floats, n_ints;
    c->floats = lt_ml_floats(node->node, "imputed_value_floats", &n_floats);
    c->ints = leat_node_ints(node->node, "imputed_value_int64s", &n_ints);
    bool whole = CPU_SIGNED >> c->dtype & 1;
    c->n_imputed = whole ? n_ints : n_floats;
    c->ints = whole ? c->ints : NULL;
    c->replaced = (double)leat_node_float(node->node, "replaced_value_float", 0);
    c->replaced_int = leat_node_int(node->node, "replaced_value_int64", 0);
    if (c->n_imputed != 1 && c->n_imputed != (size_t)c->features) {
        return lt_ml_invalid(node, err, "%zu imputed values of the input's type for %lld columns",
                             c->n_imputed, (long long)c->features);
    }
    finish(c, "imputer", impute_run, out_kernel);
    return LEAT_OK;
}

/* --- Binarizer: 1 above the threshold -----------------------------------------------------------
 */

static void binarize_rows(void *argument, int64_t begin, int64_t end)
{
    const columns_launch *l = argument;
    const columns *c = l->c;
    for (int64_t at = begin * c->features; at < end * c->features; at++) {
        bool above = lt_element_get(c->dtype, l->x, at) > (double)c->threshold;
        lt_element_set(c->out_dtype, l->y, at, above);
    }
}

static leat_status binarize_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    over_rows(state, args, binarize_rows);
    return LEAT_OK;
}

leat_status lt_cpu_binarizer_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    leat_status status;
    columns *c = make(node, host, plan, &status, err);
    (void)device;
    if (status == LEAT_OK) {
        c->threshold = leat_node_float(node->node, "threshold", 0);
        finish(c, "binarizer", binarize_run, out_kernel);
    }
    return status;
}

/* --- FeatureVectorizer: columns of several inputs side by side, as f32 --------------------------
 */

typedef struct vectorizer {
    int64_t rows, columns;
    uint32_t n_inputs;
    struct vectorizer_input {
        leat_dtype dtype;
        int64_t from, take; /* columns there, and columns wanted */
    } * inputs;
} vectorizer;

static leat_status vectorize_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const vectorizer *v = state;
    float *y = args->outputs[0];
    int64_t column = 0;
    (void)err;
    for (uint32_t k = 0; k < v->n_inputs; k++) {
        const struct vectorizer_input *in = &v->inputs[k];
        for (int64_t i = 0; i < v->rows; i++) {
            for (int64_t j = 0; j < in->take; j++) {
                y[i * v->columns + column + j] =
                    j < in->from
                        ? (float)lt_element_get(in->dtype, args->inputs[k], i * in->from + j)
                        : 0;
            }
        }
        column += in->take;
    }
    return LEAT_OK;
}

leat_status lt_cpu_feature_vectorizer_prepare(const leat_kernel_node *node, void *device,
                                              const leat_host *host, leat_plan *plan,
                                              leat_kernel *out_kernel, leat_error *err)
{
    size_t n_wanted;
    const int64_t *wanted = leat_node_ints(node->node, "inputdimensions", &n_wanted);
    uint32_t n = node->node->n_inputs;
    vectorizer *v = host->plan_alloc(plan, sizeof(*v));
    struct vectorizer_input *inputs = host->plan_alloc(plan, n * sizeof(*inputs));
    (void)device;
    if (v == NULL || inputs == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "FeatureVectorizer: no memory for the plan");
    }
    const leat_value *y = leat_kernel_output(node, 0);
    v->rows = y->shape[0];
    v->columns = y->shape[1];
    v->n_inputs = n;
    v->inputs = inputs;
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const leat_value *x = leat_kernel_input(node, i);
        inputs[i].dtype = x->dtype;
        inputs[i].from = x->rank ? x->shape[x->rank - 1] : 1;
        inputs[i].take = i < n_wanted ? wanted[i] : inputs[i].from;
        sum += inputs[i].take;
        if (inputs[i].take < 0 || leat_value_count(x) != v->rows * inputs[i].from) {
            return lt_ml_invalid(node, err, "input %u does not have %lld rows", i,
                                 (long long)v->rows);
        }
    }
    if (sum != v->columns) {
        return lt_ml_invalid(node, err, "%lld columns for an output of %lld", (long long)sum,
                             (long long)v->columns);
    }
    out_kernel->name = "feature_vectorizer";
    out_kernel->launch = vectorize_run;
    out_kernel->state = v;
    return LEAT_OK;
}

/* --- ArrayFeatureExtractor: chosen columns ------------------------------------------------------
 */

typedef struct extractor {
    int64_t rows, features, count;
    size_t element;
} extractor;

static leat_status extract_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const extractor *e = state;
    const int64_t *which = args->inputs[1];
    for (int64_t j = 0; j < e->count; j++) {
        if (which[j] < 0 || which[j] >= e->features) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "ArrayFeatureExtractor: index %lld of %lld columns",
                               (long long)which[j], (long long)e->features);
        }
    }
    for (int64_t i = 0; i < e->rows; i++) {
        for (int64_t j = 0; j < e->count; j++) {
            memcpy((char *)args->outputs[0] + (size_t)(i * e->count + j) * e->element,
                   (const char *)args->inputs[0] +
                       (size_t)(i * e->features + which[j]) * e->element,
                   e->element);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_array_feature_extractor_prepare(const leat_kernel_node *node, void *device,
                                                   const leat_host *host, leat_plan *plan,
                                                   leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *which = leat_kernel_input(node, 1);
    extractor *e = host->plan_alloc(plan, sizeof(*e));
    (void)device;
    if (e == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ArrayFeatureExtractor: no memory for the plan");
    }
    e->features = x->rank ? x->shape[x->rank - 1] : 1;
    e->rows = e->features ? leat_value_count(x) / e->features : 0;
    e->count = leat_value_count(which);
    e->element = lt_cpu_element_bytes(x->dtype);
    if (which->dtype != LEAT_DTYPE_I64 ||
        leat_value_count(leat_kernel_output(node, 0)) != e->rows * e->count) {
        return lt_ml_invalid(node, err, "the output does not hold %lld rows of %lld columns",
                             (long long)e->rows, (long long)e->count);
    }
    out_kernel->name = "array_feature_extractor";
    out_kernel->launch = extract_run;
    out_kernel->state = e;
    return LEAT_OK;
}

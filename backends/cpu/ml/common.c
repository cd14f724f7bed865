/* SPDX-License-Identifier: Apache-2.0 */
#include "ml/ml.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

leat_status lt_ml_invalid(const leat_kernel_node *node, leat_error *err, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return lt_cpu_fail(err, LEAT_INVALID, "%s node '%.60s': %s", node->node->op, node->node->name,
                       text);
}

/* --- attributes ---------------------------------------------------------------------------------
 */

leat_status lt_ml_numbers_read(const leat_kernel_node *node, const char *name,
                               lt_ml_numbers *out_numbers, leat_error *err)
{
    char as_tensor[96];
    snprintf(as_tensor, sizeof(as_tensor), "%s_as_tensor", name);
    memset(out_numbers, 0, sizeof(*out_numbers));
    const leat_attr *attr = leat_node_attr(node->node, as_tensor);
    attr = attr ? attr : leat_node_attr(node->node, name);
    if (attr == NULL) {
        return LEAT_OK;
    }
    if (attr->type == LEAT_ATTR_FLOATS) {
        out_numbers->count = attr->count;
        out_numbers->data = attr->u.floats;
        return LEAT_OK;
    }
    const leat_array *tensor = attr->type == LEAT_ATTR_TENSOR ? attr->u.tensor : NULL;
    if (tensor == NULL || tensor->rank != 1 ||
        (tensor->dtype != LEAT_DTYPE_F32 && tensor->dtype != LEAT_DTYPE_F64)) {
        return lt_ml_invalid(node, err, "'%s' must be a list of f32 or f64", name);
    }
    out_numbers->count = (size_t)tensor->shape[0];
    out_numbers->data = tensor->data;
    out_numbers->wide = tensor->dtype == LEAT_DTYPE_F64;
    if ((uintptr_t)tensor->data % lt_cpu_element_bytes(tensor->dtype) != 0) {
        return lt_ml_invalid(node, err, "'%s' is not aligned to its elements", name);
    }
    return LEAT_OK;
}

const leat_string *lt_ml_strings(const leat_node *node, const char *name, size_t *out_count)
{
    const leat_attr *attr = leat_node_attr(node, name);
    bool there = attr != NULL && attr->type == LEAT_ATTR_STRINGS && attr->count != 0;
    *out_count = there ? attr->count : 0;
    return there ? attr->u.strings : NULL;
}

const float *lt_ml_floats(const leat_node *node, const char *name, size_t *out_count)
{
    const leat_attr *attr = leat_node_attr(node, name);
    bool there = attr != NULL && attr->type == LEAT_ATTR_FLOATS && attr->count != 0;
    *out_count = there ? attr->count : 0;
    return there ? attr->u.floats : NULL;
}

leat_status lt_ml_rows_read(const leat_kernel_node *node, lt_ml_rows *out_rows, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    if (x->rank != 1 && x->rank != 2) {
        return lt_ml_invalid(node, err, "the input has rank %d, not 1 or 2", x->rank);
    }
    out_rows->dtype = x->dtype;
    out_rows->rows = x->rank == 2 ? x->shape[0] : 1;
    out_rows->features = x->shape[x->rank - 1];
    return LEAT_OK;
}

/* --- labels -------------------------------------------------------------------------------------
 */

leat_status lt_ml_labels_read(const leat_kernel_node *node, const char *strings, const char *ints,
                              lt_ml_labels *out_labels, leat_error *err)
{
    size_t n_strings, n_ints;
    out_labels->strings = lt_ml_strings(node->node, strings, &n_strings);
    out_labels->ints = leat_node_ints(node->node, ints, &n_ints);
    if ((n_strings != 0) == (n_ints != 0)) {
        return lt_ml_invalid(node, err, "one of '%s' and '%s' must be given", strings, ints);
    }
    out_labels->count = n_strings + n_ints;
    const leat_value *y = leat_kernel_output(node, 0);
    leat_dtype wanted = n_strings ? LEAT_DTYPE_STRING : LEAT_DTYPE_I64;
    if (y != NULL && y->dtype != wanted) {
        return lt_ml_invalid(node, err, "the labels are of another type than the output");
    }
    return LEAT_OK;
}

/* --- scores -------------------------------------------------------------------------------------
 */

leat_status lt_ml_transform_read(const leat_kernel_node *node, lt_ml_transform *out_transform,
                                 leat_error *err)
{
    static const char *const names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    *out_transform = LT_ML_NONE;
    if (leat_node_attr(node->node, "post_transform") == NULL) {
        return LEAT_OK;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (leat_node_string_is(node->node, "post_transform", names[i])) {
            *out_transform = (lt_ml_transform)i;
            return LEAT_OK;
        }
    }
    return lt_ml_invalid(node, err, "unknown post_transform");
}

double lt_ml_logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Winitzki's approximation of the inverse error function ("A handy approximation for the error
 * function and its inverse", 2008), which the reference implementation of PROBIT uses. */
static double probit(double p)
{
    double x = 2 * p - 1, sign = x < 0 ? -1 : 1, l = log((1 - x) * (1 + x));
    double v = 2 / (3.14159 * 0.147) + 0.5 * l;
    return 1.41421356 * sign * sqrt(-v + sqrt(v * v - l / 0.147));
}

static void softmax(double *scores, size_t count, bool keep_zeros)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) {
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < count; i++) {
        /* What counts as 0 is what the reference implementation says. */
        bool zero = keep_zeros && scores[i] <= 0.0000001 && scores[i] >= -0.0000001;
        scores[i] = zero ? scores[i] * exp(-most) : exp(scores[i] - most);
        sum += scores[i];
    }
    for (size_t i = 0; i < count && sum != 0; i++) {
        scores[i] /= sum;
    }
}

void lt_ml_transform_run(lt_ml_transform transform, double *scores, size_t count)
{
    switch (transform) {
    case LT_ML_NONE:
        break;
    case LT_ML_SOFTMAX:
    case LT_ML_SOFTMAX_ZERO:
        softmax(scores, count, transform == LT_ML_SOFTMAX_ZERO);
        break;
    case LT_ML_LOGISTIC:
        for (size_t i = 0; i < count; i++) {
            scores[i] = lt_ml_logistic(scores[i]);
        }
        break;
    case LT_ML_PROBIT:
        for (size_t i = 0; i < count; i++) {
            scores[i] = probit(scores[i]);
        }
        break;
    }
}

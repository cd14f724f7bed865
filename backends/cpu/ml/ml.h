/* SPDX-License-Identifier: Apache-2.0 */
/* What the operators of ai.onnx.ml share: reading attributes whose lengths must agree, and turning
 * raw scores into what a classifier gives out. */
#ifndef LT_CPU_ML_H
#define LT_CPU_ML_H

#include "cpu.h"

/* --- attributes ---------------------------------------------------------------------------------
 */

/* A list of numbers: an attribute of floats, or a tensor of f32 or f64. */
typedef struct lt_ml_numbers {
    size_t count;
    const void *data;
    bool wide; /* f64 */
} lt_ml_numbers;

/* Reads `name`, or `name`_as_tensor; count 0 when neither is there.
 * Errors:   INVALID for a tensor of another type. */
leat_status lt_ml_numbers_read(const leat_kernel_node *node, const char *name,
                               lt_ml_numbers *out_numbers, leat_error *err);

static inline double lt_ml_number(const lt_ml_numbers *numbers, size_t i)
{
    return numbers->wide ? ((const double *)numbers->data)[i]
                         : (double)((const float *)numbers->data)[i];
}

/* A list of strings; NULL and 0 when absent. */
const leat_string *lt_ml_strings(const leat_node *node, const char *name, size_t *out_count);

/* A list of floats; NULL and 0 when absent. */
const float *lt_ml_floats(const leat_node *node, const char *name, size_t *out_count);

/* Fails with the node's operator and name in front. */
leat_status lt_ml_invalid(const leat_kernel_node *node, leat_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- rows ---------------------------------------------------------------------------------------
 */

/* The input as rows of features. A vector is one row. */
typedef struct lt_ml_rows {
    leat_dtype dtype;
    int64_t rows, features;
} lt_ml_rows;

/* Errors:   INVALID for a rank other than 1 and 2. */
leat_status lt_ml_rows_read(const leat_kernel_node *node, lt_ml_rows *out_rows, leat_error *err);

/* --- scores -------------------------------------------------------------------------------------
 */

typedef enum lt_ml_transform {
    LT_ML_NONE = 0,
    LT_ML_SOFTMAX,
    LT_ML_LOGISTIC,
    LT_ML_SOFTMAX_ZERO, /* softmax over the scores that are not 0; those stay 0 */
    LT_ML_PROBIT        /* the inverse of the normal distribution's sum function */
} lt_ml_transform;

/* The attribute post_transform, a string.
 * Errors:   INVALID for an unknown one. */
leat_status lt_ml_transform_read(const leat_kernel_node *node, lt_ml_transform *out_transform,
                                 leat_error *err);

/* Transforms one row of scores in place. */
void lt_ml_transform_run(lt_ml_transform transform, double *scores, size_t count);

double lt_ml_logistic(double x);

/* Labels of classes: strings or integers, as the attributes (named by the caller) say. */
typedef struct lt_ml_labels {
    size_t count;
    const leat_string *strings; /* or */
    const int64_t *ints;
} lt_ml_labels;

/* Errors:   INVALID when both or neither are there, or output 0 is of the other type. */
leat_status lt_ml_labels_read(const leat_kernel_node *node, const char *strings, const char *ints,
                              lt_ml_labels *out_labels, leat_error *err);

/* Stores label `label` as element `row` of output 0. */
static inline void lt_ml_labels_store(const lt_ml_labels *labels, size_t label, void *out,
                                      int64_t row)
{
    if (labels->strings != NULL) {
        ((leat_string *)out)[row] = labels->strings[label];
    } else {
        ((int64_t *)out)[row] = labels->ints[label];
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx.ml. */
#include "graph/shape/shape.h"

static size_t list_length(const lt_infer *infer, const char *name, leat_attr_type type)
{
    const leat_attr *attr = leat_node_attr(infer->node, name);
    return attr != NULL && attr->type == type ? attr->count : 0;
}

/* Rows of the input: a vector is one row.
 * Errors:   INVALID for another rank. */
static leat_status rows_of(const lt_infer *infer, int64_t *out_rows, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    if (x->rank != 1 && x->rank != 2) {
        return lt_bad(infer, err, "the input has rank %d, not 1 or 2", x->rank);
    }
    *out_rows = x->rank == 2 ? x->shape[0] : 1;
    return LEAT_OK;
}

/* A label and a row of scores for each row: one a class, or one a pair of classes. The ints'
 * attribute has two names. */
static leat_status set_classes(lt_infer *infer, bool pairs, leat_error *err)
{
    size_t strings = list_length(infer, "classlabels_strings", LEAT_ATTR_STRINGS);
    size_t ints = list_length(infer, "classlabels_int64s", LEAT_ATTR_INTS) +
                  list_length(infer, "classlabels_ints", LEAT_ATTR_INTS);
    int64_t shape[2];
    leat_status status = rows_of(infer, &shape[0], err);
    if (status != LEAT_OK) {
        return status;
    }
    if ((strings != 0) == (ints != 0)) {
        return lt_bad(infer, err, "labels must be given as strings or as integers");
    }
    shape[1] = (int64_t)(strings + ints);
    if (pairs && shape[1] > 2) {
        if (shape[1] > INT32_MAX) {
            return lt_bad(infer, err, "%lld classes", (long long)shape[1]);
        }
        shape[1] = shape[1] * (shape[1] - 1) / 2;
    }
    int64_t rows = shape[0];
    status = lt_set(infer, 0, strings ? LEAT_DTYPE_STRING : LEAT_DTYPE_I64, 1, &rows, err);
    return status ? status : lt_set(infer, 1, LEAT_DTYPE_F32, 2, shape, err);
}

leat_status lt_infer_ml_classifier(lt_infer *infer, leat_error *err)
{
    return set_classes(infer, false, err);
}

/* A score a pair unless there are probabilities, or no vectors. */
leat_status lt_infer_ml_svm_classifier(lt_infer *infer, leat_error *err)
{
    size_t n_counts;
    const int64_t *counts = leat_node_ints(infer->node, "vectors_per_class", &n_counts);
    bool vectors = false;
    for (size_t i = 0; i < n_counts; i++) {
        vectors |= counts[i] != 0;
    }
    return set_classes(infer, vectors && !list_length(infer, "prob_a", LEAT_ATTR_FLOATS), err);
}

leat_status lt_infer_ml_svm_regressor(lt_infer *infer, leat_error *err)
{
    int64_t shape[2] = {0, 1};
    leat_status status = rows_of(infer, &shape[0], err);
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_F32, 2, shape, err);
}

static leat_status set_targets(lt_infer *infer, const char *name, leat_dtype dtype, leat_error *err)
{
    int64_t shape[2];
    leat_status status = rows_of(infer, &shape[0], err);
    shape[1] = leat_node_int(infer->node, name, 1);
    if (status == LEAT_OK && shape[1] < 1) {
        status = lt_bad(infer, err, "'%s' is %lld", name, (long long)shape[1]);
    }
    return status ? status : lt_set(infer, 0, dtype, 2, shape, err);
}

leat_status lt_infer_ml_tree_regressor(lt_infer *infer, leat_error *err)
{
    return set_targets(infer, "n_targets", LEAT_DTYPE_F32, err);
}

leat_status lt_infer_ml_tree_ensemble(lt_infer *infer, leat_error *err)
{
    return set_targets(infer, "n_targets", lt_in(infer, 0)->dtype, err);
}

leat_status lt_infer_ml_linear_regressor(lt_infer *infer, leat_error *err)
{
    return set_targets(infer, "targets", LEAT_DTYPE_F32, err);
}

/* The input's shape, as f32. */
leat_status lt_infer_ml_floats(lt_infer *infer, leat_error *err)
{
    return lt_set_like(infer, 0, LEAT_DTYPE_F32, lt_in(infer, 0), err);
}

leat_status lt_infer_ml_one_hot(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK + 1];
    memcpy(shape, x->shape, sizeof(x->shape));
    shape[x->rank] = (int64_t)(list_length(infer, "cats_strings", LEAT_ATTR_STRINGS) +
                               list_length(infer, "cats_int64s", LEAT_ATTR_INTS));
    return lt_set(infer, 0, LEAT_DTYPE_F32, x->rank + 1, shape, err);
}

/* The type that the values of a map have, by the attribute that holds them. */
static leat_dtype values_type(const lt_infer *infer)
{
    const leat_attr *tensor = leat_node_attr(infer->node, "values_tensor");
    if (tensor != NULL && tensor->type == LEAT_ATTR_TENSOR) {
        return tensor->u.tensor->dtype;
    }
    if (list_length(infer, "values_strings", LEAT_ATTR_STRINGS)) {
        return LEAT_DTYPE_STRING;
    }
    if (list_length(infer, "values_int64s", LEAT_ATTR_INTS)) {
        return LEAT_DTYPE_I64;
    }
    return list_length(infer, "values_floats", LEAT_ATTR_FLOATS) ? LEAT_DTYPE_F32
                                                                 : LEAT_DTYPE_UNDEFINED;
}

leat_status lt_infer_ml_label_encoder(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    leat_dtype dtype = values_type(infer);
    if (list_length(infer, "classes_strings", LEAT_ATTR_STRINGS)) { /* version 1 */
        dtype = x->dtype == LEAT_DTYPE_STRING ? LEAT_DTYPE_I64 : LEAT_DTYPE_STRING;
    }
    if (dtype == LEAT_DTYPE_UNDEFINED) {
        return lt_bad(infer, err, "no values are given");
    }
    return lt_set_like(infer, 0, dtype, x, err);
}

leat_status lt_infer_ml_category_mapper(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    bool text = x->dtype == LEAT_DTYPE_STRING;
    return lt_set_like(infer, 0, text ? LEAT_DTYPE_I64 : LEAT_DTYPE_STRING, x, err);
}

leat_status lt_infer_ml_array_feature_extractor(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *which = lt_in(infer, 1);
    int64_t shape[LEAT_MAX_RANK] = {1};
    int32_t rank = x->rank < 2 ? 2 : x->rank;
    bool overflow;
    memcpy(shape, x->shape, (size_t)(x->rank < 2 ? 0 : x->rank) * sizeof(shape[0]));
    shape[rank - 1] = lt_product_of(which->shape, which->rank, &overflow);
    if (overflow || which->dtype != LEAT_DTYPE_I64) {
        return lt_bad(infer, err, "the columns must be given as i64");
    }
    if (shape[rank - 1] < 0) {
        leat_status status = lt_fresh(infer, &shape[rank - 1], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, 0, lt_in(infer, 0)->dtype, rank, shape, err);
}

leat_status lt_infer_ml_feature_vectorizer(lt_infer *infer, leat_error *err)
{
    size_t n_wanted;
    const int64_t *wanted = leat_node_ints(infer->node, "inputdimensions", &n_wanted);
    int64_t shape[2], sum = 0;
    leat_status status = rows_of(infer, &shape[0], err);
    for (uint32_t i = 0; i < infer->node->n_inputs && status == LEAT_OK && sum >= 0; i++) {
        const leat_value *x = lt_in(infer, i);
        if (x == NULL || (x->rank != 1 && x->rank != 2)) {
            return lt_bad(infer, err, "input %u must have rank 1 or 2", i);
        }
        int64_t columns = i < n_wanted ? wanted[i] : x->shape[x->rank - 1];
        if ((i < n_wanted && columns < 0) || __builtin_add_overflow(sum, columns, &shape[1])) {
            return lt_bad(infer, err, "input %u cannot have %lld columns", i, (long long)columns);
        }
        sum = columns < 0 ? -1 : shape[1];
    }
    shape[1] = sum;
    if (status == LEAT_OK && sum < 0) {
        status = lt_fresh(infer, &shape[1], err);
    }
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_F32, 2, shape, err);
}

/* A map, or what may turn out to be one. */
static leat_status check_map(const lt_infer *infer, leat_error *err)
{
    leat_dtype dtype = lt_in(infer, 0)->dtype;
    return dtype == LEAT_DTYPE_MAP || dtype == LEAT_DTYPE_UNDEFINED
               ? LEAT_OK
               : lt_bad(infer, err, "input 0 is of type %s, not a map", leat_dtype_name(dtype));
}

static bool is_one_of(const lt_infer *infer, const char *name, const char *const texts[3])
{
    bool found = leat_node_attr(infer->node, name) == NULL;
    for (int i = 0; i < 3 && texts[i] != NULL; i++) {
        found = found || leat_node_string_is(infer->node, name, texts[i]);
    }
    return found;
}

leat_status lt_infer_ml_cast_map(lt_infer *infer, leat_error *err)
{
    static const char *const types[] = {"TO_FLOAT", "TO_INT64", "TO_STRING"};
    static const char *const forms[] = {"DENSE", "SPARSE", NULL};
    bool sparse = leat_node_string_is(infer->node, "map_form", "SPARSE");
    int64_t shape[2] = {1, leat_node_int(infer->node, "max_map", 1)};
    leat_status status = check_map(infer, err);
    if (status == LEAT_OK && (!is_one_of(infer, "cast_to", types) ||
                              !is_one_of(infer, "map_form", forms) || (sparse && shape[1] < 1))) {
        status = lt_bad(infer, err, "cast_to, map_form or max_map (%lld) is none of the known",
                        (long long)shape[1]);
    }
    if (status == LEAT_OK && !sparse) {
        status = lt_fresh(infer, &shape[1], err);
    }
    leat_dtype dtype = leat_node_string_is(infer->node, "cast_to", "TO_STRING")  ? LEAT_DTYPE_STRING
                       : leat_node_string_is(infer->node, "cast_to", "TO_INT64") ? LEAT_DTYPE_I64
                                                                                 : LEAT_DTYPE_F32;
    return status ? status : lt_set(infer, 0, dtype, 2, shape, err);
}

leat_status lt_infer_ml_dict_vectorizer(lt_infer *infer, leat_error *err)
{
    const leat_value *map = lt_in(infer, 0);
    size_t texts = list_length(infer, "string_vocabulary", LEAT_ATTR_STRINGS);
    size_t numbers = list_length(infer, "int64_vocabulary", LEAT_ATTR_INTS);
    const int64_t shape[2] = {1, (int64_t)(texts + numbers)};
    leat_status status = check_map(infer, err);
    if (status == LEAT_OK && (texts != 0) == (numbers != 0)) {
        status = lt_bad(infer, err, "the vocabulary must be given as strings or as integers");
    }
    leat_dtype dtype = map->dtype == LEAT_DTYPE_MAP ? lt_element_dtype(map) : LEAT_DTYPE_UNDEFINED;
    return status ? status : lt_set(infer, 0, dtype, 2, shape, err);
}

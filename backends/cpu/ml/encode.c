/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx.ml that look values up in a list: LabelEncoder, CategoryMapper,
 * OneHotEncoder. The keys are sorted once, so that a look-up is a binary search. */
#include "ml/ml.h"

#include "elementwise/element.h"

#include <math.h>

/* A key or a value of any of the types. Floats are held as double, integers exactly. */
typedef struct item {
    leat_string text;
    double number;
    int64_t whole;
} item;

typedef enum item_kind {
    ITEM_TEXT,
    ITEM_NUMBER,
    ITEM_WHOLE
} item_kind;

typedef struct entry {
    item key;
    size_t at; /* position in the file's list */
} entry;

typedef struct encoder {
    leat_dtype in_dtype, out_dtype;
    item_kind in_kind, out_kind;
    int64_t count; /* elements of the input */
    size_t n_keys;
    const entry *keys; /* ascending; of equal keys the one that counts comes first */
    const item *values;
    item otherwise;
    bool must_know; /* OneHotEncoder with zeros = 0 */
} encoder;

static item_kind kind_of(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_STRING                           ? ITEM_TEXT
           : dtype == LEAT_DTYPE_F32 || dtype == LEAT_DTYPE_F64 ? ITEM_NUMBER
                                                                : ITEM_WHOLE;
}

static item item_get(leat_dtype dtype, const void *data, int64_t i)
{
    item it = {{NULL, 0}, 0, 0};
    switch (kind_of(dtype)) {
    case ITEM_TEXT:
        it.text = ((const leat_string *)data)[i];
        break;
    case ITEM_NUMBER:
        it.number = lt_element_get(dtype, data, i);
        break;
    case ITEM_WHOLE:
        it.whole = lt_element_int(dtype, data, i);
        break;
    }
    return it;
}

static void item_set(leat_dtype dtype, void *data, int64_t i, const item *it)
{
    switch (kind_of(dtype)) {
    case ITEM_TEXT:
        ((leat_string *)data)[i] = it->text;
        break;
    case ITEM_NUMBER:
        lt_element_set(dtype, data, i, it->number);
        break;
    case ITEM_WHOLE:
        lt_element_set_int(dtype, data, i, it->whole);
        break;
    }
}

/* NaN is above all numbers and equal to itself. */
static int compare_numbers(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) - isnan(b);
    }
    return (a > b) - (a < b);
}

static int compare(item_kind kind, const item *a, const item *b)
{
    if (kind == ITEM_NUMBER) {
        return compare_numbers(a->number, b->number);
    }
    if (kind == ITEM_WHOLE) {
        return (a->whole > b->whole) - (a->whole < b->whole);
    }
    size_t least = a->text.bytes < b->text.bytes ? a->text.bytes : b->text.bytes;
    int order = least ? memcmp(a->text.data, b->text.data, least) : 0;
    return order ? order : (a->text.bytes > b->text.bytes) - (a->text.bytes < b->text.bytes);
}

/* --- the list of keys ---------------------------------------------------------------------------
 */

/* Merge sort, bottom up: stable, so that the first of equal keys stays the first. */
static entry *sort(item_kind kind, entry *list, entry *other, size_t count)
{
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t a = at, middle = at + run < count ? at + run : count, b = middle;
            size_t end = at + 2 * run < count ? at + 2 * run : count;
            for (size_t to = at; to < end; to++) {
                bool left =
                    a < middle && (b >= end || compare(kind, &list[a].key, &list[b].key) <= 0);
                other[to] = list[left ? a++ : b++];
            }
        }
        entry *swap = list;
        list = other;
        other = swap;
    }
    return list;
}

/* The entry with that key; NULL when there is none. */
static const entry *look_up(const encoder *e, const item *key)
{
    size_t low = 0, high = e->n_keys;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(e->in_kind, &e->keys[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < e->n_keys && compare(e->in_kind, &e->keys[low].key, key) == 0 ? &e->keys[low]
                                                                               : NULL;
}

/* A list given as an attribute of strings, ints or floats, or as a tensor. */
typedef struct list {
    size_t count;
    leat_dtype dtype;
    const void *data;
} list;

static list list_of(const leat_node *node, const char *const names[4])
{
    for (int i = 0; i < 4; i++) {
        const leat_attr *attr = names[i] ? leat_node_attr(node, names[i]) : NULL;
        if (attr == NULL) {
            continue;
        }
        switch (attr->type) {
        case LEAT_ATTR_STRINGS:
            return (list){attr->count, LEAT_DTYPE_STRING, attr->u.strings};
        case LEAT_ATTR_INTS:
            return (list){attr->count, LEAT_DTYPE_I64, attr->u.ints};
        case LEAT_ATTR_FLOATS:
            return (list){attr->count, LEAT_DTYPE_F32, attr->u.floats};
        case LEAT_ATTR_TENSOR:
            if (attr->u.tensor->rank <= 1) {
                int64_t n = attr->u.tensor->rank ? attr->u.tensor->shape[0] : 1;
                return (list){(size_t)n, attr->u.tensor->dtype, attr->u.tensor->data};
            }
            break;
        default:
            break;
        }
    }
    return (list){0, LEAT_DTYPE_UNDEFINED, NULL};
}

/* `last_wins`: of equal keys the later one counts. */
static leat_status set_keys(encoder *e, const leat_kernel_node *node, const list *keys,
                            bool last_wins, const leat_host *host, leat_plan *plan, leat_error *err)
{
    entry *entries = host->plan_alloc(plan, (keys->count + 1) * sizeof(*entries));
    entry *other = host->plan_alloc(plan, (keys->count + 1) * sizeof(*other));
    if (entries == NULL || other == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu keys", node->node->op,
                           keys->count);
    }
    for (size_t i = 0; i < keys->count; i++) {
        size_t at = last_wins ? keys->count - 1 - i : i;
        entries[i] = (entry){item_get(keys->dtype, keys->data, (int64_t)at), at};
    }
    e->n_keys = keys->count;
    e->keys = sort(e->in_kind, entries, other, keys->count);
    return LEAT_OK;
}

/* --- LabelEncoder and CategoryMapper ------------------------------------------------------------
 */

static void map_range(void *argument, int64_t begin, int64_t end)
{
    const encoder *e = ((const void *const *)argument)[0];
    const void *x = ((const void *const *)argument)[1];
    void *y = ((void *const *)argument)[2];
    for (int64_t i = begin; i < end; i++) {
        item key = item_get(e->in_dtype, x, i);
        const entry *found = look_up(e, &key);
        item_set(e->out_dtype, y, i, found ? &e->values[found->at] : &e->otherwise);
    }
}

static leat_status map_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const encoder *e = state;
    const void *argument[3] = {e, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, e->count, 1, 64, map_range, (void *)argument);
    return LEAT_OK;
}

static encoder *make(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                     leat_status *status, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    encoder *e = host->plan_alloc(plan, sizeof(*e));
    *status = e ? LEAT_OK
                : lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    if (e != NULL) {
        e->in_dtype = x->dtype;
        e->out_dtype = y->dtype;
        e->in_kind = kind_of(x->dtype);
        e->out_kind = kind_of(y->dtype);
        e->count = leat_value_count(x);
    }
    return e;
}

static leat_status set_values(encoder *e, const leat_kernel_node *node, const list *values,
                              const leat_host *host, leat_plan *plan, leat_error *err)
{
    item *items = host->plan_alloc(plan, (values->count + 1) * sizeof(*items));
    if (items == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu values", node->node->op,
                           values->count);
    }
    for (size_t i = 0; i < values->count; i++) {
        items[i] = item_get(values->dtype, values->data, (int64_t)i);
    }
    e->values = items;
    return LEAT_OK;
}

/* What an unknown key becomes. */
static void set_default(encoder *e, const leat_kernel_node *node, const char *missing_text)
{
    const leat_attr *tensor = leat_node_attr(node->node, "default_tensor");
    const leat_attr *text = leat_node_attr(node->node, "default_string");
    if (tensor != NULL && tensor->type == LEAT_ATTR_TENSOR &&
        tensor->u.tensor->dtype == e->out_dtype && tensor->u.tensor->bytes != 0) {
        e->otherwise = item_get(e->out_dtype, tensor->u.tensor->data, 0);
        return;
    }
    e->otherwise.text = text && text->type == LEAT_ATTR_STRING
                            ? text->u.s
                            : (leat_string){missing_text, strlen(missing_text)};
    e->otherwise.number = (double)leat_node_float(node->node, "default_float", -0.0f);
    e->otherwise.whole = leat_node_int(node->node, "default_int64", -1);
}

static leat_status prepare_map(encoder *e, const leat_kernel_node *node, const list *keys,
                               const list *values, bool last_wins, const leat_host *host,
                               leat_plan *plan, leat_error *err)
{
    if (keys->count != values->count || keys->data == NULL || values->data == NULL ||
        kind_of(keys->dtype) != e->in_kind || kind_of(values->dtype) != e->out_kind) {
        return lt_ml_invalid(node, err, "%zu keys and %zu values do not fit input and output",
                             keys->count, values->count);
    }
    leat_status status = set_keys(e, node, keys, last_wins, host, plan, err);
    status = status ? status : set_values(e, node, values, host, plan, err);
    set_default(e, node, "_Unused");
    return status;
}

leat_status lt_cpu_label_encoder_prepare(const leat_kernel_node *node, void *device,
                                         const leat_host *host, leat_plan *plan,
                                         leat_kernel *out_kernel, leat_error *err)
{
    static const char *const key_names[] = {"keys_strings", "keys_int64s", "keys_floats",
                                            "keys_tensor"};
    static const char *const value_names[] = {"values_strings", "values_int64s", "values_floats",
                                              "values_tensor"};
    leat_status status;
    encoder *e = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    list keys = list_of(node->node, key_names), values = list_of(node->node, value_names);
    size_t n_classes;
    const leat_string *classes = lt_ml_strings(node->node, "classes_strings", &n_classes);
    if (classes != NULL) { /* version 1: a string and its position, either way */
        int64_t *positions = host->plan_alloc(plan, n_classes * sizeof(*positions));
        if (positions == NULL) {
            return lt_cpu_fail(err, LEAT_NO_MEMORY, "LabelEncoder: no memory for the plan");
        }
        for (size_t i = 0; i < n_classes; i++) {
            positions[i] = (int64_t)i;
        }
        list strings = {n_classes, LEAT_DTYPE_STRING, classes};
        list numbers = {n_classes, LEAT_DTYPE_I64, positions};
        keys = e->in_kind == ITEM_TEXT ? strings : numbers;
        values = e->in_kind == ITEM_TEXT ? numbers : strings;
    }
    status = prepare_map(e, node, &keys, &values, false, host, plan, err);
    out_kernel->name = "label_encoder";
    out_kernel->launch = map_run;
    out_kernel->state = e;
    return status;
}

leat_status lt_cpu_category_mapper_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    static const char *const strings[4] = {"cats_strings"}, *const ints[4] = {"cats_int64s"};
    leat_status status;
    encoder *e = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    bool text = e->in_kind == ITEM_TEXT;
    list keys = list_of(node->node, text ? strings : ints);
    list values = list_of(node->node, text ? ints : strings);
    status = prepare_map(e, node, &keys, &values, true, host, plan, err);
    out_kernel->name = "category_mapper";
    out_kernel->launch = map_run;
    out_kernel->state = e;
    return status;
}

/* --- OneHotEncoder ------------------------------------------------------------------------------
 */

static leat_status one_hot_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const encoder *e = state;
    float *y = args->outputs[0];
    memset(y, 0, (size_t)e->count * e->n_keys * sizeof(*y));
    for (int64_t i = 0; i < e->count; i++) {
        item key = item_get(e->in_dtype, args->inputs[0], i);
        if (kind_of(e->in_dtype) == ITEM_NUMBER) { /* as the reference: categories are whole */
            key.whole = lt_saturate_i64(key.number);
        }
        const entry *found = look_up(e, &key);
        if (found != NULL) {
            y[(size_t)i * e->n_keys + found->at] = 1;
        } else if (e->must_know) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "OneHotEncoder: element %lld is no known category", (long long)i);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_one_hot_encoder_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    static const char *const strings[4] = {"cats_strings"}, *const ints[4] = {"cats_int64s"};
    leat_status status;
    encoder *e = make(node, host, plan, &status, err);
    (void)device;
    if (status != LEAT_OK) {
        return status;
    }
    bool text = e->in_kind == ITEM_TEXT;
    list keys = list_of(node->node, text ? strings : ints);
    int64_t wanted;
    if (keys.count == 0 || kind_of(keys.dtype) != (text ? ITEM_TEXT : ITEM_WHOLE)) {
        return lt_ml_invalid(node, err, "no categories of the input's type");
    }
    if (__builtin_mul_overflow(e->count, (int64_t)keys.count, &wanted) ||
        leat_value_count(leat_kernel_output(node, 0)) != wanted) {
        return lt_ml_invalid(node, err, "the output does not hold %zu numbers an element",
                             keys.count);
    }
    e->in_kind = text ? ITEM_TEXT : ITEM_WHOLE;
    status = set_keys(e, node, &keys, false, host, plan, err);
    e->must_know = leat_node_int(node->node, "zeros", 1) == 0;
    out_kernel->name = "one_hot_encoder";
    out_kernel->launch = one_hot_run;
    out_kernel->state = e;
    return status;
}

/* --- ZipMap -------------------------------------------------------------------------------------
 */

/* leat has no maps: ZipMap gives its input, whose columns are in the order of its labels. */
leat_status lt_cpu_zip_map_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    (void)node;
    (void)device;
    (void)host;
    (void)plan;
    (void)err;
    out_kernel->name = "view";
    out_kernel->view_of = 1;
    return LEAT_OK;
}

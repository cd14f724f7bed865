/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx.ml on maps: CastMap, DictVectorizer. A map is an array of two arrays, keys
 * and values (leat.h); it comes from outside, in any order of its keys. */
#include "base/error.h"
#include "base/number.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    leat_string text; /* the key, one of the two */
    int64_t number;
    size_t at; /* of the value */
} entry;

/* A map in the order of its keys. */
typedef struct entries {
    entry *list; /* in buffer 1 of the call's state */
    size_t n;
    bool by_text;
    leat_array values;
} entries;

static int by_number(const void *a, const void *b)
{
    int64_t x = ((const entry *)a)->number, y = ((const entry *)b)->number;
    return x < y ? -1 : x > y;
}

static int by_text(const void *a, const void *b)
{
    const leat_string *x = &((const entry *)a)->text, *y = &((const entry *)b)->text;
    size_t shared = x->bytes < y->bytes ? x->bytes : y->bytes;
    int order = shared != 0 ? memcmp(x->data, y->data, shared) : 0;
    return order != 0 ? order : x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The map that is input 0, sorted. */
static leat_status read_map(lt_host_call *call, entries *e, leat_error *err)
{
    const leat_array map = lt_call_input(call, 0).array;
    size_t bytes;
    if (map.dtype != LEAT_DTYPE_MAP) {
        return lt_fail(err, LEAT_INVALID, "input 0 is of type %s, not a map",
                       leat_dtype_name(map.dtype));
    }
    const leat_array *keys = (const leat_array *)map.data;
    e->values = keys[1];
    e->n = (size_t)keys->shape[0];
    e->by_text = keys->dtype == LEAT_DTYPE_STRING;
    if (!e->by_text && keys->dtype != LEAT_DTYPE_I64) {
        return lt_fail(err, LEAT_INVALID, "its keys are of type %s, not i64 or string",
                       leat_dtype_name(keys->dtype));
    }
    if (!lt_mul(e->n, sizeof(entry), &bytes)) {
        return lt_fail(err, LEAT_LIMIT, "a map of %zu entries", e->n);
    }
    leat_status status = lt_call_reserve(call, 1, bytes, 0, err);
    if (status != LEAT_OK) {
        return status;
    }
    e->list = call->state->buffers[1].data;
    for (size_t i = 0; i < e->n; i++) {
        e->list[i] = (entry){.at = i};
        if (e->by_text) {
            e->list[i].text = ((const leat_string *)keys->data)[i];
        } else {
            e->list[i].number = ((const int64_t *)keys->data)[i];
        }
    }
    int (*order)(const void *, const void *) = e->by_text ? by_text : by_number;
    qsort(e->list, e->n, sizeof(entry), order);
    for (size_t i = 1; i < e->n; i++) {
        if (order(&e->list[i - 1], &e->list[i]) == 0) {
            return lt_fail(err, LEAT_INVALID, "a key is in the map twice");
        }
    }
    return LEAT_OK;
}

/* --- CastMap ------------------------------------------------------------------------------------
 */

/* What stands where the map has no entry, in each type; as ONNX Runtime fills texts. */
static const char no_text[] = "0.f";

/* Value of an entry (NULL: none) as text. */
static leat_string text_of(const entries *e, const entry *from, char *room)
{
    if (from == NULL) {
        return (leat_string){no_text, sizeof(no_text) - 1};
    }
    if (e->values.dtype == LEAT_DTYPE_STRING) {
        return ((const leat_string *)e->values.data)[from->at];
    }
    double value = (double)((const float *)e->values.data)[from->at];
    return (leat_string){room, lt_number_text(value, 6, room)};
}

/* Column i of the output: the i-th entry, or with `sparse` the one whose key is i, which *next, an
 * entry, has come to. */
static const entry *column(const entries *e, bool sparse, size_t i, size_t *next)
{
    if (*next == e->n || (sparse && e->list[*next].number != (int64_t)i)) {
        return NULL;
    }
    return &e->list[(*next)++];
}

static leat_status cast_to_text(lt_host_call *call, const entries *e, bool sparse,
                                const int64_t *shape, leat_error *err)
{
    char room[LT_NUMBER_TEXT], *to;
    lt_item made;
    size_t text = 0, next = 0;
    for (size_t i = 0; i < (size_t)shape[1]; i++) {
        if (!lt_add(text, text_of(e, column(e, sparse, i, &next), room).bytes, &text)) {
            return lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    leat_status status = lt_held_strings(lt_call_memory(call), 2, shape, text, &made, &to, err);
    next = 0;
    for (size_t i = 0; i < (size_t)shape[1] && status == LEAT_OK; i++) {
        leat_string from = text_of(e, column(e, sparse, i, &next), room);
        if (from.bytes != 0) {
            memcpy(to, from.data, from.bytes);
        }
        ((leat_string *)made.array.data)[i] = (leat_string){to, from.bytes};
        to += from.bytes;
    }
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

/* Value of an entry as a number; false for text that is none. */
static bool number_of(const entries *e, const entry *from, double *out)
{
    *out = 0;
    if (from != NULL && e->values.dtype == LEAT_DTYPE_STRING) {
        return lt_number_read(&((const leat_string *)e->values.data)[from->at], out);
    }
    *out = from ? (double)((const float *)e->values.data)[from->at] : 0;
    return true;
}

/* Towards zero; what i64 cannot hold becomes its least number, as x86 has it. */
static int64_t whole(double value)
{
    return value >= -0x1p63 && value < 0x1p63 ? (int64_t)value : INT64_MIN;
}

static leat_status cast_to_numbers(lt_host_call *call, const entries *e, bool sparse,
                                   const int64_t *shape, leat_dtype dtype, leat_error *err)
{
    lt_item made = {.array = {.dtype = dtype, .rank = 2, .shape = {1, shape[1]}}};
    size_t next = 0;
    if (!lt_shape_bytes(dtype, 2, shape, &made.array.bytes)) {
        return lt_fail(err, LEAT_LIMIT, "%lld columns", (long long)shape[1]);
    }
    leat_status status = lt_call_reserve(call, 0, made.array.bytes, 0, err);
    made.array.data = call->state->buffers[0].data;
    for (size_t i = 0; i < (size_t)shape[1] && status == LEAT_OK; i++) {
        const entry *from = column(e, sparse, i, &next);
        int64_t exact = 0;
        double value;
        bool text = from != NULL && e->values.dtype == LEAT_DTYPE_STRING;
        bool good =
            text && dtype == LEAT_DTYPE_I64
                ? lt_number_read_i64(&((const leat_string *)e->values.data)[from->at], &exact)
                : number_of(e, from, &value);
        if (!good) {
            status = lt_fail(err, LEAT_INVALID, "the value of entry %zu is no number", from->at);
        } else if (dtype == LEAT_DTYPE_I64) {
            ((int64_t *)made.array.data)[i] = text ? exact : whole(value);
        } else {
            ((float *)made.array.data)[i] = (float)value;
        }
    }
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

leat_status lt_host_cast_map(lt_host_call *call, leat_error *err)
{
    bool sparse = leat_node_string_is(call->node, "map_form", "SPARSE");
    entries e;
    leat_status status = read_map(call, &e, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (e.by_text || (e.values.dtype != LEAT_DTYPE_F32 && e.values.dtype != LEAT_DTYPE_STRING)) {
        return lt_fail(err, LEAT_INVALID, "a map of %s to %s, not of i64 to f32 or string",
                       e.by_text ? "string" : "i64", leat_dtype_name(e.values.dtype));
    }
    if (sparse && e.n != 0 && e.list[0].number < 0) {
        return lt_fail(err, LEAT_INVALID, "its least key is %lld, and keys are columns here",
                       (long long)e.list[0].number);
    }
    int64_t shape[2] = {1, sparse ? leat_node_int(call->node, "max_map", 1) : (int64_t)e.n};
    if (leat_node_string_is(call->node, "cast_to", "TO_STRING")) {
        return cast_to_text(call, &e, sparse, shape, err);
    }
    bool integers = leat_node_string_is(call->node, "cast_to", "TO_INT64");
    return cast_to_numbers(call, &e, sparse, shape, integers ? LEAT_DTYPE_I64 : LEAT_DTYPE_F32,
                           err);
}

/* --- DictVectorizer -----------------------------------------------------------------------------
 */

typedef struct vocabulary {
    const leat_string *texts; /* one of the two */
    const int64_t *numbers;
    size_t n;
} vocabulary;

static vocabulary read_vocabulary(const leat_node *node)
{
    const leat_attr *texts = leat_node_attr(node, "string_vocabulary");
    vocabulary v = {.n = 0};
    if (texts != NULL && texts->type == LEAT_ATTR_STRINGS) {
        v.texts = texts->u.strings;
        v.n = texts->count;
    } else {
        v.numbers = leat_node_ints(node, "int64_vocabulary", &v.n);
    }
    return v;
}

/* The entry whose key is word i; NULL when the map has none. */
static const entry *look_up(const entries *e, const vocabulary *v, size_t i)
{
    const entry wanted = {.text = v->texts ? v->texts[i] : (leat_string){NULL, 0},
                          .number = v->numbers ? v->numbers[i] : 0};
    return bsearch(&wanted, e->list, e->n, sizeof(entry), e->by_text ? by_text : by_number);
}

static leat_status give_texts(lt_host_call *call, const entries *e, const vocabulary *v,
                              const int64_t *shape, leat_error *err)
{
    const leat_string *values = e->values.data;
    size_t text = 0;
    char *to;
    lt_item made;
    for (size_t i = 0; i < v->n; i++) {
        const entry *from = look_up(e, v, i);
        if (from != NULL && !lt_add(text, values[from->at].bytes, &text)) {
            return lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    leat_status status = lt_held_strings(lt_call_memory(call), 2, shape, text, &made, &to, err);
    for (size_t i = 0; i < v->n && status == LEAT_OK; i++) {
        const entry *from = look_up(e, v, i);
        leat_string value = from ? values[from->at] : (leat_string){to, 0};
        if (value.bytes != 0) {
            memcpy(to, value.data, value.bytes);
        }
        ((leat_string *)made.array.data)[i] = (leat_string){to, value.bytes};
        to += value.bytes;
    }
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

leat_status lt_host_dict_vectorizer(lt_host_call *call, leat_error *err)
{
    const vocabulary v = read_vocabulary(call->node);
    const int64_t shape[2] = {1, (int64_t)v.n};
    entries e;
    leat_status status = read_map(call, &e, err);
    if (status == LEAT_OK && e.by_text != (v.texts != NULL)) {
        status = lt_fail(err, LEAT_INVALID, "keys are of type %s, the vocabulary of the other",
                         e.by_text ? "string" : "i64");
    }
    if (status != LEAT_OK || e.values.dtype == LEAT_DTYPE_STRING) {
        return status ? status : give_texts(call, &e, &v, shape, err);
    }
    lt_item made = {.array = {.dtype = e.values.dtype, .rank = 2, .shape = {1, shape[1]}}};
    size_t element = leat_dtype_bytes(e.values.dtype, 1);
    if (!lt_shape_bytes(e.values.dtype, 2, shape, &made.array.bytes)) {
        return lt_fail(err, LEAT_LIMIT, "a vocabulary of %zu words", v.n);
    }
    status = lt_call_reserve(call, 0, made.array.bytes, 0, err);
    if (status != LEAT_OK) {
        return status;
    }
    made.array.data = call->state->buffers[0].data;
    memset(made.array.data, 0, made.array.bytes);
    for (size_t i = 0; i < v.n; i++) {
        const entry *from = look_up(&e, &v, i);
        if (from != NULL) {
            memcpy((char *)made.array.data + i * element,
                   (const char *)e.values.data + from->at * element, element);
        }
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that make new text, how much of it only the data says: StringConcat, StringNormalizer.
 * Upper and lower case are Unicode's of one letter to one letter, whatever the attribute `locale`
 * says. */
#include "base/error.h"
#include "base/letters.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <string.h>

static leat_status strings_input(const lt_host_call *call, uint32_t i, leat_array *out,
                                 leat_error *err)
{
    *out = lt_call_input(call, i).array;
    return out->dtype == LEAT_DTYPE_STRING
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID, "input %u is of type %s, not string", i,
                         leat_dtype_name(out->dtype));
}

static char *append(char *to, const leat_string *text)
{
    if (text->bytes != 0) {
        memcpy(to, text->data, text->bytes);
    }
    return to + text->bytes;
}

/* --- StringConcat -------------------------------------------------------------------------------
 */

/* Steps of both inputs through the output's elements; 0 where an input is broadcast. */
typedef struct pairing {
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    size_t strides[2][LEAT_MAX_RANK];
    size_t count;
} pairing;

static leat_status pair(const leat_array *x, pairing *p, leat_error *err)
{
    p->rank = x[0].rank > x[1].rank ? x[0].rank : x[1].rank;
    for (int32_t d = 0; d < p->rank; d++) {
        p->shape[d] = 1;
    }
    for (int i = 0; i < 2; i++) {
        size_t stride = 1;
        for (int32_t d = x[i].rank - 1; d >= 0; d--) {
            int32_t to = d + p->rank - x[i].rank;
            if (x[i].shape[d] != 1 && p->shape[to] != 1 && x[i].shape[d] != p->shape[to]) {
                return lt_fail(err, LEAT_INVALID, "its inputs do not broadcast to one shape");
            }
            p->shape[to] = x[i].shape[d] != 1 ? x[i].shape[d] : p->shape[to];
            p->strides[i][to] = x[i].shape[d] != 1 ? stride : 0;
            stride *= (size_t)x[i].shape[d];
        }
    }
    return lt_shape_count(p->rank, p->shape, &p->count)
               ? LEAT_OK
               : lt_fail(err, LEAT_LIMIT, "its output is too large");
}

/* Elements of both inputs for element `index` of the output. */
static void find_pair(const pairing *p, size_t index, size_t out_at[2])
{
    out_at[0] = out_at[1] = 0;
    for (int32_t d = p->rank - 1; d >= 0; d--) {
        size_t at = index % (size_t)p->shape[d];
        index /= (size_t)p->shape[d];
        out_at[0] += at * p->strides[0][d];
        out_at[1] += at * p->strides[1][d];
    }
}

leat_status lt_host_string_concat(lt_host_call *call, leat_error *err)
{
    leat_array x[2];
    pairing p = {.count = 0};
    lt_item made;
    size_t at[2], text = 0;
    leat_status status = strings_input(call, 0, &x[0], err);
    status = status ? status : strings_input(call, 1, &x[1], err);
    status = status ? status : pair(x, &p, err);
    const leat_string *a = x[0].data, *b = x[1].data;
    for (size_t i = 0; i < p.count && status == LEAT_OK; i++) {
        find_pair(&p, i, at);
        if (!lt_add(text, a[at[0]].bytes, &text) || !lt_add(text, b[at[1]].bytes, &text)) {
            status = lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    char *to;
    status = status ? status
                    : lt_held_strings(lt_call_memory(call), p.rank, p.shape, text, &made, &to, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_string *out = made.array.data;
    for (size_t i = 0; i < p.count; i++) {
        find_pair(&p, i, at);
        out[i] = (leat_string){to, a[at[0]].bytes + b[at[1]].bytes};
        to = append(append(to, &a[at[0]]), &b[at[1]]);
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

/* --- StringNormalizer ---------------------------------------------------------------------------
 */

typedef enum letter_case {
    CASE_AS_IS,
    CASE_LOWER,
    CASE_UPPER
} letter_case;

/* Writes the text in that case, unless `to` is NULL, and returns its bytes. Bytes that are no
 * characters stay. */
static size_t change_case(const leat_string *text, letter_case wanted, char *to)
{
    leat_string left = *text;
    size_t total = 0;
    while (left.bytes != 0) {
        char changed[LT_UTF8_MOST_BYTES];
        const char *from = left.data;
        size_t bytes;
        uint32_t letter = lt_utf8_take(&left, &bytes);
        uint32_t other = wanted == CASE_LOWER   ? lt_letter_lower(letter)
                         : wanted == CASE_UPPER ? lt_letter_upper(letter)
                                                : letter;
        if (other != letter) {
            bytes = lt_utf8_put(other, changed);
            from = changed;
        }
        if (to != NULL) {
            memcpy(to + total, from, bytes);
        }
        total += bytes;
    }
    return total;
}

/* Without case unless `exact`. */
static bool equal(const leat_string *a, const leat_string *b, bool exact)
{
    if (exact) {
        return a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
    }
    leat_string x = *a, y = *b;
    size_t bytes;
    while (x.bytes != 0 && y.bytes != 0) {
        if (lt_letter_lower(lt_utf8_take(&x, &bytes)) !=
            lt_letter_lower(lt_utf8_take(&y, &bytes))) {
            return false;
        }
    }
    return x.bytes == y.bytes;
}

typedef struct normalizer {
    const leat_string *stop;
    size_t n_stop;
    bool exact;
    letter_case wanted;
} normalizer;

static bool is_kept(const normalizer *n, const leat_string *text)
{
    for (size_t i = 0; i < n->n_stop; i++) {
        if (equal(text, &n->stop[i], n->exact)) {
            return false;
        }
    }
    return true;
}

static leat_status read_normalizer(const leat_node *node, normalizer *n, leat_error *err)
{
    const leat_attr *stop = leat_node_attr(node, "stopwords");
    const leat_attr *action = leat_node_attr(node, "case_change_action");
    bool lists = stop != NULL && stop->type == LEAT_ATTR_STRINGS;
    n->stop = lists ? stop->u.strings : NULL;
    n->n_stop = lists ? stop->count : 0;
    n->exact = leat_node_int(node, "is_case_sensitive", 0) != 0;
    n->wanted = leat_node_string_is(node, "case_change_action", "LOWER")   ? CASE_LOWER
                : leat_node_string_is(node, "case_change_action", "UPPER") ? CASE_UPPER
                                                                           : CASE_AS_IS;
    bool known = action == NULL || n->wanted != CASE_AS_IS ||
                 leat_node_string_is(node, "case_change_action", "NONE");
    return known ? LEAT_OK : lt_fail(err, LEAT_INVALID, "unknown case_change_action");
}

leat_status lt_host_string_normalizer(lt_host_call *call, leat_error *err)
{
    leat_array x;
    normalizer n;
    size_t kept = 0, text = 0;
    leat_status status = strings_input(call, 0, &x, err);
    status = status ? status : read_normalizer(call->node, &n, err);
    if (status == LEAT_OK && x.rank != 1 && (x.rank != 2 || x.shape[0] != 1)) {
        status = lt_fail(err, LEAT_INVALID, "its input must have the shape C or 1 x C");
    }
    if (status != LEAT_OK) {
        return status;
    }
    const leat_string *in = x.data;
    size_t count = (size_t)x.shape[x.rank - 1];
    for (size_t i = 0; i < count; i++) {
        bool keep = is_kept(&n, &in[i]);
        kept += keep;
        if (!lt_add(text, keep ? change_case(&in[i], n.wanted, NULL) : 0, &text)) {
            return lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    lt_item made;
    char *to;
    x.shape[x.rank - 1] = kept ? (int64_t)kept : 1; /* nothing left: one empty string */
    status = lt_held_strings(lt_call_memory(call), x.rank, x.shape, text, &made, &to, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_string *out = made.array.data;
    out[0] = (leat_string){to, 0};
    for (size_t i = 0; i < count; i++) {
        if (is_kept(&n, &in[i])) {
            *out = (leat_string){to, change_case(&in[i], n.wanted, to)};
            to += out++->bytes;
        }
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

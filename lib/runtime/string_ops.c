/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that make new text, how much of it only the data says: StringConcat, StringNormalizer.
 * Upper and lower case are those of ASCII, Latin, Greek and Cyrillic letters below
 * U+0530, whatever the attribute `locale` says; a letter and its other case have as many bytes
 * there. */
#include "base/error.h"
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

/* Letters from first to last; `step` 2: upper and lower case take turns, upper first. Otherwise
 * they are upper case, lower case being `to_lower` further on. */
typedef struct letters {
    uint16_t first, last;
    uint8_t step, to_lower;
} letters;

static const letters alphabets[] = {
    {'A', 'Z', 1, 32},     {0xc0, 0xd6, 1, 32},   {0xd8, 0xde, 1, 32},   {0x100, 0x12f, 2, 1},
    {0x132, 0x137, 2, 1},  {0x139, 0x148, 2, 1},  {0x14a, 0x177, 2, 1},  {0x179, 0x17e, 2, 1},
    {0x386, 0x386, 1, 38}, {0x388, 0x38a, 1, 37}, {0x38c, 0x38c, 1, 64}, {0x38e, 0x38f, 1, 63},
    {0x391, 0x3a1, 1, 32}, {0x3a3, 0x3ab, 1, 32}, {0x400, 0x40f, 1, 80}, {0x410, 0x42f, 1, 32},
    {0x460, 0x481, 2, 1},  {0x48a, 0x4bf, 2, 1},  {0x4c1, 0x4ce, 2, 1},  {0x4d0, 0x52f, 2, 1},
};

static uint32_t change_letter(uint32_t c, letter_case wanted)
{
    for (size_t i = 0; i < sizeof(alphabets) / sizeof(alphabets[0]); i++) {
        const letters *l = &alphabets[i];
        if (l->step == 2 && c >= l->first && c <= l->last) {
            bool lower = (c - l->first) % 2 != 0;
            return wanted == CASE_LOWER ? c + !lower : c - lower;
        }
        if (l->step == 1 && wanted == CASE_LOWER && c >= l->first && c <= l->last) {
            return c + l->to_lower;
        }
        if (l->step == 1 && wanted == CASE_UPPER && c >= (uint32_t)l->first + l->to_lower &&
            c <= (uint32_t)l->last + l->to_lower) {
            return c - l->to_lower;
        }
    }
    return c;
}

/* Letters of one and two bytes in place; longer characters, and bytes that are none, stay. */
static void change_case(char *text, size_t bytes, letter_case wanted)
{
    unsigned char *s = (unsigned char *)text;
    for (size_t i = 0; i < bytes && wanted != CASE_AS_IS; i++) {
        if (s[i] < 0x80) {
            s[i] = (unsigned char)change_letter(s[i], wanted);
        } else if (s[i] >> 5 == 6 && i + 1 < bytes && s[i + 1] >> 6 == 2) {
            uint32_t c = change_letter((s[i] & 31u) << 6 | (s[i + 1] & 63u), wanted);
            s[i] = (unsigned char)(0xc0 | c >> 6);
            s[i + 1] = (unsigned char)(0x80 | (c & 63));
            i++;
        }
    }
}

/* Without case unless `exact`: letters of two bytes begin at the same places of equal texts. */
static bool equal(const leat_string *a, const leat_string *b, bool exact)
{
    char x[2], y[2];
    if (a->bytes != b->bytes || exact) {
        return a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
    }
    for (size_t i = 0; i < a->bytes; i++) {
        size_t n = (unsigned char)a->data[i] >> 5 == 6 && i + 1 < a->bytes ? 2 : 1;
        memcpy(x, a->data + i, n);
        memcpy(y, b->data + i, n);
        change_case(x, n, CASE_LOWER);
        change_case(y, n, CASE_LOWER);
        if (memcmp(x, y, n) != 0) {
            return false;
        }
        i += n - 1;
    }
    return true;
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
        if (!lt_add(text, keep ? in[i].bytes : 0, &text)) {
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
            *out++ = (leat_string){to, in[i].bytes};
            char *end = append(to, &in[i]);
            change_case(to, in[i].bytes, n.wanted);
            to = end;
        }
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

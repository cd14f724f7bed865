/* SPDX-License-Identifier: Apache-2.0 */
#include "linear/equation.h"

#include "movement/movement.h"

typedef struct reader {
    const leat_node *node;
    const char *text;
    size_t at, bytes;
    int32_t ellipsis; /* dimensions that "..." stands for: the most of all terms */
    uint8_t uses[LT_EINSUM_LABELS];
    leat_error *err;
} reader;

static leat_status bad(const reader *r, const char *what)
{
    return lt_cpu_fail(r->err, LEAT_INVALID, "%s: equation '%.*s': %s", lt_move_name(r->node).text,
                       (int)(r->bytes < 80 ? r->bytes : 80), r->text, what);
}

/* The next character that is no space; 0 at the end. */
static char peek(reader *r)
{
    while (r->at < r->bytes && r->text[r->at] == ' ') {
        r->at++;
    }
    return r->at < r->bytes ? r->text[r->at] : 0;
}

static int label_of(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

/* Reads labels up to ',' or '-' or the end. `dims` is what the ellipsis stands for. */
static leat_status read_term(reader *r, int32_t dims, lt_einsum_term *out, bool *out_ellipsis)
{
    out->rank = 0;
    *out_ellipsis = false;
    for (char c = peek(r); c != 0 && c != ',' && c != '-'; c = peek(r)) {
        int label = label_of(c);
        int32_t count = label < 0 ? dims : 1;
        if (label < 0) {
            bool dots = r->bytes - r->at >= 3 && memcmp(r->text + r->at, "...", 3) == 0;
            if (!dots || *out_ellipsis) {
                return bad(r, "a character that is no label");
            }
            *out_ellipsis = true;
        }
        r->at += label < 0 ? 3 : 1;
        if (count < 0 || out->rank + count > LEAT_MAX_RANK) {
            return bad(r, "labels do not fit the dimensions");
        }
        for (int32_t i = 0; i < count; i++) {
            out->label[out->rank++] = (uint8_t)(label < 0 ? 52 + count - 1 - i : label);
        }
    }
    return LEAT_OK;
}

/* Letters of the term at hand, without reading it. */
static int32_t count_letters(const reader *r)
{
    int32_t n = 0;
    for (size_t i = r->at; i < r->bytes && r->text[i] != ',' && r->text[i] != '-'; i++) {
        n += label_of(r->text[i]) >= 0;
    }
    return n;
}

static leat_status set_extents(reader *r, const lt_einsum_term *term, const leat_value *value,
                               lt_einsum_equation *e)
{
    if (term->rank != value->rank) {
        return bad(r, "labels do not fit the dimensions");
    }
    for (int32_t i = 0; i < term->rank; i++) {
        int64_t *extent = &e->extent[term->label[i]], dim = value->shape[i];
        if (*extent < 0 || (*extent == 1 && term->label[i] >= 52)) {
            *extent = dim;
        } else if (*extent != dim && !(dim == 1 && term->label[i] >= 52)) {
            return bad(r, "a label has two sizes");
        }
        r->uses[term->label[i]]++;
    }
    return LEAT_OK;
}

/* Without an arrow: the ellipsis, then the letters that appear once, in order. */
static leat_status implied_output(reader *r, lt_einsum_equation *e)
{
    for (int32_t i = r->ellipsis; i-- > 0;) {
        e->out.label[e->out.rank++] = (uint8_t)(52 + i);
    }
    for (uint8_t l = 0; l < 52; l++) {
        if (r->uses[l] == 1) {
            if (e->out.rank == LEAT_MAX_RANK) {
                return bad(r, "more than 8 dimensions");
            }
            e->out.label[e->out.rank++] = l;
        }
    }
    return LEAT_OK;
}

static leat_status read_output(reader *r, lt_einsum_equation *e)
{
    bool ellipsis;
    if (peek(r) == 0) {
        return implied_output(r, e);
    }
    if (r->bytes - r->at < 2 || r->text[r->at] != '-' || r->text[r->at + 1] != '>') {
        return bad(r, "an arrow is expected");
    }
    r->at += 2;
    leat_status status = read_term(r, r->ellipsis, &e->out, &ellipsis);
    if (status == LEAT_OK && peek(r) != 0) {
        status = bad(r, "text behind the output");
    }
    uint64_t seen = 0;
    for (int32_t i = 0; i < e->out.rank && status == LEAT_OK; i++) {
        uint8_t label = e->out.label[i];
        if (r->uses[label] == 0 || (seen >> label & 1)) {
            status = bad(r, "an output label that is unknown or used twice");
        }
        seen |= 1ull << label;
    }
    return status;
}

leat_status lt_einsum_read(const leat_kernel_node *node, lt_einsum_equation *out, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(node->node, "equation");
    reader r = {.node = node->node, .text = "", .err = err};
    memset(out, 0, sizeof(*out));
    if (attr == NULL || attr->type != LEAT_ATTR_STRING) {
        return bad(&r, "it is missing");
    }
    r.text = attr->u.s.data;
    r.bytes = attr->u.s.bytes;
    out->n_terms = node->node->n_inputs;
    if (out->n_terms > LT_EINSUM_OPERANDS) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: more than %d operands",
                           lt_move_name(node->node).text, LT_EINSUM_OPERANDS);
    }
    for (int i = 0; i < LT_EINSUM_LABELS; i++) {
        out->extent[i] = -1;
    }
    for (uint32_t i = 0; i < out->n_terms; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        int32_t dims = value ? value->rank - count_letters(&r) : -1;
        bool ellipsis;
        leat_status status = read_term(&r, dims, &out->terms[i], &ellipsis);
        if (status == LEAT_OK && value == NULL) {
            status = bad(&r, "an operand is missing");
        }
        status = status ? status : set_extents(&r, &out->terms[i], value, out);
        if (status != LEAT_OK) {
            return status;
        }
        r.ellipsis = ellipsis && dims > r.ellipsis ? dims : r.ellipsis;
        if (i + 1 < out->n_terms) {
            if (peek(&r) != ',') {
                return bad(&r, "fewer terms than operands");
            }
            r.at++;
        }
    }
    return read_output(&r, out);
}

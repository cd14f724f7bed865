/* SPDX-License-Identifier: Apache-2.0 */
/* Einsum: the output's dimensions from the equation. */
#include "graph/shape/shape.h"

#define N_LABELS 60 /* letters, then the dimensions of the ellipsis from the last on */

typedef struct equation {
    const char *text;
    size_t at, bytes;
    int32_t ellipsis;
    int64_t extent[N_LABELS];
    uint8_t uses[N_LABELS];
} equation;

static char peek(equation *e)
{
    while (e->at < e->bytes && e->text[e->at] == ' ') {
        e->at++;
    }
    return e->at < e->bytes ? e->text[e->at] : 0;
}

static int label_of(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

/* Reads a term; the ellipsis stands for `dims` dimensions. */
static leat_status read_term(lt_infer *infer, equation *e, int32_t dims, int32_t *out_rank,
                             uint8_t *labels, bool *out_ellipsis, leat_error *err)
{
    *out_rank = 0;
    *out_ellipsis = false;
    for (char c = peek(e); c != 0 && c != ',' && c != '-'; c = peek(e)) {
        int label = label_of(c);
        bool dots = label < 0 && e->bytes - e->at >= 3 && memcmp(e->text + e->at, "...", 3) == 0;
        int32_t count = label < 0 ? dims : 1;
        if ((label < 0 && (!dots || *out_ellipsis)) || count < 0 ||
            *out_rank + count > LEAT_MAX_RANK) {
            return lt_bad(infer, err, "the equation does not fit its operands");
        }
        *out_ellipsis = *out_ellipsis || dots;
        e->at += dots ? 3 : 1;
        for (int32_t i = 0; i < count; i++) {
            labels[(*out_rank)++] = (uint8_t)(dots ? 52 + count - 1 - i : label);
        }
    }
    return LEAT_OK;
}

static int32_t count_letters(const equation *e)
{
    int32_t n = 0;
    for (size_t i = e->at; i < e->bytes && e->text[i] != ',' && e->text[i] != '-'; i++) {
        n += label_of(e->text[i]) >= 0;
    }
    return n;
}

static leat_status read_operand(lt_infer *infer, equation *e, uint32_t i, leat_error *err)
{
    const leat_value *x = lt_in(infer, i);
    uint8_t labels[LEAT_MAX_RANK];
    int32_t rank, dims = x->rank - count_letters(e);
    bool ellipsis;
    leat_status status = read_term(infer, e, dims, &rank, labels, &ellipsis, err);
    if (status == LEAT_OK && rank != x->rank) {
        status = lt_bad(infer, err, "%d labels for operand %u of rank %d", rank, i, x->rank);
    }
    for (int32_t d = 0; d < rank && status == LEAT_OK; d++) {
        int64_t *extent = &e->extent[labels[d]], dim = x->shape[d];
        bool broadcasts = labels[d] >= 52, unknown = *extent < 0 && e->uses[labels[d]] > 0;
        if (e->uses[labels[d]]++ == 0 || (broadcasts && *extent == 1) ||
            (unknown && dim >= 0 && !(broadcasts && dim == 1))) {
            *extent = dim;
        } else if (*extent >= 0 && dim >= 0 && *extent != dim && !(broadcasts && dim == 1)) {
            status =
                lt_bad(infer, err, "a label is %lld and %lld", (long long)*extent, (long long)dim);
        }
    }
    e->ellipsis = ellipsis && dims > e->ellipsis ? dims : e->ellipsis;
    return status;
}

static leat_status implied_output(lt_infer *infer, equation *e, int32_t *rank, uint8_t *labels,
                                  leat_error *err)
{
    *rank = 0;
    for (int32_t i = e->ellipsis; i-- > 0;) {
        labels[(*rank)++] = (uint8_t)(52 + i);
    }
    for (uint8_t l = 0; l < 52; l++) {
        if (e->uses[l] == 1) {
            if (*rank == LEAT_MAX_RANK) {
                return lt_bad(infer, err, "an output of more than %d dimensions", LEAT_MAX_RANK);
            }
            labels[(*rank)++] = l;
        }
    }
    return LEAT_OK;
}

static leat_status read_output(lt_infer *infer, equation *e, int32_t *rank, uint8_t *labels,
                               leat_error *err)
{
    bool ellipsis;
    uint64_t seen = 0;
    if (peek(e) == 0) {
        return implied_output(infer, e, rank, labels, err);
    }
    if (e->bytes - e->at < 2 || e->text[e->at] != '-' || e->text[e->at + 1] != '>') {
        return lt_bad(infer, err, "the equation has no arrow where one is expected");
    }
    e->at += 2;
    leat_status status = read_term(infer, e, e->ellipsis, rank, labels, &ellipsis, err);
    if (status == LEAT_OK && peek(e) != 0) {
        status = lt_bad(infer, err, "the equation goes on behind its output");
    }
    for (int32_t i = 0; i < *rank && status == LEAT_OK; i++) {
        if (e->uses[labels[i]] == 0 || (seen >> labels[i] & 1)) {
            status = lt_bad(infer, err, "an output label is unknown or used twice");
        }
        seen |= 1ull << labels[i];
    }
    return status;
}

leat_status lt_infer_einsum(lt_infer *infer, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(infer->node, "equation");
    equation e = {0};
    uint8_t labels[LEAT_MAX_RANK];
    int64_t shape[LEAT_MAX_RANK];
    int32_t rank = 0;
    if (attr == NULL || attr->type != LEAT_ATTR_STRING) {
        return lt_bad(infer, err, "the equation is missing");
    }
    e.text = attr->u.s.data;
    e.bytes = attr->u.s.bytes;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < infer->node->n_inputs && status == LEAT_OK; i++) {
        if (lt_in(infer, i) == NULL || (i > 0 && peek(&e) != ',')) {
            return lt_bad(infer, err, "operand %u is missing", i);
        }
        e.at += i > 0;
        status = lt_same_type(infer, 0, i, err);
        status = status ? status : read_operand(infer, &e, i, err);
    }
    status = status ? status : read_output(infer, &e, &rank, labels, err);
    for (int32_t i = 0; i < rank && status == LEAT_OK; i++) {
        shape[i] = e.extent[labels[i]];
    }
    return status ? status : lt_set(infer, 0, lt_in(infer, 0)->dtype, rank, shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* LSTM, GRU, RNN. */
#include "graph/shape/shape.h"

/* Dimensions of the node, negative where not known. */
typedef struct recurrent {
    int64_t gates, dirs, seq, batch, inputs, hidden;
    bool batch_first, lstm;
} recurrent;

/* a * b, or a symbol's place when either is not known. */
static leat_status times(const lt_infer *infer, int64_t a, int64_t b, int64_t *out, leat_error *err)
{
    *out = -1;
    if (a < 0 || b < 0) {
        return LEAT_OK;
    }
    return __builtin_mul_overflow(a, b, out)
               ? lt_bad(infer, err, "hidden_size is %lld", (long long)b)
               : LEAT_OK;
}

static leat_status read_dims(lt_infer *infer, recurrent *r, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *weights = lt_in(infer, 2);
    const char *op = infer->node->op;
    int64_t layout = leat_node_int(infer->node, "layout", 0);
    r->lstm = op[0] == 'L';
    r->gates = r->lstm ? 4 : op[0] == 'G' ? 3 : 1;
    r->batch_first = layout == 1;
    r->dirs = leat_node_string_is(infer->node, "direction", "bidirectional") ? 2 : 1;
    if (r->dirs == 1 && leat_node_attr(infer->node, "direction") != NULL &&
        !leat_node_string_is(infer->node, "direction", "forward") &&
        !leat_node_string_is(infer->node, "direction", "reverse")) {
        return lt_bad(infer, err, "direction is not one of forward, reverse, bidirectional");
    }
    if (layout != 0 && layout != 1) {
        return lt_bad(infer, err, "layout is %lld", (long long)layout);
    }
    if (x->rank != 3 || weights->rank != 3) {
        return lt_bad(infer, err, "data of rank %d and weights of rank %d, not 3", x->rank,
                      weights->rank);
    }
    r->seq = x->shape[r->batch_first ? 1 : 0];
    r->batch = x->shape[r->batch_first ? 0 : 1];
    r->inputs = x->shape[2];
    r->hidden = weights->shape[2];
    int64_t said = leat_node_int(infer->node, "hidden_size", r->hidden);
    if (r->hidden >= 0 && said != r->hidden) {
        return lt_bad(infer, err, "hidden_size is %lld, the weights have %lld", (long long)said,
                      (long long)r->hidden);
    }
    return LEAT_OK;
}

static leat_status check_inputs(lt_infer *infer, const recurrent *r, leat_error *err)
{
    int64_t rows, biases, peepholes;
    leat_status status = times(infer, r->gates, r->hidden, &rows, err);
    status = status ? status : times(infer, 2, rows, &biases, err);
    status = status ? status : times(infer, 3, r->hidden, &peepholes, err);
    if (status != LEAT_OK) {
        return status;
    }
    const int64_t w[] = {r->dirs, rows, r->inputs}, weights[] = {r->dirs, rows, r->hidden};
    const int64_t bias[] = {r->dirs, biases}, p[] = {r->dirs, peepholes};
    const int64_t state[] = {r->batch_first ? r->batch : r->dirs,
                             r->batch_first ? r->dirs : r->batch, r->hidden};
    status = lt_shaped(infer, 1, 3, w, err);
    status = status ? status : lt_shaped(infer, 2, 3, weights, err);
    status = status ? status : lt_shaped(infer, 3, 2, bias, err);
    status = status ? status : lt_shaped(infer, 4, 1, &r->batch, err);
    status = status ? status : lt_shaped(infer, 5, 3, state, err);
    if (r->lstm) {
        status = status ? status : lt_shaped(infer, 6, 3, state, err);
        status = status ? status : lt_shaped(infer, 7, 2, p, err);
    }
    for (uint32_t i = 1; i < 8 && status == LEAT_OK; i++) {
        status = i != 4 ? lt_same_type(infer, 0, i, err) : LEAT_OK;
    }
    return status;
}

leat_status lt_infer_recurrent(lt_infer *infer, leat_error *err)
{
    recurrent r;
    leat_dtype dtype = lt_in(infer, 0)->dtype;
    leat_status status = read_dims(infer, &r, err);
    status = status ? status : check_inputs(infer, &r, err);
    if (status != LEAT_OK) {
        return status;
    }
    const int64_t y[] = {r.seq, r.dirs, r.batch, r.hidden};
    const int64_t y_first[] = {r.batch, r.seq, r.dirs, r.hidden};
    const int64_t state[] = {r.dirs, r.batch, r.hidden},
                  state_first[] = {r.batch, r.dirs, r.hidden};
    status = lt_set(infer, 0, dtype, 4, r.batch_first ? y_first : y, err);
    for (uint32_t i = 1; i < 3 && status == LEAT_OK; i++) {
        status = lt_set(infer, i, dtype, 3, r.batch_first ? state_first : state, err);
    }
    return status;
}

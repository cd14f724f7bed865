/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of models that go on token by token: positions, caches, recurrent attention. */
#include "graph/shape/shape.h"

leat_status lt_infer_rotary(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t heads = leat_node_int(infer->node, "num_heads", 0);
    if (x->rank != 4 && (x->rank != 3 || heads < 1)) {
        return lt_bad(infer, err, "data of rank %d and num_heads %lld", x->rank, (long long)heads);
    }
    leat_status status = lt_same_type(infer, 0, 1, err);
    status = status ? status : lt_same_type(infer, 0, 2, err);
    if (status == LEAT_OK) {
        const leat_value *table = lt_in(infer, 1);
        status = lt_shaped(infer, 2, table->rank, table->shape, err);
    }
    return status ? status : lt_set_like(infer, 0, x->dtype, x, err);
}

/* The update fits into the cache. */
leat_status lt_infer_tensor_scatter(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *update = lt_in(infer, 1);
    int64_t shape[LEAT_MAX_RANK];
    int32_t axis;
    leat_status status =
        lt_axis(infer, leat_node_int(infer->node, "axis", -2), x->rank, &axis, err);
    if (status == LEAT_OK && axis == 0) {
        status = lt_bad(infer, err, "axis 0 is that of the batch");
    }
    status = status ? status : lt_same_type(infer, 0, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    memcpy(shape, x->shape, sizeof(shape));
    shape[axis] = -1;
    status = lt_shaped(infer, 1, x->rank, shape, err);
    if (status == LEAT_OK && x->shape[axis] >= 0 && update->shape[axis] > x->shape[axis]) {
        status = lt_bad(infer, err, "%lld elements for a cache of %lld",
                        (long long)update->shape[axis], (long long)x->shape[axis]);
    }
    status = status ? status : lt_vector(infer, 2, x->shape[0], err);
    return status ? status : lt_set_like(infer, 0, x->dtype, x, err);
}

/* Elements of one of `parts`; negative: not known. */
static leat_status divide(const lt_infer *infer, int64_t whole, int64_t parts, int64_t *out,
                          leat_error *err)
{
    *out = whole < 0 ? -1 : whole / parts;
    return whole < 0 || whole % parts == 0 ? LEAT_OK
                                           : lt_bad(infer, err, "%lld elements in %lld heads",
                                                    (long long)whole, (long long)parts);
}

leat_status lt_infer_linear_attention(lt_infer *infer, leat_error *err)
{
    leat_value q = *lt_in(infer, 0), v = *lt_in(infer, 2);
    const leat_value *past = lt_in(infer, 3);
    int64_t q_heads = leat_node_int(infer->node, "q_num_heads", 0);
    int64_t heads = leat_node_int(infer->node, "kv_num_heads", 0), d_k = -1, d_v = -1;
    int64_t width = -1;
    if (q_heads < 1 || heads < 1 || q_heads % heads != 0 || q.rank != 3 || v.rank != 3) {
        return lt_bad(infer, err, "%lld query and %lld key heads, data of rank %d",
                      (long long)q_heads, (long long)heads, q.rank);
    }
    leat_status status = divide(infer, q.shape[2], q_heads, &d_k, err);
    status = status ? status : divide(infer, v.shape[2], heads, &d_v, err);
    if (status == LEAT_OK && d_v >= 0 && __builtin_mul_overflow(d_v, q_heads, &width)) {
        status = lt_bad(infer, err, "%lld heads", (long long)q_heads);
    }
    const int64_t key[] = {q.shape[0], q.shape[1], -1}, state[] = {q.shape[0], heads, d_k, d_v};
    status = status ? status : lt_shaped(infer, 1, 3, key, err);
    status = status ? status : lt_shaped(infer, 2, 3, key, err);
    status = status ? status : lt_shaped(infer, 3, 4, state, err);
    int64_t y[] = {q.shape[0], q.shape[1], width}, present[] = {q.shape[0], heads, d_k, d_v};
    leat_dtype dtype = past != NULL ? past->dtype : q.dtype;
    if (status == LEAT_OK && width < 0) {
        status = lt_fresh(infer, &y[2], err);
    }
    for (int i = 2; i < 4 && status == LEAT_OK; i++) {
        status = present[i] < 0 ? lt_fresh(infer, &present[i], err) : LEAT_OK;
    }
    status = status ? status : lt_set(infer, 0, q.dtype, 3, y, err);
    return status ? status : lt_set(infer, 1, dtype, 4, present, err);
}

leat_status lt_infer_causal_conv(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0), w = *lt_in(infer, 1);
    if (x.rank != 3 || w.rank != 3 || w.shape[2] == 0) {
        return lt_bad(infer, err, "data of rank %d and weights of rank %d", x.rank, w.rank);
    }
    const int64_t weights[] = {x.shape[1], 1, -1};
    int64_t state[] = {x.shape[0], x.shape[1], w.shape[2] < 0 ? -1 : w.shape[2] - 1};
    leat_status status = lt_shaped(infer, 1, 3, weights, err);
    status = status ? status : lt_vector(infer, 2, x.shape[1], err);
    status = status ? status : lt_shaped(infer, 3, 3, state, err);
    for (uint32_t i = 1; i < 4 && status == LEAT_OK; i++) {
        status = lt_same_type(infer, 0, i, err);
    }
    if (status == LEAT_OK && state[2] < 0) {
        status = lt_fresh(infer, &state[2], err);
    }
    status = status ? status : lt_set(infer, 0, x.dtype, 3, x.shape, err);
    return status ? status : lt_set(infer, 1, x.dtype, 3, state, err);
}

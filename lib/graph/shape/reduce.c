/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions, softmax-like operators and normalisations. */
#include "graph/shape/shape.h"

/* Axes from input 1 or from the attribute. *out_known is false when they are not there yet. */
static leat_status read_axes(lt_infer *infer, int64_t *axes, size_t *count, bool *out_known,
                             leat_error *err)
{
    size_t n;
    *count = 0;
    *out_known = true;
    if (lt_in(infer, 1) != NULL) {
        return lt_ints(infer, 1, axes, LEAT_MAX_RANK, count, out_known, err);
    }
    const int64_t *list = leat_node_ints(infer->node, "axes", &n);
    if (n > LEAT_MAX_RANK) {
        return lt_bad(infer, err, "axes has %zu entries", n);
    }
    for (size_t i = 0; i < n; i++) {
        axes[i] = list[i];
    }
    *count = n;
    return LEAT_OK;
}

leat_status lt_infer_reduce(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t axes[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    size_t count;
    bool known, reduced[LEAT_MAX_RANK] = {false};
    bool keep = leat_node_int(infer->node, "keepdims", 1) != 0;
    leat_status status = read_axes(infer, axes, &count, &known, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!known) {
        if (infer->concrete) {
            return LEAT_OK;
        }
        if (!keep) {
            return lt_set_unknown(infer, 0, x.dtype, err);
        }
        for (int32_t i = 0; i < x.rank && status == LEAT_OK; i++) {
            status = lt_fresh(infer, &shape[i], err);
        }
        return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, x.rank, shape, err);
    }
    bool all = count == 0 && leat_node_int(infer->node, "noop_with_empty_axes", 0) == 0;
    for (size_t i = 0; i < count; i++) {
        int32_t axis;
        status = lt_axis(infer, axes[i], x.rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        reduced[axis] = true;
    }
    int32_t rank = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (!all && !reduced[i]) {
            shape[rank++] = x.shape[i];
        } else if (keep) {
            shape[rank++] = 1;
        }
    }
    return lt_set(infer, 0, x.dtype, rank, shape, err);
}

leat_status lt_infer_arg(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK];
    int32_t axis, rank = 0;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", 0), x.rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (int32_t i = 0; i < x.rank; i++) {
        if (i != axis) {
            shape[rank++] = x.shape[i];
        } else if (leat_node_int(infer->node, "keepdims", 1)) {
            shape[rank++] = 1;
        }
    }
    return lt_set(infer, 0, LEAT_DTYPE_I64, rank, shape, err);
}

leat_status lt_infer_softmax(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t otherwise = infer->node->opset < 13 ? 1 : -1;
    int64_t at = leat_node_int(infer->node, "axis", otherwise);
    int32_t axis;
    /* Before opset 13 axis may equal the rank: the whole is one row. */
    if (x->rank > 0 && !(infer->node->opset < 13 && at == x->rank)) {
        leat_status status = lt_axis(infer, at, x->rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set_like(infer, 0, x->dtype, x, err);
}

leat_status lt_infer_layer_norm(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK];
    int32_t axis;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", -1), x.rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (int32_t i = 0; i < x.rank; i++) {
        shape[i] = i < axis ? x.shape[i] : 1;
    }
    for (uint32_t i = 1; i < 3 && status == LEAT_OK; i++) { /* scale, bias */
        status = lt_fits(infer, i, x.rank - axis, x.shape + axis, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    int64_t stash = leat_node_int(infer->node, "stash_type", LEAT_DTYPE_F32);
    leat_dtype dtype = x.dtype == LEAT_DTYPE_F64 ? LEAT_DTYPE_F64 : (leat_dtype)stash;
    status = lt_set_like(infer, 0, x.dtype, &x, err);
    if (status == LEAT_OK) {
        status = lt_set(infer, 1, dtype, x.rank, shape, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 2, dtype, x.rank, shape, err);
}

leat_status lt_infer_rms_norm(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int32_t axis;
    leat_status status =
        lt_axis(infer, leat_node_int(infer->node, "axis", -1), x->rank, &axis, err);
    if (status == LEAT_OK) {
        status = lt_fits(infer, 1, x->rank - axis, x->shape + axis, err);
    }
    return status != LEAT_OK ? status : lt_set_like(infer, 0, x->dtype, x, err);
}

/* Inputs 1 to `last` have one element a channel. */
static leat_status per_channel(const lt_infer *infer, uint32_t last, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    if (x->rank < 1) {
        return lt_bad(infer, err, "data of rank %d", x->rank);
    }
    int64_t channels = x->rank < 2 ? 1 : x->shape[lt_channels_last(infer) ? x->rank - 1 : 1];
    leat_status status = LEAT_OK;
    for (uint32_t i = 1; i <= last && status == LEAT_OK; i++) {
        status = lt_vector(infer, i, channels, err);
    }
    return status;
}

leat_status lt_infer_channel_norm(lt_infer *infer, leat_error *err)
{
    leat_status status = per_channel(infer, 2, err);
    return status != LEAT_OK ? status
                             : lt_set_like(infer, 0, lt_in(infer, 0)->dtype, lt_in(infer, 0), err);
}

/* Scale and bias have one element a group before opset 21, one a channel since. */
leat_status lt_infer_group_norm(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t groups = leat_node_int(infer->node, "num_groups", 0);
    if (x->rank < 2 || groups < 1 || (x->shape[1] >= 0 && x->shape[1] % groups != 0)) {
        return lt_bad(infer, err, "rank %d and num_groups %lld", x->rank, (long long)groups);
    }
    int64_t length = infer->node->opset < 21 ? groups : x->shape[1];
    leat_status status = lt_vector(infer, 1, length, err);
    if (status == LEAT_OK) {
        status = lt_vector(infer, 2, length, err);
    }
    return status != LEAT_OK ? status : lt_set_like(infer, 0, x->dtype, x, err);
}

leat_status lt_infer_batch_norm(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    if (infer->node->opset < 9 && leat_node_int(infer->node, "spatial", 1) == 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "node '%s' (%s): spatial = 0 is not supported",
                       lt_node_label(infer->graph, infer->node), infer->node->op);
    }
    leat_status status = per_channel(infer, 4, err);
    if (status == LEAT_OK) {
        status = lt_set_like(infer, 0, x.dtype, &x, err);
    }
    for (uint32_t i = 1; i < infer->node->n_outputs && status == LEAT_OK; i++) {
        const leat_value *like = lt_in(infer, i & 1 ? 3 : 4); /* mean, variance, saved ones */
        status = lt_set_like(infer, i, like->dtype, like, err);
    }
    return status;
}

leat_status lt_infer_top_k(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t k = leat_node_int(infer->node, "k", -1);
    size_t count = 1;
    bool known = true;
    int32_t axis;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", -1), x.rank, &axis, err);
    if (status == LEAT_OK && lt_in(infer, 1) != NULL) {
        status = lt_ints(infer, 1, &k, 1, &count, &known, err);
    }
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        status = lt_fresh(infer, &x.shape[axis], err);
    } else if (k < 0 || (x.shape[axis] >= 0 && k > x.shape[axis])) {
        status = lt_bad(infer, err, "k is %lld for an axis of %lld", (long long)k,
                        (long long)x.shape[axis]);
    } else {
        x.shape[axis] = k;
    }
    if (status == LEAT_OK) {
        status = lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 1, LEAT_DTYPE_I64, x.rank, x.shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators whose output size depends on data, and the nodes of leat's domain that they become
 * (passes/count_first.c): one that counts, and one whose last input is that count. */
#include "graph/shape/shape.h"

/* An operator that the pass did not rewrite: the size is not known before the run. */
static leat_status not_planned(const lt_infer *infer, leat_error *err)
{
    return lt_fail(err, LEAT_UNSUPPORTED,
                   "node '%s' (%s): the size of its output is known in a run only, and no device "
                   "counts it first",
                   lt_node_label(infer->graph, infer->node), infer->node->op);
}

/* The number in input i; a fresh symbol at load. *out_known is false when its data is needed.
 * Errors:   INVALID below 0 or above `most` (negative: not known). */
static leat_status read_count(lt_infer *infer, uint32_t i, int64_t most, int64_t *out,
                              bool *out_known, leat_error *err)
{
    size_t count;
    leat_status status = lt_ints(infer, i, out, 1, &count, out_known, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!*out_known) {
        return infer->concrete ? LEAT_OK : lt_fresh(infer, out, err);
    }
    if (count != 1 || *out < 0 || (most >= 0 && *out > most)) {
        return lt_bad(infer, err, "a count of %lld of %lld", (long long)(count ? *out : 0),
                      (long long)most);
    }
    return LEAT_OK;
}

leat_status lt_infer_count(lt_infer *infer, leat_error *err)
{
    const int64_t one = 1;
    return lt_set(infer, 0, LEAT_DTYPE_I64, 1, &one, err);
}

/* ---- NonZero -------------------------------------------------------------------------------- */

static leat_status set_non_zero(lt_infer *infer, int64_t count, leat_error *err)
{
    const int64_t shape[] = {lt_in(infer, 0)->rank, count};
    return lt_set(infer, 0, LEAT_DTYPE_I64, 2, shape, err);
}

leat_status lt_infer_non_zero(lt_infer *infer, leat_error *err)
{
    int64_t count;
    if (infer->concrete) {
        return not_planned(infer, err);
    }
    leat_status status = lt_fresh(infer, &count, err);
    return status ? status : set_non_zero(infer, count, err);
}

/* Elements, or -1 where a dimension is not known or there are too many. */
static int64_t elements(const leat_value *x)
{
    bool overflow;
    int64_t count = lt_product_of(x->shape, x->rank, &overflow);
    return overflow ? -1 : count;
}

leat_status lt_infer_non_zero_to(lt_infer *infer, leat_error *err)
{
    int64_t count;
    bool known;
    leat_status status = read_count(infer, 1, elements(lt_in(infer, 0)), &count, &known, err);
    return status || (!known && infer->concrete) ? status : set_non_zero(infer, count, err);
}

/* ---- Compress ------------------------------------------------------------------------------- */

static leat_status set_compress(lt_infer *infer, int64_t count, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    const leat_attr *attr = leat_node_attr(infer->node, "axis");
    if (attr == NULL || attr->type != LEAT_ATTR_INT) {
        return lt_set(infer, 0, x.dtype, 1, &count, err);
    }
    int32_t axis;
    leat_status status = lt_axis(infer, attr->u.i, x.rank, &axis, err);
    if (status == LEAT_OK) {
        x.shape[axis] = count;
    }
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* What the condition chooses from: the axis, or all elements. Negative: not known. */
static leat_status compress_room(lt_infer *infer, int64_t *out, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    const leat_attr *attr = leat_node_attr(infer->node, "axis");
    int32_t axis;
    *out = elements(x);
    leat_status status = lt_vector(infer, 1, -1, err);
    if (status == LEAT_OK && attr != NULL && attr->type == LEAT_ATTR_INT) {
        status = lt_axis(infer, attr->u.i, x->rank, &axis, err);
        *out = status == LEAT_OK ? x->shape[axis] : -1;
    }
    return status;
}

leat_status lt_infer_compress(lt_infer *infer, leat_error *err)
{
    int64_t count, room;
    leat_status status = compress_room(infer, &room, err);
    if (status == LEAT_OK && infer->concrete) {
        return not_planned(infer, err);
    }
    status = status ? status : lt_fresh(infer, &count, err);
    return status ? status : set_compress(infer, count, err);
}

leat_status lt_infer_compress_to(lt_infer *infer, leat_error *err)
{
    int64_t count, room;
    bool known;
    leat_status status = compress_room(infer, &room, err);
    status = status ? status : read_count(infer, 2, room, &count, &known, err);
    return status || (!known && infer->concrete) ? status : set_compress(infer, count, err);
}

leat_status lt_infer_compress_count(lt_infer *infer, leat_error *err)
{
    int64_t room;
    leat_status status = compress_room(infer, &room, err);
    return status ? status : lt_infer_count(infer, err);
}

/* ---- Prefix --------------------------------------------------------------------------------- */

/* The first `count` rows. */
leat_status lt_infer_prefix(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t count;
    bool known;
    if (x.rank < 1) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    leat_status status = read_count(infer, 1, x.shape[0], &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    x.shape[0] = count;
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* ---- Unique --------------------------------------------------------------------------------- */

/* Slices that are compared: along the axis, or all elements. Negative: not known. */
static leat_status unique_room(lt_infer *infer, int32_t *out_axis, int64_t *out, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    const leat_attr *attr = leat_node_attr(infer->node, "axis");
    bool overflow;
    *out_axis = -1;
    *out = lt_product_of(x->shape, x->rank, &overflow);
    if (overflow) {
        return lt_bad(infer, err, "too many elements");
    }
    if (attr != NULL && attr->type == LEAT_ATTR_INT) {
        leat_status status = lt_axis(infer, attr->u.i, x->rank, out_axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        *out = x->shape[*out_axis];
    }
    return LEAT_OK;
}

static leat_status set_unique(lt_infer *infer, int32_t axis, int64_t count, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    if (axis < 0) {
        return lt_set(infer, 0, x.dtype, 1, &count, err);
    }
    x.shape[axis] = count;
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

leat_status lt_infer_unique(lt_infer *infer, leat_error *err)
{
    int64_t count, room;
    int32_t axis;
    leat_status status = unique_room(infer, &axis, &room, err);
    if (status == LEAT_OK && infer->concrete) {
        return not_planned(infer, err);
    }
    status = status ? status : lt_fresh(infer, &count, err);
    if (status == LEAT_OK && room < 0) {
        status = lt_fresh(infer, &room, err);
    }
    status = status ? status : set_unique(infer, axis, count, err);
    status = status ? status : lt_set(infer, 1, LEAT_DTYPE_I64, 1, &count, err);
    status = status ? status : lt_set(infer, 2, LEAT_DTYPE_I64, 1, &room, err);
    return status ? status : lt_set(infer, 3, LEAT_DTYPE_I64, 1, &count, err);
}

leat_status lt_infer_unique_index(lt_infer *infer, leat_error *err)
{
    const int64_t one = 1;
    int64_t room;
    int32_t axis;
    leat_status status = unique_room(infer, &axis, &room, err);
    if (status == LEAT_OK && room < 0) {
        status = lt_fresh(infer, &room, err);
    }
    for (uint32_t i = 0; i < 3 && status == LEAT_OK; i++) {
        status = lt_set(infer, i, LEAT_DTYPE_I64, 1, &room, err);
    }
    return status ? status : lt_set(infer, 3, LEAT_DTYPE_I64, 1, &one, err);
}

leat_status lt_infer_unique_to(lt_infer *infer, leat_error *err)
{
    int64_t count, room;
    int32_t axis;
    bool known;
    leat_status status = unique_room(infer, &axis, &room, err);
    status = status ? status : lt_vector(infer, 1, room, err);
    status = status ? status : read_count(infer, 2, room, &count, &known, err);
    return status || (!known && infer->concrete) ? status : set_unique(infer, axis, count, err);
}

/* ---- NonMaxSuppression ---------------------------------------------------------------------- */

static leat_status check_boxes(lt_infer *infer, leat_error *err)
{
    const leat_value *scores = lt_in(infer, 1);
    if (scores->rank != 3) {
        return lt_bad(infer, err, "scores of rank %d", scores->rank);
    }
    const int64_t boxes[] = {scores->shape[0], scores->shape[2], 4};
    leat_status status = lt_shaped(infer, 0, 3, boxes, err);
    for (uint32_t i = 2; i < 5 && status == LEAT_OK; i++) {
        status = lt_single(infer, i, err);
    }
    return status;
}

leat_status lt_infer_nms(lt_infer *infer, leat_error *err)
{
    int64_t shape[2] = {0, 3};
    leat_status status = check_boxes(infer, err);
    if (status == LEAT_OK && infer->concrete) {
        return not_planned(infer, err);
    }
    status = status ? status : lt_fresh(infer, &shape[0], err);
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_I64, 2, shape, err);
}

/* Room for the most that can be selected: the limit, where it is known, in each class. */
leat_status lt_infer_nms_all(lt_infer *infer, leat_error *err)
{
    const leat_value *limit = lt_in(infer, 2);
    int64_t shape[2] = {0, 3}, one = 1;
    bool overflow = false;
    leat_status status = check_boxes(infer, err);
    if (status != LEAT_OK) {
        return status;
    }
    int64_t dims[3];
    memcpy(dims, lt_in(infer, 1)->shape, sizeof(dims));
    if (limit == NULL) {
        dims[2] = 0;
    } else if (limit->data != NULL) {
        int64_t most;
        size_t count;
        bool known;
        status = lt_ints(infer, 2, &most, 1, &count, &known, err);
        most = count == 1 && most > 0 ? most : 0;
        dims[2] = dims[2] >= 0 && dims[2] < most ? dims[2] : most;
    }
    shape[0] = lt_product_of(dims, 3, &overflow);
    if (overflow) {
        return lt_bad(infer, err, "too many boxes");
    }
    if (status == LEAT_OK && shape[0] < 0) {
        status = lt_fresh(infer, &shape[0], err);
    }
    status = status ? status : lt_set(infer, 0, LEAT_DTYPE_I64, 2, shape, err);
    return status ? status : lt_set(infer, 1, LEAT_DTYPE_I64, 1, &one, err);
}

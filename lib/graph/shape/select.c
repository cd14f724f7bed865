/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that pick or replace elements by index. */
#include "graph/shape/shape.h"

leat_status lt_infer_gather(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *indices = lt_in(infer, 1);
    int64_t shape[2 * LEAT_MAX_RANK];
    int32_t axis, rank = 0;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", 0), x->rank, &axis, err);
    if (status == LEAT_OK) {
        status = lt_indices(infer, 1, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    for (int32_t i = 0; i < axis; i++) {
        shape[rank++] = x->shape[i];
    }
    for (int32_t i = 0; i < indices->rank; i++) {
        shape[rank++] = indices->shape[i];
    }
    for (int32_t i = axis + 1; i < x->rank; i++) {
        shape[rank++] = x->shape[i];
    }
    return lt_set(infer, 0, x->dtype, rank, shape, err);
}

/* Indices (input 1) of the rank of the data, within it on all axes but `axis`. */
static leat_status check_elements(const lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *indices = lt_in(infer, 1);
    int32_t axis;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", 0), x->rank, &axis, err);
    if (status == LEAT_OK) {
        status = lt_indices(infer, 1, err);
    }
    if (status == LEAT_OK && indices->rank != x->rank) {
        status =
            lt_bad(infer, err, "indices of rank %d for data of rank %d", indices->rank, x->rank);
    }
    for (int32_t i = 0; i < x->rank && status == LEAT_OK; i++) {
        if (i != axis && x->shape[i] >= 0 && indices->shape[i] > x->shape[i]) {
            status = lt_bad(infer, err, "indices have %lld elements on axis %d, the data %lld",
                            (long long)indices->shape[i], i, (long long)x->shape[i]);
        }
    }
    return status;
}

leat_status lt_infer_gather_elements(lt_infer *infer, leat_error *err)
{
    leat_status status = check_elements(infer, err);
    return status != LEAT_OK ? status
                             : lt_set_like(infer, 0, lt_in(infer, 0)->dtype, lt_in(infer, 1), err);
}

leat_status lt_infer_scatter_elements(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *indices = lt_in(infer, 1), *updates = lt_in(infer, 2);
    leat_status status = check_elements(infer, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    bool same = updates->rank == indices->rank;
    for (int32_t i = 0; same && i < updates->rank; i++) {
        same = updates->shape[i] == indices->shape[i] || updates->shape[i] < 0 ||
               indices->shape[i] < 0;
    }
    if (status == LEAT_OK && !same) {
        status = lt_bad(infer, err, "indices and updates differ in shape");
    }
    return status != LEAT_OK ? status : lt_set_like(infer, 0, x->dtype, x, err);
}

leat_status lt_infer_scatter_nd(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *indices = lt_in(infer, 1), *updates = lt_in(infer, 2);
    leat_status status = lt_indices(infer, 1, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    int32_t outer = indices->rank - 1;
    int64_t depth = outer >= 0 ? indices->shape[outer] : 0;
    if (outer < 0 || depth > x->rank) {
        return lt_bad(infer, err, "indices of depth %lld for rank %d", (long long)depth, x->rank);
    }
    bool fits = depth < 0 || updates->rank == outer + x->rank - (int32_t)depth;
    for (int32_t i = 0; fits && depth >= 0 && i < updates->rank; i++) {
        int64_t want = i < outer ? indices->shape[i] : x->shape[(int32_t)depth + i - outer];
        fits = updates->shape[i] == want || updates->shape[i] < 0 || want < 0;
    }
    return fits ? lt_set_like(infer, 0, x->dtype, x, err)
                : lt_bad(infer, err, "the shape of updates does not follow from the indices");
}

leat_status lt_infer_gather_nd(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *indices = lt_in(infer, 1);
    int64_t batch = leat_node_int(infer->node, "batch_dims", 0), shape[2 * LEAT_MAX_RANK];
    int32_t rank = 0;
    if (indices->rank < 1) {
        return lt_bad(infer, err, "indices of rank 0");
    }
    int64_t depth = indices->shape[indices->rank - 1];
    if (depth < 0) {
        return lt_set_unknown(infer, 0, x->dtype, err);
    }
    leat_status status = lt_indices(infer, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (batch < 0 || batch >= indices->rank || batch > x->rank || depth > x->rank - batch ||
        depth < 1) {
        return lt_bad(infer, err, "indices of depth %lld after %lld batch dimensions for rank %d",
                      (long long)depth, (long long)batch, x->rank);
    }
    for (int32_t i = 0; i + 1 < indices->rank; i++) {
        if (i < batch && indices->shape[i] >= 0 && x->shape[i] >= 0 &&
            indices->shape[i] != x->shape[i]) {
            return lt_bad(infer, err, "batch dimension %d is %lld and %lld", i,
                          (long long)x->shape[i], (long long)indices->shape[i]);
        }
        shape[rank++] = indices->shape[i];
    }
    for (int64_t i = batch + depth; i < x->rank; i++) {
        shape[rank++] = x->shape[i];
    }
    return lt_set(infer, 0, x->dtype, rank, shape, err);
}

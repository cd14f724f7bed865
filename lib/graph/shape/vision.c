/* SPDX-License-Identifier: Apache-2.0 */
/* Operators on images: grids, regions, windows put back. */
#include "graph/shape/shape.h"

#define MAX_EXTENT (INT64_MAX / 8) /* of sizes that are computed with */

leat_status lt_infer_grid_sample(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0), grid = *lt_in(infer, 1);
    if (x.rank < 3) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    int64_t want[LEAT_MAX_RANK];
    want[0] = x.shape[0];
    for (int32_t i = 1; i < x.rank - 1; i++) {
        want[i] = -1;
    }
    want[x.rank - 1] = x.rank - 2;
    leat_status status = lt_shaped(infer, 1, x.rank, want, err);
    for (int32_t i = 2; i < x.rank && status == LEAT_OK; i++) {
        x.shape[i] = grid.shape[i - 1];
    }
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* theta N x d x (d + 1) and the size N, C, d extents. */
leat_status lt_infer_affine_grid(lt_infer *infer, leat_error *err)
{
    leat_value theta = *lt_in(infer, 0);
    int64_t size[5], shape[5];
    size_t count;
    bool known;
    leat_status status = lt_ints(infer, 1, size, 5, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (theta.rank != 3) {
        return lt_bad(infer, err, "theta of rank %d", theta.rank);
    }
    if (!known) {
        return lt_set_unknown(infer, 0, theta.dtype, err);
    }
    int64_t d = (int64_t)count - 2;
    const int64_t want[] = {count ? size[0] : 0, d, d + 1};
    if (d < 2) {
        return lt_bad(infer, err, "a size of %zu numbers", count);
    }
    status = lt_shaped(infer, 0, 3, want, err);
    shape[0] = size[0];
    for (int64_t i = 0; i < d; i++) {
        shape[1 + i] = size[2 + i];
    }
    shape[d + 1] = d;
    for (int64_t i = 0; i < d + 2 && status == LEAT_OK; i++) {
        if (shape[i] < 0) {
            status = lt_bad(infer, err, "a size of %lld", (long long)shape[i]);
        }
    }
    return status ? status : lt_set(infer, 0, theta.dtype, (int32_t)d + 2, shape, err);
}

/* Regions x channels x height x width. `each`: numbers of a region. */
static leat_status regions(lt_infer *infer, int64_t each, int64_t height, int64_t width,
                           leat_error *err)
{
    leat_value x = *lt_in(infer, 0), rois = *lt_in(infer, 1);
    const int64_t want[] = {-1, each};
    if (x.rank != 4) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    if (height < 1 || width < 1) {
        return lt_bad(infer, err, "bins of %lld x %lld", (long long)height, (long long)width);
    }
    leat_status status = lt_shaped(infer, 1, 2, want, err);
    status = status ? status : lt_same_type(infer, 0, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    const int64_t shape[] = {rois.shape[0], x.shape[1], height, width};
    return lt_set(infer, 0, x.dtype, 4, shape, err);
}

leat_status lt_infer_roi_align(lt_infer *infer, leat_error *err)
{
    const leat_value *rois = lt_in(infer, 1);
    leat_status status = lt_vector(infer, 2, rois->rank == 2 ? rois->shape[0] : -1, err);
    status = status ? status : lt_indices(infer, 2, err);
    return status ? status
                  : regions(infer, 4, leat_node_int(infer->node, "output_height", 1),
                            leat_node_int(infer->node, "output_width", 1), err);
}

leat_status lt_infer_max_roi_pool(lt_infer *infer, leat_error *err)
{
    size_t count;
    const int64_t *shape = leat_node_ints(infer->node, "pooled_shape", &count);
    if (count != 2) {
        return lt_bad(infer, err, "pooled_shape has %zu entries", count);
    }
    return regions(infer, 5, shape[0], shape[1], err);
}

/* As Conv's, at the places that the offsets have. */
leat_status lt_infer_deform_conv(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0), w = *lt_in(infer, 1), offset = *lt_in(infer, 2);
    int64_t group = leat_node_int(infer->node, "group", 1), shape[LEAT_MAX_RANK];
    if (x.rank < 3 || w.rank != x.rank || offset.rank != x.rank) {
        return lt_bad(infer, err, "data, weights and offsets of ranks %d, %d, %d", x.rank, w.rank,
                      offset.rank);
    }
    if (group < 1 || leat_node_int(infer->node, "offset_group", 1) < 1) {
        return lt_bad(infer, err, "group is %lld", (long long)group);
    }
    leat_status status = LEAT_OK;
    for (uint32_t i = 1; i < 5 && status == LEAT_OK; i++) {
        status = lt_same_type(infer, 0, i, err);
    }
    status = status ? status : lt_vector(infer, 3, w.shape[0], err);
    memcpy(shape, offset.shape, sizeof(shape));
    shape[0] = x.shape[0];
    shape[1] = w.shape[0];
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, shape, err);
}

/* N x (C * block) x L to N x C x image. */
leat_status lt_infer_col2im(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK], block[LEAT_MAX_RANK];
    size_t n_image, n_block;
    bool known, block_known;
    if (x.rank != 3) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    leat_status status = lt_ints(infer, 1, shape + 2, LEAT_MAX_RANK - 2, &n_image, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    status = lt_ints(infer, 2, block, LEAT_MAX_RANK - 2, &n_block, &block_known, err);
    if (status != LEAT_OK || (!block_known && infer->concrete)) {
        return status;
    }
    if (!known || !block_known) {
        return lt_set_unknown(infer, 0, x.dtype, err);
    }
    int64_t window = 1;
    for (size_t i = 0; i < n_block; i++) {
        if (block[i] < 1 || __builtin_mul_overflow(window, block[i], &window)) {
            return lt_bad(infer, err, "block_shape[%zu] is %lld", i, (long long)block[i]);
        }
    }
    for (size_t i = 0; i < n_image; i++) {
        if (shape[2 + i] < 0 || shape[2 + i] > MAX_EXTENT) {
            return lt_bad(infer, err, "image_shape[%zu] is %lld", i, (long long)shape[2 + i]);
        }
    }
    if (n_image != n_block || n_image == 0 || (x.shape[1] >= 0 && x.shape[1] % window != 0)) {
        return lt_bad(infer, err, "windows of %lld elements do not divide %lld", (long long)window,
                      (long long)x.shape[1]);
    }
    shape[0] = x.shape[0];
    shape[1] = x.shape[1] / window;
    if (x.shape[1] < 0) {
        status = lt_fresh(infer, &shape[1], err);
    }
    return status ? status : lt_set(infer, 0, x.dtype, (int32_t)n_image + 2, shape, err);
}

static int64_t entry(const leat_node *node, const char *name, size_t i, int64_t otherwise)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    return list != NULL && i < count ? list[i] : otherwise;
}

/* Size of axis i of the pooled data's origin. */
static leat_status unpooled(lt_infer *infer, const leat_value *x, int32_t i, int64_t *out,
                            leat_error *err)
{
    size_t k = (size_t)(i - 2), spatial = (size_t)(x->rank - 2);
    int64_t kernel = entry(infer->node, "kernel_shape", k, 0);
    int64_t stride = entry(infer->node, "strides", k, 1);
    int64_t before = entry(infer->node, "pads", k, 0);
    int64_t after = entry(infer->node, "pads", spatial + k, 0);
    if (kernel < 1 || kernel > INT32_MAX || stride < 1 || stride > INT32_MAX || before < 0 ||
        before > INT32_MAX || after < 0 || after > INT32_MAX || x->shape[i] > MAX_EXTENT / stride) {
        return lt_bad(infer, err, "axis %d: window %lld, stride %lld", i, (long long)kernel,
                      (long long)stride);
    }
    if (x->shape[i] < 0) {
        return lt_fresh(infer, out, err);
    }
    *out = (x->shape[i] - 1) * stride + kernel - before - after;
    return *out >= 0 ? LEAT_OK : lt_bad(infer, err, "axis %d would be negative", i);
}

leat_status lt_infer_max_unpool(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK], given[LEAT_MAX_RANK];
    size_t count = 0;
    bool known = true;
    if (x.rank < 3) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    leat_status status = lt_shaped(infer, 1, x.rank, x.shape, err);
    status = status ? status : lt_indices(infer, 1, err);
    if (status == LEAT_OK && lt_in(infer, 2) != NULL) {
        status = lt_ints(infer, 2, given, LEAT_MAX_RANK, &count, &known, err);
    }
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    for (int32_t i = 0; i < x.rank && status == LEAT_OK; i++) {
        shape[i] = x.shape[i];
        status = i < 2 ? LEAT_OK : unpooled(infer, &x, i, &shape[i], err);
        if (status == LEAT_OK && i >= 2 && !known) {
            status = lt_fresh(infer, &shape[i], err);
        }
    }
    if (status == LEAT_OK && count != 0) {
        bool fits = count == (size_t)x.rank;
        for (int32_t i = 0; i < x.rank && fits; i++) {
            fits = given[i] >= 0 && (shape[i] < 0 || given[i] >= shape[i]) &&
                   (i >= 2 || shape[i] < 0 || given[i] == shape[i]);
            shape[i] = given[i];
        }
        status = fits ? LEAT_OK : lt_bad(infer, err, "output_shape is too small");
    }
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, shape, err);
}

leat_status lt_infer_center_crop_pad(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t given[LEAT_MAX_RANK];
    size_t count, n_axes;
    bool known;
    const int64_t *axes = leat_node_ints(infer->node, "axes", &n_axes);
    leat_status status = lt_ints(infer, 1, given, LEAT_MAX_RANK, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    n_axes = axes ? n_axes : (size_t)x.rank;
    if (n_axes > LEAT_MAX_RANK || (known && count != n_axes)) {
        return lt_bad(infer, err, "a shape of %zu numbers for %zu axes", count, n_axes);
    }
    for (size_t i = 0; i < n_axes && status == LEAT_OK; i++) {
        int32_t axis;
        status = lt_axis(infer, axes ? axes[i] : (int64_t)i, x.rank, &axis, err);
        if (status == LEAT_OK && !known) {
            status = lt_fresh(infer, &x.shape[axis], err);
        } else if (status == LEAT_OK) {
            x.shape[axis] = given[i];
            status = given[i] >= 0
                         ? LEAT_OK
                         : lt_bad(infer, err, "shape[%zu] is %lld", i, (long long)given[i]);
        }
    }
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

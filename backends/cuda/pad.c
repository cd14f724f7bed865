/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of Pad and Tile. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/layout.h"

#include <stddef.h>

/* ---- Pad ------------------------------------------------------------------------------------- */

/* before[axis] of all axes from the node's pads: an input, or an attribute before opset 11. False
 * when they are not known, or make no sense. */
static bool read_before(const leat_kernel_node *node, int32_t *before)
{
    const int32_t rank = leat_kernel_input(node, 0)->rank;
    int64_t list[LEAT_MAX_RANK], axes[LEAT_MAX_RANK];
    size_t n_attr;
    const int64_t *pads = leat_node_ints(node->node, "pads", &n_attr);
    int64_t count = (int64_t)n_attr, n_axes = lt_cuda_ints(node, 3, axes);
    if (pads == NULL) {
        count = lt_cuda_ints(node, 1, list);
        pads = list;
    }
    const int64_t n = n_axes < 0 ? rank : n_axes;
    if (count != 2 * n || n_axes == -2) {
        return false;
    }
    memset(before, 0, (size_t)rank * sizeof(*before));
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = n_axes < 0 ? i : axes[i] + (axes[i] < 0 ? rank : 0);
        if (axis < 0 || axis >= rank || pads[i] > LT_GPU_MAX_COUNT || pads[i] < -LT_GPU_MAX_COUNT) {
            return false;
        }
        before[axis] = (int32_t)pads[i];
    }
    return true;
}

static int32_t read_mode(const leat_node *node)
{
    return leat_node_string_is(node, "mode", "reflect") ? LT_GPU_PAD_REFLECT
           : leat_node_string_is(node, "mode", "edge")  ? LT_GPU_PAD_EDGE
           : leat_node_string_is(node, "mode", "wrap")  ? LT_GPU_PAD_WRAP
                                                        : LT_GPU_PAD_CONSTANT;
}

leat_status lt_cuda_pad_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *value = leat_kernel_input(node, 2);
    int32_t before[LEAT_MAX_RANK];
    bool number = value == NULL ||
                  (value->data != NULL && leat_value_count(value) == 1 && value->dtype == x->dtype);
    const leat_attr *attr = leat_node_attr(node->node, "value"); /* an f32, before opset 11 */
    if (x->rank < 1 || !number || !read_before(node, before) ||
        (attr != NULL && (attr->type != LEAT_ATTR_FLOAT || x->dtype != LEAT_DTYPE_F32))) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: Pad: pads or a value that are not constant");
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_pad_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const leat_value *value = leat_kernel_input(node, 2);
    const float number = leat_node_float(node->node, "value", 0);
    lt_gpu_pad p = {.count = leat_value_count(y), .mode = read_mode(node->node)};
    lt_cuda_walk walk = {.rank = y->rank};
    int64_t stride = 1;
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    if (!read_before(node, p.before) ||
        (p.mode != LT_GPU_PAD_CONSTANT && leat_value_count(x) == 0)) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: Pad node '%s': pads that make no sense",
                            node->node->name);
    }
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        p.x_size[i] = (int32_t)x->shape[i];
        p.x_stride[i] = stride;
        stride *= x->shape[i];
    }
    memcpy(walk.shape, y->shape, sizeof(walk.shape));
    lt_cuda_walk_index(&walk, &p.index);
    if (value != NULL) {
        memcpy(&p.value, value->data, lt_cuda_element_bytes(x->dtype));
    } else if (x->dtype == LEAT_DTYPE_F32) {
        memcpy(&p.value, &number, sizeof(number));
    }
    out_kernel->unread_mask = ~1u;
    lt_cuda_kernel_name(name, "pad", lt_cuda_by_bytes(x->dtype));
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {lt_cuda_blocks(&b, p.count, x->dtype)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_pad, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_pad, y), LT_CUDA_OUTPUT, 0, 0}}});
}

/* ---- Tile ------------------------------------------------------------------------------------ */

/* Dimensions of y with each repeated one as two. Negative when they are more than kernels walk. */
static int32_t tile_rank(const leat_kernel_node *node, int64_t *repeats)
{
    const leat_value *x = leat_kernel_input(node, 0);
    int32_t rank = x->rank;
    if (lt_cuda_ints(node, 1, repeats) != rank) {
        return -1;
    }
    for (int32_t i = 0; i < x->rank; i++) {
        rank += repeats[i] > 1;
    }
    return rank <= LT_GPU_MAX_RANK ? rank : -1;
}

leat_status lt_cuda_tile_supports(const leat_kernel_node *node, leat_error *err)
{
    int64_t repeats[LEAT_MAX_RANK];
    if (tile_rank(node, repeats) < 0) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: Tile: repeats that are not constant, or many");
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_tile_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    lt_gpu_copy p = {.count = leat_value_count(y)};
    int64_t repeats[LEAT_MAX_RANK], x_stride = 1, y_stride = 1;
    lt_cuda_walk walk = {.rank = tile_rank(node, repeats)};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    int32_t at = walk.rank;
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        at--;
        walk.shape[at] = x->shape[i];
        walk.strides[0][at] = x_stride;
        walk.strides[1][at] = y_stride;
        x_stride *= x->shape[i];
        y_stride *= x->shape[i];
        if (repeats[i] > 1) {
            at--;
            walk.shape[at] = repeats[i];
            walk.strides[0][at] = 0;
            walk.strides[1][at] = y_stride;
            y_stride *= repeats[i];
        }
    }
    lt_cuda_walk_merge(&walk, 2);
    lt_cuda_walk_index(&walk, &p.index);
    memcpy(p.x_stride, walk.strides[0], sizeof(p.x_stride));
    memcpy(p.y_stride, walk.strides[1], sizeof(p.y_stride));
    out_kernel->unread_mask = 2;
    lt_cuda_kernel_name(name, "copy", lt_cuda_by_bytes(x->dtype));
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {lt_cuda_blocks(&b, p.count, x->dtype)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_copy, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_copy, y), LT_CUDA_OUTPUT, 0, 0}}});
}

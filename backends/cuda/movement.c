/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of operators that only move elements: views, strided copies, gathers. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/layout.h"

#include <stddef.h>

/* A negative axis counts from the end. -1 when it is out of range. */
static int32_t axis_of(int64_t axis, int32_t rank)
{
    axis += axis < 0 ? rank : 0;
    return axis >= 0 && axis < rank ? (int32_t)axis : -1;
}

static void dense_strides(int32_t rank, const int64_t *shape, int64_t *out)
{
    int64_t stride = 1;
    for (int32_t i = rank - 1; i >= 0; i--) {
        out[i] = stride;
        stride *= shape[i];
    }
}

leat_status lt_cuda_view_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    (void)device, (void)host, (void)plan;
    if (leat_value_count(in) != leat_value_count(out) || in->dtype != out->dtype) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': the elements differ in number",
                            node->node->op, node->node->name);
    }
    out_kernel->name = "view";
    out_kernel->view_of = 1;
    out_kernel->unread_mask = ~1u;
    return LEAT_OK;
}

/* One strided copy: strides[0] of x, strides[1] of y, both from the given elements on. */
static leat_status add_copy(lt_cuda_builder *b, lt_cuda_walk *walk, leat_dtype dtype,
                            uint32_t input, int64_t x_offset, uint32_t output, int64_t y_offset)
{
    lt_gpu_copy p = {.count = 1};
    char name[64];
    int64_t bytes = lt_cuda_element_bytes(dtype);
    for (int32_t i = 0; i < walk->rank; i++) {
        p.count *= walk->shape[i];
    }
    if (p.count == 0) {
        return LEAT_OK;
    }
    lt_cuda_walk_merge(walk, 2);
    lt_cuda_walk_index(walk, &p.index);
    memcpy(p.x_stride, walk->strides[0], sizeof(p.x_stride));
    memcpy(p.y_stride, walk->strides[1], sizeof(p.y_stride));
    lt_cuda_kernel_name(name, "copy", lt_cuda_by_bytes(dtype));
    return lt_cuda_add(
        b, &(lt_cuda_launch){
               .kernel = name,
               .grid = {lt_cuda_blocks(b, p.count, dtype)},
               .parameters = &p,
               .parameter_bytes = sizeof(p),
               .n_pointers = 2,
               .pointers = {{offsetof(lt_gpu_copy, x), LT_CUDA_INPUT, input, x_offset * bytes},
                            {offsetof(lt_gpu_copy, y), LT_CUDA_OUTPUT, output, y_offset * bytes}}});
}

/* ---- Transpose, Expand ----------------------------------------------------------------------- */

/* Whether the kernel takes these rows by 16 bytes, without tiles. */
static bool is_few(int64_t rows, int64_t columns, leat_dtype dtype)
{
    return rows >= 2 && rows <= LT_GPU_TRANSPOSE_FEW &&
           columns * lt_cuda_element_bytes(dtype) % 16 == 0;
}

leat_status lt_cuda_add_transpose(lt_cuda_builder *b, int64_t batch, int64_t rows, int64_t columns,
                                  leat_dtype dtype, lt_cuda_pointer from, lt_cuda_pointer to)
{
    lt_gpu_transpose p = {
        .batch = (int32_t)batch, .rows = (int32_t)rows, .columns = (int32_t)columns};
    int64_t blocks = lt_gpu_transpose_tiles(&p);
    if (is_few(rows, columns, dtype)) {
        blocks = lt_cuda_blocks(b, batch * columns, dtype);
    }
    char name[64];
    lt_cuda_kernel_name(name, "transpose", lt_cuda_by_bytes(dtype));
    from.offset = offsetof(lt_gpu_transpose, x);
    to.offset = offsetof(lt_gpu_transpose, y);
    return lt_cuda_add(b, &(lt_cuda_launch){.kernel = name,
                                            .grid = {blocks < 65536 ? (uint32_t)blocks : 65536u},
                                            .parameters = &p,
                                            .parameter_bytes = sizeof(p),
                                            .n_pointers = 2,
                                            .pointers = {from, to}});
}

/* A permutation that only exchanges two neighbouring groups of dimensions, after merging, goes
 * through shared memory. */
static leat_status add_swap(lt_cuda_builder *b, const lt_cuda_walk *walk, leat_dtype dtype,
                            bool *out_done)
{
    int32_t r = walk->rank;
    *out_done = false;
    if (r != 2 && r != 3) {
        return LEAT_OK;
    }
    int64_t rows = walk->shape[r - 1], columns = walk->shape[r - 2]; /* of x */
    bool swaps = walk->strides[0][r - 2] == 1 && walk->strides[0][r - 1] == columns &&
                 (r == 2 || walk->strides[0][0] == rows * columns);
    if (!swaps || columns < 8 || (rows < 8 && !is_few(rows, columns, dtype))) {
        return LEAT_OK;
    }
    *out_done = true;
    return lt_cuda_add_transpose(b, r == 3 ? walk->shape[0] : 1, rows, columns, dtype,
                                 (lt_cuda_pointer){0, LT_CUDA_INPUT, 0, 0},
                                 (lt_cuda_pointer){0, LT_CUDA_OUTPUT, 0, 0});
}

leat_status lt_cuda_transpose_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    int64_t strides[LEAT_MAX_RANK];
    lt_cuda_walk walk = {.rank = x->rank};
    size_t count;
    bool done = false;
    const int64_t *perm = leat_node_ints(node->node, "perm", &count);
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(x) == 0) {
        return status;
    }
    dense_strides(x->rank, x->shape, strides);
    dense_strides(y->rank, y->shape, walk.strides[1]);
    for (int32_t i = 0; i < x->rank; i++) {
        int64_t from = perm ? perm[i] : x->rank - 1 - i;
        if ((perm && (int32_t)count != x->rank) || from < 0 || from >= x->rank) {
            return lt_cuda_fail(err, LEAT_INVALID,
                                "cuda: Transpose node '%s': perm is no permutation",
                                node->node->name);
        }
        walk.shape[i] = y->shape[i];
        walk.strides[0][i] = strides[from];
    }
    lt_cuda_walk merged = walk;
    lt_cuda_walk_merge(&merged, 2);
    if (merged.rank == 0 || (merged.rank == 1 && merged.strides[0][0] == 1)) {
        *out_kernel = (leat_kernel){.name = "view", .view_of = 1};
        return LEAT_OK;
    }
    status = add_swap(&b, &merged, x->dtype, &done);
    return status != LEAT_OK || done ? status : add_copy(&b, &walk, x->dtype, 0, 0, 0, 0);
}

leat_status lt_cuda_expand_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    lt_cuda_walk walk = {.rank = y->rank};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    memcpy(walk.shape, y->shape, sizeof(walk.shape));
    dense_strides(y->rank, y->shape, walk.strides[1]);
    if (!lt_cuda_broadcast(x, y->rank, y->shape, walk.strides[0])) {
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: Expand node '%s': the input does not broadcast",
                            node->node->name);
    }
    out_kernel->unread_mask = 2;
    return add_copy(&b, &walk, x->dtype, 0, 0, 0, 0);
}

/* ---- Concat, Split, Slice -------------------------------------------------------------------- */

leat_status lt_cuda_concat_supports(const leat_kernel_node *node, leat_error *err)
{
    for (uint32_t i = 0; i < node->node->n_inputs; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        if (in == NULL || in->dtype != leat_kernel_input(node, 0)->dtype) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Concat of several types");
        }
    }
    return lt_cuda_fits(node, err);
}

/* Copies between a part of a tensor along `axis` and a dense tensor of `part`'s shape. */
static leat_status add_part(lt_cuda_builder *b, const leat_value *whole, const leat_value *part,
                            int32_t axis, int64_t at, bool to_whole, uint32_t index)
{
    lt_cuda_walk walk = {.rank = part->rank};
    int64_t strides[LEAT_MAX_RANK];
    dense_strides(whole->rank, whole->shape, strides);
    memcpy(walk.shape, part->shape, sizeof(walk.shape));
    dense_strides(part->rank, part->shape, walk.strides[to_whole ? 0 : 1]);
    memcpy(walk.strides[to_whole ? 1 : 0], strides, sizeof(strides));
    int64_t offset = at * strides[axis];
    return to_whole ? add_copy(b, &walk, part->dtype, index, 0, 0, offset)
                    : add_copy(b, &walk, part->dtype, 0, offset, index, 0);
}

/* Concat has `many` parts as inputs, Split as outputs. */
static leat_status prepare_parts(lt_cuda_builder *b, bool concat)
{
    const leat_kernel_node *node = b->node;
    const leat_value *whole = concat ? leat_kernel_output(node, 0) : leat_kernel_input(node, 0);
    uint32_t n = concat ? node->node->n_inputs : node->node->n_outputs;
    int32_t axis = axis_of(leat_node_int(node->node, "axis", concat ? 1 : 0), whole->rank);
    int64_t at = 0;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < n && status == LEAT_OK && axis >= 0; i++) {
        const leat_value *part = concat ? leat_kernel_input(node, i) : leat_kernel_output(node, i);
        if (part == NULL) {
            return lt_cuda_fail(b->err, LEAT_UNSUPPORTED, "cuda: %s: a part is absent",
                                node->node->op);
        }
        bool fits = part->rank == whole->rank && at + part->shape[axis] <= whole->shape[axis];
        for (int32_t d = 0; d < whole->rank && fits; d++) {
            fits = d == axis || part->shape[d] == whole->shape[d];
        }
        if (!fits) {
            return lt_cuda_fail(b->err, LEAT_INVALID, "cuda: %s node '%s': part %u does not fit",
                                node->node->op, node->node->name, i);
        }
        status = add_part(b, whole, part, axis, at, concat, i);
        at += part->shape[axis];
    }
    return axis < 0 ? lt_cuda_fail(b->err, LEAT_INVALID, "cuda: %s node '%s': axis out of range",
                                   node->node->op, node->node->name)
                    : status;
}

leat_status lt_cuda_concat_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    leat_status status =
        lt_cuda_begin(&b, node, device, host, plan, out_kernel, node->node->n_inputs, err);
    return status ? status : prepare_parts(&b, true);
}

leat_status lt_cuda_split_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    leat_status status =
        lt_cuda_begin(&b, node, device, host, plan, out_kernel, node->node->n_outputs, err);
    out_kernel->unread_mask = ~1u;
    return status ? status : prepare_parts(&b, false);
}

leat_status lt_cuda_slice_supports(const leat_kernel_node *node, leat_error *err)
{
    int64_t list[LEAT_MAX_RANK];
    for (uint32_t i = 1; i < 5; i++) {
        if (lt_cuda_ints(node, i, list) == -2 || (i < 3 && leat_kernel_input(node, i) == NULL)) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                                "cuda: Slice: starts, ends, axes or steps that are not constant");
        }
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_slice_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    int64_t starts[LEAT_MAX_RANK], axes[LEAT_MAX_RANK], steps[LEAT_MAX_RANK], offset = 0;
    int64_t n = lt_cuda_ints(node, 1, starts);
    int64_t n_axes = lt_cuda_ints(node, 3, axes), n_steps = lt_cuda_ints(node, 4, steps);
    lt_cuda_walk walk = {.rank = x->rank};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(y) == 0) {
        return status;
    }
    memcpy(walk.shape, y->shape, sizeof(walk.shape));
    dense_strides(x->rank, x->shape, walk.strides[0]);
    dense_strides(y->rank, y->shape, walk.strides[1]);
    for (int64_t i = 0; i < n; i++) {
        int32_t axis = axis_of(n_axes < 0 ? i : i < n_axes ? axes[i] : -LEAT_MAX_RANK - 1, x->rank);
        int64_t step = n_steps < 0 ? 1 : i < n_steps ? steps[i] : 0;
        if (axis < 0 || step == 0) {
            return lt_cuda_fail(err, LEAT_INVALID, "cuda: Slice node '%s': bad axis or step",
                                node->node->name);
        }
        int64_t dim = x->shape[axis], start = starts[i] + (starts[i] < 0 ? dim : 0);
        int64_t most = step > 0 ? dim : dim - 1;
        start = start < 0 ? 0 : start > most ? most : start;
        int64_t last = y->shape[axis] > 1 ? start + (y->shape[axis] - 1) * step : start;
        if (last < 0 || last >= dim || start >= dim) {
            return lt_cuda_fail(err, LEAT_INVALID, "cuda: Slice node '%s': beyond the input",
                                node->node->name);
        }
        offset += start * walk.strides[0][axis];
        walk.strides[0][axis] *= y->shape[axis] > 1 ? step : 1;
    }
    out_kernel->unread_mask = ~1u;
    return add_copy(&b, &walk, x->dtype, 0, offset, 0, 0);
}

/* ---- Gather ---------------------------------------------------------------------------------- */

leat_status lt_cuda_gather_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *indices = leat_kernel_input(node, 1);
    if (indices == NULL || (indices->dtype != LEAT_DTYPE_I32 && indices->dtype != LEAT_DTYPE_I64)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Gather: indices of this type");
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_gather_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    lt_gpu_gather p = {.count = leat_value_count(leat_kernel_output(node, 0)),
                       .indices_64 = indices->dtype == LEAT_DTYPE_I64};
    int32_t axis = axis_of(leat_node_int(node->node, "axis", 0), x->rank);
    int64_t inner = 1;
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    if (axis < 0) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: Gather node '%s': axis out of range",
                            node->node->name);
    }
    for (int32_t i = axis + 1; i < x->rank; i++) {
        inner *= x->shape[i];
    }
    p.axis_size = (int32_t)x->shape[axis];
    p.n_indices = lt_gpu_divisor_make((uint32_t)leat_value_count(indices));
    p.inner = lt_gpu_divisor_make((uint32_t)inner);
    lt_cuda_kernel_name(name, "gather", lt_cuda_by_bytes(x->dtype));
    return lt_cuda_add(
        &b,
        &(lt_cuda_launch){.kernel = name,
                          .grid = {lt_cuda_blocks(&b, p.count, x->dtype)},
                          .parameters = &p,
                          .parameter_bytes = sizeof(p),
                          .n_pointers = 4,
                          .pointers = {{offsetof(lt_gpu_gather, x), LT_CUDA_INPUT, 0, 0},
                                       {offsetof(lt_gpu_gather, indices), LT_CUDA_INPUT, 1, 0},
                                       {offsetof(lt_gpu_gather, y), LT_CUDA_OUTPUT, 0, 0},
                                       {offsetof(lt_gpu_gather, error), LT_CUDA_FAULTS, 0, 0}}});
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of reductions, ArgMax and Softmax. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/reduce.h"

#include <stddef.h>

/* ---- Reduce* --------------------------------------------------------------------------------- */

/* Bit i: axis i is reduced. False when the axes are not known or out of range. */
static bool read_axes(const leat_kernel_node *node, uint32_t *out_axes)
{
    int32_t rank = leat_kernel_input(node, 0)->rank;
    int64_t list[LEAT_MAX_RANK];
    size_t count;
    const int64_t *ints = leat_node_ints(node->node, "axes", &count);
    int64_t n = (int64_t)count;
    *out_axes = 0;
    if (ints == NULL) {
        n = lt_cuda_ints(node, 1, list);
        ints = list;
        if (n == -2) {
            return false;
        }
    }
    if (n <= 0) {
        bool nothing = leat_node_int(node->node, "noop_with_empty_axes", 0) != 0;
        *out_axes = nothing ? 0 : (1u << rank) - 1u;
        return true;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = ints[i] + (ints[i] < 0 ? rank : 0);
        if (axis < 0 || axis >= rank) {
            return false;
        }
        *out_axes |= 1u << axis;
    }
    return true;
}

leat_status lt_cuda_reduce_supports(const leat_kernel_node *node, leat_error *err)
{
    int64_t list[LEAT_MAX_RANK];
    if (leat_node_attr(node->node, "axes") == NULL && lt_cuda_ints(node, 1, list) == -2) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: axes that are not constant",
                            node->node->op);
    }
    return lt_cuda_fits(node, err);
}

static lt_gpu_reduction reduction_of(const char *op)
{
    static const struct {
        const char *op;
        lt_gpu_reduction number;
    } names[] = {
        {"ReduceSum", LT_GPU_REDUCE_SUM},        {"ReduceMean", LT_GPU_REDUCE_MEAN},
        {"ReduceMax", LT_GPU_REDUCE_MAX},        {"ReduceMin", LT_GPU_REDUCE_MIN},
        {"ReduceProd", LT_GPU_REDUCE_PROD},      {"ReduceL1", LT_GPU_REDUCE_L1},
        {"ReduceL2", LT_GPU_REDUCE_L2},          {"ReduceSumSquare", LT_GPU_REDUCE_SUM_SQUARE},
        {"ReduceLogSum", LT_GPU_REDUCE_LOG_SUM},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].op, op) == 0) {
            return names[i].number;
        }
    }
    return LT_GPU_REDUCE_SUM;
}

leat_status lt_cuda_reduce_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_cuda_walk kept = {.rank = 0}, reduced = {.rank = 0};
    lt_gpu_reduce p = {.n_kept = 1, .n_reduced = 1, .op = (int32_t)reduction_of(node->node->op)};
    uint32_t axes = 0;
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (!read_axes(node, &axes)) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': axes out of range",
                            node->node->op, node->node->name);
    }
    int64_t stride = leat_value_count(x);
    for (int32_t i = 0; i < x->rank; i++) {
        lt_cuda_walk *walk = axes >> i & 1 ? &reduced : &kept;
        stride = x->shape[i] > 0 ? stride / x->shape[i] : 0;
        walk->shape[walk->rank] = x->shape[i];
        walk->strides[0][walk->rank++] = stride;
        *(axes >> i & 1 ? &p.n_reduced : &p.n_kept) *= (int32_t)x->shape[i];
    }
    bool innermost_kept = x->rank > 0 && !(axes >> (x->rank - 1) & 1) && x->shape[x->rank - 1] > 1;
    lt_cuda_walk_merge(&kept, 1);
    lt_cuda_walk_merge(&reduced, 1);
    lt_cuda_walk_index(&kept, &p.kept);
    lt_cuda_walk_index(&reduced, &p.reduced);
    memcpy(p.kept_stride, kept.strides[0], sizeof(p.kept_stride));
    memcpy(p.reduced_stride, reduced.strides[0], sizeof(p.reduced_stride));
    bool threads = innermost_kept || p.n_reduced <= 8;
    lt_cuda_kernel_name(name, threads ? "reduce_thread" : "reduce_block",
                        lt_cuda_type_name(x->dtype));
    out_kernel->unread_mask = 2;
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {threads ? lt_gpu_blocks(p.n_kept, 1, b.device->processors)
                                               : lt_cuda_item_blocks(&b, p.n_kept)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_reduce, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_reduce, y), LT_CUDA_OUTPUT, 0, 0}}});
}

/* ---- one axis -------------------------------------------------------------------------------- */

/* Elements before, along and behind an axis. With `flat` all from the axis on are along it. */
static bool cut(const leat_value *x, int64_t axis, bool flat, int32_t *out_outer, int32_t *out_size,
                int32_t *out_inner)
{
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis > x->rank || (axis == x->rank && !flat)) {
        return false;
    }
    *out_outer = *out_size = *out_inner = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        int32_t *part = i < axis ? out_outer : i == axis || flat ? out_size : out_inner;
        *part *= (int32_t)x->shape[i];
    }
    return true;
}

static leat_status bad_axis(const leat_kernel_node *node, leat_error *err)
{
    return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': axis out of range", node->node->op,
                        node->node->name);
}

leat_status lt_cuda_arg_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_gpu_arg p = {.smallest = strcmp(node->node->op, "ArgMin") == 0,
                    .last = leat_node_int(node->node, "select_last_index", 0) != 0};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (!cut(x, leat_node_int(node->node, "axis", 0), false, &p.outer, &p.size, &p.inner) ||
        p.size < 1) {
        return bad_axis(node, err);
    }
    lt_cuda_kernel_name(name, "arg", lt_cuda_type_name(x->dtype));
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {lt_cuda_item_blocks(&b, (int64_t)p.outer * p.inner)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_arg, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_arg, y), LT_CUDA_OUTPUT, 0, 0}}});
}

leat_status lt_cuda_softmax_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    bool flat = node->node->opset < 13;
    lt_gpu_softmax p = {.log = strcmp(node->node->op, "LogSoftmax") == 0};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(x) == 0) {
        return status;
    }
    if (!cut(x, leat_node_int(node->node, "axis", flat ? 1 : -1), flat, &p.outer, &p.size,
             &p.inner)) {
        return bad_axis(node, err);
    }
    int64_t rows = (int64_t)p.outer * p.inner;
    bool blocks = p.size > 1024;
    lt_cuda_kernel_name(name, blocks ? "softmax_block" : "softmax_warp",
                        lt_cuda_type_name(x->dtype));
    out_kernel->inplace_mask = 1;
    out_kernel->flops = 4 * (uint64_t)leat_value_count(x);
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {lt_cuda_item_blocks(&b, blocks ? rows : (rows + 7) / 8)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_softmax, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_softmax, y), LT_CUDA_OUTPUT, 0, 0}}});
}

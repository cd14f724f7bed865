/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of InstanceNormalization and GroupNormalization. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/norm.h"

#include <stddef.h>

leat_status lt_cuda_group_norm_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value == NULL || value->dtype != LEAT_DTYPE_F32) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: scale or bias of this type",
                                node->node->op);
        }
    }
    if (x->rank < 3) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: fewer than three dimensions",
                            node->node->op);
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_group_norm_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    const bool instance = strcmp(node->node->op, "InstanceNormalization") == 0;
    int64_t pixels = 1;
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(x) == 0) {
        return status;
    }
    for (int32_t i = 2; i < x->rank; i++) {
        pixels *= x->shape[i];
    }
    const int64_t channels = x->shape[1];
    const int64_t groups = instance ? channels : leat_node_int(node->node, "num_groups", 0);
    if (groups < 1 || channels % groups != 0 ||
        leat_value_count(leat_kernel_input(node, 1)) != channels ||
        leat_value_count(leat_kernel_input(node, 2)) != channels) {
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: %s node '%s': groups, scale or bias that do not fit channels",
                            node->node->op, node->node->name);
    }
    const lt_gpu_group_norm p = {.images = (int32_t)x->shape[0],
                                 .channels = (int32_t)channels,
                                 .groups = (int32_t)groups,
                                 .pixels = (int32_t)pixels,
                                 .channel_stride = pixels,
                                 .pixel_stride = 1,
                                 .epsilon = leat_node_float(node->node, "epsilon", 1e-5f)};
    out_kernel->inplace_mask = 1;
    lt_cuda_kernel_name(name, "group_norm", lt_cuda_type_name(x->dtype));
    return lt_cuda_add(
        &b,
        &(lt_cuda_launch){.kernel = name,
                          .grid = {lt_cuda_item_blocks(&b, p.images * groups)},
                          .parameters = &p,
                          .parameter_bytes = sizeof(p),
                          .n_pointers = 4,
                          .pointers = {{offsetof(lt_gpu_group_norm, x), LT_CUDA_INPUT, 0, 0},
                                       {offsetof(lt_gpu_group_norm, scale), LT_CUDA_INPUT, 1, 0},
                                       {offsetof(lt_gpu_group_norm, bias), LT_CUDA_INPUT, 2, 0},
                                       {offsetof(lt_gpu_group_norm, y), LT_CUDA_OUTPUT, 0, 0}}});
}

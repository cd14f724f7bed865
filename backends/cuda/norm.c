/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of normalizations. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/norm.h"

#include <stddef.h>

leat_status lt_cuda_layer_norm_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    for (uint32_t i = 1; i < node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value != NULL && value->dtype != x->dtype) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: inputs of several types",
                                node->node->op);
        }
    }
    for (uint32_t i = 1; i < node->node->n_outputs; i++) {
        const leat_value *value = leat_kernel_output(node, i);
        if (value != NULL && value->dtype != LEAT_DTYPE_F32) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: statistics of this type",
                                node->node->op);
        }
    }
    return lt_cuda_fits(node, err);
}

/* Rows and elements of a row; false when scale or bias have not one row's elements. */
static bool fill_rows(const leat_kernel_node *node, lt_gpu_layer_norm *p)
{
    const leat_value *x = leat_kernel_input(node, 0);
    int64_t axis = leat_node_int(node->node, "axis", -1), rows = 1, n = 1;
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis >= x->rank) {
        return false;
    }
    for (int32_t i = 0; i < x->rank; i++) {
        *(i < axis ? &rows : &n) *= x->shape[i];
    }
    p->rows = (int32_t)rows;
    p->n = (int32_t)n;
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value != NULL && leat_value_count(value) != n) {
            return false;
        }
    }
    return true;
}

/* Adds the kernel for these rows; the launch has its pointers. */
static leat_status add_rows(lt_cuda_builder *b, const lt_gpu_layer_norm *p, leat_dtype dtype,
                            lt_cuda_launch *launch)
{
    char name[64];
    /* A warp keeps 4 times 16 bytes a lane of a row in registers. */
    bool held = (int64_t)p->n * lt_cuda_element_bytes(dtype) <= 4 * 16 * 32;
    bool blocks = p->n > 4096 || (!held && p->rows < 4 * (int32_t)b->device->processors);
    int64_t items = blocks ? p->rows : (p->rows + 7) / 8;
    launch->kernel = name;
    launch->grid[0] = lt_cuda_item_blocks(b, items);
    launch->parameters = p;
    launch->parameter_bytes = sizeof(*p);
    lt_cuda_kernel_name(name, blocks ? "layer_norm_block" : "layer_norm_warp",
                        lt_cuda_type_name(dtype));
    return lt_cuda_add(b, launch);
}

leat_status lt_cuda_add_norm(lt_cuda_builder *b, float epsilon, uint32_t scale, uint32_t bias)
{
    const leat_value *y = leat_kernel_output(b->node, 0);
    const int64_t n = y->shape[y->rank - 1];
    const lt_gpu_layer_norm p = {
        .epsilon = epsilon, .rows = (int32_t)(leat_value_count(y) / n), .n = (int32_t)n};
    lt_cuda_launch launch = {
        .n_pointers = 4,
        .pointers = {{offsetof(lt_gpu_layer_norm, x), LT_CUDA_OUTPUT, 0, 0},
                     {offsetof(lt_gpu_layer_norm, scale), LT_CUDA_INPUT, scale, 0},
                     {offsetof(lt_gpu_layer_norm, bias), LT_CUDA_INPUT, bias, 0},
                     {offsetof(lt_gpu_layer_norm, y), LT_CUDA_OUTPUT, 0, 0}}};
    return add_rows(b, &p, y->dtype, &launch);
}

leat_status lt_cuda_layer_norm_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    static const size_t inputs[] = {offsetof(lt_gpu_layer_norm, x),
                                    offsetof(lt_gpu_layer_norm, scale),
                                    offsetof(lt_gpu_layer_norm, bias)};
    static const size_t outputs[] = {offsetof(lt_gpu_layer_norm, y),
                                     offsetof(lt_gpu_layer_norm, mean),
                                     offsetof(lt_gpu_layer_norm, inverse)};
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    bool rms = strcmp(node->node->op, "RMSNormalization") == 0;
    lt_gpu_layer_norm p = {.epsilon = leat_node_float(node->node, "epsilon", 1e-5f), .rms = rms};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(x) == 0) {
        return status;
    }
    if (!fill_rows(node, &p)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: %s node '%s': scale or bias of another shape than a row",
                            node->node->op, node->node->name);
    }
    lt_cuda_launch launch = {.n_pointers = 0};
    for (uint32_t i = 0; i < 3; i++) {
        if (leat_kernel_input(node, i) != NULL) {
            launch.pointers[launch.n_pointers++] =
                (lt_cuda_pointer){(uint32_t)inputs[i], LT_CUDA_INPUT, i, 0};
        }
        if (leat_kernel_output(node, i) != NULL) {
            launch.pointers[launch.n_pointers++] =
                (lt_cuda_pointer){(uint32_t)outputs[i], LT_CUDA_OUTPUT, i, 0};
        }
    }
    out_kernel->inplace_mask = 1;
    return add_rows(&b, &p, x->dtype, &launch);
}

leat_status lt_cuda_batch_norm_supports(const leat_kernel_node *node, leat_error *err)
{
    bool training = leat_node_int(node->node, "training_mode", 0) != 0;
    if (training || node->node->n_inputs != 5 || node->node->n_outputs != 1 ||
        leat_kernel_input(node, 0)->rank < 2) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: BatchNormalization: training, or rank 1");
    }
    for (uint32_t i = 1; i < 5; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value == NULL || value->dtype != LEAT_DTYPE_F32) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                                "cuda: BatchNormalization: statistics of this type");
        }
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_batch_norm_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_gpu_batch_norm p = {.count = leat_value_count(x),
                           .epsilon = leat_node_float(node->node, "epsilon", 1e-5f)};
    int64_t inner = 1;
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    for (int32_t i = 2; i < x->rank; i++) {
        inner *= x->shape[i];
    }
    for (uint32_t i = 1; i < 5; i++) {
        if (leat_value_count(leat_kernel_input(node, i)) != x->shape[1]) {
            return lt_cuda_fail(err, LEAT_INVALID,
                                "cuda: BatchNormalization node '%s': input %u has not a number for "
                                "each channel",
                                node->node->name, i);
        }
    }
    p.inner = lt_gpu_divisor_make((uint32_t)inner);
    p.channels = lt_gpu_divisor_make((uint32_t)x->shape[1]);
    out_kernel->inplace_mask = 1;
    return lt_cuda_add(
        &b,
        &(lt_cuda_launch){.kernel = "lt_gpu_batch_norm_f32",
                          .grid = {lt_cuda_blocks(&b, p.count, LEAT_DTYPE_F32)},
                          .parameters = &p,
                          .parameter_bytes = sizeof(p),
                          .n_pointers = 6,
                          .pointers = {{offsetof(lt_gpu_batch_norm, x), LT_CUDA_INPUT, 0, 0},
                                       {offsetof(lt_gpu_batch_norm, scale), LT_CUDA_INPUT, 1, 0},
                                       {offsetof(lt_gpu_batch_norm, bias), LT_CUDA_INPUT, 2, 0},
                                       {offsetof(lt_gpu_batch_norm, mean), LT_CUDA_INPUT, 3, 0},
                                       {offsetof(lt_gpu_batch_norm, variance), LT_CUDA_INPUT, 4, 0},
                                       {offsetof(lt_gpu_batch_norm, y), LT_CUDA_OUTPUT, 0, 0}}});
}

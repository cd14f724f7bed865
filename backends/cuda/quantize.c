/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear of bytes. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/quantize.h"

#include <stddef.h>

static bool is_byte(leat_dtype dtype)
{
    return (LT_CUDA_BYTES >> dtype & 1) != 0;
}

static leat_status refuse(const leat_kernel_node *node, const char *why, leat_error *err)
{
    return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: %s", node->node->op, why);
}

/* Both directions: one side is bytes, the other floats. */
leat_status lt_cuda_quantize_supports(const leat_kernel_node *node, leat_error *err)
{
    bool to_bytes = strcmp(node->node->op, "QuantizeLinear") == 0;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const leat_value *scale = leat_kernel_input(node, 1), *zero = leat_kernel_input(node, 2);
    const leat_value *bytes = to_bytes ? y : x, *floats = to_bytes ? x : y;
    int64_t precision = leat_node_int(node->node, "precision", LEAT_DTYPE_F32);
    if (!is_byte(bytes->dtype) || !(LT_CUDA_FLOATS >> floats->dtype & 1) || scale == NULL ||
        scale->dtype != LEAT_DTYPE_F32 || (precision != 0 && precision != LEAT_DTYPE_F32)) {
        return refuse(node, "these types", err);
    }
    if (scale->rank > 1 || leat_node_int(node->node, "block_size", 0) != 0 ||
        (zero != NULL && zero->dtype != bytes->dtype)) {
        return refuse(node, "blocks, or a zero point of another type", err);
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_quantize_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    bool to_bytes = strcmp(node->node->op, "QuantizeLinear") == 0;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const leat_value *zero = leat_kernel_input(node, 2);
    int64_t scales = leat_value_count(leat_kernel_input(node, 1)), inner = 1;
    int64_t axis = leat_node_int(node->node, "axis", 1);
    lt_gpu_quantize p = {.count = leat_value_count(x),
                         .is_signed = (to_bytes ? y : x)->dtype == LEAT_DTYPE_I8};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    axis += axis < 0 ? x->rank : 0;
    for (int64_t i = axis + 1; i < x->rank; i++) {
        inner *= x->shape[i];
    }
    bool spread = scales == 1 || (axis >= 0 && axis < x->rank && scales == x->shape[axis]);
    if (!spread || (zero != NULL && leat_value_count(zero) != scales)) {
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: %s node '%s': %lld scales for the axis, or not as many zero "
                            "points",
                            node->node->op, node->node->name, (long long)scales);
    }
    p.inner = lt_gpu_divisor_make((uint32_t)(scales == 1 ? p.count : inner));
    p.channels = lt_gpu_divisor_make((uint32_t)scales);
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {lt_gpu_blocks(p.count, 1, b.device->processors)},
                             .parameters = &p,
                             .parameter_bytes = sizeof(p),
                             .n_pointers = zero != NULL ? 4 : 3,
                             .pointers = {{offsetof(lt_gpu_quantize, x), LT_CUDA_INPUT, 0, 0},
                                          {offsetof(lt_gpu_quantize, y), LT_CUDA_OUTPUT, 0, 0},
                                          {offsetof(lt_gpu_quantize, scale), LT_CUDA_INPUT, 1, 0},
                                          {offsetof(lt_gpu_quantize, zero), LT_CUDA_INPUT, 2, 0}}};
    lt_cuda_kernel_name(name, to_bytes ? "quantize" : "dequantize",
                        lt_cuda_type_name((to_bytes ? x : y)->dtype));
    return lt_cuda_add(&b, &launch);
}

/* The range of x in parts, from these scale and zero point, then the bytes. */
leat_status lt_cuda_dynamic_quantize_prepare(const leat_kernel_node *node, void *device,
                                             const leat_host *host, leat_plan *plan,
                                             leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    int64_t count = leat_value_count(leat_kernel_input(node, 0));
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 3, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t grid = lt_gpu_blocks(count, 4, b.device->processors);
    const lt_gpu_range range = {.count = count};
    const lt_gpu_dynamic_scale scale = {.count = (int32_t)grid};
    const lt_gpu_quantize quantize = {.count = count,
                                      .inner = lt_gpu_divisor_make((uint32_t)(count ? count : 1)),
                                      .channels = lt_gpu_divisor_make(1)};
    const lt_cuda_launch launches[3] = {
        {.kernel = "lt_gpu_range_f32",
         .grid = {grid},
         .parameters = &range,
         .parameter_bytes = sizeof(range),
         .n_pointers = 2,
         .pointers = {{offsetof(lt_gpu_range, x), LT_CUDA_INPUT, 0, 0},
                      {offsetof(lt_gpu_range, parts), LT_CUDA_WORKSPACE, 0, 0}}},
        {.kernel = "lt_gpu_dynamic_scale_u8",
         .grid = {1},
         .parameters = &scale,
         .parameter_bytes = sizeof(scale),
         .n_pointers = 3,
         .pointers = {{offsetof(lt_gpu_dynamic_scale, parts), LT_CUDA_WORKSPACE, 0, 0},
                      {offsetof(lt_gpu_dynamic_scale, scale), LT_CUDA_OUTPUT, 1, 0},
                      {offsetof(lt_gpu_dynamic_scale, zero), LT_CUDA_OUTPUT, 2, 0}}},
        {.kernel = "lt_gpu_quantize_f32",
         .grid = {lt_gpu_blocks(count, 1, b.device->processors)},
         .parameters = &quantize,
         .parameter_bytes = sizeof(quantize),
         .n_pointers = 4,
         .pointers = {{offsetof(lt_gpu_quantize, x), LT_CUDA_INPUT, 0, 0},
                      {offsetof(lt_gpu_quantize, y), LT_CUDA_OUTPUT, 0, 0},
                      {offsetof(lt_gpu_quantize, scale), LT_CUDA_OUTPUT, 1, 0},
                      {offsetof(lt_gpu_quantize, zero), LT_CUDA_OUTPUT, 2, 0}}},
    };
    b.kernel->workspace_bytes = (size_t)grid * 2 * sizeof(float);
    for (int i = 0; i < 3 && status == LEAT_OK; i++) {
        status = lt_cuda_add(&b, &launches[i]);
    }
    return status;
}

leat_status lt_cuda_dynamic_quantize_supports(const leat_kernel_node *node, leat_error *err)
{
    for (uint32_t i = 0; i < 3; i++) {
        if (leat_kernel_output(node, i) == NULL) {
            return refuse(node, "an output is missing", err);
        }
    }
    return lt_cuda_fits(node, err);
}

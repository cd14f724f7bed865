/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear of bytes. */
#include "cuda.h"
#include "qproduct.h"
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
    const leat_value *floats = to_bytes ? x : y;
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {scales == 1
                                          ? lt_cuda_blocks(&b, p.count, floats->dtype)
                                          : lt_gpu_blocks(p.count, 1, b.device->processors)},
                             .parameters = &p,
                             .parameter_bytes = sizeof(p),
                             .n_pointers = zero != NULL ? 4 : 3,
                             .pointers = {{offsetof(lt_gpu_quantize, x), LT_CUDA_INPUT, 0, 0},
                                          {offsetof(lt_gpu_quantize, y), LT_CUDA_OUTPUT, 0, 0},
                                          {offsetof(lt_gpu_quantize, scale), LT_CUDA_INPUT, 1, 0},
                                          {offsetof(lt_gpu_quantize, zero), LT_CUDA_INPUT, 2, 0}}};
    lt_cuda_kernel_name(name, to_bytes ? "quantize" : "dequantize",
                        lt_cuda_type_name(floats->dtype));
    return lt_cuda_add(&b, &launch);
}

leat_status lt_cuda_add_quantize(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t to)
{
    const leat_value *x = leat_kernel_input(b->node, 0);
    const int64_t count = leat_value_count(x);
    const lt_gpu_quantize p = {.count = count,
                               .inner = lt_gpu_divisor_make((uint32_t)count),
                               .channels = lt_gpu_divisor_make(1),
                               .is_signed = q->x == LEAT_DTYPE_I8};
    char name[64];
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {lt_cuda_blocks(b, count, x->dtype)},
                             .parameters = &p,
                             .parameter_bytes = sizeof(p),
                             .n_pointers = 3,
                             .pointers = {{offsetof(lt_gpu_quantize, x), LT_CUDA_INPUT, 0, 0},
                                          {offsetof(lt_gpu_quantize, y), LT_CUDA_WORKSPACE, 0, to},
                                          {offsetof(lt_gpu_quantize, scale), LT_CUDA_INPUT,
                                           (uint32_t)q->in.x_scale, 0}}};
    if (q->in.x_zero >= 0) {
        launch.pointers[launch.n_pointers++] = (lt_cuda_pointer){
            offsetof(lt_gpu_quantize, zero), LT_CUDA_INPUT, (uint32_t)q->in.x_zero, 0};
    }
    lt_cuda_kernel_name(name, "quantize", lt_cuda_type_name(x->dtype));
    return lt_cuda_add(b, &launch);
}

/* ---- a mean of bytes ------------------------------------------------------------------------- */

leat_status lt_cuda_byte_mean_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    int64_t pixels = 1;
    bool fine = x->rank >= 3;
    for (uint32_t i = 1; i < 5; i++) {
        const leat_value *v = leat_kernel_input(node, i);
        const leat_dtype bytes = i == 2 ? x->dtype : y->dtype;
        fine &= v == NULL ? i != 1
                          : v->rank >= 0 && leat_value_count(v) == 1 &&
                                v->dtype == (i % 2 == 1 ? LEAT_DTYPE_F32 : bytes);
    }
    fine &= leat_kernel_input(node, 3) ? is_byte(y->dtype) : y->dtype == LEAT_DTYPE_F32;
    for (int32_t i = 1; i < x->rank; i++) { /* unknown ones are looked at when they are known */
        pixels *= x->shape[i] > 0 && pixels <= LT_GPU_MEAN_PIXELS ? x->shape[i] : 1;
    }
    if (!fine || pixels > LT_GPU_MEAN_PIXELS) {
        return refuse(node, "these types, or so many pixels", err);
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_byte_mean_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const bool last = leat_node_int(node->node, "channels_last", 0) != 0;
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    if (status != LEAT_OK || leat_value_count(y) == 0) {
        return status;
    }
    const int64_t images = x->shape[0], channels = x->shape[last ? x->rank - 1 : 1];
    const int64_t count = leat_value_count(x), pixels = count / (images * channels);
    if (pixels < 1 || pixels > LT_GPU_MEAN_PIXELS) {
        return refuse(node, "a mean of none or of so many pixels", err);
    }
    const lt_gpu_byte_mean p = {.images = (int32_t)images,
                                .pixels = (int32_t)pixels,
                                .channels = (int32_t)channels,
                                .x_signed = x->dtype == LEAT_DTYPE_I8,
                                .y_signed = y->dtype == LEAT_DTYPE_I8};
    const int64_t parts = lt_gpu_byte_mean_items(&p);
    const lt_cuda_pointer from = {0, LT_CUDA_INPUT, 0, 0}, turned = {0, LT_CUDA_WORKSPACE, 0, 0};
    lt_cuda_pointer data = last ? from : turned;
    data.offset = offsetof(lt_gpu_byte_mean, x);
    lt_cuda_launch launch = {
        .kernel = "lt_gpu_mean_of_bytes",
        .grid = {lt_cuda_item_blocks(&b, parts)},
        .parameters = &p,
        .parameter_bytes = sizeof(p),
        .n_pointers = 2,
        .pointers = {data, {offsetof(lt_gpu_byte_mean, y), LT_CUDA_OUTPUT, 0, 0}}};
    static const size_t offsets[5] = {
        0, offsetof(lt_gpu_byte_mean, x_scale), offsetof(lt_gpu_byte_mean, x_zero),
        offsetof(lt_gpu_byte_mean, y_scale), offsetof(lt_gpu_byte_mean, y_zero)};
    for (uint32_t i = 1; i < 5; i++) {
        if (leat_kernel_input(node, i) != NULL) {
            launch.pointers[launch.n_pointers++] =
                (lt_cuda_pointer){(uint32_t)offsets[i], LT_CUDA_INPUT, i, 0};
        }
    }
    if (!last) {
        out_kernel->workspace_bytes = (size_t)count;
        status = lt_cuda_add_transpose(&b, images, channels, pixels, LEAT_DTYPE_U8, from, turned);
    }
    return status ? status : lt_cuda_add(&b, &launch);
}

/* ---- by the range of the data ---------------------------------------------------------------- */

/* Parts of a range: a block makes one, and every block of the launch behind reads all. */
#define PARTS_A_PROCESSOR 2

/* The range of x in parts, from these scale and zero point, and the bytes. */
leat_status lt_cuda_dynamic_quantize_prepare(const leat_kernel_node *node, void *device,
                                             const leat_host *host, leat_plan *plan,
                                             leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    int64_t count = leat_value_count(x);
    char names[2][64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    if (status != LEAT_OK) {
        return status;
    }
    const uint32_t blocks = lt_cuda_blocks(&b, count, x->dtype);
    const uint32_t most = b.device->processors * PARTS_A_PROCESSOR;
    const uint32_t parts = blocks < most ? blocks : most;
    const lt_gpu_range range = {.count = count};
    const lt_gpu_dynamic_quantize quantize = {.count = count, .n_parts = (int32_t)parts};
    const lt_cuda_launch launches[2] = {
        {.kernel = names[0],
         .grid = {parts},
         .parameters = &range,
         .parameter_bytes = sizeof(range),
         .n_pointers = 2,
         .pointers = {{offsetof(lt_gpu_range, x), LT_CUDA_INPUT, 0, 0},
                      {offsetof(lt_gpu_range, parts), LT_CUDA_WORKSPACE, 0, 0}}},
        {.kernel = names[1],
         .grid = {blocks},
         .parameters = &quantize,
         .parameter_bytes = sizeof(quantize),
         .n_pointers = 5,
         .pointers = {{offsetof(lt_gpu_dynamic_quantize, x), LT_CUDA_INPUT, 0, 0},
                      {offsetof(lt_gpu_dynamic_quantize, y), LT_CUDA_OUTPUT, 0, 0},
                      {offsetof(lt_gpu_dynamic_quantize, scale), LT_CUDA_OUTPUT, 1, 0},
                      {offsetof(lt_gpu_dynamic_quantize, zero), LT_CUDA_OUTPUT, 2, 0},
                      {offsetof(lt_gpu_dynamic_quantize, parts), LT_CUDA_WORKSPACE, 0, 0}}}};
    lt_cuda_kernel_name(names[0], "range", lt_cuda_type_name(x->dtype));
    lt_cuda_kernel_name(names[1], "dynamic_quantize", lt_cuda_type_name(x->dtype));
    for (int i = 0; i < 2 && status == LEAT_OK; i++) {
        status = lt_cuda_add(&b, &launches[i]);
    }
    out_kernel->workspace_bytes = (size_t)parts * 2 * sizeof(float);
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

leat_status lt_cuda_smooth_quantize_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *factors = leat_kernel_input(node, 1);
    const leat_value *again = leat_kernel_input(node, 2);
    const int64_t columns = x->rank > 0 ? x->shape[x->rank - 1] : -1;
    bool fine = columns > 0 && factors != NULL && factors->dtype == LEAT_DTYPE_F32 &&
                factors->rank == 1 && factors->shape[0] == columns;
    fine = fine && (again == NULL || (again->dtype == LEAT_DTYPE_I64 && again->data != NULL));
    for (int64_t i = 0; fine && again != NULL && i < leat_value_count(again); i++) {
        int64_t column;
        memcpy(&column, (const int64_t *)again->data + i, sizeof(column));
        fine = column >= 0 && column < columns;
    }
    return fine ? lt_cuda_dynamic_quantize_supports(node, err)
                : refuse(node, "factors or columns that are no constants or do not match", err);
}

leat_status lt_cuda_smooth_quantize_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *again = leat_kernel_input(node, 2);
    const int64_t count = leat_value_count(x), columns = x->shape[x->rank - 1];
    const int64_t n_again = again ? leat_value_count(again) : 0;
    char names[2][64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    if (status != LEAT_OK) {
        return status;
    }
    const uint32_t blocks = lt_cuda_blocks(&b, count, x->dtype);
    const uint32_t most = b.device->processors * PARTS_A_PROCESSOR;
    const uint32_t parts = blocks < most ? blocks : most;
    const lt_gpu_smooth_quantize p = {
        .count = count,
        .columns = lt_gpu_divisor_make((uint32_t)columns),
        .again_count = lt_gpu_divisor_make(n_again > 0 ? (uint32_t)n_again : 1u),
        .n_again = (uint32_t)n_again,
        .n_parts = (int32_t)parts,
    };
    lt_cuda_launch launch = {
        .parameters = &p,
        .parameter_bytes = sizeof(p),
        .n_pointers = n_again > 0 ? 7 : 6,
        .pointers = {{offsetof(lt_gpu_smooth_quantize, x), LT_CUDA_INPUT, 0, 0},
                     {offsetof(lt_gpu_smooth_quantize, factors), LT_CUDA_INPUT, 1, 0},
                     {offsetof(lt_gpu_smooth_quantize, y), LT_CUDA_OUTPUT, 0, 0},
                     {offsetof(lt_gpu_smooth_quantize, scale), LT_CUDA_OUTPUT, 1, 0},
                     {offsetof(lt_gpu_smooth_quantize, zero), LT_CUDA_OUTPUT, 2, 0},
                     {offsetof(lt_gpu_smooth_quantize, parts), LT_CUDA_WORKSPACE, 0, 0},
                     {offsetof(lt_gpu_smooth_quantize, again), LT_CUDA_INPUT, 2, 0}}};
    lt_cuda_kernel_name(names[0], "smooth_range", lt_cuda_type_name(x->dtype));
    lt_cuda_kernel_name(names[1], "smooth_bytes", lt_cuda_type_name(x->dtype));
    for (int i = 0; i < 2 && status == LEAT_OK; i++) {
        launch.kernel = names[i];
        launch.grid[0] = i == 0 ? parts : blocks;
        status = lt_cuda_add(&b, &launch);
    }
    out_kernel->workspace_bytes = (size_t)parts * 2 * sizeof(float);
    return status;
}

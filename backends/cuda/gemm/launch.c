/* SPDX-License-Identifier: Apache-2.0 */
/* Launches a plan. */
#include "support.h"

/* The driver's CUlaunchConfig and CUlaunchAttribute. */
enum {
    ATTRIBUTE_CLUSTER = 4,
    ATTRIBUTE_OVERLAP = 6
};

typedef struct launch_attribute {
    int32_t id;
    int32_t pad;
    union {
        char bytes[64];
        uint32_t cluster[3];
        int32_t overlap;
    } value;
} launch_attribute;

typedef struct launch_config {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    void *stream;
    launch_attribute *attributes;
    uint32_t n_attributes;
} launch_config;

static int is_aligned(const void *address, uintptr_t bytes)
{
    return (uintptr_t)address % bytes == 0;
}

static leat_status check_operands(const lt_cuda_gemm_params *p, const lt_cuda_gemm_operands *o,
                                  leat_error *err)
{
    if (o->a == NULL || o->b == NULL || o->d == NULL ||
        (o->bias == NULL) != (p->bias_type == LT_GEMM_NONE) ||
        (o->residual == NULL) != (p->residual_type == LT_GEMM_NONE)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "operands of a product do not match its plan");
    }
    if (!is_aligned(o->a, 16) || !is_aligned(o->b, 16)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID,
                                 "factors of a product are not aligned on 16 bytes");
    }
    if ((o->scale == NULL) != (p->bytes == 0 || p->out_type == LT_GEMM_I32) ||
        ((o->offset != NULL || o->x_scale != NULL || o->x_zero != NULL) && p->bytes == 0) ||
        (o->x_zero != NULL && o->offset == NULL) || !is_aligned(o->scale, 4) ||
        !is_aligned(o->offset, 4) || !is_aligned(o->x_scale, 4)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "scales and offsets are for bytes");
    }
    if ((o->norm_scale == NULL || o->norm_bias == NULL || o->moments == NULL ||
         o->meetings == NULL) != (p->norms == 0)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "scale and bias are for products with norms");
    }
    if (p->norms && (!is_aligned(o->d, 16) || !is_aligned(o->residual, 16) ||
                     !is_aligned(o->norm_scale, 2) || !is_aligned(o->norm_bias, 2) ||
                     !is_aligned(o->moments, 8) || !is_aligned(o->meetings, 4))) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "operand of a norm is not aligned");
    }
    if (!is_aligned(o->d, lt_cuda_gemm_type_bytes(p->out_type)) ||
        !is_aligned(o->bias, lt_cuda_gemm_type_bytes(p->bias_type)) ||
        !is_aligned(o->residual, lt_cuda_gemm_type_bytes(p->residual_type))) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "operand of a product is not aligned");
    }
    return LEAT_OK;
}

int lt_cuda_gemm_enqueue(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan, void *function,
                         void *params, void *stream)
{
    launch_attribute attributes[2] = {
        {.id = ATTRIBUTE_CLUSTER, .value.cluster = {plan->cluster, 1, 1}},
        {.id = ATTRIBUTE_OVERLAP, .value.overlap = 1},
    };
    launch_config config = {
        .grid = {plan->grid, 1, 1},
        .block = {plan->threads, 1, 1},
        .shared_bytes = plan->shared_bytes,
        .stream = stream,
        .attributes = attributes,
        .n_attributes = plan->overlap ? 2 : 1,
    };
    void *arguments[1] = {params};
    return gemm->driver.launch_kernel_ex(&config, function, arguments, NULL);
}

leat_status lt_cuda_gemm_launch(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                                const lt_cuda_gemm_operands *operands, void *stream,
                                leat_error *err)
{
    lt_cuda_gemm_params params = plan->params;
    leat_status status = check_operands(&params, operands, err);
    if (status != LEAT_OK) {
        return status;
    }
    params.d = (uint64_t)(uintptr_t)operands->d;
    params.bias = (uint64_t)(uintptr_t)operands->bias;
    params.residual = (uint64_t)(uintptr_t)operands->residual;
    params.offset = (uint64_t)(uintptr_t)operands->offset;
    params.column_scale = (uint64_t)(uintptr_t)operands->scale;
    params.x_scale = (uint64_t)(uintptr_t)operands->x_scale;
    params.x_zero = (uint64_t)(uintptr_t)operands->x_zero;
    params.norm_scale = (uint64_t)(uintptr_t)operands->norm_scale;
    params.norm_bias = (uint64_t)(uintptr_t)operands->norm_bias;
    params.moments = (uint64_t)(uintptr_t)operands->moments;
    params.meetings = (uint64_t)(uintptr_t)operands->meetings;
    params.wide = params.wide && is_aligned(operands->d, 16);
    params.residual_wide = params.residual_wide && is_aligned(operands->residual, 16);
    const lt_cuda_gemm_driver *driver = &gemm->driver;
    int result = driver->tensor_map_replace_address(&params.a, (void *)(uintptr_t)operands->a);
    if (!params.residual_wide) {
        params.residual_stages = 0;
    }
    if (result == 0 && params.residual_stages > 0) { /* by the stages, and not again at the end */
        params.residual_type = LT_GEMM_NONE;
        params.residual_wide = 0;
        result =
            driver->tensor_map_replace_address(&params.r, (void *)(uintptr_t)operands->residual);
    }
    if (result == 0) {
        result = driver->tensor_map_replace_address(&params.b, (void *)(uintptr_t)operands->b);
    }
    params.by_engine = params.by_engine && params.wide && params.residual_type == LT_GEMM_NONE;
    if (result == 0 && params.by_engine) {
        result = driver->tensor_map_replace_address(&params.y, (void *)(uintptr_t)operands->d);
    }
    if (result == 0) {
        result = lt_cuda_gemm_enqueue(gemm, plan, gemm->functions[plan->kernel], &params, stream);
    }
    if (result != 0) {
        return lt_cuda_gemm_fail(err, LEAT_DEVICE_LOST, "launch of %s: CUDA error %d",
                                 lt_cuda_gemm_kernel_name(plan->kernel), result);
    }
    return LEAT_OK;
}

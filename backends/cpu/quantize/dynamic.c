/* SPDX-License-Identifier: Apache-2.0 */
/* DynamicQuantizeLinear:  scale = (max(x, 0) - min(x, 0)) / 255,
 *                         zero_point = round(saturate(-min / scale)),  y = u8(x).
 * Two passes over x, both in parallel: its range, piece by piece into the workspace; then the
 * quantization. A range of nothing but 0 has the scale 1. */
#include "quantize/quantize.h"

#include <math.h>

#define PIECE 16384 /* elements of a partial range */

typedef struct dynamic_state {
    const lt_quant_kernels *kernels;
    int64_t count;
} dynamic_state;

typedef struct dynamic_job {
    const dynamic_state *state;
    const float *x;
    uint8_t *y;
    float *ranges; /* low, high of each piece */
    float scale;
    int32_t zero;
} dynamic_job;

static void run_range(void *argument, int64_t begin, int64_t end)
{
    const dynamic_job *job = argument;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = job->state->count - i * PIECE;
        job->state->kernels->range(job->x + i * PIECE, rest < PIECE ? rest : PIECE,
                                   &job->ranges[2 * i], &job->ranges[2 * i + 1]);
    }
}

static void run_quantize(void *argument, int64_t begin, int64_t end)
{
    const dynamic_job *job = argument;
    job->state->kernels->to_u8(job->y + begin, job->x + begin, end - begin, job->scale, job->zero);
}

static leat_status launch_dynamic(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const dynamic_state *state = opaque;
    dynamic_job job = {state, args->inputs[0], args->outputs[0], args->workspace, 1.0f, 0};
    int64_t pieces = (state->count + PIECE - 1) / PIECE;
    float low = 0.0f, high = 0.0f;
    lt_cpu_parallel_range(args, pieces, 1, 4.0 * PIECE, run_range, &job);
    for (int64_t i = 0; i < pieces; i++) {
        low = job.ranges[2 * i] < low ? job.ranges[2 * i] : low;
        high = job.ranges[2 * i + 1] > high ? job.ranges[2 * i + 1] : high;
    }
    if (high > low) {
        job.scale = (high - low) / 255.0f;
        float zero = 0.0f - low / job.scale;
        zero = zero > 0.0f ? zero : 0.0f;
        job.zero = (int32_t)nearbyintf(zero < 255.0f ? zero : 255.0f);
    }
    lt_cpu_parallel_range(args, state->count, 64, 5.0, run_quantize, &job);
    *(float *)args->outputs[1] = job.scale;
    *(uint8_t *)args->outputs[2] = (uint8_t)job.zero;
    return LEAT_OK;
}

leat_status lt_cpu_dynamic_quantize_supports(const leat_kernel_node *node, leat_error *err)
{
    if (leat_kernel_output(node, 0) == NULL || leat_kernel_output(node, 1) == NULL ||
        leat_kernel_output(node, 2) == NULL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': all three outputs are needed",
                           node->node->op, node->node->name);
    }
    return LEAT_OK;
}

leat_status lt_cpu_dynamic_quantize_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *y = leat_kernel_output(node, 0);
    dynamic_state *state = host->plan_alloc(plan, sizeof(*state));
    if (state == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s node '%s': no memory for its plan",
                           node->node->op, node->node->name);
    }
    state->kernels = lt_quant_pick(cpu->isa);
    state->count = leat_value_count(leat_kernel_input(node, 0));
    if (leat_value_count(y) != state->count || y->dtype != LEAT_DTYPE_U8 ||
        leat_kernel_output(node, 1)->dtype != LEAT_DTYPE_F32 ||
        leat_kernel_output(node, 2)->dtype != LEAT_DTYPE_U8) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': its outputs must be u8, f32 and u8",
                           node->node->op, node->node->name);
    }
    out_kernel->name = "dynamic_quantize_linear";
    out_kernel->launch = launch_dynamic;
    out_kernel->state = state;
    out_kernel->workspace_bytes = (size_t)(state->count / PIECE + 1) * 2 * sizeof(float);
    return LEAT_OK;
}

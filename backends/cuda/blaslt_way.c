/* SPDX-License-Identifier: Apache-2.0 */
#include "blaslt_way.h"

#include <stdlib.h>

/* From so many operations on its first proposal is taken where nothing is measured: on an H100
 * BERT-large (384 tokens, f16) then takes 1.32 ms instead of 1.44, of 8 sequences 4.21 instead of
 * 4.69, of 32 15.7 instead of 16.0, of 64 31.4 instead of 32.3; a product of 16 x 4096 x 4096 15.3
 * us instead of 21.8. For less, loading the library (100 to 200 ms, 280 MB of the host's memory) is
 * not worth it. */
#define WORTH_LOOKING 5e8
/* Of the kernels of plain cores, to compare with. */
#define PLAIN_FLOPS_PER_NS 1e4

typedef struct way_state {
    lt_cuda_blaslt_plan plan;
    const lt_cuda_device *device;
    lt_cuda_tensor_inputs inputs;
    leat_status (*own)(const void *state, const leat_kernel_args *args, leat_error *err);
    const void *own_state;
} way_state;

static const void *input_of(const leat_kernel_args *args, int32_t input)
{
    return input < 0 ? NULL : args->inputs[input];
}

static leat_status launch(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const way_state *state = opaque;
    const lt_cuda_device *device = state->device;
    lt_cuda_stream *stream = args->stream;
    const lt_cuda_tensor_inputs *in = &state->inputs;
    const lt_cuda_gemm_operands operands = {
        .a = input_of(args, in->a),
        .b = in->packed_b ? in->packed_b : input_of(args, in->b),
        .bias = input_of(args, in->bias),
        .residual = input_of(args, in->residual),
        .d = args->outputs[0],
    };
    if (!lt_cuda_blaslt_fits(&operands)) {
        return state->own(state->own_state, args, err);
    }
    leat_status status = lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                                       "taking the device", err);
    void *counter = status ? NULL : lt_cuda_counters_take(stream, state->plan.workspace_bytes);
    return status ? status
                  : lt_cuda_blaslt_launch(device, &state->plan, &operands,
                                          counter ? counter : args->workspace, stream->queue, err);
}

/* Of leat_way. */
static leat_status prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                           leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                           leat_error *err)
{
    const lt_cuda_blaslt_way *w = argument;
    leat_kernel own = *w->b->kernel;
    leat_status status = LEAT_OK;
    if (w->own != NULL) {
        own = (leat_kernel){.name = NULL};
        status = w->own->prepare(node, device, host, plan, w->own->argument, &own, err);
    }
    way_state *state = status == LEAT_OK ? host->plan_alloc(plan, sizeof(*state)) : NULL;
    if (state == NULL) {
        return status ? status : lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a plan");
    }
    *state = (way_state){
        .device = w->b->device, .inputs = *w->inputs, .own = own.launch, .own_state = own.state};
    status = lt_cuda_blaslt_plan_product(w->b->device, w->desc, w->proposal, &state->plan, err);
    if (status != LEAT_OK) {
        return status;
    }
    out_kernel->launch = launch;
    out_kernel->state = state;
    out_kernel->name = "cublaslt";
    out_kernel->workspace_bytes = state->plan.workspace_bytes > own.workspace_bytes
                                      ? state->plan.workspace_bytes
                                      : own.workspace_bytes;
    out_kernel->unread_mask = w->b->kernel->unread_mask;
    return LEAT_OK;
}

static double operations(const lt_cuda_gemm_desc *d)
{
    return 2.0 * (double)d->m * (double)d->n * (double)d->k * (double)d->batch;
}

static bool is_preferred(void)
{
    const char *wanted = getenv("LEAT_CUBLASLT");
    return wanted != NULL && strcmp(wanted, "prefer") == 0;
}

uint32_t lt_cuda_blaslt_offer(const lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                              const lt_cuda_tensor_inputs *inputs, const leat_way *own,
                              double own_ns, leat_way *out_ways, lt_cuda_blaslt_way *out_arguments)
{
    static const char *const names[LT_CUDA_BLASLT_WAYS] = {"cublaslt.1", "cublaslt.2", "cublaslt.3",
                                                           "cublaslt.4"};
    const bool measures = b->host->plan_options(b->plan)->measures != 0;
    const bool wanted = is_preferred() || operations(desc) >= WORTH_LOOKING;
    uint32_t count = 0, most = measures ? LT_CUDA_BLASLT_WAYS : 1;
    lt_cuda_blaslt_plan plan;
    if (!lt_cuda_blaslt_takes(desc) || inputs->a < 0 || inputs->packed_bias != NULL || !wanted) {
        return 0;
    }
    while (count < most &&
           lt_cuda_blaslt_plan_product(b->device, desc, count, &plan, NULL) == LEAT_OK) {
        out_arguments[count] = (lt_cuda_blaslt_way){b, desc, inputs, count, own};
        out_ways[count] = (leat_way){.name = names[count],
                                     .cost_ns = count == 0 ? own_ns / 2 : own_ns,
                                     .prepare = prepare,
                                     .argument = &out_arguments[count]};
        count++;
    }
    return count;
}

/* Of leat_way: the builder's launches. */
static leat_status keep(const leat_kernel_node *node, void *device, const leat_host *host,
                        leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                        leat_error *err)
{
    const lt_cuda_builder *b = argument;
    (void)node, (void)device, (void)host, (void)plan, (void)err;
    *out_kernel = *b->kernel;
    return LEAT_OK;
}

leat_status lt_cuda_blaslt_instead(lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                                   const lt_cuda_tensor_inputs *inputs)
{
    const double own_ns = operations(desc) / PLAIN_FLOPS_PER_NS;
    lt_cuda_blaslt_way arguments[LT_CUDA_BLASLT_WAYS];
    leat_way ways[1 + LT_CUDA_BLASLT_WAYS] = {
        {.name = "own", .cost_ns = own_ns, .prepare = keep, .argument = b}};
    uint32_t count = lt_cuda_blaslt_offer(b, desc, inputs, NULL, own_ns, ways + 1, arguments);
    return count == 0 ? LEAT_OK
                      : b->host->plan_choose(b->plan, b->node, ways, 1 + count, b->kernel, b->err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leat's MatMulNorm: LayerNormalization of the rows of a MatMul with a residual. In one kernel
 * where gemm/ has one that gains, else the product's kernels and one more on its result. */
#include "cuda.h"
#include "rows.h"
#include "tensor.h"

/* Inputs. */
enum {
    A = 0,
    B = 1,
    BIAS = 2,
    NORM_SCALE = 3,
    NORM_BIAS = 4,
    RESIDUAL = 5
};

/* Words by which blocks meet, of every node alike: as many rows times 128. */
#define MEETING_BYTES 4096
/* Beyond it cuBLASLt's product and a kernel for the rows are better: at its limit of power an H100
 * takes 15.14 ms for BERT-large (32 x 384) with the products of k 1024 here and those of 4096
 * there, 15.43 with both there, 15.35 with both here; without cuBLASLt 15.65 and, here, 15.34. */
#define MOST_K 2048

typedef struct norm_state {
    lt_cuda_gemm_plan plan; /* first: it is aligned on 64 bytes, as the block is */
    const lt_cuda_device *device;
    const void *meetings;      /* NULL: there is no plan */
    leat_kernel product, norm; /* where it is not one kernel */
} norm_state;

leat_status lt_cuda_product_norm_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, A), *b = leat_kernel_input(node, B);
    const leat_value *bias = leat_kernel_input(node, BIAS);
    bool alike = leat_kernel_output(node, 0)->dtype == a->dtype && a->rank >= 2 && b->rank == 2;
    for (uint32_t i = 1; i < node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        alike = alike && (value == NULL ? i == BIAS : value->dtype == a->dtype);
    }
    if (!alike || b->data == NULL || leat_kernel_input(node, NORM_SCALE)->data == NULL ||
        (bias != NULL && bias->data == NULL)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: MatMulNorm: not in this form");
    }
    return lt_cuda_fits(node, err);
}

static leat_status launch(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const norm_state *state = opaque;
    const lt_cuda_device *device = state->device;
    lt_cuda_stream *stream = args->stream;
    const lt_cuda_gemm_operands operands = {
        .a = args->inputs[A],
        .b = args->inputs[B],
        .bias = args->inputs[BIAS],
        .residual = args->inputs[RESIDUAL],
        .d = args->outputs[0],
        .norm_scale = args->inputs[NORM_SCALE],
        .norm_bias = args->inputs[NORM_BIAS],
        .moments = args->workspace,
        .meetings = (void *)(uintptr_t)state->meetings,
    };
    const uintptr_t addresses = (uintptr_t)operands.a | (uintptr_t)operands.b |
                                (uintptr_t)operands.residual | (uintptr_t)operands.d;
    const lt_cuda_gemm *gemm = lt_cuda_tensor_gemm(device);
    if (state->meetings == NULL || addresses % 16 != 0 ||
        !lt_cuda_gemm_norm_may_wait(gemm, &state->plan, &stream->device->waiting,
                                    &stream->waiting)) {
        leat_status status = state->product.launch(state->product.state, args, err);
        return status ? status : state->norm.launch(state->norm.state, args, err);
    }
    leat_status status = lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                                       "taking the device", err);
    return status ? status : lt_cuda_gemm_launch(gemm, &state->plan, &operands, stream->queue, err);
}

static leat_status fill_zeros(void *out, size_t bytes, const leat_value *constant,
                              const void *argument, leat_error *err)
{
    (void)constant, (void)argument, (void)err;
    memset(out, 0, bytes);
    return LEAT_OK;
}

/* Plans the one kernel, where it gains. Its meetings are this state's own: two sessions of a model
 * may run at one time. */
static leat_status plan_one(lt_cuda_builder *b, float epsilon, norm_state *state)
{
    const lt_cuda_gemm *gemm = lt_cuda_tensor_gemm(b->device);
    lt_cuda_gemm_desc desc;
    if (gemm == NULL || !lt_cuda_matmul_desc(b, &desc) ||
        (desc.k > MOST_K && strcmp(state->product.name, "cublaslt") == 0) ||
        lt_cuda_gemm_plan_norm(gemm, &desc, epsilon, &state->plan, NULL) != LEAT_OK ||
        lt_cuda_gemm_norm_meetings(&state->plan) > MEETING_BYTES) {
        return LEAT_OK;
    }
    return b->host->plan_pack(b->plan, leat_kernel_input(b->node, NORM_SCALE),
                              (uint64_t)(uintptr_t)state, MEETING_BYTES, fill_zeros, NULL,
                              &state->meetings, b->err);
}

leat_status lt_cuda_product_norm_prepare(const leat_kernel_node *node, void *device,
                                         const leat_host *host, leat_plan *plan,
                                         leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const float epsilon = leat_node_float(node->node, "epsilon", 1e-5f);
    norm_state *state = host->plan_alloc(plan, sizeof(*state));
    if (state == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a plan");
    }
    state->device = device;
    leat_status status = lt_cuda_matmul_prepare(node, device, host, plan, &state->product, err);
    *out_kernel = state->product;
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    status = lt_cuda_begin(&b, node, device, host, plan, &state->norm, 1, err);
    status = status ? status : lt_cuda_add_norm(&b, epsilon, NORM_SCALE, NORM_BIAS);
    status = status ? status : plan_one(&b, epsilon, state);
    out_kernel->launch = launch;
    out_kernel->state = state;
    if (state->meetings != NULL) {
        const size_t moments = lt_cuda_gemm_norm_moments(&state->plan);
        out_kernel->name = lt_cuda_gemm_kernel_name(state->plan.kernel);
        out_kernel->unread_mask = 0;
        out_kernel->workspace_bytes =
            moments > out_kernel->workspace_bytes ? moments : out_kernel->workspace_bytes;
    }
    return status;
}

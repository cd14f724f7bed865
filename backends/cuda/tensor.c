/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor.h"

/* The kernels' functions of one variable are numbered alike. */
_Static_assert((int)LT_GEMM_RELU == (int)LT_GPU_RELU &&
                   (int)LT_GEMM_LEAKY_RELU == (int)LT_GPU_LEAKY_RELU &&
                   (int)LT_GEMM_GELU == (int)LT_GPU_GELU &&
                   (int)LT_GEMM_SCALED_HARD_SWISH == (int)LT_GPU_SCALED_HARD_SWISH,
               "activations of gpu/params/common.h and gemm/params.h");

typedef struct lt_cuda_tensor {
    lt_cuda_gemm gemm;
    lt_cuda_stream_kernels stream;
    lt_cuda_attend_kernels attend;
    cu_module modules[LT_GEMM_N_MODULES];
} lt_cuda_tensor;

typedef struct tensor_state {
    /* First: they are aligned on 64 bytes, as the block is. Where a stream is planned, too, it is
     * taken unless the results' addresses are not for it. */
    lt_cuda_gemm_plan plan;
    lt_cuda_stream_plan stream;
    bool is_stream;
    const lt_cuda_device *device;
    lt_cuda_tensor_inputs inputs;
    /* The node's other launches, where they fill the workspace; else NULL. */
    leat_status (*before)(const void *state, const leat_kernel_args *args, leat_error *err);
    const void *before_state;
} tensor_state;

#define CAPABILITY 90

void lt_cuda_tensor_close(lt_cuda_device *device)
{
    lt_cuda_tensor *tensor = device->tensor;
    if (tensor == NULL) {
        return;
    }
    for (int i = 0; i < LT_GEMM_N_MODULES; i++) {
        if (tensor->modules[i] != NULL) {
            (void)device->cu->module_unload(tensor->modules[i]);
        }
    }
    device->host->free(device->host->context, tensor, sizeof(*tensor));
    device->tensor = NULL;
}

leat_status lt_cuda_tensor_open(lt_cuda_device *device, leat_error *err)
{
    const lt_cuda_driver *cu = device->cu;
    const lt_cuda_gemm_driver driver = {
        .module_get_function = cu->module_get_function,
        .func_set_attribute = cu->func_set_attribute,
        .tensor_map_encode_tiled = cu->tensor_map_encode_tiled,
        .tensor_map_encode_im2col = cu->tensor_map_encode_im2col,
        .tensor_map_replace_address = cu->tensor_map_replace_address,
        .launch_kernel_ex = cu->launch_kernel_ex,
    };
    device->tensor = NULL;
    if (device->capability != CAPABILITY) {
        return LEAT_OK;
    }
    lt_cuda_tensor *tensor = device->host->alloc(device->host->context, sizeof(*tensor), 64);
    if (tensor == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a device");
    }
    memset(tensor, 0, sizeof(*tensor));
    device->tensor = tensor;
    const unsigned char *const kernels[LT_GEMM_N_MODULES] = {
        lt_cuda_gemm_f16_kernels, lt_cuda_gemm_bf16_kernels, lt_cuda_gemm_i8_kernels,
        lt_cuda_gemm_u8_kernels, lt_cuda_gemm_tf32_kernels};
    cu_result result = 0;
    for (int i = 0; i < LT_GEMM_N_MODULES && result == 0; i++) {
        result = cu->module_load_data(&tensor->modules[i], kernels[i]);
    }
    leat_status status = lt_cuda_check(cu, result, "loading the tensor cores' kernels", err);
    if (status == LEAT_OK) {
        status =
            lt_cuda_gemm_open(&driver, tensor->modules, device->processors, &tensor->gemm, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_open_resident(&tensor->gemm, tensor->modules, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_stream_open(&tensor->gemm, tensor->modules, &tensor->stream, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_attend_open(&tensor->gemm, tensor->modules, &tensor->attend, err);
    }
    if (status != LEAT_OK) {
        lt_cuda_tensor_close(device);
    }
    return status;
}

bool lt_cuda_tensor_takes(const lt_cuda_builder *b, leat_dtype dtype)
{
    return b->device->tensor != NULL &&
           ((LT_CUDA_HALVES >> dtype & 1) != 0 ||
            (dtype == LEAT_DTYPE_F32 &&
             b->host->plan_options(b->plan)->precision == LEAT_PRECISION_TF32));
}

static const void *input_of(const leat_kernel_args *args, int32_t input)
{
    return input == LT_CUDA_TENSOR_WORKSPACE ? args->workspace
           : input < 0                       ? NULL
                                             : args->inputs[input];
}

static leat_status launch(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const tensor_state *state = opaque;
    const lt_cuda_device *device = state->device;
    const lt_cuda_stream *stream = args->stream;
    const lt_cuda_tensor_inputs *in = &state->inputs;
    const lt_cuda_gemm_operands operands = {
        .a = input_of(args, in->a),
        .b = in->packed_b ? in->packed_b : input_of(args, in->b),
        .bias = in->packed_bias ? in->packed_bias : input_of(args, in->bias),
        .residual = input_of(args, in->residual),
        .d = args->outputs[0],
        .offset = in->offset,
        .scale = in->scale,
        .x_scale = in->scaled ? input_of(args, in->x_scale) : NULL,
        .x_zero = in->scaled ? input_of(args, in->x_zero) : NULL,
    };
    leat_status status =
        state->before ? state->before(state->before_state, args, err)
                      : lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                                      "taking the device", err);
    if (status != LEAT_OK) {
        return status;
    }
    const uintptr_t results = (uintptr_t)operands.d | (uintptr_t)operands.residual;
    return state->is_stream && results % 16 == 0
               ? lt_cuda_stream_launch(&device->tensor->stream, &state->stream, &operands, NULL,
                                       stream->queue, err)
               : lt_cuda_gemm_launch(&device->tensor->gemm, &state->plan, &operands, stream->queue,
                                     err);
}

typedef struct pair_state {
    lt_cuda_stream_plan plan; /* first: it is aligned on 64 bytes, as the block is */
    const lt_cuda_device *device;
    lt_cuda_tensor_inputs inputs[2];
} pair_state;

static leat_status launch_pair(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const pair_state *state = opaque;
    const lt_cuda_device *device = state->device;
    const lt_cuda_stream *stream = args->stream;
    lt_cuda_gemm_operands operands[2];
    for (int i = 0; i < 2; i++) {
        const lt_cuda_tensor_inputs *in = &state->inputs[i];
        operands[i] = (lt_cuda_gemm_operands){.a = input_of(args, in->a),
                                              .b = input_of(args, in->b),
                                              .bias = input_of(args, in->bias)};
    }
    operands[0].d = args->outputs[0];
    leat_status status = lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                                       "taking the device", err);
    return status ? status
                  : lt_cuda_stream_launch(&device->tensor->stream, &state->plan, &operands[0],
                                          &operands[1], stream->queue, err);
}

bool lt_cuda_tensor_conv_pair(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc desc[2],
                              const lt_cuda_tensor_inputs inputs[2])
{
    const lt_cuda_tensor *tensor = b->device->tensor;
    lt_cuda_stream_plan plan;
    if (tensor == NULL ||
        lt_cuda_stream_plan_conv(&tensor->stream, &desc[0], &desc[1], &plan, NULL) != LEAT_OK) {
        return false;
    }
    pair_state *state = b->host->plan_alloc(b->plan, sizeof(*state));
    if (state == NULL) {
        return false;
    }
    *state = (pair_state){.plan = plan, .device = b->device, .inputs = {inputs[0], inputs[1]}};
    b->kernel->launch = launch_pair;
    b->kernel->state = state;
    b->kernel->name = lt_cuda_stream_kernel_name(plan.kernel);
    return true;
}

/* Makes a plan the node's kernel; stream: NULL, or the same for the launches that it takes. */
static bool keep(lt_cuda_builder *b, const lt_cuda_gemm_plan *plan,
                 const lt_cuda_stream_plan *stream, const lt_cuda_tensor_inputs *inputs)
{
    tensor_state *state = b->host->plan_alloc(b->plan, sizeof(*state));
    if (state == NULL) {
        return false;
    }
    state->plan = *plan;
    state->is_stream = stream != NULL;
    if (stream != NULL) {
        state->stream = *stream;
    }
    state->device = b->device;
    state->inputs = *inputs;
    if (inputs->a == LT_CUDA_TENSOR_WORKSPACE) {
        state->before = b->kernel->launch;
        state->before_state = b->kernel->state;
    }
    b->kernel->launch = launch;
    b->kernel->state = state;
    b->kernel->name = stream ? lt_cuda_stream_kernel_name(stream->kernel)
                             : lt_cuda_gemm_kernel_name(plan->kernel);
    b->kernel->workspace_bytes = 0;
    return true;
}

bool lt_cuda_tensor_product(lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                            const lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_tensor *tensor = b->device->tensor;
    lt_cuda_gemm_plan plan;
    if (tensor == NULL || lt_cuda_gemm_plan_product(&tensor->gemm, desc, &plan, NULL) != LEAT_OK) {
        return false;
    }
    (void)lt_cuda_gemm_resident_product(&tensor->gemm, desc, 0, &plan);
    return keep(b, &plan, NULL, inputs);
}

typedef struct attention_state {
    lt_cuda_attend_plan plan; /* first: it is aligned on 64 bytes, as the block is */
    const lt_cuda_device *device;
    lt_cuda_attention_inputs inputs;
    leat_status (*other)(const void *state, const leat_kernel_args *args, leat_error *err);
    const void *other_state;
} attention_state;

static leat_status launch_attention(const void *opaque, const leat_kernel_args *args,
                                    leat_error *err)
{
    const attention_state *state = opaque;
    const lt_cuda_device *device = state->device;
    const lt_cuda_stream *stream = args->stream;
    const lt_cuda_attention_inputs *in = &state->inputs;
    const lt_cuda_attend_operands operands = {
        .q = args->inputs[0],
        .k = (const char *)args->inputs[in->k] + in->k_bytes,
        .v = (const char *)args->inputs[in->v] + in->v_bytes,
        .mask = in->mask < 0 ? NULL : args->inputs[in->mask],
        .y = args->outputs[0],
    };
    if (((uintptr_t)operands.q | (uintptr_t)operands.k | (uintptr_t)operands.v |
         (uintptr_t)operands.y) %
            16 !=
        0) {
        return state->other(state->other_state, args, err);
    }
    leat_status status = lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                                       "taking the device", err);
    return status ? status
                  : lt_cuda_attend_launch(&device->tensor->attend, &state->plan, &operands,
                                          stream->queue, err);
}

bool lt_cuda_tensor_attention(lt_cuda_builder *b, const lt_gpu_attention *p, leat_dtype dtype,
                              const lt_cuda_attention_inputs *inputs)
{
    const lt_cuda_tensor *tensor = b->device->tensor;
    lt_cuda_attend_plan plan;
    if (tensor == NULL ||
        lt_cuda_attend_plan_make(&tensor->attend, p, dtype, &plan, NULL) != LEAT_OK ||
        !lt_cuda_attend_is_faster(&tensor->attend, &plan)) {
        return false;
    }
    attention_state *state = b->host->plan_alloc(b->plan, sizeof(*state));
    if (state == NULL) {
        return false;
    }
    *state = (attention_state){.plan = plan,
                               .device = b->device,
                               .inputs = *inputs,
                               .other = b->kernel->launch,
                               .other_state = b->kernel->state};
    b->kernel->launch = launch_attention;
    b->kernel->state = state;
    b->kernel->name = lt_cuda_attend_kernel_name(plan.kernel);
    return true;
}

lt_cuda_gemm_conv_desc lt_cuda_tensor_conv_desc(const lt_gpu_window *w, int32_t bottom,
                                                int32_t right)
{
    return (lt_cuda_gemm_conv_desc){
        .scale = 1,
        .h = w->height,
        .w = w->width,
        .kh = w->kernel_h,
        .kw = w->kernel_w,
        .stride_h = w->stride_h,
        .stride_w = w->stride_w,
        .dilation_h = w->dilation_h,
        .dilation_w = w->dilation_w,
        .pad = {w->pad_top, w->pad_left, bottom, right},
        .overlap = 1,
    };
}

bool lt_cuda_tensor_conv(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *desc,
                         const lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_tensor *tensor = b->device->tensor;
    lt_cuda_gemm_plan plan;
    lt_cuda_stream_plan stream;
    if (tensor == NULL || lt_cuda_gemm_plan_conv(&tensor->gemm, desc, &plan, NULL) != LEAT_OK) {
        return false;
    }
    (void)lt_cuda_gemm_resident_conv(&tensor->gemm, desc, 0, &plan);
    bool streams =
        lt_cuda_stream_plan_conv(&tensor->stream, desc, NULL, &stream, NULL) == LEAT_OK &&
        lt_cuda_stream_is_faster(&tensor->stream, &plan, &stream);
    return keep(b, &plan, streams ? &stream : NULL, inputs);
}

bool lt_cuda_tensor_activation(const lt_gpu_activation *activation, int32_t *out)
{
    *out = activation->function;
    return activation->function < (int32_t)LT_GEMM_N_ACTIVATIONS;
}

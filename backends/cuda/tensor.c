/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor.h"

#include "blaslt_way.h"

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

const lt_cuda_gemm *lt_cuda_tensor_gemm(const lt_cuda_device *device)
{
    return device->tensor == NULL ? NULL : &device->tensor->gemm;
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

/* ---- ways to compute a node --------------------------------------------------------------------
 */

/* A product or a convolution, the other being NULL. */
typedef struct job {
    const lt_cuda_builder *b;
    const lt_cuda_gemm_desc *product;
    const lt_cuda_gemm_conv_desc *conv;
    const lt_cuda_tensor_inputs *inputs;
} job;

/* The kernels' plans; stream where the job takes that one. */
typedef struct planned {
    lt_cuda_gemm_plan plan;
    lt_cuda_stream_plan stream;
    bool is_stream;
} planned;

typedef enum how {
    BY_ESTIMATE, /* one of the others */
    BY_CUT,
    BY_RESIDENT,
    BY_STREAM
} how;

typedef struct job_way {
    const job *job;
    how how;
    uint32_t tile, splits; /* as in lt_cuda_gemm_desc */
} job_way;

static leat_status plan_product(const job_way *w, planned *out, leat_error *err)
{
    const lt_cuda_gemm *gemm = &w->job->b->device->tensor->gemm;
    lt_cuda_gemm_desc desc = *w->job->product;
    desc.tile = w->tile;
    desc.splits = w->splits;
    leat_status status = lt_cuda_gemm_plan_product(gemm, &desc, &out->plan, err);
    if (status != LEAT_OK || w->how == BY_CUT) {
        return status;
    }
    int resident = lt_cuda_gemm_resident_product(gemm, &desc, w->how == BY_RESIDENT, &out->plan);
    return resident || w->how == BY_ESTIMATE ? LEAT_OK : LEAT_UNSUPPORTED;
}

static leat_status plan_conv(const job_way *w, planned *out, leat_error *err)
{
    const lt_cuda_tensor *tensor = w->job->b->device->tensor;
    lt_cuda_gemm_conv_desc desc = *w->job->conv;
    desc.tile = w->how == BY_STREAM ? 0 : w->tile;
    desc.splits = w->splits;
    leat_status status = lt_cuda_gemm_plan_conv(&tensor->gemm, &desc, &out->plan, err);
    if (status != LEAT_OK || w->how == BY_CUT) {
        return status;
    }
    if (w->how == BY_RESIDENT || w->how == BY_ESTIMATE) {
        int resident =
            lt_cuda_gemm_resident_conv(&tensor->gemm, &desc, w->how == BY_RESIDENT, &out->plan);
        if (w->how == BY_RESIDENT) {
            return resident ? LEAT_OK : LEAT_UNSUPPORTED;
        }
    }
    desc.tile = w->tile;
    status = lt_cuda_stream_plan_conv(&tensor->stream, &desc, NULL, &out->stream, NULL);
    out->is_stream =
        status == LEAT_OK && (w->how == BY_STREAM ||
                              lt_cuda_stream_is_faster(&tensor->stream, &out->plan, &out->stream));
    return w->how == BY_ESTIMATE ? LEAT_OK : status;
}

static leat_status plan_way(const job_way *w, planned *out, leat_error *err)
{
    out->is_stream = false;
    return w->job->product != NULL ? plan_product(w, out, err) : plan_conv(w, out, err);
}

/* Of leat_way: makes a way's plan the kernel. One that is not the builder's is for a measurement:
 * it is without the launches before, whatever the workspace then holds. */
static leat_status prepare_way(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                               leat_error *err)
{
    const job_way *w = argument;
    const lt_cuda_builder *b = w->job->b;
    const lt_cuda_tensor_inputs *inputs = w->job->inputs;
    planned p;
    (void)node, (void)device;
    leat_status status = plan_way(w, &p, err);
    tensor_state *state = status == LEAT_OK ? host->plan_alloc(plan, sizeof(*state)) : NULL;
    if (state == NULL) {
        return status ? status : lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a plan");
    }
    state->plan = p.plan;
    state->is_stream = p.is_stream;
    if (p.is_stream) {
        state->stream = p.stream;
    }
    state->device = b->device;
    state->inputs = *inputs;
    if (inputs->a == LT_CUDA_TENSOR_WORKSPACE && out_kernel == b->kernel) {
        state->before = b->kernel->launch;
        state->before_state = b->kernel->state;
    }
    out_kernel->launch = launch;
    out_kernel->state = state;
    out_kernel->name = p.is_stream ? lt_cuda_stream_kernel_name(p.stream.kernel)
                                   : lt_cuda_gemm_kernel_name(p.plan.kernel);
    out_kernel->workspace_bytes = inputs->workspace_bytes;
    out_kernel->unread_mask = b->kernel->unread_mask;
    return LEAT_OK;
}

#define MOST_CUTS 12
#define MOST_WAYS (1 + MOST_CUTS + 1 + LT_STREAM_N_TILES + LT_CUDA_BLASLT_WAYS)

typedef struct offer {
    leat_way ways[MOST_WAYS];
    job_way arguments[MOST_WAYS];
    lt_cuda_blaslt_way blaslt[LT_CUDA_BLASLT_WAYS];
    size_t count;
} offer;

static void add_way(offer *o, const char *name, double cost_ns, job_way argument)
{
    const double least = o->count ? o->ways[0].cost_ns : 0; /* without measuring, the first wins */
    job_way *kept = &o->arguments[o->count];
    *kept = argument;
    o->ways[o->count++] = (leat_way){
        .name = name,
        .cost_ns = cost_ns > least ? cost_ns : least,
        .prepare = prepare_way,
        .argument = kept,
    };
}

/* What there is beside the choice by estimates. */
static void add_others(offer *o, const job *of)
{
#define CUT_NAMES(rows, columns, stages)                                                           \
    {#rows "x" #columns ".1", #rows "x" #columns ".2", #rows "x" #columns ".3",                    \
     #rows "x" #columns ".4", #rows "x" #columns ".5", #rows "x" #columns ".6",                    \
     #rows "x" #columns ".7", #rows "x" #columns ".8"},
#define STREAM_NAME(columns, blocks) "stream." #columns "." #blocks,
    static const char *const cut_names[LT_GEMM_N_ALL_TILES][LT_GEMM_MAX_SPLIT] = {
        LT_GEMM_TILES(CUT_NAMES) LT_GEMM_TURN_TILES(CUT_NAMES)};
    static const char *const stream_names[LT_STREAM_N_TILES] = {LT_STREAM_TILES(STREAM_NAME)};
    const leat_dtype dtype = of->product != NULL ? of->product->dtype : of->conv->dtype;
    lt_cuda_gemm_cut cuts[MOST_CUTS];
    planned base;
    if (plan_way(&(job_way){of, BY_CUT, 0, 0}, &base, NULL) != LEAT_OK) {
        return;
    }
    uint32_t n_cuts = lt_cuda_gemm_cuts(&of->b->device->tensor->gemm, &base.plan, cuts, MOST_CUTS);
    for (uint32_t i = 0; i < n_cuts; i++) {
        add_way(o, cut_names[cuts[i].tile][cuts[i].splits - 1], cuts[i].cost_ns,
                (job_way){of, BY_CUT, cuts[i].tile + 1, cuts[i].splits});
    }
    for (uint32_t i = 0; i < LT_STREAM_N_TILES && of->conv != NULL; i++) {
        add_way(o, stream_names[i], base.plan.cost_ns, (job_way){of, BY_STREAM, i + 1, 1});
    }
    if ((LT_CUDA_BYTES >> dtype & 1) != 0) {
        add_way(o, "resident", base.plan.cost_ns, (job_way){of, BY_RESIDENT, 0, 0});
    }
}

static leat_status choose_way(lt_cuda_builder *b, const job *of)
{
    offer o = {.count = 0};
    planned chosen;
    const job_way estimate = {of, BY_ESTIMATE, 0, 0};
    if (b->device->tensor == NULL || plan_way(&estimate, &chosen, NULL) != LEAT_OK) {
        return LEAT_UNSUPPORTED;
    }
    add_way(&o, "estimate", chosen.plan.cost_ns, estimate);
    if (of->inputs->a != LT_CUDA_TENSOR_WORKSPACE || of->inputs->workspace_bytes != 0) {
        add_others(&o, of);
    }
    if (of->product != NULL) {
        o.count += lt_cuda_blaslt_offer(b, of->product, of->inputs, &o.ways[0], o.ways[0].cost_ns,
                                        &o.ways[o.count], o.blaslt);
    }
    return b->host->plan_choose(b->plan, b->node, o.ways, o.count, b->kernel, b->err);
}

leat_status lt_cuda_tensor_product(lt_cuda_builder *b, const lt_cuda_gemm_desc *desc,
                                   const lt_cuda_tensor_inputs *inputs)
{
    return choose_way(b, &(job){.b = b, .product = desc, .inputs = inputs});
}

leat_status lt_cuda_tensor_conv(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *desc,
                                const lt_cuda_tensor_inputs *inputs)
{
    return choose_way(b, &(job){.b = b, .conv = desc, .inputs = inputs});
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

bool lt_cuda_tensor_activation(const lt_gpu_activation *activation, int32_t *out)
{
    *out = activation->function;
    return activation->function < (int32_t)LT_GEMM_N_ACTIVATIONS;
}

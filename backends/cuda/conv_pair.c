/* SPDX-License-Identifier: Apache-2.0 */
/* leat's ConvPair: the sum of two pointwise convolutions, y = activation(W x + b + W2 x2 + b2). On
 * the tensor cores both fill one tile; elsewhere the second one's results wait in the workspace. */
#include "cuda.h"
#include "rows.h"
#include "tensor.h"
#include "window.h"

#include <stddef.h>

/* Inputs. */
enum {
    X = 0,
    W = 1,
    BIAS = 2,
    X2 = 3,
    W2 = 4,
    BIAS2 = 5
};

static bool is_pointwise(const leat_value *w)
{
    return w->data != NULL && w->rank == 4 && w->shape[2] == 1 && w->shape[3] == 1 &&
           w->shape[0] % 8 == 0 && w->shape[1] % 8 == 0;
}

leat_status lt_cuda_conv_pair_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, X), *w = leat_kernel_input(node, W);
    const leat_value *x2 = leat_kernel_input(node, X2), *w2 = leat_kernel_input(node, W2);
    const leat_value *y = leat_kernel_output(node, 0);
    lt_gpu_activation activation;
    if (x == NULL || w == NULL || x2 == NULL || w2 == NULL || x->rank != 4 || x2->rank != 4 ||
        x2->dtype != x->dtype || w2->dtype != x->dtype || y->dtype != x->dtype ||
        !is_pointwise(w) || !is_pointwise(w2) || w->shape[0] != w2->shape[0] ||
        leat_node_int(node->node, "channels_last", 0) == 0 ||
        !lt_cuda_activation(node->node, &activation) || !lt_cuda_product_types(node)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: ConvPair: not in this form");
    }
    return lt_cuda_fits(node, err);
}

/* An input that may be absent: -1 then. */
static int32_t optional(const leat_kernel_node *node, int32_t input)
{
    return leat_kernel_input(node, (uint32_t)input) != NULL ? input : -1;
}

static leat_dtype type_of(const leat_kernel_node *node, int32_t input)
{
    return input < 0 ? LEAT_DTYPE_UNDEFINED : leat_kernel_input(node, (uint32_t)input)->dtype;
}

/* Sizes of both; false where they make no sense together. */
static bool read_shapes(const leat_kernel_node *node, lt_cuda_conv_shape out[2])
{
    const leat_value *x2 = leat_kernel_input(node, X2), *w2 = leat_kernel_input(node, W2);
    size_t count;
    const int64_t *strides = leat_node_ints(node->node, "second_strides", &count);
    const int64_t most = 1 << 20;
    if (!lt_cuda_conv_shape_read(node, leat_kernel_input(node, W), &out[0]) ||
        (strides != NULL && (count != 2 || strides[0] < 1 || strides[1] < 1 || strides[0] > most ||
                             strides[1] > most))) {
        return false;
    }
    out[1] = out[0];
    lt_gpu_window *w = &out[1].window;
    w->height = (int32_t)x2->shape[1];
    w->width = (int32_t)x2->shape[2];
    w->stride_h = strides ? (int32_t)strides[0] : 1;
    w->stride_w = strides ? (int32_t)strides[1] : 1;
    w->pad_top = w->pad_left = 0;
    out[1].pad_bottom = out[1].pad_right = 0;
    out[1].channels = (int32_t)x2->shape[3];
    return out[0].groups == 1 && x2->shape[0] == out[0].images && x2->shape[3] == w2->shape[1] &&
           w->height >= 1 && w->width >= 1 &&
           (w->height - 1) / w->stride_h + 1 == (int32_t)w->out_h.value &&
           (w->width - 1) / w->stride_w + 1 == (int32_t)w->out_w.value;
}

static bool on_tensor_cores(lt_cuda_builder *b, const lt_cuda_conv_shape shapes[2],
                            const lt_gpu_activation *activation)
{
    lt_cuda_gemm_conv_desc desc[2];
    lt_cuda_tensor_inputs inputs[2];
    for (int32_t i = 0; i < 2; i++) {
        const lt_cuda_conv_shape *s = &shapes[i];
        const int32_t bias = optional(b->node, i ? BIAS2 : BIAS);
        inputs[i] =
            (lt_cuda_tensor_inputs){.a = i ? X2 : X, .b = i ? W2 : W, .bias = bias, .residual = -1};
        desc[i] = lt_cuda_tensor_conv_desc(&s->window, s->pad_bottom, s->pad_right);
        desc[i].dtype = desc[i].out_dtype = type_of(b->node, X);
        desc[i].bias_dtype = type_of(b->node, bias);
        desc[i].images = s->images;
        desc[i].c = s->channels;
        desc[i].n = s->out_channels;
    }
    desc[0].alpha = activation->alpha;
    desc[0].beta = activation->beta;
    return lt_cuda_tensor_activation(activation, &desc[0].activation) &&
           lt_cuda_tensor_conv_pair(b, desc, inputs);
}

/* One of both by the kernel for any device; the first one's residual is the second's result. */
static leat_status add_one(lt_cuda_builder *b, const lt_cuda_conv_shape *s,
                           const lt_gpu_activation *activation, bool second)
{
    const int32_t bias = optional(b->node, second ? BIAS2 : BIAS);
    const lt_gpu_conv p = {
        .images = s->images,
        .channels = s->channels,
        .out_channels = s->out_channels,
        .groups = 1,
        .window = s->window,
        .group_channels = lt_gpu_divisor_make((uint32_t)s->channels),
        .kernel_w = lt_gpu_divisor_make(1),
        .activation = second ? (lt_gpu_activation){.function = LT_GPU_IDENTITY} : *activation,
        .wide_bias = type_of(b->node, bias) == LEAT_DTYPE_F32,
    };
    const int64_t items = lt_gpu_conv_items(&p);
    char name[64];
    lt_cuda_kernel_name(name, "conv", lt_cuda_type_name(type_of(b->node, X)));
    lt_cuda_launch launch = {
        .kernel = name,
        .grid = {(uint32_t)(items < (1 << 30) ? items : 1 << 30)},
        .parameters = &p,
        .parameter_bytes = sizeof(p),
        .n_pointers = 3,
        .pointers = {
            {offsetof(lt_gpu_conv, x), LT_CUDA_INPUT, second ? X2 : X, 0},
            {offsetof(lt_gpu_conv, w), LT_CUDA_INPUT, second ? W2 : W, 0},
            {offsetof(lt_gpu_conv, y), second ? LT_CUDA_WORKSPACE : LT_CUDA_OUTPUT, 0, 0}}};
    if (!second) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_conv, residual), LT_CUDA_WORKSPACE, 0, 0};
    }
    if (bias >= 0) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_conv, bias), LT_CUDA_INPUT, (uint32_t)bias, 0};
    }
    return lt_cuda_add(b, &launch);
}

leat_status lt_cuda_conv_pair_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    lt_cuda_conv_shape shapes[2];
    lt_gpu_activation activation;
    const leat_value *y = leat_kernel_output(node, 0);
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    if (status != LEAT_OK || leat_value_count(y) == 0) {
        return status;
    }
    if (!lt_cuda_activation(node->node, &activation) || !read_shapes(node, shapes)) {
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: ConvPair node '%s': shapes or attributes that make no sense",
                            node->node->name);
    }
    out_kernel->flops = 2 * (uint64_t)leat_value_count(y) *
                        (uint64_t)(shapes[0].channels + (int64_t)shapes[1].channels);
    if (on_tensor_cores(&b, shapes, &activation)) {
        return LEAT_OK;
    }
    out_kernel->workspace_bytes = (size_t)leat_value_count(y) * lt_cuda_element_bytes(y->dtype);
    status = add_one(&b, &shapes[1], &activation, true);
    return status ? status : add_one(&b, &shapes[0], &activation, false);
}

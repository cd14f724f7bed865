/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of convolution and pooling over one or two spatial dimensions. The kernels of convolution
 * want channels-last data: a node of the domain leat has it; for one of ai.onnx the data goes
 * through the workspace, transposed there and back. */
#include "window.h"
#include "cuda.h"
#include "rows.h"
#include "tensor.h"

#include <stddef.h>

static bool is_last(const leat_kernel_node *node)
{
    return leat_node_int(node->node, "channels_last", 0) != 0;
}

/* Images, channels, height and width of a value of rank 3 or 4. */
typedef struct dims {
    int64_t n, c, h, w;
} dims;

static dims dims_of(const leat_value *v, bool last)
{
    bool one = v->rank == 3;
    if (last) {
        return (dims){v->shape[0], v->shape[v->rank - 1], one ? 1 : v->shape[1],
                      v->shape[v->rank - 2]};
    }
    return (dims){v->shape[0], v->shape[1], one ? 1 : v->shape[2], v->shape[v->rank - 1]};
}

/* The attribute's two entries; a rank-3 node has only the one of the width. */
static bool pair(const leat_node *node, const char *name, int32_t rank, int64_t otherwise,
                 int64_t most, int32_t *out_h, int32_t *out_w)
{
    size_t count;
    const int64_t *ints = leat_node_ints(node, name, &count);
    size_t spatial = (size_t)rank - 2;
    int64_t h = otherwise, w = otherwise;
    if (ints != NULL && count != spatial) {
        return false;
    }
    if (ints != NULL) {
        h = spatial == 2 ? ints[0] : otherwise;
        w = ints[spatial - 1];
    }
    *out_h = (int32_t)h;
    *out_w = (int32_t)w;
    return h >= 1 && w >= 1 && h <= most && w <= most;
}

/* Padding ahead of one dimension and behind it. */
static void pad_of(const leat_node *node, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                   int64_t dilation, int64_t begin, int64_t end, int32_t *out_begin,
                   int32_t *out_end)
{
    bool lower = leat_node_string_is(node, "auto_pad", "SAME_LOWER");
    bool upper = leat_node_string_is(node, "auto_pad", "SAME_UPPER");
    if (leat_node_string_is(node, "auto_pad", "VALID")) {
        begin = end = 0;
    } else if (lower || upper) {
        int64_t total = (out - 1) * stride + (kernel - 1) * dilation + 1 - in;
        total = total < 0 ? 0 : total;
        begin = lower ? total - total / 2 : total / 2;
        end = total - begin;
    }
    *out_begin = (int32_t)begin;
    *out_end = (int32_t)end;
}

/* The window of a node over x with a filter of kernel_h x kernel_w already set. */
static bool fill_window(const leat_node *node, int32_t rank, dims x, dims y, lt_gpu_window *w,
                        int32_t *out_bottom, int32_t *out_right)
{
    const int64_t most = 1 << 20;
    size_t count;
    const int64_t *pads = leat_node_ints(node, "pads", &count);
    size_t spatial = (size_t)rank - 2;
    if (!pair(node, "strides", rank, 1, most, &w->stride_h, &w->stride_w) ||
        !pair(node, "dilations", rank, 1, most, &w->dilation_h, &w->dilation_w) ||
        (pads != NULL && count != 2 * spatial)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (pads[i] < 0 || pads[i] > most) {
            return false;
        }
    }
    bool two = pads != NULL && spatial == 2;
    pad_of(node, x.h, y.h, w->kernel_h, w->stride_h, w->dilation_h, two ? pads[0] : 0,
           two ? pads[2] : 0, &w->pad_top, out_bottom);
    pad_of(node, x.w, y.w, w->kernel_w, w->stride_w, w->dilation_w, pads ? pads[spatial - 1] : 0,
           pads ? pads[2 * spatial - 1] : 0, &w->pad_left, out_right);
    w->height = (int32_t)x.h;
    w->width = (int32_t)x.w;
    w->out_h = lt_gpu_divisor_make((uint32_t)y.h);
    w->out_w = lt_gpu_divisor_make((uint32_t)y.w);
    w->spread_h = w->spread_w = 0;
    return true;
}

static leat_status refuse(const leat_kernel_node *node, const char *why, leat_error *err)
{
    return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: %s", node->node->op, why);
}

/* ---- Conv ------------------------------------------------------------------------------------ */

leat_status lt_cuda_conv_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    lt_gpu_activation activation;
    if (x->rank != 3 && x->rank != 4) {
        return refuse(node, "takes one or two spatial dimensions", err);
    }
    if (w->data == NULL || w->rank != x->rank) {
        return refuse(node, "weights must be constant", err);
    }
    if (!lt_cuda_activation(node->node, &activation) || !lt_cuda_product_types(node)) {
        return refuse(node, "this activation or type", err);
    }
    return lt_cuda_fits(node, err);
}

/* ONNX's [o][i][kh][kw] to [o][kh][kw][i], or for a depthwise one [kh][kw][o]. */
typedef struct pack_shape {
    int64_t o, i, window;
    uint32_t bytes;
    bool depthwise;
} pack_shape;

static leat_status pack_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const pack_shape *s = argument;
    (void)bytes, (void)err;
    const char *in = constant->data;
    for (int64_t o = 0; o < s->o; o++) {
        for (int64_t i = 0; i < s->i; i++) {
            for (int64_t k = 0; k < s->window; k++) {
                int64_t to = s->depthwise ? k * s->o + o : (o * s->window + k) * s->i + i;
                memcpy((char *)out + to * s->bytes,
                       in + ((o * s->i + i) * s->window + k) * s->bytes, s->bytes);
            }
        }
    }
    return LEAT_OK;
}

/* Channels-last data of a convolution: x, y, and the residual where `has_residual`. */
typedef struct conv_data {
    lt_cuda_pointer x, y, residual;
    bool has_residual;
} conv_data;

static leat_status add_conv(lt_cuda_builder *b, lt_gpu_conv *p, bool depthwise, leat_dtype dtype,
                            conv_data data)
{
    int32_t bias = lt_cuda_bias_input(b->node);
    char name[64];
    int64_t items = lt_gpu_conv_items(p);
    int64_t count =
        (int64_t)p->images * p->window.out_h.value * p->window.out_w.value * p->out_channels;
    uint32_t grid = depthwise ? lt_cuda_blocks(b, count, dtype)
                              : (uint32_t)(items < (1 << 30) ? items : 1 << 30);
    data.x.offset = offsetof(lt_gpu_conv, x);
    data.y.offset = offsetof(lt_gpu_conv, y);
    data.residual.offset = offsetof(lt_gpu_conv, residual);
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {grid},
                             .parameters = p,
                             .parameter_bytes = sizeof(*p),
                             .n_pointers = 2,
                             .pointers = {data.x, data.y}};
    if (bias >= 0) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_conv, bias), LT_CUDA_INPUT, (uint32_t)bias, 0};
    }
    if (data.has_residual) {
        launch.pointers[launch.n_pointers++] = data.residual;
    }
    lt_cuda_kernel_name(name, depthwise ? "depthwise" : "conv", lt_cuda_type_name(dtype));
    return lt_cuda_add(b, &launch);
}

/* The type of an input; UNDEFINED for none (-1). */
static leat_dtype type_of(const leat_kernel_node *node, int32_t input)
{
    return input < 0 ? LEAT_DTYPE_UNDEFINED : leat_kernel_input(node, (uint32_t)input)->dtype;
}

/* Whether x has its channels last: floats of QConv never do. */
static bool is_x_last(const leat_kernel_node *node)
{
    const bool floats = (LT_CUDA_FLOATS >> leat_kernel_input(node, 0)->dtype & 1) != 0;
    return is_last(node) && !(floats && strcmp(node->node->op, "QConv") == 0);
}

bool lt_cuda_conv_shape_read(const leat_kernel_node *node, const leat_value *weights,
                             lt_cuda_conv_shape *out)
{
    const leat_value *in = leat_kernel_input(node, 0), *w = weights;
    int64_t group = leat_node_int(node->node, "group", 1);
    dims x = dims_of(in, is_x_last(node)), y = dims_of(leat_kernel_output(node, 0), is_last(node));
    lt_gpu_window *window = &out->window;
    window->kernel_h = in->rank == 4 ? (int32_t)w->shape[2] : 1;
    window->kernel_w = (int32_t)w->shape[w->rank - 1];
    if (group < 1 || x.c % group != 0 || y.c % group != 0 || w->shape[0] != y.c ||
        w->shape[1] != x.c / group || window->kernel_h < 1 || window->kernel_w < 1 || x.c < 1) {
        return false;
    }
    out->images = (int32_t)x.n;
    out->channels = (int32_t)x.c;
    out->out_channels = (int32_t)y.c;
    out->groups = (int32_t)group;
    return fill_window(node->node, in->rank, x, y, window, &out->pad_bottom, &out->pad_right);
}

/* Types of what is added and of the result, and the activation. */
static void set_operands(const leat_kernel_node *node, lt_gpu_conv *p)
{
    int32_t residual = lt_cuda_residual_input(node->node), bias = lt_cuda_bias_input(node);
    p->wide_bias = type_of(node, bias) == LEAT_DTYPE_F32;
    p->wide_residual = type_of(node, residual) == LEAT_DTYPE_F32;
    p->wide_y = leat_kernel_output(node, 0)->dtype == LEAT_DTYPE_F32;
    (void)lt_cuda_activation(node->node, &p->activation);
}

static leat_status fill_conv(const leat_kernel_node *node, lt_gpu_conv *p, int32_t *out_bottom,
                             int32_t *out_right, leat_error *err)
{
    lt_cuda_conv_shape shape;
    if (!lt_cuda_conv_shape_read(node, leat_kernel_input(node, 1), &shape)) {
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: Conv node '%s': shapes or attributes that "
                            "make no sense",
                            node->node->name);
    }
    p->window = shape.window;
    p->images = shape.images;
    p->channels = shape.channels;
    p->out_channels = shape.out_channels;
    p->groups = shape.groups;
    p->group_channels = lt_gpu_divisor_make((uint32_t)(p->channels / p->groups));
    p->kernel_w = lt_gpu_divisor_make((uint32_t)p->window.kernel_w);
    *out_bottom = shape.pad_bottom;
    *out_right = shape.pad_right;
    set_operands(node, p);
    return LEAT_OK;
}

/* The same convolution on the tensor cores, where they take it; UNSUPPORTED where they do not. */
static leat_status on_tensor_cores(lt_cuda_builder *b, const lt_gpu_conv *p, leat_dtype dtype,
                                   int32_t bottom, int32_t right)
{
    const leat_node *node = b->node->node;
    int32_t residual = lt_cuda_residual_input(node), bias = lt_cuda_bias_input(b->node);
    lt_cuda_tensor_inputs inputs = {
        .a = 0, .b = -1, .bias = bias, .residual = residual, .packed_b = p->w};
    lt_cuda_gemm_conv_desc desc = lt_cuda_tensor_conv_desc(&p->window, bottom, right);
    desc.dtype = dtype;
    desc.out_dtype = leat_kernel_output(b->node, 0)->dtype;
    desc.bias_dtype = type_of(b->node, bias);
    desc.residual_dtype = type_of(b->node, residual);
    desc.alpha = p->activation.alpha;
    desc.beta = p->activation.beta;
    desc.images = p->images;
    desc.c = p->channels;
    desc.n = p->out_channels;
    if (!lt_cuda_tensor_takes(b, dtype) || p->groups != 1 || !is_last(b->node) ||
        !lt_cuda_tensor_activation(&p->activation, &desc.activation)) {
        return LEAT_UNSUPPORTED;
    }
    leat_status status = lt_cuda_tensor_conv(b, &desc, &inputs);
    return status == LEAT_UNSUPPORTED ? lt_cuda_narrow_conv(b, &desc, &inputs) : status;
}

/* Bytes of so many elements, and of the gap to the next ones. */
static int64_t in_workspace(int64_t count, leat_dtype dtype)
{
    return (count * lt_cuda_element_bytes(dtype) + 255) / 256 * 256;
}

/* A convolution of channels-first data: through the workspace, transposed there and back. */
static leat_status add_conv_first(lt_cuda_builder *b, lt_gpu_conv *p, bool depthwise,
                                  leat_dtype dtype, conv_data data)
{
    const lt_gpu_window *w = &p->window;
    const int64_t images = p->images, x_pixels = (int64_t)w->height * w->width;
    const int64_t y_pixels = (int64_t)w->out_h.value * w->out_w.value;
    const leat_dtype y_dtype = leat_kernel_output(b->node, 0)->dtype;
    const leat_dtype r_dtype = type_of(b->node, lt_cuda_residual_input(b->node->node));
    const int64_t x_bytes = in_workspace(images * p->channels * x_pixels, dtype);
    const int64_t y_bytes = in_workspace(images * p->out_channels * y_pixels, y_dtype);
    const int64_t r_bytes =
        data.has_residual ? in_workspace(images * p->out_channels * y_pixels, r_dtype) : 0;
    const conv_data last = {
        .x = {0, LT_CUDA_WORKSPACE, 0, 0},
        .y = {0, LT_CUDA_WORKSPACE, 0, x_bytes},
        .residual = {0, LT_CUDA_WORKSPACE, 0, x_bytes + y_bytes},
        .has_residual = data.has_residual,
    };
    b->kernel->workspace_bytes = (size_t)(x_bytes + y_bytes + r_bytes);
    leat_status status =
        lt_cuda_add_transpose(b, images, p->channels, x_pixels, dtype, data.x, last.x);
    if (status == LEAT_OK && data.has_residual) {
        status = lt_cuda_add_transpose(b, images, p->out_channels, y_pixels, r_dtype, data.residual,
                                       last.residual);
    }
    status = status ? status : add_conv(b, p, depthwise, dtype, last);
    return status ? status
                  : lt_cuda_add_transpose(b, images, y_pixels, p->out_channels, y_dtype, last.y,
                                          data.y);
}

/* The convolution on the plain cores. */
static leat_status add_plain_conv(lt_cuda_builder *b, lt_gpu_conv *p, bool depthwise)
{
    const leat_dtype dtype = leat_kernel_input(b->node, 0)->dtype;
    const int32_t residual = lt_cuda_residual_input(b->node->node);
    const conv_data data = {
        .x = {0, LT_CUDA_INPUT, 0, 0},
        .y = {0, LT_CUDA_OUTPUT, 0, 0},
        .residual = {0, LT_CUDA_INPUT, residual < 0 ? 0 : (uint32_t)residual, 0},
        .has_residual = residual >= 0,
    };
    return is_last(b->node) ? add_conv(b, p, depthwise, dtype, data)
                            : add_conv_first(b, p, depthwise, dtype, data);
}

leat_status lt_cuda_conv_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    lt_gpu_conv p = {.x = NULL};
    const leat_value *w = leat_kernel_input(node, 1);
    leat_dtype dtype = leat_kernel_input(node, 0)->dtype;
    uint32_t bytes = lt_cuda_element_bytes(dtype);
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 4, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    int32_t bottom = 0, right = 0;
    status = fill_conv(node, &p, &bottom, &right, err);
    bool depthwise = p.groups == p.channels && p.channels == p.out_channels;
    pack_shape shape = {.o = w->shape[0],
                        .i = w->shape[1],
                        .window = (int64_t)p.window.kernel_h * p.window.kernel_w,
                        .bytes = bytes,
                        .depthwise = depthwise};
    if (status == LEAT_OK) {
        status =
            host->plan_pack(plan, w, depthwise ? 2 : 1, w->bytes, pack_weights, &shape, &p.w, err);
    }
    out_kernel->unread_mask = 2;
    out_kernel->flops = 2 * (uint64_t)leat_value_count(leat_kernel_output(node, 0)) *
                        (uint64_t)(shape.i * shape.window);
    if (status != LEAT_OK) {
        return status;
    }
    status = on_tensor_cores(&b, &p, dtype, bottom, right);
    if (status != LEAT_UNSUPPORTED) {
        return status;
    }
    return add_plain_conv(&b, &p, depthwise);
}

/* ---- ConvTranspose --------------------------------------------------------------------------- */

/* A convolution of x with zeros between its pixels, the filters turned around. `begin` rows or
 * columns of the whole result are cut off ahead, so the pad is the filter's reach less these. */
static int64_t transposed_begin(const leat_node *node, int64_t in, int64_t out, int64_t reach,
                                int64_t stride, int64_t given, int64_t extra)
{
    const bool upper = leat_node_string_is(node, "auto_pad", "SAME_UPPER");
    const bool lower = leat_node_string_is(node, "auto_pad", "SAME_LOWER");
    if (!upper && !lower && leat_node_attr(node, "output_shape") == NULL) {
        return given;
    }
    const int64_t whole = (in - 1) * stride + reach + 1 + extra;
    const int64_t cut = whole > out ? whole - out : 0;
    return upper ? cut / 2 : cut - cut / 2;
}

/* Entry `at` of a list of ints; 0 where there is none. False for one that makes no sense. */
static bool small_int(const leat_node *node, const char *name, size_t count, size_t at,
                      int64_t *out)
{
    size_t n;
    const int64_t *ints = leat_node_ints(node, name, &n);
    *out = ints != NULL ? (n == count ? ints[at] : -1) : 0;
    return *out >= 0 && *out <= 1 << 20;
}

static bool fill_transposed(const leat_kernel_node *node, lt_gpu_conv *p)
{
    const leat_node *n = node->node;
    const leat_value *in = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    const dims x = dims_of(in, is_last(node)),
               y = dims_of(leat_kernel_output(node, 0), is_last(node));
    const int64_t groups = leat_node_int(n, "group", 1);
    const size_t spatial = (size_t)in->rank - 2;
    lt_gpu_window *t = &p->window;
    int64_t begin[2] = {0, 0}, extra[2] = {0, 0}, kernel[2] = {1, w->shape[w->rank - 1]};
    kernel[0] = spatial == 2 ? w->shape[2] : 1;
    if (groups < 1 || x.c < 1 || x.c % groups != 0 || w->shape[0] != x.c ||
        w->shape[1] != y.c / groups || y.c % groups != 0 || kernel[0] < 1 || kernel[1] < 1 ||
        !pair(n, "strides", in->rank, 1, 1 << 20, &t->spread_h, &t->spread_w) ||
        !pair(n, "dilations", in->rank, 1, 1 << 20, &t->dilation_h, &t->dilation_w)) {
        return false;
    }
    for (size_t i = 0; i < spatial; i++) {
        if (!small_int(n, "pads", 2 * spatial, i, &begin[i + 2 - spatial]) ||
            !small_int(n, "output_padding", spatial, i, &extra[i + 2 - spatial])) {
            return false;
        }
    }
    const int64_t reach_h = (kernel[0] - 1) * t->dilation_h,
                  reach_w = (kernel[1] - 1) * t->dilation_w;
    const int64_t spread_h = x.h * t->spread_h, spread_w = x.w * t->spread_w;
    if (reach_h > 1 << 29 || reach_w > 1 << 29 || spread_h > 1 << 29 || spread_w > 1 << 29) {
        return false;
    }
    begin[0] = transposed_begin(n, x.h, y.h, reach_h, t->spread_h, begin[0], extra[0]);
    begin[1] = transposed_begin(n, x.w, y.w, reach_w, t->spread_w, begin[1], extra[1]);
    t->pad_top = (int32_t)(reach_h - begin[0]);
    t->pad_left = (int32_t)(reach_w - begin[1]);
    t->height = (int32_t)x.h;
    t->width = (int32_t)x.w;
    t->kernel_h = (int32_t)kernel[0];
    t->kernel_w = (int32_t)kernel[1];
    t->stride_h = t->stride_w = 1;
    t->out_h = lt_gpu_divisor_make((uint32_t)y.h);
    t->out_w = lt_gpu_divisor_make((uint32_t)y.w);
    p->images = (int32_t)x.n;
    p->channels = (int32_t)x.c;
    p->out_channels = (int32_t)y.c;
    p->groups = (int32_t)groups;
    p->group_channels = lt_gpu_divisor_make((uint32_t)(x.c / groups));
    p->kernel_w = lt_gpu_divisor_make((uint32_t)t->kernel_w);
    return true;
}

/* ONNX's [i][o of its group][taps] to [o][taps, the last first][i of its group]. */
static leat_status pack_turned(void *out, size_t bytes, const leat_value *constant,
                               const void *argument, leat_error *err)
{
    const lt_gpu_conv *p = argument;
    const int64_t group_in = p->channels / p->groups, group_out = p->out_channels / p->groups;
    const int64_t taps = (int64_t)p->window.kernel_h * p->window.kernel_w;
    const uint32_t unit = lt_cuda_element_bytes(constant->dtype);
    const char *in = constant->data;
    (void)bytes, (void)err;
    for (int64_t i = 0; i < p->channels; i++) {
        for (int64_t o = 0; o < group_out; o++) {
            for (int64_t k = 0; k < taps; k++) {
                int64_t row = i / group_in * group_out + o;
                int64_t to = (row * taps + taps - 1 - k) * group_in + i % group_in;
                memcpy((char *)out + to * unit, in + ((i * group_out + o) * taps + k) * unit, unit);
            }
        }
    }
    return LEAT_OK;
}

leat_status lt_cuda_conv_transpose_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    enum {
        TURNED_KEY = 3 /* of packings of weights; groups, too, say how */
    };
    lt_cuda_builder b;
    lt_gpu_conv p = {.x = NULL};
    const leat_value *x = leat_kernel_input(node, 0), *w = leat_kernel_input(node, 1);
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 4, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (!fill_transposed(node, &p)) {
        return lt_cuda_fail(
            err, LEAT_INVALID,
            "cuda: ConvTranspose node '%s': shapes or attributes that make no sense",
            node->node->name);
    }
    set_operands(node, &p);
    status = host->plan_pack(plan, w, TURNED_KEY + ((uint64_t)p.groups << 8), w->bytes, pack_turned,
                             &p, &p.w, err);
    out_kernel->unread_mask = 2;
    out_kernel->flops = 2 * (uint64_t)leat_value_count(x) *
                        (uint64_t)(w->shape[1] * p.window.kernel_h * p.window.kernel_w);
    return status ? status : add_plain_conv(&b, &p, false);
}

/* ---- pools ----------------------------------------------------------------------------------- */

leat_status lt_cuda_pool_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    bool global = strncmp(node->node->op, "Global", 6) == 0;
    if (x->rank < 3 || (x->rank > 4 && !global)) {
        return refuse(node, "takes one or two spatial dimensions", err);
    }
    if (leat_kernel_output(node, 1) != NULL) {
        return refuse(node, "does not give indices", err);
    }
    return lt_cuda_fits(node, err);
}

/* All pixels of channels-last data. */
static leat_status add_global_pool(lt_cuda_builder *b, dims x, bool average, leat_dtype dtype)
{
    const int64_t parts =
        (x.c + LT_GPU_GLOBAL_POOL_CHANNELS - 1) / LT_GPU_GLOBAL_POOL_CHANNELS * x.n;
    const lt_gpu_global_pool p = {.images = (int32_t)x.n,
                                  .pixels = (int32_t)x.w,
                                  .channels = (int32_t)x.c,
                                  .average = average};
    char name[64];
    lt_cuda_kernel_name(name, "global_pool", lt_cuda_type_name(dtype));
    return lt_cuda_add(
        b,
        &(lt_cuda_launch){.kernel = name,
                          .grid = {lt_cuda_item_blocks(b, parts)},
                          .parameters = &p,
                          .parameter_bytes = sizeof(p),
                          .n_pointers = 2,
                          .pointers = {{offsetof(lt_gpu_global_pool, x), LT_CUDA_INPUT, 0, 0},
                                       {offsetof(lt_gpu_global_pool, y), LT_CUDA_OUTPUT, 0, 0}}});
}

leat_status lt_cuda_pool_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    bool last = is_last(node), global = strncmp(node->node->op, "Global", 6) == 0;
    lt_gpu_pool p = {.count = leat_value_count(out),
                     .average = strstr(node->node->op, "Average") != NULL,
                     .count_pad = leat_node_int(node->node, "count_include_pad", 0) != 0};
    char name[64];
    dims x = {0}, y = {0};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    if (global) {
        int64_t outside = in->shape[0] * in->shape[last ? in->rank - 1 : 1];
        x = (dims){in->shape[0], in->shape[last ? in->rank - 1 : 1], 1,
                   leat_value_count(in) / (outside > 0 ? outside : 1)};
        y = (dims){x.n, x.c, 1, 1};
        if (last) {
            return add_global_pool(&b, x, p.average != 0, in->dtype);
        }
        p.window = (lt_gpu_window){.height = 1,
                                   .width = (int32_t)x.w,
                                   .kernel_h = 1,
                                   .kernel_w = (int32_t)x.w,
                                   .stride_h = 1,
                                   .stride_w = 1,
                                   .dilation_h = 1,
                                   .dilation_w = 1,
                                   .out_h = lt_gpu_divisor_make(1),
                                   .out_w = lt_gpu_divisor_make(1)};
    } else {
        x = dims_of(in, last);
        y = dims_of(out, last);
        if (!pair(node->node, "kernel_shape", in->rank, 1, 1 << 20, &p.window.kernel_h,
                  &p.window.kernel_w) ||
            !fill_window(node->node, in->rank, x, y, &p.window, &p.pad_bottom, &p.pad_right)) {
            return lt_cuda_fail(err, LEAT_INVALID,
                                "cuda: %s node '%s': attributes that make no "
                                "sense",
                                node->node->op, node->node->name);
        }
    }
    const int64_t sizes_last[4] = {y.n, y.h, y.w, y.c}, sizes_first[4] = {y.n, y.c, y.h, y.w};
    p.index.rank = 4;
    for (int i = 0; i < 4; i++) {
        p.index.size[i] = lt_gpu_divisor_make((uint32_t)(last ? sizes_last[i] : sizes_first[i]));
    }
    p.n = 0;
    p.c = last ? 3 : 1;
    p.h = last ? 1 : 2;
    p.w = last ? 2 : 3;
    const int64_t strides_last[4] = {x.c * x.h * x.w, 1, x.w * x.c, x.c};
    const int64_t strides_first[4] = {x.c * x.h * x.w, x.h * x.w, x.w, 1};
    memcpy(p.x_stride, last ? strides_last : strides_first, sizeof(p.x_stride));
    const char *type = in->dtype == LEAT_DTYPE_I8 ? "i8" : lt_cuda_type_name(in->dtype);
    lt_cuda_kernel_name(name, "pool", type);
    return lt_cuda_add(
        &b, &(lt_cuda_launch){.kernel = name,
                              .grid = {lt_gpu_blocks(p.count, last ? 4 : 1, b.device->processors)},
                              .parameters = &p,
                              .parameter_bytes = sizeof(p),
                              .n_pointers = 2,
                              .pointers = {{offsetof(lt_gpu_pool, x), LT_CUDA_INPUT, 0, 0},
                                           {offsetof(lt_gpu_pool, y), LT_CUDA_OUTPUT, 0, 0}}});
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of products of bytes:
 *
 *     QLinearConv, QLinearMatMul   x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias
 *     ConvInteger, MatMulInteger   x, w, x_zero, w_zero
 *     leat QConv, QMatMul          the first order, then r_scale, r_zero, z_scale, z_zero, residual
 *
 * Constant weights are packed at load (i8, words of four channels); others by a launch before the
 * product. Data of ai.onnx's layout goes through the workspace, transposed there and back. */
#include "qproduct.h"
#include "rows.h"

#include <stddef.h>

static leat_status refuse(const leat_kernel_node *node, const char *why, leat_error *err)
{
    return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: %s", node->node->op, why);
}

static leat_status no_sense(const leat_kernel_node *node, leat_error *err)
{
    return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': shapes that make no sense",
                        node->node->op, node->node->name);
}

static bool is_integer(const leat_kernel_node *node)
{
    return strstr(node->node->op, "Integer") != NULL;
}

static bool is_conv(const leat_kernel_node *node)
{
    return strstr(node->node->op, "Conv") != NULL;
}

/* ---- operands -------------------------------------------------------------------------------- */

static int32_t present(const leat_kernel_node *node, int32_t i)
{
    return leat_kernel_input(node, (uint32_t)i) != NULL ? i : -1;
}

static lt_cuda_qinputs find_inputs(const leat_kernel_node *node)
{
    if (is_integer(node)) {
        return (lt_cuda_qinputs){.x = 0,
                                 .w = 1,
                                 .x_zero = present(node, 2),
                                 .w_zero = present(node, 3),
                                 .x_scale = -1,
                                 .w_scale = -1,
                                 .y_scale = -1,
                                 .y_zero = -1,
                                 .bias = -1,
                                 .r_scale = -1,
                                 .r_zero = -1,
                                 .z_scale = -1,
                                 .z_zero = -1,
                                 .residual = -1};
    }
    bool own = strcmp(node->node->op, "QConv") == 0 || strcmp(node->node->op, "QMatMul") == 0;
    return (lt_cuda_qinputs){.x = 0,
                             .x_scale = present(node, 1),
                             .x_zero = present(node, 2),
                             .w = present(node, 3),
                             .w_scale = present(node, 4),
                             .w_zero = present(node, 5),
                             .y_scale = present(node, 6),
                             .y_zero = present(node, 7),
                             .bias = present(node, 8),
                             .r_scale = own ? present(node, 9) : -1,
                             .r_zero = own ? present(node, 10) : -1,
                             .z_scale = own ? present(node, 11) : -1,
                             .z_zero = own ? present(node, 12) : -1,
                             .residual = own ? present(node, 13) : -1};
}

static leat_dtype type_of(const leat_kernel_node *node, int32_t input, leat_dtype otherwise)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    return value ? value->dtype : otherwise;
}

static bool is_byte(leat_dtype dtype)
{
    return (LT_CUDA_BYTES >> dtype & 1) != 0;
}

static bool is_one(const leat_kernel_node *node, int32_t input)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    return value == NULL || (value->rank >= 0 && leat_value_count(value) == 1);
}

/* Whether the result has the type that its scale and zero point ask for: floats without. */
static bool is_result(const leat_kernel_node *node, const lt_cuda_qinputs *in)
{
    const leat_dtype y = leat_kernel_output(node, 0)->dtype;
    int32_t scale = in->residual >= 0 ? in->z_scale : in->y_scale;
    int32_t zero = in->residual >= 0 ? in->z_zero : in->y_zero;
    return in->x_scale < 0 ? y == LEAT_DTYPE_I32
           : scale < 0     ? (LT_CUDA_FLOATS >> y & 1) != 0
                           : y == type_of(node, zero, LEAT_DTYPE_U8);
}

/* Whether x is floats, which the node quantizes. */
static bool takes_floats(const leat_kernel_node *node)
{
    return (LT_CUDA_FLOATS >> leat_kernel_input(node, 0)->dtype & 1) != 0;
}

/* The bytes that x is or becomes. */
static leat_dtype x_type(const leat_kernel_node *node, const lt_cuda_qinputs *in)
{
    return takes_floats(node) ? type_of(node, in->x_zero, LEAT_DTYPE_U8)
                              : leat_kernel_input(node, 0)->dtype;
}

static leat_status check_types(const leat_kernel_node *node, const lt_cuda_qinputs *in,
                               leat_error *err)
{
    const int32_t scales[] = {in->x_scale, in->w_scale, in->y_scale, in->r_scale, in->z_scale};
    const int32_t single[] = {in->x_scale, in->x_zero, in->y_scale, in->y_zero,
                              in->r_scale, in->r_zero, in->z_scale, in->z_zero};
    leat_dtype x = x_type(node, in);
    leat_dtype w = type_of(node, in->w, LEAT_DTYPE_UNDEFINED);
    leat_dtype r = type_of(node, in->residual, LEAT_DTYPE_F32);
    leat_dtype bias = type_of(node, in->bias, LEAT_DTYPE_I32);
    bool fine = is_byte(x) && is_byte(w) && type_of(node, in->x_zero, x) == x &&
                type_of(node, in->w_zero, w) == w &&
                is_byte(type_of(node, in->y_zero, LEAT_DTYPE_U8)) &&
                (bias == LEAT_DTYPE_I32 || bias == LEAT_DTYPE_F32) && is_result(node, in);
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        fine &= type_of(node, scales[i], LEAT_DTYPE_F32) == LEAT_DTYPE_F32;
    }
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        fine &= is_one(node, single[i]);
    }
    if (in->residual >= 0) {
        fine &= in->r_scale < 0 ? (LT_CUDA_FLOATS >> r & 1) != 0
                                : is_byte(r) && type_of(node, in->r_zero, r) == r;
    }
    return fine ? LEAT_OK : refuse(node, "these types, or scales of data of several numbers", err);
}

/* Images of more are better transposed on their own. */
#define FEW_CHANNELS 16

leat_status lt_cuda_qproduct_supports(const leat_kernel_node *node, leat_error *err)
{
    const lt_cuda_qinputs in = find_inputs(node);
    const leat_value *x = leat_kernel_input(node, 0), *w = lt_cuda_qinput(node, in.w);
    lt_gpu_activation activation;
    if (x == NULL || w == NULL || (!is_integer(node) && (in.x_scale < 0 || in.w_scale < 0))) {
        return refuse(node, "an input is missing", err);
    }
    if (is_conv(node) ? (x->rank != 3 && x->rank != 4) || w->rank != x->rank
                      : x->rank < 2 || w->rank < 2 || (w->rank > 2 && w->rank != x->rank)) {
        return refuse(node, "these ranks", err);
    }
    if (!lt_cuda_activation(node->node, &activation)) {
        return refuse(node, "this activation", err);
    }
    if (takes_floats(node) &&
        (leat_node_int(node->node, "channels_last", 0) == 0 ||
         leat_node_int(node->node, "group", 1) != 1 || w->shape[1] >= FEW_CHANNELS)) {
        return refuse(node, "floats but for images of few channels", err);
    }
    leat_status status = check_types(node, &in, err);
    return status ? status : lt_cuda_fits(node, err);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static bool read_conv(const leat_kernel_node *node, const leat_value *w, lt_cuda_qproduct *q)
{
    if (!lt_cuda_conv_shape_read(node, w, &q->shape)) {
        return false;
    }
    const lt_cuda_conv_shape *s = &q->shape;
    int64_t taps = (int64_t)s->window.kernel_h * s->window.kernel_w;
    q->last = leat_node_int(node->node, "channels_last", 0) != 0;
    q->depthwise = s->groups == s->channels && s->channels == s->out_channels;
    q->n = s->out_channels;
    q->k = s->channels / s->groups * taps;
    q->batch = 1;
    q->m = (int64_t)s->images * s->window.out_h.value * s->window.out_w.value;
    q->pack = (lt_gpu_qpack){.o_stride = q->k,
                             .i_stride = taps,
                             .tap_stride = 1,
                             .outputs = s->out_channels,
                             .n = s->out_channels,
                             .inputs = s->channels / s->groups,
                             .taps = (int32_t)taps,
                             .depthwise = q->depthwise};
    return true;
}

/* Rows of x join where w is one matrix; else both have the same batch. */
static bool read_matmul(const leat_kernel_node *node, const leat_value *w, lt_cuda_qproduct *q)
{
    const leat_value *x = leat_kernel_input(node, 0);
    bool turned = w->rank == 2 && leat_node_int(node->node, "transB", 0) != 0;
    q->last = true;
    q->m = x->shape[x->rank - 2];
    q->k = x->shape[x->rank - 1];
    q->n = w->shape[turned ? 0 : w->rank - 1];
    q->batch = 1;
    if (w->shape[turned ? 1 : w->rank - 2] != q->k) {
        return false;
    }
    for (int32_t i = 0; i < x->rank - 2; i++) {
        *(w->rank == 2 ? &q->m : &q->batch) *= x->shape[i];
        if (w->rank != 2 && w->shape[i] != x->shape[i]) {
            return false;
        }
    }
    q->shape = (lt_cuda_conv_shape){.images = 1,
                                    .channels = (int32_t)q->k,
                                    .out_channels = (int32_t)q->n,
                                    .groups = 1,
                                    .window = {.height = 1,
                                               .width = (int32_t)q->m,
                                               .kernel_h = 1,
                                               .kernel_w = 1,
                                               .stride_h = 1,
                                               .stride_w = 1,
                                               .dilation_h = 1,
                                               .dilation_w = 1,
                                               .out_h = lt_gpu_divisor_make(1),
                                               .out_w = lt_gpu_divisor_make((uint32_t)q->m)}};
    q->pack = (lt_gpu_qpack){.batch_stride = q->k * q->n,
                             .o_stride = turned ? q->k : 1,
                             .i_stride = turned ? 1 : q->n,
                             .outputs = (int32_t)(q->n * q->batch),
                             .n = (int32_t)q->n,
                             .inputs = (int32_t)q->k,
                             .taps = 1};
    return true;
}

/* One number, or one for each output channel. */
static bool spreads(const leat_kernel_node *node, int32_t input, int64_t n)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    int64_t count = value ? leat_value_count(value) : 1;
    return count == 1 || count == n;
}

static leat_status read_node(const leat_kernel_node *node, lt_cuda_qproduct *q, leat_error *err)
{
    q->in = find_inputs(node);
    q->conv = is_conv(node);
    q->floats = takes_floats(node);
    q->x = x_type(node, &q->in);
    const leat_value *w = lt_cuda_qinput(node, q->in.w);
    const leat_value *w_zero = lt_cuda_qinput(node, q->in.w_zero);
    const leat_value *bias = lt_cuda_qinput(node, q->in.bias);
    const leat_value *residual = lt_cuda_qinput(node, q->in.residual);
    if (!(q->conv ? read_conv(node, w, q) : read_matmul(node, w, q)) || q->k < 1 ||
        (bias != NULL && leat_value_count(bias) != q->n) ||
        (residual != NULL &&
         leat_value_count(residual) != leat_value_count(leat_kernel_output(node, 0)))) {
        return no_sense(node, err);
    }
    if (!spreads(node, q->in.w_scale, q->n) || !spreads(node, q->in.w_zero, q->n) ||
        (q->batch > 1 && residual != NULL)) {
        return refuse(node, "scales or zero points of another shape", err);
    }
    q->constant = w->data != NULL && (w_zero == NULL || w_zero->data != NULL);
    q->pack.is_signed = w->dtype == LEAT_DTYPE_I8;
    q->pack.zero_step = w_zero != NULL && leat_value_count(w_zero) > 1;
    return LEAT_OK;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* Packed weights, their sums, their zero points: offsets in a block of so many bytes. */
typedef struct places {
    int64_t sums, zeros, bytes;
} places;

static places place(const lt_gpu_qpack *p)
{
    int64_t words = (p->inputs + 3) / 4;
    int64_t weights = (int64_t)p->outputs * p->taps * (p->depthwise ? 1 : words * 4);
    places at = {.sums = (weights + 255) / 256 * 256};
    at.zeros = at.sums + (int64_t)p->outputs * 4;
    at.bytes = (at.zeros + p->outputs + 255) / 256 * 256;
    return at;
}

typedef struct pack_argument {
    const lt_gpu_qpack *pack; /* pointers not set */
    const void *zeros;        /* NULL: 0 */
} pack_argument;

static int32_t byte_at(const void *data, int64_t i, bool is_signed)
{
    return is_signed ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
}

/* As lt_gpu_qpack_i8. */
static leat_status pack_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *opaque, leat_error *err)
{
    const pack_argument *argument = opaque;
    const lt_gpu_qpack *p = argument->pack;
    const places at = place(p);
    int8_t *packed = out, *zeros = (int8_t *)out + at.zeros;
    int32_t *sums = (int32_t *)(void *)((char *)out + at.sums);
    int64_t row = (p->inputs + 3) / 4 * 4;
    int32_t shift = p->is_signed ? 0 : 128;
    (void)err;
    memset(out, 0, bytes);
    for (int64_t o = 0; o < p->outputs; o++) {
        int64_t from = o / p->n * p->batch_stride + o % p->n * p->o_stride;
        for (int64_t tap = 0; tap < p->taps; tap++) {
            for (int64_t i = 0; i < p->inputs; i++) {
                int64_t in = from + i * p->i_stride + tap * p->tap_stride;
                int64_t to = p->depthwise ? tap * p->outputs + o : (o * p->taps + tap) * row + i;
                int32_t v = byte_at(constant->data, in, p->is_signed != 0) - shift;
                packed[to] = (int8_t)v;
                sums[o] += v;
            }
        }
        int32_t zero = argument->zeros
                           ? byte_at(argument->zeros, o % p->n * p->zero_step, p->is_signed != 0)
                           : 0;
        zeros[o] = (int8_t)(zero - shift);
    }
    return LEAT_OK;
}

static uint64_t hash(uint64_t seed, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = (seed ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    }
    return seed;
}

static leat_status pack_constant(lt_cuda_builder *b, const lt_cuda_qproduct *q,
                                 const void **out_block)
{
    const leat_value *w = lt_cuda_qinput(b->node, q->in.w);
    const leat_value *zero = lt_cuda_qinput(b->node, q->in.w_zero);
    const pack_argument argument = {.pack = &q->pack, .zeros = zero ? zero->data : NULL};
    uint64_t key = hash(0xcbf29ce484222325u, &q->pack, offsetof(lt_gpu_qpack, depthwise) + 4);
    if (zero != NULL) {
        key = hash(key, zero->data, (size_t)leat_value_count(zero));
    }
    return b->host->plan_pack(b->plan, w, key, (size_t)place(&q->pack).bytes, pack_weights,
                              &argument, out_block, b->err);
}

/* Whether zero points of the weights have to be taken off: not known of weights of a run. */
static bool has_zeros(const leat_kernel_node *node, const lt_cuda_qproduct *q)
{
    const leat_value *zero = lt_cuda_qinput(node, q->in.w_zero);
    int32_t shift = q->pack.is_signed ? 0 : 128;
    if (zero == NULL || zero->data == NULL) {
        return zero != NULL || shift != 0;
    }
    for (int64_t i = 0; i < leat_value_count(zero); i++) {
        if (byte_at(zero->data, i, q->pack.is_signed != 0) != shift) {
            return true;
        }
    }
    return false;
}

/* A launch that packs what is there when it runs. */
static leat_status add_pack(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t at)
{
    const places in = place(&q->pack);
    lt_cuda_launch launch = {
        .kernel = "lt_gpu_qpack_i8",
        .grid = {lt_gpu_blocks(q->pack.outputs, 1, b->device->processors)},
        .parameters = &q->pack,
        .parameter_bytes = sizeof(q->pack),
        .n_pointers = 4,
        .pointers = {{offsetof(lt_gpu_qpack, w), LT_CUDA_INPUT, (uint32_t)q->in.w, 0},
                     {offsetof(lt_gpu_qpack, packed), LT_CUDA_WORKSPACE, 0, at},
                     {offsetof(lt_gpu_qpack, sums), LT_CUDA_WORKSPACE, 0, at + in.sums},
                     {offsetof(lt_gpu_qpack, zeros), LT_CUDA_WORKSPACE, 0, at + in.zeros}}};
    if (q->in.w_zero >= 0) {
        launch.pointers[launch.n_pointers++] = (lt_cuda_pointer){
            offsetof(lt_gpu_qpack, w_zero), LT_CUDA_INPUT, (uint32_t)q->in.w_zero, 0};
    }
    return lt_cuda_add(b, &launch);
}

/* ---- the product ----------------------------------------------------------------------------- */

static int32_t kernel_dtype(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_U8     ? LT_GPU_U8
           : dtype == LEAT_DTYPE_I8   ? LT_GPU_I8
           : dtype == LEAT_DTYPE_I32  ? LT_GPU_I32
           : dtype == LEAT_DTYPE_F16  ? LT_GPU_F16
           : dtype == LEAT_DTYPE_BF16 ? LT_GPU_BF16
                                      : LT_GPU_F32;
}

static void fill_parameters(const leat_kernel_node *node, const lt_cuda_qproduct *q,
                            lt_gpu_qconv *p)
{
    const lt_cuda_qinputs *in = &q->in;
    const leat_value *w_scale = lt_cuda_qinput(node, in->w_scale);
    const lt_cuda_conv_shape *s = &q->shape;
    p->w_scale_step = w_scale != NULL && leat_value_count(w_scale) > 1;
    p->w_zero_step = 1;
    p->bias_i32 = type_of(node, in->bias, LEAT_DTYPE_I32) == LEAT_DTYPE_I32;
    p->residual_dtype = kernel_dtype(type_of(node, in->residual, LEAT_DTYPE_F32));
    p->y_dtype = kernel_dtype(leat_kernel_output(node, 0)->dtype);
    p->batch = (int32_t)q->batch;
    p->x_batch = q->m * q->k;
    p->images = s->images;
    p->channels = s->channels;
    p->out_channels = s->out_channels;
    p->groups = s->groups;
    p->group_channels = s->channels / s->groups;
    p->window = s->window;
    p->words = lt_gpu_divisor_make((uint32_t)(p->group_channels + 3) / 4);
    p->kernel_w = lt_gpu_divisor_make((uint32_t)s->window.kernel_w);
    p->y_scale.is_signed = type_of(node, in->y_zero, LEAT_DTYPE_U8) == LEAT_DTYPE_I8;
    p->z_scale.is_signed = type_of(node, in->z_zero, LEAT_DTYPE_U8) == LEAT_DTYPE_I8;
    p->r_scale.is_signed = type_of(node, in->residual, LEAT_DTYPE_U8) == LEAT_DTYPE_I8;
    (void)lt_cuda_activation(node->node, &p->activation);
}

static void point(lt_cuda_launch *launch, size_t offset, int32_t input)
{
    if (input >= 0) {
        launch->pointers[launch->n_pointers++] =
            (lt_cuda_pointer){(uint32_t)offset, LT_CUDA_INPUT, (uint32_t)input, 0};
    }
}

/* Where data and weights lie; weights NULL: in the workspace at weights_at. */
typedef struct places_of_data {
    lt_cuda_pointer x, y, residual;
    const void *weights;
    int64_t weights_at;
} places_of_data;

static leat_status add_product(lt_cuda_builder *b, const lt_cuda_qproduct *q,
                               const places_of_data *data)
{
    const lt_cuda_qinputs *in = &q->in;
    const places at = place(&q->pack);
    const bool zeros = has_zeros(b->node, q);
    lt_gpu_qconv p = {.x = NULL};
    char name[64], suffix[16];
    lt_cuda_launch launch = {.kernel = name, .parameters = &p, .parameter_bytes = sizeof(p)};
    fill_parameters(b->node, q, &p);
    lt_cuda_pointer x = data->x, y = data->y, residual = data->residual;
    x.offset = offsetof(lt_gpu_qconv, x);
    y.offset = offsetof(lt_gpu_qconv, y);
    residual.offset = offsetof(lt_gpu_qconv, residual);
    launch.pointers[launch.n_pointers++] = x;
    launch.pointers[launch.n_pointers++] = y;
    if (in->residual >= 0) {
        launch.pointers[launch.n_pointers++] = residual;
    }
    if (data->weights != NULL) {
        p.w = data->weights;
        p.w_sum = (const int32_t *)(const void *)(p.w + at.sums);
        p.w_zero = zeros ? p.w + at.zeros : NULL;
    } else {
        const lt_cuda_pointer parts[3] = {
            {offsetof(lt_gpu_qconv, w), LT_CUDA_WORKSPACE, 0, data->weights_at},
            {offsetof(lt_gpu_qconv, w_sum), LT_CUDA_WORKSPACE, 0, data->weights_at + at.sums},
            {offsetof(lt_gpu_qconv, w_zero), LT_CUDA_WORKSPACE, 0, data->weights_at + at.zeros}};
        for (int i = 0; i < (zeros ? 3 : 2); i++) {
            launch.pointers[launch.n_pointers++] = parts[i];
        }
    }
    point(&launch, offsetof(lt_gpu_qconv, x_scale), in->x_scale);
    point(&launch, offsetof(lt_gpu_qconv, x_zero), in->x_zero);
    point(&launch, offsetof(lt_gpu_qconv, w_scale), in->w_scale);
    point(&launch, offsetof(lt_gpu_qconv, bias), in->bias);
    point(&launch, offsetof(lt_gpu_qconv, y_scale.scale), in->y_scale);
    point(&launch, offsetof(lt_gpu_qconv, y_scale.zero), in->y_zero);
    point(&launch, offsetof(lt_gpu_qconv, r_scale.scale), in->r_scale);
    point(&launch, offsetof(lt_gpu_qconv, r_scale.zero), in->r_zero);
    point(&launch, offsetof(lt_gpu_qconv, z_scale.scale), in->z_scale);
    point(&launch, offsetof(lt_gpu_qconv, z_scale.zero), in->z_zero);
    int64_t items = lt_gpu_qconv_items(&p);
    launch.grid[0] = q->depthwise ? lt_gpu_blocks(q->m * q->n, 1, b->device->processors)
                                  : (uint32_t)(items < (1 << 30) ? items : 1 << 30);
    const char *type = q->x == LEAT_DTYPE_I8 ? "i8" : "u8";
    memcpy(suffix, type, 3);
    if (!q->depthwise) {
        memcpy(suffix + 2, zeros ? "_zero" : "_plain", 7 - (zeros ? 1 : 0));
    }
    lt_cuda_kernel_name(name, q->depthwise ? "qdepthwise" : "qconv", suffix);
    return lt_cuda_add(b, &launch);
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* x of floats: quantized, then transposed in the workspace from `from` on; *out_end: behind it. */
static leat_status quantize_data(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t from,
                                 places_of_data *data, int64_t *out_end)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const int64_t pixels = (int64_t)s->window.height * s->window.width;
    const int64_t last = from + aligned(s->images * pixels * s->channels);
    const lt_cuda_pointer first = {0, LT_CUDA_WORKSPACE, 0, from};
    data->x = (lt_cuda_pointer){0, LT_CUDA_WORKSPACE, 0, last};
    *out_end = last + (last - from);
    leat_status status = lt_cuda_add_quantize(b, q, from);
    return status ? status
                  : lt_cuda_add_transpose(b, s->images, s->channels, pixels, LEAT_DTYPE_U8, first,
                                          data->x);
}

/* Data of ai.onnx's layout, transposed in the workspace from `from` on; *out_end: behind it. */
static leat_status transpose_data(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t from,
                                  places_of_data *data, int64_t *out_end)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const leat_value *residual = lt_cuda_qinput(b->node, q->in.residual);
    int64_t x_pixels = (int64_t)s->window.height * s->window.width;
    int64_t y_pixels = (int64_t)s->window.out_h.value * s->window.out_w.value;
    int64_t y_count = s->images * y_pixels * s->out_channels;
    lt_cuda_pointer x = data->x, r = data->residual;
    int64_t y_at = from + aligned(s->images * x_pixels * s->channels);
    int64_t r_at =
        y_at + aligned(y_count * lt_cuda_element_bytes(leat_kernel_output(b->node, 0)->dtype));
    data->x = (lt_cuda_pointer){0, LT_CUDA_WORKSPACE, 0, from};
    data->y = (lt_cuda_pointer){0, LT_CUDA_WORKSPACE, 0, y_at};
    leat_status status =
        lt_cuda_add_transpose(b, s->images, s->channels, x_pixels, LEAT_DTYPE_U8, x, data->x);
    *out_end = r_at;
    if (residual != NULL && status == LEAT_OK) {
        data->residual = (lt_cuda_pointer){0, LT_CUDA_WORKSPACE, 0, r_at};
        *out_end = r_at + aligned(y_count * lt_cuda_element_bytes(residual->dtype));
        status = lt_cuda_add_transpose(b, s->images, s->out_channels, y_pixels, residual->dtype, r,
                                       data->residual);
    }
    return status;
}

leat_status lt_cuda_qproduct_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    lt_cuda_qproduct q = {.conv = false};
    const leat_value *y = leat_kernel_output(node, 0);
    int64_t end = 0;
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 7, err);
    if (status != LEAT_OK || leat_value_count(y) == 0) {
        return status;
    }
    status = read_node(node, &q, err);
    out_kernel->flops = 2 * (uint64_t)leat_value_count(y) * (uint64_t)q.k;
    if (status != LEAT_OK || lt_cuda_qtensor(&b, &q)) {
        return status;
    }
    places_of_data data = {
        .x = {0, LT_CUDA_INPUT, 0, 0},
        .y = {0, LT_CUDA_OUTPUT, 0, 0},
        .residual = {0, LT_CUDA_INPUT, q.in.residual < 0 ? 0 : (uint32_t)q.in.residual, 0}};
    if (q.constant) {
        status = pack_constant(&b, &q, &data.weights);
        out_kernel->unread_mask = 1u << q.in.w | (q.in.w_zero < 0 ? 0 : 1u << q.in.w_zero);
    } else {
        status = add_pack(&b, &q, 0);
        end = place(&q.pack).bytes;
    }
    if (status == LEAT_OK && q.floats) {
        status = quantize_data(&b, &q, end, &data, &end);
    }
    if (status == LEAT_OK && !q.last) {
        status = transpose_data(&b, &q, end, &data, &end);
    }
    status = status ? status : add_product(&b, &q, &data);
    out_kernel->workspace_bytes = (size_t)end;
    if (status != LEAT_OK || q.last) {
        return status;
    }
    return lt_cuda_add_transpose(
        &b, q.shape.images, (int64_t)q.shape.window.out_h.value * q.shape.window.out_w.value,
        q.shape.out_channels, y->dtype, data.y, (lt_cuda_pointer){0, LT_CUDA_OUTPUT, 0, 0});
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bytes on the tensor cores (gemm/): weights with a zero point of 0, one group, all
 * scales and zero points constant, or those of the data computed before (DynamicQuantizeLinear).
 * What the epilogue needs of a column (offset, scale, bias) lies behind the packed weights in one
 * block; what it needs of all is in the plan.
 *
 * A 1 x 1 convolution is a product of its pixels. Others gather pixels as they are copied, where
 * pads are zero bytes and channels a multiple of 16. Of few channels (a network's first
 * convolution) the image is written anew (qnarrow.c); otherwise the gathered matrix is written to
 * the workspace. */
#include "qproduct.h"
#include "tensor.h"

#include <math.h>
#include <stddef.h>

typedef enum way {
    PRODUCT, /* data is a matrix, its rows a multiple of 16 bytes */
    GATHER,
    NARROW, /* the others: by way of the workspace */
    COLUMNS
} way;

/* The block: weights [lt_cuda_gemm_byte_rows(n)][row], offset, scale, bias. */
typedef struct block {
    const leat_kernel_node *node;
    const lt_cuda_qproduct *q;
    const lt_cuda_qnarrow *narrow; /* NULL: taps one behind the other */
    bool scaled;                   /* x's scale and zero point are not constant */
    int64_t row;                   /* bytes */
    int64_t offset_at, scale_at, bias_at, bytes;
    float divisor; /* of scales and biases */
} block;

static const void *data_of(const leat_kernel_node *node, int32_t input)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    return value ? value->data : NULL;
}

static int32_t byte_of(const leat_value *value, int64_t i)
{
    return value->dtype == LEAT_DTYPE_I8 ? ((const int8_t *)value->data)[i]
                                         : ((const uint8_t *)value->data)[i];
}

static int32_t zero_of(const leat_kernel_node *node, int32_t input)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    return value ? byte_of(value, 0) : 0;
}

static float float_of(const leat_kernel_node *node, int32_t input, int64_t i)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    float v;
    memcpy(&v, (const float *)value->data + (leat_value_count(value) > 1 ? i : 0), sizeof(v));
    return v;
}

/* ---- the epilogue ---------------------------------------------------------------------------- */

static float lowest(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_I8 ? -128.0f : 0.0f;
}

static float highest(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_I8 ? 127.0f : 255.0f;
}

/* Activations that are a clamp become bounds; true for others. */
static bool clamp_of(const lt_gpu_activation *a, float *low, float *high)
{
    *low = a->function == LT_GPU_RELU ? 0.0f : a->function == LT_GPU_CLIP ? a->alpha : -INFINITY;
    *high = a->function == LT_GPU_CLIP ? a->beta : INFINITY;
    return a->function != LT_GPU_RELU && a->function != LT_GPU_CLIP &&
           a->function != LT_GPU_IDENTITY;
}

/* The residual, and with it the first of two quantizations. Sets *divisor of the sums. */
static void set_residual(const leat_kernel_node *node, const lt_cuda_qinputs *in, float *divisor,
                         lt_cuda_gemm_requantize *r)
{
    const leat_value *residual = lt_cuda_qinput(node, in->residual);
    int32_t shift = residual->dtype == LEAT_DTYPE_I8 ? 128 : 0;
    if (in->r_scale >= 0) {
        r->residual_factor = float_of(node, in->r_scale, 0);
        r->residual_offset = -(float)(zero_of(node, in->r_zero) + shift) * r->residual_factor;
    }
    if (in->y_scale >= 0) {
        const leat_value *zero = lt_cuda_qinput(node, in->y_zero);
        leat_dtype type = zero ? zero->dtype : LEAT_DTYPE_U8;
        r->mid = 1;
        r->mid_low = lowest(type) - (float)zero_of(node, in->y_zero);
        r->mid_high = highest(type) - (float)zero_of(node, in->y_zero);
        r->mid_factor = *divisor = float_of(node, in->y_scale, 0);
    }
}

/* What becomes of the sums, as on the CPU. Returns the divisor of scales and biases. */
static float requantize(const leat_kernel_node *node, const lt_cuda_qproduct *q,
                        lt_gpu_activation *activation, lt_cuda_gemm_requantize *r)
{
    const lt_cuda_qinputs *in = &q->in;
    const bool residual = in->residual >= 0;
    const leat_dtype type = leat_kernel_output(node, 0)->dtype;
    float divisor = 1;
    *r = (lt_cuda_gemm_requantize){.mid_factor = 1, .residual_factor = 1, .post = 1};
    const bool function = clamp_of(activation, &r->low, &r->high);
    if (!function) {
        activation->function = LT_GPU_IDENTITY;
    }
    if (residual) {
        set_residual(node, in, &divisor, r);
    }
    if ((LT_CUDA_FLOATS >> type & 1) != 0) {
        return divisor;
    }
    const float scale = float_of(node, residual ? in->z_scale : in->y_scale, 0);
    const float low = lowest(type), high = highest(type);
    r->zero = zero_of(node, residual ? in->z_zero : in->y_zero);
    r->low = fminf(fmaxf(low - (float)r->zero, r->low / scale), high - (float)r->zero);
    r->high = fmaxf(fminf(high - (float)r->zero, r->high / scale), low - (float)r->zero);
    if (function) {
        r->post = 1.0f / scale;
    } else if (residual) {
        r->mid_factor /= scale;
        r->residual_factor /= scale;
        r->residual_offset /= scale;
    } else {
        divisor = scale;
    }
    return divisor;
}

/* ---- the block ------------------------------------------------------------------------------- */

static void fill_columns(const block *b, int64_t o, int32_t sum, char *out)
{
    const lt_cuda_qinputs *in = &b->q->in;
    const leat_value *bias = lt_cuda_qinput(b->node, in->bias);
    const bool whole = bias != NULL && bias->dtype == LEAT_DTYPE_I32;
    const uint32_t zero = b->scaled ? ~0u : (uint32_t)zero_of(b->node, in->x_zero);
    const float x_scale = b->scaled ? 1.0f : float_of(b->node, in->x_scale, 0);
    uint32_t offset = 0u - zero * (uint32_t)sum;
    int32_t units;
    if (whole) {
        memcpy(&units, (const int32_t *)bias->data + o, sizeof(units));
        offset += (uint32_t)units;
    }
    ((uint32_t *)(void *)(out + b->offset_at))[o] = offset;
    ((float *)(void *)(out + b->scale_at))[o] =
        x_scale * float_of(b->node, in->w_scale, o) / b->divisor;
    ((float *)(void *)(out + b->bias_at))[o] =
        bias != NULL && !whole ? float_of(b->node, in->bias, o) / b->divisor : 0.0f;
}

/* Where a weight lies in its row of the block. */
static int64_t place_of(const block *b, int64_t tap, int64_t i)
{
    const int64_t kw = b->q->shape.window.kernel_w;
    return b->narrow ? lt_cuda_qnarrow_place(b->narrow, tap / kw, tap % kw, i)
                     : tap * b->q->pack.inputs + i;
}

static leat_status fill_block(void *out, size_t bytes, const leat_value *constant,
                              const void *argument, leat_error *err)
{
    const block *b = argument;
    const lt_gpu_qpack *p = &b->q->pack;
    const int32_t shift = p->is_signed ? 0 : 128;
    int8_t *weights = out;
    (void)err;
    memset(out, 0, bytes);
    for (int64_t o = 0; o < p->outputs; o++) {
        int8_t *row = weights + lt_cuda_gemm_byte_row(o) * b->row;
        int32_t sum = 0;
        for (int64_t tap = 0; tap < p->taps; tap++) {
            for (int64_t i = 0; i < p->inputs; i++) {
                int64_t from = o * p->o_stride + i * p->i_stride + tap * p->tap_stride;
                int32_t v = byte_of(constant, from) - shift;
                row[place_of(b, tap, i)] = (int8_t)v;
                sum += v;
            }
        }
        fill_columns(b, o, sum, out);
    }
    return LEAT_OK;
}

static uint64_t hash(uint64_t seed, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes && data != NULL; i++) {
        seed = (seed ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    }
    return seed;
}

static size_t bytes_of(const leat_kernel_node *node, int32_t input)
{
    const leat_value *value = lt_cuda_qinput(node, input);
    return value ? (size_t)leat_value_count(value) * lt_cuda_element_bytes(value->dtype) : 0;
}

/* Everything that fill_block reads besides the weights. */
static uint64_t key_of(const block *b)
{
    const lt_gpu_qpack *p = &b->q->pack;
    const lt_cuda_qinputs *in = &b->q->in;
    const lt_cuda_qnarrow *n = b->narrow;
    const int64_t numbers[] = {p->o_stride,    p->i_stride, p->tap_stride, p->inputs,
                               p->taps,        b->row,      b->scaled,     n ? n->slots_log2 : -1,
                               n ? n->rows : 0};
    const int32_t inputs[] = {in->x_scale, in->x_zero, in->w_scale, in->bias};
    uint64_t key = hash(0x84222325cbf29ce4u, numbers, sizeof(numbers));
    key = hash(key, &b->divisor, sizeof(b->divisor));
    for (int i = 0; i < 4; i++) {
        key = hash(key, data_of(b->node, inputs[i]), bytes_of(b->node, inputs[i]));
    }
    return key;
}

static leat_status make_block(lt_cuda_builder *b, block *out, lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_qproduct *q = out->q;
    const leat_value *bias = lt_cuda_qinput(b->node, q->in.bias);
    const void *data;
    out->offset_at = (lt_cuda_gemm_byte_rows(q->n) * out->row + 255) / 256 * 256;
    out->scale_at = out->offset_at + q->n * 4;
    out->bias_at = out->scale_at + q->n * 4;
    out->bytes = out->bias_at + q->n * 4;
    leat_status status = b->host->plan_pack(b->plan, lt_cuda_qinput(b->node, q->in.w), key_of(out),
                                            (size_t)out->bytes, fill_block, out, &data, b->err);
    if (status == LEAT_OK) {
        const char *at = data;
        inputs->packed_b = at;
        inputs->offset = (const int32_t *)(const void *)(at + out->offset_at);
        inputs->scale = (const float *)(const void *)(at + out->scale_at);
        inputs->packed_bias =
            bias != NULL && bias->dtype == LEAT_DTYPE_F32 ? at + out->bias_at : NULL;
    }
    return status;
}

/* ---- the product ----------------------------------------------------------------------------- */

static bool is_computed(const leat_kernel_node *node, int32_t input)
{
    return input >= 0 && data_of(node, input) == NULL;
}

/* Whether x's scale and zero point are computed: the epilogue takes them where they lie. */
static bool is_scaled(const leat_kernel_node *node, const lt_cuda_qproduct *q)
{
    return is_computed(node, q->in.x_scale) || is_computed(node, q->in.x_zero);
}

/* Whether all else that the epilogue needs is constant and the weights' zero points are 0. */
static bool is_fixed(const leat_kernel_node *node, const lt_cuda_qproduct *q)
{
    const lt_cuda_qinputs *in = &q->in;
    const int32_t all[] = {in->w_scale, in->y_scale, in->y_zero,  in->bias,
                           in->r_scale, in->r_zero,  in->z_scale, in->z_zero};
    const leat_value *zero = lt_cuda_qinput(node, in->w_zero);
    const int32_t none = q->pack.is_signed ? 0 : 128;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (is_computed(node, all[i])) {
            return false;
        }
    }
    for (int64_t i = 0; zero != NULL && i < leat_value_count(zero); i++) {
        if (byte_of(zero, i) != none) {
            return false;
        }
    }
    return zero != NULL || none == 0;
}

static bool has_pads(const lt_cuda_qproduct *q)
{
    const lt_gpu_window *w = &q->shape.window;
    return w->pad_top || w->pad_left || q->shape.pad_bottom || q->shape.pad_right;
}

static way choose_way(const leat_kernel_node *node, const lt_cuda_qproduct *q,
                      lt_cuda_qnarrow *narrow)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const lt_gpu_window *w = &s->window;
    const bool pads = has_pads(q);
    if (s->channels % 16 != 0 || (pads && zero_of(node, q->in.x_zero) != 0)) {
        return q->conv && lt_cuda_qnarrow_read(s, narrow) ? NARROW : COLUMNS;
    }
    const bool plain = w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1;
    return plain && !pads ? PRODUCT : GATHER;
}

/* Writes the gathered matrix; the workspace holds nothing else. */
static leat_status add_columns(lt_cuda_builder *b, const lt_cuda_qproduct *q, int64_t row)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const lt_gpu_byte_columns p = {
        .pixels = q->m,
        .row = (int32_t)row,
        .end = q->pack.taps * q->pack.inputs,
        .zero = (uint32_t)zero_of(b->node, q->in.x_zero) & 255u,
        .channels = lt_gpu_divisor_make((uint32_t)s->channels),
        .kernel_w = lt_gpu_divisor_make((uint32_t)s->window.kernel_w),
        .row_packs = lt_gpu_divisor_make((uint32_t)row / 16),
        .window = s->window,
    };
    return lt_cuda_add(
        b, &(lt_cuda_launch){
               .kernel = "lt_gpu_byte_columns_u8",
               .grid = {lt_gpu_blocks(q->m * row, 16, b->device->processors)},
               .parameters = &p,
               .parameter_bytes = sizeof(p),
               .n_pointers = 2,
               .pointers = {{offsetof(lt_gpu_byte_columns, x), LT_CUDA_INPUT, 0, 0},
                            {offsetof(lt_gpu_byte_columns, out), LT_CUDA_WORKSPACE, 0, 0}}});
}

/* What products and convolutions are told alike. */
typedef struct common {
    leat_dtype x, y, bias, residual;
    int32_t activation;
    float alpha, beta;
    lt_cuda_gemm_requantize requantize;
} common;

static bool as_product(lt_cuda_builder *b, const lt_cuda_qproduct *q, const common *c, int64_t row,
                       const lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_gemm_desc desc = {
        .dtype = c->x,
        .out_dtype = c->y,
        .bias_dtype = c->bias,
        .residual_dtype = c->residual,
        .b_transposed = 1,
        .activation = c->activation,
        .alpha = c->alpha,
        .beta = c->beta,
        .scale = 1,
        .m = q->m,
        .n = q->n,
        .k = row,
        .batch = 1,
        .lda = row,
        .ldb = row,
        .ldd = q->n,
        .ldr = q->n,
        .d_batch = q->m * q->n,
        .overlap = 1,
        .b_constant = 1,
        .requantize = c->requantize,
    };
    return lt_cuda_tensor_product(b, &desc, inputs) == LEAT_OK;
}

static bool as_conv(lt_cuda_builder *b, const lt_cuda_qproduct *q, const common *c,
                    const lt_cuda_qnarrow *narrow, const lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_conv_shape *s = &q->shape;
    lt_cuda_gemm_conv_desc desc = lt_cuda_tensor_conv_desc(&s->window, s->pad_bottom, s->pad_right);
    desc.dtype = c->x;
    desc.out_dtype = c->y;
    desc.bias_dtype = c->bias;
    desc.residual_dtype = c->residual;
    desc.activation = c->activation;
    desc.alpha = c->alpha;
    desc.beta = c->beta;
    desc.images = s->images;
    desc.c = s->channels;
    desc.n = s->out_channels;
    desc.requantize = c->requantize;
    if (narrow != NULL) {
        lt_cuda_qnarrow_desc(narrow, s, &desc);
    }
    return lt_cuda_tensor_conv(b, &desc, inputs) == LEAT_OK;
}

/* The kernel of a way; those by the workspace get the launch that fills it, too. */
static bool make_kernel(lt_cuda_builder *b, way how, const block *packed, const common *c,
                        const lt_cuda_tensor_inputs *inputs)
{
    const lt_cuda_qproduct *q = packed->q;
    const lt_cuda_qnarrow *narrow = packed->narrow;
    const bool done = how == GATHER || how == NARROW ? as_conv(b, q, c, narrow, inputs)
                                                     : as_product(b, q, c, packed->row, inputs);
    if (!done || how == PRODUCT || how == GATHER) {
        return done;
    }
    b->kernel->workspace_bytes = (size_t)(narrow ? narrow->bytes : q->m * packed->row);
    return (narrow
                ? lt_cuda_qnarrow_add(b, narrow, q, (uint32_t)zero_of(b->node, q->in.x_zero) & 255u)
                : add_columns(b, q, packed->row)) == LEAT_OK;
}

bool lt_cuda_qtensor(lt_cuda_builder *b, const lt_cuda_qproduct *q)
{
    const leat_kernel_node *node = b->node;
    const leat_value *bias = lt_cuda_qinput(node, q->in.bias);
    const leat_value *residual = lt_cuda_qinput(node, q->in.residual);
    const bool whole = bias != NULL && bias->dtype == LEAT_DTYPE_I32;
    lt_gpu_activation activation;
    lt_cuda_qnarrow narrow;
    if (b->device->tensor == NULL || !q->last || !q->constant || q->batch != 1 ||
        q->shape.groups != 1 || q->in.x_scale < 0 || !lt_cuda_activation(node->node, &activation) ||
        !is_fixed(node, q)) {
        return false;
    }
    const bool scaled = is_scaled(node, q);
    if (scaled && (whole || has_pads(q))) {
        return false;
    }
    const way how = choose_way(node, q, &narrow);
    if ((scaled && how != PRODUCT && how != GATHER) || (q->floats && how != NARROW)) {
        return false;
    }
    const int64_t k = (int64_t)q->pack.taps * q->pack.inputs;
    block packed = {.node = node,
                    .q = q,
                    .narrow = how == NARROW ? &narrow : NULL,
                    .scaled = scaled,
                    .row = how == NARROW    ? narrow.row
                           : how == COLUMNS ? (k + 15) / 16 * 16
                                            : k};
    common c = {.x = q->x,
                .y = leat_kernel_output(node, 0)->dtype,
                .bias = bias != NULL && !whole ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED,
                .residual = residual ? residual->dtype : LEAT_DTYPE_UNDEFINED};
    packed.divisor = requantize(node, q, &activation, &c.requantize);
    c.alpha = activation.alpha;
    c.beta = activation.beta;
    lt_cuda_tensor_inputs inputs = {.a = how == COLUMNS || how == NARROW ? LT_CUDA_TENSOR_WORKSPACE
                                                                         : 0,
                                    .b = -1,
                                    .bias = -1,
                                    .residual = q->in.residual,
                                    .scaled = scaled,
                                    .x_scale = q->in.x_scale,
                                    .x_zero = q->in.x_zero};
    const leat_kernel before = *b->kernel;
    if ((how == COLUMNS && q->m > LT_GPU_MAX_COUNT / packed.row) ||
        !lt_cuda_tensor_activation(&activation, &c.activation) ||
        make_block(b, &packed, &inputs) != LEAT_OK || !make_kernel(b, how, &packed, &c, &inputs)) {
        *b->kernel = before;
        return false;
    }
    uint32_t read = 1u | (residual ? 1u << q->in.residual : 0u);
    if (scaled || q->floats) {
        read |= 1u << q->in.x_scale | (q->in.x_zero >= 0 ? 1u << q->in.x_zero : 0u);
    }
    b->kernel->unread_mask = ~read;
    return true;
}

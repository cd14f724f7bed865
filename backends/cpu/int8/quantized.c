/* SPDX-License-Identifier: Apache-2.0 */
#include "int8/quantized.h"

#include "quantize/quantize.h"

#include <math.h>

/* --- operands -----------------------------------------------------------------------------------
 */

static bool is_byte(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_U8 || dtype == LEAT_DTYPE_I8;
}

/* Input i when it is there; else LEAT_NO_VALUE. */
static uint32_t present(const leat_kernel_node *node, uint32_t i)
{
    return leat_kernel_input(node, i) != NULL ? i : LEAT_NO_VALUE;
}

static lt_int8_inputs find_inputs(const leat_kernel_node *node)
{
    const uint32_t none = LEAT_NO_VALUE;
    if (strstr(node->node->op, "Integer") != NULL) {
        return (lt_int8_inputs){.x = 0,
                                .w = 1,
                                .x_zero = present(node, 2),
                                .w_zero = present(node, 3),
                                .x_scale = none,
                                .w_scale = none,
                                .y_scale = none,
                                .y_zero = none,
                                .bias = none,
                                .r_scale = none,
                                .r_zero = none,
                                .z_scale = none,
                                .z_zero = none,
                                .residual = none};
    }
    bool own = strcmp(node->node->domain, "leat") == 0;
    lt_int8_inputs in = {.x = 0,
                         .x_scale = 1,
                         .x_zero = present(node, 2),
                         .w = 3,
                         .w_scale = 4,
                         .w_zero = present(node, 5),
                         .y_scale = present(node, 6),
                         .y_zero = present(node, 7),
                         .bias = present(node, 8),
                         .r_scale = own ? present(node, 9) : none,
                         .r_zero = own ? present(node, 10) : none,
                         .z_scale = own ? present(node, 11) : none,
                         .z_zero = own ? present(node, 12) : none,
                         .residual = own ? present(node, 13) : none};
    return in;
}

static leat_dtype type_of(const leat_kernel_node *node, uint32_t i, leat_dtype otherwise)
{
    return i == LEAT_NO_VALUE ? otherwise : leat_kernel_input(node, i)->dtype;
}

static leat_status refuse(const leat_kernel_node *node, const char *what, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': %s", node->node->op, node->node->name,
                       what);
}

/* Types of scales and zero points. */
static leat_status check_types(const leat_kernel_node *node, const lt_int8_node *q, leat_error *err)
{
    const lt_int8_inputs *in = &q->in;
    const uint32_t scales[] = {in->x_scale, in->w_scale, in->y_scale, in->r_scale, in->z_scale};
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        if (type_of(node, scales[i], LEAT_DTYPE_F32) != LEAT_DTYPE_F32) {
            return refuse(node, "scales must be f32", err);
        }
    }
    if (!is_byte(q->x_type) || !is_byte(q->w_type) || !is_byte(q->y_type) || !is_byte(q->z_type)) {
        return refuse(node, "operands must be u8 or i8", err);
    }
    bool zeros = type_of(node, in->x_zero, q->x_type) == q->x_type &&
                 type_of(node, in->w_zero, q->w_type) == q->w_type;
    if (!zeros) {
        return refuse(node, "zero points must have their operands' types", err);
    }
    if (in->residual == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    bool bytes = is_byte(q->residual_type) && in->r_scale != LEAT_NO_VALUE &&
                 type_of(node, in->r_zero, q->residual_type) == q->residual_type;
    return bytes || (q->residual_type == LEAT_DTYPE_F32 && in->r_scale == LEAT_NO_VALUE)
               ? LEAT_OK
               : refuse(node, "a residual of this type", err);
}

leat_status lt_int8_read(const leat_kernel_node *node, lt_int8_node *out, leat_error *err)
{
    lt_int8_node q = {.in = find_inputs(node), .groups = 1};
    const leat_value *y = leat_kernel_output(node, 0);
    bool integer = q.in.x_scale == LEAT_NO_VALUE;
    if (leat_kernel_input(node, q.in.x) == NULL || leat_kernel_input(node, q.in.w) == NULL ||
        y == NULL ||
        (!integer && (leat_kernel_input(node, 1) == NULL || leat_kernel_input(node, 4) == NULL))) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': an input is missing", node->node->op,
                           node->node->name);
    }
    q.x_type = type_of(node, q.in.x, LEAT_DTYPE_UNDEFINED);
    q.w_type = type_of(node, q.in.w, LEAT_DTYPE_UNDEFINED);
    q.y_type = type_of(node, q.in.y_zero, LEAT_DTYPE_U8);
    q.z_type = type_of(node, q.in.z_zero, LEAT_DTYPE_U8);
    q.residual_type = type_of(node, q.in.residual, LEAT_DTYPE_UNDEFINED);
    q.bias_type = type_of(node, q.in.bias, LEAT_DTYPE_I32);
    if (!lt_cpu_activation_read(node->node, &q.activation)) {
        return refuse(node, "unknown activation", err);
    }
    bool residual = q.in.residual != LEAT_NO_VALUE;
    bool bytes = (residual ? q.in.z_scale : q.in.y_scale) != LEAT_NO_VALUE;
    q.result = integer ? LT_INT8_RESULT_SUM : bytes ? LT_INT8_RESULT_BYTE : LT_INT8_RESULT_F32;
    leat_dtype result = integer ? LEAT_DTYPE_I32
                        : bytes ? (residual ? q.z_type : q.y_type)
                                : LEAT_DTYPE_F32;
    if (y->dtype != result) {
        return refuse(node, "the output's type is not that of its zero point", err);
    }
    if (q.bias_type != LEAT_DTYPE_I32 && q.bias_type != LEAT_DTYPE_F32) {
        return refuse(node, "a bias of this type", err);
    }
    *out = q;
    return check_types(node, out, err);
}

/* --- sizes --------------------------------------------------------------------------------------
 */

static size_t count_of(const leat_kernel_node *node, uint32_t i)
{
    return i == LEAT_NO_VALUE ? 0 : (size_t)leat_value_count(leat_kernel_input(node, i));
}

static bool is_constant(const leat_kernel_node *node, uint32_t i)
{
    return i == LEAT_NO_VALUE || leat_kernel_input(node, i)->data != NULL;
}

leat_status lt_int8_check_sizes(const leat_kernel_node *node, lt_int8_node *q, leat_error *err)
{
    const lt_int8_inputs *in = &q->in;
    const uint32_t single[] = {in->x_scale, in->y_scale, in->y_zero, in->r_scale,
                               in->r_zero,  in->z_scale, in->z_zero};
    const uint32_t all[] = {in->x_scale, in->x_zero,  in->w_scale, in->w_zero,
                            in->y_scale, in->y_zero,  in->bias,    in->r_scale,
                            in->r_zero,  in->z_scale, in->z_zero};
    size_t n = q->groups * q->n;
    q->x_zeros = count_of(node, in->x_zero);
    q->w_scales = count_of(node, in->w_scale);
    q->w_zeros = count_of(node, in->w_zero);
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        if (single[i] != LEAT_NO_VALUE && count_of(node, single[i]) != 1) {
            return refuse(node, "scales and zero points of data must be single numbers", err);
        }
    }
    bool rows = q->result == LT_INT8_RESULT_SUM && q->x_zeros == q->m && q->groups == 1;
    if ((q->x_zeros > 1 && !rows) || (q->w_scales > 1 && q->w_scales != n) ||
        (q->w_zeros > 1 && q->w_zeros != n)) {
        return refuse(
            node, "scales or zero points of another shape than one number, or one a column", err);
    }
    size_t biases = count_of(node, in->bias);
    if (in->bias != LEAT_NO_VALUE && biases != n) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': %zu biases for %zu channels",
                           node->node->op, node->node->name, biases, n);
    }
    if (in->residual != LEAT_NO_VALUE && leat_value_count(leat_kernel_input(node, in->residual)) !=
                                             leat_value_count(leat_kernel_output(node, 0))) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s node '%s': the residual's shape is not the output's", node->node->op,
                           node->node->name);
    }
    q->constant_weights = is_constant(node, in->w);
    q->fixed = q->constant_weights;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        q->fixed &= is_constant(node, all[i]);
    }
    return LEAT_OK;
}

/* --- epilogue -----------------------------------------------------------------------------------
 */

static int32_t get_8(leat_dtype dtype, const void *data, size_t i)
{
    return dtype == LEAT_DTYPE_U8 ? ((const uint8_t *)data)[i] : ((const int8_t *)data)[i];
}

/* A zero point of u8 or s8; 0 when there is none. */
static int32_t zero_of(const void *const *inputs, uint32_t i, leat_dtype dtype)
{
    return i == LEAT_NO_VALUE ? 0 : get_8(dtype, inputs[i], 0);
}

/* What 128 added to s8 data makes of its zero point. */
static int32_t data_zero(const void *const *inputs, uint32_t i, leat_dtype dtype)
{
    return zero_of(inputs, i, dtype) + (dtype == LEAT_DTYPE_I8 ? 128 : 0);
}

static float scale_of(const void *const *inputs, uint32_t i)
{
    return i == LEAT_NO_VALUE ? 1.0f : *(const float *)inputs[i];
}

/* Elements of each array: one column a group (depthwise) is read in blocks of up to 64. */
static size_t array_columns(const lt_int8_node *q)
{
    return q->groups * q->columns + (q->columns == 1 ? 64 : 0);
}

size_t lt_int8_params_bytes(const lt_int8_node *q)
{
    size_t columns = array_columns(q), total = 0;
    for (int i = 0; i < 5; i++) {
        lt_int8_take(&total, columns * sizeof(int32_t));
    }
    lt_int8_take(&total, q->x_zeros * sizeof(int32_t));
    return total;
}

/* The arrays, in the order in which they lie in memory. */
typedef struct arrays {
    int32_t *offset, *column_zero, *column_sum, *row_zero;
    float *scale, *bias;
} arrays;

static arrays place_arrays(const lt_int8_node *q, char *memory)
{
    size_t bytes = array_columns(q) * sizeof(int32_t), total = 0;
    arrays a;
    a.offset = (int32_t *)(void *)(memory + lt_int8_take(&total, bytes));
    a.column_zero = (int32_t *)(void *)(memory + lt_int8_take(&total, bytes));
    a.column_sum = (int32_t *)(void *)(memory + lt_int8_take(&total, bytes));
    a.scale = (float *)(void *)(memory + lt_int8_take(&total, bytes));
    a.bias = (float *)(void *)(memory + lt_int8_take(&total, bytes));
    a.row_zero = (int32_t *)(void *)(memory + lt_int8_take(&total, q->x_zeros * sizeof(int32_t)));
    return a;
}

/* Integers of each column; returns whether a zero point of the weights is not 0. */
static bool fill_integers(const lt_int8_node *q, const void *const *inputs, const int32_t *sums,
                          const arrays *a)
{
    const void *zeros = lt_int8_input(inputs, q->in.w_zero);
    int32_t shift = q->w_type == LEAT_DTYPE_U8 ? 128 : 0;
    bool some = false;
    for (size_t g = 0; g < q->groups; g++) {
        for (size_t c = 0; c < q->columns; c++) {
            size_t at = g * q->columns + c, from = g * q->n + c;
            bool there = c < q->n;
            int32_t zero = -shift;
            if (there && zeros != NULL) {
                zero += get_8(q->w_type, zeros, q->w_zeros == 1 ? 0 : from);
            }
            some |= there && zero != 0;
            a->column_zero[at] = zero;
            a->column_sum[at] = (int32_t)((uint32_t)sums[at] - (uint32_t)q->k * (uint32_t)zero);
        }
    }
    return some;
}

/* Where sums start. */
static void fill_offsets(const lt_int8_node *q, const void *const *inputs, const arrays *a)
{
    const int32_t *bias = q->bias_type == LEAT_DTYPE_I32 ? lt_int8_input(inputs, q->in.bias) : NULL;
    uint32_t zero = q->x_zeros > 1 ? 0 : (uint32_t)data_zero(inputs, q->in.x_zero, q->x_type);
    for (size_t i = 0; i < q->groups * q->columns; i++) {
        a->offset[i] = (int32_t)(0u - zero * (uint32_t)a->column_sum[i]);
    }
    for (size_t g = 0; bias != NULL && g < q->groups; g++) {
        uint32_t *to = (uint32_t *)a->offset + g * q->columns;
        for (size_t c = 0; c < q->n; c++) {
            to[c] += (uint32_t)bias[g * q->n + c];
        }
    }
}

/* Scales and f32 biases of each column, times `factor`. */
static void fill_floats(const lt_int8_node *q, const void *const *inputs, float divisor,
                        const arrays *a)
{
    const float *scales = inputs[q->in.w_scale];
    const float *bias = q->bias_type == LEAT_DTYPE_F32 ? lt_int8_input(inputs, q->in.bias) : NULL;
    float x_scale = scale_of(inputs, q->in.x_scale);
    for (size_t g = 0; g < q->groups; g++) {
        for (size_t c = 0; c < q->columns; c++) {
            size_t at = g * q->columns + c, from = g * q->n + c;
            bool there = c < q->n;
            float scale = there ? scales[q->w_scales == 1 ? 0 : from] : 0.0f;
            a->scale[at] = x_scale * scale / divisor;
            a->bias[at] = there && bias ? bias[from] / divisor : 0.0f;
        }
    }
}

/* Bounds of a quantized result relative to its zero point, and those of a clamp, in units of the
 * scale. */
static void byte_bounds(lt_int8_epilogue *e, leat_dtype dtype, int32_t zero, float scale,
                        const double clamp[2])
{
    float low = 0, high = 0;
    lt_quant_limits(dtype, &low, &high);
    e->zero = zero;
    e->is_signed = dtype == LEAT_DTYPE_I8;
    e->low = fmaxf(low - (float)zero, (float)clamp[0] / scale);
    e->low = fminf(e->low, high - (float)zero);
    e->high = fminf(high - (float)zero, (float)clamp[1] / scale);
    e->high = fmaxf(e->high, low - (float)zero);
}

/* The residual, and with it the first of two quantizations. Sets *out_divisor for the sums. */
static void set_residual(const lt_int8_node *q, const void *const *inputs, float *out_divisor,
                         lt_int8_epilogue *e)
{
    const lt_int8_inputs *in = &q->in;
    bool bytes = q->residual_type != LEAT_DTYPE_F32;
    float low = 0, high = 0;
    e->residual_kind = bytes ? LT_INT8_RESIDUAL_BYTE : LT_INT8_RESIDUAL_F32;
    e->residual = inputs[in->residual];
    e->residual_factor = scale_of(inputs, in->r_scale);
    e->residual_flip = q->residual_type == LEAT_DTYPE_I8 ? 0x80 : 0;
    int32_t zero = bytes ? data_zero(inputs, in->r_zero, q->residual_type) : 0;
    e->residual_offset = -(float)zero * e->residual_factor;
    if (in->y_scale != LEAT_NO_VALUE) {
        int32_t y_zero = zero_of(inputs, in->y_zero, q->y_type);
        lt_quant_limits(q->y_type, &low, &high);
        e->mid = true;
        e->mid_low = low - (float)y_zero;
        e->mid_high = high - (float)y_zero;
        e->mid_factor = *out_divisor = scale_of(inputs, in->y_scale);
    }
}

/* A bound of |S * scale| of all columns, integer biases included; infinite or NaN where there is
 * none. */
static double largest_scaled(const lt_int8_node *q, const void *const *inputs, const float *scale)
{
    const int32_t *bias = q->bias_type == LEAT_DTYPE_I32 ? lt_int8_input(inputs, q->in.bias) : NULL;
    const double product = 255.0 * 255.0 * (double)q->k;
    double largest = 0;
    for (size_t i = 0; i < q->groups * q->n; i++) {
        double sum = product + (bias ? fabs((double)bias[i]) : 0);
        double own = fabs((double)scale[i / q->n * q->columns + i % q->n]);
        own *= fmin(sum, 0x1p31); /* sums wrap */
        largest = own <= largest ? largest : own;
    }
    return largest;
}

void lt_int8_make_params(const lt_int8_node *q, const void *const *inputs, const int32_t *sums,
                         void *memory, lt_int8_params *out)
{
    arrays a = place_arrays(q, memory);
    lt_int8_epilogue e = {.result = q->result, .mid_factor = 1, .residual_factor = 1, .post = 1};
    double clamp[2] = {-INFINITY, INFINITY};
    float divisor = 1;
    out->offset = a.offset;
    if (q->limits != NULL) {
        e.limits = (const uint8_t *)(sums + q->groups * q->columns);
        e.panel_limits = q->packed_k;
    }
    e.column_zero = fill_integers(q, inputs, sums, &a) ? a.column_zero : NULL;
    fill_offsets(q, inputs, &a);
    if (q->x_zeros > 1) {
        for (size_t i = 0; i < q->x_zeros; i++) {
            a.row_zero[i] =
                get_8(q->x_type, inputs[q->in.x_zero], i) + (q->x_type == LEAT_DTYPE_I8 ? 128 : 0);
        }
        e.row_zero = a.row_zero;
        e.column_sum = a.column_sum;
    }
    if (q->result != LT_INT8_RESULT_SUM) {
        bool residual = q->in.residual != LEAT_NO_VALUE;
        lt_cpu_activation_clamp(&q->activation, &clamp[0], &clamp[1]);
        e.low = (float)clamp[0];
        e.high = (float)clamp[1];
        if (residual) {
            set_residual(q, inputs, &divisor, &e);
        }
        if (q->result == LT_INT8_RESULT_BYTE) {
            float scale = scale_of(inputs, residual ? q->in.z_scale : q->in.y_scale);
            leat_dtype type = residual ? q->z_type : q->y_type;
            int32_t zero = zero_of(inputs, residual ? q->in.z_zero : q->in.y_zero, type);
            e.activation = q->activation;
            e.activate = q->activate;
            byte_bounds(&e, type, zero, scale, clamp);
            if (q->activate != NULL) {
                e.post = 1.0f / scale;
            } else if (residual) {
                e.mid_factor /= e.mid ? scale : 1;
                e.residual_factor /= scale;
                e.residual_offset /= scale;
            }
            if (q->activate == NULL && !e.mid) {
                divisor = scale;
            }
        }
        fill_floats(q, inputs, divisor, &a);
        e.scale = a.scale;
        e.bias = q->bias_type == LEAT_DTYPE_F32 ? a.bias : NULL;
    }
    out->largest = e.scale != NULL ? largest_scaled(q, inputs, e.scale) : 0;
    lt_int8_choose_way(&e, out->largest, q->groups * q->columns);
    out->epilogue = e;
}

lt_int8_epilogue lt_int8_group(const lt_int8_node *q, const lt_int8_params *params, size_t group)
{
    lt_int8_epilogue e = params->epilogue;
    size_t at = group * q->columns;
    e.column_zero = e.column_zero ? e.column_zero + at : NULL;
    e.scale = e.scale ? e.scale + at : NULL;
    e.bias = e.bias ? e.bias + at : NULL;
    e.limits = e.limits ? e.limits + group * q->panels * q->packed_k : NULL;
    if (e.residual != NULL) {
        e.residual = (const char *)e.residual +
                     group * q->n * (e.residual_kind == LT_INT8_RESIDUAL_F32 ? sizeof(float) : 1);
    }
    return e;
}

/* --- data ---------------------------------------------------------------------------------------
 */

/* A panel in groups of four k; returns where the next begins. */
static const char *panel_sums(const char *panel, size_t packed_k, size_t width, int32_t *s)
{
    const int8_t *b = (const int8_t *)panel;
    for (size_t j = 0; j < packed_k; j += 4, b += 4 * width) {
        for (size_t c = 0; c < width; c++) {
            s[c] += b[4 * c] + b[4 * c + 1] + b[4 * c + 2] + b[4 * c + 3];
        }
    }
    return (const char *)b;
}

void lt_int8_column_sums(const lt_int8_node *q, const lt_gemm_kernels *kernels, const void *packed,
                         size_t group, int32_t *sums)
{
    const char *b = packed;
    int32_t *own = sums + group * q->columns;
    for (size_t column = 0; column < q->n; column += kernels->nr) {
        size_t width = q->n - column > kernels->nr / 2 ? kernels->nr : kernels->nr / 2;
        memset(own + column, 0, kernels->nr * sizeof(*own));
        b = panel_sums(b, q->packed_k, width, own + column);
    }
    if (q->limits != NULL) {
        uint8_t *limits = (uint8_t *)(sums + q->groups * q->columns);
        q->limits(packed, q->packed_k, q->n, limits + group * q->panels * q->packed_k);
    }
}

typedef struct flip_job {
    const uint8_t *x;
    uint8_t *out;
} flip_job;

static void flip_range(void *argument, int64_t begin, int64_t end)
{
    const flip_job *job = argument;
    for (int64_t i = begin; i < end; i++) {
        job->out[i] = job->x[i] ^ 0x80;
    }
}

void lt_int8_flip(const void *x, void *out, int64_t count, const leat_kernel_args *args)
{
    flip_job job = {x, out};
    lt_cpu_parallel_range(args, count, 64, 2.0, flip_range, &job);
}

void lt_int8_transpose(const void *in, void *out, int64_t rows, int64_t columns, size_t element,
                       uint8_t flip)
{
    for (int64_t j = 0; j < columns; j++) {
        for (int64_t i = 0; i < rows; i++) {
            int64_t from = i * columns + j, to = j * rows + i;
            if (element == 1) {
                ((uint8_t *)out)[to] = ((const uint8_t *)in)[from] ^ flip;
            } else {
                ((uint32_t *)out)[to] = ((const uint32_t *)in)[from];
            }
        }
    }
}

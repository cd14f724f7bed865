/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization:
 *
 *     y = (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias
 *
 * over rows of `extent` elements that lie together; RMS takes the mean as 0. Layer and RMS have a
 * scale for each element (or for the innermost dimensions, repeated), instance and group one for
 * each channel (before opset 21 each group).
 * Each row takes two passes for mean and variance, so that nothing cancels, and one to write; sums
 * as in rows_kernel.h, the rest in f32. f16 and bf16 are widened block by block in each pass. With
 * f64 anywhere all goes through double, element by element. Bound by memory, or the first cache for
 * short rows. */
#include "elementwise/element.h"
#include "elementwise/half.h"
#include "reduce/rows_kernel.h"

#include <math.h>

const lt_row_kernels *lt_row_kernels_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return &lt_row_kernels_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return &lt_row_kernels_avx2;
    }
#endif
    (void)device;
    return &lt_row_kernels_portable;
}

/* Scale or bias. */
typedef struct parameter {
    leat_dtype dtype;
    int64_t count; /* 0: there is none */
} parameter;

typedef struct norm {
    char kind; /* 'l' layer, 'r' RMS, 'i' instance, 'g' group */
    bool wide; /* f64 somewhere */
    leat_dtype dtype;
    leat_dtype stash; /* of mean and inverse */
    float epsilon;
    int64_t rows, extent;
    int64_t channels, groups; /* instance and group: of a batch item */
    parameter scale, bias;
    uint32_t n_outputs;
    const lt_row_kernels *kernels;
    const lt_half_kernels *half;
} norm;

typedef struct norm_launch {
    const norm *n;
    const leat_kernel_args *args;
} norm_launch;

static bool per_channel(const norm *n)
{
    return n->kind == 'i' || n->kind == 'g';
}

/* Element of the parameter that belongs to element k of a row. */
static int64_t parameter_at(const norm *n, const parameter *p, int64_t row, int64_t k)
{
    if (!per_channel(n)) {
        return k % p->count;
    }
    int64_t group = row % n->groups, channels = n->channels / n->groups;
    int64_t channel = group * channels + k / (n->extent / channels);
    return p->count == n->groups && p->count != n->channels ? group : channel;
}

static void store_moments(const norm *n, const leat_kernel_args *args, int64_t row, double mean,
                          double inverse)
{
    if (n->kind == 'l' && n->n_outputs > 1 && args->outputs[1] != NULL) {
        lt_element_set(n->stash, args->outputs[1], row, mean);
    }
    if (n->kind == 'l' && n->n_outputs > 2 && args->outputs[2] != NULL) {
        lt_element_set(n->stash, args->outputs[2], row, inverse);
    }
}

/* A row of any types. */
static void wide_row(const norm *n, const leat_kernel_args *args, int64_t row)
{
    const void *x = args->inputs[0];
    int64_t base = row * n->extent;
    double mean = 0, variance = 0;
    for (int64_t k = 0; k < n->extent && n->kind != 'r'; k++) {
        mean += lt_element_get(n->dtype, x, base + k);
    }
    mean /= (double)n->extent;
    for (int64_t k = 0; k < n->extent; k++) {
        double v = lt_element_get(n->dtype, x, base + k) - mean;
        variance += v * v;
    }
    double inverse = 1 / sqrt(variance / (double)n->extent + (double)n->epsilon);
    for (int64_t k = 0; k < n->extent; k++) {
        double v = (lt_element_get(n->dtype, x, base + k) - mean) * inverse;
        v *= lt_element_get(n->scale.dtype, args->inputs[1], parameter_at(n, &n->scale, row, k));
        if (n->bias.count != 0) {
            v += lt_element_get(n->bias.dtype, args->inputs[2], parameter_at(n, &n->bias, row, k));
        }
        lt_element_set(n->dtype, args->outputs[0], base + k, v);
    }
    store_moments(n, args, row, mean, inverse);
}

/* Elements that go together: all of f32, a block otherwise. */
static int64_t stretch(const norm *n, int64_t left)
{
    return n->dtype == LEAT_DTYPE_F32 || left < LT_HALF_BLOCK ? left : LT_HALF_BLOCK;
}

static void moments(const norm *n, const void *x, int64_t base, float *out_mean, float *out_inverse)
{
    float block[LT_HALF_BLOCK];
    double mean = 0, variance = 0;
    for (int64_t i = 0, part; i < n->extent && n->kind != 'r'; i += part) {
        part = stretch(n, n->extent - i);
        const float *v = lt_half_view(n->half, n->dtype, x, base + i, part, block);
        mean += n->kernels->reduce(LT_ROW_SUM, v, part);
    }
    *out_mean = (float)(mean / (double)n->extent);
    for (int64_t i = 0, part; i < n->extent; i += part) {
        part = stretch(n, n->extent - i);
        const float *v = lt_half_view(n->half, n->dtype, x, base + i, part, block);
        variance += n->kernels->squares(v, part, *out_mean);
    }
    *out_inverse = (float)(1 / sqrt(variance / (double)n->extent + (double)n->epsilon));
}

/* n->extent elements with a scale each. */
static void element_row(const norm *n, const leat_kernel_args *args, int64_t base, float mean,
                        float inverse)
{
    float x_block[LT_HALF_BLOCK], scale_block[LT_HALF_BLOCK], bias_block[LT_HALF_BLOCK];
    const parameter *s = &n->scale, *b = &n->bias;
    bool direct = n->dtype == LEAT_DTYPE_F32 && s->dtype == LEAT_DTYPE_F32 &&
                  (b->count == 0 || b->dtype == LEAT_DTYPE_F32);
    char *y = args->outputs[0];
    for (int64_t i = 0, part; i < n->extent; i += part) {
        part = n->extent - i < LT_HALF_BLOCK || direct ? n->extent - i : LT_HALF_BLOCK;
        part = part < s->count - i % s->count ? part : s->count - i % s->count;
        if (b->count != 0) {
            part = part < b->count - i % b->count ? part : b->count - i % b->count;
        }
        const float *x = lt_half_view(n->half, n->dtype, args->inputs[0], base + i, part, x_block);
        const float *scale =
            lt_half_view(n->half, s->dtype, args->inputs[1], i % s->count, part, scale_block);
        const float *bias = b->count == 0 ? NULL
                                          : lt_half_view(n->half, b->dtype, args->inputs[2],
                                                         i % b->count, part, bias_block);
        if (n->dtype == LEAT_DTYPE_F32) {
            n->kernels->normalize(x, (float *)(void *)y + base + i, part, scale, bias, mean,
                                  inverse);
        } else {
            n->kernels->normalize(x, x_block, part, scale, bias, mean, inverse);
            n->half->narrow(n->dtype, x_block, y + 2 * (base + i), part);
        }
    }
}

/* One scale for each channel of the row. */
static void channel_row(const norm *n, const leat_kernel_args *args, int64_t row, float mean,
                        float inverse)
{
    float block[LT_HALF_BLOCK];
    int64_t channels = n->channels / n->groups, length = n->extent / channels;
    char *y = args->outputs[0];
    for (int64_t i = 0, part; i < n->extent; i += part) {
        int64_t left = length - i % length, at = row * n->extent + i;
        float scale = lt_cpu_get_f32(n->scale.dtype, args->inputs[1],
                                     (size_t)parameter_at(n, &n->scale, row, i));
        float bias = n->bias.count == 0 ? 0.0f
                                        : lt_cpu_get_f32(n->bias.dtype, args->inputs[2],
                                                         (size_t)parameter_at(n, &n->bias, row, i));
        part = stretch(n, left);
        const float *x = lt_half_view(n->half, n->dtype, args->inputs[0], at, part, block);
        if (n->dtype == LEAT_DTYPE_F32) {
            n->kernels->center(x, (float *)(void *)y + at, part, mean, inverse * scale, bias);
        } else {
            n->kernels->center(x, block, part, mean, inverse * scale, bias);
            n->half->narrow(n->dtype, block, y + 2 * at, part);
        }
    }
}

static void norm_range(void *argument, int64_t begin, int64_t end)
{
    const norm_launch *l = argument;
    const norm *n = l->n;
    for (int64_t row = begin; row < end; row++) {
        float mean, inverse;
        if (n->wide) {
            wide_row(n, l->args, row);
            continue;
        }
        moments(n, l->args->inputs[0], row * n->extent, &mean, &inverse);
        if (per_channel(n)) {
            channel_row(n, l->args, row, mean, inverse);
        } else {
            element_row(n, l->args, row * n->extent, mean, inverse);
        }
        store_moments(n, l->args, row, (double)mean, (double)inverse);
    }
}

static leat_status norm_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const norm *n = state;
    norm_launch l = {n, args};
    (void)err;
    if (n->extent != 0) {
        lt_cpu_parallel_range(args, n->rows, 1, 16 * (double)n->extent, norm_range, &l);
    }
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static leat_status misfit(const leat_kernel_node *node, const char *what, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': %s", node->node->op, node->node->name,
                       what);
}

/* Whether a parameter repeats over the normalized dimensions: equal to the innermost ones, 1 in
 * front of them. */
static bool repeats(const leat_value *x, int64_t axis, const leat_value *p)
{
    bool ones = false;
    for (int32_t i = 1; i <= p->rank; i++) {
        int64_t dim = p->shape[p->rank - i];
        if (dim != 1 && (ones || x->rank - i < axis || dim != x->shape[x->rank - i])) {
            return false;
        }
        ones = ones || (x->rank - i >= axis && dim != x->shape[x->rank - i]);
    }
    return true;
}

/* Sets rows, extent, channels and groups. */
static leat_status divide(norm *n, const leat_kernel_node *node, int64_t *out_axis, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    int64_t axis = per_channel(n) ? 2 : leat_node_int(node->node, "axis", -1);
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis > x->rank || (axis == x->rank && !per_channel(n))) {
        return misfit(node, "axis is outside the input's rank", err);
    }
    n->rows = n->extent = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        *(i < axis ? &n->rows : &n->extent) *= x->shape[i];
    }
    *out_axis = axis;
    if (!per_channel(n)) {
        return LEAT_OK;
    }
    n->channels = x->shape[1];
    n->groups = n->kind == 'g' ? leat_node_int(node->node, "num_groups", 0) : n->channels;
    if (n->channels == 0) {
        n->groups = n->channels = 1; /* nothing to do */
    }
    if (n->groups < 1 || n->channels % n->groups != 0) {
        return misfit(node, "num_groups does not divide the channels", err);
    }
    n->rows = n->rows / n->channels * n->groups;
    n->extent *= n->channels / n->groups;
    return LEAT_OK;
}

static leat_status read_parameter(const norm *n, const leat_kernel_node *node, uint32_t input,
                                  int64_t axis, parameter *out, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *p = leat_kernel_input(node, input);
    if (p == NULL) {
        return input == 1 ? misfit(node, "the scale is missing", err) : LEAT_OK;
    }
    out->dtype = p->dtype;
    out->count = leat_value_count(p);
    bool fits =
        per_channel(n) ? out->count == n->channels || out->count == n->groups : repeats(x, axis, p);
    if (!(CPU_FLOATS >> p->dtype & 1)) {
        return misfit(node, "scale and bias must be floats", err);
    }
    if (leat_value_count(x) != 0 && (!fits || out->count == 0)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s node '%s': a scale or bias of this shape is not supported",
                           node->node->op, node->node->name);
    }
    return LEAT_OK;
}

static leat_status check_outputs(const norm *n, const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    bool good = y->dtype == x->dtype && leat_value_count(y) == leat_value_count(x);
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        good = good && (out == NULL || (out->dtype == n->stash && (CPU_FLOATS >> n->stash & 1) &&
                                        leat_value_count(out) == n->rows));
    }
    return good ? LEAT_OK : misfit(node, "an output has another type or shape", err);
}

leat_status lt_cpu_norm_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    const char *op = node->node->op;
    norm *n = host->plan_alloc(plan, sizeof(*n));
    int64_t axis = 0;
    if (n == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    n->kind = op[0] == 'L' ? 'l' : op[0] == 'R' ? 'r' : op[0] == 'I' ? 'i' : 'g';
    if (x->rank < (per_channel(n) ? 2 : 1)) {
        return misfit(node, "the input's rank is too low", err);
    }
    n->dtype = x->dtype;
    n->epsilon = leat_node_float(node->node, "epsilon", 1e-5f);
    n->n_outputs = node->node->n_outputs;
    for (uint32_t i = 1; i < 3; i++) {
        n->stash = leat_kernel_output(node, i) ? leat_kernel_output(node, i)->dtype : n->stash;
    }
    leat_status status = divide(n, node, &axis, err);
    if (status == LEAT_OK) {
        status = read_parameter(n, node, 1, axis, &n->scale, err);
    }
    if (status == LEAT_OK) {
        status = read_parameter(n, node, 2, axis, &n->bias, err);
    }
    if (status == LEAT_OK) {
        status = check_outputs(n, node, err);
    }
    n->wide = n->dtype == LEAT_DTYPE_F64 || n->scale.dtype == LEAT_DTYPE_F64 ||
              n->bias.dtype == LEAT_DTYPE_F64;
    n->kernels = lt_row_kernels_for(device);
    n->half = lt_half_for(device);
    out_kernel->name = "normalize";
    out_kernel->launch = norm_run;
    out_kernel->state = n;
    out_kernel->inplace_mask = 1;
    return status;
}

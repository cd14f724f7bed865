/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax, LogSoftmax, Hardmax; LayerNormalization, RMSNormalization, InstanceNormalization,
 * GroupNormalization; BatchNormalization. Contiguous rows of f32 go to the vectorised row kernels,
 * everything else through double, one element after the other. */
#include "elementwise/element.h"
#include "reduce/rows_kernel.h"

#include <math.h>

static const lt_row_kernels *row_kernels(const lt_cpu_device *device)
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

/* --- Softmax family -----------------------------------------------------------------------------
 */

typedef struct softmax {
    char kind; /* 's', 'l' (logarithm), 'h' (hardmax) */
    leat_dtype dtype;
    int64_t rows, extent, inner;
    const lt_row_kernels *kernels;
} softmax;

typedef struct row_launch {
    const void *op;
    const leat_kernel_args *args;
} row_launch;

static void softmax_any(const softmax *s, const void *x, void *y, int64_t base)
{
    double top = -INFINITY, sum = 0;
    int64_t best = 0;
    for (int64_t k = 0; k < s->extent; k++) {
        double v = lt_element_get(s->dtype, x, base + k * s->inner);
        best = v > top ? k : best;
        top = v > top || v != v ? v : top;
    }
    for (int64_t k = 0; k < s->extent && s->kind != 'h'; k++) {
        sum += exp(lt_element_get(s->dtype, x, base + k * s->inner) - top);
    }
    for (int64_t k = 0; k < s->extent; k++) {
        double v = lt_element_get(s->dtype, x, base + k * s->inner) - top;
        double out = s->kind == 'h' ? k == best : s->kind == 'l' ? v - log(sum) : exp(v) / sum;
        lt_element_set(s->dtype, y, base + k * s->inner, out);
    }
}

static void softmax_range(void *argument, int64_t begin, int64_t end)
{
    const row_launch *l = argument;
    const softmax *s = l->op;
    const void *x = l->args->inputs[0];
    void *y = l->args->outputs[0];
    for (int64_t i = begin; i < end; i++) {
        int64_t base = i / s->inner * s->extent * s->inner + i % s->inner;
        if (s->dtype == LEAT_DTYPE_F32 && s->inner == 1 && s->kind != 'h') {
            s->kernels->softmax((const float *)x + base, (float *)y + base, s->extent,
                                s->kind == 'l');
        } else {
            softmax_any(s, x, y, base);
        }
    }
}

static leat_status softmax_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const softmax *s = state;
    row_launch l = {s, args};
    (void)err;
    if (s->extent != 0) {
        lt_cpu_parallel_range(args, s->rows * s->inner, 1, 24 * (double)s->extent, softmax_range,
                              &l);
    }
    return LEAT_OK;
}

leat_status lt_cpu_softmax_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    softmax *s = host->plan_alloc(plan, sizeof(*s));
    if (s == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    bool old = node->node->opset < 13 && node->node->domain[0] == '\0';
    int64_t axis = leat_node_int(node->node, "axis", old ? 1 : -1);
    axis += axis < 0 ? x->rank : 0;
    s->kind = node->node->op[0] == 'S' ? 's' : node->node->op[0] == 'L' ? 'l' : 'h';
    s->dtype = x->dtype;
    s->rows = s->extent = s->inner = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        /* Before opset 13 everything from the axis on is one row. */
        int64_t *part = i < axis ? &s->rows : i == axis || old ? &s->extent : &s->inner;
        *part *= x->shape[i];
    }
    s->kernels = row_kernels(device);
    out_kernel->name = "softmax";
    out_kernel->launch = softmax_run;
    out_kernel->state = s;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

/* --- Layer, RMS, instance and group normalization -----------------------------------------------
 */

typedef struct norm {
    char kind; /* 'l' layer, 'r' RMS, 'i' instance, 'g' group */
    leat_dtype dtype;
    leat_dtype scale_dtype;
    leat_dtype stash; /* of mean and inverse */
    float epsilon;
    int64_t rows, extent;
    int64_t channels; /* instance, group: scale and bias of a row start at its channels */
    int64_t groups;
    int64_t scale_count, bias_count;
    bool has_bias;
    uint32_t n_outputs;
    const lt_row_kernels *kernels;
} norm;

/* Index into scale (or bias, of `count` elements) of element k of row i. */
static int64_t parameter(const norm *n, int64_t row, int64_t k, int64_t count)
{
    if (n->kind == 'i' || n->kind == 'g') {
        int64_t per_group = n->channels / n->groups;
        int64_t channel = row % n->groups * per_group + k / (n->extent / per_group);
        /* GroupNormalization 18 has one parameter a group, 21 one a channel. */
        return count == n->groups ? row % n->groups : channel;
    }
    return count == n->extent ? k : k % count;
}

static void norm_any(const norm *n, const leat_kernel_args *args, int64_t row)
{
    const void *x = args->inputs[0], *scale = args->inputs[1];
    const void *bias = n->has_bias ? args->inputs[2] : NULL;
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
        v *= lt_element_get(n->scale_dtype, scale, parameter(n, row, k, n->scale_count));
        if (bias != NULL) {
            v += lt_element_get(n->scale_dtype, bias, parameter(n, row, k, n->bias_count));
        }
        lt_element_set(n->dtype, args->outputs[0], base + k, v);
    }
    if (n->n_outputs > 1 && args->outputs[1] != NULL) {
        lt_element_set(n->stash, args->outputs[1], row, mean);
    }
    if (n->n_outputs > 2 && args->outputs[2] != NULL) {
        lt_element_set(n->stash, args->outputs[2], row, inverse);
    }
}

static void norm_range(void *argument, int64_t begin, int64_t end)
{
    const row_launch *l = argument;
    const norm *n = l->op;
    const leat_kernel_args *args = l->args;
    bool fast = n->dtype == LEAT_DTYPE_F32 && n->scale_dtype == LEAT_DTYPE_F32 &&
                (n->kind == 'l' || n->kind == 'r') && n->scale_count == n->extent &&
                (!n->has_bias || n->bias_count == n->extent);
    for (int64_t i = begin; i < end; i++) {
        if (!fast) {
            norm_any(n, args, i);
            continue;
        }
        float mean, inverse;
        n->kernels->normalize((const float *)args->inputs[0] + i * n->extent,
                              (float *)args->outputs[0] + i * n->extent, n->extent, args->inputs[1],
                              n->has_bias ? args->inputs[2] : NULL, n->epsilon, n->kind == 'r',
                              &mean, &inverse);
        if (n->n_outputs > 1 && args->outputs[1] != NULL) {
            lt_element_set(n->stash, args->outputs[1], i, (double)mean);
        }
        if (n->n_outputs > 2 && args->outputs[2] != NULL) {
            lt_element_set(n->stash, args->outputs[2], i, (double)inverse);
        }
    }
}

static leat_status norm_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const norm *n = state;
    row_launch l = {n, args};
    (void)err;
    if (n->extent != 0) {
        lt_cpu_parallel_range(args, n->rows, 1, 16 * (double)n->extent, norm_range, &l);
    }
    return LEAT_OK;
}

leat_status lt_cpu_norm_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    const leat_value *bias = leat_kernel_input(node, 2), *stash = leat_kernel_output(node, 1);
    const char *op = node->node->op;
    norm *n = host->plan_alloc(plan, sizeof(*n));
    if (n == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    n->kind = op[0] == 'L' ? 'l' : op[0] == 'R' ? 'r' : op[0] == 'I' ? 'i' : 'g';
    n->dtype = x->dtype;
    n->scale_dtype = scale->dtype;
    n->stash = stash ? stash->dtype : LEAT_DTYPE_F32;
    n->stash = leat_kernel_output(node, 2) ? leat_kernel_output(node, 2)->dtype : n->stash;
    n->epsilon = leat_node_float(node->node, "epsilon", 1e-5f);
    n->has_bias = bias != NULL;
    n->scale_count = leat_value_count(scale);
    n->bias_count = bias ? leat_value_count(bias) : 0;
    n->n_outputs = node->node->n_outputs;
    n->rows = n->extent = 1;
    int64_t axis = leat_node_int(node->node, "axis", -1);
    axis = n->kind == 'i' || n->kind == 'g' ? 2 : axis < 0 ? axis + x->rank : axis;
    n->channels = x->rank > 1 ? x->shape[1] : 1;
    n->groups = n->kind == 'g' ? leat_node_int(node->node, "num_groups", 1) : n->channels;
    for (int32_t i = 0; i < x->rank; i++) {
        *(i < axis ? &n->rows : &n->extent) *= x->shape[i];
    }
    if (n->kind == 'g') {
        if (n->groups < 1 || n->channels % n->groups != 0) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: %lld groups for %lld channels", op,
                               (long long)n->groups, (long long)n->channels);
        }
        n->rows = n->rows / n->channels * n->groups;
        n->extent *= n->channels / n->groups;
    }
    bool per_channel = n->kind == 'i' || n->kind == 'g';
    int64_t wanted = per_channel ? n->channels : n->extent;
    if (n->scale_count == 0 || wanted % n->scale_count != 0 ||
        (bias != NULL && (n->bias_count == 0 || wanted % n->bias_count != 0))) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: scale of %lld elements for %lld", op,
                           (long long)n->scale_count, (long long)wanted);
    }
    n->kernels = row_kernels(device);
    out_kernel->name = "normalize";
    out_kernel->launch = norm_run;
    out_kernel->state = n;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

/* --- BatchNormalization -------------------------------------------------------------------------
 */

typedef struct batch_norm {
    leat_dtype dtype;
    leat_dtype types[4]; /* scale, bias, mean, variance */
    float epsilon, momentum;
    bool training, channels_last;
    int64_t batch, channels, inner;
    uint32_t n_outputs;
    const lt_row_kernels *kernels;
} batch_norm;

/* Index of element (n, c, i). */
static int64_t batch_index(const batch_norm *b, int64_t n, int64_t c, int64_t i)
{
    return b->channels_last ? (n * b->inner + i) * b->channels + c
                            : (n * b->channels + c) * b->inner + i;
}

/* Mean and variance of one channel over batch and positions; running ones are updated. */
static void train_channel(const batch_norm *b, const leat_kernel_args *args, int64_t c,
                          double *mean, double *variance)
{
    double count = (double)(b->batch * b->inner), m = 0, v = 0;
    for (int pass = 0; pass < 2; pass++) {
        double sum = 0;
        for (int64_t n = 0; n < b->batch; n++) {
            for (int64_t i = 0; i < b->inner; i++) {
                double x = lt_element_get(b->dtype, args->inputs[0], batch_index(b, n, c, i));
                sum += pass == 0 ? x : (x - m) * (x - m);
            }
        }
        *(pass == 0 ? &m : &v) = sum / count;
    }
    double momentum = (double)b->momentum;
    double running[2] = {lt_element_get(b->types[2], args->inputs[3], c),
                         lt_element_get(b->types[3], args->inputs[4], c)};
    if (b->n_outputs > 1 && args->outputs[1] != NULL) {
        lt_element_set(b->types[2], args->outputs[1], c,
                       running[0] * momentum + m * (1 - momentum));
    }
    if (b->n_outputs > 2 && args->outputs[2] != NULL) {
        lt_element_set(b->types[3], args->outputs[2], c,
                       running[1] * momentum + v * (1 - momentum));
    }
    *mean = m;
    *variance = v;
}

/* Scale and shift of all channels into the workspace (f32 pairs of arrays, and double ones). */
static void fold(const batch_norm *b, const leat_kernel_args *args, float *scale, float *shift,
                 double *wide)
{
    for (int64_t c = 0; c < b->channels; c++) {
        double mean = lt_element_get(b->types[2], args->inputs[3], c);
        double variance = lt_element_get(b->types[3], args->inputs[4], c);
        if (b->training) {
            train_channel(b, args, c, &mean, &variance);
        }
        double s =
            lt_element_get(b->types[0], args->inputs[1], c) / sqrt(variance + (double)b->epsilon);
        wide[2 * c] = s;
        wide[2 * c + 1] = lt_element_get(b->types[1], args->inputs[2], c) - mean * s;
        scale[c] = (float)wide[2 * c];
        shift[c] = (float)wide[2 * c + 1];
    }
}

static leat_status batch_norm_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const batch_norm *b = state;
    double *wide = args->workspace;
    float *scale = (float *)(wide + 2 * b->channels), *shift = scale + b->channels;
    (void)err;
    fold(b, args, scale, shift, wide);
    int64_t rows = b->channels_last ? b->batch * b->inner : b->batch * b->channels;
    int64_t length = b->channels_last ? b->channels : b->inner;
    for (int64_t r = 0; r < rows; r++) {
        int64_t c = b->channels_last ? 0 : r % b->channels, base = r * length;
        if (b->dtype == LEAT_DTYPE_F32) {
            b->kernels->affine((const float *)args->inputs[0] + base,
                               (float *)args->outputs[0] + base, length, scale + c, shift + c,
                               !b->channels_last);
            continue;
        }
        for (int64_t i = 0; i < length; i++) {
            const double *pair = wide + 2 * (b->channels_last ? i : c);
            double x = lt_element_get(b->dtype, args->inputs[0], base + i);
            lt_element_set(b->dtype, args->outputs[0], base + i, x * pair[0] + pair[1]);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_batch_norm_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    batch_norm *b = host->plan_alloc(plan, sizeof(*b));
    if (b == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "BatchNormalization: no memory for the plan");
    }
    b->dtype = x->dtype;
    b->channels_last = leat_node_int(node->node, "channels_last", 0) != 0;
    b->training = leat_node_int(node->node, "training_mode", 0) != 0;
    b->epsilon = leat_node_float(node->node, "epsilon", 1e-5f);
    b->momentum = leat_node_float(node->node, "momentum", 0.9f);
    b->n_outputs = node->node->n_outputs;
    int32_t axis = b->channels_last ? x->rank - 1 : 1;
    b->batch = x->rank > 0 ? x->shape[0] : 1;
    b->channels = x->rank > 1 ? x->shape[axis] : 1;
    b->inner = 1;
    for (int32_t i = 1; i < x->rank; i++) {
        b->inner *= i == axis ? 1 : x->shape[i];
    }
    for (uint32_t i = 0; i < 4; i++) {
        const leat_value *p = leat_kernel_input(node, i + 1);
        b->types[i] = p->dtype;
        if (leat_value_count(p) != b->channels) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "BatchNormalization: input %u has %lld elements for %lld channels",
                               i + 1, (long long)leat_value_count(p), (long long)b->channels);
        }
    }
    if (b->n_outputs > 1 && !b->training) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "BatchNormalization: several outputs without training_mode");
    }
    b->kernels = row_kernels(device);
    out_kernel->name = "batch_norm";
    out_kernel->launch = batch_norm_run;
    out_kernel->state = b;
    out_kernel->workspace_bytes = (size_t)b->channels * (2 * sizeof(double) + 2 * sizeof(float));
    return LEAT_OK;
}

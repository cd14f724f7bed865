/* SPDX-License-Identifier: Apache-2.0 */
/* BatchNormalization:  y = (x - mean) / sqrt(variance + epsilon) * scale + bias  per channel.
 * With training_mode (opset 14) mean and variance are those of x, and the running ones move by
 * momentum. Channels are dimension 1, or the last one in nodes of the domain leat with
 * channels_last. Scale and shift of each channel are folded in double into the workspace; f32 and,
 * block by block, f16 and bf16 then go through the vector kernels, f64 through a plain loop. Bound
 * by memory. */
#include "elementwise/element.h"
#include "elementwise/half.h"
#include "reduce/rows_kernel.h"

#include <math.h>

typedef struct batch_norm {
    leat_dtype dtype;
    leat_dtype types[4]; /* scale, bias, mean, variance */
    float epsilon, momentum;
    bool training, channels_last;
    int64_t batch, channels, inner;
    uint32_t n_outputs;
    const lt_row_kernels *kernels;
    const lt_half_kernels *half;
} batch_norm;

typedef struct batch_norm_launch {
    const batch_norm *b;
    const leat_kernel_args *args;
    double *wide; /* scale, shift of each channel */
    float *scale, *shift;
} batch_norm_launch;

/* Index of element (n, c, i). */
static int64_t batch_index(const batch_norm *b, int64_t n, int64_t c, int64_t i)
{
    return b->channels_last ? (n * b->inner + i) * b->channels + c
                            : (n * b->channels + c) * b->inner + i;
}

/* Mean and variance of one channel over batch and positions; running ones are written. */
static void train_channel(const batch_norm *b, const leat_kernel_args *args, int64_t c,
                          double *mean, double *variance)
{
    double count = (double)(b->batch * b->inner), moments[2] = {0, 0};
    for (int pass = 0; pass < 2; pass++) {
        double sum = 0;
        for (int64_t n = 0; n < b->batch; n++) {
            for (int64_t i = 0; i < b->inner; i++) {
                double x = lt_element_get(b->dtype, args->inputs[0], batch_index(b, n, c, i));
                sum += pass == 0 ? x : (x - moments[0]) * (x - moments[0]);
            }
        }
        moments[pass] = sum / count;
    }
    for (int i = 0; i < 2; i++) {
        double running = lt_element_get(b->types[2 + i], args->inputs[3 + i], c);
        running = running * (double)b->momentum + moments[i] * (1 - (double)b->momentum);
        if (1 + (uint32_t)i < b->n_outputs && args->outputs[1 + i] != NULL) {
            lt_element_set(b->types[2 + i], args->outputs[1 + i], c, running);
        }
    }
    *mean = moments[0];
    *variance = moments[1];
}

static void fold_range(void *argument, int64_t begin, int64_t end)
{
    const batch_norm_launch *l = argument;
    const batch_norm *b = l->b;
    const void *const *in = l->args->inputs;
    for (int64_t c = begin; c < end; c++) {
        double mean = lt_element_get(b->types[2], in[3], c);
        double variance = lt_element_get(b->types[3], in[4], c);
        if (b->training) {
            train_channel(b, l->args, c, &mean, &variance);
        }
        double scale = lt_element_get(b->types[0], in[1], c);
        scale /= sqrt(variance + (double)b->epsilon);
        l->wide[2 * c] = scale;
        l->wide[2 * c + 1] = lt_element_get(b->types[1], in[2], c) - mean * scale;
        l->scale[c] = (float)l->wide[2 * c];
        l->shift[c] = (float)l->wide[2 * c + 1];
    }
}

/* n elements from `at` on; the first belongs to channel c. */
static void apply(const batch_norm_launch *l, int64_t at, int64_t n, int64_t c)
{
    const batch_norm *b = l->b;
    const char *x = l->args->inputs[0];
    char *y = l->args->outputs[0];
    float block[LT_HALF_BLOCK];
    if (b->dtype == LEAT_DTYPE_F32) {
        b->kernels->affine((const float *)(const void *)x + at, (float *)(void *)y + at, n,
                           l->scale + c, l->shift + c, !b->channels_last);
        return;
    }
    if (b->dtype == LEAT_DTYPE_F64) {
        for (int64_t i = 0; i < n; i++) {
            const double *pair = l->wide + 2 * (b->channels_last ? c + i : c);
            ((double *)(void *)y)[at + i] =
                ((const double *)(const void *)x)[at + i] * pair[0] + pair[1];
        }
        return;
    }
    for (int64_t i = 0; i < n; i += LT_HALF_BLOCK) {
        int64_t part = n - i < LT_HALF_BLOCK ? n - i : LT_HALF_BLOCK;
        int64_t first = b->channels_last ? c + i : c;
        b->half->widen(b->dtype, x + 2 * (at + i), block, part);
        b->kernels->affine(block, block, part, l->scale + first, l->shift + first,
                           !b->channels_last);
        b->half->narrow(b->dtype, block, y + 2 * (at + i), part);
    }
}

/* Ranges are elements: they may begin and end inside a row of one channel (of all channels). */
static void apply_range(void *argument, int64_t begin, int64_t end)
{
    const batch_norm_launch *l = argument;
    const batch_norm *b = l->b;
    int64_t row = b->channels_last ? b->channels : b->inner;
    while (begin < end) {
        int64_t n = row - begin % row;
        n = n < end - begin ? n : end - begin;
        apply(l, begin, n, b->channels_last ? begin % row : begin / row % b->channels);
        begin += n;
    }
}

static leat_status batch_norm_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const batch_norm *b = state;
    double *wide = args->workspace;
    float *scale = (float *)(wide + 2 * b->channels);
    batch_norm_launch l = {b, args, wide, scale, scale + b->channels};
    int64_t count = b->batch * b->inner * b->channels;
    (void)err;
    lt_cpu_parallel_range(args, b->channels, 1,
                          b->training ? 32 * (double)(b->batch * b->inner) : 32, fold_range, &l);
    lt_cpu_parallel_range(args, count, 64, 2 * (double)lt_cpu_element_bytes(b->dtype), apply_range,
                          &l);
    return LEAT_OK;
}

static leat_status check(const batch_norm *b, const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    if (x->rank < 1 || y->dtype != x->dtype || leat_value_count(y) != leat_value_count(x)) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "BatchNormalization node '%s': rank %d, or the output, does not fit",
                           node->node->name, x->rank);
    }
    for (uint32_t i = 0; i < 6; i++) { /* the parameters, then the running ones */
        const leat_value *p =
            i < 4 ? leat_kernel_input(node, i + 1) : leat_kernel_output(node, i - 3);
        bool given = p != NULL || i >= 4;
        bool good = p == NULL ||
                    (leat_value_count(p) == b->channels && p->dtype == b->types[i < 4 ? i : i - 2]);
        if (!given || !good || (p != NULL && !(CPU_FLOATS >> p->dtype & 1))) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "BatchNormalization node '%s': a parameter does not fit %lld "
                               "channels",
                               node->node->name, (long long)b->channels);
        }
    }
    bool running = leat_kernel_output(node, 1) != NULL || leat_kernel_output(node, 2) != NULL;
    if (running && !b->training) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "BatchNormalization: several outputs without training_mode");
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
    int32_t axis = b->channels_last ? x->rank - 1 : 1;
    b->batch = x->rank > 0 ? x->shape[0] : 1;
    b->channels = x->rank > 1 ? x->shape[axis] : 1;
    b->inner = 1;
    for (int32_t i = 1; i < x->rank; i++) {
        b->inner *= i == axis ? 1 : x->shape[i];
    }
    for (uint32_t i = 0; i < 4; i++) {
        const leat_value *p = leat_kernel_input(node, i + 1);
        b->types[i] = p ? p->dtype : LEAT_DTYPE_UNDEFINED;
    }
    b->n_outputs = node->node->n_outputs;
    b->kernels = lt_row_kernels_for(device);
    b->half = lt_half_for(device);
    out_kernel->name = "batch_norm";
    out_kernel->launch = batch_norm_run;
    out_kernel->state = b;
    out_kernel->inplace_mask = 1;
    out_kernel->workspace_bytes = (size_t)b->channels * (2 * sizeof(double) + 2 * sizeof(float));
    return check(b, node, err);
}

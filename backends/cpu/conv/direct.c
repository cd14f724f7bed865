/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and transposed convolution by plain loops:
 *
 *     Y[n, m, o] = B[m] + sum over c, k of X[n, c, o * stride - pad + k * dilation] * W[m, c, k]
 *     Y[n, m, o] = B[m] + sum over c, k with (o + pad - k * dilation) = i * stride of
 *                                          X[n, c, i] * W[c, m, k]
 *
 * Any layout, f32, f64, f16, bf16; sums in double, rounded once. A task takes whole output lines.
 * It serves what the fast ways do not: it is bound by its scalar arithmetic. */
#include "conv/conv.h"
#include "convert.h"

typedef struct direct {
    lt_conv conv;
    bool transposed;
    lt_conv_strides x, y;
} direct;

typedef struct direct_launch {
    const direct *d;
    const void *x, *w, *b;
    void *y;
} direct_launch;

static inline double get(leat_dtype dtype, const void *data, int64_t i)
{
    if (dtype == LEAT_DTYPE_F64) {
        double v;
        memcpy(&v, (const char *)data + (size_t)i * sizeof(v), sizeof(v));
        return v;
    }
    return (double)lt_cpu_get_f32(dtype, data, (size_t)i);
}

static inline void put(leat_dtype dtype, void *data, int64_t i, double v)
{
    if (dtype == LEAT_DTYPE_F64) {
        ((double *)data)[i] = v;
    } else if (dtype == LEAT_DTYPE_F32) {
        ((float *)data)[i] = (float)v;
    } else if (dtype == LEAT_DTYPE_F16) {
        ((uint16_t *)data)[i] = lt_f32_to_f16((float)v);
    } else {
        ((uint16_t *)data)[i] = lt_f32_to_bf16((float)v);
    }
}

/* Input position of output position `o` under filter position `k`; false outside of the data. */
static inline bool source_position(const direct *d, int axis, int64_t o, int64_t k, int64_t *out)
{
    const lt_conv_geometry *g = &d->conv.g;
    int64_t at;
    if (d->transposed) {
        at = o + g->pad[axis] - k * g->dilation[axis];
        if (at < 0 || at % g->stride[axis] != 0) {
            return false;
        }
        at /= g->stride[axis];
    } else {
        at = o * g->stride[axis] - g->pad[axis] + k * g->dilation[axis];
    }
    *out = at;
    return at >= 0 && at < g->in[axis];
}

/* The filter positions that reach an output position along an axis and the input positions they
 * read: both at even distances, for they solve one linear equation within bounds. */
typedef struct reach {
    int64_t n;
    int64_t k, k_step;
    int64_t i, i_step;
} reach;

static reach reach_of(const direct *d, int axis, int64_t o)
{
    reach r = {0};
    for (int64_t k = 0, i; k < d->conv.g.kernel[axis]; k++) {
        if (!source_position(d, axis, o, k, &i)) {
            continue;
        }
        if (r.n == 0) {
            r.k = k;
            r.i = i;
        } else if (r.n == 1) {
            r.k_step = k - r.k;
            r.i_step = i - r.i;
        }
        r.n++;
    }
    return r;
}

/* A line of products at constant steps. */
typedef struct products {
    int64_t n, x_step, w_step;
} products;

static inline __attribute__((always_inline)) double
sum_of(leat_dtype dtype, const void *x, int64_t at, const void *w, int64_t from, products p)
{
    double sum = 0;
    for (int64_t i = 0; i < p.n; i++) {
        sum += get(dtype, x, at + i * p.x_step) * get(dtype, w, from + i * p.w_step);
    }
    return sum;
}

static double sum_line(const direct_launch *l, int64_t at, int64_t from, products p)
{
    switch (l->d->conv.dtype) {
    case LEAT_DTYPE_F64:
        return sum_of(LEAT_DTYPE_F64, l->x, at, l->w, from, p);
    case LEAT_DTYPE_F32:
        return sum_of(LEAT_DTYPE_F32, l->x, at, l->w, from, p);
    case LEAT_DTYPE_F16:
        return sum_of(LEAT_DTYPE_F16, l->x, at, l->w, from, p);
    default:
        return sum_of(LEAT_DTYPE_BF16, l->x, at, l->w, from, p);
    }
}

/* One element of Y, from the reach of its position along each axis. `w0` is the filter's first
 * element for input channel 0 of the group. */
static double element(const direct_launch *l, int64_t x0, int64_t w0, int64_t w_channel,
                      const reach r[3])
{
    const direct *d = l->d;
    const lt_conv_geometry *g = &d->conv.g;
    products inner = {r[2].n, r[2].i_step * d->x.spatial[2], r[2].k_step};
    products outer = {g->in_channels / g->groups, d->x.channel, w_channel};
    if (outer.n > inner.n) { /* the longer one within */
        products p = inner;
        inner = outer;
        outer = p;
    }
    double sum = 0;
    for (int64_t z = 0; z < r[0].n; z++) {
        for (int64_t y = 0; y < r[1].n; y++) {
            int64_t at = x0 + (r[0].i + z * r[0].i_step) * d->x.spatial[0] +
                         (r[1].i + y * r[1].i_step) * d->x.spatial[1] + r[2].i * d->x.spatial[2];
            int64_t tap = ((r[0].k + z * r[0].k_step) * g->kernel[1] + r[1].k + y * r[1].k_step) *
                              g->kernel[2] +
                          r[2].k;
            for (int64_t i = 0; i < outer.n; i++) {
                sum += sum_line(l, at + i * outer.x_step, w0 + tap + i * outer.w_step, inner);
            }
        }
    }
    return sum;
}

/* One line (all positions of the last axis) of one output channel. */
static void line(const direct_launch *l, int64_t item)
{
    const direct *d = l->d;
    const lt_conv_geometry *g = &d->conv.g;
    int64_t o[3] = {item / g->out[1] % g->out[0], item % g->out[1], 0};
    int64_t m = item / (g->out[1] * g->out[0]) % g->out_channels;
    int64_t n = item / (g->out[1] * g->out[0] * g->out_channels);
    int64_t in_group = g->in_channels / g->groups, out_group = g->out_channels / g->groups;
    int64_t group = m / out_group;
    int64_t x0 = n * d->x.batch + group * in_group * d->x.channel;
    /* W[m, c, k], or W[c, m, k] when transposed. */
    int64_t w0 = d->transposed ? (group * in_group * out_group + m % out_group) * g->taps
                               : m * in_group * g->taps;
    int64_t w_channel = d->transposed ? out_group * g->taps : g->taps;
    int64_t y0 =
        n * d->y.batch + m * d->y.channel + o[0] * d->y.spatial[0] + o[1] * d->y.spatial[1];
    double bias = l->b ? get(d->conv.dtype, l->b, m) : 0;
    reach r[3] = {reach_of(d, 0, o[0]), reach_of(d, 1, o[1])};
    for (o[2] = 0; o[2] < g->out[2]; o[2]++) {
        r[2] = reach_of(d, 2, o[2]);
        put(d->conv.dtype, l->y, y0 + o[2] * d->y.spatial[2],
            bias + element(l, x0, w0, w_channel, r));
    }
}

static void lines(void *argument, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        line(argument, i);
    }
}

static leat_status direct_launch_fn(const void *state, const leat_kernel_args *args,
                                    leat_error *err)
{
    const direct *d = state;
    const lt_conv_geometry *g = &d->conv.g;
    direct_launch l = {d, args->inputs[0], args->inputs[1],
                       d->conv.has_bias ? args->inputs[2] : NULL, args->outputs[0]};
    int64_t count = g->batch * g->out_channels * g->out[0] * g->out[1];
    double work = (double)g->out[2] * (double)g->taps * (double)(g->in_channels / g->groups) * 8;
    (void)err;
    lt_cpu_parallel_range(args, count, 1, work, lines, &l);
    return LEAT_OK;
}

static leat_status prepare(const lt_conv *conv, bool transposed, const leat_host *host,
                           leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_conv_geometry *g = &conv->g;
    direct *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    d->conv = *conv;
    d->transposed = transposed;
    d->x = lt_conv_data_strides(g, g->in_channels, g->in);
    d->y = lt_conv_data_strides(g, g->out_channels, g->out);
    out_kernel->name = transposed ? "conv_transpose_direct" : "conv_direct";
    out_kernel->launch = direct_launch_fn;
    out_kernel->state = d;
    int64_t pixels =
        transposed ? g->in[0] * g->in[1] * g->in[2] : g->out[0] * g->out[1] * g->out[2];
    out_kernel->flops = 2 * (uint64_t)(g->batch * pixels * g->taps * g->in_channels *
                                       (g->out_channels / g->groups));
    return LEAT_OK;
}

leat_status lt_conv_direct_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    if (conv->compute != conv->dtype || conv->w_dtype != conv->dtype ||
        conv->bias_dtype != conv->dtype || conv->y_dtype != conv->dtype) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s '%s': no mixed types with weights that change", node->node->op,
                           node->node->name);
    }
    if (conv->residual_input != LEAT_NO_VALUE || conv->activation.kind != LT_CPU_ACTIVATION_NONE) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s '%s': no epilogue with weights that change",
                           node->node->op, node->node->name);
    }
    return prepare(conv, false, host, plan, out_kernel, err);
}

leat_status lt_cpu_conv_transpose_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *w = leat_kernel_input(node, 1), *bias = leat_kernel_input(node, 2);
    lt_conv conv = {.dtype = leat_kernel_input(node, 0)->dtype,
                    .has_bias = bias != NULL,
                    .residual_input = LEAT_NO_VALUE};
    leat_status status = lt_conv_geometry_read(node, true, &conv.g, err);
    if (status != LEAT_OK) {
        return status;
    }
    bool wide = conv.dtype == LEAT_DTYPE_F32 || conv.dtype == LEAT_DTYPE_F64;
    if (wide && conv.g.channels_last && w->data != NULL && (bias == NULL || bias->data != NULL)) {
        return lt_conv_transposed_prepare(node, &conv, device, host, plan, out_kernel, err);
    }
    return prepare(&conv, true, host, plan, out_kernel, err);
}

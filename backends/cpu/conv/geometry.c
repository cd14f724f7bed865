/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/geometry.h"

#include "elementwise/activation.h"

/* Copies a list attribute to the last `spatial` of three, or sets all to `otherwise`. */
static leat_status read_list(const leat_node *node, const char *name, int32_t spatial,
                             int64_t otherwise, int64_t out[3], leat_error *err)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    out[0] = out[1] = out[2] = otherwise;
    if (list != NULL && count != (size_t)spatial) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %s has %zu entries, not %d", node->op, name,
                           count, spatial);
    }
    for (int32_t i = 0; i < 3; i++) {
        out[i] = i < 3 - spatial ? otherwise : list ? list[i - (3 - spatial)] : otherwise;
        if (out[i] < 1) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: %s must be positive", node->op, name);
        }
    }
    return LEAT_OK;
}

/* Padding before the data, from pads or auto_pad. For a transposed convolution the roles of input
 * and output are exchanged. */
static leat_status read_pads(const leat_node *node, int32_t spatial, bool transposed,
                             lt_conv_geometry *g, leat_error *err)
{
    size_t count;
    const int64_t *pads = leat_node_ints(node, "pads", &count);
    bool upper = leat_node_string_is(node, "auto_pad", "SAME_UPPER");
    bool lower = leat_node_string_is(node, "auto_pad", "SAME_LOWER");
    size_t n_shape;
    /* An explicit output_shape of ConvTranspose decides the pads as well. */
    bool by_shape = transposed && leat_node_ints(node, "output_shape", &n_shape) != NULL;
    if (pads != NULL && count != 2 * (size_t)spatial) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: pads has %zu entries, not %d", node->op, count,
                           2 * spatial);
    }
    for (int32_t i = 3 - spatial; i < 3; i++) {
        int32_t at = i - (3 - spatial);
        g->pad[i] = pads ? pads[at] : 0;
        if (!upper && !lower && !by_shape) {
            continue;
        }
        int64_t large = transposed ? g->out[i] : g->in[i];
        int64_t small = transposed ? g->in[i] : g->out[i];
        int64_t total =
            (small - 1) * g->stride[i] + (g->kernel[i] - 1) * g->dilation[i] + 1 - large;
        if (transposed) {
            size_t n_extra;
            const int64_t *extra = leat_node_ints(node, "output_padding", &n_extra);
            total += extra && n_extra == (size_t)spatial ? extra[at] : 0;
        }
        total = total > 0 ? total : 0;
        g->pad[i] = (lower || (transposed && !upper)) ? total - total / 2 : total / 2;
    }
    return LEAT_OK;
}

/* What a geometry is read from. */
typedef struct operands {
    const leat_node *node;
    const leat_value *x, *w, *y;
} operands;

static leat_status read_geometry(const operands *o, bool transposed, lt_conv_geometry *out,
                                 leat_error *err)
{
    const leat_node *node = o->node;
    const leat_value *x = o->x, *w = o->w, *y = o->y;
    lt_conv_geometry g = {.channels_last = leat_node_int(node, "channels_last", 0) != 0,
                          .groups = leat_node_int(node, "group", 1)};
    int32_t spatial = x->rank - 2;
    if (spatial < 1 || spatial > 3 || w->rank != x->rank || y->rank != x->rank) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: data of rank %d; 3 to 5 are supported",
                           node->op, x->rank);
    }
    int32_t first = g.channels_last ? 1 : 2, channel = g.channels_last ? x->rank - 1 : 1;
    g.batch = x->shape[0];
    g.in_channels = x->shape[channel];
    g.out_channels = y->shape[channel];
    g.taps = 1;
    for (int32_t i = 0; i < 3; i++) {
        int32_t at = i - (3 - spatial);
        g.in[i] = at < 0 ? 1 : x->shape[first + at];
        g.out[i] = at < 0 ? 1 : y->shape[first + at];
        g.kernel[i] = at < 0 ? 1 : w->shape[2 + at];
        g.taps *= g.kernel[i];
    }
    int64_t per_group = transposed ? g.out_channels : g.in_channels;
    int64_t whole = transposed ? g.in_channels : g.out_channels;
    if (g.groups < 1 || g.in_channels % g.groups != 0 || g.out_channels % g.groups != 0 ||
        w->shape[1] * g.groups != per_group || w->shape[0] != whole) {
        return lt_cpu_fail(
            err, LEAT_INVALID,
            "%s: %lld to %lld channels in %lld groups do not fit weights of %lldx%lld", node->op,
            (long long)g.in_channels, (long long)g.out_channels, (long long)g.groups,
            (long long)w->shape[0], (long long)w->shape[1]);
    }
    leat_status status = read_list(node, "strides", spatial, 1, g.stride, err);
    if (status == LEAT_OK) {
        status = read_list(node, "dilations", spatial, 1, g.dilation, err);
    }
    if (status == LEAT_OK) {
        status = read_pads(node, spatial, transposed, &g, err);
    }
    *out = g;
    return status;
}

leat_status lt_conv_geometry_read(const leat_kernel_node *node, bool transposed,
                                  lt_conv_geometry *out, leat_error *err)
{
    const operands o = {node->node, leat_kernel_input(node, 0), leat_kernel_input(node, 1),
                        leat_kernel_output(node, 0)};
    return read_geometry(&o, transposed, out, err);
}

leat_status lt_conv_geometry_of(const leat_node *node, const leat_value *x, const leat_value *w,
                                const leat_value *y, lt_conv_geometry *out, leat_error *err)
{
    const operands o = {node, x, w, y};
    return read_geometry(&o, false, out, err);
}

lt_conv_strides lt_conv_data_strides(const lt_conv_geometry *g, int64_t channels,
                                     const int64_t spatial[3])
{
    lt_conv_strides s;
    int64_t pixels = spatial[0] * spatial[1] * spatial[2];
    s.batch = channels * pixels;
    s.channel = g->channels_last ? 1 : pixels;
    s.spatial[2] = g->channels_last ? channels : 1;
    s.spatial[1] = s.spatial[2] * spatial[2];
    s.spatial[0] = s.spatial[1] * spatial[1];
    return s;
}

uint32_t lt_conv_residual_input(const leat_kernel_node *node)
{
    bool residual =
        strcmp(node->node->domain, "leat") == 0 && leat_node_int(node->node, "residual", 0) != 0;
    return residual ? node->node->n_inputs - 1 : LEAT_NO_VALUE;
}

leat_status lt_cpu_conv_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    lt_cpu_activation activation;
    bool plain = strcmp(node->node->domain, "leat") != 0;
    if (x->rank > 5 || (x->rank >= 0 && x->rank < 3)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: data of rank %d; 3 to 5 are supported",
                           node->node->op, x->rank);
    }
    if (plain) {
        return LEAT_OK;
    }
    if (!lt_cpu_activation_read(node->node, &activation)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: unknown activation", node->node->op);
    }
    bool fused =
        activation.kind != LT_CPU_ACTIVATION_NONE || lt_conv_residual_input(node) != LEAT_NO_VALUE;
    bool transposed = strcmp(node->node->op, "ConvTranspose") == 0;
    if (fused && (x->dtype == LEAT_DTYPE_F64 || transposed)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: epilogues are fused in f32, f16 and bf16",
                           node->node->op);
    }
    bool computes = leat_node_attr(node->node, "compute") != NULL;
    const leat_value *bias = lt_conv_residual_input(node) == 2 ? NULL : leat_kernel_input(node, 2);
    bool constant = leat_kernel_input(node, 1)->data != NULL && (bias == NULL || bias->data);
    if ((fused || computes) && !constant) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: no epilogue with weights that change",
                           node->node->op);
    }
    if (fused && x->rank < 0) { /* it will not become channels-last, which epilogues need */
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: no epilogue for data of unknown rank",
                           node->node->op);
    }
    if (computes && leat_node_int(node->node, "channels_last", 0) == 0) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: `compute` needs channels-last data",
                           node->node->op);
    }
    return transposed ? LEAT_OK : lt_cpu_compute_supports(node, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes and shapes of the pooling operators. */
#include "pool/pool.h"

#define LIMIT (1ll << 31) /* of kernel sizes, strides, dilations and pads: products stay exact */

/* Copies a list attribute of `count` entries within [low, LIMIT) to out[3 - spatial..). */
static leat_status read_list(const leat_node *node, const char *name, int64_t low, int32_t skip,
                             int32_t spatial, int64_t *out, leat_error *err)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    if (list == NULL) {
        return LEAT_OK;
    }
    for (int32_t i = 0; i < spatial; i++) {
        if (count < (size_t)(skip + spatial) || list[skip + i] < low || list[skip + i] >= LIMIT) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s node '%s': attribute %s must have %d entries of at least %lld",
                               node->op, node->name, name, skip + spatial, (long long)low);
        }
        out[3 - spatial + i] = list[skip + i];
    }
    return LEAT_OK;
}

static bool is_global(const leat_node *node)
{
    return strncmp(node->op, "Global", 6) == 0;
}

/* Pads of auto_pad SAME_UPPER and SAME_LOWER. */
static void same_pads(lt_pool_geometry *g, bool lower)
{
    for (int i = 0; i < 3; i++) {
        int64_t out = (g->in[i] + g->stride[i] - 1) / g->stride[i];
        int64_t need =
            (out - 1) * g->stride[i] + (g->kernel[i] - 1) * g->dilation[i] + 1 - g->in[i];
        need = need > 0 ? need : 0;
        g->before[i] = lower ? (need + 1) / 2 : need / 2;
        g->after[i] = need - g->before[i];
    }
}

static leat_status read_attributes(const leat_node *node, lt_pool_geometry *g, leat_error *err)
{
    leat_status status = read_list(node, "kernel_shape", 1, 0, g->spatial, g->kernel, err);
    if (status == LEAT_OK && leat_node_attr(node, "kernel_shape") == NULL) {
        status = lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': kernel_shape is missing", node->op,
                             node->name);
    }
    if (status == LEAT_OK) {
        status = read_list(node, "strides", 1, 0, g->spatial, g->stride, err);
    }
    if (status == LEAT_OK) {
        status = read_list(node, "dilations", 1, 0, g->spatial, g->dilation, err);
    }
    const leat_attr *auto_pad = leat_node_attr(node, "auto_pad");
    if (status != LEAT_OK || leat_node_string_is(node, "auto_pad", "VALID")) {
        return status;
    }
    if (leat_node_string_is(node, "auto_pad", "SAME_UPPER") ||
        leat_node_string_is(node, "auto_pad", "SAME_LOWER")) {
        same_pads(g, leat_node_string_is(node, "auto_pad", "SAME_LOWER"));
        return LEAT_OK;
    }
    if (auto_pad != NULL && !leat_node_string_is(node, "auto_pad", "NOTSET")) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': unknown auto_pad", node->op,
                           node->name);
    }
    status = read_list(node, "pads", 0, 0, g->spatial, g->before, err);
    return status ? status : read_list(node, "pads", 0, g->spatial, g->spatial, g->after, err);
}

/* Input and output sizes; a global operator's dimensions are one. */
static leat_status read_shapes(const leat_kernel_node *node, lt_pool_geometry *g, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    int32_t first = g->channels_last ? 1 : 2, channel = g->channels_last ? in->rank - 1 : 1;
    bool global = is_global(node->node);
    if (out->rank != in->rank || out->dtype != in->dtype || out->shape[0] != in->shape[0] ||
        out->shape[channel] != in->shape[channel]) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': rank, type, batch or channels change",
                           node->node->op, node->node->name);
    }
    g->batch = in->shape[0];
    g->channels = in->shape[channel];
    for (int32_t i = 0; i < in->rank - 2; i++) {
        if (global) {
            g->in[2] *= in->shape[first + i];
            g->out[2] *= out->shape[first + i];
        } else {
            g->in[3 - g->spatial + i] = in->shape[first + i];
            g->out[3 - g->spatial + i] = out->shape[first + i];
        }
    }
    if (global && g->out[2] != 1) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': its output must be one element wide",
                           node->node->op, node->node->name);
    }
    for (int i = 0; i < 3; i++) {
        if (g->in[i] >= LIMIT || g->out[i] >= LIMIT) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': a dimension of 2^31 or more",
                               node->node->op, node->node->name);
        }
    }
    return LEAT_OK;
}

leat_status lt_pool_read(const leat_kernel_node *node, lt_pool_op op, lt_pool_geometry *out,
                         leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    memset(out, 0, sizeof(*out));
    out->op = op;
    out->dtype = in->dtype;
    out->channels_last = leat_node_int(node->node, "channels_last", 0) == 1;
    out->include_pad = leat_node_int(node->node, "count_include_pad", 0) == 1;
    out->column_major = leat_node_int(node->node, "storage_order", 0) == 1;
    out->p = leat_node_int(node->node, "p", 2);
    for (int i = 0; i < 3; i++) {
        out->in[i] = out->out[i] = out->kernel[i] = out->stride[i] = out->dilation[i] = 1;
    }
    out->spatial = is_global(node->node) ? 1 : in->rank - 2;
    if (in->rank < 2 || out->spatial < 1 || out->spatial > 3) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s node '%s': rank %d; 1 to 3 spatial dimensions are served",
                           node->node->op, node->node->name, in->rank);
    }
    leat_status status = read_shapes(node, out, err);
    if (status == LEAT_OK && is_global(node->node)) {
        out->kernel[2] = out->in[2];
    } else if (status == LEAT_OK) {
        status = read_attributes(node->node, out, err);
    }
    return status;
}

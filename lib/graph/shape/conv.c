/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and pooling. */
#include "graph/shape/shape.h"

/* Longest axis under a window, so that sizes stay far from overflow. */
#define MAX_EXTENT ((int64_t)1 << 40)

static leat_status read_list(const lt_infer *infer, const char *name, size_t count,
                             int64_t otherwise, int64_t least, int64_t *out, leat_error *err)
{
    size_t n;
    const int64_t *list = leat_node_ints(infer->node, name, &n);
    if (list != NULL && n != count) {
        return lt_bad(infer, err, "%s has %zu entries, not %zu", name, n, count);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = list ? list[i] : otherwise;
        if (out[i] < least || out[i] > INT32_MAX) {
            return lt_bad(infer, err, "%s[%zu] is %lld", name, i, (long long)out[i]);
        }
    }
    return LEAT_OK;
}

leat_status lt_window_read(const lt_infer *infer, int32_t spatial, const int64_t *kernel,
                           lt_window *w, leat_error *err)
{
    size_t n = (size_t)spatial;
    w->spatial = spatial;
    if (spatial < 1 || spatial > LEAT_MAX_RANK - 2) {
        return lt_bad(infer, err, "%d spatial dimensions", spatial);
    }
    leat_status status = read_list(infer, "strides", n, 1, 1, w->stride, err);
    if (status == LEAT_OK) {
        status = read_list(infer, "dilations", n, 1, 1, w->dilation, err);
    }
    if (status == LEAT_OK) {
        status = read_list(infer, "pads", 2 * n, 0, 0, w->pad, err);
    }
    if (status == LEAT_OK) {
        status = read_list(infer, "kernel_shape", n, 0, 0, w->kernel, err);
    }
    for (int32_t i = 0; status == LEAT_OK && i < spatial; i++) {
        if (kernel != NULL && w->kernel[i] != 0 && kernel[i] >= 0 && w->kernel[i] != kernel[i]) {
            return lt_bad(infer, err, "kernel_shape[%d] is %lld, the weights have %lld", i,
                          (long long)w->kernel[i], (long long)kernel[i]);
        }
        w->kernel[i] = kernel ? kernel[i] : w->kernel[i];
        if (kernel == NULL && w->kernel[i] < 1) {
            return lt_bad(infer, err, "kernel_shape is missing");
        }
        if (w->kernel[i] == 0 || w->kernel[i] > INT32_MAX) {
            return lt_bad(infer, err, "the window has %lld elements on axis %d",
                          (long long)w->kernel[i], i);
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    w->lower = leat_node_string_is(infer->node, "auto_pad", "SAME_LOWER");
    w->same = w->lower || leat_node_string_is(infer->node, "auto_pad", "SAME_UPPER");
    if (leat_node_string_is(infer->node, "auto_pad", "VALID")) {
        memset(w->pad, 0, sizeof(w->pad));
    } else if (!w->same && leat_node_attr(infer->node, "auto_pad") != NULL &&
               !leat_node_string_is(infer->node, "auto_pad", "NOTSET")) {
        return lt_bad(infer, err, "auto_pad is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER");
    }
    w->ceil = leat_node_int(infer->node, "ceil_mode", 0) != 0;
    return LEAT_OK;
}

leat_status lt_window_output(lt_infer *infer, const lt_window *w, int32_t i, int64_t in,
                             int64_t *out, leat_error *err)
{
    if (in < 0 || w->kernel[i] < 0) {
        return lt_fresh(infer, out, err);
    }
    if (in > MAX_EXTENT) {
        return lt_bad(infer, err, "axis %d has %lld elements", i, (long long)in);
    }
    if (w->same) {
        *out = (in + w->stride[i] - 1) / w->stride[i];
        return LEAT_OK;
    }
    int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t room = in + w->pad[i] + w->pad[i + w->spatial] - reach;
    if (room < 0) {
        return lt_bad(infer, err, "the window (%lld) is larger than padded axis %d (%lld)",
                      (long long)reach, i, (long long)(room + reach));
    }
    *out = (w->ceil ? (room + w->stride[i] - 1) / w->stride[i] : room / w->stride[i]) + 1;
    /* A last window that would start in the padding is dropped. */
    if (w->ceil && (*out - 1) * w->stride[i] >= in + w->pad[i]) {
        --*out;
    }
    return LEAT_OK;
}

/* Whether input i is the bias: the third of a convolution that is not the residual. 0 otherwise. */
static uint32_t bias_input(const lt_infer *infer)
{
    bool residual = leat_node_int(infer->node, "residual", 0) != 0;
    return residual && infer->node->n_inputs == 3 ? 0 : 2;
}

/* Sets output 0 (and 1 for MaxPool) of a window over data x with `channels` output channels. */
static leat_status set_windowed(lt_infer *infer, const lt_window *w, const leat_value *x_value,
                                int64_t channels, leat_dtype dtype, leat_error *err)
{
    leat_value x = *x_value;
    bool last = lt_channels_last(infer);
    int64_t shape[LEAT_MAX_RANK] = {x.shape[0]};
    int32_t first = last ? 1 : 2;
    shape[last ? x.rank - 1 : 1] = channels;
    for (int32_t i = 0; i < w->spatial; i++) {
        leat_status status =
            lt_window_output(infer, w, i, x.shape[first + i], &shape[first + i], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    leat_status status = lt_set(infer, 0, dtype, x.rank, shape, err);
    return status != LEAT_OK ? status : lt_set(infer, 1, LEAT_DTYPE_I64, x.rank, shape, err);
}

static leat_status conv(lt_infer *infer, const leat_value *x, const leat_value *weights,
                        uint32_t bias, leat_dtype dtype, leat_error *err)
{
    lt_window w;
    int64_t group = leat_node_int(infer->node, "group", 1);
    if (x->rank < 3 || weights->rank != x->rank) {
        return lt_bad(infer, err, "data of rank %d and weights of rank %d", x->rank, weights->rank);
    }
    leat_status status = lt_window_read(infer, x->rank - 2, weights->shape + 2, &w, err);
    if (status != LEAT_OK) {
        return status;
    }
    int64_t in = x->shape[lt_channels_last(infer) ? x->rank - 1 : 1];
    int64_t out = weights->shape[0], per_group = weights->shape[1];
    if (group < 1 || (out >= 0 && out % group != 0)) {
        return lt_bad(infer, err, "group is %lld for %lld output channels", (long long)group,
                      (long long)out);
    }
    int64_t wanted;
    if (in >= 0 && per_group >= 0 &&
        (__builtin_mul_overflow(per_group, group, &wanted) || wanted != in)) {
        return lt_bad(infer, err, "weights want %lld channels in %lld groups, data has %lld",
                      (long long)per_group, (long long)group, (long long)in);
    }
    status = bias ? lt_vector(infer, bias, out, err) : LEAT_OK;
    return status != LEAT_OK ? status : set_windowed(infer, &w, x, out, dtype, err);
}

leat_status lt_infer_conv(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    leat_status status = lt_same_type(infer, 0, 1, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    return status != LEAT_OK ? status
                             : conv(infer, x, lt_in(infer, 1), bias_input(infer), x->dtype, err);
}

/* Pointwise weights and bias, then depthwise weights and bias. */
leat_status lt_infer_conv_depthwise(lt_infer *infer, leat_error *err)
{
    const leat_value *w = lt_in(infer, 1), *filters = lt_in(infer, 3);
    leat_value x = *lt_in(infer, 0);
    leat_status status = LEAT_OK;
    for (uint32_t i = 1; i < 5 && status == LEAT_OK; i++) {
        status = lt_same_type(infer, 0, i, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_channels_last(infer) || x.rank != 4 || w == NULL || w->rank != 4 || filters == NULL ||
        filters->rank != 4) {
        return lt_bad(infer, err, "its data is channels-last with two spatial dimensions");
    }
    if ((x.shape[3] >= 0 && w->shape[1] != x.shape[3]) || w->shape[2] != 1 || w->shape[3] != 1 ||
        filters->shape[0] != w->shape[0] || filters->shape[1] != 1 || w->shape[0] < 1 ||
        leat_node_int(infer->node, "group", 1) != w->shape[0]) {
        return lt_bad(infer, err, "the weights do not fit the data or each other");
    }
    x.shape[3] = w->shape[0];
    status = lt_in(infer, 2) ? lt_vector(infer, 2, w->shape[0], err) : LEAT_OK;
    if (status != LEAT_OK) {
        return status;
    }
    return conv(infer, &x, filters, lt_in(infer, 4) ? 4 : 0, x.dtype, err);
}

/* Pointwise data, weights and bias, then those of a second convolution whose results are added. */
leat_status lt_infer_conv_pair(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *w = lt_in(infer, 1);
    const leat_value *other = lt_in(infer, 3), *filters = lt_in(infer, 4);
    leat_status status = LEAT_OK;
    for (uint32_t i = 1; i < 6 && status == LEAT_OK; i++) {
        status = lt_same_type(infer, 0, i, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_channels_last(infer) || x->rank != 4 || other->rank != 4 || w->rank != 4 ||
        filters->rank != 4 || w->shape[2] != 1 || w->shape[3] != 1 || filters->shape[2] != 1 ||
        filters->shape[3] != 1 || w->shape[0] != filters->shape[0] ||
        leat_node_int(infer->node, "group", 1) != 1 ||
        (other->shape[3] >= 0 && filters->shape[1] != other->shape[3])) {
        return lt_bad(infer, err, "it takes two pointwise convolutions of channels-last images");
    }
    status = lt_in(infer, 5) ? lt_vector(infer, 5, w->shape[0], err) : LEAT_OK;
    return status != LEAT_OK ? status : conv(infer, x, w, lt_in(infer, 2) ? 2 : 0, x->dtype, err);
}

leat_status lt_infer_conv_integer(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *weights = lt_in(infer, 1);
    leat_status status = lt_single(infer, 2, err);
    if (status == LEAT_OK) {
        status = lt_zero_point(infer, 3, weights->rank > 0 ? weights->shape[0] : -1, err);
    }
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 1, 3, err);
    }
    return status != LEAT_OK ? status : conv(infer, x, weights, 0, LEAT_DTYPE_I32, err);
}

leat_status lt_infer_qlinear_conv(lt_infer *infer, leat_error *err)
{
    return conv(infer, lt_in(infer, 0), lt_in(infer, 3), 8, lt_in(infer, 7)->dtype, err);
}

/* Floats to be quantized lie channels-first, whatever the result does. */
leat_status lt_infer_qconv(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    bool bytes = x.dtype == LEAT_DTYPE_U8 || x.dtype == LEAT_DTYPE_I8;
    if (!bytes && lt_channels_last(infer) && x.rank >= 3) {
        int64_t channels = x.shape[1];
        memmove(&x.shape[1], &x.shape[2], (size_t)(x.rank - 2) * sizeof(x.shape[0]));
        x.shape[x.rank - 1] = channels;
    }
    return conv(infer, &x, lt_in(infer, 3), 8, lt_quantized_type(infer), err);
}

/* Output size of one axis of a transposed convolution. */
static leat_status transposed_output(lt_infer *infer, const lt_window *w, int32_t i, int64_t in,
                                     const int64_t *output_padding, int64_t *out, leat_error *err)
{
    size_t n;
    const int64_t *given = leat_node_ints(infer->node, "output_shape", &n);
    if (given != NULL) {
        if (n != (size_t)w->spatial || given[i] < 1) {
            return lt_bad(infer, err, "output_shape has %zu entries", n);
        }
        *out = given[i];
        return LEAT_OK;
    }
    if (in < 0 || w->kernel[i] < 0) {
        return lt_fresh(infer, out, err);
    }
    if (in > MAX_EXTENT || in > INT64_MAX / 4 / w->stride[i]) {
        return lt_bad(infer, err, "axis %d has %lld elements", i, (long long)in);
    }
    if (w->same) {
        *out = in * w->stride[i];
        return LEAT_OK;
    }
    *out = (in - 1) * w->stride[i] + output_padding[i] + (w->kernel[i] - 1) * w->dilation[i] + 1 -
           w->pad[i] - w->pad[i + w->spatial];
    return *out >= 0 ? LEAT_OK : lt_bad(infer, err, "axis %d of the output would be negative", i);
}

leat_status lt_infer_conv_transpose(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    const leat_value *weights = lt_in(infer, 1);
    lt_window w;
    int64_t group = leat_node_int(infer->node, "group", 1), extra[LEAT_MAX_RANK];
    if (x.rank < 3 || weights->rank != x.rank) {
        return lt_bad(infer, err, "data of rank %d and weights of rank %d", x.rank, weights->rank);
    }
    leat_status status = lt_window_read(infer, x.rank - 2, weights->shape + 2, &w, err);
    if (status == LEAT_OK) {
        status = read_list(infer, "output_padding", (size_t)w.spatial, 0, 0, extra, err);
    }
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 1, err);
    }
    bool last = lt_channels_last(infer);
    int64_t in = x.shape[last ? x.rank - 1 : 1];
    if (status == LEAT_OK &&
        (group < 1 || (in >= 0 && weights->shape[0] >= 0 && in != weights->shape[0]) ||
         (in >= 0 && in % group != 0))) {
        status = lt_bad(infer, err, "weights want %lld channels in %lld groups, data has %lld",
                        (long long)weights->shape[0], (long long)group, (long long)in);
    }
    if (status != LEAT_OK) {
        return status;
    }
    int64_t shape[LEAT_MAX_RANK] = {x.shape[0]}, channels = -1;
    if (weights->shape[1] < 0) {
        status = lt_fresh(infer, &channels, err);
    } else if (__builtin_mul_overflow(weights->shape[1], group, &channels)) {
        status = lt_bad(infer, err, "the number of channels overflows");
    }
    shape[last ? x.rank - 1 : 1] = channels;
    if (status == LEAT_OK && bias_input(infer) != 0) {
        status = lt_vector(infer, 2, channels, err);
    }
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    for (int32_t i = 0; i < w.spatial && status == LEAT_OK; i++) {
        int32_t at = (last ? 1 : 2) + i;
        status = transposed_output(infer, &w, i, x.shape[at], extra, &shape[at], err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, x.rank, shape, err);
}

leat_status lt_infer_pool(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    lt_window w;
    leat_status status = lt_window_read(infer, x.rank - 2, NULL, &w, err);
    int64_t channels = x.rank >= 2 ? x.shape[lt_channels_last(infer) ? x.rank - 1 : 1] : 0;
    return status != LEAT_OK ? status : set_windowed(infer, &w, &x, channels, x.dtype, err);
}

static leat_status global_pool(lt_infer *infer, leat_dtype dtype, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    bool last = lt_channels_last(infer);
    if (x.rank < 2) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    int64_t shape[LEAT_MAX_RANK];
    for (int32_t i = 0; i < x.rank; i++) {
        shape[i] = i == 0 || i == (last ? x.rank - 1 : 1) ? x.shape[i] : 1;
    }
    return lt_set(infer, 0, dtype, x.rank, shape, err);
}

leat_status lt_infer_global_pool(lt_infer *infer, leat_error *err)
{
    return global_pool(infer, lt_in(infer, 0)->dtype, err);
}

/* x, x_scale, x_zero, y_scale, y_zero */
leat_status lt_infer_qglobal_pool(lt_infer *infer, leat_error *err)
{
    const leat_value *zero = lt_in(infer, 4);
    leat_dtype bytes = zero ? zero->dtype : LEAT_DTYPE_U8;
    return global_pool(infer, lt_in(infer, 3) ? bytes : LEAT_DTYPE_F32, err);
}

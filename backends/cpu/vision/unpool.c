/* SPDX-License-Identifier: Apache-2.0 */
/* MaxUnpool: elements back to the places that MaxPool took them from, zeros elsewhere. Every index
 * is checked. Col2Im: windows added up to the image that they were cut from. */
#include "elementwise/element.h"
#include "movement/movement.h"

/* ---- MaxUnpool ------------------------------------------------------------------------------ */

typedef struct unpool {
    lt_move_label label;
    size_t bytes;
    int64_t count, room; /* elements of X; elements that indices count over */
    int32_t rank;
    int64_t inner[LEAT_MAX_RANK]; /* the shape that indices count over */
    int64_t shape[LEAT_MAX_RANK]; /* of the output: at least as large */
} unpool;

/* Element of the output that flat index `at` over the inner shape names. */
static int64_t place(const unpool *u, int64_t at)
{
    int64_t out = 0, stride = 1;
    for (int32_t i = u->rank - 1; i >= 0; i--) {
        out += at % u->inner[i] * stride;
        at /= u->inner[i];
        stride *= u->shape[i];
    }
    return out;
}

static leat_status launch_unpool(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const unpool *u = state;
    const uint8_t *x = args->inputs[0];
    uint8_t *y = args->outputs[0];
    memset(y, 0, (size_t)lt_move_product(u->shape, 0, u->rank) * u->bytes);
    for (int64_t i = 0; i < u->count; i++) {
        int64_t at = lt_element_int(LEAT_DTYPE_I64, args->inputs[1], i);
        if (at < 0 || at >= u->room) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: index %lld at position %lld is outside [0, %lld)",
                               u->label.text, (long long)at, (long long)i, (long long)u->room);
        }
        memcpy(y + (size_t)place(u, at) * u->bytes, x + (size_t)i * u->bytes, u->bytes);
    }
    return LEAT_OK;
}

leat_status lt_cpu_max_unpool_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *indices = leat_kernel_input(node, 1);
    if (leat_kernel_input(node, 0) == NULL || indices == NULL || indices->dtype != LEAT_DTYPE_I64) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its indices must be i64",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static int64_t entry(const leat_node *node, const char *name, size_t i, int64_t otherwise)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    return list != NULL && i < count ? list[i] : otherwise;
}

leat_status lt_cpu_max_unpool_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    unpool *u = host->plan_alloc(plan, sizeof(*u));
    (void)device;
    if (u == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    u->label = lt_move_name(node->node);
    u->bytes = lt_cpu_element_bytes(x->dtype);
    u->count = leat_value_count(x);
    u->rank = x->rank;
    bool fits = x->rank >= 3 && y->rank == x->rank && leat_value_count(indices) == u->count;
    size_t spatial = (size_t)(x->rank - 2);
    for (int32_t i = 0; i < x->rank && fits; i++) {
        size_t k = (size_t)(i - 2);
        u->shape[i] = y->shape[i];
        u->inner[i] = i < 2 ? x->shape[i]
                            : (x->shape[i] - 1) * entry(node->node, "strides", k, 1) +
                                  entry(node->node, "kernel_shape", k, 1) -
                                  entry(node->node, "pads", k, 0) -
                                  entry(node->node, "pads", spatial + k, 0);
        fits = u->inner[i] >= 0 && u->inner[i] <= u->shape[i];
    }
    if (!fits) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit", u->label.text);
    }
    u->room = lt_move_product(u->inner, 0, u->rank);
    out_kernel->name = "max_unpool";
    out_kernel->launch = launch_unpool;
    out_kernel->state = u;
    return LEAT_OK;
}

/* ---- Col2Im --------------------------------------------------------------------------------- */

typedef struct col2im {
    leat_dtype dtype;
    int32_t spatial;
    int64_t planes, blocks; /* batch * channels; windows of a plane */
    int64_t image[LEAT_MAX_RANK], window[LEAT_MAX_RANK], steps[LEAT_MAX_RANK];
    int64_t stride[LEAT_MAX_RANK], dilation[LEAT_MAX_RANK], pad[LEAT_MAX_RANK];
    int64_t taps, pixels;
} col2im;

typedef struct col_job {
    const col2im *c;
    const void *x;
    void *y;
} col_job;

/* Pixel that tap t of window b lies on; -1 in the padding. */
static int64_t pixel_of(const col2im *c, int64_t t, int64_t b)
{
    int64_t at = 0, size = 1;
    for (int32_t i = c->spatial - 1; i >= 0; i--) {
        int64_t p = b % c->steps[i] * c->stride[i] - c->pad[i] + t % c->window[i] * c->dilation[i];
        if (p < 0 || p >= c->image[i]) {
            return -1;
        }
        at += p * size;
        size *= c->image[i];
        t /= c->window[i];
        b /= c->steps[i];
    }
    return at;
}

static void col_range(void *argument, int64_t begin, int64_t end)
{
    const col_job *job = argument;
    const col2im *c = job->c;
    for (int64_t plane = begin; plane < end; plane++) {
        for (int64_t i = 0; i < c->taps * c->blocks; i++) {
            int64_t at = pixel_of(c, i / c->blocks, i % c->blocks);
            if (at >= 0) {
                at += plane * c->pixels;
                double sum = lt_element_get(c->dtype, job->y, at) +
                             lt_element_get(c->dtype, job->x, plane * c->taps * c->blocks + i);
                lt_element_set(c->dtype, job->y, at, lt_element_fit(c->dtype, sum));
            }
        }
    }
}

static leat_status launch_col2im(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const col2im *c = state;
    col_job job = {c, args->inputs[0], args->outputs[0]};
    (void)err;
    memset(args->outputs[0], 0, (size_t)(c->planes * c->pixels) * lt_cpu_element_bytes(c->dtype));
    lt_cpu_parallel_range(args, c->planes, 1, 32.0 * (double)(c->taps * c->blocks), col_range,
                          &job);
    return LEAT_OK;
}

leat_status lt_cpu_col2im_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *list = leat_kernel_input(node, 2);
    const leat_value *y = leat_kernel_output(node, 0);
    lt_move_label label = lt_move_name(node->node);
    col2im *c = host->plan_alloc(plan, sizeof(*c));
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    c->spatial = y->rank - 2;
    if (list->data == NULL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: block_shape must be known", label.text);
    }
    if (c->spatial < 1 || leat_value_count(list) != c->spatial || x->rank != 3) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit", label.text);
    }
    leat_status status = lt_move_ints(label.text, "block_shape", list->dtype, list->data,
                                      c->spatial, c->window, err);
    c->taps = c->blocks = 1;
    bool fits = true;
    for (int32_t i = 0; i < c->spatial && status == LEAT_OK; i++) {
        size_t k = (size_t)i;
        c->stride[i] = entry(node->node, "strides", k, 1);
        c->dilation[i] = entry(node->node, "dilations", k, 1);
        c->pad[i] = entry(node->node, "pads", k, 0);
        c->image[i] = y->shape[2 + i];
        int64_t after = entry(node->node, "pads", k + (size_t)c->spatial, 0);
        int64_t room = c->image[i] + c->pad[i] + after - (c->window[i] - 1) * c->dilation[i] - 1;
        fits = fits && c->window[i] > 0 && c->stride[i] > 0 && c->dilation[i] > 0 && room >= 0;
        c->steps[i] = fits ? room / c->stride[i] + 1 : 1;
        c->taps *= fits ? c->window[i] : 1;
        c->blocks *= c->steps[i];
    }
    c->dtype = x->dtype;
    c->planes = y->shape[0] * y->shape[1];
    c->pixels = lt_move_product(y->shape, 2, y->rank);
    if (status == LEAT_OK &&
        (!fits || c->blocks != x->shape[2] || y->shape[1] * c->taps != x->shape[1])) {
        status = lt_cpu_fail(err, LEAT_INVALID, "%s: %lld windows of %lld do not fit its data",
                             label.text, (long long)c->blocks, (long long)c->taps);
    }
    out_kernel->name = "col2im";
    out_kernel->launch = launch_col2im;
    out_kernel->state = c;
    out_kernel->unread_mask = 6;
    return status;
}

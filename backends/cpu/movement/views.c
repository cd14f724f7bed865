/* SPDX-License-Identifier: Apache-2.0 */
/* Reshape, Flatten, Squeeze, Unsqueeze: the same bytes under another shape; BitCast: under another
 * type. Shape, Size: what
 * prepare knows already. ConstantOfShape, EyeLike: constants. */
#include "movement/movement.h"

#include "sizes.h"

leat_status lt_cpu_view_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    (void)host;
    (void)plan;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    if (leat_value_count(in) != leat_value_count(out) || in->dtype != out->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %lld elements cannot take a shape of %lld",
                           lt_move_name(node->node).text, (long long)leat_value_count(in),
                           (long long)leat_value_count(out));
    }
    out_kernel->name = "view";
    out_kernel->view_of = 1;
    return LEAT_OK;
}

/* The same bytes under another type of as many bits. */
leat_status lt_cpu_bit_cast_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    (void)device;
    (void)host;
    (void)plan;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    if (leat_value_count(in) != leat_value_count(out) ||
        leat_dtype_bytes(in->dtype, 8) != leat_dtype_bytes(out->dtype, 8)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %s and %s differ in size",
                           lt_move_name(node->node).text, leat_dtype_name(in->dtype),
                           leat_dtype_name(out->dtype));
    }
    out_kernel->name = "view";
    out_kernel->view_of = 1;
    return LEAT_OK;
}

typedef struct shape_state {
    int64_t count;
    int64_t dims[LEAT_MAX_RANK];
} shape_state;

static leat_status launch_shape(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const shape_state *shape = state;
    memcpy(args->outputs[0], shape->dims, (size_t)shape->count * sizeof(int64_t));
    return LEAT_OK;
}

static leat_status finish_shape(const leat_kernel_node *node, const shape_state *shape,
                                leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    if (leat_value_count(out) != shape->count || out->dtype != LEAT_DTYPE_I64) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output must be i64 with %lld elements",
                           lt_move_name(node->node).text, (long long)shape->count);
    }
    out_kernel->name = "shape";
    out_kernel->launch = launch_shape;
    out_kernel->state = shape;
    out_kernel->unread_mask = 1;
    return LEAT_OK;
}

leat_status lt_cpu_shape_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0);
    shape_state *shape = host->plan_alloc(plan, sizeof(*shape));
    if (shape == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    int64_t start = leat_node_int(node->node, "start", 0);
    int64_t end = leat_node_int(node->node, "end", in->rank);
    start = lt_clamp(start < 0 ? start + in->rank : start, 0, in->rank);
    end = lt_clamp(end < 0 ? end + in->rank : end, 0, in->rank);
    for (int64_t i = start; i < end; i++) {
        shape->dims[shape->count++] = in->shape[i];
    }
    return finish_shape(node, shape, out_kernel, err);
}

leat_status lt_cpu_size_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    shape_state *shape = host->plan_alloc(plan, sizeof(*shape));
    if (shape == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    shape->count = 1;
    shape->dims[0] = leat_value_count(leat_kernel_input(node, 0));
    return finish_shape(node, shape, out_kernel, err);
}

/* ---- constants ------------------------------------------------------------------------------ */

typedef struct fill_state {
    size_t bytes; /* of an element */
    int64_t count;
    union {
        uint8_t bytes[16];
        uint64_t align[2];
    } element;
} fill_state;

typedef struct fill_job {
    const fill_state *state;
    uint8_t *out;
} fill_job;

static void fill_range(void *argument, int64_t begin, int64_t end)
{
    const fill_job *job = argument;
    size_t bytes = job->state->bytes;
    lt_move_fill(job->out + begin * (int64_t)bytes, job->state->element.bytes, bytes, end - begin);
}

static leat_status launch_fill(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const fill_state *fill = state;
    fill_job job = {fill, args->outputs[0]};
    lt_cpu_parallel_range(args, fill->count, 64, (double)fill->bytes, fill_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_constant_of_shape_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_attr *value = leat_node_attr(node->node, "value");
    const leat_value *shape = leat_kernel_input(node, 0);
    if (shape == NULL || shape->dtype != LEAT_DTYPE_I64) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its shape must be i64",
                           lt_move_name(node->node).text);
    }
    if (value != NULL && (value->type != LEAT_ATTR_TENSOR || value->u.tensor->data == NULL ||
                          value->u.tensor->bytes < leat_dtype_bytes(value->u.tensor->dtype, 1))) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: value must be a tensor of one element",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_constant_of_shape_prepare(const leat_kernel_node *node, void *device,
                                             const leat_host *host, leat_plan *plan,
                                             leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_attr *value = leat_node_attr(node->node, "value");
    const leat_value *out = leat_kernel_output(node, 0);
    leat_dtype dtype = value ? value->u.tensor->dtype : LEAT_DTYPE_F32;
    fill_state *fill = host->plan_alloc(plan, sizeof(*fill));
    if (fill == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (out->dtype != dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output is %s, its value %s",
                           lt_move_name(node->node).text, leat_dtype_name(out->dtype),
                           leat_dtype_name(dtype));
    }
    unsigned bits = lt_packed_bits(dtype);
    fill->count = leat_value_count(out);
    fill->bytes = lt_cpu_element_bytes(dtype);
    if (value != NULL) {
        memcpy(fill->element.bytes, value->u.tensor->data, fill->bytes);
    }
    if (bits != 0) {
        fill->count = (fill->count * bits + 7) / 8;
        unsigned element = lt_packed_get(fill->element.bytes, 0, bits);
        fill->element.bytes[0] = (uint8_t)(element * (bits == 4 ? 0x11 : 0x55));
    }
    out_kernel->name = "fill";
    out_kernel->launch = launch_fill;
    out_kernel->state = fill;
    out_kernel->unread_mask = 1;
    return LEAT_OK;
}

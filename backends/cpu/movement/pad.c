/* SPDX-License-Identifier: Apache-2.0 */
/* Pad: constant, reflect, edge, wrap; negative pads cut. One index map per axis, made at launch in
 * the workspace; axes at the end that are not padded move as one unit. */
#include "movement/movement.h"

typedef enum pad_mode {
    PAD_CONSTANT,
    PAD_REFLECT,
    PAD_EDGE,
    PAD_WRAP,
    PAD_MODES
} pad_mode;
static const char *const mode_names[PAD_MODES] = {"constant", "reflect", "edge", "wrap"};

typedef struct pad_state {
    lt_move_label label;
    leat_dtype dtype;
    pad_mode mode;
    int32_t rank;
    int64_t in_shape[LEAT_MAX_RANK], out_shape[LEAT_MAX_RANK];
    int64_t n_pads, n_axes; /* elements; n_axes -1: all axes */
    leat_dtype pads_dtype, axes_dtype;
    bool planned; /* before is complete */
    int64_t before[LEAT_MAX_RANK];
    bool has_value; /* input 2 is there */
    uint8_t value[16];
} pad_state;

/* Elements before each axis, from pads (begins, then ends) for `axes`; checks the planned shape. */
static leat_status place(const pad_state *state, const int64_t *pads, const int64_t *axes,
                         int64_t *before, leat_error *err)
{
    int64_t count = state->n_pads / 2, after[LEAT_MAX_RANK] = {0};
    uint32_t seen = 0;
    memset(before, 0, LEAT_MAX_RANK * sizeof(*before));
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = state->n_axes >= 0 ? axes[i] : i;
        axis += axis < 0 ? state->rank : 0;
        if (axis < 0 || axis >= state->rank || (seen >> axis & 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %lld is repeated or not of rank %d",
                               state->label.text, (long long)axis, state->rank);
        }
        seen |= 1u << axis;
        before[axis] = pads[i];
        after[axis] = pads[count + i];
    }
    for (int32_t i = 0; i < state->rank; i++) {
        int64_t in = state->in_shape[i], out = 0;
        if (__builtin_add_overflow(in, before[i], &out) ||
            __builtin_add_overflow(out, after[i], &out) ||
            (out < 0 ? 0 : out) != state->out_shape[i]) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: axis %d of %lld with pads %lld and %lld is "
                               "not the planned %lld",
                               state->label.text, i, (long long)in, (long long)before[i],
                               (long long)after[i], (long long)state->out_shape[i]);
        }
        if (in == 0 && out > 0 && state->mode != PAD_CONSTANT) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %d is empty: nothing to %s",
                               state->label.text, i, mode_names[state->mode]);
        }
    }
    return LEAT_OK;
}

/* Where index `at`, which may be outside [0, dim), reads. */
static int64_t source_index(pad_mode mode, int64_t at, int64_t dim)
{
    if (at >= 0 && at < dim) {
        return at;
    }
    int64_t period;
    switch (mode) {
    case PAD_EDGE:
        return at < 0 ? 0 : dim - 1;
    case PAD_WRAP:
        at %= dim;
        return at < 0 ? at + dim : at;
    case PAD_REFLECT:
        if (dim == 1) {
            return 0;
        }
        period = 2 * (dim - 1);
        at %= period;
        at += at < 0 ? period : 0;
        return at < dim ? at : period - at;
    default:
        return -1;
    }
}

static leat_status launch_pad(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const pad_state *state = opaque;
    int64_t pads[2 * LEAT_MAX_RANK], axes[LEAT_MAX_RANK], before[LEAT_MAX_RANK];
    memcpy(before, state->before, sizeof(before));
    if (!state->planned) {
        leat_status status = lt_move_ints(state->label.text, "pads", state->pads_dtype,
                                          args->inputs[1], state->n_pads, pads, err);
        if (status == LEAT_OK && state->n_axes > 0) {
            status = lt_move_ints(state->label.text, "axes", state->axes_dtype, args->inputs[3],
                                  state->n_axes, axes, err);
        }
        if (status == LEAT_OK) {
            status = place(state, pads, axes, before, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    lt_mapped copy = {.element_bytes = lt_cpu_element_bytes(state->dtype), .unit = 1};
    copy.fill = state->has_value ? args->inputs[2] : state->value;
    copy.rank = state->rank;
    while (copy.rank > 1 && before[copy.rank - 1] == 0 &&
           state->in_shape[copy.rank - 1] == state->out_shape[copy.rank - 1]) {
        copy.unit *= state->in_shape[--copy.rank];
    }
    memcpy(copy.in_shape, state->in_shape, sizeof(copy.in_shape));
    memcpy(copy.out_shape, state->out_shape, sizeof(copy.out_shape));
    if (copy.rank == 0) { /* a scalar */
        copy.rank = 1;
        copy.in_shape[0] = copy.out_shape[0] = 1;
    }
    int64_t *map = args->workspace;
    for (int32_t i = 0; i < copy.rank; i++) {
        copy.maps[i] = map;
        for (int64_t k = 0; k < copy.out_shape[i]; k++) {
            *map++ = source_index(state->mode, k - before[i], copy.in_shape[i]);
        }
    }
    lt_mapped_run(&copy, args, args->outputs[0], args->inputs[0]);
    return LEAT_OK;
}

leat_status lt_cpu_pad_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_attr *mode = leat_node_attr(node->node, "mode");
    bool known = mode == NULL;
    for (int i = 0; i < PAD_MODES; i++) {
        known = known || leat_node_string_is(node->node, "mode", mode_names[i]);
    }
    return known ? LEAT_OK
                 : lt_cpu_fail(err, LEAT_UNSUPPORTED,
                               "%s: mode must be constant, reflect, edge or wrap",
                               lt_move_name(node->node).text);
}

/* Bytes of an attribute's float value in a floating-point dtype. */
static void store_value(leat_dtype dtype, float value, uint8_t *out)
{
    double wide = value;
    uint16_t half = dtype == LEAT_DTYPE_BF16 ? lt_f32_to_bf16(value) : lt_f32_to_f16(value);
    if (dtype == LEAT_DTYPE_F64) {
        memcpy(out, &wide, sizeof(wide));
    } else if (dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16) {
        memcpy(out, &half, sizeof(half));
    } else if (dtype == LEAT_DTYPE_F32) {
        memcpy(out, &value, sizeof(value));
    }
}

/* Opset 2-10: pads and value are attributes. */
static leat_status plan_attributes(const leat_node *node, pad_state *state, leat_error *err)
{
    size_t count;
    const int64_t *pads = leat_node_ints(node, "pads", &count);
    state->n_axes = -1;
    state->n_pads = (int64_t)count;
    state->planned = true;
    store_value(state->dtype, leat_node_float(node, "value", 0.0f), state->value);
    if (state->n_pads != 2 * state->rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: pads has %zu entries for rank %d",
                           state->label.text, count, state->rank);
    }
    return place(state, pads, NULL, state->before, err);
}

static leat_status plan_inputs(const leat_kernel_node *node, pad_state *state, leat_error *err)
{
    const leat_value *pads = leat_kernel_input(node, 1), *value = leat_kernel_input(node, 2);
    const leat_value *axes = leat_kernel_input(node, 3);
    int64_t pad_list[2 * LEAT_MAX_RANK], axis_list[LEAT_MAX_RANK];
    leat_status status =
        lt_move_list(node->node, "pads", pads, 2 * state->rank, &state->n_pads, err);
    if (status == LEAT_OK) {
        status = lt_move_list(node->node, "axes", axes, state->rank, &state->n_axes, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (axes == NULL) {
        state->n_axes = -1;
    }
    int64_t count = axes ? state->n_axes : state->rank;
    if (pads == NULL || state->n_pads != 2 * count ||
        (value != NULL && (leat_value_count(value) != 1 || value->dtype != state->dtype))) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s: it needs two pads for each of %lld axes, and one "
                           "value of the data's type",
                           state->label.text, (long long)count);
    }
    state->has_value = value != NULL;
    state->pads_dtype = pads->dtype;
    state->axes_dtype = axes ? axes->dtype : LEAT_DTYPE_I64;
    state->planned = lt_move_known(pads) && lt_move_known(axes);
    if (!state->planned) {
        return LEAT_OK;
    }
    if (state->n_pads > 0) {
        status = lt_move_ints(state->label.text, "pads", pads->dtype, pads->data, state->n_pads,
                              pad_list, err);
    }
    if (status == LEAT_OK && state->n_axes > 0) {
        status = lt_move_ints(state->label.text, "axes", axes->dtype, axes->data, state->n_axes,
                              axis_list, err);
    }
    return status == LEAT_OK ? place(state, pad_list, axis_list, state->before, err) : status;
}

leat_status lt_cpu_pad_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    pad_state *state = host->plan_alloc(plan, sizeof(*state));
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->label = lt_move_name(node->node);
    state->dtype = in->dtype;
    state->rank = in->rank;
    memcpy(state->in_shape, in->shape, sizeof(in->shape));
    memcpy(state->out_shape, out->shape, sizeof(out->shape));
    if (state->dtype == LEAT_DTYPE_STRING) { /* the default value is the empty string */
        leat_string empty = {"", 0};
        memcpy(state->value, &empty, sizeof(empty));
    }
    for (int i = 0; i < PAD_MODES; i++) {
        if (leat_node_string_is(node->node, "mode", mode_names[i])) {
            state->mode = (pad_mode)i;
        }
    }
    if (out->rank != in->rank || out->dtype != in->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: rank and type must stay", state->label.text);
    }
    int64_t entries = 1;
    for (int32_t i = 0; i < out->rank; i++) {
        entries += out->shape[i];
    }
    out_kernel->name = "pad";
    out_kernel->launch = launch_pad;
    out_kernel->state = state;
    out_kernel->workspace_bytes = (size_t)entries * sizeof(int64_t);
    out_kernel->unread_mask = state->planned ? 2 | 8 : 0;
    return node->node->opset < 11 ? plan_attributes(node->node, state, err)
                                  : plan_inputs(node, state, err);
}

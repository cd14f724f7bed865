/* SPDX-License-Identifier: Apache-2.0 */
/* Slice and Split. Slice with attributes (opset 1-9) or inputs (10 and newer); what is not known to
 * prepare is read by launch, which checks that it leads to the planned shape. */
#include "movement/movement.h"

#include "sizes.h"

enum {
    STARTS = 1,
    ENDS,
    AXES,
    STEPS,
    N_LISTS
};

typedef struct slice_state {
    lt_move_label label;
    lt_cpu_isa isa;
    leat_dtype dtype;
    int32_t rank;
    int64_t in_shape[LEAT_MAX_RANK], out_shape[LEAT_MAX_RANK];
    int64_t n_lists[N_LISTS]; /* elements; -1: absent */
    leat_dtype list_dtypes[N_LISTS];
    bool planned; /* plan is complete */
    lt_strided_plan plan;
} slice_state;

typedef struct slice_lists {
    int64_t values[N_LISTS][LEAT_MAX_RANK];
} slice_lists;

/* First index, step and count of one axis, as the operator's text says. */
static int64_t slice_axis(int64_t dim, int64_t *start, int64_t end, int64_t step)
{
    *start += *start < 0 ? dim : 0; /* cannot overflow: the signs differ */
    end += end < 0 ? dim : 0;
    if (step > 0) {
        *start = lt_clamp(*start, 0, dim);
        end = lt_clamp(end, 0, dim);
        return *start < end ? (end - *start - 1) / step + 1 : 0;
    }
    *start = lt_clamp(*start, 0, dim - 1);
    end = lt_clamp(end, -1, dim - 1);
    return *start > end && dim > 0
               ? (int64_t)((uint64_t)(*start - end - 1) / (0 - (uint64_t)step)) + 1
               : 0;
}

static leat_status make_plan(const slice_state *state, const slice_lists *lists,
                             lt_strided_plan *out_plan, leat_error *err)
{
    lt_strided copy = {.rank = state->rank, .dtype = state->dtype};
    int64_t stride = 1;
    for (int32_t i = state->rank - 1; i >= 0; i--) {
        copy.shape[i] = state->in_shape[i];
        copy.strides[i] = stride;
        stride *= state->in_shape[i];
    }
    uint32_t seen = 0;
    for (int64_t i = 0; i < state->n_lists[STARTS]; i++) {
        int64_t axis = state->n_lists[AXES] >= 0 ? lists->values[AXES][i] : i;
        int64_t step = state->n_lists[STEPS] >= 0 ? lists->values[STEPS][i] : 1;
        axis += axis < 0 ? state->rank : 0;
        if (axis < 0 || axis >= state->rank || (seen >> axis & 1) || step == 0) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: entry %lld has step %lld on axis %lld of rank %d; axes must "
                               "differ and be in range, steps not 0",
                               state->label.text, (long long)i, (long long)step, (long long)axis,
                               state->rank);
        }
        seen |= 1u << axis;
        int64_t start = lists->values[STARTS][i], dim = state->in_shape[axis];
        int64_t count = slice_axis(dim, &start, lists->values[ENDS][i], step);
        copy.offset += count ? start * copy.strides[axis] : 0;
        copy.strides[axis] *= count > 1 ? step : 1;
        copy.shape[axis] = count;
    }
    for (int32_t i = 0; i < state->rank; i++) {
        if (copy.shape[i] != state->out_shape[i]) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %d gives %lld elements, planned %lld",
                               state->label.text, i, (long long)copy.shape[i],
                               (long long)state->out_shape[i]);
        }
    }
    lt_strided_prepare(&copy, state->isa, out_plan);
    return LEAT_OK;
}

static leat_status launch_slice(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const slice_state *state = opaque;
    if (state->planned) {
        lt_strided_run(&state->plan, args, args->outputs[0], args->inputs[0]);
        return LEAT_OK;
    }
    static const char *const names[N_LISTS] = {"", "starts", "ends", "axes", "steps"};
    slice_lists lists;
    lt_strided_plan plan;
    leat_status status = LEAT_OK;
    for (int i = STARTS; status == LEAT_OK && i < N_LISTS; i++) {
        if (state->n_lists[i] > 0) {
            status = lt_move_ints(state->label.text, names[i], state->list_dtypes[i],
                                  args->inputs[i], state->n_lists[i], lists.values[i], err);
        }
    }
    if (status == LEAT_OK) {
        status = make_plan(state, &lists, &plan, err);
    }
    if (status == LEAT_OK) {
        lt_strided_run(&plan, args, args->outputs[0], args->inputs[0]);
    }
    return status;
}

/* Reads the attributes of opset 1-9. */
static leat_status read_attributes(const leat_node *node, slice_state *state, slice_lists *lists,
                                   leat_error *err)
{
    static const char *const names[] = {"", "starts", "ends", "axes"};
    for (int i = STARTS; i <= AXES; i++) {
        size_t count;
        const int64_t *ints = leat_node_ints(node, names[i], &count);
        if (count > LEAT_MAX_RANK || (ints == NULL && i != AXES)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: attribute %s must have 1 to %d entries",
                               state->label.text, names[i], LEAT_MAX_RANK);
        }
        state->n_lists[i] = ints ? (int64_t)count : -1;
        if (count != 0) {
            memcpy(lists->values[i], ints, count * sizeof(int64_t));
        }
    }
    return LEAT_OK;
}

/* Reads what is known of the inputs; *out_known tells whether that is all. */
static leat_status read_inputs(const leat_kernel_node *node, slice_state *state, slice_lists *lists,
                               bool *out_known, leat_error *err)
{
    static const char *const names[N_LISTS] = {"", "starts", "ends", "axes", "steps"};
    leat_status status = LEAT_OK;
    for (uint32_t i = STARTS; status == LEAT_OK && i < N_LISTS; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value == NULL) {
            continue;
        }
        state->list_dtypes[i] = value->dtype;
        status = lt_move_list(node->node, names[i], value, LEAT_MAX_RANK, &state->n_lists[i], err);
        if (status == LEAT_OK && !lt_move_known(value)) {
            *out_known = false;
        } else if (status == LEAT_OK && state->n_lists[i] > 0) {
            status = lt_move_ints(state->label.text, names[i], value->dtype, value->data,
                                  state->n_lists[i], lists->values[i], err);
        }
    }
    return status;
}

static leat_status check_lists(const slice_state *state, leat_error *err)
{
    const int64_t *n = state->n_lists;
    if (n[STARTS] < 0 || n[ENDS] != n[STARTS] || (n[AXES] >= 0 && n[AXES] != n[STARTS]) ||
        (n[STEPS] >= 0 && n[STEPS] != n[STARTS]) || n[STARTS] > state->rank) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s: starts, ends, axes and steps must have as many entries as each "
                           "other, at most the rank %d",
                           state->label.text, state->rank);
    }
    return LEAT_OK;
}

leat_status lt_cpu_slice_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    slice_state *state = host->plan_alloc(plan, sizeof(*state));
    slice_lists lists;
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->label = lt_move_name(node->node);
    state->isa = cpu->isa;
    state->dtype = in->dtype;
    state->rank = in->rank;
    state->planned = true;
    memcpy(state->in_shape, in->shape, sizeof(in->shape));
    memcpy(state->out_shape, out->shape, sizeof(out->shape));
    for (int i = 0; i < N_LISTS; i++) {
        state->n_lists[i] = -1;
    }
    if (out->rank != in->rank || out->dtype != in->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: rank and type must stay", state->label.text);
    }
    leat_status status = node->node->opset < 10
                             ? read_attributes(node->node, state, &lists, err)
                             : read_inputs(node, state, &lists, &state->planned, err);
    if (status == LEAT_OK) {
        status = check_lists(state, err);
    }
    if (status == LEAT_OK && state->planned) {
        status = make_plan(state, &lists, &state->plan, err);
    }
    out_kernel->name = state->planned ? state->plan.name : "slice";
    out_kernel->launch = launch_slice;
    out_kernel->state = state;
    out_kernel->unread_mask = state->planned ? ~1u : 0;
    return status;
}

/* ---- Split ---------------------------------------------------------------------------------- */

typedef struct split_state {
    lt_move_label label;
    leat_dtype dtype;
    uint32_t n_outputs;
    int64_t rows, axis_dim, inner;
    bool check; /* the sizes were not known to prepare */
    leat_dtype list_dtype;
    int64_t sizes[]; /* of the outputs along the axis; 0 for one that nobody reads */
} split_state;

static leat_status check_sizes(const split_state *state, const void *data, leat_error *err)
{
    for (uint32_t i = 0; i < state->n_outputs; i++) {
        int64_t size = 0;
        const uint8_t *at = (const uint8_t *)data + i * lt_cpu_element_bytes(state->list_dtype);
        leat_status status =
            lt_move_ints(state->label.text, "split", state->list_dtype, at, 1, &size, err);
        if (status == LEAT_OK && size != state->sizes[i]) {
            status = lt_cpu_fail(err, LEAT_INVALID, "%s: split[%u] is %lld, planned %lld",
                                 state->label.text, i, (long long)size, (long long)state->sizes[i]);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status launch_split(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const split_state *state = opaque;
    leat_status status = state->check ? check_sizes(state, args->inputs[1], err) : LEAT_OK;
    unsigned bits = lt_packed_bits(state->dtype);
    int64_t at = 0, row = state->axis_dim * state->inner;
    for (uint32_t i = 0; status == LEAT_OK && i < state->n_outputs; i++) {
        int64_t count = state->sizes[i] * state->inner;
        if (args->outputs[i] == NULL || count == 0) {
            at += count;
            continue;
        }
        if (bits != 0) {
            memset(args->outputs[i], 0, (size_t)(state->rows * count * bits + 7) / 8);
            lt_move_packed_rows copy = {
                args->outputs[i], args->inputs[0], bits, state->rows, count, 0, count, at, row};
            lt_move_copy_packed(&copy);
        } else {
            int64_t bytes = (int64_t)lt_cpu_element_bytes(state->dtype);
            lt_move_rows copy = {args->outputs[i], (const uint8_t *)args->inputs[0] + at * bytes,
                                 state->rows,      count * bytes,
                                 count * bytes,    row * bytes};
            lt_move_copy_rows(&copy, args);
        }
        at += count;
    }
    return status;
}

/* Sizes along the axis: those of the outputs' shapes, checked against attribute or input. */
static leat_status read_sizes(const leat_kernel_node *node, split_state *state, int32_t axis,
                              leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    int64_t sum = 0, missing = 0;
    for (uint32_t i = 0; i < state->n_outputs; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        state->sizes[i] = -1;
        if (out != NULL) {
            if (out->rank != in->rank || out->dtype != in->dtype) {
                return lt_cpu_fail(err, LEAT_INVALID, "%s: rank and type must stay",
                                   state->label.text);
            }
            state->sizes[i] = out->shape[axis];
            sum += out->shape[axis];
            for (int32_t k = 0; k < in->rank; k++) {
                if (k != axis && out->shape[k] != in->shape[k]) {
                    return lt_cpu_fail(err, LEAT_INVALID, "%s: output %u differs in axis %d",
                                       state->label.text, i, k);
                }
            }
        }
        missing += out == NULL;
    }
    for (uint32_t i = 0; i < state->n_outputs && missing == 1; i++) {
        if (state->sizes[i] < 0) { /* the one that is missing has the rest */
            state->sizes[i] = in->shape[axis] - sum;
            sum = in->shape[axis];
            missing = 0;
        }
    }
    return sum == in->shape[axis] && missing == 0
               ? LEAT_OK
               : lt_cpu_fail(err, missing ? LEAT_UNSUPPORTED : LEAT_INVALID,
                             "%s: its outputs take %lld of %lld along axis %d", state->label.text,
                             (long long)sum, (long long)in->shape[axis], axis);
}

leat_status lt_cpu_split_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0);
    const leat_value *list = node->node->opset >= 13 ? leat_kernel_input(node, 1) : NULL;
    uint32_t n = node->node->n_outputs;
    int32_t axis;
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", 0), in->rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    split_state *state = host->plan_alloc(plan, sizeof(*state) + n * sizeof(int64_t));
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->label = lt_move_name(node->node);
    state->dtype = in->dtype;
    state->n_outputs = n;
    state->rows = lt_move_product(in->shape, 0, axis);
    state->axis_dim = in->shape[axis];
    state->inner = lt_move_product(in->shape, axis + 1, in->rank);
    status = read_sizes(node, state, axis, err);
    if (status == LEAT_OK && list != NULL) {
        state->list_dtype = list->dtype;
        state->check = !lt_move_known(list);
        if (leat_value_count(list) != n) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: split has %lld entries for %u outputs",
                               state->label.text, (long long)leat_value_count(list), n);
        }
        status = state->check ? LEAT_OK : check_sizes(state, list->data, err);
    }
    out_kernel->name = "split";
    out_kernel->launch = launch_split;
    out_kernel->state = state;
    out_kernel->unread_mask = state->check ? 0 : ~1u;
    return status;
}

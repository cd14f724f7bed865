/* SPDX-License-Identifier: Apache-2.0 */
/* Scan: (states..., sequences...) -> (states..., stacked...).
 *
 * Step t gives the body a slice of every sequence and takes a slice of every stacked output.
 * Slices along the first axis are read and written where they lie; along another axis they are
 * gathered into a buffer, and stacked outputs are put in order at the end. States have two buffers
 * in turns, as in Loop. Version 8 has a batch in front, each of whose rows is a scan of its own, of
 * a length of its own. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <string.h>

typedef struct scan {
    lt_host_call *call;
    lt_frame *body;
    bool batched;   /* version 8 */
    uint32_t first; /* input of the node that is the first state */
    uint32_t n_states;
    uint32_t n_sequences;
    uint32_t n_stacked;
    int64_t length;
    int64_t n_rows; /* of the batch; 1 without */
    int64_t row;
    int64_t step;
    uint64_t steps; /* done in all rows */
} scan;

uint32_t lt_host_scan_buffers(const leat_node *node, const lt_host_node *host)
{
    return 6 * node->n_inputs + 3 * host->bodies[0]->graph->n_outputs;
}

/* Buffers: three per state (two in turns, and the rows of a batch), two per stacked output (as it
 * comes, and in order), one per sequence; for the text of strings two per state (in turns) and one
 * per stacked output. */
static uint32_t state_buffer(uint32_t state)
{
    return 3 * state;
}

static uint32_t stack_buffer(const scan *s, uint32_t stacked)
{
    return 3 * s->call->node->n_inputs + 2 * stacked;
}

static uint32_t slice_buffer(const scan *s, uint32_t sequence)
{
    return 3 * s->call->node->n_inputs + 2 * s->body->body->graph->n_outputs + sequence;
}

static uint32_t state_text(const scan *s, uint32_t state)
{
    return slice_buffer(s, s->call->node->n_inputs) + 2 * state + (uint32_t)(s->steps & 1);
}

static uint32_t stack_text(const scan *s, uint32_t stacked)
{
    return slice_buffer(s, 3 * s->call->node->n_inputs) + stacked;
}

/* Element i of an attribute that lists ints; 0 when it is not there. */
static int64_t listed(const leat_node *node, const char *name, uint32_t i)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    return i < count ? list[i] : 0;
}

static leat_status normal_axis(int64_t axis, int32_t rank, int32_t *out_axis, leat_error *err)
{
    if (rank < 1 || axis < -(int64_t)rank || axis >= rank) {
        return lt_fail(err, LEAT_INVALID, "axis %lld is not within rank %d", (long long)axis, rank);
    }
    *out_axis = (int32_t)(axis < 0 ? axis + rank : axis);
    return LEAT_OK;
}

/* Row `row` of an array whose first dimension is the batch. */
static leat_status row_of(const scan *s, leat_array *array, leat_error *err)
{
    size_t bytes;
    if (array->rank < 1 || array->shape[0] != s->n_rows ||
        !lt_shape_bytes(array->dtype, array->rank - 1, array->shape + 1, &bytes)) {
        return lt_fail(err, LEAT_INVALID, "the inputs have batches of different sizes");
    }
    array->rank--;
    memmove(array->shape, array->shape + 1, (size_t)array->rank * sizeof(int64_t));
    array->bytes = bytes;
    array->data = (char *)array->data + (size_t)s->row * bytes;
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Slices of sequences
 * --------------------------------------------------------------------------------------------- */

/* Sequence i: its array (the row's), axis, and the direction. */
static leat_status sequence(const scan *s, uint32_t i, leat_array *out_array, int32_t *out_axis,
                            bool *out_reverse, leat_error *err)
{
    const leat_node *node = s->call->node;
    uint32_t input = s->first + s->n_states + i;
    if (!lt_call_has(s->call, input)) {
        return lt_fail(err, LEAT_INVALID, "input %u is missing", input);
    }
    *out_array = lt_call_input(s->call, input).array;
    *out_axis = 0;
    *out_reverse = listed(node, s->batched ? "directions" : "scan_input_directions", i) != 0;
    if (lt_is_container(out_array->dtype) || lt_dtype_bits(out_array->dtype) % 8 != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "input %u is of type %s", input,
                       leat_dtype_name(out_array->dtype));
    }
    return s->batched
               ? row_of(s, out_array, err)
               : normal_axis(listed(node, "scan_input_axes", i), out_array->rank, out_axis, err);
}

static void set_slice_shape(const scan *s, uint32_t i, const leat_array *array, int32_t axis)
{
    leat_array *slice = &s->body->inputs[s->n_states + i];
    *slice = (leat_array){.dtype = array->dtype, .rank = array->rank - 1};
    memcpy(slice->shape, array->shape, (size_t)axis * sizeof(int64_t));
    memcpy(slice->shape + axis, array->shape + axis + 1,
           (size_t)(array->rank - 1 - axis) * sizeof(int64_t));
}

/* Slice `step` of a sequence becomes the body's input. */
static leat_status give_slice(const scan *s, uint32_t i, leat_error *err)
{
    leat_array array;
    int32_t axis;
    bool reverse;
    size_t outer, inner;
    leat_status status = sequence(s, i, &array, &axis, &reverse, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_array *slice = &s->body->inputs[s->n_states + i];
    int64_t at = reverse ? s->length - 1 - s->step : s->step;
    set_slice_shape(s, i, &array, axis);
    if (!lt_shape_bytes(array.dtype, slice->rank, slice->shape, &slice->bytes) ||
        !lt_shape_count(axis, array.shape, &outer) ||
        !lt_shape_bytes(array.dtype, array.rank - 1 - axis, array.shape + axis + 1, &inner)) {
        return lt_fail(err, LEAT_LIMIT, "a slice is too large");
    }
    if (outer == 1) {
        slice->data = (char *)array.data + (size_t)at * inner;
        return LEAT_OK;
    }
    status = lt_call_reserve(s->call, slice_buffer(s, i), slice->bytes, 0, err);
    slice->data = s->call->state->buffers[slice_buffer(s, i)].data;
    for (size_t o = 0; o < outer && status == LEAT_OK && inner != 0; o++) {
        memcpy((char *)slice->data + o * inner,
               (const char *)array.data + (o * (size_t)s->length + (size_t)at) * inner, inner);
    }
    return status;
}

/* All sequences have one length. */
static leat_status find_length(scan *s, leat_error *err)
{
    s->length = -1;
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        leat_array array;
        int32_t axis;
        bool reverse;
        leat_status status = sequence(s, i, &array, &axis, &reverse, err);
        if (status == LEAT_OK &&
            (array.rank < 1 || (s->length >= 0 && array.shape[axis] != s->length))) {
            status = lt_fail(err, LEAT_INVALID, "the sequences have different lengths");
        }
        if (status != LEAT_OK) {
            return status;
        }
        s->length = array.shape[axis];
        set_slice_shape(s, i, &array, axis);
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Outputs
 * --------------------------------------------------------------------------------------------- */

/* The node's output k; NULL when nobody wants it. */
static leat_array *wanted(const scan *s, uint32_t k)
{
    const leat_node *node = s->call->node;
    return k < node->n_outputs && node->outputs[k] != LEAT_NO_VALUE
               ? &s->call->frame->run.made[node->outputs[k]].array
               : NULL;
}

/* Until the end `whole` has the shape (rows, length, slice) or (length, slice). */
static leat_status set_stack(const scan *s, leat_dtype dtype, int32_t rank, const int64_t *shape,
                             leat_array *whole, leat_error *err)
{
    int32_t lead = s->batched ? 2 : 1;
    *whole = (leat_array){.dtype = dtype, .rank = rank + lead};
    if (lt_is_container(dtype) || rank + lead > LEAT_MAX_RANK || lt_dtype_bits(dtype) % 8 != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "a stacked output of type %s and rank %d",
                       leat_dtype_name(dtype), rank);
    }
    whole->shape[0] = s->n_rows;
    whole->shape[lead - 1] = s->length;
    memcpy(whole->shape + lead, shape, (size_t)rank * sizeof(int64_t));
    return lt_shape_bytes(dtype, whole->rank, whole->shape, &whole->bytes)
               ? LEAT_OK
               : lt_fail(err, LEAT_LIMIT, "a stacked output is too large");
}

static leat_status place_stacked(scan *s, const lt_stage_output *output, uint32_t stacked,
                                 leat_array *whole, void **out_place, leat_error *err)
{
    uint32_t buffer = stack_buffer(s, stacked);
    int32_t lead = s->batched ? 2 : 1;
    leat_status status = LEAT_OK;
    if (s->steps == 0) {
        status = set_stack(s, output->dtype, output->rank, output->shape, whole, err);
        status = status ? status : lt_call_reserve(s->call, buffer, whole->bytes, 0, err);
        if (status == LEAT_OK && s->batched) { /* what shorter rows leave out is 0 */
            memset(s->call->state->buffers[buffer].data, 0, whole->bytes);
        }
    }
    if (status == LEAT_OK &&
        (whole->dtype != output->dtype ||
         !lt_shape_equal(whole->rank - lead, whole->shape + lead, output->rank, output->shape))) {
        status = lt_fail(err, LEAT_INVALID, "output %u changes its shape from step to step",
                         output->index);
    }
    bool reverse = !s->batched && listed(s->call->node, "scan_output_directions", stacked) != 0;
    int64_t at = s->row * s->length + (reverse ? s->length - 1 - s->step : s->step);
    *out_place = (char *)s->call->state->buffers[buffer].data + (size_t)at * output->bytes;
    return status;
}

static leat_status place(void *user, const lt_stage_output *output, void **out_place,
                         leat_error *err)
{
    scan *s = user;
    uint32_t buffer = state_buffer(output->index) + (uint32_t)(s->steps & 1);
    if (output->dtype == LEAT_DTYPE_STRING && s->batched) {
        return lt_fail(err, LEAT_UNSUPPORTED, "output %u of the body is of strings", output->index);
    }
    if (output->index >= s->n_states) {
        uint32_t stacked = output->index - s->n_states;
        leat_array *whole = wanted(s, output->index);
        if (whole != NULL) {
            return place_stacked(s, output, stacked, whole, out_place, err);
        }
        buffer = stack_buffer(s, stacked);
    }
    leat_status status = lt_call_reserve(s->call, buffer, output->bytes, 0, err);
    *out_place = s->call->state->buffers[buffer].data;
    return status;
}

/* Moves the axis of steps from the front to `axis`. */
static leat_status order_stack(const scan *s, uint32_t stacked, leat_array *whole, leat_error *err)
{
    uint32_t buffer = stack_buffer(s, stacked);
    int32_t axis = 0;
    size_t outer, inner;
    leat_status status = s->batched
                             ? LEAT_OK
                             : normal_axis(listed(s->call->node, "scan_output_axes", stacked),
                                           whole->rank, &axis, err);
    if (status == LEAT_OK && axis != 0) {
        memmove(whole->shape, whole->shape + 1, (size_t)axis * sizeof(int64_t));
        whole->shape[axis] = s->length;
        status = lt_call_reserve(s->call, buffer + 1, whole->bytes, 0, err);
        if (!lt_shape_count(axis, whole->shape, &outer) ||
            !lt_shape_bytes(whole->dtype, whole->rank - 1 - axis, whole->shape + axis + 1,
                            &inner)) {
            return lt_fail(err, LEAT_LIMIT, "a stacked output is too large");
        }
        const char *from = s->call->state->buffers[buffer].data;
        char *to = s->call->state->buffers[buffer + 1].data;
        for (size_t t = 0; t < (size_t)s->length && status == LEAT_OK && inner != 0; t++) {
            for (size_t o = 0; o < outer; o++, from += inner) {
                memcpy(to + (o * (size_t)s->length + t) * inner, from, inner);
            }
        }
        buffer++;
    }
    whole->data = s->call->state->buffers[buffer].data;
    return status;
}

static leat_status finish_stacks(scan *s, leat_error *err)
{
    const lt_graph *graph = s->body->body->graph;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < s->n_stacked && status == LEAT_OK; i++) {
        leat_array *whole = wanted(s, s->n_states + i);
        if (whole == NULL) {
            continue;
        }
        if (s->steps == 0) { /* the shape is what is known of it, else 0 */
            const leat_value *part = &graph->values[graph->outputs[s->n_states + i]];
            int64_t shape[LEAT_MAX_RANK] = {0};
            int32_t rank = part->rank < 0 ? 0 : part->rank;
            for (int32_t d = 0; d < rank; d++) {
                shape[d] = lt_body_dim(s->body, part->shape[d]);
            }
            status = set_stack(s, part->dtype, rank, shape, whole, err);
            status = status ? status
                            : lt_call_reserve(s->call, stack_buffer(s, i), whole->bytes, 0, err);
            if (status == LEAT_OK) {
                memset(s->call->state->buffers[stack_buffer(s, i)].data, 0, whole->bytes);
            }
        }
        status = status ? status : order_stack(s, i, whole, err);
        if (status == LEAT_OK && whole->dtype == LEAT_DTYPE_STRING) {
            lt_call_point_text(s->call, stack_text(s, i), whole->data,
                               whole->bytes / sizeof(leat_string));
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Steps
 * --------------------------------------------------------------------------------------------- */

/* What the body made of text is gone in the next step. */
static leat_status keep_text(const scan *s, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < s->n_states + s->n_stacked && status == LEAT_OK; i++) {
        const leat_array part = lt_frame_output(s->body, i).array;
        size_t count = part.bytes / sizeof(leat_string);
        if (part.dtype != LEAT_DTYPE_STRING) {
            continue;
        }
        if (i >= s->n_states) {
            status = wanted(s, i) ? lt_call_keep_text(s->call, stack_text(s, i - s->n_states),
                                                      part.data, count, err)
                                  : LEAT_OK;
            continue;
        }
        lt_call_drop_text(s->call, state_text(s, i));
        status = lt_call_keep_text(s->call, state_text(s, i), part.data, count, err);
        if (status == LEAT_OK) {
            lt_call_point_text(s->call, state_text(s, i), part.data, count);
        }
    }
    return status;
}

static leat_status run_row(scan *s, int64_t length, leat_error *err)
{
    lt_frame *body = s->body;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
        if (!lt_call_has(s->call, s->first + i)) {
            return lt_fail(err, LEAT_INVALID, "input %u is missing", s->first + i);
        }
        body->inputs[i] = lt_call_input(s->call, s->first + i).array;
        if (lt_is_container(body->inputs[i].dtype)) {
            return lt_fail(err, LEAT_UNSUPPORTED, "a state that is no tensor");
        }
        status = s->batched ? row_of(s, &body->inputs[i], err) : LEAT_OK;
    }
    for (s->step = 0; s->step < length && status == LEAT_OK; s->step++, s->steps++) {
        status = lt_runner_tick(body->runner, (uint64_t)s->step, (uint64_t)length, err);
        for (uint32_t i = 0; i < s->n_sequences && status == LEAT_OK; i++) {
            status = give_slice(s, i, err);
        }
        status =
            status ? status : lt_frame_run(body, body->inputs, body->input_held, place, s, err);
        status = status ? status : keep_text(s, err);
        for (uint32_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
            body->inputs[i] = lt_frame_output(body, i).array;
        }
    }
    return status;
}

/* States after the last step: the output itself, or a row of it. */
static leat_status keep_states(scan *s, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
        leat_array *whole = wanted(s, i);
        const leat_array *state = &s->body->inputs[i];
        uint32_t buffer = state_buffer(i) + 2;
        if (whole == NULL) {
            continue;
        }
        if (!s->batched) {
            *whole = *state;
            continue;
        }
        if (s->row == 0) {
            *whole = *state;
            whole->rank++;
            whole->shape[0] = s->n_rows;
            memcpy(whole->shape + 1, state->shape, (size_t)state->rank * sizeof(int64_t));
            if (!lt_shape_bytes(whole->dtype, whole->rank, whole->shape, &whole->bytes)) {
                return lt_fail(err, LEAT_LIMIT, "a state is too large");
            }
            status = lt_call_reserve(s->call, buffer, whole->bytes, 0, err);
            whole->data = s->call->state->buffers[buffer].data;
        }
        if (status == LEAT_OK &&
            !lt_shape_equal(whole->rank - 1, whole->shape + 1, state->rank, state->shape)) {
            status = lt_fail(err, LEAT_INVALID, "state %u differs in shape between rows", i);
        }
        if (status == LEAT_OK && state->bytes != 0) {
            size_t bytes = whole->bytes / (size_t)s->n_rows;
            memcpy((char *)whole->data + (size_t)s->row * bytes, state->data, bytes);
        }
    }
    return status;
}

/* Length of the row at hand. */
static leat_status row_length(const scan *s, int64_t *out_length, leat_error *err)
{
    *out_length = s->length;
    if (!s->batched || !lt_call_has(s->call, 0)) {
        return LEAT_OK;
    }
    const leat_array lengths = lt_call_input(s->call, 0).array;
    if (lengths.dtype != LEAT_DTYPE_I64 || lengths.rank != 1 || lengths.shape[0] != s->n_rows) {
        return lt_fail(err, LEAT_INVALID, "sequence_lens must be i64, one per row");
    }
    *out_length = ((const int64_t *)lengths.data)[s->row];
    return *out_length >= 0 && *out_length <= s->length
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID, "sequence_lens has %lld, the length is %lld",
                         (long long)*out_length, (long long)s->length);
}

static leat_status start(scan *s, leat_error *err)
{
    const leat_node *node = s->call->node;
    const lt_body *body = s->body->body;
    int64_t n_sequences = leat_node_int(node, "num_scan_inputs", 0);
    uint32_t n_inputs = node->n_inputs - (node->n_inputs < s->first ? node->n_inputs : s->first);
    if (n_sequences < 1 || n_sequences > n_inputs || body->n_formals != n_inputs ||
        body->graph->n_outputs < n_inputs - (uint32_t)n_sequences ||
        node->n_outputs > body->graph->n_outputs) {
        return lt_fail(err, LEAT_INVALID, "a body of %u inputs and %u outputs for %u inputs",
                       body->n_formals, body->graph->n_outputs, n_inputs);
    }
    s->n_sequences = (uint32_t)n_sequences;
    s->n_states = n_inputs - s->n_sequences;
    s->n_stacked = body->graph->n_outputs - s->n_states;
    s->n_rows = 1;
    for (uint32_t i = 0; i < s->n_stacked; i++) {
        lt_call_drop_text(s->call, stack_text(s, i));
    }
    if (s->batched) {
        uint32_t last = node->n_inputs - 1;
        if (!lt_call_has(s->call, last) || lt_call_input(s->call, last).array.rank < 1) {
            return lt_fail(err, LEAT_INVALID, "input %u has no batch", last);
        }
        s->n_rows = lt_call_input(s->call, last).array.shape[0];
    }
    lt_call_captures(s->call, s->body);
    return find_length(s, err);
}

leat_status lt_host_scan(lt_host_call *call, leat_error *err)
{
    scan s = {.call = call,
              .body = &call->frame->runner->frames[call->host->bodies[0]->index],
              .batched = call->node->opset < 9};
    s.first = s.batched ? 1 : 0;
    leat_status status = start(&s, err);
    for (s.row = 0; s.row < s.n_rows && status == LEAT_OK; s.row++) {
        int64_t length;
        status = row_length(&s, &length, err);
        status = status ? status : run_row(&s, length, err);
        status = status ? status : keep_states(&s, err);
    }
    if (status == LEAT_OK && s.n_rows == 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "a batch without rows");
    }
    return status ? status : finish_stacks(&s, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Running a session: the caller's arrays and bound tensors around a run of the model's own graph
 * (frame.c). A warmed run allocates nothing. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/session.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * Inputs
 * --------------------------------------------------------------------------------------------- */

static const char *input_name(const leat_session *session, size_t i)
{
    return session->model->signature.inputs[i].name;
}

/* The tensor bound to input i, where the session's plans can read it. */
static leat_status fetch_bound(leat_session *session, size_t i, leat_error *err)
{
    const lt_binding *binding = &session->input_bindings[i];
    session->inputs[i] = binding->tensor->array;
    session->input_spaces[i] = binding->space;
    if (binding->staging == NULL) {
        return LEAT_OK;
    }
    session->inputs[i].data = binding->staging;
    return lt_device_copy(binding->tensor->device, LEAT_COPY_DEVICE_TO_HOST, binding->staging,
                          binding->tensor->array.data, binding->tensor->array.bytes, err);
}

/* Points *inputs at the arrays of this run: the caller's, with bound tensors where it gives none.
 */
static leat_status take_inputs(leat_session *session, const leat_array **inputs, size_t n_inputs,
                               leat_error *err)
{
    if (n_inputs != session->n_inputs && (n_inputs != 0 || session->n_bound_inputs == 0)) {
        return lt_fail(err, LEAT_INVALID, "the model has %zu inputs, not %zu", session->n_inputs,
                       n_inputs);
    }
    if (session->n_bound_inputs == 0) {
        memset(session->input_spaces, 0, session->n_inputs * sizeof(*session->input_spaces));
        return LEAT_OK;
    }
    for (size_t i = 0; i < session->n_inputs; i++) {
        const leat_array *given = n_inputs ? &(*inputs)[i] : NULL;
        leat_status status = LEAT_OK;
        session->input_spaces[i] = 0;
        if (session->input_bindings[i].tensor != NULL && (given == NULL || given->data == NULL)) {
            status = fetch_bound(session, i, err);
        } else if (given != NULL) {
            session->inputs[i] = *given;
        } else {
            status = lt_fail(err, LEAT_INVALID, "input '%s' is neither given nor bound",
                             input_name(session, i));
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    *inputs = session->inputs;
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Outputs
 * --------------------------------------------------------------------------------------------- */

/* The caller's buffer for output i; NULL for none. An array that still points at what the last run
 * gave out, or at the tensor that is bound, counts as empty. */
static const leat_array *given_buffer(const leat_session *session, const leat_array *outputs,
                                      size_t i)
{
    const leat_array *given = outputs ? &outputs[i] : NULL;
    const leat_tensor *bound = session->output_bindings[i].tensor;
    bool empty = given == NULL || given->data == NULL || given->data == session->given_out[i] ||
                 (bound != NULL && given->data == bound->array.data);
    return empty ? NULL : given;
}

/* Where output i goes: the caller's buffer, a bound tensor, or NULL for the session's own. */
static void *wanted_place(const leat_session *session, const leat_array *outputs, size_t i,
                          size_t *out_bytes)
{
    const leat_array *given = given_buffer(session, outputs, i);
    if (given != NULL) {
        *out_bytes = given->bytes;
        return given->data;
    }
    const lt_binding *binding = &session->output_bindings[i];
    if (binding->tensor != NULL) {
        *out_bytes = binding->tensor->array.bytes;
        return binding->staging ? binding->staging : binding->tensor->array.data;
    }
    return NULL;
}

/* Where the outputs of this run go. An array given for one that is bound goes before. */
static void choose_spaces(leat_session *session, const leat_array *outputs)
{
    for (size_t i = 0; i < session->n_outputs; i++) {
        bool taken = given_buffer(session, outputs, i) != NULL;
        session->output_spaces[i] = taken ? 0 : session->output_bindings[i].space;
    }
}

/* lt_place_fn of a session. */
typedef struct placing {
    leat_session *session;
    const leat_array *inputs;
    const leat_array *outputs;
} placing;

/* An output may begin where an input does if the model writes it in place (a cache that is appended
 * to), and overlap no other. */
static leat_status check_overlap(const placing *p, const lt_stage_output *output, const void *where,
                                 leat_error *err)
{
    uintptr_t begin = (uintptr_t)where, end = begin + output->bytes;
    for (size_t i = 0; i < p->session->n_inputs; i++) {
        uintptr_t from = (uintptr_t)p->inputs[i].data;
        if (end <= from || begin >= from + p->inputs[i].bytes || begin == end ||
            p->inputs[i].data == NULL || lt_is_container(p->inputs[i].dtype) ||
            (begin == from && output->over == i)) {
            continue;
        }
        return lt_fail(err, LEAT_INVALID,
                       "output '%s' overlaps input '%s', which the model reads afterwards or does "
                       "not write in place",
                       p->session->model->signature.outputs[output->index].name,
                       input_name(p->session, i));
    }
    return LEAT_OK;
}

static leat_status place(void *user, const lt_stage_output *output, void **out_place,
                         leat_error *err)
{
    const placing *p = user;
    size_t bytes = 0;
    *out_place = wanted_place(p->session, p->outputs, output->index, &bytes);
    if (*out_place != NULL && bytes < output->bytes) {
        return lt_fail(err, LEAT_INVALID, "output '%s' needs %zu bytes, its buffer has %zu",
                       p->session->model->signature.outputs[output->index].name, output->bytes,
                       bytes);
    }
    return *out_place ? check_overlap(p, output, *out_place, err) : LEAT_OK;
}

/* Brings output i to the tensor that is bound to it, and tells the caller about it. */
static leat_status give_output(leat_session *session, uint32_t i, leat_array *array,
                               leat_error *err)
{
    const lt_frame *frame = lt_session_frame(session);
    const lt_binding *binding = &session->output_bindings[i];
    lt_item item = lt_frame_output(frame, i);
    if (binding->staging != NULL && item.array.data == binding->staging) {
        item.array.data = binding->tensor->array.data;
        leat_status status =
            lt_device_copy(binding->tensor->device, LEAT_COPY_HOST_TO_DEVICE, item.array.data,
                           binding->staging, item.array.bytes, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    bool own = lt_is_container(item.array.dtype) || item.array.data == frame->completed[i]->own;
    session->given_out[i] = own ? item.array.data : NULL;
    if (array != NULL) {
        *array = item.array;
    }
    return LEAT_OK;
}

static leat_status give_outputs(leat_session *session, leat_array *outputs, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < session->n_outputs && status == LEAT_OK; i++) {
        status = give_output(session, i, outputs ? &outputs[i] : NULL, err);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Runs
 * --------------------------------------------------------------------------------------------- */

leat_status lt_session_run_held(leat_session *session, const leat_array *inputs, size_t n_inputs,
                                leat_array *outputs, size_t n_outputs, leat_error *err)
{
    if (n_outputs != session->n_outputs &&
        (n_outputs != 0 || session->n_bound_outputs != session->n_outputs)) {
        return lt_fail(err, LEAT_INVALID, "the model has %zu outputs, not %zu", session->n_outputs,
                       n_outputs);
    }
    lt_trace *trace = &session->context->trace;
    const uint64_t start = lt_trace_begin(trace);
    placing p = {session, NULL, n_outputs ? outputs : NULL};
    lt_runner_start(&session->runner);
    choose_spaces(session, p.outputs);
    leat_status status = take_inputs(session, &inputs, n_inputs, err);
    p.inputs = inputs;
    if (status == LEAT_OK) {
        status = lt_frame_run(lt_session_frame(session), inputs, NULL, place, &p, err);
    } else {
        lt_session_frame(session)->last = NULL;
    }
    status = status ? status : give_outputs(session, n_outputs ? outputs : NULL, err);
    lt_trace_end(trace, LT_LANE_RUN, "run", start);
    return status;
}

static leat_status begin(leat_session *session, leat_error *err)
{
    if (!lt_session_hold(session, LT_SESSION_RUNNING)) {
        return lt_fail(err, LEAT_BUSY,
                       "the session runs already: use one session per thread, they share weights");
    }
    return LEAT_OK;
}

static void end(leat_session *session)
{
    lt_session_let_go(session);
}

static leat_status check_arrays(const leat_session *session, const leat_array *inputs,
                                size_t n_inputs, leat_error *err)
{
    if (session == NULL || (inputs == NULL && n_inputs != 0)) {
        return lt_fail(err, LEAT_INVALID, "the session or its array of inputs is NULL");
    }
    return LEAT_OK;
}

leat_status leat_session_run(leat_session *session, const leat_array *inputs, size_t n_inputs,
                             leat_array *outputs, size_t n_outputs, leat_error *err)
{
    leat_status status = check_arrays(session, inputs, n_inputs, err);
    if (status == LEAT_OK && outputs == NULL && n_outputs != 0) {
        status = lt_fail(err, LEAT_INVALID, "the array of outputs is NULL");
    }
    status = status ? status : begin(session, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_session_run_held(session, inputs, n_inputs, outputs, n_outputs, err);
    end(session);
    return status;
}

uint32_t lt_session_device_index(const leat_session *session, const lt_device *device)
{
    uint32_t d = 0;
    while (d < session->program->n_devices && session->program->devices[d] != device) {
        d++;
    }
    return d;
}

leat_status lt_session_run_joined(leat_session *session, const lt_device *device, void *queue,
                                  const leat_array *inputs, size_t n_inputs, leat_array *outputs,
                                  size_t n_outputs, leat_error *err)
{
    lt_runner *runner = &session->runner;
    uint32_t d = lt_session_device_index(session, device);
    leat_status status = begin(session, err);
    if (status != LEAT_OK) {
        return status;
    }
    void *own = runner->streams[d];
    runner->streams[d] = queue;
    runner->joined = true;
    status = lt_session_run_held(session, inputs, n_inputs, outputs, n_outputs, err);
    runner->streams[d] = own;
    runner->joined = false;
    end(session);
    return status;
}

leat_status leat_session_warm(leat_session *session, const leat_array *inputs, size_t n_inputs,
                              leat_error *err)
{
    leat_status status = check_arrays(session, inputs, n_inputs, err);
    status = status ? status : begin(session, err);
    if (status != LEAT_OK) {
        return status;
    }
    choose_spaces(session, NULL);
    status = take_inputs(session, &inputs, n_inputs, err);
    if (status == LEAT_OK) {
        status = lt_frame_warm(lt_session_frame(session), inputs, err);
    } else {
        lt_session_frame(session)->last = NULL;
    }
    end(session);
    return status;
}

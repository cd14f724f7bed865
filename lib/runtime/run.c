/* SPDX-License-Identifier: Apache-2.0 */
/* Running a session: finding or making the plan, then its stages. The path of a warmed run is
 * begin -> take_inputs -> find_plan -> run_stages -> give_outputs, and allocates nothing. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/session.h"

#include <string.h>

/* What an empty array without storage points at. */
static const char nothing[LT_ALIGNMENT];

/* ------------------------------------------------------------------------------------------------
 * Inputs
 * --------------------------------------------------------------------------------------------- */

static const char *input_name(const leat_session *session, size_t i)
{
    return session->model->signature.inputs[i].name;
}

/* The tensor bound to input i, on the host. */
static leat_status fetch_bound(leat_session *session, size_t i, leat_error *err)
{
    const lt_binding *binding = &session->input_bindings[i];
    session->inputs[i] = binding->tensor->array;
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
        return LEAT_OK;
    }
    for (size_t i = 0; i < session->n_inputs; i++) {
        const leat_array *given = n_inputs ? &(*inputs)[i] : NULL;
        leat_status status = LEAT_OK;
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

/* Symbols stand for one number each, over all inputs. */
static leat_status check_symbol(const leat_session *session, const leat_array *inputs, size_t i,
                                int32_t d, leat_error *err)
{
    const lt_graph *graph = session->program->graph;
    int64_t symbol = graph->values[graph->inputs[i]].shape[d];
    for (size_t other = 0; other <= i; other++) {
        const leat_value *value = &graph->values[graph->inputs[other]];
        for (int32_t k = 0; k < value->rank; k++) {
            if (value->shape[k] == symbol && inputs[other].shape[k] != inputs[i].shape[d]) {
                const char *name = lt_graph_symbol_name(graph, symbol);
                return lt_fail(err, LEAT_INVALID,
                               "dimension '%s' is %lld in input '%s' and %lld in input '%s'",
                               name ? name : "?", (long long)inputs[other].shape[k],
                               input_name(session, other), (long long)inputs[i].shape[d],
                               input_name(session, i));
            }
        }
    }
    return LEAT_OK;
}

static leat_status check_input(const leat_session *session, const leat_array *inputs, size_t i,
                               leat_error *err)
{
    const lt_graph *graph = session->program->graph;
    const leat_value *value = &graph->values[graph->inputs[i]];
    const leat_array *array = &inputs[i];
    char declared[64], given[64];
    if (array->dtype != value->dtype) {
        return lt_fail(err, LEAT_INVALID, "input '%s' is of type %s, not %s",
                       input_name(session, i), leat_dtype_name(value->dtype),
                       leat_dtype_name(array->dtype));
    }
    if (array->rank < 0 || array->rank > LEAT_MAX_RANK ||
        (value->rank >= 0 && array->rank != value->rank)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' has rank %d, not %d", input_name(session, i),
                       value->rank, array->rank);
    }
    for (int32_t d = 0; d < array->rank; d++) {
        int64_t wanted = value->rank < 0 ? -1 : value->shape[d];
        if (array->shape[d] < 0 || (wanted >= 0 && array->shape[d] != wanted)) {
            return lt_fail(err, LEAT_INVALID, "input '%s' has the shape %s, not %s",
                           input_name(session, i),
                           lt_shape_text(value->rank < 0 ? 0 : value->rank, value->shape, declared,
                                         sizeof(declared)),
                           lt_shape_text(array->rank, array->shape, given, sizeof(given)));
        }
        leat_status status =
            value->rank < 0 || wanted >= 0 ? LEAT_OK : check_symbol(session, inputs, i, d, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    size_t bytes;
    if (!lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) ||
        (array->data != NULL && array->bytes < bytes)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' of shape %s has only %zu bytes of data",
                       input_name(session, i),
                       lt_shape_text(array->rank, array->shape, given, sizeof(given)),
                       array->bytes);
    }
    return LEAT_OK;
}

/* Data of inputs whose shapes fit the plan. */
static inline leat_status take_data(leat_session *session, const lt_stage *plan,
                                    const leat_array *inputs, leat_error *err)
{
    for (size_t i = 0; i < session->n_inputs; i++) {
        size_t needed = plan->inputs[i].bytes;
        if (inputs[i].bytes < needed || (inputs[i].data == NULL && needed != 0)) {
            return lt_fail(err, LEAT_INVALID,
                           "input '%s' has %zu bytes of data, its shape needs %zu",
                           input_name(session, i), inputs[i].data ? inputs[i].bytes : 0, needed);
        }
        session->run.input_data[i] = inputs[i].data ? inputs[i].data : (void *)nothing;
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Plans
 * --------------------------------------------------------------------------------------------- */

static leat_status grow_workspaces(leat_session *session, const lt_stage *stage, leat_error *err)
{
    for (size_t d = 0; d < session->program->n_devices; d++) {
        size_t bytes = stage->workspace_bytes[d];
        if (bytes <= session->workspace_bytes[d]) {
            continue;
        }
        lt_device *device = session->program->devices[d];
        lt_device_free(device, session->run.workspaces[d], session->workspace_bytes[d]);
        session->run.workspaces[d] = NULL;
        session->workspace_bytes[d] = 0;
        leat_status status = lt_device_alloc(device, bytes, &session->run.workspaces[d], err);
        if (status != LEAT_OK) {
            session->run.workspaces[d] = NULL;
            return status;
        }
        session->workspace_bytes[d] = bytes;
    }
    return LEAT_OK;
}

static leat_status make_stage(leat_session *session, const leat_array *inputs, lt_stage *parent,
                              const void *content, lt_stage **out_stage, leat_error *err)
{
    const lt_stage_desc desc = {.program = session->program,
                                .parent = parent,
                                .inputs = inputs,
                                .content = content,
                                .profile = session->profile,
                                .progress = session->progress,
                                .progress_user = session->progress_user};
    return lt_stage_create(&desc, out_stage, err);
}

/* Puts a stage first in a list and cuts the list to `most` stages. */
static void push_stage(lt_stage **list, lt_stage *stage, uint32_t most)
{
    stage->next = *list;
    *list = stage;
    lt_stage *last = stage;
    for (uint32_t i = 1; i < most && last != NULL; i++) {
        last = last->next;
    }
    while (last != NULL && last->next != NULL) {
        lt_stage *dropped = last->next;
        last->next = dropped->next;
        lt_stage_destroy(dropped);
    }
}

static leat_status make_plan(leat_session *session, const leat_array *inputs, lt_stage **out_plan,
                             leat_error *err)
{
    for (size_t i = 0; i < session->n_inputs; i++) {
        leat_status status = check_input(session, inputs, i, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    leat_status status = make_stage(session, inputs, NULL, NULL, out_plan, err);
    if (status == LEAT_OK) {
        push_stage(&session->plans, *out_plan, session->max_plans);
    }
    return status;
}

static leat_status find_plan(leat_session *session, const leat_array *inputs, lt_stage **out_plan,
                             leat_error *err)
{
    lt_stage **link = &session->plans;
    while (*link != NULL && !lt_stage_matches(*link, inputs)) {
        link = &(*link)->next;
    }
    lt_stage *plan = *link;
    if (plan == NULL) {
        return make_plan(session, inputs, out_plan, err);
    }
    *link = plan->next; /* to the front */
    plan->next = session->plans;
    session->plans = plan;
    *out_plan = plan;
    return LEAT_OK;
}

static leat_status find_child(leat_session *session, const leat_array *inputs, lt_stage *stage,
                              lt_stage **out_child, leat_error *err)
{
    const void *content = lt_stage_barrier_data(stage, &session->run);
    *out_child = lt_stage_find_child(stage, content);
    if (*out_child != NULL) {
        return LEAT_OK;
    }
    leat_status status = make_stage(session, inputs, stage, content, out_child, err);
    if (status == LEAT_OK) {
        push_stage(&stage->children, *out_child, session->max_plans);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Outputs
 * --------------------------------------------------------------------------------------------- */

/* Where output i goes: the caller's buffer, a bound tensor, or NULL for the session's own. An array
 * that still points at what the last run gave out counts as empty. */
static void *wanted_place(const leat_session *session, const leat_array *outputs, size_t i,
                          size_t *out_bytes)
{
    const leat_array *given = outputs ? &outputs[i] : NULL;
    if (given != NULL && given->data != NULL && given->data != session->given_out[i]) {
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

static leat_status choose_outputs(leat_session *session, lt_stage *stage, const leat_array *outputs,
                                  leat_error *err)
{
    for (uint32_t k = 0; k < stage->n_outputs; k++) {
        lt_stage_output *output = &stage->outputs[k];
        size_t bytes = 0;
        void *place = wanted_place(session, outputs, output->index, &bytes);
        if (place != NULL && bytes < output->bytes) {
            return lt_fail(err, LEAT_INVALID, "output '%s' needs %zu bytes, its buffer has %zu",
                           session->model->signature.outputs[output->index].name, output->bytes,
                           bytes);
        }
        if (place == NULL) {
            leat_status status = output->own ? LEAT_OK : lt_stage_own_outputs(stage, err);
            if (status != LEAT_OK) {
                return status;
            }
            place = output->own;
        }
        session->run.output_data[output->index] = place;
    }
    return LEAT_OK;
}

/* Tells the caller where its outputs are and of what shape. */
static leat_status give_outputs(leat_session *session, leat_array *outputs, leat_error *err)
{
    for (const lt_stage *stage = session->last; stage != NULL; stage = stage->parent) {
        for (uint32_t k = 0; k < stage->n_outputs; k++) {
            const lt_stage_output *output = &stage->outputs[k];
            const lt_binding *binding = &session->output_bindings[output->index];
            void *data = session->run.output_data[output->index];
            if (binding->staging != NULL && data == binding->staging) {
                leat_status status =
                    lt_device_copy(binding->tensor->device, LEAT_COPY_HOST_TO_DEVICE,
                                   binding->tensor->array.data, data, output->bytes, err);
                if (status != LEAT_OK) {
                    return status;
                }
                data = binding->tensor->array.data;
            }
            session->given_out[output->index] = data == output->own ? data : NULL;
            if (outputs != NULL) {
                leat_array *array = &outputs[output->index];
                array->dtype = output->dtype;
                array->rank = output->rank;
                memcpy(array->shape, output->shape, sizeof(array->shape));
                array->data = data;
                array->bytes = output->bytes;
            }
        }
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Runs
 * --------------------------------------------------------------------------------------------- */

static leat_status run_stages(leat_session *session, const leat_array *inputs, lt_stage *stage,
                              const leat_array *outputs, leat_error *err)
{
    for (;;) {
        leat_status status = grow_workspaces(session, stage, err);
        status = status ? status : choose_outputs(session, stage, outputs, err);
        status = status ? status : lt_stage_run(stage, &session->run, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (stage->barrier == LEAT_NO_VALUE) {
            session->last = stage;
            return LEAT_OK;
        }
        status = find_child(session, inputs, stage, &stage, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
}

leat_status lt_session_run_held(leat_session *session, const leat_array *inputs, size_t n_inputs,
                                leat_array *outputs, size_t n_outputs, leat_error *err)
{
    if (n_outputs != session->n_outputs &&
        (n_outputs != 0 || session->n_bound_outputs != session->n_outputs)) {
        return lt_fail(err, LEAT_INVALID, "the model has %zu outputs, not %zu", session->n_outputs,
                       n_outputs);
    }
    lt_stage *plan = NULL;
    leat_status status = take_inputs(session, &inputs, n_inputs, err);
    session->last = NULL;
    if (status == LEAT_OK) {
        status = find_plan(session, inputs, &plan, err);
    }
    if (status == LEAT_OK) {
        status = take_data(session, plan, inputs, err);
    }
    outputs = n_outputs ? outputs : NULL;
    if (status == LEAT_OK) {
        status = run_stages(session, inputs, plan, outputs, err);
    }
    return status ? status : give_outputs(session, outputs, err);
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

leat_status leat_session_warm(leat_session *session, const leat_array *inputs, size_t n_inputs,
                              leat_error *err)
{
    leat_status status = check_arrays(session, inputs, n_inputs, err);
    status = status ? status : begin(session, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_stage *plan = NULL;
    session->last = NULL;
    status = take_inputs(session, &inputs, n_inputs, err);
    status = status ? status : find_plan(session, inputs, &plan, err);
    status = status ? status : grow_workspaces(session, plan, err);
    status = status ? status : lt_stage_own_outputs(plan, err);
    if (status == LEAT_OK) {
        session->last = plan;
    }
    end(session);
    return status;
}

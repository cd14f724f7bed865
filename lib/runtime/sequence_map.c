/* SPDX-License-Identifier: Apache-2.0 */
/* SequenceMap: runs a body once per element of the first sequence. Further sequences go along,
 * tensors stay the same, and each output of the body becomes a sequence. */
#include "base/error.h"
#include "runtime/host_node.h"

static leat_status feed(lt_host_call *call, lt_frame *body, size_t at, leat_error *err)
{
    for (uint32_t i = 0; i < call->node->n_inputs; i++) {
        if (!lt_call_has(call, i)) {
            return lt_fail(err, LEAT_INVALID, "input %u is missing", i);
        }
        lt_item item = lt_call_input(call, i);
        if (item.array.dtype == LEAT_DTYPE_SEQUENCE) {
            if (at >= (size_t)item.array.shape[0]) {
                return lt_fail(err, LEAT_INVALID, "input %u is shorter than the first", i);
            }
            item = lt_held_get(&item, at);
        }
        body->inputs[i] = item.array;
        body->input_held[i] = item.held;
    }
    return LEAT_OK;
}

/* Element `at` of every output. */
static leat_status collect(lt_host_call *call, const lt_frame *body, size_t at, leat_error *err)
{
    for (uint32_t k = 0; k < call->node->n_outputs; k++) {
        uint32_t v = call->node->outputs[k];
        if (v == LEAT_NO_VALUE) {
            continue;
        }
        const lt_item made = lt_frame_output(body, k);
        lt_item copy;
        if (lt_is_container(made.array.dtype)) {
            return lt_fail(err, LEAT_UNSUPPORTED, "a sequence of other things than tensors");
        }
        leat_status status = lt_held_tensor(lt_call_memory(call), &made.array, &copy, err);
        if (status != LEAT_OK) {
            return status;
        }
        lt_held_put(&call->frame->run.made[v], at, &copy);
        lt_held_release(copy.held);
    }
    return LEAT_OK;
}

leat_status lt_host_sequence_map(lt_host_call *call, leat_error *err)
{
    const lt_body *inner = call->host->bodies[0];
    lt_frame *body = &call->frame->runner->frames[inner->index];
    if (!lt_call_has(call, 0) || inner->n_formals != call->node->n_inputs ||
        inner->graph->n_outputs != call->node->n_outputs ||
        lt_call_input(call, 0).array.dtype != LEAT_DTYPE_SEQUENCE) {
        return lt_fail(err, LEAT_INVALID, "a body of %u inputs and %u outputs", inner->n_formals,
                       inner->graph->n_outputs);
    }
    size_t count = (size_t)lt_call_input(call, 0).array.shape[0];
    leat_status status = LEAT_OK;
    for (uint32_t k = 0; k < call->node->n_outputs && status == LEAT_OK; k++) {
        lt_item made;
        status = lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_SEQUENCE, count, &made, err);
        if (status == LEAT_OK) {
            lt_call_give(call, k, &made);
        }
    }
    lt_call_captures(call, body);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        status = lt_runner_tick(body->runner, i, count, err);
        status = status ? status : feed(call, body, i, err);
        status =
            status ? status : lt_frame_run(body, body->inputs, body->input_held, NULL, NULL, err);
        status = status ? status : collect(call, body, i, err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* If: runs one of two bodies. Its tensors stay in the body's own buffers, valid until the node runs
 * again. */
#include "base/error.h"
#include "runtime/host_node.h"

leat_status lt_host_if(lt_host_call *call, leat_error *err)
{
    bool condition;
    const lt_item item = lt_call_input(call, 0);
    leat_status status = lt_item_bool(&item, &condition, err);
    if (status != LEAT_OK) {
        return status;
    }
    const lt_body *chosen = call->host->bodies[condition ? 0 : 1];
    lt_frame *body = &call->frame->runner->frames[chosen->index];
    if (chosen->n_formals != 0 || chosen->graph->n_outputs != call->node->n_outputs) {
        return lt_fail(err, LEAT_INVALID, "a branch with %u inputs and %u outputs",
                       chosen->n_formals, chosen->graph->n_outputs);
    }
    lt_call_captures(call, body);
    status = lt_frame_run(body, body->inputs, body->input_held, NULL, NULL, err);
    for (uint32_t k = 0; k < call->node->n_outputs && status == LEAT_OK; k++) {
        lt_item out = lt_frame_output(body, k);
        lt_held_retain(out.held);
        lt_call_give(call, k, &out);
    }
    return status;
}

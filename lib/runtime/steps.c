/* SPDX-License-Identifier: Apache-2.0 */
/* Running a list of steps; see steps.h. */
#include "runtime/steps.h"

#include "base/clock.h"
#include "base/error.h"

static void set_slots(lt_steps *steps, lt_slot_list *list, const void *pointer)
{
    for (uint32_t i = 0; i < list->count; i++) {
        steps->slots[list->slots[i]] = (void *)pointer;
    }
    list->last = pointer;
}

static void set_workspace(lt_steps *steps, void *workspace)
{
    for (uint32_t i = 0; i < steps->n_locals; i++) {
        steps->slots[steps->locals[i].slot] = (char *)workspace + steps->locals[i].offset;
    }
    for (uint32_t i = 0; i < steps->n_steps; i++) {
        size_t offset = steps->scratch_offsets[i];
        steps->steps[i].args.workspace = offset == SIZE_MAX ? NULL : (char *)workspace + offset;
    }
    steps->workspace = workspace;
}

static void set_queue(lt_steps *steps, const leat_launch *launch)
{
    for (uint32_t i = 0; i < steps->n_steps; i++) {
        steps->steps[i].args.stream = launch->stream;
        steps->steps[i].args.pool = launch->pool;
    }
    steps->stream = launch->stream;
    steps->pool = launch->pool;
}

static void bind_launch(lt_steps *steps, const leat_launch *launch)
{
    for (uint32_t i = 0; i < steps->n_inputs; i++) {
        if (steps->inputs[i].last != launch->inputs[i]) {
            set_slots(steps, &steps->inputs[i], launch->inputs[i]);
        }
    }
    for (uint32_t i = 0; i < steps->n_outputs; i++) {
        if (steps->outputs[i].last != launch->outputs[i]) {
            set_slots(steps, &steps->outputs[i], launch->outputs[i]);
        }
    }
    if (steps->workspace != launch->workspace) {
        set_workspace(steps, launch->workspace);
    }
    if (steps->stream != launch->stream || steps->pool != launch->pool) {
        set_queue(steps, launch);
    }
}

static leat_status failed(const lt_steps *steps, const lt_step *step, leat_status status,
                          leat_error *err)
{
    return lt_fail_within(err, status, "node '%s'", steps->labels[step->node]);
}

/* With times: a device is waited for after every step. */
static leat_status launch_timed(lt_steps *steps, const leat_launch *launch, leat_error *err)
{
    const lt_device *device = steps->device;
    lt_trace *trace = &device->context->trace;
    for (uint32_t i = 0; i < steps->n_steps; i++) {
        const lt_step *step = &steps->steps[i];
        uint64_t start = lt_clock_ns();
        leat_status status = step->launch(step->state, &step->args, err);
        if (status == LEAT_OK && !lt_device_is_host(device)) {
            status = device->backend->stream_wait(device->handle, launch->stream, err);
        }
        if (status != LEAT_OK) {
            return failed(steps, step, status, err);
        }
        const uint64_t end = lt_clock_ns();
        if (launch->node_ns != NULL) {
            launch->node_ns[step->node] += end - start;
        }
        if (lt_trace_is_on(trace)) {
            lt_trace_add(trace, LT_LANE_KERNEL, steps->kernels[step->node].name,
                         steps->labels[step->node], 0, start, end);
        }
    }
    return LEAT_OK;
}

leat_status lt_steps_launch(lt_steps *steps, const leat_launch *launch, leat_error *err)
{
    bind_launch(steps, launch);
    if (launch->node_ns != NULL ||
        (lt_trace_is_on(&steps->device->context->trace) && lt_device_is_host(steps->device))) {
        return launch_timed(steps, launch, err);
    }
    for (uint32_t i = 0; i < steps->n_steps; i++) {
        const lt_step *step = &steps->steps[i];
        leat_status status = step->launch(step->state, &step->args, err);
        if (status != LEAT_OK) {
            return failed(steps, step, status, err);
        }
    }
    return LEAT_OK;
}

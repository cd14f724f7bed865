/* SPDX-License-Identifier: Apache-2.0 */
/* Running a graph: finding or making the plan, then its stages. The path of a warmed run is
 * find_plan -> take_data -> run_stages, and allocates nothing. */
#include "runtime/frame.h"

#include "base/error.h"

#include <string.h>

/* What an empty array without storage points at. */
static const char nothing[LT_ALIGNMENT];

/* Data of inputs whose shapes fit the plan. */
static inline leat_status take_data(lt_frame *frame, const lt_stage *plan, const leat_array *inputs,
                                    leat_error *err)
{
    uint32_t n_inputs = frame->body->graph->n_inputs;
    for (uint32_t i = 0; i < n_inputs; i++) {
        size_t needed = plan->inputs[i].bytes;
        if (inputs[i].bytes < needed || (inputs[i].data == NULL && needed != 0)) {
            return lt_fail(
                err, LEAT_INVALID, "input '%s' has %zu bytes of data, its shape needs %zu",
                lt_frame_input_name(frame, i), inputs[i].data ? inputs[i].bytes : 0, needed);
        }
        if (lt_is_container(inputs[i].dtype) && frame->body->outer == NULL &&
            !lt_frame_input_is_sound(&inputs[i])) {
            return lt_fail(err, LEAT_INVALID, "input '%s' is no sound %s: see leat_dtype",
                           lt_frame_input_name(frame, i), leat_dtype_name(inputs[i].dtype));
        }
        frame->run.input_data[i] = inputs[i].data ? inputs[i].data : (void *)nothing;
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Plans
 * --------------------------------------------------------------------------------------------- */

static leat_status grow_workspaces(lt_runner *runner, const lt_stage *stage, leat_error *err)
{
    for (size_t d = 0; d < runner->program->n_devices; d++) {
        size_t bytes = stage->workspace_bytes[d];
        if (bytes <= runner->workspace_bytes[d]) {
            continue;
        }
        lt_device *device = runner->program->devices[d];
        lt_device_free(device, runner->workspaces[d], runner->workspace_bytes[d]);
        runner->workspaces[d] = NULL;
        runner->workspace_bytes[d] = 0;
        leat_status status = lt_device_alloc(device, bytes, &runner->workspaces[d], err);
        if (status != LEAT_OK) {
            runner->workspaces[d] = NULL;
            return status;
        }
        runner->workspace_bytes[d] = bytes;
        if (lt_device_is_host(device)) {
            lt_memory_advise_large(runner->workspaces[d], bytes);
        }
    }
    return LEAT_OK;
}

static leat_status make_stage(lt_frame *frame, const leat_array *inputs, lt_stage *parent,
                              const void *content, lt_stage **out_stage, leat_error *err)
{
    lt_runner *runner = frame->runner;
    const lt_stage_desc desc = {.body = frame->body,
                                .parent = parent,
                                .inputs = inputs,
                                .input_spaces = frame->input_spaces,
                                .output_spaces = frame->output_spaces,
                                .content = content,
                                .made = frame->run.made,
                                .profile = runner->profile,
                                .graphs = runner->graphs,
                                .phases = runner->time_phases ? runner->phases : NULL,
                                .progress = runner->progress,
                                .progress_user = runner->progress_user,
                                .tuning = runner->tuning};
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

static leat_status make_plan(lt_frame *frame, const leat_array *inputs, lt_stage **out_plan,
                             leat_error *err)
{
    leat_status status = lt_frame_check_inputs(frame, inputs, err);
    status = status ? status : make_stage(frame, inputs, NULL, NULL, out_plan, err);
    if (status == LEAT_OK) {
        push_stage(&frame->plans, *out_plan, frame->runner->max_plans);
    }
    return status;
}

/* Only one run at a time counts; others may read. */
static void count(_Atomic uint64_t *counter)
{
    const uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

static leat_status find_plan(lt_frame *frame, const leat_array *inputs, lt_stage **out_plan,
                             leat_error *err)
{
    lt_stage **link = &frame->plans;
    while (*link != NULL &&
           !lt_stage_matches(*link, inputs, frame->input_spaces, frame->output_spaces)) {
        link = &(*link)->next;
    }
    lt_stage *plan = *link;
    if (plan == NULL) {
        count(&frame->runner->plan_misses);
        return make_plan(frame, inputs, out_plan, err);
    }
    count(&frame->runner->plan_hits);
    *link = plan->next; /* to the front */
    plan->next = frame->plans;
    frame->plans = plan;
    *out_plan = plan;
    return LEAT_OK;
}

static leat_status find_child(lt_frame *frame, const leat_array *inputs, lt_stage *stage,
                              lt_stage **out_child, leat_error *err)
{
    const void *content = stage->at_host ? NULL : lt_stage_barrier_data(stage, &frame->run);
    *out_child = stage->at_host ? lt_stage_find_made(stage, frame->run.made)
                                : lt_stage_find_child(stage, content);
    if (*out_child != NULL) {
        return LEAT_OK;
    }
    leat_status status = make_stage(frame, inputs, stage, content, out_child, err);
    if (status == LEAT_OK) {
        push_stage(&stage->children, *out_child, frame->runner->max_plans);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Runs
 * --------------------------------------------------------------------------------------------- */

static leat_status choose_outputs(lt_frame *frame, lt_stage *stage, lt_place_fn place, void *user,
                                  leat_error *err)
{
    for (uint32_t k = 0; k < stage->n_outputs; k++) {
        lt_stage_output *output = &stage->outputs[k];
        void *where = NULL;
        frame->completed[output->index] = output;
        if (lt_is_container(output->dtype)) {
            continue;
        }
        leat_status status = place ? place(user, output, &where, err) : LEAT_OK;
        if (status == LEAT_OK && where == NULL && output->own == NULL) {
            status = lt_stage_own_outputs(stage, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        frame->run.output_data[output->index] = where ? where : output->own;
    }
    return LEAT_OK;
}

static leat_status run_stages(lt_frame *frame, const leat_array *inputs, lt_stage *stage,
                              lt_place_fn place, void *user, leat_error *err)
{
    for (;;) {
        leat_status status = grow_workspaces(frame->runner, stage, err);
        status = status ? status : choose_outputs(frame, stage, place, user, err);
        status = status ? status : lt_stage_run(stage, &frame->run, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (stage->barrier == LEAT_NO_VALUE && !stage->at_host) {
            frame->last = stage;
            return LEAT_OK;
        }
        if (stage->at_host) {
            status = lt_frame_run_host(frame, stage, err);
        }
        status = status ? status : find_child(frame, inputs, stage, &stage, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
}

void lt_frame_release_made(lt_frame *frame)
{
    const lt_body *body = frame->body;
    for (uint32_t i = 0; frame->run.made != NULL && i < body->n_hosts; i++) {
        const leat_node *node = body->graph->nodes[body->host_nodes[i]];
        for (uint32_t k = 0; k < node->n_outputs; k++) {
            if (node->outputs[k] != LEAT_NO_VALUE) {
                lt_item *item = &frame->run.made[node->outputs[k]];
                lt_held_release(item->held);
                item->held = NULL;
            }
        }
    }
}

leat_status lt_frame_run(lt_frame *frame, const leat_array *inputs, lt_held *const *held,
                         lt_place_fn place, void *user, leat_error *err)
{
    lt_runner *runner = frame->runner;
    lt_stage *plan = NULL;
    lt_frame_release_made(frame);
    frame->last = NULL;
    frame->given = inputs;
    frame->given_held = held;
    leat_status status = find_plan(frame, inputs, &plan, err);
    status = status ? status : take_data(frame, plan, inputs, err);
    frame->run.workspaces = runner->workspaces;
    frame->run.streams = runner->streams;
    frame->run.joined = runner->joined;
    frame->run.pool = runner->pool;
    return status ? status : run_stages(frame, inputs, plan, place, user, err);
}

leat_status lt_frame_warm(lt_frame *frame, const leat_array *inputs, leat_error *err)
{
    lt_stage *plan = NULL;
    lt_frame_release_made(frame);
    frame->last = NULL;
    leat_status status = find_plan(frame, inputs, &plan, err);
    status = status ? status : grow_workspaces(frame->runner, plan, err);
    status = status ? status : lt_stage_own_outputs(plan, err);
    if (status == LEAT_OK) {
        frame->last = plan;
    }
    return status;
}

lt_item lt_frame_value(const lt_frame *frame, const lt_stage *stage, uint32_t value)
{
    const leat_value *v = &stage->values[value];
    const lt_ref *ref = &stage->refs[value];
    lt_item item = {.held = NULL};
    if (v->data == NULL && ref->kind == LT_REF_MADE) {
        return frame->run.made[value];
    }
    if (v->data == NULL && ref->kind == LT_REF_INPUT) {
        item.array = frame->given[ref->index];
        item.held = frame->given_held ? frame->given_held[ref->index] : NULL;
        item.array.data = frame->run.input_data[ref->index];
        return item;
    }
    item.array = (leat_array){.dtype = v->dtype, .rank = v->rank, .bytes = v->bytes};
    memcpy(item.array.shape, v->shape, sizeof(v->shape));
    item.array.data = v->data ? (void *)v->data : lt_ref_resolve(&frame->run, ref);
    return item;
}

lt_item lt_frame_output(const lt_frame *frame, uint32_t output)
{
    const lt_stage_output *done = frame->completed[output];
    lt_item item = {.held = NULL};
    if (lt_is_container(done->dtype)) {
        return lt_frame_value(frame, frame->last, frame->body->graph->outputs[output]);
    }
    item.array = (leat_array){.dtype = done->dtype,
                              .rank = done->rank,
                              .data = frame->run.output_data[output],
                              .bytes = done->bytes};
    memcpy(item.array.shape, done->shape, sizeof(done->shape));
    return item;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Running a graph: finding or making the plan, then its stages. The path of a warmed run is
 * find_plan -> take_data -> run_stages, and allocates nothing. */
#include "runtime/frame.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

/* What an empty array without storage points at. */
static const char nothing[LT_ALIGNMENT];

static const char *input_name(const lt_frame *frame, size_t i)
{
    const lt_graph *graph = frame->body->graph;
    return graph->values[graph->inputs[i]].name;
}

/* ------------------------------------------------------------------------------------------------
 * Inputs
 * --------------------------------------------------------------------------------------------- */

/* Symbols stand for one number each, over all inputs. */
static leat_status check_symbol(const lt_frame *frame, const leat_array *inputs, size_t i,
                                int32_t d, leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    int64_t symbol = graph->values[graph->inputs[i]].shape[d];
    for (size_t other = 0; other <= i; other++) {
        const leat_value *value = &graph->values[graph->inputs[other]];
        for (int32_t k = 0; k < value->rank && !lt_is_container(value->dtype); k++) {
            if (value->shape[k] == symbol && inputs[other].shape[k] != inputs[i].shape[d]) {
                const char *name = lt_graph_symbol_name(graph, symbol);
                return lt_fail(err, LEAT_INVALID,
                               "dimension '%s' is %lld in input '%s' and %lld in input '%s'",
                               name ? name : "?", (long long)inputs[other].shape[k],
                               input_name(frame, other), (long long)inputs[i].shape[d],
                               input_name(frame, i));
            }
        }
    }
    return LEAT_OK;
}

static leat_status check_shape(const lt_frame *frame, const leat_array *inputs, size_t i,
                               leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    const leat_value *value = &graph->values[graph->inputs[i]];
    const leat_array *array = &inputs[i];
    char declared[64], given[64];
    if (array->rank < 0 || array->rank > LEAT_MAX_RANK ||
        (value->rank >= 0 && array->rank != value->rank)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' has rank %d, not %d", input_name(frame, i),
                       value->rank, array->rank);
    }
    for (int32_t d = 0; d < array->rank; d++) {
        int64_t wanted = value->rank < 0 ? -1 : value->shape[d];
        if (array->shape[d] < 0 || (wanted >= 0 && array->shape[d] != wanted)) {
            return lt_fail(err, LEAT_INVALID, "input '%s' has the shape %s, not %s",
                           input_name(frame, i),
                           lt_shape_text(value->rank < 0 ? 0 : value->rank, value->shape, declared,
                                         sizeof(declared)),
                           lt_shape_text(array->rank, array->shape, given, sizeof(given)));
        }
        leat_status status =
            value->rank < 0 || wanted >= 0 ? LEAT_OK : check_symbol(frame, inputs, i, d, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status check_input(const lt_frame *frame, const leat_array *inputs, size_t i,
                               leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    const leat_value *value = &graph->values[graph->inputs[i]];
    const leat_array *array = &inputs[i];
    char given[64];
    size_t bytes;
    if (array->dtype != value->dtype && value->dtype != LEAT_DTYPE_UNDEFINED) {
        return lt_fail(err, LEAT_INVALID, "input '%s' is of type %s, not %s", input_name(frame, i),
                       leat_dtype_name(value->dtype), leat_dtype_name(array->dtype));
    }
    if (lt_is_container(array->dtype)) {
        return LEAT_OK; /* looked at in every run */
    }
    leat_status status = check_shape(frame, inputs, i, err);
    if (status == LEAT_OK && (!lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) ||
                              (array->data != NULL && array->bytes < bytes))) {
        status =
            lt_fail(err, LEAT_INVALID, "input '%s' of shape %s has only %zu bytes of data",
                    input_name(frame, i),
                    lt_shape_text(array->rank, array->shape, given, sizeof(given)), array->bytes);
    }
    return status;
}

/* A tensor in a sequence or optional that the caller made. */
static bool is_sound_tensor(const leat_array *array)
{
    size_t bytes;
    return (unsigned)array->dtype < LEAT_DTYPE_COUNT && array->rank >= 0 &&
           array->rank <= LEAT_MAX_RANK &&
           lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) &&
           array->bytes >= bytes && (array->data != NULL || bytes == 0);
}

/* A sequence or optional that the caller made, and all in it. */
static bool is_sound(const leat_array *array, bool nested)
{
    size_t bytes;
    const leat_array *elements = array->data;
    if (array->rank != 1 || !lt_shape_bytes(array->dtype, 1, array->shape, &bytes) ||
        array->bytes < bytes || (elements == NULL && bytes != 0) ||
        (array->dtype == LEAT_DTYPE_OPTIONAL && array->shape[0] > 1)) {
        return false;
    }
    for (int64_t i = 0; i < array->shape[0]; i++) {
        bool may_nest = array->dtype == LEAT_DTYPE_OPTIONAL && !nested;
        if (may_nest && elements[i].dtype == LEAT_DTYPE_SEQUENCE ? !is_sound(&elements[i], true)
                                                                 : !is_sound_tensor(&elements[i])) {
            return false;
        }
    }
    return true;
}

/* Data of inputs whose shapes fit the plan. */
static inline leat_status take_data(lt_frame *frame, const lt_stage *plan, const leat_array *inputs,
                                    leat_error *err)
{
    uint32_t n_inputs = frame->body->graph->n_inputs;
    for (uint32_t i = 0; i < n_inputs; i++) {
        size_t needed = plan->inputs[i].bytes;
        if (inputs[i].bytes < needed || (inputs[i].data == NULL && needed != 0)) {
            return lt_fail(err, LEAT_INVALID,
                           "input '%s' has %zu bytes of data, its shape needs %zu",
                           input_name(frame, i), inputs[i].data ? inputs[i].bytes : 0, needed);
        }
        if (lt_is_container(inputs[i].dtype) && frame->body->outer == NULL &&
            !is_sound(&inputs[i], false)) {
            return lt_fail(err, LEAT_INVALID, "input '%s' is no sound %s: see leat_dtype",
                           input_name(frame, i), leat_dtype_name(inputs[i].dtype));
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
    const lt_runner *runner = frame->runner;
    const lt_stage_desc desc = {.body = frame->body,
                                .parent = parent,
                                .inputs = inputs,
                                .content = content,
                                .made = frame->run.made,
                                .profile = runner->profile,
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
    for (size_t i = 0; i < frame->body->graph->n_inputs; i++) {
        leat_status status = check_input(frame, inputs, i, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    leat_status status = make_stage(frame, inputs, NULL, NULL, out_plan, err);
    if (status == LEAT_OK) {
        push_stage(&frame->plans, *out_plan, frame->runner->max_plans);
    }
    return status;
}

static leat_status find_plan(lt_frame *frame, const leat_array *inputs, lt_stage **out_plan,
                             leat_error *err)
{
    lt_stage **link = &frame->plans;
    while (*link != NULL && !lt_stage_matches(*link, inputs)) {
        link = &(*link)->next;
    }
    lt_stage *plan = *link;
    if (plan == NULL) {
        return make_plan(frame, inputs, out_plan, err);
    }
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

/* Lets go of what nodes made in the latest run. */
static void release_made(lt_frame *frame)
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
    release_made(frame);
    frame->last = NULL;
    frame->given = inputs;
    frame->given_held = held;
    leat_status status = find_plan(frame, inputs, &plan, err);
    status = status ? status : take_data(frame, plan, inputs, err);
    frame->run.workspaces = runner->workspaces;
    frame->run.streams = runner->streams;
    frame->run.pool = runner->pool;
    return status ? status : run_stages(frame, inputs, plan, place, user, err);
}

leat_status lt_frame_warm(lt_frame *frame, const leat_array *inputs, leat_error *err)
{
    lt_stage *plan = NULL;
    release_made(frame);
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

/* ------------------------------------------------------------------------------------------------
 * Frames of a session
 * --------------------------------------------------------------------------------------------- */

static leat_status create_frame(lt_frame *frame, lt_runner *runner, const lt_body *body,
                                lt_arena *arena, leat_error *err)
{
    const lt_graph *graph = body->graph;
    frame->runner = runner;
    frame->body = body;
    frame->run.input_data = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(void *));
    frame->run.output_data = lt_arena_array(arena, graph->n_outputs + 1u, sizeof(void *));
    frame->completed = lt_arena_array(arena, graph->n_outputs + 1u, sizeof(*frame->completed));
    frame->inputs = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(*frame->inputs));
    frame->input_held = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(lt_held *));
    if (frame->run.input_data == NULL || frame->run.output_data == NULL ||
        frame->completed == NULL || frame->inputs == NULL || frame->input_held == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
    }
    if (body->n_hosts == 0) {
        return LEAT_OK;
    }
    frame->run.made = lt_arena_array(arena, graph->n_values + 1u, sizeof(*frame->run.made));
    return frame->run.made ? lt_frame_make_states(frame, arena, err)
                           : lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
}

leat_status lt_runner_create(lt_runner *runner, lt_arena *arena, leat_error *err)
{
    const lt_program *program = runner->program;
    leat_status status = LEAT_OK;
    runner->frames = lt_arena_array(arena, program->n_bodies, sizeof(*runner->frames));
    if (runner->frames == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
    }
    for (uint32_t b = 0; b < program->n_bodies && status == LEAT_OK; b++) {
        runner->n_frames = b + 1;
        status = create_frame(&runner->frames[b], runner, &program->bodies[b], arena, err);
    }
    return status;
}

/* Frees a frame's plans but one, and its buffers. */
static void trim_frame(lt_frame *frame, lt_stage *kept)
{
    while (frame->plans != NULL) {
        lt_stage *plan = frame->plans;
        frame->plans = plan->next;
        if (plan != kept) {
            lt_stage_destroy(plan);
        }
    }
    frame->plans = kept;
    if (kept != NULL) {
        kept->next = NULL;
    } else {
        frame->last = NULL;
        release_made(frame);
    }
    lt_frame_drop_buffers(frame);
}

void lt_runner_trim(lt_runner *runner, lt_stage *kept)
{
    for (uint32_t f = 0; f < runner->n_frames; f++) {
        if (runner->frames[f].body != NULL) {
            trim_frame(&runner->frames[f], f == 0 ? kept : NULL);
        }
    }
    size_t n_devices = runner->workspaces ? runner->program->n_devices : 0;
    for (size_t d = 0; d < n_devices; d++) {
        lt_device_free(runner->program->devices[d], runner->workspaces[d],
                       runner->workspace_bytes[d]);
        runner->workspaces[d] = NULL;
        runner->workspace_bytes[d] = 0;
    }
}

void lt_runner_destroy(lt_runner *runner)
{
    lt_runner_trim(runner, NULL);
}

static void clear_times(lt_stage *stage)
{
    for (; stage != NULL; stage = stage->next) {
        for (uint32_t i = 0; i < stage->n_segments; i++) {
            const lt_segment *segment = &stage->segments[i];
            if (segment->node_ns != NULL) {
                memset(segment->node_ns, 0, segment->n_nodes * sizeof(*segment->node_ns));
            }
        }
        clear_times(stage->children);
    }
}

void lt_runner_start(lt_runner *runner)
{
    runner->iterations = 0;
    runner->told_ns = 0;
    if (!runner->profile) {
        return;
    }
    for (uint32_t f = 0; f < runner->n_frames; f++) {
        clear_times(runner->frames[f].plans);
        lt_frame_clear_times(&runner->frames[f]);
    }
}

static uint64_t stage_time(const lt_stage *stage)
{
    uint64_t total = 0;
    for (; stage != NULL; stage = stage->next) {
        for (uint32_t i = 0; i < stage->n_segments; i++) {
            const lt_segment *segment = &stage->segments[i];
            for (uint32_t n = 0; segment->node_ns != NULL && n < segment->n_nodes; n++) {
                total += segment->node_ns[n];
            }
        }
        total += stage_time(stage->children);
    }
    return total;
}

uint64_t lt_frame_time(const lt_frame *frame)
{
    const lt_body *body = frame->body;
    uint64_t total = stage_time(frame->plans);
    for (uint32_t i = 0; i < body->n_hosts; i++) {
        const lt_host_node *host = body->hosts[body->host_nodes[i]];
        total += lt_frame_host_time(frame, body->host_nodes[i]);
        for (uint32_t k = 0; k < 2; k++) {
            const lt_body *inner = host->bodies[k];
            total += inner ? lt_frame_time(&frame->runner->frames[inner->index]) : 0;
        }
    }
    return total;
}

/* Between two calls of the progress callback. */
#define TELL_NS 100000000u

leat_status lt_runner_tick(lt_runner *runner, uint64_t done, uint64_t total, leat_error *err)
{
    runner->iterations++;
    if (runner->progress == NULL) {
        return runner->iterations <= LT_MOST_ITERATIONS
                   ? LEAT_OK
                   : lt_fail(err, LEAT_LIMIT,
                             "more than %u iterations in one run: give the session a progress "
                             "callback, which can end it",
                             LT_MOST_ITERATIONS);
    }
    uint64_t now = lt_clock_ns();
    if (runner->told_ns == 0) {
        runner->told_ns = now;
    }
    if (now - runner->told_ns < TELL_NS) {
        return LEAT_OK;
    }
    runner->told_ns = now;
    return runner->progress(runner->progress_user, "loop", done, total) == 0
               ? LEAT_OK
               : lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
}

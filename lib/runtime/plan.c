/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: creation, lookup, running. See plan.h. */
#include "runtime/plan.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * Creation
 * --------------------------------------------------------------------------------------------- */

/* Shape of a value that comes from outside. */
static leat_status take_shape(lt_input_key *key, leat_value *value, const leat_array *array,
                              leat_error *err)
{
    key->dtype = array->dtype;
    if (lt_is_container(array->dtype)) {
        key->rank = 1;
        key->shape[0] = 0;
    } else {
        key->rank = array->rank;
        memcpy(key->shape, array->shape, (size_t)array->rank * sizeof(int64_t));
    }
    if (!lt_shape_bytes(key->dtype, key->rank, key->shape, &key->bytes)) {
        return lt_fail(err, LEAT_INVALID, "value '%s': the shape is too large", value->name);
    }
    value->dtype = key->dtype;
    value->rank = key->rank;
    memcpy(value->shape, key->shape, (size_t)key->rank * sizeof(int64_t));
    value->bytes = key->bytes;
    return LEAT_OK;
}

/* Shapes and places of the graph's inputs, as the caller gave them, and places of its outputs. */
static leat_status take_inputs(lt_stage *stage, const lt_stage_desc *desc, leat_error *err)
{
    const lt_graph *graph = stage->body->graph;
    lt_arena *arena = &stage->arena;
    stage->inputs = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(*stage->inputs));
    stage->output_spaces = lt_arena_array(arena, graph->n_outputs + 1u, sizeof(uint32_t));
    if (stage->inputs == NULL || stage->output_spaces == NULL) {
        return lt_plan_no_memory(err);
    }
    for (uint32_t i = 0; desc->output_spaces != NULL && i < graph->n_outputs; i++) {
        stage->output_spaces[i] = desc->output_spaces[i];
    }
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        leat_value *value = &stage->values[graph->inputs[i]];
        leat_status status = take_shape(&stage->inputs[i], value, &desc->inputs[i], err);
        if (status != LEAT_OK) {
            return status;
        }
        size_t space = desc->input_spaces ? desc->input_spaces[i] : 0;
        stage->inputs[i].space = (uint32_t)space;
        stage->refs[space * graph->n_values + graph->inputs[i]] = (lt_ref){LT_REF_INPUT, i, NULL};
    }
    return LEAT_OK;
}

static leat_status take_content(lt_stage *stage, const void *content, leat_error *err)
{
    leat_value *value = &stage->values[stage->parent->barrier];
    size_t bytes;
    if (!lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes)) {
        return lt_fail(err, LEAT_INTERNAL, "the shape of '%s' is not known", value->name);
    }
    void *copy = lt_arena_alloc(&stage->arena, bytes + 1, LT_ALIGNMENT);
    if (copy == NULL) {
        return lt_plan_no_memory(err);
    }
    if (bytes != 0) {
        memcpy(copy, content, bytes);
    }
    stage->content = copy;
    value->data = copy;
    value->bytes = bytes;
    return LEAT_OK;
}

/* What the node that the parent ends before has made. */
static leat_status take_made(lt_stage *stage, const lt_item *made, leat_error *err)
{
    const leat_node *node = stage->body->graph->nodes[stage->parent->barrier_node];
    stage->made = lt_arena_array(&stage->arena, node->n_outputs + 1u, sizeof(*stage->made));
    if (stage->made == NULL) {
        return lt_plan_no_memory(err);
    }
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        uint32_t v = node->outputs[k];
        if (v == LEAT_NO_VALUE) {
            continue;
        }
        leat_status status = take_shape(&stage->made[k], &stage->values[v], &made[v].array, err);
        if (status != LEAT_OK) {
            return status;
        }
        stage->refs[v] = (lt_ref){LT_REF_MADE, v, NULL};
    }
    return LEAT_OK;
}

static leat_status start(lt_stage *stage, const lt_stage_desc *desc, leat_error *err)
{
    const lt_graph *graph = stage->body->graph;
    const lt_stage *parent = desc->parent;
    size_t n_values = graph->n_values;
    size_t n_refs = (size_t)lt_plan_spaces(stage->program) * n_values;
    lt_arena *arena = &stage->arena;
    stage->values = lt_arena_copy(arena, parent ? parent->values : graph->values,
                                  n_values * sizeof(leat_value));
    stage->refs = parent ? lt_arena_copy(arena, parent->refs, n_refs * sizeof(lt_ref))
                         : lt_arena_array(arena, n_refs + 1, sizeof(lt_ref));
    stage->output_done = parent ? lt_arena_copy(arena, parent->output_done, graph->n_outputs)
                                : lt_arena_array(arena, graph->n_outputs + 1u, sizeof(bool));
    if (stage->values == NULL || stage->refs == NULL || stage->output_done == NULL) {
        return lt_plan_no_memory(err);
    }
    if (parent != NULL) {
        stage->first_node = parent->barrier_node + parent->at_host;
        stage->output_spaces = parent->output_spaces;
        return parent->at_host ? take_made(stage, desc->made, err)
                               : take_content(stage, desc->content, err);
    }
    return take_inputs(stage, desc, err);
}

leat_status lt_stage_create(const lt_stage_desc *desc, lt_stage **out_stage, leat_error *err)
{
    lt_memory *memory = &desc->body->program->model->context->memory;
    *out_stage = NULL;
    uint32_t depth = desc->parent ? desc->parent->depth + 1 : 0;
    if (depth > LT_MOST_STAGES) {
        return lt_fail(err, LEAT_LIMIT, "a graph that must be planned in more than %u parts",
                       LT_MOST_STAGES);
    }
    lt_stage *stage = lt_alloc_zeroed(memory, sizeof(*stage), LT_ALIGNMENT);
    if (stage == NULL) {
        return lt_plan_no_memory(err);
    }
    lt_arena_init(&stage->arena, memory, 0);
    stage->program = desc->body->program;
    stage->body = desc->body;
    stage->parent = desc->parent;
    stage->depth = depth;
    stage->phases = desc->phases;
    uint32_t *nodes = NULL, n_nodes = 0;
    leat_status status = start(stage, desc, err);
    status = status ? status : lt_plan_walk(stage, desc, &nodes, &n_nodes, err);
    status = status ? status : lt_plan_compile(stage, desc, nodes, n_nodes, err);
    if (desc->tuning != NULL) { /* also what was measured until it was cancelled */
        lt_tuning_save(desc->tuning);
    }
    if (status != LEAT_OK) {
        lt_stage_destroy(stage);
        return status;
    }
    lt_program_release_pages(stage->program);
    *out_stage = stage;
    return LEAT_OK;
}

static void destroy_one(lt_stage *stage)
{
    lt_memory *memory = &stage->program->model->context->memory;
    for (uint32_t i = 0; i < stage->n_segments; i++) {
        lt_executable_destroy(stage->segments[i].executable);
    }
    for (uint32_t i = 0; i < stage->n_spans; i++) {
        lt_span_destroy(stage, &stage->spans[i]);
    }
    lt_plan_free_buffers(stage);
    for (uint32_t i = 0; i < stage->n_outputs; i++) {
        if (!stage->outputs[i].is_staging) {
            lt_free(memory, stage->outputs[i].own, stage->outputs[i].bytes);
        }
    }
    lt_arena_destroy(&stage->arena);
    lt_free(memory, stage, sizeof(*stage));
}

/* Not by recursion: a chain of stages may be long. A stage goes when its children are gone. */
void lt_stage_destroy(lt_stage *stage)
{
    lt_stage *top = stage ? stage->parent : NULL;
    while (stage != NULL && stage != top) {
        lt_stage *child = stage->children;
        if (child != NULL) {
            stage->children = child->next;
            stage = child;
        } else {
            lt_stage *parent = stage->parent;
            destroy_one(stage);
            stage = parent;
        }
    }
}

leat_status lt_stage_own_outputs(lt_stage *stage, leat_error *err)
{
    lt_device *cpu = lt_device_cpu(stage->program->model->context);
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < stage->n_outputs && status == LEAT_OK; i++) {
        lt_stage_output *output = &stage->outputs[i];
        if (output->own == NULL && stage->output_spaces[output->index] == 0) {
            status = lt_device_alloc(cpu, output->bytes, &output->own, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Lookup
 * --------------------------------------------------------------------------------------------- */

static bool key_matches(const lt_input_key *key, const leat_array *array)
{
    if (array->dtype != key->dtype || lt_is_container(key->dtype)) {
        return array->dtype == key->dtype;
    }
    if (array->rank != key->rank) {
        return false;
    }
    for (int32_t d = 0; d < key->rank; d++) {
        if (array->shape[d] != key->shape[d]) {
            return false;
        }
    }
    return key->content == NULL || key->bytes == 0 ||
           (array->data != NULL && array->bytes >= key->bytes &&
            memcmp(array->data, key->content, key->bytes) == 0);
}

bool lt_stage_matches(const lt_stage *stage, const leat_array *inputs, const uint32_t *input_spaces,
                      const uint32_t *output_spaces)
{
    const lt_graph *graph = stage->body->graph;
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        if (stage->inputs[i].space != (input_spaces ? input_spaces[i] : 0) ||
            !key_matches(&stage->inputs[i], &inputs[i])) {
            return false;
        }
    }
    return output_spaces == NULL || memcmp(output_spaces, stage->output_spaces,
                                           graph->n_outputs * sizeof(*output_spaces)) == 0;
}

lt_stage *lt_stage_find_child(const lt_stage *stage, const void *content)
{
    size_t bytes = 0;
    for (lt_stage *child = stage->children; child != NULL; child = child->next) {
        bytes = child->values[stage->barrier].bytes;
        if (bytes == 0 || memcmp(child->content, content, bytes) == 0) {
            return child;
        }
    }
    return NULL;
}

lt_stage *lt_stage_find_made(const lt_stage *stage, const lt_item *made)
{
    const leat_node *node = stage->body->graph->nodes[stage->barrier_node];
    for (lt_stage *child = stage->children; child != NULL; child = child->next) {
        bool fits = true;
        for (uint32_t k = 0; k < node->n_outputs && fits; k++) {
            uint32_t v = node->outputs[k];
            fits = v == LEAT_NO_VALUE || key_matches(&child->made[k], &made[v].array);
        }
        if (fits) {
            return child;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Running
 * --------------------------------------------------------------------------------------------- */

static leat_status launch(const lt_action *action, const lt_run *run, leat_error *err)
{
    lt_segment *segment = action->segment;
    for (uint32_t i = 0; i < segment->n_patches; i++) {
        *segment->patches[i].slot = lt_patch_resolve(run, &segment->patches[i]);
    }
    const leat_launch what = {.inputs = segment->inputs,
                              .outputs = segment->outputs,
                              .workspace = run->workspaces[action->device],
                              .stream = run->streams[action->device],
                              .pool = run->pool,
                              .node_ns = segment->node_ns};
    return lt_executable_launch(segment->executable, &what, err);
}

static leat_status copy(const lt_stage *stage, const lt_action *action, const lt_run *run,
                        leat_error *err)
{
    void *target = lt_ref_resolve(run, &action->target);
    const void *source = lt_ref_resolve(run, &action->source);
    bool staged = action->staging != NULL && !action->direct;
    if (action->copy_kind == 0) {
        lt_span_move(run->pool, target, source, action->bytes);
        return LEAT_OK;
    }
    if (staged && action->copy_kind == LEAT_COPY_HOST_TO_DEVICE) {
        source = action->staging;
    } else if (staged) {
        target = action->staging;
    }
    const lt_device *device = stage->program->devices[action->device];
    return device->backend->copy(device->handle, run->streams[action->device],
                                 (leat_copy_kind)action->copy_kind, target, source, action->bytes,
                                 err);
}

static leat_status wait_for(const lt_stage *stage, uint32_t index, const lt_run *run,
                            leat_error *err)
{
    const lt_device *device = stage->program->devices[index];
    return device->backend->stream_wait(device->handle, run->streams[index], err);
}

static void unstage(const lt_stage *stage, const lt_action *action, const lt_run *run)
{
    const lt_action *from = &stage->actions[action->from];
    void *target = lt_ref_resolve(run, &from->target);
    if (!from->direct && target != from->staging) {
        lt_span_move(run->pool, target, from->staging, from->bytes);
    }
}

/* After a failure nothing may still be at work on the caller's memory. */
static void drain(const lt_stage *stage, const lt_run *run)
{
    for (uint32_t d = 0; d < stage->program->n_devices; d++) {
        if (run->streams[d] != NULL) {
            leat_status ignored = wait_for(stage, d, run, NULL);
            (void)ignored;
        }
    }
}

leat_status lt_stage_act(lt_stage *stage, lt_action *action, const lt_run *run, leat_error *err)
{
    switch (action->kind) {
    case LT_ACTION_LAUNCH:
        return launch(action, run, err);
    case LT_ACTION_COPY:
        return copy(stage, action, run, err);
    case LT_ACTION_WAIT:
        return wait_for(stage, action->device, run, err);
    case LT_ACTION_UNSTAGE:
        break;
    }
    uint64_t start = stage->phases ? lt_clock_ns() : 0;
    unstage(stage, action, run);
    if (stage->phases != NULL) {
        stage->phases[LT_PHASE_D2H] += lt_clock_ns() - start;
    }
    return LEAT_OK;
}

leat_status lt_stage_run(lt_stage *stage, const lt_run *run, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_span *span = stage->spans, *end = stage->spans + stage->n_spans;
    for (uint32_t i = 0; i < stage->n_actions && status == LEAT_OK;) {
        if (span != end && span->first == i) {
            status = (stage->phases ? lt_span_time : lt_span_run)(stage, span, run, err);
            i += span->count;
            span++;
        } else {
            status = lt_stage_act(stage, &stage->actions[i++], run, err);
        }
    }
    if (status != LEAT_OK) {
        drain(stage, run);
    }
    return status;
}

const void *lt_stage_barrier_data(const lt_stage *stage, const lt_run *run)
{
    return lt_ref_resolve(run, &stage->refs[stage->barrier]);
}

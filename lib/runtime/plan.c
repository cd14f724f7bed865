/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: creation, lookup, running. See plan.h. */
#include "runtime/plan.h"

#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan a run");
}

/* ------------------------------------------------------------------------------------------------
 * Creation
 * --------------------------------------------------------------------------------------------- */

/* Shapes of the model's inputs, as the caller gave them. */
static leat_status take_inputs(lt_stage *stage, const leat_array *inputs, leat_error *err)
{
    const lt_graph *graph = stage->program->graph;
    stage->inputs = lt_arena_array(&stage->arena, graph->n_inputs + 1u, sizeof(*stage->inputs));
    if (stage->inputs == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        lt_input_key *key = &stage->inputs[i];
        leat_value *value = &stage->values[graph->inputs[i]];
        key->rank = inputs[i].rank;
        key->dtype = inputs[i].dtype;
        memcpy(key->shape, inputs[i].shape, (size_t)inputs[i].rank * sizeof(int64_t));
        if (!lt_shape_bytes(key->dtype, key->rank, key->shape, &key->bytes)) {
            return lt_fail(err, LEAT_INVALID, "input '%s': the shape is too large", value->name);
        }
        value->dtype = key->dtype;
        value->rank = key->rank;
        memcpy(value->shape, key->shape, sizeof(value->shape));
        value->bytes = key->bytes;
        stage->refs[graph->inputs[i]] = (lt_ref){LT_REF_INPUT, i, NULL};
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
        return no_memory(err);
    }
    if (bytes != 0) {
        memcpy(copy, content, bytes);
    }
    stage->content = copy;
    value->data = copy;
    value->bytes = bytes;
    return LEAT_OK;
}

static leat_status start(lt_stage *stage, const lt_stage_desc *desc, leat_error *err)
{
    const lt_graph *graph = stage->program->graph;
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
        return no_memory(err);
    }
    if (parent != NULL) {
        stage->first_node = parent->barrier_node;
        return take_content(stage, desc->content, err);
    }
    return take_inputs(stage, desc->inputs, err);
}

leat_status lt_stage_create(const lt_stage_desc *desc, lt_stage **out_stage, leat_error *err)
{
    lt_memory *memory = &desc->program->model->context->memory;
    *out_stage = NULL;
    lt_stage *stage = lt_alloc_zeroed(memory, sizeof(*stage), LT_ALIGNMENT);
    if (stage == NULL) {
        return no_memory(err);
    }
    lt_arena_init(&stage->arena, memory, 0);
    stage->program = desc->program;
    stage->parent = desc->parent;
    uint32_t *nodes = NULL, n_nodes = 0;
    leat_status status = start(stage, desc, err);
    status = status ? status : lt_plan_walk(stage, desc, &nodes, &n_nodes, err);
    status = status ? status : lt_plan_compile(stage, desc, nodes, n_nodes, err);
    if (status != LEAT_OK) {
        lt_stage_destroy(stage);
        return status;
    }
    lt_program_release_pages(desc->program);
    *out_stage = stage;
    return LEAT_OK;
}

void lt_stage_destroy(lt_stage *stage)
{
    if (stage == NULL) {
        return;
    }
    while (stage->children != NULL) {
        lt_stage *child = stage->children;
        stage->children = child->next;
        lt_stage_destroy(child);
    }
    lt_memory *memory = &stage->program->model->context->memory;
    for (uint32_t i = 0; i < stage->n_segments; i++) {
        lt_executable_destroy(stage->segments[i].executable);
    }
    for (lt_buffer *buffer = stage->buffers; buffer != NULL; buffer = buffer->next) {
        lt_device_free(buffer->device, buffer->block, buffer->bytes);
    }
    for (uint32_t i = 0; i < stage->n_outputs; i++) {
        lt_free(memory, stage->outputs[i].own, stage->outputs[i].bytes);
    }
    lt_arena_destroy(&stage->arena);
    lt_free(memory, stage, sizeof(*stage));
}

leat_status lt_stage_own_outputs(lt_stage *stage, leat_error *err)
{
    lt_device *cpu = lt_device_cpu(stage->program->model->context);
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < stage->n_outputs && status == LEAT_OK; i++) {
        lt_stage_output *output = &stage->outputs[i];
        if (output->own == NULL) {
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
    if (array->rank != key->rank || array->dtype != key->dtype) {
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

bool lt_stage_matches(const lt_stage *stage, const leat_array *inputs)
{
    for (uint32_t i = 0; i < stage->program->graph->n_inputs; i++) {
        if (!key_matches(&stage->inputs[i], &inputs[i])) {
            return false;
        }
    }
    return true;
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

/* ------------------------------------------------------------------------------------------------
 * Running
 * --------------------------------------------------------------------------------------------- */

static inline void *resolve(const lt_run *run, const lt_ref *ref)
{
    return ref->kind == LT_REF_FIXED   ? ref->pointer
           : ref->kind == LT_REF_INPUT ? run->input_data[ref->index]
                                       : run->output_data[ref->index];
}

static leat_status launch(const lt_action *action, const lt_run *run, leat_error *err)
{
    lt_segment *segment = action->segment;
    for (uint32_t i = 0; i < segment->n_patches; i++) {
        const lt_patch *patch = &segment->patches[i];
        *patch->slot = patch->kind == LT_REF_INPUT ? run->input_data[patch->index]
                                                   : run->output_data[patch->index];
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
    void *target = resolve(run, &action->target);
    const void *source = resolve(run, &action->source);
    if (action->copy_kind == 0) {
        memmove(target, source, action->bytes);
        return LEAT_OK;
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

leat_status lt_stage_run(lt_stage *stage, const lt_run *run, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < stage->n_actions && status == LEAT_OK; i++) {
        const lt_action *action = &stage->actions[i];
        switch (action->kind) {
        case LT_ACTION_LAUNCH:
            status = launch(action, run, err);
            break;
        case LT_ACTION_COPY:
            status = copy(stage, action, run, err);
            break;
        case LT_ACTION_WAIT:
            status = wait_for(stage, action->device, run, err);
            break;
        }
    }
    if (status != LEAT_OK) {
        drain(stage, run);
    }
    return status;
}

const void *lt_stage_barrier_data(const lt_stage *stage, const lt_run *run)
{
    return resolve(run, &stage->refs[stage->barrier]);
}

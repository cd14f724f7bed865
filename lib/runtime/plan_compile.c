/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stage, second half: segments are compiled, values get places in the spaces where they
 * are needed, and the actions of a run are listed. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/partition.h"
#include "runtime/plan.h"

#include <string.h>

typedef struct compiler {
    lt_stage *stage;
    const lt_stage_desc *desc;
    const lt_graph *graph;
    uint32_t n_spaces;
    lt_placement placement;
    uint32_t *part_of; /* per value: part that makes it + 1; 0: none */
    uint32_t *stamp;   /* per value: last part that listed it as an input, + 1 */
    bool *leaves;      /* per value: needed outside of the part that makes it */
    bool *used;        /* per device: it has work that nobody has waited for */
    uint32_t actions_capacity;
} compiler;

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan a run");
}

uint32_t lt_plan_space(const lt_program *program, uint32_t device)
{
    if (lt_device_is_host(program->devices[device])) {
        return 0;
    }
    uint32_t space = 1;
    for (uint32_t d = 0; d < device; d++) {
        space += !lt_device_is_host(program->devices[d]);
    }
    return space;
}

uint32_t lt_plan_spaces(const lt_program *program)
{
    uint32_t spaces = 1;
    for (uint32_t d = 0; d < program->n_devices; d++) {
        spaces += !lt_device_is_host(program->devices[d]);
    }
    return spaces;
}

static uint32_t device_of_space(const lt_program *program, uint32_t space)
{
    for (uint32_t d = 0; d < program->n_devices; d++) {
        if (space != 0 && lt_plan_space(program, d) == space) {
            return d;
        }
    }
    return 0;
}

static lt_ref *ref_at(const compiler *c, uint32_t space, uint32_t value)
{
    return &c->stage->refs[(size_t)space * c->graph->n_values + value];
}

static lt_action *add_action(compiler *c, lt_action_kind kind, uint32_t device)
{
    lt_stage *stage = c->stage;
    if (stage->n_actions == c->actions_capacity) {
        uint32_t capacity = c->actions_capacity * 2 + 16;
        lt_action *larger = lt_arena_array(&stage->arena, capacity, sizeof(*larger));
        if (larger == NULL) {
            return NULL;
        }
        if (stage->n_actions != 0) {
            memcpy(larger, stage->actions, stage->n_actions * sizeof(*larger));
        }
        stage->actions = larger;
        c->actions_capacity = capacity;
    }
    lt_action *action = &stage->actions[stage->n_actions++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    action->device = device;
    return action;
}

static leat_status add_buffer(compiler *c, uint32_t space, size_t bytes, void **out_block,
                              leat_error *err)
{
    lt_stage *stage = c->stage;
    lt_device *device = space ? stage->program->devices[device_of_space(stage->program, space)]
                              : lt_device_cpu(stage->program->model->context);
    lt_buffer *buffer = lt_arena_alloc(&stage->arena, sizeof(*buffer), 16);
    if (buffer == NULL) {
        return no_memory(err);
    }
    leat_status status = lt_device_alloc(device, bytes, &buffer->block, err);
    if (status == LEAT_OK) {
        buffer->device = device;
        buffer->bytes = bytes;
        buffer->next = stage->buffers;
        stage->buffers = buffer;
        *out_block = buffer->block;
    }
    return status;
}

/* Bytes of a value whose shape is known. */
static leat_status value_bytes(const compiler *c, uint32_t value, size_t *out_bytes,
                               leat_error *err)
{
    const leat_value *v = &c->stage->values[value];
    if (v->rank < 0 || !lt_shape_bytes(v->dtype, v->rank, v->shape, out_bytes)) {
        return lt_fail(err, LEAT_INTERNAL, "the shape of '%s' is not known", v->name);
    }
    return LEAT_OK;
}

/* The first output of the model that is this value and not complete yet; n_outputs: none. */
static uint32_t output_of_value(const compiler *c, uint32_t value)
{
    uint32_t i = 0;
    while (i < c->graph->n_outputs && (c->graph->outputs[i] != value || c->stage->output_done[i])) {
        i++;
    }
    return i;
}

/* A place for a value in a space: the caller's buffer if it is an output, else one of the plan's.
 */
static leat_status make_place(compiler *c, uint32_t space, uint32_t value, leat_error *err)
{
    lt_ref *ref = ref_at(c, space, value);
    uint32_t output = space == 0 ? output_of_value(c, value) : c->graph->n_outputs;
    if (output != c->graph->n_outputs) {
        *ref = (lt_ref){LT_REF_OUTPUT, output, NULL};
        return LEAT_OK;
    }
    size_t bytes;
    void *block = NULL;
    leat_status status = value_bytes(c, value, &bytes, err);
    status = status ? status : add_buffer(c, space, bytes, &block, err);
    if (status == LEAT_OK) {
        *ref = (lt_ref){LT_REF_FIXED, 0, block};
    }
    return status;
}

static leat_status add_copy(compiler *c, uint32_t device, int32_t kind, lt_ref target,
                            lt_ref source, size_t bytes, leat_error *err)
{
    lt_action *copy = bytes ? add_action(c, LT_ACTION_COPY, device) : NULL;
    if (bytes == 0) {
        return LEAT_OK;
    }
    if (copy == NULL) {
        return no_memory(err);
    }
    copy->copy_kind = kind;
    copy->target = target;
    copy->source = source;
    copy->bytes = bytes;
    c->used[device] = c->used[device] || kind != 0;
    return LEAT_OK;
}

static leat_status add_wait(compiler *c, uint32_t device, leat_error *err)
{
    c->used[device] = false;
    return add_action(c, LT_ACTION_WAIT, device) ? LEAT_OK : no_memory(err);
}

static uint32_t space_with_value(const compiler *c, uint32_t value)
{
    uint32_t space = 0;
    while (space < c->n_spaces && ref_at(c, space, value)->kind == LT_REF_NONE) {
        space++;
    }
    return space;
}

/* Brings a value to host memory. */
static leat_status bring_to_host(compiler *c, uint32_t value, leat_error *err)
{
    lt_ref *host = ref_at(c, 0, value);
    if (host->kind != LT_REF_NONE) {
        return LEAT_OK;
    }
    const leat_value *v = &c->stage->values[value];
    if (v->data != NULL) {
        *host = (lt_ref){LT_REF_FIXED, 0, (void *)v->data};
        return LEAT_OK;
    }
    uint32_t space = space_with_value(c, value);
    if (space == c->n_spaces) {
        return lt_fail(err, LEAT_INTERNAL, "nothing has made the value '%s'", v->name);
    }
    size_t bytes;
    leat_status status = value_bytes(c, value, &bytes, err);
    status = status ? status : make_place(c, 0, value, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t device = device_of_space(c->stage->program, space);
    status =
        add_copy(c, device, LEAT_COPY_DEVICE_TO_HOST, *host, *ref_at(c, space, value), bytes, err);
    return status ? status : add_wait(c, device, err);
}

/* Brings a value to the space of a device. */
static leat_status bring(compiler *c, uint32_t device, uint32_t value, leat_error *err)
{
    uint32_t space = lt_plan_space(c->stage->program, device);
    leat_status status = LEAT_OK;
    if (ref_at(c, space, value)->kind != LT_REF_NONE) {
        return LEAT_OK;
    }
    status = bring_to_host(c, value, err);
    if (space == 0 || status != LEAT_OK) {
        return status;
    }
    size_t bytes;
    status = value_bytes(c, value, &bytes, err);
    status = status ? status : make_place(c, space, value, err);
    return status ? status
                  : add_copy(c, device, LEAT_COPY_HOST_TO_DEVICE, *ref_at(c, space, value),
                             *ref_at(c, 0, value), bytes, err);
}

/* ------------------------------------------------------------------------------------------------
 * Segments
 * --------------------------------------------------------------------------------------------- */

/* Finds which values leave the part that makes them. */
static void find_leaving(compiler *c)
{
    const lt_placement *p = &c->placement;
    const lt_graph *graph = c->graph;
    for (uint32_t part = 0; part < p->n_parts; part++) {
        for (uint32_t i = 0; i < p->parts[part].count; i++) {
            const leat_node *node = graph->nodes[p->nodes[p->parts[part].first + i]];
            for (uint32_t k = 0; k < node->n_inputs; k++) {
                uint32_t v = node->inputs[k];
                if (v != LEAT_NO_VALUE && c->part_of[v] != 0 && c->part_of[v] != part + 1) {
                    c->leaves[v] = true;
                }
            }
            for (uint32_t k = 0; k < node->n_outputs; k++) {
                if (node->outputs[k] != LEAT_NO_VALUE) {
                    c->part_of[node->outputs[k]] = part + 1;
                }
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        c->leaves[graph->outputs[i]] = true;
    }
    if (c->stage->barrier != LEAT_NO_VALUE) {
        c->leaves[c->stage->barrier] = true;
    }
    for (uint32_t i = c->stage->barrier_node; i < graph->n_nodes; i++) {
        for (uint32_t k = 0; k < graph->nodes[i]->n_inputs; k++) {
            if (graph->nodes[i]->inputs[k] != LEAT_NO_VALUE) {
                c->leaves[graph->nodes[i]->inputs[k]] = true;
            }
        }
    }
}

/* Lists inputs and outputs of a part. */
static leat_status view_part(compiler *c, uint32_t part_index, leat_segment *out_view,
                             leat_error *err)
{
    const lt_part *part = &c->placement.parts[part_index];
    const uint32_t *node_ids = c->placement.nodes + part->first;
    lt_arena *arena = &c->stage->arena;
    size_t most_in = 0, most_out = 0;
    leat_node *nodes = lt_arena_array(arena, part->count, sizeof(*nodes));
    if (nodes == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < part->count; i++) {
        nodes[i] = *c->graph->nodes[node_ids[i]];
        most_in += nodes[i].n_inputs;
        most_out += nodes[i].n_outputs;
    }
    uint32_t *inputs = lt_arena_array(arena, most_in + 1, sizeof(*inputs));
    uint32_t *outputs = lt_arena_array(arena, most_out + 1, sizeof(*outputs));
    if (inputs == NULL || outputs == NULL) {
        return no_memory(err);
    }
    *out_view = (leat_segment){.n_nodes = part->count,
                               .nodes = nodes,
                               .n_values = c->graph->n_values,
                               .values = c->stage->values,
                               .inputs = inputs,
                               .outputs = outputs};
    for (uint32_t i = 0; i < part->count; i++) {
        for (uint32_t k = 0; k < nodes[i].n_inputs; k++) {
            uint32_t v = nodes[i].inputs[k];
            if (v == LEAT_NO_VALUE || c->stage->values[v].data != NULL ||
                c->part_of[v] == part_index + 1 || c->stamp[v] == part_index + 1) {
                continue;
            }
            c->stamp[v] = part_index + 1;
            inputs[out_view->n_inputs++] = v;
        }
        for (uint32_t k = 0; k < nodes[i].n_outputs; k++) {
            uint32_t v = nodes[i].outputs[k];
            if (v != LEAT_NO_VALUE && c->leaves[v]) {
                outputs[out_view->n_outputs++] = v;
            }
        }
    }
    return LEAT_OK;
}

static void bind_slot(lt_segment *segment, const void **slot, const lt_ref *ref)
{
    if (ref->kind == LT_REF_FIXED) {
        *slot = ref->pointer;
    } else {
        segment->patches[segment->n_patches++] = (lt_patch){slot, ref->kind, ref->index};
    }
}

/* Fills the segment's pointer tables and adds its launch. */
static leat_status add_launch(compiler *c, lt_segment *segment, const leat_segment *view,
                              leat_error *err)
{
    lt_arena *arena = &c->stage->arena;
    uint32_t space = lt_plan_space(c->stage->program, segment->device);
    segment->inputs = lt_arena_array(arena, view->n_inputs + 1, sizeof(void *));
    segment->outputs = lt_arena_array(arena, view->n_outputs + 1, sizeof(void *));
    segment->patches =
        lt_arena_array(arena, view->n_inputs + view->n_outputs + 1, sizeof(lt_patch));
    if (segment->inputs == NULL || segment->outputs == NULL || segment->patches == NULL) {
        return no_memory(err);
    }
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < view->n_inputs && status == LEAT_OK; i++) {
        status = bring(c, segment->device, view->inputs[i], err);
        bind_slot(segment, &segment->inputs[i], ref_at(c, space, view->inputs[i]));
    }
    for (size_t i = 0; i < view->n_outputs && status == LEAT_OK; i++) {
        status = make_place(c, space, view->outputs[i], err);
        bind_slot(segment, (const void **)&segment->outputs[i], ref_at(c, space, view->outputs[i]));
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_action *action = add_action(c, LT_ACTION_LAUNCH, segment->device);
    if (action == NULL) {
        return no_memory(err);
    }
    action->segment = segment;
    c->used[segment->device] = space != 0;
    return LEAT_OK;
}

static leat_status report_progress(const compiler *c, uint32_t part_index, leat_error *err)
{
    const lt_part *part = &c->placement.parts[part_index];
    if (c->desc->progress != NULL &&
        c->desc->progress(c->desc->progress_user, "compile", part->first + part->count,
                          c->placement.n_nodes) != 0) {
        return lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
    }
    return LEAT_OK;
}

static leat_status compile_part(compiler *c, uint32_t part_index, uint32_t *out_refused,
                                leat_error *err)
{
    lt_stage *stage = c->stage;
    const lt_part *part = &c->placement.parts[part_index];
    lt_segment *segment = &stage->segments[part_index];
    leat_segment view;
    leat_status status = view_part(c, part_index, &view, err);
    if (status != LEAT_OK) {
        return status;
    }
    segment->device = part->device;
    segment->nodes = c->placement.nodes + part->first;
    segment->n_nodes = part->count;
    if (c->desc->profile) {
        segment->node_ns = lt_arena_array(&stage->arena, part->count, sizeof(uint64_t));
        if (segment->node_ns == NULL) {
            return no_memory(err);
        }
    }
    status = lt_executor_compile(stage->program->devices[part->device], &view,
                                 stage->program->weights[part->device], &segment->executable,
                                 out_refused, err);
    if (status != LEAT_OK) {
        return status;
    }
    stage->n_segments = part_index + 1;
    size_t bytes = lt_executable_requirements(segment->executable).workspace_bytes;
    size_t *most = &stage->workspace_bytes[part->device];
    *most = bytes > *most ? bytes : *most;
    status = add_launch(c, segment, &view, err);
    return status ? status : report_progress(c, part_index, err);
}

/* ------------------------------------------------------------------------------------------------
 * Outputs of the model
 * --------------------------------------------------------------------------------------------- */

/* Completes output i if its value is there by now. */
static leat_status finish_output(compiler *c, uint32_t i, leat_error *err)
{
    lt_stage *stage = c->stage;
    uint32_t value = c->graph->outputs[i];
    const leat_value *v = &stage->values[value];
    if (stage->output_done[i] || (v->data == NULL && space_with_value(c, value) == c->n_spaces)) {
        return LEAT_OK;
    }
    lt_stage_output *output = &stage->outputs[stage->n_outputs++];
    output->index = i;
    output->dtype = v->dtype;
    output->rank = v->rank;
    memcpy(output->shape, v->shape, sizeof(output->shape));
    leat_status status = value_bytes(c, value, &output->bytes, err);
    status = status ? status : bring_to_host(c, value, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_ref *host = ref_at(c, 0, value);
    if (host->kind != LT_REF_OUTPUT || host->index != i) {
        status = add_copy(c, 0, 0, (lt_ref){LT_REF_OUTPUT, i, NULL}, *host, output->bytes, err);
    }
    stage->output_done[i] = true;
    return status;
}

static leat_status finish(compiler *c, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < c->graph->n_outputs && status == LEAT_OK; i++) {
        status = finish_output(c, i, err);
    }
    if (status == LEAT_OK && c->stage->barrier != LEAT_NO_VALUE) {
        status = bring_to_host(c, c->stage->barrier, err);
    }
    for (uint32_t d = 0; d < c->stage->program->n_devices && status == LEAT_OK; d++) {
        if (c->used[d]) {
            status = add_wait(c, d, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 */

/* Undoes an attempt that a device refused. */
static void forget(compiler *c, const lt_ref *refs_before)
{
    lt_stage *stage = c->stage;
    for (uint32_t i = 0; i < stage->n_segments; i++) {
        lt_executable_destroy(stage->segments[i].executable);
        stage->segments[i].executable = NULL;
    }
    for (lt_buffer *buffer = stage->buffers; buffer != NULL; buffer = buffer->next) {
        lt_device_free(buffer->device, buffer->block, buffer->bytes);
    }
    stage->buffers = NULL;
    stage->n_segments = 0;
    stage->n_actions = 0;
    memset(stage->workspace_bytes, 0, sizeof(stage->workspace_bytes));
    memcpy(stage->refs, refs_before, (size_t)c->n_spaces * c->graph->n_values * sizeof(lt_ref));
}

static leat_status start_attempt(compiler *c, leat_error *err)
{
    lt_arena *arena = &c->stage->arena;
    size_t n_values = c->graph->n_values + 1u;
    c->part_of = lt_arena_array(arena, n_values, sizeof(*c->part_of));
    c->stamp = lt_arena_array(arena, n_values, sizeof(*c->stamp));
    c->leaves = lt_arena_array(arena, n_values, sizeof(*c->leaves));
    c->used = lt_arena_array(arena, c->stage->program->n_devices, sizeof(*c->used));
    c->stage->segments =
        lt_arena_array(arena, c->placement.n_parts + 1u, sizeof(*c->stage->segments));
    if (c->part_of == NULL || c->stamp == NULL || c->leaves == NULL || c->used == NULL ||
        c->stage->segments == NULL) {
        return no_memory(err);
    }
    find_leaving(c);
    return LEAT_OK;
}

/* Places and compiles everything once. *out_refused: node and device that the device refused, as
 * an index into `refused`; SIZE_MAX: none. */
static leat_status attempt(compiler *c, const uint32_t *nodes, uint32_t n_nodes,
                           const bool *refused, size_t *out_refused, leat_error *err)
{
    *out_refused = SIZE_MAX;
    leat_status status = lt_plan_place(c->stage, nodes, n_nodes, refused, &c->placement, err);
    status = status ? status : start_attempt(c, err);
    for (uint32_t part = 0; part < c->placement.n_parts && status == LEAT_OK; part++) {
        uint32_t culprit;
        status = compile_part(c, part, &culprit, err);
        if (status == LEAT_UNSUPPORTED && culprit != LEAT_NO_VALUE) {
            uint32_t node = c->placement.nodes[c->placement.parts[part].first + culprit];
            *out_refused =
                (size_t)node * c->stage->program->n_devices + c->placement.parts[part].device;
        }
    }
    return status;
}

leat_status lt_plan_compile(lt_stage *stage, const lt_stage_desc *desc, const uint32_t *nodes,
                            uint32_t n_nodes, leat_error *err)
{
    const lt_program *program = stage->program;
    compiler c = {
        .stage = stage, .desc = desc, .graph = program->graph, .n_spaces = lt_plan_spaces(program)};
    size_t n_refs = (size_t)c.n_spaces * c.graph->n_values;
    bool *refused =
        lt_arena_array(&stage->arena, (size_t)c.graph->n_nodes * program->n_devices + 1, 1);
    lt_ref *before = lt_arena_copy(&stage->arena, stage->refs, n_refs * sizeof(lt_ref));
    stage->outputs =
        lt_arena_array(&stage->arena, c.graph->n_outputs + 1u, sizeof(*stage->outputs));
    if (refused == NULL || before == NULL || stage->outputs == NULL) {
        return no_memory(err);
    }
    leat_error last = {0}; /* what the device said that refused last */
    for (;;) {
        size_t refusal;
        leat_error now = {0};
        leat_status status = attempt(&c, nodes, n_nodes, refused, &refusal, &now);
        if (status == LEAT_OK) {
            return finish(&c, err);
        }
        /* Another device may take the node; with none left the refusal is the answer. */
        if (refusal == SIZE_MAX || refused[refusal] || program->n_devices == 1) {
            bool none_left = status == LEAT_UNSUPPORTED && last.message[0] != '\0';
            return lt_fail(err, status, "%s", none_left ? last.message : now.message);
        }
        refused[refusal] = true;
        last = now;
        forget(&c, before);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stage, second half: segments are compiled and their launches listed. */
#include "base/error.h"
#include "runtime/plan_compiler.h"

#include <string.h>

static void leave(void *leaves, uint32_t value)
{
    ((bool *)leaves)[value] = true;
}

/* Finds which values leave the part that makes them. */
static void find_leaving(lt_plan_compiler *c)
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
        lt_plan_each_read(graph, i, leave, c->leaves);
    }
}

/* Lists inputs and outputs of a part. */
static leat_status view_part(lt_plan_compiler *c, uint32_t part_index, leat_segment *out_view,
                             leat_error *err)
{
    const lt_part *part = &c->placement.parts[part_index];
    const uint32_t *node_ids = c->placement.nodes + part->first;
    lt_arena *arena = &c->stage->arena;
    size_t most_in = 0, most_out = 0;
    leat_node *nodes = lt_arena_array(arena, part->count, sizeof(*nodes));
    if (nodes == NULL) {
        return lt_plan_no_memory(err);
    }
    for (uint32_t i = 0; i < part->count; i++) {
        nodes[i] = *c->graph->nodes[node_ids[i]];
        most_in += nodes[i].n_inputs;
        most_out += nodes[i].n_outputs;
    }
    uint32_t *inputs = lt_arena_array(arena, most_in + 1, sizeof(*inputs));
    uint32_t *outputs = lt_arena_array(arena, most_out + 1, sizeof(*outputs));
    if (inputs == NULL || outputs == NULL) {
        return lt_plan_no_memory(err);
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
static leat_status add_launch(lt_plan_compiler *c, lt_segment *segment, const leat_segment *view,
                              leat_error *err)
{
    lt_arena *arena = &c->stage->arena;
    uint32_t space = lt_plan_space(c->stage->program, segment->device);
    segment->inputs = lt_arena_array(arena, view->n_inputs + 1, sizeof(void *));
    segment->outputs = lt_arena_array(arena, view->n_outputs + 1, sizeof(void *));
    segment->patches =
        lt_arena_array(arena, view->n_inputs + view->n_outputs + 1, sizeof(lt_patch));
    if (segment->inputs == NULL || segment->outputs == NULL || segment->patches == NULL) {
        return lt_plan_no_memory(err);
    }
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < view->n_inputs && status == LEAT_OK; i++) {
        status = lt_plan_bring(c, segment->device, view->inputs[i], err);
        bind_slot(segment, &segment->inputs[i], lt_plan_ref(c, space, view->inputs[i]));
    }
    for (size_t i = 0; i < view->n_outputs && status == LEAT_OK; i++) {
        status = lt_plan_make_place(c, space, view->outputs[i], err);
        bind_slot(segment, (const void **)&segment->outputs[i],
                  lt_plan_ref(c, space, view->outputs[i]));
    }
    if (status == LEAT_OK && space == 0) {
        status = lt_plan_settle(c, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_action *action = lt_plan_add_action(c, LT_ACTION_LAUNCH, segment->device);
    if (action == NULL) {
        return lt_plan_no_memory(err);
    }
    action->segment = segment;
    c->used[segment->device] = c->used[segment->device] || space != 0;
    return LEAT_OK;
}

static leat_status report_progress(const lt_plan_compiler *c, uint32_t part_index, leat_error *err)
{
    const lt_part *part = &c->placement.parts[part_index];
    if (c->desc->progress != NULL &&
        c->desc->progress(c->desc->progress_user, "compile", part->first + part->count,
                          c->placement.n_nodes) != 0) {
        return lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
    }
    return LEAT_OK;
}

static leat_status compile_part(lt_plan_compiler *c, uint32_t part_index, uint32_t *out_refused,
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
            return lt_plan_no_memory(err);
        }
    }
    const lt_compile_context context = {.weights = stage->program->weights[part->device],
                                        .options = &stage->program->desc.options,
                                        .tuning = c->desc->tuning,
                                        .constant_bytes = stage->program->constant_bytes,
                                        .progress = c->desc->progress,
                                        .progress_user = c->desc->progress_user};
    status = lt_executor_compile(stage->program->devices[part->device], &view, &context,
                                 &segment->executable, out_refused, err);
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

/* Undoes an attempt that a device refused. */
static void forget(lt_plan_compiler *c, const lt_ref *refs_before)
{
    lt_stage *stage = c->stage;
    for (uint32_t i = 0; i < stage->n_segments; i++) {
        lt_executable_destroy(stage->segments[i].executable);
        stage->segments[i].executable = NULL;
    }
    lt_plan_free_buffers(stage);
    stage->n_segments = 0;
    stage->n_actions = 0;
    memset(stage->workspace_bytes, 0, sizeof(stage->workspace_bytes));
    memcpy(stage->refs, refs_before, (size_t)c->n_spaces * c->graph->n_values * sizeof(lt_ref));
}

static leat_status start_attempt(lt_plan_compiler *c, leat_error *err)
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
        return lt_plan_no_memory(err);
    }
    find_leaving(c);
    return LEAT_OK;
}

/* Places and compiles everything once. *out_refused: node and device that the device refused, as
 * an index into `refused`; SIZE_MAX: none. */
static leat_status attempt(lt_plan_compiler *c, const uint32_t *nodes, uint32_t n_nodes,
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
    lt_plan_compiler c = {.stage = stage,
                          .desc = desc,
                          .graph = stage->body->graph,
                          .n_spaces = lt_plan_spaces(program)};
    size_t n_refs = (size_t)c.n_spaces * c.graph->n_values;
    bool *refused =
        lt_arena_array(&stage->arena, (size_t)c.graph->n_nodes * program->n_devices + 1, 1);
    lt_ref *before = lt_arena_copy(&stage->arena, stage->refs, n_refs * sizeof(lt_ref));
    stage->outputs =
        lt_arena_array(&stage->arena, c.graph->n_outputs + 1u, sizeof(*stage->outputs));
    if (refused == NULL || before == NULL || stage->outputs == NULL) {
        return lt_plan_no_memory(err);
    }
    leat_error last = {0}; /* what the device said that refused last */
    for (;;) {
        size_t refusal;
        leat_error now = {0};
        leat_status status = attempt(&c, nodes, n_nodes, refused, &refusal, &now);
        if (status == LEAT_OK) {
            return lt_plan_finish(&c, err);
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

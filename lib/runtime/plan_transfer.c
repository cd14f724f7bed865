/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stage: spaces, buffers, copies between memories, outputs of the model. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/plan_compiler.h"

#include <string.h>

/* Pinned memory of one value: more could starve the system. */
#define MOST_STAGING ((size_t)1 << 30)

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

lt_action *lt_plan_add_action(lt_plan_compiler *c, lt_action_kind kind, uint32_t device)
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

static void keep_buffer(lt_stage *stage, lt_buffer *buffer, lt_device *device, size_t bytes)
{
    buffer->device = device;
    buffer->bytes = bytes;
    buffer->next = stage->buffers;
    stage->buffers = buffer;
}

static leat_status add_buffer(lt_plan_compiler *c, uint32_t space, size_t bytes, void **out_block,
                              leat_error *err)
{
    lt_stage *stage = c->stage;
    lt_device *device = space ? stage->program->devices[device_of_space(stage->program, space)]
                              : lt_device_cpu(stage->program->model->context);
    lt_buffer *buffer = lt_arena_alloc(&stage->arena, sizeof(*buffer), 16);
    if (buffer == NULL) {
        return lt_plan_no_memory(err);
    }
    leat_status status = lt_device_alloc(device, bytes, &buffer->block, err);
    if (status == LEAT_OK) {
        buffer->pinned = false;
        keep_buffer(stage, buffer, device, bytes);
        *out_block = buffer->block;
    }
    return status;
}

/* Pinned memory for a copy; *out_block NULL where it is not to be had, or too much. */
static leat_status add_staging(lt_plan_compiler *c, uint32_t device, size_t bytes, void **out_block,
                               leat_error *err)
{
    lt_stage *stage = c->stage;
    lt_device *from = stage->program->devices[device];
    lt_buffer *buffer = lt_arena_alloc(&stage->arena, sizeof(*buffer), 16);
    *out_block = NULL;
    if (buffer == NULL) {
        return lt_plan_no_memory(err);
    }
    buffer->block = bytes <= MOST_STAGING ? lt_device_alloc_pinned(from, bytes) : NULL;
    if (buffer->block != NULL) {
        buffer->pinned = true;
        keep_buffer(stage, buffer, from, bytes);
        *out_block = buffer->block;
    }
    return LEAT_OK;
}

void lt_plan_free_buffers(lt_stage *stage)
{
    for (lt_buffer *buffer = stage->buffers; buffer != NULL; buffer = buffer->next) {
        (buffer->pinned ? lt_device_free_pinned : lt_device_free)(buffer->device, buffer->block,
                                                                  buffer->bytes);
    }
    stage->buffers = NULL;
}

/* Bytes of a value whose shape is known. */
static leat_status value_bytes(const lt_plan_compiler *c, uint32_t value, size_t *out_bytes,
                               leat_error *err)
{
    const leat_value *v = &c->stage->values[value];
    if (v->rank < 0 || !lt_shape_bytes(v->dtype, v->rank, v->shape, out_bytes)) {
        return lt_fail(err, LEAT_INTERNAL, "the shape of '%s' is not known", v->name);
    }
    return LEAT_OK;
}

/* The first output of the model that is this value, goes to that space and is not complete yet;
 * n_outputs: none. */
static uint32_t output_of_value(const lt_plan_compiler *c, uint32_t space, uint32_t value)
{
    uint32_t i = 0;
    while (i < c->graph->n_outputs && (c->graph->outputs[i] != value || c->stage->output_done[i] ||
                                       c->stage->output_spaces[i] != space)) {
        i++;
    }
    return i;
}

leat_status lt_plan_make_place(lt_plan_compiler *c, uint32_t space, uint32_t value, leat_error *err)
{
    lt_ref *ref = lt_plan_ref(c, space, value);
    uint32_t output = output_of_value(c, space, value);
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

/* Whether a place of the plan's own is pinned memory. */
static bool is_pinned_place(const lt_plan_compiler *c, const void *place)
{
    const lt_buffer *buffer = c->stage->buffers;
    while (buffer != NULL && buffer->block != place) {
        buffer = buffer->next;
    }
    return buffer != NULL && buffer->pinned;
}

static leat_status add_copy(lt_plan_compiler *c, uint32_t device, int32_t kind, lt_ref target,
                            lt_ref source, size_t bytes, leat_error *err)
{
    lt_action *copy = bytes ? lt_plan_add_action(c, LT_ACTION_COPY, device) : NULL;
    if (bytes == 0) {
        return LEAT_OK;
    }
    if (copy == NULL) {
        return lt_plan_no_memory(err);
    }
    copy->copy_kind = kind;
    copy->target = target;
    copy->source = source;
    copy->bytes = bytes;
    if (kind == 0) {
        return LEAT_OK;
    }
    c->used[device] = true;
    if (kind == LEAT_COPY_DEVICE_TO_DEVICE) {
        return LEAT_OK;
    }
    const lt_ref *host = kind == LEAT_COPY_HOST_TO_DEVICE ? &source : &target;
    void *staging = NULL;
    leat_status status = host->kind == LT_REF_FIXED && is_pinned_place(c, host->pointer)
                             ? LEAT_OK
                             : add_staging(c, device, bytes, &staging, err);
    c->stage->actions[c->stage->n_actions - 1].staging = staging;
    return status;
}

/* The wait, and then what the copies since the last one have left in staging memory. */
static leat_status add_wait(lt_plan_compiler *c, uint32_t device, leat_error *err)
{
    lt_stage *stage = c->stage;
    c->used[device] = false;
    if (lt_plan_add_action(c, LT_ACTION_WAIT, device) == NULL) {
        return lt_plan_no_memory(err);
    }
    for (uint32_t i = 0, n = stage->n_actions; i < n; i++) {
        lt_action *copy = &stage->actions[i];
        if (copy->kind != LT_ACTION_COPY || copy->copy_kind != LEAT_COPY_DEVICE_TO_HOST ||
            copy->device != device || copy->settled) {
            continue;
        }
        copy->settled = true;
        if (copy->staging != NULL) {
            lt_action *unstage = lt_plan_add_action(c, LT_ACTION_UNSTAGE, device);
            if (unstage == NULL) {
                return lt_plan_no_memory(err);
            }
            unstage->from = i;
        }
    }
    return LEAT_OK;
}

leat_status lt_plan_settle(lt_plan_compiler *c, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < c->stage->n_actions && status == LEAT_OK; i++) {
        const lt_action *copy = &c->stage->actions[i];
        if (copy->kind == LT_ACTION_COPY && copy->copy_kind == LEAT_COPY_DEVICE_TO_HOST &&
            !copy->settled) {
            status = add_wait(c, copy->device, err);
        }
    }
    return status;
}

static uint32_t space_with_value(const lt_plan_compiler *c, uint32_t value)
{
    uint32_t space = 0;
    while (space < c->n_spaces && lt_plan_ref(c, space, value)->kind == LT_REF_NONE) {
        space++;
    }
    return space;
}

/* A place in host memory for a value that comes from a device: pinned, if it is the plan's own. */
static leat_status make_host_place(lt_plan_compiler *c, uint32_t device, uint32_t value,
                                   size_t bytes, leat_error *err)
{
    void *block = NULL;
    leat_status status = LEAT_OK;
    if (output_of_value(c, 0, value) == c->graph->n_outputs) {
        status = add_staging(c, device, bytes ? bytes : 1, &block, err);
    }
    if (block != NULL) {
        *lt_plan_ref(c, 0, value) = (lt_ref){LT_REF_FIXED, 0, block};
    }
    return status || block ? status : lt_plan_make_place(c, 0, value, err);
}

/* Brings a value to host memory; it is there after the next lt_plan_settle. */
static leat_status bring_to_host(lt_plan_compiler *c, uint32_t value, leat_error *err)
{
    lt_ref *host = lt_plan_ref(c, 0, value);
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
    uint32_t device = device_of_space(c->stage->program, space);
    leat_status status = value_bytes(c, value, &bytes, err);
    status = status ? status : make_host_place(c, device, value, bytes, err);
    return status ? status
                  : add_copy(c, device, LEAT_COPY_DEVICE_TO_HOST, *host,
                             *lt_plan_ref(c, space, value), bytes, err);
}

leat_status lt_plan_bring(lt_plan_compiler *c, uint32_t device, uint32_t value, leat_error *err)
{
    uint32_t space = lt_plan_space(c->stage->program, device);
    leat_status status = LEAT_OK;
    if (lt_plan_ref(c, space, value)->kind != LT_REF_NONE) {
        return LEAT_OK;
    }
    status = bring_to_host(c, value, err);
    if (space == 0 || status != LEAT_OK) {
        return status;
    }
    size_t bytes;
    status = lt_plan_ref(c, 0, value)->kind == LT_REF_INPUT ? LEAT_OK : lt_plan_settle(c, err);
    status = status ? status : value_bytes(c, value, &bytes, err);
    status = status ? status : lt_plan_make_place(c, space, value, err);
    return status ? status
                  : add_copy(c, device, LEAT_COPY_HOST_TO_DEVICE, *lt_plan_ref(c, space, value),
                             *lt_plan_ref(c, 0, value), bytes, err);
}

/* ------------------------------------------------------------------------------------------------
 * Outputs of the model
 * --------------------------------------------------------------------------------------------- */

/* Lists output i if its value is there by now, and brings it to the memory where it goes. */
static leat_status begin_output(lt_plan_compiler *c, uint32_t i, leat_error *err)
{
    lt_stage *stage = c->stage;
    uint32_t value = c->graph->outputs[i];
    const leat_value *v = &stage->values[value];
    if (stage->output_done[i] || (v->data == NULL && space_with_value(c, value) == c->n_spaces)) {
        return LEAT_OK;
    }
    lt_stage_output *output = &stage->outputs[stage->n_outputs++];
    output->index = i;
    output->over = LEAT_NO_VALUE;
    output->dtype = v->dtype;
    output->rank = v->rank;
    memcpy(output->shape, v->shape, sizeof(output->shape));
    if (lt_is_container(v->dtype)) { /* given out where it is */
        stage->output_done[i] = true;
        return LEAT_OK;
    }
    uint32_t space = stage->output_spaces[i], device = device_of_space(stage->program, space);
    leat_status status = value_bytes(c, value, &output->bytes, err);
    if (status == LEAT_OK) {
        status = space ? lt_plan_bring(c, device, value, err) : bring_to_host(c, value, err);
    }
    return status;
}

/* Copies an output that is elsewhere in its memory. All others are there by now. */
static leat_status end_output(lt_plan_compiler *c, lt_stage_output *output, leat_error *err)
{
    uint32_t i = output->index, space = c->stage->output_spaces[i];
    const lt_ref *there = lt_plan_ref(c, space, c->graph->outputs[i]);
    bool done = c->stage->output_done[i];
    c->stage->output_done[i] = true;
    if (done || (there->kind == LT_REF_OUTPUT && there->index == i)) {
        return LEAT_OK;
    }
    return add_copy(c, device_of_space(c->stage->program, space),
                    space ? LEAT_COPY_DEVICE_TO_DEVICE : 0, (lt_ref){LT_REF_OUTPUT, i, NULL},
                    *there, output->bytes, err);
}

/* The session's own buffer of an output is where its copy from the device is staged. */
static void use_staging(lt_stage *stage)
{
    for (uint32_t k = 0; k < stage->n_outputs; k++) {
        lt_stage_output *output = &stage->outputs[k];
        for (uint32_t i = 0; i < stage->n_actions; i++) {
            const lt_action *copy = &stage->actions[i];
            if (copy->kind == LT_ACTION_COPY && copy->copy_kind == LEAT_COPY_DEVICE_TO_HOST &&
                copy->staging != NULL && copy->target.kind == LT_REF_OUTPUT &&
                copy->target.index == output->index) {
                output->own = copy->staging;
                output->is_staging = true;
            }
        }
    }
}

typedef struct bringing {
    lt_plan_compiler *compiler;
    leat_status status;
    leat_error *err;
} bringing;

static void bring_read(void *argument, uint32_t value)
{
    bringing *b = argument;
    if (b->status == LEAT_OK && !lt_is_container(b->compiler->stage->values[value].dtype)) {
        b->status = bring_to_host(b->compiler, value, b->err);
    }
}

static const lt_patch *find_patch(const lt_segment *segment, lt_ref_kind kind, uint32_t index)
{
    for (uint32_t p = 0; p < segment->n_patches; p++) {
        if (segment->patches[p].kind == kind && segment->patches[p].index == index) {
            return &segment->patches[p];
        }
    }
    return NULL;
}

/* The stage's only launch; NULL when it has several or none. */
static const lt_segment *only_launch(const lt_stage *stage)
{
    const lt_segment *only = NULL;
    for (uint32_t i = 0; i < stage->n_actions; i++) {
        if (stage->actions[i].kind == LT_ACTION_LAUNCH) {
            if (only != NULL) {
                return NULL;
            }
            only = stage->actions[i].segment;
        }
    }
    return only;
}

/* Whether a copy reads the input. */
static bool is_copied(const lt_stage *stage, uint32_t input)
{
    for (uint32_t i = 0; i < stage->n_actions; i++) {
        const lt_action *action = &stage->actions[i];
        if (action->kind == LT_ACTION_COPY && action->source.kind == LT_REF_INPUT &&
            action->source.index == input) {
            return true;
        }
    }
    return false;
}

/* Which outputs may be the same memory as an input: where there is one launch, what holds for its
 * segment, if both are in its memory and nothing else reads the input. */
static void find_over(const lt_stage *stage)
{
    const lt_segment *segment = only_launch(stage);
    if (stage->parent != NULL || stage->barrier != LEAT_NO_VALUE || stage->at_host ||
        segment == NULL) {
        return;
    }
    for (uint32_t k = 0; k < stage->n_outputs; k++) {
        const lt_patch *to = find_patch(segment, LT_REF_OUTPUT, stage->outputs[k].index);
        size_t slot = to ? (size_t)(to->slot - (const void **)segment->outputs) : SIZE_MAX;
        uint32_t from = lt_executable_over(segment->executable, slot);
        for (uint32_t p = 0; from != LEAT_NO_VALUE && p < segment->n_patches; p++) {
            const lt_patch *patch = &segment->patches[p];
            if (patch->kind == LT_REF_INPUT && patch->slot == &segment->inputs[from] &&
                !is_copied(stage, patch->index)) {
                stage->outputs[k].over = patch->index;
            }
        }
    }
}

static leat_status finish_outputs(lt_plan_compiler *c, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < c->graph->n_outputs && status == LEAT_OK; i++) {
        status = begin_output(c, i, err);
    }
    status = status ? status : lt_plan_settle(c, err);
    for (uint32_t k = 0; k < c->stage->n_outputs && status == LEAT_OK; k++) {
        status = end_output(c, &c->stage->outputs[k], err);
    }
    return status;
}

leat_status lt_plan_finish(lt_plan_compiler *c, leat_error *err)
{
    leat_status status = finish_outputs(c, err);
    if (status == LEAT_OK && c->stage->barrier != LEAT_NO_VALUE) {
        status = bring_to_host(c, c->stage->barrier, err);
    }
    if (status == LEAT_OK && c->stage->at_host) {
        bringing b = {c, LEAT_OK, err};
        lt_plan_each_read(c->graph, c->stage->barrier_node, bring_read, &b);
        status = b.status;
    }
    for (uint32_t d = 0; d < c->stage->program->n_devices && status == LEAT_OK; d++) {
        if (c->used[d]) {
            status = add_wait(c, d, err);
        }
    }
    if (status == LEAT_OK) {
        use_staging(c->stage);
        find_over(c->stage);
        status = lt_plan_find_spans(c->stage, c->desc->graphs && !c->desc->profile, err);
    }
    return status;
}

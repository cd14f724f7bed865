/* SPDX-License-Identifier: Apache-2.0 */
/* Turning a segment into steps: kernels and the pointer table. See steps.h. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/steps_builder.h"

#include <string.h>

leat_status lt_steps_no_memory(const lt_steps_builder *b)
{
    return lt_fail(b->err, LEAT_NO_MEMORY, "no memory to plan a segment of %zu nodes",
                   b->segment->n_nodes);
}

const char *lt_steps_label(const lt_steps_builder *b, const leat_node *node)
{
    if (node->name != NULL && node->name[0] != '\0') {
        return node->name;
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != LEAT_NO_VALUE) {
            const char *name = b->segment->values[node->outputs[i]].name;
            return name ? name : "";
        }
    }
    return "";
}

/* ------------------------------------------------------------------------------------------------
 * Kernels
 * --------------------------------------------------------------------------------------------- */

static leat_status prepare_node(lt_steps_builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    const leat_kernel_node kernel_node = {node, b->segment->values};
    leat_kernel *kernel = &b->steps->kernels[i];
    lt_error_clear(b->err);
    const leat_op_row *row = lt_device_row(b->device, &kernel_node, b->err);
    leat_status status = LEAT_UNSUPPORTED;
    if (row != NULL) {
        status = row->prepare(&kernel_node, b->device->handle, &b->device->context->host, b->plan,
                              kernel, b->err);
    }
    if (status == LEAT_OK && kernel->launch == NULL &&
        (kernel->view_of < 1 || (uint32_t)kernel->view_of > node->n_inputs ||
         node->inputs[kernel->view_of - 1] == LEAT_NO_VALUE ||
         leat_kernel_output(&kernel_node, 0) == NULL)) {
        status = lt_fail(b->err, LEAT_INTERNAL, "prepare gave neither a launch nor a view");
    }
    if (status != LEAT_OK) {
        return lt_fail_within(b->err, status, "node '%s' (%s)", lt_steps_label(b, node), node->op);
    }
    if (lt_custom_find(&b->device->context->custom, node) == NULL) {
        lt_host_skip_empty(&kernel_node, kernel);
    }
    return LEAT_OK;
}

static leat_status prepare_all(lt_steps_builder *b, uint32_t *out_refused)
{
    for (uint32_t i = 0; i < b->segment->n_nodes; i++) {
        leat_status status = prepare_node(b, i);
        if (status != LEAT_OK) {
            *out_refused = i;
            return status;
        }
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * The pointer table
 * --------------------------------------------------------------------------------------------- */

/* Lists are filled in two rounds: the first counts, the second writes. */
static void list_slot(lt_slot_list *list, uint32_t slot)
{
    if (list->slots != NULL) {
        list->slots[list->count] = slot;
    }
    list->count++;
}

static leat_status fill_slot(lt_steps_builder *b, uint32_t value, bool is_read)
{
    lt_steps *steps = b->steps;
    uint32_t slot = b->n_slots++;
    if (value == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    const lt_place *root = lt_steps_root(b, value);
    if (root->kind == PLACE_INPUT) {
        list_slot(&steps->inputs[root->index], slot);
    } else if (root->kind == PLACE_CONSTANT) {
        if (steps->slots != NULL && is_read) {
            const void *block = NULL;
            const leat_value *constant = &b->segment->values[root - b->places];
            leat_status status = lt_host_plan_upload(b->plan, constant, &block, b->err);
            steps->slots[slot] = (void *)block;
            return status;
        }
    } else if (root->output >= 0) {
        list_slot(&steps->outputs[root->output], slot);
    } else {
        if (steps->locals != NULL) {
            steps->locals[steps->n_locals] = (lt_slot_offset){slot, b->items[root->index].offset};
        }
        steps->n_locals++;
    }
    return LEAT_OK;
}

static leat_status fill_step(lt_steps_builder *b, uint32_t node_index)
{
    lt_steps *steps = b->steps;
    const leat_node *node = &b->segment->nodes[node_index];
    const leat_kernel *kernel = &steps->kernels[node_index];
    bool is_copy = lt_steps_is_copy(kernel);
    uint32_t first_in = b->n_slots;
    leat_status status = LEAT_OK;
    uint32_t n_inputs = is_copy ? 1 : node->n_inputs;
    for (uint32_t k = 0; k < n_inputs && status == LEAT_OK; k++) {
        uint32_t from = is_copy ? (uint32_t)kernel->view_of - 1 : k;
        bool unread = !is_copy && k < 32 && (kernel->unread_mask >> k & 1);
        status = fill_slot(b, node->inputs[from], !unread || lt_device_is_host(b->device));
    }
    uint32_t first_out = b->n_slots;
    for (uint32_t k = 0; k < (is_copy ? 1 : node->n_outputs) && status == LEAT_OK; k++) {
        status = fill_slot(b, node->outputs[k], true);
    }
    if (steps->slots != NULL) {
        uint32_t item = b->scratch_items[node_index];
        steps->scratch_offsets[steps->n_steps] =
            item == LEAT_NO_VALUE ? SIZE_MAX : b->items[item].offset;
        steps->steps[steps->n_steps] = (lt_step){
            .launch = kernel->launch,
            .state = kernel->state,
            .args = {.inputs = (const void *const *)(steps->slots + first_in),
                     .outputs = steps->slots + first_out,
                     .host = &b->device->context->host},
            .node = node_index,
        };
    }
    steps->n_steps++;
    return status;
}

/* Copies of outputs that no node writes are charged to the last node. */
static leat_status fill_late_copy(lt_steps_builder *b, const lt_late_copy *copy)
{
    lt_steps *steps = b->steps;
    const leat_value *value = &b->segment->values[copy->value];
    uint32_t first_in = b->n_slots;
    leat_status status = fill_slot(b, copy->value, true);
    uint32_t out = b->n_slots++;
    list_slot(&steps->outputs[copy->output], out);
    if (steps->slots != NULL && status == LEAT_OK) {
        leat_kernel kernel = {0};
        size_t bytes;
        if (!lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes)) {
            return lt_fail(b->err, LEAT_INTERNAL, "the shape of '%s' is not known", value->name);
        }
        status = lt_steps_make_copy(b, bytes, &kernel);
        steps->scratch_offsets[steps->n_steps] = SIZE_MAX;
        steps->steps[steps->n_steps] = (lt_step){
            .launch = kernel.launch,
            .state = kernel.state,
            .args = {.inputs = (const void *const *)(steps->slots + first_in),
                     .outputs = steps->slots + out,
                     .host = &b->device->context->host},
            .node = (uint32_t)b->segment->n_nodes - 1,
        };
    }
    steps->n_steps++;
    return status;
}

static leat_status fill_round(lt_steps_builder *b)
{
    lt_steps *steps = b->steps;
    leat_status status = LEAT_OK;
    b->n_slots = steps->n_steps = steps->n_locals = 0;
    for (uint32_t i = 0; i < steps->n_inputs; i++) {
        steps->inputs[i].count = 0;
    }
    for (uint32_t i = 0; i < steps->n_outputs; i++) {
        steps->outputs[i].count = 0;
    }
    for (uint32_t i = 0; i < steps->n_nodes && status == LEAT_OK; i++) {
        if (steps->kernels[i].launch != NULL) {
            status = fill_step(b, i);
        }
    }
    for (uint32_t i = 0; i < b->n_copies && status == LEAT_OK; i++) {
        status = fill_late_copy(b, &b->copies[i]);
    }
    return status;
}

static bool allocate_lists(lt_arena *arena, lt_slot_list *lists, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        lists[i].slots = lt_arena_array(arena, lists[i].count + 1u, sizeof(uint32_t));
        if (lists[i].slots == NULL) {
            return false;
        }
    }
    return true;
}

static leat_status fill_table(lt_steps_builder *b)
{
    lt_steps *steps = b->steps;
    lt_arena *arena = &b->plan->arena;
    leat_status status = fill_round(b);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t n_steps = steps->n_steps;
    steps->slots = lt_arena_array(arena, b->n_slots + 1u, sizeof(void *));
    steps->locals = lt_arena_array(arena, steps->n_locals + 1u, sizeof(*steps->locals));
    steps->steps = lt_arena_array(arena, n_steps + 1u, sizeof(*steps->steps));
    steps->scratch_offsets = lt_arena_array(arena, n_steps + 1u, sizeof(size_t));
    if (steps->slots == NULL || steps->locals == NULL || steps->steps == NULL ||
        steps->scratch_offsets == NULL || !allocate_lists(arena, steps->inputs, steps->n_inputs) ||
        !allocate_lists(arena, steps->outputs, steps->n_outputs)) {
        return lt_steps_no_memory(b);
    }
    return fill_round(b);
}

/* ------------------------------------------------------------------------------------------------
 */

static leat_status allocate(lt_steps_builder *b)
{
    const leat_segment *s = b->segment;
    lt_steps *steps = b->steps;
    lt_arena *arena = &b->plan->arena;
    steps->n_nodes = (uint32_t)s->n_nodes;
    steps->n_inputs = (uint32_t)s->n_inputs;
    steps->n_outputs = (uint32_t)s->n_outputs;
    steps->kernels = lt_arena_array(arena, s->n_nodes + 1, sizeof(*steps->kernels));
    steps->labels = lt_arena_array(arena, s->n_nodes + 1, sizeof(*steps->labels));
    steps->inputs = lt_arena_array(arena, s->n_inputs + 1, sizeof(*steps->inputs));
    steps->outputs = lt_arena_array(arena, s->n_outputs + 1, sizeof(*steps->outputs));
    steps->over = lt_arena_array(arena, s->n_outputs + 1, sizeof(*steps->over));
    b->places = lt_arena_array(&b->scratch, s->n_values + 1, sizeof(*b->places));
    b->copies = lt_arena_array(&b->scratch, s->n_outputs + 1, sizeof(*b->copies));
    b->items = lt_arena_array(&b->scratch, s->n_values + s->n_nodes + 1, sizeof(*b->items));
    b->scratch_items = lt_arena_array(&b->scratch, s->n_nodes + 1, sizeof(uint32_t));
    if (steps->kernels == NULL || steps->labels == NULL || steps->inputs == NULL ||
        steps->outputs == NULL || steps->over == NULL || b->places == NULL || b->copies == NULL ||
        b->items == NULL || b->scratch_items == NULL) {
        return lt_steps_no_memory(b);
    }
    for (size_t i = 0; i < s->n_nodes; i++) {
        steps->labels[i] = lt_steps_label(b, &s->nodes[i]);
    }
    return LEAT_OK;
}

leat_status lt_steps_build(lt_device *device, const leat_segment *segment, leat_plan *plan,
                           lt_steps *out_steps, uint32_t *out_refused, leat_error *err)
{
    memset(out_steps, 0, sizeof(*out_steps));
    out_steps->device = device;
    if (segment->n_nodes == 0 || segment->n_nodes >= UINT32_MAX / 8 ||
        segment->n_values >= UINT32_MAX / 8) {
        return lt_fail(err, LEAT_INVALID, "a segment of %zu nodes", segment->n_nodes);
    }
    lt_steps_builder b = {.segment = segment, .device = device, .plan = plan, .steps = out_steps};
    leat_error own = {0};
    b.err = err ? err : &own;
    lt_arena_init(&b.scratch, &device->context->memory, 0);
    leat_status status = allocate(&b);
    status = status ? status : prepare_all(&b, out_refused);
    status = status ? status : lt_steps_place(&b);
    if (status == LEAT_OK) {
        lt_steps_find_over(&b);
    }
    status = status ? status : fill_table(&b);
    lt_arena_destroy(&b.scratch);
    return status;
}

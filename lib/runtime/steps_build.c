/* SPDX-License-Identifier: Apache-2.0 */
/* Turning a segment into steps: kernels, shared memory, offsets, pointer table. See steps.h. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/memory_plan.h"
#include "runtime/steps.h"

#include <string.h>

/* Where a value's bytes are. Values that share memory (views, in-place results) form a set; the
 * set's facts are kept at its root. */
typedef enum place_kind {
    PLACE_NONE = 0, /* not of this segment */
    PLACE_INPUT,    /* index: input of the segment */
    PLACE_CONSTANT,
    PLACE_LOCAL /* made by a node; in an output of the segment when output >= 0, else workspace */
} place_kind;

typedef struct place {
    place_kind kind;
    uint32_t parent; /* value; itself at a root */
    uint32_t index;  /* input of the segment, or item of the memory plan */
    int32_t output;  /* output of the segment whose buffer holds the set; -1: none */
    uint32_t first;  /* node that writes it first */
    uint32_t last;   /* node that reads it last; n_nodes for outputs of the segment */
    size_t bytes;
} place;

/* A copy that ends the segment: an output which cannot be written in place. */
typedef struct late_copy {
    uint32_t value;
    uint32_t output;
} late_copy;

typedef struct builder {
    const leat_segment *segment;
    lt_device *device;
    leat_plan *plan;
    lt_steps *steps;
    lt_arena scratch;
    place *places;
    late_copy *copies;
    uint32_t n_copies;
    lt_memory_item *items; /* sets, then kernel workspaces */
    uint32_t n_items;
    uint32_t *scratch_items; /* per node: item of its kernel's workspace, or LEAT_NO_VALUE */
    uint32_t n_slots;        /* filled so far */
    leat_error *err;
} builder;

static leat_status no_memory(const builder *b)
{
    return lt_fail(b->err, LEAT_NO_MEMORY, "no memory to plan a segment of %zu nodes",
                   b->segment->n_nodes);
}

static const char *label(const builder *b, const leat_node *node)
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

static leat_status prepare_node(builder *b, uint32_t i)
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
    return status == LEAT_OK
               ? LEAT_OK
               : lt_fail_within(b->err, status, "node '%s' (%s)", label(b, node), node->op);
}

static leat_status prepare_all(builder *b, uint32_t *out_refused)
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
 * Places
 * --------------------------------------------------------------------------------------------- */

static place *root_of(const builder *b, uint32_t value)
{
    while (b->places[value].parent != value) {
        value = b->places[value].parent;
    }
    return &b->places[value];
}

static leat_status check_reads(const builder *b, const leat_node *node)
{
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        uint32_t v = node->inputs[i];
        if (v != LEAT_NO_VALUE && b->places[v].kind == PLACE_NONE) {
            return lt_fail(b->err, LEAT_INTERNAL, "node '%s' reads '%s', which nothing provides",
                           label(b, node), b->segment->values[v].name);
        }
    }
    return LEAT_OK;
}

static leat_status place_outputs_of_node(builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        uint32_t v = node->outputs[k];
        if (v == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &b->segment->values[v];
        place *p = &b->places[v];
        p->kind = PLACE_LOCAL;
        p->first = p->last = i;
        if (value->rank < 0 ||
            !lt_shape_bytes(value->dtype, value->rank, value->shape, &p->bytes)) {
            return lt_fail(b->err, LEAT_INTERNAL, "the shape of '%s' is not known", value->name);
        }
    }
    return LEAT_OK;
}

/* Kinds, sizes and last readers of all values of the segment, each a set of its own. */
static leat_status find_places(builder *b)
{
    const leat_segment *s = b->segment;
    for (uint32_t v = 0; v < s->n_values; v++) {
        b->places[v].parent = v;
        b->places[v].output = -1;
        b->places[v].kind = s->values[v].data ? PLACE_CONSTANT : PLACE_NONE;
    }
    for (uint32_t i = 0; i < s->n_inputs; i++) {
        b->places[s->inputs[i]].kind = PLACE_INPUT;
        b->places[s->inputs[i]].index = i;
    }
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        leat_status status = check_reads(b, &s->nodes[i]);
        status = status ? status : place_outputs_of_node(b, i);
        if (status != LEAT_OK) {
            return status;
        }
        for (uint32_t k = 0; k < s->nodes[i].n_inputs; k++) {
            if (s->nodes[i].inputs[k] != LEAT_NO_VALUE) {
                b->places[s->nodes[i].inputs[k]].last = i;
            }
        }
    }
    for (uint32_t i = 0; i < s->n_outputs; i++) {
        place *p = &b->places[s->outputs[i]];
        if (p->kind == PLACE_NONE) {
            return lt_fail(b->err, LEAT_INTERNAL, "nothing makes the output '%s' of a segment",
                           s->values[s->outputs[i]].name);
        }
        p->last = (uint32_t)s->n_nodes;
        if (p->kind == PLACE_LOCAL && p->output < 0) {
            p->output = (int32_t)i;
        } else {
            b->copies[b->n_copies++] = (late_copy){s->outputs[i], i};
        }
    }
    return LEAT_OK;
}

/* The set of `value` takes in `added`, which is a set of its own. */
static void join(builder *b, place *root, uint32_t added)
{
    place *p = &b->places[added];
    root->last = p->last > root->last ? p->last : root->last;
    root->output = p->output >= 0 ? p->output : root->output;
    p->parent = root->parent;
}

/* A view joins its input's set, unless both would have to be somewhere of their own. */
static bool join_view(builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t in = node->inputs[b->steps->kernels[i].view_of - 1];
    uint32_t out = node->outputs[0];
    place *root = root_of(b, in);
    bool out_is_fixed = b->places[out].output >= 0;
    if (out_is_fixed && (root->kind != PLACE_LOCAL || root->output >= 0)) {
        return false;
    }
    join(b, root, out);
    return true;
}

/* Whether output 0 of node i may be written over its input k. */
static bool can_overwrite(const builder *b, uint32_t i, uint32_t k)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t in = node->inputs[k];
    if (in == LEAT_NO_VALUE) {
        return false;
    }
    const place *root = root_of(b, in);
    if (root->kind != PLACE_LOCAL || root->output >= 0 || root->last != i ||
        root->bytes != b->places[node->outputs[0]].bytes) {
        return false;
    }
    for (uint32_t other = 0; other < node->n_inputs; other++) {
        bool may = other < 32 && (b->steps->kernels[i].inplace_mask >> other & 1);
        if (!may && node->inputs[other] != LEAT_NO_VALUE &&
            root_of(b, node->inputs[other]) == root) {
            return false;
        }
    }
    return true;
}

static void join_inplace(builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t mask = b->steps->kernels[i].inplace_mask;
    if (node->n_outputs == 0 || node->outputs[0] == LEAT_NO_VALUE) {
        return;
    }
    for (uint32_t k = 0; k < node->n_inputs && k < 32; k++) {
        if ((mask >> k & 1) && can_overwrite(b, i, k)) {
            join(b, root_of(b, node->inputs[k]), node->outputs[0]);
            return;
        }
    }
}

static leat_status copy_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    memcpy(args->outputs[0], args->inputs[0], *(const size_t *)state);
    return LEAT_OK;
}

typedef struct device_copy {
    size_t bytes;
    const lt_device *device;
} device_copy;

static leat_status device_copy_launch(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const device_copy *copy = state;
    const lt_device *device = copy->device;
    return device->backend->copy(device->handle, args->stream, LEAT_COPY_DEVICE_TO_DEVICE,
                                 args->outputs[0], args->inputs[0], copy->bytes, err);
}

/* A kernel that copies input 0 to output 0. */
static leat_status make_copy(builder *b, size_t bytes, leat_kernel *out_kernel)
{
    device_copy *state = lt_arena_alloc(&b->plan->arena, sizeof(*state), 16);
    if (state == NULL) {
        return no_memory(b);
    }
    state->bytes = bytes;
    state->device = b->device;
    bool host = lt_device_is_host(b->device);
    out_kernel->name = "copy";
    out_kernel->launch = host || bytes == 0 ? copy_launch : device_copy_launch;
    out_kernel->state = state; /* starts with the byte count, which is what copy_launch reads */
    return LEAT_OK;
}

static leat_status check_view(const builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    const leat_value *in = &b->segment->values[node->inputs[b->steps->kernels[i].view_of - 1]];
    size_t bytes;
    if (!lt_shape_bytes(in->dtype, in->rank, in->shape, &bytes) ||
        bytes != b->places[node->outputs[0]].bytes) {
        return lt_fail(b->err, LEAT_INTERNAL, "node '%s' (%s): a view of another size",
                       label(b, node), node->op);
    }
    return LEAT_OK;
}

static leat_status join_all(builder *b)
{
    for (uint32_t i = 0; i < b->segment->n_nodes; i++) {
        leat_kernel *kernel = &b->steps->kernels[i];
        if (kernel->launch != NULL) {
            join_inplace(b, i);
            continue;
        }
        leat_status status = check_view(b, i);
        if (status == LEAT_OK && !join_view(b, i)) {
            status = make_copy(b, b->places[b->segment->nodes[i].outputs[0]].bytes, kernel);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Offsets
 * --------------------------------------------------------------------------------------------- */

static leat_status plan_offsets(builder *b)
{
    const leat_segment *s = b->segment;
    for (uint32_t v = 0; v < s->n_values; v++) {
        place *p = &b->places[v];
        if (p->kind == PLACE_LOCAL && p->parent == v && p->output < 0) {
            p->index = b->n_items;
            b->items[b->n_items++] = (lt_memory_item){p->bytes, p->first, p->last, 0};
        }
    }
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        const leat_kernel *kernel = &b->steps->kernels[i];
        b->scratch_items[i] = LEAT_NO_VALUE;
        if (kernel->launch != NULL && kernel->workspace_bytes != 0) {
            b->scratch_items[i] = b->n_items;
            b->items[b->n_items++] = (lt_memory_item){kernel->workspace_bytes, i, i, 0};
        }
    }
    leat_status status =
        lt_memory_plan(b->items, b->n_items, &b->scratch, &b->steps->workspace_bytes, b->err);
    if (status == LEAT_OK && b->steps->workspace_bytes == 0 && b->n_items != 0) {
        b->steps->workspace_bytes = LT_ALIGNMENT; /* empty values get an address too */
    }
    return status;
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

static leat_status fill_slot(builder *b, uint32_t value, bool is_read)
{
    lt_steps *steps = b->steps;
    uint32_t slot = b->n_slots++;
    if (value == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    const place *root = root_of(b, value);
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

static leat_status fill_step(builder *b, uint32_t node_index)
{
    lt_steps *steps = b->steps;
    const leat_node *node = &b->segment->nodes[node_index];
    const leat_kernel *kernel = &steps->kernels[node_index];
    bool is_copy = kernel->launch == copy_launch || kernel->launch == device_copy_launch;
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
static leat_status fill_late_copy(builder *b, const late_copy *copy)
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
        status = make_copy(b, bytes, &kernel);
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

static leat_status fill_round(builder *b)
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

static leat_status fill_table(builder *b)
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
        return no_memory(b);
    }
    return fill_round(b);
}

/* ------------------------------------------------------------------------------------------------
 */

static leat_status allocate(builder *b)
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
    b->places = lt_arena_array(&b->scratch, s->n_values + 1, sizeof(*b->places));
    b->copies = lt_arena_array(&b->scratch, s->n_outputs + 1, sizeof(*b->copies));
    b->items = lt_arena_array(&b->scratch, s->n_values + s->n_nodes + 1, sizeof(*b->items));
    b->scratch_items = lt_arena_array(&b->scratch, s->n_nodes + 1, sizeof(uint32_t));
    if (steps->kernels == NULL || steps->labels == NULL || steps->inputs == NULL ||
        steps->outputs == NULL || b->places == NULL || b->copies == NULL || b->items == NULL ||
        b->scratch_items == NULL) {
        return no_memory(b);
    }
    for (size_t i = 0; i < s->n_nodes; i++) {
        steps->labels[i] = label(b, &s->nodes[i]);
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
    builder b = {.segment = segment, .device = device, .plan = plan, .steps = out_steps};
    leat_error own = {0};
    b.err = err ? err : &own;
    lt_arena_init(&b.scratch, &device->context->memory, 0);
    leat_status status = allocate(&b);
    status = status ? status : prepare_all(&b, out_refused);
    status = status ? status : find_places(&b);
    status = status ? status : join_all(&b);
    status = status ? status : plan_offsets(&b);
    status = status ? status : fill_table(&b);
    lt_arena_destroy(&b.scratch);
    return status;
}

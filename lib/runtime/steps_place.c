/* SPDX-License-Identifier: Apache-2.0 */
/* Building steps: which values share memory, and where it lies. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/steps_builder.h"

#include <string.h>

static leat_status check_reads(const lt_steps_builder *b, const leat_node *node)
{
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        uint32_t v = node->inputs[i];
        if (v != LEAT_NO_VALUE && b->places[v].kind == PLACE_NONE) {
            return lt_fail(b->err, LEAT_INTERNAL, "node '%s' reads '%s', which nothing provides",
                           lt_steps_label(b, node), b->segment->values[v].name);
        }
    }
    return LEAT_OK;
}

static leat_status place_outputs_of_node(lt_steps_builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        uint32_t v = node->outputs[k];
        if (v == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &b->segment->values[v];
        lt_place *p = &b->places[v];
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
static leat_status find_places(lt_steps_builder *b)
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
        lt_place *p = &b->places[s->outputs[i]];
        if (p->kind == PLACE_NONE) {
            return lt_fail(b->err, LEAT_INTERNAL, "nothing makes the output '%s' of a segment",
                           s->values[s->outputs[i]].name);
        }
        p->last = (uint32_t)s->n_nodes;
        if (p->kind == PLACE_LOCAL && p->output < 0) {
            p->output = (int32_t)i;
        } else {
            b->copies[b->n_copies++] = (lt_late_copy){s->outputs[i], i};
        }
    }
    return LEAT_OK;
}

/* The set of `value` takes in `added`, which is a set of its own. */
static void join(lt_steps_builder *b, lt_place *root, uint32_t added)
{
    lt_place *p = &b->places[added];
    root->last = p->last > root->last ? p->last : root->last;
    root->output = p->output >= 0 ? p->output : root->output;
    p->parent = root->parent;
}

/* A view joins its input's set, unless both would have to be somewhere of their own. */
static bool join_view(lt_steps_builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t in = node->inputs[b->steps->kernels[i].view_of - 1];
    uint32_t out = node->outputs[0];
    lt_place *root = lt_steps_root(b, in);
    bool out_is_fixed = b->places[out].output >= 0;
    if (out_is_fixed && (root->kind != PLACE_LOCAL || root->output >= 0)) {
        return false;
    }
    join(b, root, out);
    return true;
}

/* Whether node i reads the set of `root` only where its output 0 may be written over it. */
static bool reads_in_place(const lt_steps_builder *b, uint32_t i, const lt_place *root)
{
    const leat_node *node = &b->segment->nodes[i];
    for (uint32_t other = 0; other < node->n_inputs; other++) {
        bool may = other < 32 && (b->steps->kernels[i].inplace_mask >> other & 1);
        if (!may && node->inputs[other] != LEAT_NO_VALUE &&
            lt_steps_root(b, node->inputs[other]) == root) {
            return false;
        }
    }
    return true;
}

/* Whether output 0 of node i may be written over its input k. */
static bool can_overwrite(const lt_steps_builder *b, uint32_t i, uint32_t k)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t in = node->inputs[k];
    if (in == LEAT_NO_VALUE) {
        return false;
    }
    const lt_place *root = lt_steps_root(b, in);
    if (root->kind != PLACE_LOCAL || root->output >= 0 || root->last != i ||
        root->bytes != b->places[node->outputs[0]].bytes) {
        return false;
    }
    return reads_in_place(b, i, root);
}

static void join_inplace(lt_steps_builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    uint32_t mask = b->steps->kernels[i].inplace_mask;
    if (node->n_outputs == 0 || node->outputs[0] == LEAT_NO_VALUE) {
        return;
    }
    for (uint32_t k = 0; k < node->n_inputs && k < 32; k++) {
        if ((mask >> k & 1) && can_overwrite(b, i, k)) {
            join(b, lt_steps_root(b, node->inputs[k]), node->outputs[0]);
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

leat_status lt_steps_make_copy(const lt_steps_builder *b, size_t bytes, leat_kernel *out_kernel)
{
    device_copy *state = lt_arena_alloc(&b->plan->arena, sizeof(*state), 16);
    if (state == NULL) {
        return lt_steps_no_memory(b);
    }
    state->bytes = bytes;
    state->device = b->device;
    bool host = lt_device_is_host(b->device);
    out_kernel->name = "copy";
    out_kernel->launch = host || bytes == 0 ? copy_launch : device_copy_launch;
    out_kernel->state = state; /* starts with the byte count, which is what copy_launch reads */
    return LEAT_OK;
}

bool lt_steps_is_copy(const leat_kernel *kernel)
{
    return kernel->launch == copy_launch || kernel->launch == device_copy_launch;
}

static leat_status check_view(const lt_steps_builder *b, uint32_t i)
{
    const leat_node *node = &b->segment->nodes[i];
    const leat_value *in = &b->segment->values[node->inputs[b->steps->kernels[i].view_of - 1]];
    size_t bytes;
    if (!lt_shape_bytes(in->dtype, in->rank, in->shape, &bytes) ||
        bytes != b->places[node->outputs[0]].bytes) {
        return lt_fail(b->err, LEAT_INTERNAL, "node '%s' (%s): a view of another size",
                       lt_steps_label(b, node), node->op);
    }
    return LEAT_OK;
}

static leat_status join_all(lt_steps_builder *b)
{
    for (uint32_t i = 0; i < b->segment->n_nodes; i++) {
        leat_kernel *kernel = &b->steps->kernels[i];
        if (kernel->launch != NULL) {
            join_inplace(b, i);
            continue;
        }
        leat_status status = check_view(b, i);
        if (status == LEAT_OK && !join_view(b, i)) {
            status =
                lt_steps_make_copy(b, b->places[b->segment->nodes[i].outputs[0]].bytes, kernel);
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

static leat_status plan_offsets(lt_steps_builder *b)
{
    const leat_segment *s = b->segment;
    for (uint32_t v = 0; v < s->n_values; v++) {
        lt_place *p = &b->places[v];
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

/* The input of the segment that the node which writes the set of output `o` may write over. */
static uint32_t find_over(const lt_steps_builder *b, uint32_t o)
{
    const leat_segment *s = b->segment;
    const lt_place *root = lt_steps_root(b, s->outputs[o]);
    uint32_t i = root->first;
    if (root->kind != PLACE_LOCAL || root->output != (int32_t)o ||
        b->steps->kernels[i].launch == NULL || s->nodes[i].outputs[0] != root - b->places) {
        return LEAT_NO_VALUE;
    }
    for (uint32_t k = 0; k < s->nodes[i].n_inputs && k < 32; k++) {
        uint32_t in = s->nodes[i].inputs[k];
        if (in == LEAT_NO_VALUE || !(b->steps->kernels[i].inplace_mask >> k & 1)) {
            continue;
        }
        const lt_place *from = lt_steps_root(b, in);
        const leat_value *value = &s->values[from - b->places];
        size_t bytes;
        if (from->kind == PLACE_INPUT && from->last == i && reads_in_place(b, i, from) &&
            lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes) &&
            bytes == root->bytes) {
            return from->index;
        }
    }
    return LEAT_NO_VALUE;
}

void lt_steps_find_over(const lt_steps_builder *b)
{
    for (uint32_t o = 0; o < b->segment->n_outputs; o++) {
        b->steps->over[o] = find_over(b, o);
    }
}

leat_status lt_steps_place(lt_steps_builder *b)
{
    leat_status status = find_places(b);
    status = status ? status : join_all(b);
    return status ? status : plan_offsets(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loop: (trip count, condition, carried...) -> (carried..., stacked...).
 *
 * A carried tensor has two buffers: iteration t reads it in one and writes it to the other. The
 * body's further outputs are written side by side, each iteration behind the last. The buffers are
 * the node's and stay, so that a loop that has run before allocates nothing. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <string.h>

typedef struct loop {
    lt_host_call *call;
    lt_frame *body;
    uint32_t n_carried;
    uint32_t n_stacked;
    uint64_t done;  /* iterations */
    uint64_t total; /* trip count */
    uint8_t condition;
    int64_t counter;
} loop;

/* The body's inputs behind the counter and the condition, which are carried values, hold the
 * current ones between iterations. */
enum {
    FIRST_CARRIED = 2
};

uint32_t lt_host_loop_buffers(const leat_node *node, const lt_host_node *host)
{
    uint32_t n_carried = node->n_inputs > 2 ? node->n_inputs - 2 : 0;
    return 2 * n_carried + 2 * host->bodies[0]->graph->n_outputs + 1;
}

/* Buffers: two per carried value, then the condition's, then one per stacked output, then one for
 * the text of each. */
static uint32_t stack_buffer(const loop *l, uint32_t stacked)
{
    return 2 * l->n_carried + 1 + stacked;
}

static uint32_t text_buffer(const loop *l, uint32_t stacked)
{
    return stack_buffer(l, l->n_stacked + stacked);
}

static leat_status place_stacked(loop *l, const lt_stage_output *output, uint32_t stacked,
                                 void **out_place, leat_error *err)
{
    size_t before, after;
    uint32_t buffer = stack_buffer(l, stacked);
    if (!lt_mul(output->bytes, (size_t)l->done, &before) ||
        !lt_add(before, output->bytes, &after)) {
        return lt_fail(err, LEAT_LIMIT, "an output that stacks up is too large");
    }
    leat_status status = lt_call_reserve(l->call, buffer, after, before, err);
    if (status == LEAT_OK) {
        *out_place = (char *)l->call->state->buffers[buffer].data + before;
    }
    return status;
}

/* The node's output that a part is stacked up in; NULL when nobody wants it. */
static leat_array *stack_of(const loop *l, uint32_t stacked)
{
    const leat_node *node = l->call->node;
    uint32_t k = l->n_carried + stacked;
    bool wanted = k < node->n_outputs && node->outputs[k] != LEAT_NO_VALUE;
    return wanted ? &l->call->frame->run.made[node->outputs[k]].array : NULL;
}

/* All stacked parts have one shape; it is kept in the node's output. */
static leat_status check_stacked(const loop *l, const lt_stage_output *output, leat_array *whole,
                                 leat_error *err)
{
    size_t count;
    if (lt_is_container(output->dtype) || output->rank >= LEAT_MAX_RANK) {
        return lt_fail(err, LEAT_UNSUPPORTED, "output %u stacks up %s of rank %d", output->index,
                       leat_dtype_name(output->dtype), output->rank);
    }
    if (!lt_shape_count(output->rank, output->shape, &count) ||
        count * lt_dtype_bits(output->dtype) % 8 != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "output %u stacks up parts of a byte", output->index);
    }
    if (l->done == 0) {
        *whole = (leat_array){.dtype = output->dtype, .rank = output->rank + 1};
        memcpy(whole->shape + 1, output->shape, (size_t)output->rank * sizeof(int64_t));
    }
    return whole->dtype == output->dtype &&
                   lt_shape_equal(whole->rank - 1, whole->shape + 1, output->rank, output->shape)
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID,
                         "output %u changes its shape from one iteration to "
                         "the next",
                         output->index);
}

/* Where the body's outputs go. */
static leat_status place(void *user, const lt_stage_output *output, void **out_place,
                         leat_error *err)
{
    loop *l = user;
    uint32_t buffer = 2 * l->n_carried;
    if (output->index > l->n_carried) {
        uint32_t stacked = output->index - 1 - l->n_carried;
        leat_array *whole = stack_of(l, stacked);
        leat_status status = whole ? check_stacked(l, output, whole, err) : LEAT_OK;
        if (whole != NULL) {
            return status ? status : place_stacked(l, output, stacked, out_place, err);
        }
        buffer = stack_buffer(l, stacked);
    } else if (output->index != 0) {
        buffer = 2 * (output->index - 1) + (uint32_t)(l->done & 1);
    }
    leat_status status = lt_call_reserve(l->call, buffer, output->bytes, 0, err);
    *out_place = l->call->state->buffers[buffer].data;
    return status;
}

/* A number as the body declares it: a scalar, or a vector of one. */
static leat_array number(const loop *l, uint32_t input, leat_dtype dtype, void *data, size_t bytes)
{
    const lt_graph *graph = l->body->body->graph;
    int32_t rank = graph->values[graph->inputs[input]].rank == 1;
    return (leat_array){.dtype = dtype, .rank = rank, .shape = {1}, .data = data, .bytes = bytes};
}

static leat_status start(loop *l, leat_error *err)
{
    const lt_host_call *call = l->call;
    int64_t trip_count = INT64_MAX;
    bool condition = true;
    leat_status status = LEAT_OK;
    if (lt_call_has(call, 0)) {
        status = lt_call_int(call, 0, &trip_count, err);
    }
    if (status == LEAT_OK && lt_call_has(call, 1)) {
        const lt_item item = lt_call_input(call, 1);
        status = lt_item_bool(&item, &condition, err);
    }
    l->total = trip_count < 0 ? 0 : (uint64_t)trip_count;
    l->condition = condition;
    lt_call_captures(call, l->body);
    l->body->inputs[0] = number(l, 0, LEAT_DTYPE_I64, &l->counter, sizeof(l->counter));
    l->body->inputs[1] = number(l, 1, LEAT_DTYPE_BOOL, &l->condition, sizeof(l->condition));
    for (uint32_t i = 0; i < l->n_carried && status == LEAT_OK; i++) {
        if (!lt_call_has(call, FIRST_CARRIED + i)) {
            return lt_fail(err, LEAT_INVALID, "input %u is missing", FIRST_CARRIED + i);
        }
        const lt_item item = lt_call_input(call, FIRST_CARRIED + i);
        l->body->inputs[FIRST_CARRIED + i] = item.array;
        l->body->input_held[FIRST_CARRIED + i] = lt_held_retain(item.held);
    }
    return status;
}

/* A body that reads an optional may give its element for the next iteration. */
static leat_status wrap_carried(loop *l, leat_error *err)
{
    const lt_graph *graph = l->body->body->graph;
    for (uint32_t i = FIRST_CARRIED; i < FIRST_CARRIED + l->n_carried; i++) {
        leat_array *array = &l->body->inputs[i];
        if (graph->values[graph->inputs[i]].dtype != LEAT_DTYPE_OPTIONAL ||
            array->dtype == LEAT_DTYPE_OPTIONAL) {
            continue;
        }
        lt_item element = {*array, l->body->input_held[i]}, copy = {.held = NULL}, wrapped;
        leat_status status = LEAT_OK;
        if (!lt_is_container(array->dtype) && element.held == NULL) {
            status = lt_held_tensor(lt_call_memory(l->call), array, &copy, err);
            element = copy;
        }
        status =
            status ? status
                   : lt_held_arrays(lt_call_memory(l->call), LEAT_DTYPE_OPTIONAL, 1, &wrapped, err);
        if (status == LEAT_OK) {
            lt_held_put(&wrapped, 0, &element);
            lt_held_release(l->body->input_held[i]);
            *array = wrapped.array;
            l->body->input_held[i] = wrapped.held;
        }
        lt_held_release(copy.held);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* What the body made of text is gone in the next iteration. */
static leat_status keep_text(const loop *l, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t s = 0; s < l->n_stacked && status == LEAT_OK; s++) {
        if (stack_of(l, s) != NULL) {
            const leat_array part = lt_frame_output(l->body, 1 + l->n_carried + s).array;
            status = part.dtype == LEAT_DTYPE_STRING
                         ? lt_call_keep_text(l->call, text_buffer(l, s), part.data,
                                             part.bytes / sizeof(leat_string), err)
                         : LEAT_OK;
        }
    }
    return status;
}

static leat_status iterate(loop *l, leat_error *err)
{
    lt_frame *body = l->body;
    l->counter = (int64_t)l->done;
    leat_status status = lt_runner_tick(body->runner, l->done, l->total, err);
    status = status ? status : wrap_carried(l, err);
    status = status ? status : lt_frame_run(body, body->inputs, body->input_held, place, l, err);
    if (status != LEAT_OK) {
        return status;
    }
    bool condition = false;
    const lt_item item = lt_frame_output(body, 0);
    status = lt_item_bool(&item, &condition, err);
    l->condition = condition;
    status = status ? status : keep_text(l, err);
    for (uint32_t i = 0; i < l->n_carried && status == LEAT_OK; i++) {
        lt_item next = lt_frame_output(body, 1 + i);
        if (next.array.dtype == LEAT_DTYPE_STRING) { /* the text is gone in the next iteration */
            const leat_array strings = next.array;
            status = lt_held_tensor(lt_call_memory(l->call), &strings, &next, err);
            if (status != LEAT_OK) {
                return status;
            }
        } else {
            lt_held_retain(next.held);
        }
        lt_held_release(body->input_held[FIRST_CARRIED + i]);
        body->inputs[FIRST_CARRIED + i] = next.array;
        body->input_held[FIRST_CARRIED + i] = next.held;
    }
    l->done++;
    return status;
}

/* The shape of an output that nothing was stacked up in: what is known of it, else 0. */
static void empty_stack(const loop *l, uint32_t stacked, leat_array *whole)
{
    const lt_graph *graph = l->body->body->graph;
    const leat_value *part = &graph->values[graph->outputs[1 + l->n_carried + stacked]];
    int32_t rank = part->rank < 0 || part->rank >= LEAT_MAX_RANK ? 0 : part->rank;
    *whole = (leat_array){.dtype = part->dtype, .rank = rank + 1};
    for (int32_t d = 0; d < rank; d++) {
        whole->shape[d + 1] = lt_body_dim(l->body, part->shape[d]);
    }
}

static leat_status finish(loop *l, leat_error *err)
{
    for (uint32_t i = 0; i < l->n_carried; i++) {
        lt_item item = {l->body->inputs[FIRST_CARRIED + i], l->body->input_held[FIRST_CARRIED + i]};
        l->body->input_held[FIRST_CARRIED + i] = NULL;
        lt_call_give(l->call, i, &item);
    }
    for (uint32_t s = 0; s < l->n_stacked; s++) {
        leat_array *whole = stack_of(l, s);
        leat_status status = LEAT_OK;
        if (whole == NULL) {
            continue;
        }
        if (l->done == 0) {
            empty_stack(l, s, whole);
            status = lt_call_reserve(l->call, stack_buffer(l, s), 0, 0, err);
        }
        whole->shape[0] = (int64_t)l->done;
        whole->data = l->call->state->buffers[stack_buffer(l, s)].data;
        if (status == LEAT_OK &&
            !lt_shape_bytes(whole->dtype, whole->rank, whole->shape, &whole->bytes)) {
            status = lt_fail(err, LEAT_LIMIT, "output %u is too large", l->n_carried + s);
        }
        if (status != LEAT_OK) {
            return status;
        }
        if (whole->dtype == LEAT_DTYPE_STRING) {
            lt_call_point_text(l->call, text_buffer(l, s), whole->data,
                               whole->bytes / sizeof(leat_string));
        }
    }
    return LEAT_OK;
}

leat_status lt_host_loop(lt_host_call *call, leat_error *err)
{
    const lt_body *body = call->host->bodies[0];
    loop l = {.call = call, .body = &call->frame->runner->frames[body->index]};
    l.n_carried = call->node->n_inputs > 2 ? call->node->n_inputs - 2 : 0;
    if (body->n_formals != l.n_carried + 2 || body->graph->n_outputs < l.n_carried + 1 ||
        call->node->n_outputs > body->graph->n_outputs - 1) {
        return lt_fail(err, LEAT_INVALID,
                       "a body of %u inputs and %u outputs for %u carried values", body->n_formals,
                       body->graph->n_outputs, l.n_carried);
    }
    l.n_stacked = body->graph->n_outputs - 1 - l.n_carried;
    for (uint32_t s = 0; s < l.n_stacked; s++) {
        lt_call_drop_text(call, text_buffer(&l, s));
    }
    leat_status status = start(&l, err);
    while (status == LEAT_OK && l.condition && l.done < l.total) {
        status = iterate(&l, err);
    }
    status = status ? status : finish(&l, err);
    for (uint32_t i = 0; i < l.n_carried; i++) { /* after a failure */
        lt_held_release(l.body->input_held[FIRST_CARRIED + i]);
        l.body->input_held[FIRST_CARRIED + i] = NULL;
    }
    return status;
}

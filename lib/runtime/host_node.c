/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/host_node.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

static uint32_t one_buffer(const leat_node *node, const lt_host_node *host)
{
    (void)node;
    (void)host;
    return 1;
}

static uint32_t two_buffers(const leat_node *node, const lt_host_node *host)
{
    (void)node;
    (void)host;
    return 2;
}

static const lt_host_op ops[] = {
    {.op = "If", .run = lt_host_if, .bodies = {"then_branch", "else_branch"}},
    {.op = "Loop",
     .run = lt_host_loop,
     .n_buffers = lt_host_loop_buffers,
     .bodies = {"body", NULL}},
    {.op = "Scan",
     .run = lt_host_scan,
     .n_buffers = lt_host_scan_buffers,
     .bodies = {"body", NULL}},
    {.op = "SequenceMap", .run = lt_host_sequence_map, .bodies = {"body", NULL}},
    {.op = "SequenceEmpty", .run = lt_host_sequence_empty},
    {.op = "SequenceConstruct", .run = lt_host_sequence_construct},
    {.op = "SequenceInsert", .run = lt_host_sequence_insert},
    {.op = "SequenceErase", .run = lt_host_sequence_erase},
    {.op = "SequenceAt", .run = lt_host_sequence_at},
    {.op = "SequenceLength", .run = lt_host_sequence_length, .n_buffers = one_buffer},
    {.op = "SplitToSequence", .run = lt_host_split_to_sequence},
    {.op = "ConcatFromSequence", .run = lt_host_concat_from_sequence, .n_buffers = one_buffer},
    {.op = "Optional", .run = lt_host_optional},
    {.op = "OptionalGetElement", .run = lt_host_optional_get},
    {.op = "OptionalHasElement", .run = lt_host_optional_has, .n_buffers = one_buffer},
    {.op = "StringConcat", .run = lt_host_string_concat},
    {.op = "StringNormalizer", .run = lt_host_string_normalizer},
    {.op = "Identity", .run = lt_host_identity, .when = LT_HOST_CONTAINERS},
    {.op = "Cast", .run = lt_host_cast_text, .n_buffers = one_buffer, .when = LT_HOST_TEXT},
    {.op = "CastLike", .run = lt_host_cast_text, .n_buffers = one_buffer, .when = LT_HOST_TEXT},
    {.op = "CastMap", .domain = "ai.onnx.ml", .run = lt_host_cast_map, .n_buffers = two_buffers},
    {.op = "DictVectorizer",
     .domain = "ai.onnx.ml",
     .run = lt_host_dict_vectorizer,
     .n_buffers = two_buffers},
};

const lt_host_op *lt_host_op_find(const leat_node *node)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const char *domain = ops[i].domain ? ops[i].domain : "";
        if (strcmp(domain, node->domain) == 0 && strcmp(ops[i].op, node->op) == 0) {
            return &ops[i];
        }
    }
    return NULL;
}

static bool runs(const lt_host_op *op, const leat_node *node, const leat_value *values)
{
    if (op->when == LT_HOST_ALWAYS || node->n_inputs == 0 || node->inputs[0] == LEAT_NO_VALUE) {
        return op->when == LT_HOST_ALWAYS;
    }
    leat_dtype dtype = values[node->inputs[0]].dtype;
    return op->when == LT_HOST_CONTAINERS
               ? lt_is_container(dtype)
               : dtype == LEAT_DTYPE_STRING ||
                     lt_host_cast_target(node, values) == LEAT_DTYPE_STRING;
}

bool lt_host_runs(const lt_body *body, uint32_t index, const leat_value *values)
{
    const lt_host_node *host = body->hosts[index];
    return host != NULL && runs(host->op, body->graph->nodes[index], values);
}

bool lt_host_may_run(const lt_graph *graph, const leat_node *node)
{
    const lt_host_op *op = lt_host_op_find(node);
    if (op == NULL) {
        return false;
    }
    bool like = op->when == LT_HOST_TEXT && node->n_inputs > 1 &&
                node->inputs[1] != LEAT_NO_VALUE &&
                graph->values[node->inputs[1]].dtype == LEAT_DTYPE_UNDEFINED;
    return like || lt_host_type_is_open(graph, node) || runs(op, node, graph->values);
}

bool lt_host_type_is_open(const lt_graph *graph, const leat_node *node)
{
    return node->n_inputs != 0 && node->inputs[0] != LEAT_NO_VALUE &&
           graph->values[node->inputs[0]].dtype == LEAT_DTYPE_UNDEFINED;
}

/* ------------------------------------------------------------------------------------------------
 * States
 * --------------------------------------------------------------------------------------------- */

leat_status lt_frame_make_states(lt_frame *frame, lt_arena *arena, leat_error *err)
{
    const lt_body *body = frame->body;
    frame->states = lt_arena_array(arena, body->graph->n_nodes + 1u, sizeof(*frame->states));
    if (frame->states == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
    }
    for (uint32_t i = 0; i < body->n_hosts; i++) {
        uint32_t index = body->host_nodes[i];
        const lt_host_node *host = body->hosts[index];
        lt_host_state *state = lt_arena_alloc(arena, sizeof(*state), 16);
        frame->states[index] = state;
        uint32_t n = host->op->n_buffers ? host->op->n_buffers(body->graph->nodes[index], host) : 0;
        if (state != NULL) {
            state->buffers = lt_arena_array(arena, n + 1u, sizeof(*state->buffers));
        }
        if (state == NULL || state->buffers == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
        }
        state->n_buffers = n;
    }
    return LEAT_OK;
}

void lt_frame_drop_buffers(lt_frame *frame)
{
    const lt_body *body = frame->body;
    lt_memory *memory = &body->program->model->context->memory;
    for (uint32_t i = 0; frame->states != NULL && i < body->n_hosts; i++) {
        lt_host_state *state = frame->states[body->host_nodes[i]];
        for (uint32_t b = 0; state != NULL && b < state->n_buffers; b++) {
            lt_free(memory, state->buffers[b].data, state->buffers[b].bytes);
            state->buffers[b] = (lt_grow){NULL, 0};
        }
    }
}

uint64_t lt_frame_host_time(const lt_frame *frame, uint32_t node)
{
    return frame->states[node]->ns;
}

void lt_frame_clear_times(lt_frame *frame)
{
    for (uint32_t i = 0; frame->states != NULL && i < frame->body->n_hosts; i++) {
        frame->states[frame->body->host_nodes[i]]->ns = 0;
    }
}

leat_status lt_call_reserve(const lt_host_call *call, uint32_t buffer, size_t bytes, size_t kept,
                            leat_error *err)
{
    lt_grow *grow = &call->state->buffers[buffer];
    if (grow->data != NULL && bytes <= grow->bytes) {
        return LEAT_OK;
    }
    size_t wanted = bytes ? bytes : 1;
    if (kept != 0 && wanted < 2 * grow->bytes) { /* it grows element by element */
        wanted = 2 * grow->bytes;
    }
    void *larger = lt_alloc(lt_call_memory(call), wanted, LT_ALIGNMENT);
    if (larger == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for %zu bytes", wanted);
    }
    if (kept != 0) {
        memcpy(larger, grow->data, kept);
    }
    lt_free(lt_call_memory(call), grow->data, grow->bytes);
    *grow = (lt_grow){larger, wanted};
    return LEAT_OK;
}

/* A buffer of text begins with how much of it is used. */
#define TEXT_HEAD sizeof(size_t)

void lt_call_drop_text(const lt_host_call *call, uint32_t buffer)
{
    if (call->state->buffers[buffer].data != NULL) {
        *(size_t *)call->state->buffers[buffer].data = TEXT_HEAD;
    }
}

leat_status lt_call_keep_text(const lt_host_call *call, uint32_t buffer, leat_string *strings,
                              size_t count, leat_error *err)
{
    const lt_grow *text = &call->state->buffers[buffer];
    size_t used = text->data ? *(const size_t *)text->data : TEXT_HEAD, end = used;
    for (size_t i = 0; i < count; i++) {
        if (!lt_add(end, strings[i].bytes, &end)) {
            return lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    leat_status status = lt_call_reserve(call, buffer, end, text->data ? used : 0, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        if (strings[i].bytes != 0) {
            memcpy((char *)text->data + used, strings[i].data, strings[i].bytes);
        }
        strings[i].data = (const char *)(uintptr_t)used;
        used += strings[i].bytes;
    }
    if (status == LEAT_OK) {
        *(size_t *)text->data = end;
    }
    return status;
}

void lt_call_point_text(const lt_host_call *call, uint32_t buffer, leat_string *strings,
                        size_t count)
{
    const char *text = call->state->buffers[buffer].data;
    for (size_t i = 0; i < count; i++) {
        strings[i].data = strings[i].bytes != 0 ? text + (uintptr_t)strings[i].data : "";
    }
}

/* ------------------------------------------------------------------------------------------------
 * Calls
 * --------------------------------------------------------------------------------------------- */

bool lt_call_has(const lt_host_call *call, uint32_t input)
{
    return input < call->node->n_inputs && call->node->inputs[input] != LEAT_NO_VALUE;
}

lt_item lt_call_input(const lt_host_call *call, uint32_t input)
{
    return lt_frame_value(call->frame, call->stage, call->node->inputs[input]);
}

void lt_call_give(const lt_host_call *call, uint32_t output, const lt_item *item)
{
    const leat_node *node = call->node;
    if (output >= node->n_outputs || node->outputs[output] == LEAT_NO_VALUE) {
        lt_held_release(item->held);
        return;
    }
    lt_item *to = &call->frame->run.made[node->outputs[output]];
    lt_held_release(to->held);
    *to = *item;
}

void lt_call_captures(const lt_host_call *call, lt_frame *body)
{
    const lt_graph *graph = body->body->graph;
    for (uint32_t i = 0; i < graph->n_captures; i++) {
        uint32_t to = body->body->n_formals + i;
        lt_item item = lt_frame_value(call->frame, call->stage, graph->captures[i].outer);
        body->inputs[to] = item.array;
        body->input_held[to] = item.held;
    }
}

int64_t lt_body_dim(const lt_frame *body, int64_t dim)
{
    const lt_graph *graph = body->body->graph;
    for (uint32_t i = 0; i < graph->n_inputs && dim < 0; i++) {
        const leat_value *value = &graph->values[graph->inputs[i]];
        for (int32_t d = 0; d < value->rank && value->rank == body->inputs[i].rank; d++) {
            if (value->shape[d] == dim && !lt_is_container(value->dtype)) {
                return body->inputs[i].shape[d];
            }
        }
    }
    return dim < 0 ? 0 : dim;
}

leat_status lt_item_bool(const lt_item *item, bool *out, leat_error *err)
{
    size_t count;
    if (item->array.dtype != LEAT_DTYPE_BOOL ||
        !lt_shape_count(item->array.rank, item->array.shape, &count) || count != 1) {
        return lt_fail(err, LEAT_INVALID, "the condition must be one bool");
    }
    *out = *(const uint8_t *)item->array.data != 0;
    return LEAT_OK;
}

leat_status lt_call_int(const lt_host_call *call, uint32_t input, int64_t *out, leat_error *err)
{
    const lt_item item = lt_call_input(call, input);
    size_t count;
    bool is_32 = item.array.dtype == LEAT_DTYPE_I32;
    if ((!is_32 && item.array.dtype != LEAT_DTYPE_I64) ||
        !lt_shape_count(item.array.rank, item.array.shape, &count) || count != 1) {
        return lt_fail(err, LEAT_INVALID, "input %u must be one integer", input);
    }
    *out = is_32 ? *(const int32_t *)item.array.data : *(const int64_t *)item.array.data;
    return LEAT_OK;
}

/* What passes and plans took for granted must hold. */
static leat_status check_made(const lt_host_call *call, leat_error *err)
{
    const lt_graph *graph = call->frame->body->graph;
    for (uint32_t k = 0; k < call->node->n_outputs; k++) {
        uint32_t v = call->node->outputs[k];
        if (v == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &graph->values[v];
        const leat_array *array = &call->frame->run.made[v].array;
        if (value->dtype != LEAT_DTYPE_UNDEFINED && value->dtype != array->dtype) {
            return lt_fail(err, LEAT_INVALID, "output %u is of type %s, not %s", k,
                           leat_dtype_name(array->dtype), leat_dtype_name(value->dtype));
        }
        bool fits = lt_is_container(array->dtype) || value->rank < 0 || value->rank == array->rank;
        for (int32_t d = 0; fits && d < value->rank && !lt_is_container(array->dtype); d++) {
            fits = value->shape[d] < 0 || value->shape[d] == array->shape[d];
        }
        if (!fits) {
            char got[64], wanted[64];
            return lt_fail(err, LEAT_INVALID, "output %u has the shape %s, not %s", k,
                           lt_shape_text(array->rank, array->shape, got, sizeof(got)),
                           lt_shape_text(value->rank, value->shape, wanted, sizeof(wanted)));
        }
    }
    return LEAT_OK;
}

/* Time of all nodes in the bodies. */
static uint64_t time_inside(const lt_host_call *call)
{
    uint64_t total = 0;
    for (uint32_t k = 0; k < 2; k++) {
        const lt_body *body = call->host->bodies[k];
        total += body ? lt_frame_time(&call->frame->runner->frames[body->index]) : 0;
    }
    return total;
}

leat_status lt_frame_run_host(lt_frame *frame, const lt_stage *stage, leat_error *err)
{
    uint32_t index = stage->barrier_node;
    lt_host_call call = {.frame = frame,
                         .stage = stage,
                         .node = frame->body->graph->nodes[index],
                         .host = frame->body->hosts[index],
                         .state = frame->states[index]};
    bool timed = frame->runner->profile;
    uint64_t start = timed ? lt_clock_ns() : 0;
    uint64_t inside = timed ? time_inside(&call) : 0;
    leat_status status = call.host->op->run(&call, err);
    status = status ? status : check_made(&call, err);
    if (timed) {
        uint64_t all = lt_clock_ns() - start, others = time_inside(&call) - inside;
        call.state->ns += all > others ? all - others : 0;
    }
    return status ? lt_fail_within(err, status, "node '%s' (%s)",
                                   lt_node_label(frame->body->graph, call.node), call.node->op)
                  : LEAT_OK;
}

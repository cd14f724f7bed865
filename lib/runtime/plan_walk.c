/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stage, first half: shapes, values known beforehand, the nodes that are left to run. */
#include "base/error.h"
#include "base/tensor.h"
#include "graph/infer.h"
#include "runtime/evaluate.h"
#include "runtime/host_node.h"
#include "runtime/plan.h"

#include <string.h>

/* Index of the model's input that is this value; n_inputs when it is none. */
static uint32_t input_of_value(const lt_graph *graph, uint32_t value)
{
    uint32_t i = 0;
    while (i < graph->n_inputs && graph->inputs[i] != value) {
        i++;
    }
    return i;
}

/* Makes an input's content part of what the plan is made for. */
static leat_status fix_content(lt_stage *stage, const lt_stage_desc *desc, uint32_t input,
                               leat_error *err)
{
    const leat_array *array = &desc->inputs[input];
    lt_stage *first = stage;
    while (first->parent != NULL) {
        first = first->parent;
    }
    lt_input_key *key = &first->inputs[input];
    uint32_t value = stage->body->graph->inputs[input];
    if (key->content == NULL) {
        if (array->data == NULL && key->bytes != 0) {
            return lt_fail(err, LEAT_INVALID, "input '%s' decides shapes: its data is needed here",
                           stage->values[value].name);
        }
        if (key->space != 0) {
            return lt_fail(err, LEAT_INVALID,
                           "input '%s' decides shapes: it must be in host memory, not bound to a "
                           "tensor on a device",
                           stage->values[value].name);
        }
        /* In the first stage's memory, which outlives all others. */
        void *copy = lt_arena_alloc(&first->arena, key->bytes + 1, LT_ALIGNMENT);
        if (copy == NULL) {
            return lt_plan_no_memory(err);
        }
        if (key->bytes != 0) {
            memcpy(copy, array->data, key->bytes);
        }
        key->content = copy;
    }
    stage->values[value].data = key->content;
    return LEAT_OK;
}

/* Infers one node. When it needs a value: an input's content is fixed and the node tried again;
 * any other value is a barrier, returned in *out_barrier. */
static leat_status infer_node(lt_stage *stage, const lt_stage_desc *desc, uint32_t index,
                              uint32_t *out_barrier, leat_error *err)
{
    lt_graph *graph = stage->body->graph;
    const leat_node *node = graph->nodes[index];
    *out_barrier = LEAT_NO_VALUE;
    for (;;) {
        lt_infer infer = {.graph = graph,
                          .values = stage->values,
                          .concrete = true,
                          .needs = LEAT_NO_VALUE,
                          .node = node,
                          .op = stage->body->ops[index]};
        leat_status status = lt_infer_node(&infer, node, err);
        if (infer.needs == LEAT_NO_VALUE) {
            return status;
        }
        if (infer.needs >= graph->n_values || stage->values[infer.needs].data != NULL) {
            return lt_fail(err, LEAT_INTERNAL, "node '%s' (%s) asks for a value that is known",
                           lt_node_label(graph, node), node->op);
        }
        uint32_t input = input_of_value(graph, infer.needs);
        if (input == graph->n_inputs) {
            *out_barrier = infer.needs;
            return LEAT_OK;
        }
        status = fix_content(stage, desc, input, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
}

static bool inputs_known(const lt_stage *stage, const leat_node *node)
{
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        if (node->inputs[k] != LEAT_NO_VALUE && stage->values[node->inputs[k]].data == NULL) {
            return false;
        }
    }
    return true;
}

/* Room for the outputs of a node that is computed now; *out_fits is false when they are too large
 * or of a type whose elements point elsewhere. */
static leat_status make_outputs(lt_stage *stage, const leat_node *node, void **out, bool *out_fits,
                                leat_error *err)
{
    size_t total = 0;
    *out_fits = false;
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        size_t count = 0, bytes;
        if (node->outputs[k] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &stage->values[node->outputs[k]];
        if (value->rank < 0 || value->dtype == LEAT_DTYPE_STRING ||
            !lt_shape_count(value->rank, value->shape, &count) || count > LT_HOST_ELEMENTS ||
            !lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes)) {
            return LEAT_OK;
        }
        total += count;
    }
    if (total > LT_HOST_ELEMENTS) {
        return LEAT_OK;
    }
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        size_t bytes;
        out[k] = NULL;
        if (node->outputs[k] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &stage->values[node->outputs[k]];
        if (lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes)) {
            out[k] = lt_arena_alloc(&stage->arena, bytes + 1, LT_ALIGNMENT);
        }
        if (out[k] == NULL) {
            return lt_plan_no_memory(err);
        }
    }
    *out_fits = true;
    return LEAT_OK;
}

static leat_status compute_shape_node(lt_stage *stage, const leat_node *node, bool *out_done,
                                      leat_error *err)
{
    int64_t *dims = lt_arena_array(&stage->arena, LEAT_MAX_RANK + 1, sizeof(*dims));
    size_t count = 0;
    if (dims == NULL) {
        return lt_plan_no_memory(err);
    }
    *out_done = lt_evaluate_shape(node, &stage->values[node->inputs[0]], dims, &count);
    if (*out_done) {
        stage->values[node->outputs[0]].data = dims;
    }
    return LEAT_OK;
}

/* Computes the node now if its inputs are known and its outputs small. */
static leat_status try_compute(lt_stage *stage, const leat_node *node, bool *out_done,
                               leat_error *err)
{
    enum {
        MOST_OUTPUTS = 64
    };
    void *out[MOST_OUTPUTS];
    *out_done = false;
    if (lt_evaluate_is_shape(node)) {
        return compute_shape_node(stage, node, out_done, err);
    }
    if (node->n_outputs > MOST_OUTPUTS || !inputs_known(stage, node) ||
        !lt_evaluate_is_pure(node)) {
        return LEAT_OK;
    }
    bool fits;
    leat_status status = make_outputs(stage, node, out, &fits, err);
    if (status != LEAT_OK || !fits) {
        return status;
    }
    leat_error own = {0};
    status = lt_evaluate_node(stage->program->model->context, node, stage->values, out, &own);
    if (status == LEAT_UNSUPPORTED) {
        return LEAT_OK; /* it runs like any other node */
    }
    if (status != LEAT_OK) {
        return lt_fail(err, status, "node '%s' (%s): %s", lt_node_label(stage->body->graph, node),
                       node->op, own.message);
    }
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        if (node->outputs[k] != LEAT_NO_VALUE) {
            stage->values[node->outputs[k]].data = out[k];
        }
    }
    *out_done = true;
    return LEAT_OK;
}

typedef struct needs {
    const lt_stage *stage;
    bool *needed; /* per value */
} needs;

static void need(void *argument, uint32_t value)
{
    const needs *n = argument;
    if (value != LEAT_NO_VALUE && n->stage->values[value].data == NULL) {
        n->needed[value] = true;
    }
}

void lt_plan_each_read(const lt_graph *graph, uint32_t node,
                       void (*fn)(void *argument, uint32_t value), void *argument)
{
    const leat_node *n = graph->nodes[node];
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        if (n->inputs[k] != LEAT_NO_VALUE) {
            fn(argument, n->inputs[k]);
        }
    }
    for (uint32_t a = 0; a < n->n_attrs; a++) {
        const lt_graph *body = n->attrs[a].type == LEAT_ATTR_GRAPH ? n->attrs[a].u.graph : NULL;
        for (uint32_t c = 0; body != NULL && c < body->n_captures; c++) {
            fn(argument, body->captures[c].outer);
        }
    }
}

/* Drops nodes whose results nobody needs, such as those read by a Shape only. */
static leat_status drop_dead(lt_stage *stage, uint32_t *nodes, uint32_t *n_nodes, leat_error *err)
{
    const lt_graph *graph = stage->body->graph;
    bool *needed = lt_arena_array(&stage->arena, graph->n_values + 1u, sizeof(bool));
    if (needed == NULL) {
        return lt_plan_no_memory(err);
    }
    needs n = {stage, needed};
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        need(&n, graph->outputs[i]);
    }
    need(&n, stage->barrier);
    for (uint32_t i = stage->barrier_node; i < graph->n_nodes; i++) {
        lt_plan_each_read(graph, i, need, &n);
    }
    uint32_t kept = *n_nodes; /* the list is compacted towards its end */
    for (uint32_t i = *n_nodes; i-- > 0;) {
        const leat_node *node = graph->nodes[nodes[i]];
        bool alive = false;
        for (uint32_t k = 0; k < node->n_outputs; k++) {
            alive = alive || (node->outputs[k] != LEAT_NO_VALUE && needed[node->outputs[k]]);
        }
        for (uint32_t k = 0; k < node->n_inputs && alive; k++) {
            need(&n, node->inputs[k]);
        }
        if (alive) {
            nodes[--kept] = nodes[i];
        }
    }
    memmove(nodes, nodes + kept, (*n_nodes - kept) * sizeof(*nodes));
    *n_nodes -= kept;
    return LEAT_OK;
}

/* Only shapes count for what a stage computes: what the graph knew of outputs is inferred anew. */
static leat_status walk_nodes(lt_stage *stage, const lt_stage_desc *desc, uint32_t *nodes,
                              uint32_t *n_nodes, leat_error *err)
{
    const lt_graph *graph = stage->body->graph;
    for (uint32_t i = stage->first_node; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        uint32_t barrier;
        if (lt_host_runs(stage->body, i, stage->values)) {
            stage->barrier = LEAT_NO_VALUE;
            stage->barrier_node = i;
            stage->at_host = true;
            return LEAT_OK;
        }
        leat_status status = infer_node(stage, desc, i, &barrier, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (barrier != LEAT_NO_VALUE) {
            stage->barrier = barrier;
            stage->barrier_node = i;
            return LEAT_OK;
        }
        status = try_compute(stage, node, &stage->evaluated[i], err);
        if (status != LEAT_OK) {
            return status;
        }
        if (!stage->evaluated[i]) {
            nodes[(*n_nodes)++] = i;
        }
    }
    stage->barrier = LEAT_NO_VALUE;
    stage->barrier_node = graph->n_nodes;
    return LEAT_OK;
}

leat_status lt_plan_walk(lt_stage *stage, const lt_stage_desc *desc, uint32_t **out_nodes,
                         uint32_t *out_n_nodes, leat_error *err)
{
    const lt_graph *graph = stage->body->graph;
    uint32_t *nodes = lt_arena_array(&stage->arena, graph->n_nodes + 1u, sizeof(*nodes));
    stage->evaluated = lt_arena_array(&stage->arena, graph->n_nodes + 1u, sizeof(bool));
    if (nodes == NULL || stage->evaluated == NULL) {
        return lt_plan_no_memory(err);
    }
    *out_nodes = nodes;
    *out_n_nodes = 0;
    leat_status status = walk_nodes(stage, desc, nodes, out_n_nodes, err);
    return status ? status : drop_dead(stage, nodes, out_n_nodes, err);
}

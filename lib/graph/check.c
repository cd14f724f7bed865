/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants that passes rely on. */
#include "base/error.h"
#include "base/tensor.h"
#include "graph/internal.h"

/* Whether a value exists at this point. */
static bool is_made(const lt_graph *graph, const bool *made, uint32_t value)
{
    return value < graph->n_values && made[value];
}

static leat_status check_bodies(const lt_graph *graph, const leat_node *node, const bool *made,
                                leat_error *err)
{
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        const lt_graph *body = lt_attr_graph(&node->attrs[i]);
        if (body == NULL) {
            continue;
        }
        if (body->parent != graph) {
            return lt_fail(err, LEAT_INTERNAL, "node '%s' (%s): %s belongs to another graph",
                           lt_node_label(graph, node), node->op, node->attrs[i].name);
        }
        for (uint32_t j = 0; j < body->n_captures; j++) {
            if (!is_made(graph, made, body->captures[j].outer)) {
                return lt_fail(err, LEAT_INTERNAL, "node '%s' (%s): %s captures what is not made",
                               lt_node_label(graph, node), node->op, node->attrs[i].name);
            }
        }
        leat_status status = lt_graph_check(body, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* Checks one node; `made` marks the values that exist at this point. */
static leat_status check_node(const lt_graph *graph, const leat_node *node, bool *made,
                              leat_error *err)
{
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        uint32_t value = node->inputs[i];
        if (value != LEAT_NO_VALUE && !is_made(graph, made, value)) {
            return lt_fail(err, LEAT_INTERNAL, "node '%s' (%s) reads input %u before it is made",
                           lt_node_label(graph, node), node->op, i);
        }
    }
    leat_status status = check_bodies(graph, node, made, err);
    for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
        uint32_t value = node->outputs[i];
        if (value == LEAT_NO_VALUE) {
            continue;
        }
        if (value >= graph->n_values || made[value]) {
            return lt_fail(err, LEAT_INTERNAL, "node '%s' (%s) makes output %u a second time",
                           lt_node_label(graph, node), node->op, i);
        }
        made[value] = true;
    }
    return status;
}

static leat_status check_value(const lt_graph *graph, const leat_value *value, leat_error *err)
{
    size_t bytes;
    if (value->rank < -1 || value->rank > LEAT_MAX_RANK) {
        return lt_fail(err, LEAT_INTERNAL, "value '%s' has rank %d", value->name, value->rank);
    }
    for (int32_t i = 0; i < value->rank; i++) {
        if (value->shape[i] < 0 && (uint64_t)(-1 - value->shape[i]) >= graph->root->n_symbols) {
            return lt_fail(err, LEAT_INTERNAL, "value '%s': dimension %d is no known symbol",
                           value->name, i);
        }
    }
    if (value->data != NULL &&
        (value->rank < 0 || !lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes) ||
         bytes != value->bytes)) {
        return lt_fail(err, LEAT_INTERNAL, "constant '%s' has %zu bytes", value->name,
                       value->bytes);
    }
    return LEAT_OK;
}

/* Marks what is there before the first node. */
static leat_status check_values(const lt_graph *graph, bool *made, leat_error *err)
{
    for (uint32_t i = 0; i < graph->n_values; i++) {
        leat_status status = check_value(graph, &graph->values[i], err);
        if (status != LEAT_OK) {
            return status;
        }
        made[i] = graph->values[i].data != NULL;
    }
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        if (graph->inputs[i] >= graph->n_values) {
            return lt_fail(err, LEAT_INTERNAL, "graph input %u is no value", i);
        }
        made[graph->inputs[i]] = true;
    }
    for (uint32_t i = 0; i < graph->n_captures; i++) {
        if (graph->captures[i].inner >= graph->n_values) {
            return lt_fail(err, LEAT_INTERNAL, "capture %u is no value", i);
        }
        made[graph->captures[i].inner] = true;
    }
    return LEAT_OK;
}

leat_status lt_graph_check(const lt_graph *graph, leat_error *err)
{
    lt_arena scratch;
    lt_arena_init(&scratch, graph->root->arena.memory, 0);
    bool *made = lt_arena_array(&scratch, (size_t)graph->n_values + 1, sizeof(*made));
    leat_status status = made ? check_values(graph, made, err)
                              : lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        status = check_node(graph, graph->nodes[i], made, err);
    }
    for (uint32_t i = 0; i < graph->n_outputs && status == LEAT_OK; i++) {
        if (!is_made(graph, made, graph->outputs[i])) {
            status = lt_fail(err, LEAT_INTERNAL, "graph output %u is never made", i);
        }
    }
    lt_arena_destroy(&scratch);
    return status;
}

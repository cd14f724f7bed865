/* SPDX-License-Identifier: Apache-2.0 */
/* Deep copies. */
#include "base/error.h"
#include "graph/internal.h"

static leat_status copy_into(const lt_graph *from, lt_graph *to, leat_error *err);

/* Copies the bodies that a node's attributes hold. */
static leat_status copy_bodies(leat_node *node, lt_graph *to, leat_error *err)
{
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        const lt_graph *body = lt_attr_graph(&node->attrs[i]);
        if (body == NULL) {
            continue;
        }
        lt_graph *copy;
        leat_status status = lt_graph_create(NULL, to, &copy, err);
        if (status == LEAT_OK) {
            status = copy_into(body, copy, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        ((leat_attr *)node->attrs)[i].u.graph = copy;
    }
    return LEAT_OK;
}

static leat_status copy_nodes(const lt_graph *from, lt_graph *to, leat_error *err)
{
    for (uint32_t i = 0; i < from->n_nodes; i++) {
        const leat_node *node = from->nodes[i];
        lt_node_desc desc = {node->op,        node->domain,   node->name,
                             node->inputs,    node->n_inputs, node->outputs,
                             node->n_outputs, node->attrs,    node->n_attrs};
        leat_node *copy;
        leat_status status = lt_graph_add_node(to, &desc, UINT32_MAX, &copy, err);
        if (status == LEAT_OK) {
            copy->opset = node->opset;
            status = copy_bodies(copy, to, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status copy_into(const lt_graph *from, lt_graph *to, leat_error *err)
{
    lt_arena *arena = lt_graph_arena(to);
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < from->n_values && status == LEAT_OK; i++) {
        uint32_t value;
        status = lt_graph_add_value(to, from->values[i].name, &value, err);
        if (status == LEAT_OK) {
            const char *name = to->values[value].name;
            to->values[value] = from->values[i];
            to->values[value].name = name;
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    to->name = lt_arena_string(arena, from->name);
    to->kept.n_fields = from->kept.n_fields;
    to->kept.fields =
        lt_arena_copy(arena, from->kept.fields, from->kept.n_fields * sizeof(*from->kept.fields));
    to->inputs = lt_arena_copy(arena, from->inputs, from->n_inputs * sizeof(*to->inputs));
    to->outputs = lt_arena_copy(arena, from->outputs, from->n_outputs * sizeof(*to->outputs));
    to->captures = lt_arena_copy(arena, from->captures, from->n_captures * sizeof(*to->captures));
    if (to->name == NULL || to->inputs == NULL || to->outputs == NULL || to->captures == NULL ||
        to->kept.fields == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
    }
    to->n_inputs = from->n_inputs;
    to->n_outputs = from->n_outputs;
    to->n_captures = from->n_captures;
    return copy_nodes(from, to, err);
}

/* What only the outermost graph has. */
static leat_status copy_root(const lt_graph *from, lt_graph *to, leat_error *err)
{
    lt_arena *arena = &to->arena;
    to->ir_version = from->ir_version;
    to->custom = from->custom;
    to->producer = lt_arena_string(arena, from->producer);
    to->kept_model.n_fields = from->kept_model.n_fields;
    to->kept_model.fields = lt_arena_copy(arena, from->kept_model.fields,
                                          from->kept_model.n_fields * sizeof(leat_string));
    to->opsets = lt_arena_array(arena, from->n_opsets, sizeof(*to->opsets));
    if (to->producer == NULL || to->kept_model.fields == NULL || to->opsets == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
    }
    for (size_t i = 0; i < from->n_opsets; i++) {
        to->opsets[i].version = from->opsets[i].version;
        to->opsets[i].domain = lt_arena_string(arena, from->opsets[i].domain);
        if (to->opsets[i].domain == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
        }
    }
    to->n_opsets = from->n_opsets;
    for (uint32_t i = 0; i < from->n_symbols; i++) {
        /* Symbols keep their numbers: an unnamed one is made anew, a named one is new as well. */
        int64_t dim;
        leat_status status = lt_graph_symbol(to, from->symbols[i], &dim, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

leat_status lt_graph_clone(const lt_graph *graph, lt_graph **out_graph, leat_error *err)
{
    lt_graph *copy = NULL; /* ours until handed over below */
    *out_graph = NULL;
    leat_status status = lt_graph_create(graph->root->arena.memory, NULL, &copy, err);
    if (status == LEAT_OK) {
        status = copy_root(graph, copy, err);
    }
    if (status == LEAT_OK) {
        status = copy_into(graph, copy, err);
    }
    if (status == LEAT_OK) {
        *out_graph = copy;
        copy = NULL;
    }
    lt_graph_destroy(copy);
    return status;
}

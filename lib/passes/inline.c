/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/inline.h"

#include "passes/match.h"

typedef struct inlining {
    lt_inline_desc desc;
    uint32_t *map; /* per value of the body: the graph's value; LEAT_NO_VALUE: none yet */
} inlining;

static bool name_is_free(const lt_graph *graph, const char *name)
{
    for (; graph != NULL; graph = graph->parent) {
        if (lt_graph_find_value(graph, name) != LEAT_NO_VALUE) {
            return false;
        }
    }
    return true;
}

static leat_status add_value(inlining *x, uint32_t v, leat_error *err)
{
    const leat_value *from = &x->desc.body->values[v];
    const char *name = name_is_free(x->desc.graph, from->name) ? from->name : NULL;
    leat_status status = lt_graph_add_value(x->desc.graph, name, &x->map[v], err);
    if (status == LEAT_OK) {
        leat_value *to = &x->desc.graph->values[x->map[v]];
        name = to->name;
        *to = *from;
        to->name = name;
    }
    return status;
}

/* An output that a node of the body makes becomes the node's own output, with its name. */
static void map_outputs(inlining *x)
{
    for (uint32_t i = 0; i < x->desc.body->n_nodes; i++) {
        const leat_node *node = x->desc.body->nodes[i];
        for (uint32_t k = 0; k < node->n_outputs; k++) {
            uint32_t out = 0, v = node->outputs[k];
            while (v != LEAT_NO_VALUE && out < x->desc.body->n_outputs &&
                   (x->desc.body->outputs[out] != v || x->desc.outputs[out] == LEAT_NO_VALUE)) {
                out++;
            }
            if (v != LEAT_NO_VALUE && out < x->desc.body->n_outputs) {
                x->map[v] = x->desc.outputs[out];
                leat_value *to = &x->desc.graph->values[x->map[v]];
                const char *name = to->name;
                *to = x->desc.body->values[v];
                to->name = name;
            }
        }
    }
}

static leat_status map_values(inlining *x, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t v = 0; v < x->desc.body->n_values; v++) {
        x->map[v] = LEAT_NO_VALUE;
    }
    for (uint32_t c = 0; c < x->desc.body->n_captures; c++) {
        x->map[x->desc.body->captures[c].inner] = x->desc.body->captures[c].outer;
    }
    for (uint32_t i = 0; i < x->desc.body->n_inputs; i++) {
        x->map[x->desc.body->inputs[i]] = x->desc.inputs[i];
    }
    map_outputs(x);
    for (uint32_t v = 0; v < x->desc.body->n_values && status == LEAT_OK; v++) {
        status = x->map[v] == LEAT_NO_VALUE ? add_value(x, v, err) : LEAT_OK;
    }
    return status;
}

/* The bodies of a node that has moved read the graph's values. */
static void adopt_bodies(const inlining *x, const leat_node *node)
{
    for (uint32_t a = 0; a < node->n_attrs; a++) {
        if (node->attrs[a].type != LEAT_ATTR_GRAPH) {
            continue;
        }
        lt_graph *body = (lt_graph *)node->attrs[a].u.graph;
        body->parent = x->desc.graph;
        for (uint32_t c = 0; c < body->n_captures; c++) {
            body->captures[c].outer = x->map[body->captures[c].outer];
        }
    }
}

static leat_status add_node(inlining *x, const lt_node_desc *desc, int32_t opset, leat_error *err)
{
    leat_node *copy;
    leat_status status = lt_graph_add_node(x->desc.graph, desc, x->desc.at, &copy, err);
    if (status == LEAT_OK) {
        copy->opset = opset;
        x->desc.at++;
    }
    return status;
}

static leat_status move_node(inlining *x, const leat_node *node, leat_error *err)
{
    lt_node_desc desc = {.op = node->op,
                         .domain = node->domain,
                         .name = node->name,
                         .inputs = node->inputs,
                         .n_inputs = node->n_inputs,
                         .outputs = node->outputs,
                         .n_outputs = node->n_outputs,
                         .attrs = node->attrs,
                         .n_attrs = node->n_attrs};
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        uint32_t v = node->inputs[k];
        lt_node_set_input((leat_node *)node, k, v == LEAT_NO_VALUE ? v : x->map[v]);
    }
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        uint32_t v = node->outputs[k];
        lt_node_set_output((leat_node *)node, k, v == LEAT_NO_VALUE ? v : x->map[v]);
    }
    adopt_bodies(x, node);
    return add_node(x, &desc, node->opset, err);
}

/* Outputs that no node of the body makes (or that make two outputs) are copied. */
static leat_status copy_outputs(inlining *x, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t k = 0; k < x->desc.body->n_outputs && status == LEAT_OK; k++) {
        uint32_t from = x->map[x->desc.body->outputs[k]], to = x->desc.outputs[k];
        if (to == LEAT_NO_VALUE || from == to) {
            continue;
        }
        const lt_node_desc desc = {.op = "Identity",
                                   .domain = "",
                                   .name = "",
                                   .inputs = &from,
                                   .n_inputs = 1,
                                   .outputs = &to,
                                   .n_outputs = 1};
        leat_value *value = &x->desc.graph->values[to];
        const char *name = value->name;
        *value = x->desc.graph->values[from];
        value->name = name;
        value->data = NULL;
        status = add_node(x, &desc, x->desc.opset, err);
    }
    return status;
}

leat_status lt_inline_body(const lt_inline_desc *desc, lt_arena *scratch, uint32_t *out_behind,
                           leat_error *err)
{
    inlining x = {.desc = *desc};
    x.map = lt_arena_array(scratch, desc->body->n_values + 1u, sizeof(*x.map));
    if (x.map == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to inline a body");
    }
    leat_status status = map_values(&x, err);
    for (uint32_t i = 0; i < desc->body->n_nodes && status == LEAT_OK; i++) {
        status = move_node(&x, desc->body->nodes[i], err);
    }
    status = status ? status : copy_outputs(&x, err);
    *out_behind = x.desc.at;
    return status;
}

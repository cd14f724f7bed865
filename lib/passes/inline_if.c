/* SPDX-License-Identifier: Apache-2.0 */
/* An If whose condition is known is replaced by the nodes of the branch that it takes. */
#include "passes/match.h"

typedef struct inlining {
    lt_graph *graph;
    const lt_graph *branch;
    leat_node *node;
    uint32_t *map; /* per value of the branch: the graph's value; LEAT_NO_VALUE: none yet */
    uint32_t at;   /* where the next node goes */
} inlining;

/* The branch that is taken; NULL when that is not known. */
static const lt_graph *taken(const lt_graph *graph, const leat_node *node)
{
    uint32_t c = lt_input_of(node, 0);
    const leat_value *condition = c == LEAT_NO_VALUE ? NULL : &graph->values[c];
    size_t count;
    if (!lt_is_onnx(node, "If") || condition == NULL || condition->data == NULL ||
        condition->dtype != LEAT_DTYPE_BOOL ||
        !lt_shape_count(condition->rank, condition->shape, &count) || count != 1) {
        return NULL;
    }
    bool yes = *(const uint8_t *)condition->data != 0;
    const leat_attr *attr = leat_node_attr(node, yes ? "then_branch" : "else_branch");
    const lt_graph *branch = attr && attr->type == LEAT_ATTR_GRAPH ? attr->u.graph : NULL;
    bool fits = branch && branch->n_inputs == 0 && branch->n_outputs == node->n_outputs;
    return fits ? branch : NULL;
}

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
    const leat_value *from = &x->branch->values[v];
    const char *name = name_is_free(x->graph, from->name) ? from->name : NULL;
    leat_status status = lt_graph_add_value(x->graph, name, &x->map[v], err);
    if (status == LEAT_OK) {
        leat_value *to = &x->graph->values[x->map[v]];
        name = to->name;
        *to = *from;
        to->name = name;
    }
    return status;
}

/* An output that a node of the branch makes becomes the node's own output, with its name. */
static void map_outputs(inlining *x)
{
    for (uint32_t i = 0; i < x->branch->n_nodes; i++) {
        const leat_node *node = x->branch->nodes[i];
        for (uint32_t k = 0; k < node->n_outputs; k++) {
            uint32_t out = 0, v = node->outputs[k];
            while (v != LEAT_NO_VALUE && out < x->node->n_outputs &&
                   (x->branch->outputs[out] != v || x->node->outputs[out] == LEAT_NO_VALUE)) {
                out++;
            }
            if (v != LEAT_NO_VALUE && out < x->node->n_outputs) {
                x->map[v] = x->node->outputs[out];
                leat_value *to = &x->graph->values[x->map[v]];
                const char *name = to->name;
                *to = x->branch->values[v];
                to->name = name;
            }
        }
    }
}

static leat_status map_values(inlining *x, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t v = 0; v < x->branch->n_values; v++) {
        x->map[v] = LEAT_NO_VALUE;
    }
    for (uint32_t c = 0; c < x->branch->n_captures; c++) {
        x->map[x->branch->captures[c].inner] = x->branch->captures[c].outer;
    }
    map_outputs(x);
    for (uint32_t v = 0; v < x->branch->n_values && status == LEAT_OK; v++) {
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
        body->parent = x->graph;
        for (uint32_t c = 0; c < body->n_captures; c++) {
            body->captures[c].outer = x->map[body->captures[c].outer];
        }
    }
}

static leat_status add_node(inlining *x, const lt_node_desc *desc, int32_t opset, leat_error *err)
{
    leat_node *copy;
    leat_status status = lt_graph_add_node(x->graph, desc, x->at, &copy, err);
    if (status == LEAT_OK) {
        copy->opset = opset;
        x->at++;
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

/* Outputs that no node of the branch makes (or that make two outputs) are copied. */
static leat_status copy_outputs(inlining *x, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t k = 0; k < x->node->n_outputs && status == LEAT_OK; k++) {
        uint32_t from = x->map[x->branch->outputs[k]], to = x->node->outputs[k];
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
        leat_value *value = &x->graph->values[to];
        const char *name = value->name;
        *value = x->graph->values[from];
        value->name = name;
        value->data = NULL;
        status = add_node(x, &desc, x->node->opset, err);
    }
    return status;
}

static leat_status inline_branch(inlining *x, leat_error *err)
{
    leat_status status = map_values(x, err);
    for (uint32_t i = 0; i < x->branch->n_nodes && status == LEAT_OK; i++) {
        status = move_node(x, x->branch->nodes[i], err);
    }
    status = status ? status : copy_outputs(x, err);
    if (status == LEAT_OK) {
        lt_graph_remove_node(x->graph, x->node);
    }
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    (void)context;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        const lt_graph *branch = taken(graph, graph->nodes[i]);
        if (branch == NULL) {
            continue;
        }
        inlining x = {.graph = graph, .branch = branch, .node = graph->nodes[i], .at = i};
        x.map = lt_arena_array(scratch, branch->n_values + 1u, sizeof(*x.map));
        status = x.map ? inline_branch(&x, err)
                       : lt_fail(err, LEAT_NO_MEMORY, "inline_if: out of memory");
        *out_changed = true;
        i--; /* the branch's nodes are looked at in turn */
    }
    return status;
}

leat_status lt_pass_inline_if(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                              leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

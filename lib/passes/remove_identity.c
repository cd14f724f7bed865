/* SPDX-License-Identifier: Apache-2.0 */
/* Drops nodes that hand their input on: Identity, Dropout at inference, Cast to the same type. */
#include "passes/match.h"

static bool is_false(const lt_graph *graph, uint32_t value)
{
    return value == LEAT_NO_VALUE ||
           (graph->values[value].dtype == LEAT_DTYPE_BOOL && graph->values[value].data != NULL &&
            *(const uint8_t *)graph->values[value].data == 0);
}

static bool hands_on(const lt_graph *graph, const lt_uses *uses, const leat_node *node)
{
    uint32_t in = lt_input_of(node, 0), out = lt_output_of(node, 0);
    if (node->domain[0] != '\0' || in == LEAT_NO_VALUE || out == LEAT_NO_VALUE) {
        return false;
    }
    if (strcmp(node->op, "Identity") == 0) {
        return true;
    }
    if (strcmp(node->op, "Cast") == 0) {
        return graph->values[in].dtype != LEAT_DTYPE_UNDEFINED &&
               leat_node_int(node, "to", 0) == (int64_t)graph->values[in].dtype;
    }
    if (strcmp(node->op, "Dropout") == 0) {
        uint32_t mask = lt_output_of(node, 1);
        return is_false(graph, lt_input_of(node, 2)) &&
               (mask == LEAT_NO_VALUE || uses->count[mask] == 0);
    }
    return false;
}

/* What stands in for a value; itself when nothing does. */
static uint32_t resolve(uint32_t *alias, uint32_t value)
{
    while (alias[value] != value) {
        alias[value] = alias[alias[value]];
        value = alias[value];
    }
    return value;
}

/* The producer of `in` makes `out` instead, so that a graph output keeps its name. */
static bool take_over(lt_graph *graph, lt_uses *uses, uint32_t in, uint32_t out)
{
    leat_node *producer = uses->producer[in];
    if (producer == NULL || uses->is_output[in]) {
        return false;
    }
    for (uint32_t i = 0; i < producer->n_outputs; i++) {
        if (producer->outputs[i] == in) {
            lt_node_set_output(producer, i, out);
        }
    }
    const char *name = graph->values[out].name;
    leat_value made = graph->values[in];
    graph->values[out] = made;
    graph->values[out].name = name;
    uses->producer[out] = producer;
    return true;
}

/* All readers at once, at the end: one by one would take a walk over the graph for each node. */
static void rename_uses(lt_graph *graph, uint32_t *alias)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        leat_node *node = graph->nodes[i];
        for (uint32_t j = 0; j < node->n_inputs; j++) {
            if (node->inputs[j] != LEAT_NO_VALUE) {
                lt_node_set_input(node, j, resolve(alias, node->inputs[j]));
            }
        }
        for (uint32_t j = 0; j < node->n_attrs; j++) {
            if (node->attrs[j].type == LEAT_ATTR_GRAPH) {
                lt_graph *body = (lt_graph *)node->attrs[j].u.graph;
                for (uint32_t c = 0; c < body->n_captures; c++) {
                    body->captures[c].outer = resolve(alias, body->captures[c].outer);
                }
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        graph->outputs[i] = resolve(alias, graph->outputs[i]);
    }
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    uint32_t *alias = lt_arena_array(scratch, graph->n_values, sizeof(*alias)), kept = 0;
    leat_status status = alias ? lt_uses_build(graph, scratch, &uses, err)
                               : lt_fail(err, LEAT_NO_MEMORY, "remove_identity: out of memory");
    (void)context;
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < graph->n_values; i++) {
        alias[i] = i;
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        leat_node *node = graph->nodes[i];
        bool gone = hands_on(graph, &uses, node);
        if (gone) {
            uint32_t in = resolve(alias, node->inputs[0]), out = node->outputs[0];
            if (!uses.is_output[out]) {
                alias[out] = in;
            } else if (take_over(graph, &uses, in, out)) {
                alias[in] = out;
            } else {
                gone = false;
            }
        }
        if (!gone) {
            graph->nodes[kept++] = node;
        }
    }
    *out_changed |= kept != graph->n_nodes;
    graph->n_nodes = kept;
    rename_uses(graph, alias);
    return LEAT_OK;
}

leat_status lt_pass_remove_identity(lt_graph *graph, const lt_pass_context *context,
                                    bool *out_changed, leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who makes and who reads each value. */
#include "base/error.h"
#include "graph/internal.h"

static void count_node(const lt_graph *graph, leat_node *node, lt_uses *uses)
{
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        uint32_t value = node->inputs[i];
        if (value != LEAT_NO_VALUE) {
            uses->count[value]++;
            uses->reader[value] = node;
        }
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != LEAT_NO_VALUE) {
            uses->producer[node->outputs[i]] = node;
        }
    }
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        const lt_graph *body = lt_attr_graph(&node->attrs[i]);
        for (uint32_t j = 0; body != NULL && j < body->n_captures; j++) {
            uses->count[body->captures[j].outer]++;
            uses->is_output[body->captures[j].outer] = true;
        }
    }
    (void)graph;
}

leat_status lt_uses_build(const lt_graph *graph, lt_arena *arena, lt_uses *out_uses,
                          leat_error *err)
{
    size_t n = graph->n_values;
    out_uses->producer = lt_arena_array(arena, n, sizeof(*out_uses->producer));
    out_uses->count = lt_arena_array(arena, n, sizeof(*out_uses->count));
    out_uses->reader = lt_arena_array(arena, n, sizeof(*out_uses->reader));
    out_uses->is_output = lt_arena_array(arena, n, sizeof(*out_uses->is_output));
    if (out_uses->producer == NULL || out_uses->count == NULL || out_uses->reader == NULL ||
        out_uses->is_output == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        count_node(graph, graph->nodes[i], out_uses);
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        out_uses->count[graph->outputs[i]]++;
        out_uses->is_output[graph->outputs[i]] = true;
    }
    return LEAT_OK;
}

void lt_graph_replace_uses(lt_graph *graph, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        leat_node *node = graph->nodes[i];
        for (uint32_t j = 0; j < node->n_inputs; j++) {
            if (node->inputs[j] == from) {
                lt_node_set_input(node, j, to);
            }
        }
        for (uint32_t j = 0; j < node->n_attrs; j++) {
            lt_graph *body = lt_attr_graph(&node->attrs[j]);
            for (uint32_t c = 0; body != NULL && c < body->n_captures; c++) {
                if (body->captures[c].outer == from) {
                    body->captures[c].outer = to;
                }
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == from) {
            graph->outputs[i] = to;
        }
    }
}

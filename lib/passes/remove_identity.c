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

/* The producer of `in` makes `out` instead, so that a graph output keeps its name. */
static bool take_over(lt_graph *graph, const lt_uses *uses, uint32_t in, uint32_t out)
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
    lt_graph_replace_uses(graph, in, out); /* the node itself too: it goes at once */
    return true;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    (void)context;
    for (uint32_t i = 0; i < graph->n_nodes;) {
        leat_node *node = graph->nodes[i];
        lt_uses uses;
        bool likely = node->domain[0] == '\0' &&
                      (strcmp(node->op, "Identity") == 0 || strcmp(node->op, "Cast") == 0 ||
                       strcmp(node->op, "Dropout") == 0);
        leat_status status = likely ? lt_uses_build(graph, scratch, &uses, err) : LEAT_OK;
        if (status != LEAT_OK) {
            return status;
        }
        i++;
        if (!likely || !hands_on(graph, &uses, node)) {
            continue;
        }
        uint32_t in = node->inputs[0], out = node->outputs[0];
        if (uses.is_output[out]) {
            if (!take_over(graph, &uses, in, out)) {
                continue;
            }
            lt_graph_remove_node(graph, node);
        } else {
            lt_graph_replace_uses(graph, out, in);
            lt_graph_remove_node(graph, node);
        }
        *out_changed = true;
        i--;
    }
    return LEAT_OK;
}

leat_status lt_pass_remove_identity(lt_graph *graph, const lt_pass_context *context,
                                    bool *out_changed, leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

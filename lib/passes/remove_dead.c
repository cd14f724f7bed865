/* SPDX-License-Identifier: Apache-2.0 */
/* Drops nodes none of whose outputs is needed. */
#include "passes/match.h"

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    uint32_t kept = graph->n_nodes;
    (void)context;
    if (status != LEAT_OK) {
        return status;
    }
    /* Backwards, so that a chain goes in one walk. */
    for (uint32_t i = graph->n_nodes; i-- > 0;) {
        const leat_node *node = graph->nodes[i];
        bool needed = false;
        for (uint32_t j = 0; j < node->n_outputs; j++) {
            needed |= node->outputs[j] != LEAT_NO_VALUE && uses.count[node->outputs[j]] != 0;
        }
        if (needed) {
            graph->nodes[--kept] = graph->nodes[i];
            continue;
        }
        for (uint32_t j = 0; j < node->n_inputs; j++) {
            if (node->inputs[j] != LEAT_NO_VALUE) {
                uses.count[node->inputs[j]]--;
            }
        }
    }
    if (kept == 0) {
        return LEAT_OK;
    }
    *out_changed = true;
    graph->n_nodes -= kept;
    memmove(graph->nodes, graph->nodes + kept, graph->n_nodes * sizeof(*graph->nodes));
    return LEAT_OK;
}

leat_status lt_pass_remove_dead(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                                leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

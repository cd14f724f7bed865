/* SPDX-License-Identifier: Apache-2.0 */
/* An If whose condition is known is replaced by the nodes of the branch that it takes. */
#include "passes/inline.h"
#include "passes/match.h"

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
        uint32_t behind;
        leat_node *node = graph->nodes[i];
        const lt_inline_desc desc = {.graph = graph,
                                     .body = branch,
                                     .outputs = node->outputs,
                                     .opset = node->opset,
                                     .at = i};
        status = lt_inline_body(&desc, scratch, &behind, err);
        if (status == LEAT_OK) {
            lt_graph_remove_node(graph, node);
        }
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

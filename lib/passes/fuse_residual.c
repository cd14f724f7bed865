/* SPDX-License-Identifier: Apache-2.0 */
/* Conv, Gemm or MatMul whose result is added to a value of the same shape: the value becomes the
 * last input of the node, which adds it before it stores. Of two candidates the later one takes the
 * other's result. */
#include "passes/match.h"

static bool may_take(const leat_node *node)
{
    return (lt_is_op(node, "Conv") || lt_is_op(node, "Gemm") || lt_is_op(node, "MatMul")) &&
           node->n_outputs == 1 && leat_node_int(node, "residual", 0) == 0 &&
           leat_node_attr(node, "activation") == NULL;
}

/* The producer of an operand of `add` that can take the other one. */
static leat_node *candidate(const lt_graph *graph, const lt_uses *uses, const leat_node *add,
                            uint32_t operand)
{
    leat_node *node = uses->producer[operand];
    return node != NULL && may_take(node) && lt_only_reader(uses, operand) == add &&
                   lt_same_shape(graph, operand, add->outputs[0])
               ? node
               : NULL;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, leat_node *node,
                        const leat_node *add, uint32_t residual, lt_uses *uses, bool *out_changed,
                        leat_error *err)
{
    uint32_t inputs[4] = {node->inputs[0], node->inputs[1], lt_input_of(node, 2), residual};
    leat_attr attr = {"residual", LEAT_ATTR_INT, 1, {.i = 1}};
    leat_node *made;
    lt_rewrite r = {.from = node,
                    .at = add,
                    .domain = "leat",
                    .inputs = inputs,
                    .n_inputs = 4,
                    .output = add->outputs[0],
                    .attrs = &attr,
                    .n_attrs = 1};
    leat_status status = lt_rewrite_node(graph, &r, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_keep_supported(graph, context, made)) {
        return LEAT_OK;
    }
    uses->producer[add->outputs[0]] = made;
    for (uint32_t i = 0; i < 4; i++) { /* the readers that go away were these two nodes */
        if (inputs[i] != LEAT_NO_VALUE &&
            (uses->reader[inputs[i]] == node || uses->reader[inputs[i]] == add)) {
            uses->reader[inputs[i]] = made;
        }
    }
    lt_graph_remove_node(graph, node);
    lt_graph_remove_node(graph, add);
    *out_changed = true;
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *add = graph->nodes[i];
        if (!lt_is_onnx(add, "Add") || add->inputs[0] == add->inputs[1] ||
            !lt_same_shape(graph, add->inputs[0], add->inputs[1])) {
            continue;
        }
        leat_node *a = candidate(graph, &uses, add, add->inputs[0]);
        leat_node *b = candidate(graph, &uses, add, add->inputs[1]);
        bool second = a == NULL || (b != NULL && lt_position(graph, b) > lt_position(graph, a));
        leat_node *node = second ? b : a;
        if (node != NULL) {
            bool changed = false;
            status =
                fuse(graph, context, node, add, add->inputs[second ? 0 : 1], &uses, &changed, err);
            *out_changed |= changed;
            i -= changed;
        }
    }
    return status;
}

leat_status lt_pass_fuse_residual(lt_graph *graph, const lt_pass_context *context,
                                  bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* MatMul by a constant matrix, plus a constant row: one leat MatMul with a bias as third input. */
#include "passes/match.h"

/* A constant of n elements along the last dimension, 1 along all others. */
static bool is_row(const lt_graph *graph, uint32_t value, int64_t n)
{
    const leat_value *v = &graph->values[value];
    if (v->data == NULL || v->rank < 1 || v->shape[v->rank - 1] != n) {
        return false;
    }
    for (int32_t i = 0; i < v->rank - 1; i++) {
        if (v->shape[i] != 1) {
            return false;
        }
    }
    return true;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, leat_node *matmul,
                        const leat_node *add, uint32_t bias, bool *out_changed, leat_error *err)
{
    uint32_t inputs[3] = {matmul->inputs[0], matmul->inputs[1], bias};
    leat_node *made;
    lt_rewrite r = {.from = matmul,
                    .at = add,
                    .domain = "leat",
                    .inputs = inputs,
                    .n_inputs = 3,
                    .output = add->outputs[0]};
    leat_status status = lt_rewrite_node(graph, &r, &made, err);
    *out_changed |= status == LEAT_OK && lt_keep_for_two(graph, context, made, matmul, add);
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *matmul = graph->nodes[i];
        if (!lt_is_onnx(matmul, "MatMul")) {
            continue;
        }
        leat_value b = graph->values[matmul->inputs[1]];
        leat_node *add = lt_only_reader(&uses, matmul->outputs[0]);
        if (b.data == NULL || b.rank != 2 || add == NULL || !lt_is_onnx(add, "Add")) {
            continue;
        }
        uint32_t other = add->inputs[add->inputs[0] == matmul->outputs[0]];
        leat_value product = graph->values[matmul->outputs[0]], row = graph->values[other];
        if (product.rank >= row.rank && is_row(graph, other, b.shape[1])) {
            bool changed = false;
            status = fuse(graph, context, matmul, add, other, &changed, err);
            *out_changed |= changed;
            i -= changed; /* the node at i is another one now */
        }
    }
    return status;
}

leat_status lt_pass_matmul_add(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                               leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

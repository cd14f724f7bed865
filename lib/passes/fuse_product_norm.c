/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNormalization of the rows of a MatMul with a residual, as at the end of both halves of a
 * transformer's layer, becomes MatMulNorm with
 *
 *     inputs  A, B, bias (may be absent), scale and bias of the normalization, residual
 *
 * so that the sums need not be stored and read once more. Runs behind the passes that choose
 * types. */
#include "passes/match.h"

/* Of leat's domain, with a residual and without an activation, all its types alike, by a matrix. */
static bool is_product(const lt_graph *graph, const leat_node *node)
{
    if (strcmp(node->domain, "leat") != 0 || strcmp(node->op, "MatMul") != 0 ||
        node->n_inputs != 4 || node->n_outputs != 1 || leat_node_int(node, "residual", 0) == 0 ||
        leat_node_attr(node, "activation") != NULL || leat_node_attr(node, "compute") != NULL ||
        leat_node_attr(node, "storage") != NULL) {
        return false;
    }
    const leat_value *a = &graph->values[node->inputs[0]], *b = &graph->values[node->inputs[1]];
    return a->rank >= 2 && b->rank == 2 && b->data != NULL &&
           a->dtype == graph->values[node->outputs[0]].dtype;
}

/* Over the last dimension of the product, with constant rows of its type. */
static bool is_norm(const lt_graph *graph, const leat_node *node)
{
    if (!lt_is_op(node, "LayerNormalization") || node->n_inputs != 3 || node->n_outputs != 1) {
        return false;
    }
    const leat_value *x = &graph->values[node->inputs[0]];
    const int64_t axis = leat_node_int(node, "axis", -1);
    for (uint32_t i = 1; i < 3; i++) {
        const uint32_t input = lt_input_of(node, i);
        const leat_value *row = input == LEAT_NO_VALUE ? NULL : &graph->values[input];
        if (row == NULL || row->data == NULL || row->rank != 1 || row->dtype != x->dtype ||
            x->rank < 1 || row->shape[0] != x->shape[x->rank - 1]) {
            return false;
        }
    }
    return axis == -1 || axis == x->rank - 1;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, leat_node *product,
                        leat_node *norm, bool *out_changed, leat_error *err)
{
    const uint32_t inputs[6] = {product->inputs[0], product->inputs[1], product->inputs[2],
                                norm->inputs[1],    norm->inputs[2],    product->inputs[3]};
    const leat_attr attrs[2] = {
        {"residual", LEAT_ATTR_INT, 1, {.i = 1}},
        {"epsilon", LEAT_ATTR_FLOAT, 1, {.f = leat_node_float(norm, "epsilon", 1e-5f)}}};
    lt_node_desc desc = {.op = "MatMulNorm",
                         .domain = "leat",
                         .name = product->name,
                         .inputs = inputs,
                         .n_inputs = 6,
                         .outputs = norm->outputs,
                         .n_outputs = 1,
                         .attrs = attrs,
                         .n_attrs = 2};
    leat_node *made;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, norm), &made, err);
    *out_changed |= status == LEAT_OK && lt_keep_for_two(graph, context, made, norm, product);
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *norm = graph->nodes[i];
        if (!is_norm(graph, norm)) {
            continue;
        }
        leat_node *product = uses.producer[norm->inputs[0]];
        bool changed = false;
        if (product != NULL && is_product(graph, product) &&
            lt_only_reader(&uses, norm->inputs[0]) == norm) {
            status = fuse(graph, context, product, norm, &changed, err);
        }
        *out_changed |= changed;
        i -= changed;
    }
    return status;
}

leat_status lt_pass_fuse_product_norm(lt_graph *graph, const lt_pass_context *context,
                                      bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What evens channels out around DynamicQuantizeLinear, as leat's quantizer writes it, in one node:
 *
 *     Mul(x, factors) -> DynamicQuantizeLinear            to leat's SmoothQuantize
 *     that -> Concat(y, Gather(y, again))                 with columns that come again */
#include "passes/qdq.h"

static leat_status make(lt_graph *graph, const lt_pass_context *context, const leat_node *at,
                        const uint32_t *inputs, uint32_t n_inputs, const uint32_t outputs[3],
                        bool *out_made, leat_error *err)
{
    const lt_node_desc desc = {.op = "SmoothQuantize",
                               .domain = "leat",
                               .name = at->name,
                               .inputs = inputs,
                               .n_inputs = n_inputs,
                               .outputs = outputs,
                               .n_outputs = 3};
    leat_node *made;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, at), &made, err);
    *out_made = status == LEAT_OK && lt_keep_supported(graph, context, made);
    return status;
}

/* The operand of a Mul by a constant row of its last dimension; LEAT_NO_VALUE for another node. */
static uint32_t read_factors(const lt_graph *graph, const leat_node *mul, uint32_t *out_factors)
{
    for (uint32_t i = 0; i < 2; i++) {
        const leat_value *x = &graph->values[mul->inputs[i]];
        const leat_value *row = &graph->values[mul->inputs[1 - i]];
        if (row->data != NULL && row->dtype == LEAT_DTYPE_F32 && row->rank == 1 && x->rank > 0 &&
            x->data == NULL && x->shape[x->rank - 1] == row->shape[0] &&
            lt_same_shape(graph, mul->inputs[i], mul->outputs[0])) {
            *out_factors = mul->inputs[1 - i];
            return mul->inputs[i];
        }
    }
    return LEAT_NO_VALUE;
}

static leat_status fuse_factors(lt_graph *graph, const lt_pass_context *context,
                                const lt_uses *uses, leat_node *node, bool *out_changed,
                                leat_error *err)
{
    leat_node *mul = uses->producer[node->inputs[0]];
    uint32_t inputs[2];
    bool made = false;
    if (mul == NULL || !lt_is_onnx(mul, "Mul") || lt_only_reader(uses, mul->outputs[0]) != node ||
        node->n_outputs != 3) {
        return LEAT_OK;
    }
    inputs[0] = read_factors(graph, mul, &inputs[1]);
    if (inputs[0] == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    leat_status status = make(graph, context, node, inputs, 2, node->outputs, &made, err);
    if (made) {
        lt_graph_remove_node(graph, node);
        lt_graph_remove_node(graph, mul);
        *out_changed = true;
    }
    return status;
}

static bool is_last_axis(const lt_graph *graph, const leat_node *node)
{
    int32_t rank = graph->values[node->inputs[0]].rank;
    int64_t axis = leat_node_int(node, "axis", 0);
    return rank > 0 && (axis == rank - 1 || axis == -1);
}

/* A leat node of x and factors alone, whose bytes two nodes read. */
static bool is_smooth(const lt_uses *uses, const leat_node *node, uint32_t y)
{
    return node != NULL && strcmp(node->domain, "leat") == 0 &&
           strcmp(node->op, "SmoothQuantize") == 0 && node->n_inputs == 2 &&
           y == node->outputs[0] && uses->count[y] == 2 && !uses->is_output[y];
}

/* Concat(y, Gather(y, again)), which are all that reads y. */
static leat_status fuse_again(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                              leat_node *concat, bool *out_changed, leat_error *err)
{
    if (concat->n_inputs != 2 || concat->inputs[1] == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    uint32_t y = concat->inputs[0];
    leat_node *gather = uses->producer[concat->inputs[1]], *quantize = uses->producer[y];
    bool made = false;
    if (gather == NULL || !lt_is_onnx(gather, "Gather") || gather->inputs[0] != y ||
        !is_smooth(uses, quantize, y) || lt_only_reader(uses, gather->outputs[0]) != concat ||
        !is_last_axis(graph, concat) || !is_last_axis(graph, gather)) {
        return LEAT_OK;
    }
    const leat_value *again = &graph->values[gather->inputs[1]];
    if (again->data == NULL || again->dtype != LEAT_DTYPE_I64 || again->rank != 1) {
        return LEAT_OK;
    }
    const uint32_t inputs[3] = {quantize->inputs[0], quantize->inputs[1], gather->inputs[1]};
    const uint32_t outputs[3] = {concat->outputs[0], quantize->outputs[1], quantize->outputs[2]};
    leat_status status = make(graph, context, quantize, inputs, 3, outputs, &made, err);
    if (made) {
        lt_graph_remove_node(graph, quantize);
        lt_graph_remove_node(graph, gather);
        lt_graph_remove_node(graph, concat);
        *out_changed = true;
    }
    return status;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    if (lt_input_of(node, 0) == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    if (lt_is_onnx(node, "DynamicQuantizeLinear")) {
        return fuse_factors(graph, context, uses, node, out_changed, err);
    }
    return lt_is_onnx(node, "Concat") ? fuse_again(graph, context, uses, node, out_changed, err)
                                      : LEAT_OK;
}

leat_status lt_pass_fuse_smooth(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                                leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

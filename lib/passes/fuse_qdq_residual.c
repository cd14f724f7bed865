/* SPDX-License-Identifier: Apache-2.0 */
/* A quantized product whose result is added to a value of the same shape takes that value as its
 * residual:
 *
 *     QConv in bytes -> DequantizeLinear -> Add(., r)     rounds twice, as the nodes would
 *     QConv in f32 -> Add(., r)
 *
 * r is f32, or bytes behind DequantizeLinear. Of two candidates the later one takes the other's
 * result. */
#include "passes/qdq.h"

/* The product behind an operand of `add`, and the DequantizeLinear between them, NULL for none. */
typedef struct candidate {
    leat_node *product, *dequantize;
} candidate;

static bool is_free(const leat_node *node)
{
    return lt_qdq_is_product(node) && lt_input_of(node, LT_Q_RESIDUAL) == LEAT_NO_VALUE &&
           leat_node_attr(node, "activation") == NULL;
}

static candidate find_candidate(const lt_graph *graph, const lt_uses *uses, const leat_node *add,
                                uint32_t operand)
{
    candidate none = {NULL, NULL}, c = none;
    lt_quantized y;
    if (lt_only_reader(uses, operand) != add || !lt_same_shape(graph, operand, add->outputs[0])) {
        return none;
    }
    c.product = uses->producer[operand];
    if (lt_qdq_dequantized(graph, uses, operand, &y)) {
        c.dequantize = c.product;
        c.product = lt_only_reader(uses, y.value) == c.dequantize ? uses->producer[y.value] : NULL;
    }
    if (c.product == NULL || !is_free(c.product) ||
        lt_qdq_is_open(c.product) != (c.dequantize == NULL)) {
        return none;
    }
    if (c.dequantize != NULL) { /* as it was quantized */
        uint32_t inputs[LT_Q_INPUTS];
        lt_qdq_inputs(c.product, inputs);
        lt_quantized own = {y.value, inputs[LT_Q_Y_SCALE], inputs[LT_Q_Y_ZERO]};
        return lt_qdq_same_grid(graph, &own, &y) ? c : none;
    }
    return c;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *add, bool *out_changed, leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    lt_quantized r = {LEAT_NO_VALUE, LEAT_NO_VALUE, LEAT_NO_VALUE};
    if (!lt_is_onnx(add, "Add") || add->inputs[0] == add->inputs[1] ||
        !lt_same_shape(graph, add->inputs[0], add->inputs[1])) {
        return LEAT_OK;
    }
    candidate a = find_candidate(graph, uses, add, add->inputs[0]);
    candidate b = find_candidate(graph, uses, add, add->inputs[1]);
    bool second = a.product == NULL || (b.product != NULL && lt_position(graph, b.product) >
                                                                 lt_position(graph, a.product));
    candidate c = second ? b : a;
    uint32_t other = add->inputs[second ? 0 : 1];
    if (c.product == NULL) {
        return LEAT_OK;
    }
    lt_qdq_inputs(c.product, inputs);
    if (lt_qdq_dequantized(graph, uses, other, &r)) {
        other = r.value;
    } else if (graph->values[other].dtype != LEAT_DTYPE_F32) {
        return LEAT_OK;
    }
    inputs[LT_Q_RESIDUAL] = other;
    inputs[LT_Q_R_SCALE] = r.scale;
    inputs[LT_Q_R_ZERO] = r.zero;
    lt_qdq_desc desc = {.from = c.product,
                        .at = add,
                        .op = c.product->op,
                        .inputs = inputs,
                        .output = add->outputs[0]};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){c.product, add, c.dequantize},
                          out_changed, err);
}

leat_status lt_pass_fuse_qdq_residual(lt_graph *graph, const lt_pass_context *context,
                                      bool *out_changed, leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* An image that is quantized and turned to channels-last for one convolution goes to it as it is:
 *
 *     QuantizeLinear -> Transpose -> QConv of channels_last        to QConv of floats
 *
 * so that what the convolution reads is written in one pass. Runs behind the passes that choose
 * layout and types. */
#include "passes/qdq.h"
#include "passes/transposes.h"

/* Whether the node only moves channels behind the pixels. */
static bool moves_channels(const lt_graph *graph, const leat_node *node)
{
    int64_t perm[LEAT_MAX_RANK];
    int32_t rank;
    if (node == NULL || !lt_read_perm(graph, node, perm, &rank) || rank < 3) {
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        if (perm[i] != (i == 0 ? 0 : i + 1 == rank ? 1 : i + 1)) {
            return false;
        }
    }
    return true;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    uint32_t inputs[LT_Q_INPUTS];
    lt_quantized y;
    if (!lt_qdq_is_product(node) || leat_node_int(node, "channels_last", 0) == 0) {
        return LEAT_OK;
    }
    lt_qdq_inputs(node, inputs);
    leat_node *turn = uses->producer[inputs[LT_Q_X]];
    if (!moves_channels(graph, turn) || lt_only_reader(uses, inputs[LT_Q_X]) != node) {
        return LEAT_OK;
    }
    leat_node *quantize = uses->producer[turn->inputs[0]];
    if (quantize == NULL || lt_only_reader(uses, turn->inputs[0]) != turn ||
        !lt_qdq_quantizes(graph, quantize, &y)) {
        return LEAT_OK;
    }
    const lt_quantized x = {y.value, inputs[LT_Q_X_SCALE], inputs[LT_Q_X_ZERO]};
    if (!lt_qdq_same_grid(graph, &x, &y)) {
        return LEAT_OK;
    }
    inputs[LT_Q_X] = quantize->inputs[0];
    const lt_qdq_desc desc = {
        .from = node, .at = node, .op = node->op, .inputs = inputs, .output = node->outputs[0]};
    return lt_qdq_replace(graph, context, &desc, (leat_node *[]){node, turn, quantize}, out_changed,
                          err);
}

leat_status lt_pass_quantize_image(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

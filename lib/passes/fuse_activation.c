/* SPDX-License-Identifier: Apache-2.0 */
/* An activation behind Conv, ConvTranspose, Gemm, MatMul or an elementwise binary moves into it.
 * First x * Sigmoid(x) and x * HardSigmoid(x) are recognised as Swish and HardSwish. A factor and
 * an addend behind a HardSwish that moved become its own. */
#include "passes/qdq.h"

#include <math.h>

/* --- recognising --------------------------------------------------------------------------------
 */

/* What leat/backend.h's "Nodes of the domain leat" says about an activation node. */
typedef struct activation {
    const char *name;
    float alpha, beta;
    bool has_parameters;
} activation;

/* A bound of Clip: an attribute (opset 6), a constant, or absent. */
static bool clip_bound(const lt_graph *graph, const leat_node *node, uint32_t input,
                       const char *attr, float otherwise, float *out)
{
    double bound;
    *out = leat_node_float(node, attr, otherwise);
    if (lt_input_of(node, input) == LEAT_NO_VALUE) {
        return true;
    }
    if (!lt_constant_float(graph, node->inputs[input], &bound)) {
        return false;
    }
    *out = (float)bound;
    return true;
}

static bool read_activation(const lt_graph *graph, const leat_node *node, activation *out)
{
    static const char *const plain[] = {"Relu", "Sigmoid", "Tanh", "HardSwish"};
    memset(out, 0, sizeof(*out));
    if (node->domain[0] != '\0' || node->n_outputs != 1) {
        return false;
    }
    out->name = node->op;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(node->op, plain[i]) == 0) {
            return true;
        }
    }
    out->has_parameters = true;
    if (strcmp(node->op, "Clip") == 0) {
        return clip_bound(graph, node, 1, "min", -INFINITY, &out->alpha) &&
               clip_bound(graph, node, 2, "max", INFINITY, &out->beta);
    }
    if (strcmp(node->op, "LeakyRelu") == 0) {
        out->alpha = leat_node_float(node, "alpha", 0.01f);
        return true;
    }
    if (strcmp(node->op, "HardSigmoid") == 0) {
        out->alpha = leat_node_float(node, "alpha", 0.2f);
        out->beta = leat_node_float(node, "beta", 0.5f);
        return true;
    }
    if (strcmp(node->op, "Swish") == 0) {
        out->alpha = leat_node_float(node, "alpha", 1.0f);
        return true;
    }
    out->has_parameters = false;
    if (strcmp(node->op, "Gelu") == 0 && leat_node_string_is(node, "approximate", "tanh")) {
        out->name = "GeluTanh";
        return true;
    }
    return strcmp(node->op, "Gelu") == 0;
}

static bool may_take(const leat_node *node)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                      "Add",  "Sub",           "Mul"};
    if (node->n_outputs != 1 || leat_node_attr(node, "activation") != NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (lt_is_op(node, ops[i])) {
            return true;
        }
    }
    return lt_qdq_is_open(node);
}

/* --- gates: x * f(x) ----------------------------------------------------------------------------
 */

/* Mul(x, Sigmoid(x)) -> Swish(x), Mul(x, HardSigmoid(x; 1/6, 1/2)) -> HardSwish(x). */
static leat_status fuse_gate(lt_graph *graph, const lt_uses *uses, const leat_node *mul,
                             bool *out_changed, leat_error *err)
{
    if (!lt_is_onnx(mul, "Mul")) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < 2; i++) {
        const leat_node *gate = uses->producer[mul->inputs[i]];
        uint32_t x = mul->inputs[1 - i];
        if (gate == NULL || lt_input_of(gate, 0) != x ||
            lt_only_reader(uses, mul->inputs[i]) != mul) {
            continue;
        }
        bool hard = lt_is_onnx(gate, "HardSigmoid") &&
                    fabsf(leat_node_float(gate, "alpha", 0.2f) - 1.0f / 6.0f) < 1e-6f &&
                    leat_node_float(gate, "beta", 0.5f) == 0.5f;
        if (!hard && !lt_is_onnx(gate, "Sigmoid")) {
            continue;
        }
        lt_node_desc desc = {.op = hard ? "HardSwish" : "Swish",
                             .domain = "",
                             .name = mul->name,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = mul->outputs,
                             .n_outputs = 1};
        leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, mul), NULL, err);
        if (status == LEAT_OK) {
            lt_graph_remove_node(graph, gate);
            lt_graph_remove_node(graph, mul);
            *out_changed = true;
        }
        return status;
    }
    return LEAT_OK;
}

static leat_status run_gates(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                             bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    (void)context;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        bool changed = false;
        status = fuse_gate(graph, &uses, graph->nodes[i], &changed, err);
        *out_changed |= changed;
        i -= changed;
    }
    return status;
}

/* --- fusing -------------------------------------------------------------------------------------
 */

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, leat_node *node,
                        const leat_node *reader, const activation *act, lt_uses *uses,
                        bool *out_changed, leat_error *err)
{
    leat_attr attrs[3] = {
        {"activation", LEAT_ATTR_STRING, 1, {.s = {act->name, strlen(act->name)}}},
        {"activation_alpha", LEAT_ATTR_FLOAT, 1, {.f = act->alpha}},
        {"activation_beta", LEAT_ATTR_FLOAT, 1, {.f = act->beta}}};
    leat_node *made;
    lt_rewrite r = {.from = node,
                    .at = node,
                    .domain = "leat",
                    .inputs = node->inputs,
                    .n_inputs = node->n_inputs,
                    .output = reader->outputs[0],
                    .attrs = attrs,
                    .n_attrs = act->has_parameters ? 3 : 1};
    leat_status status = lt_rewrite_node(graph, &r, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_keep_supported(graph, context, made)) {
        return LEAT_OK;
    }
    uses->producer[reader->outputs[0]] = made;
    lt_graph_remove_node(graph, node);
    lt_graph_remove_node(graph, reader);
    *out_changed = true;
    return LEAT_OK;
}

/* Whether `reader` multiplies by a number or adds one to `value`; changes alpha and beta so. */
static bool read_scaling(const lt_graph *graph, const leat_node *reader, uint32_t value,
                         activation *act)
{
    bool mul = lt_is_onnx(reader, "Mul");
    double number;
    if ((!mul && !lt_is_onnx(reader, "Add")) || reader->n_inputs != 2 || reader->n_outputs != 1) {
        return false;
    }
    uint32_t other = reader->inputs[reader->inputs[0] == value ? 1 : 0];
    if (other == value || !lt_constant_float(graph, other, &number) ||
        !lt_same_shape(graph, value, reader->outputs[0])) {
        return false;
    }
    act->alpha = (float)(mul ? (double)act->alpha * number : (double)act->alpha);
    act->beta = (float)(mul ? (double)act->beta * number : (double)act->beta + number);
    return true;
}

/* HardSwish(x) in `node`, then a number: ScaledHardSwish. */
static leat_status fuse_scaling(lt_graph *graph, const lt_pass_context *context, leat_node *node,
                                lt_uses *uses, bool *out_changed, leat_error *err)
{
    bool scaled = leat_node_string_is(node, "activation", "ScaledHardSwish");
    leat_node *reader = lt_only_reader(uses, node->outputs[0]);
    activation act = {"ScaledHardSwish", leat_node_float(node, "activation_alpha", 1),
                      leat_node_float(node, "activation_beta", 0), true};
    if (reader == NULL || (!scaled && !leat_node_string_is(node, "activation", "HardSwish")) ||
        !read_scaling(graph, reader, node->outputs[0], &act)) {
        return LEAT_OK;
    }
    return fuse(graph, context, node, reader, &act, uses, out_changed, err);
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *node = graph->nodes[i];
        activation act;
        if (node->n_outputs == 1 && leat_node_attr(node, "activation") != NULL) {
            status = fuse_scaling(graph, context, node, &uses, out_changed, err);
            continue;
        }
        if (!may_take(node)) {
            continue;
        }
        leat_node *reader = lt_only_reader(&uses, node->outputs[0]);
        if (reader != NULL && reader->inputs[0] == node->outputs[0] &&
            read_activation(graph, reader, &act)) {
            status = fuse(graph, context, node, reader, &act, &uses, out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_fuse_activation(lt_graph *graph, const lt_pass_context *context,
                                    bool *out_changed, leat_error *err)
{
    if (context->supports == NULL) {
        return LEAT_OK;
    }
    leat_status status = lt_run_on_graph(graph, context, run_gates, out_changed, err);
    return status != LEAT_OK ? status : lt_run_on_graph(graph, context, run, out_changed, err);
}

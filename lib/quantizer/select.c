/* SPDX-License-Identifier: Apache-2.0 */
/* Which products are quantized, and which activations lie on a grid between them. */
#include "base/error.h"
#include "base/tensor.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

/* --- layers -------------------------------------------------------------------------------------
 */

static bool is_quantized_op(const leat_node *node)
{
    static const char *const ops[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                                      "QLinearConv",    "QLinearMatMul",    "MatMulInteger",
                                      "ConvInteger"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (lt_is_onnx(node, ops[i])) {
            return true;
        }
    }
    return false;
}

/* A Conv, MatMul or Gemm of f32 with constant weights; fills axis and channels. */
static bool read_layer(const lt_graph *graph, const leat_node *node, lt_quant_layer *out)
{
    bool conv = lt_is_onnx(node, "Conv"), gemm = lt_is_onnx(node, "Gemm");
    uint32_t x = lt_input_of(node, 0), w = lt_input_of(node, 1);
    if ((!conv && !gemm && !lt_is_onnx(node, "MatMul")) || x == LEAT_NO_VALUE ||
        w == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *weights = &graph->values[w], *data = &graph->values[x];
    if (weights->data == NULL || weights->dtype != LEAT_DTYPE_F32 || data->data != NULL ||
        (conv ? weights->rank < 3 : weights->rank != 2)) {
        return false;
    }
    if (gemm &&
        (leat_node_int(node, "transA", 0) != 0 || leat_node_float(node, "alpha", 1) != 1.0f ||
         leat_node_float(node, "beta", 1) != 1.0f)) {
        return false;
    }
    out->axis = conv || leat_node_int(node, "transB", 0) != 0 ? 0 : 1;
    out->channels = (size_t)weights->shape[out->axis];
    out->node = node;
    out->x = x;
    return out->channels > 0 && weights->bytes > 0;
}

static bool is_kept(const leat_quantizer_desc *desc, const char *name)
{
    for (size_t i = 0; i < desc->n_keep; i++) {
        if (strcmp(desc->keep[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static leat_status check_kept(const lt_graph *graph, const leat_quantizer_desc *desc,
                              leat_error *err)
{
    for (size_t i = 0; i < desc->n_keep; i++) {
        bool found = false;
        for (uint32_t n = 0; n < graph->n_nodes && !found; n++) {
            found = strcmp(lt_node_label(graph, graph->nodes[n]), desc->keep[i]) == 0;
        }
        if (!found) {
            return lt_fail(err, LEAT_INVALID,
                           "no node is called '%s', which is to be kept (see leat inspect)",
                           desc->keep[i]);
        }
    }
    return LEAT_OK;
}

static leat_status find_layers(leat_quantizer *q, const leat_quantizer_desc *desc, leat_error *err)
{
    const lt_graph *graph = q->model->graph;
    q->layers = lt_arena_array(&q->arena, graph->n_nodes + 1u, sizeof(*q->layers));
    q->reports = lt_arena_array(&q->arena, graph->n_nodes + 1u, sizeof(*q->reports));
    if (q->layers == NULL || q->reports == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantizer");
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        lt_quant_layer *layer = &q->layers[q->n_layers];
        if (is_quantized_op(node)) {
            return lt_fail(err, LEAT_INVALID, "the model is quantized already: node '%s' is a %s",
                           lt_node_label(graph, node), node->op);
        }
        if (!read_layer(graph, node, layer)) {
            continue;
        }
        layer->position = i;
        layer->report =
            (leat_quantized_layer){.name = lt_node_label(graph, node),
                                   .op = node->op,
                                   .bits = 32,
                                   .reason = "",
                                   .weight_sqnr_db = NAN,
                                   .sqnr_db = NAN,
                                   .own_sqnr_db = NAN,
                                   .weight_bytes = graph->values[node->inputs[1]].bytes};
        layer->able = true;
        if (is_kept(desc, layer->report.name)) {
            layer->able = false;
            layer->report.reason = "kept as asked";
        }
        q->n_layers++;
    }
    return q->n_layers ? LEAT_OK
                       : lt_fail(err, LEAT_UNSUPPORTED,
                                 "nothing to quantize: the model has no Conv, MatMul or Gemm of "
                                 "f32 with constant weights");
}

/* --- what lies on a grid ------------------------------------------------------------------------
 */

/* Nodes that pass elements on unchanged: their result has their data's grid. Transpose and its like
 * are not among them: in attention they are better left to the passes. */
static bool moves(const leat_node *node)
{
    static const char *const ops[] = {"MaxPool", "GlobalMaxPool", "Concat",       "Flatten",
                                      "Reshape", "Squeeze",       "DepthToSpace", "SpaceToDepth"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (lt_is_onnx(node, ops[i])) {
            return node->n_outputs == 1;
        }
    }
    return false;
}

static bool averages(const leat_node *node)
{
    return lt_is_onnx(node, "AveragePool") || lt_is_onnx(node, "GlobalAveragePool");
}

uint32_t lt_quant_data_inputs(const leat_node *node)
{
    return lt_is_onnx(node, "Concat") ? node->n_inputs : lt_is_onnx(node, "Add") ? 2 : 1;
}

/* An activation of images (or volumes) that is computed. */
static bool is_image(const lt_graph *graph, uint32_t value)
{
    const leat_value *v = &graph->values[value];
    return v->dtype == LEAT_DTYPE_F32 && v->data == NULL && v->rank >= 4;
}

/* The residual sum of a convolutional network. */
static bool is_residual(const lt_graph *graph, const leat_node *node)
{
    return lt_is_onnx(node, "Add") && node->inputs[0] != node->inputs[1] &&
           is_image(graph, node->inputs[0]) && is_image(graph, node->inputs[1]) &&
           lt_same_shape(graph, node->inputs[0], node->inputs[1]);
}

/* Whether all of a node's data are images that a node makes: inputs of the model stay f32. */
static bool reads_images(const lt_graph *graph, const lt_uses *uses, const leat_node *node)
{
    for (uint32_t i = 0; i < lt_quant_data_inputs(node); i++) {
        if (node->inputs[i] == LEAT_NO_VALUE || !is_image(graph, node->inputs[i]) ||
            uses->producer[node->inputs[i]] == NULL) {
            return false;
        }
    }
    return true;
}

static uint32_t root_of(uint32_t *group, uint32_t value)
{
    while (group[value] != value) {
        group[value] = group[group[value]];
        value = group[value];
    }
    return value;
}

/* What makes a value that is an image, beyond an activation. */
static bool made_by_layer(const leat_quantizer *q, const lt_uses *uses, uint32_t value)
{
    const leat_node *node = uses->producer[value];
    for (int hops = 0; node != NULL && hops < 2; hops++) {
        for (uint32_t i = 0; i < q->n_layers; i++) {
            if (q->layers[i].node == node) {
                return q->layers[i].on;
            }
        }
        node = node->n_inputs == 0 || node->inputs[0] == LEAT_NO_VALUE
                   ? NULL
                   : uses->producer[node->inputs[0]];
    }
    return false;
}

/* Of a residual sum one addend is the product's own result, which stays f32 until it is summed:
 * the other gets a grid, that made first, since the later product fuses the sum. */
static bool mark_residual(const leat_quantizer *q, const lt_uses *uses, const leat_node *add,
                          lt_quant_flow *flow)
{
    const lt_graph *graph = q->model->graph;
    uint32_t a = add->inputs[0], b = add->inputs[1];
    if (flow->used[a] || flow->used[b] || !made_by_layer(q, uses, a) ||
        !made_by_layer(q, uses, b)) {
        return false;
    }
    bool first = lt_position(graph, uses->producer[a]) < lt_position(graph, uses->producer[b]);
    flow->used[first ? a : b] = true;
    return true;
}

/* One node whose result is used: marks its data. */
static bool mark_back(const leat_quantizer *q, const lt_uses *uses, const leat_node *node,
                      lt_quant_flow *flow)
{
    const lt_graph *graph = q->model->graph;
    bool changed = false;
    if (is_residual(graph, node)) {
        return mark_residual(q, uses, node, flow);
    }
    bool same = moves(node);
    if ((!same && !averages(node)) || !reads_images(graph, uses, node)) {
        return false;
    }
    for (uint32_t i = 0; i < lt_quant_data_inputs(node); i++) {
        uint32_t x = node->inputs[i];
        changed |= !flow->used[x];
        flow->used[x] = true;
        if (same) {
            uint32_t a = root_of(flow->group, x), b = root_of(flow->group, node->outputs[0]);
            flow->group[a > b ? a : b] = a > b ? b : a;
        }
    }
    return changed;
}

/* Marks values of used residual sums behind an activation: the sum itself is not on a grid, what
 * the activation makes is. */
static const leat_node *behind_activation(const lt_uses *uses, const leat_node *node)
{
    static const char *const ops[] = {"Relu", "Clip", "LeakyRelu", "HardSwish"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (lt_is_onnx(node, ops[i])) {
            const leat_node *inner = uses->producer[node->inputs[0]];
            return inner ? inner : node;
        }
    }
    return node;
}

static void mark_readers(const leat_quantizer *q, lt_quant_flow *flow)
{
    const lt_graph *graph = q->model->graph;
    for (uint32_t i = 0; i < q->n_layers; i++) {
        flow->reads[q->layers[i].position] |= q->layers[i].on;
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        bool between = (moves(node) || averages(node)) && node->outputs[0] != LEAT_NO_VALUE &&
                       flow->used[node->outputs[0]];
        flow->reads[i] |= between || is_residual(graph, node);
    }
}

leat_status lt_quant_flow_of(const leat_quantizer *q, lt_arena *arena, lt_quant_flow *out,
                             leat_error *err)
{
    const lt_graph *graph = q->model->graph;
    lt_uses uses;
    out->used = lt_arena_array(arena, graph->n_values + 1u, sizeof(*out->used));
    out->group = lt_arena_array(arena, graph->n_values + 1u, sizeof(*out->group));
    out->reads = lt_arena_array(arena, graph->n_nodes + 1u, sizeof(*out->reads));
    if (out->used == NULL || out->group == NULL || out->reads == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantizer");
    }
    leat_status status = lt_uses_build(graph, arena, &uses, err);
    for (uint32_t i = 0; i < graph->n_values; i++) {
        out->group[i] = i;
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        out->used[q->layers[i].x] |= q->layers[i].on;
    }
    /* Backwards once follows every chain; again for those that a residual opened further on. */
    for (bool changed = status == LEAT_OK; changed;) {
        changed = false;
        for (uint32_t i = graph->n_nodes; i-- > 0;) {
            const leat_node *node = graph->nodes[i];
            if (node->n_outputs > 0 && node->outputs[0] != LEAT_NO_VALUE &&
                out->used[node->outputs[0]]) {
                changed |= mark_back(q, &uses, behind_activation(&uses, node), out);
            }
        }
    }
    if (status == LEAT_OK) {
        mark_readers(q, out);
        for (uint32_t i = 0; i < graph->n_values; i++) {
            out->group[i] = root_of(out->group, i);
        }
    }
    return status;
}

static leat_status find_tensors(leat_quantizer *q, leat_error *err)
{
    const lt_graph *graph = q->model->graph;
    lt_quant_flow flow;
    leat_status status = lt_quant_flow_of(q, &q->arena, &flow, err);
    if (status != LEAT_OK) {
        return status;
    }
    q->tensors = lt_arena_array(&q->arena, graph->n_values + 1u, sizeof(*q->tensors));
    q->tensor_of = lt_arena_array(&q->arena, graph->n_values + 1u, sizeof(*q->tensor_of));
    if (q->tensors == NULL || q->tensor_of == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantizer");
    }
    for (uint32_t i = 0; i < graph->n_values; i++) {
        q->tensor_of[i] = LT_QUANT_NONE;
        if (flow.used[i]) {
            q->tensor_of[i] = q->n_tensors;
            q->tensors[q->n_tensors++] = (lt_quant_tensor){.value = i, .grid = {.scale = 1}};
        }
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        uint32_t root = q->tensor_of[flow.group[q->tensors[i].value]];
        q->tensors[i].group = root == LT_QUANT_NONE ? i : root;
    }
    return LEAT_OK;
}

leat_status lt_quant_select(leat_quantizer *q, const leat_quantizer_desc *desc, leat_error *err)
{
    leat_status status = check_kept(q->model->graph, desc, err);
    if (status == LEAT_OK) {
        status = find_layers(q, desc, err);
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        q->layers[i].on = q->layers[i].able;
    }
    return status != LEAT_OK ? status : find_tensors(q, err);
}

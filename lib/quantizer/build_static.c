/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear and DequantizeLinear around the products:
 *
 *     x -> Quantize -> Dequantize -+
 *     w (i8) ------> Dequantize ---+-> Conv, MatMul, Gemm
 *     b (i32) -----> Dequantize ---+
 *
 * with b on the grid of x_scale * w_scale[c], where it fits 32 bits. A tensor is quantized once and
 * read from there by all that lies between products (lt_quant_flow). */
#include "base/error.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

/* Quantizes `value` at position `at` of the order; *out is what DequantizeLinear makes of it. */
static leat_status add_tensor(lt_graph *graph, uint32_t value, const lt_quant_tensor *t,
                              uint32_t at, uint32_t *out, leat_error *err)
{
    const lt_grid grid = t->grid;
    const char *stem = graph->values[value].name;
    const uint8_t u8 = (uint8_t)grid.zero;
    const int8_t i8 = (int8_t)grid.zero;
    uint32_t inputs[3] = {value, 0, 0}, q = 0;
    const lt_quant_constant scale = {stem, "_scale", LEAT_DTYPE_F32, 0, NULL, &grid.scale, true};
    lt_quant_constant zero = {stem, "_zero_point", LEAT_DTYPE_U8, 0, NULL, &u8, true};
    if (grid.is_signed) {
        zero.dtype = LEAT_DTYPE_I8;
        zero.data = &i8;
    }
    leat_status status = LEAT_OK;
    if (t->factors != NULL) {
        status = lt_quant_divide(graph, t, stem, at, &inputs[0], err);
        at += at > 0;
    }
    status = status ? status : lt_quant_add_constant(graph, &scale, &inputs[1], err);
    status = status ? status : lt_quant_add_constant(graph, &zero, &inputs[2], err);
    lt_quant_node node = {"QuantizeLinear", stem, "_quantized", inputs, 3, 1, -1, at};
    status = status ? status : lt_quant_add_node(graph, &node, &q, err);
    inputs[0] = q;
    node = (lt_quant_node){"DequantizeLinear", stem, "_dequantized", inputs, 3, 1, -1,
                           at ? at + 1 : 0};
    return status ? status : lt_quant_add_node(graph, &node, out, err);
}

/* All tensors that are used, each behind the node that makes it: passes prefer to fuse a residual
 * sum into the product that comes last, which should be the one whose result is not quantized. */
static leat_status add_tensors(const leat_quantizer *q, lt_graph *graph, const lt_quant_flow *flow,
                               uint32_t n_nodes, uint32_t *grids, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t n = n_nodes; n-- > 0;) {
        const leat_node *node = graph->nodes[n];
        for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
            uint32_t y = node->outputs[i];
            if (y != LEAT_NO_VALUE && y < q->model->graph->n_values && flow->used[y]) {
                status = add_tensor(graph, y, &q->tensors[q->tensor_of[y]], n + 1, &grids[y], err);
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_inputs && status == LEAT_OK; i++) {
        uint32_t x = graph->inputs[i];
        if (flow->used[x]) { /* sorting takes it to the front */
            status = add_tensor(graph, x, &q->tensors[q->tensor_of[x]], 0, &grids[x], err);
        }
    }
    return status;
}

/* DequantizeLinear of a constant with one scale for each element along `axis`. */
static leat_status add_dequantized(lt_graph *graph, const lt_quant_constant *data,
                                   const lt_quant_constant *scales, int32_t axis, uint32_t *out,
                                   leat_error *err)
{
    uint32_t inputs[2];
    leat_status status = lt_quant_add_constant(graph, data, &inputs[0], err);
    status = status ? status : lt_quant_add_constant(graph, scales, &inputs[1], err);
    return status ? status
                  : lt_quant_add_node(graph,
                                      &(lt_quant_node){"DequantizeLinear", data->stem,
                                                       "_dequantized", inputs, 2, 1, axis, 0},
                                      out, err);
}

/* Fills in layer->lost, once: all weights are read for it. */
static bool lost_mean(leat_quantizer *q, lt_quant_layer *layer)
{
    if (layer->lost == NULL) {
        double *lost = lt_arena_array(&q->arena, layer->channels, sizeof(*lost));
        layer->lost = lost != NULL && lt_quant_lost_mean(q, layer, lost) ? lost : NULL;
        lt_model_release_pages(q->model);
    }
    return layer->lost != NULL;
}

/* The bias of a layer, none being zeros, with what its weights lose on average; NULL when there is
 * nothing to add, or none that is a constant row. */
static leat_status read_bias(leat_quantizer *q, lt_graph *graph, lt_quant_layer *layer,
                             uint32_t bias, double **out, leat_error *err)
{
    const leat_value *b = bias == LEAT_NO_VALUE ? NULL : &graph->values[bias];
    bool may_add = b == NULL && strcmp(layer->node->op, "MatMul") != 0 && q->correct_bias;
    bool is_row = b != NULL && b->data != NULL && b->dtype == LEAT_DTYPE_F32 && b->rank == 1 &&
                  b->shape[0] == (int64_t)layer->channels;
    *out = NULL;
    if (!may_add && !is_row) {
        return LEAT_OK;
    }
    double *row = lt_arena_array(lt_graph_arena(graph), layer->channels, sizeof(*row));
    if (row == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized bias");
    }
    bool corrected = q->correct_bias && lost_mean(q, layer);
    for (size_t c = 0; c < layer->channels; c++) {
        float f = 0;
        if (is_row) {
            memcpy(&f, (const char *)b->data + c * sizeof(f), sizeof(f));
        }
        row[c] = (corrected ? layer->lost[c] : 0) + (double)f;
    }
    *out = is_row || corrected ? row : NULL;
    return LEAT_OK;
}

/* The bias in 32 bits; *out_value is left alone when there is none that fits. */
static leat_status add_bias(leat_quantizer *q, lt_graph *graph, lt_quant_layer *layer,
                            uint32_t bias, float x_scale, uint32_t *out_value, leat_error *err)
{
    const int64_t shape[1] = {(int64_t)layer->channels};
    const char *stem = bias == LEAT_NO_VALUE ? layer->report.name : graph->values[bias].name;
    double *row;
    leat_status status = read_bias(q, graph, layer, bias, &row, err);
    if (status != LEAT_OK || row == NULL) {
        return status;
    }
    float *scales = lt_arena_array(lt_graph_arena(graph), layer->channels, sizeof(*scales));
    int32_t *levels = lt_arena_array(lt_graph_arena(graph), layer->channels, sizeof(*levels));
    if (scales == NULL || levels == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized bias");
    }
    for (size_t c = 0; c < layer->channels; c++) {
        scales[c] = x_scale * layer->scales[c];
        double level = rint(row[c] / (double)scales[c]);
        if (!(fabs(level) < 2147483648.0)) { /* also a scale that became 0 */
            return LEAT_OK;
        }
        levels[c] = (int32_t)level;
    }
    return add_dequantized(
        graph, &(lt_quant_constant){stem, "_quantized", LEAT_DTYPE_I32, 1, shape, levels, false},
        &(lt_quant_constant){stem, "_scale", LEAT_DTYPE_F32, 1, shape, scales, false}, 0, out_value,
        err);
}

/* Input 2 of a node that may have two. */
static leat_status set_bias(lt_graph *graph, leat_node *node, uint32_t bias, leat_error *err)
{
    if (node->n_inputs < 3) {
        uint32_t *inputs = lt_arena_array(lt_graph_arena(graph), 3, sizeof(*inputs));
        if (inputs == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized bias");
        }
        memcpy(inputs, node->inputs, node->n_inputs * sizeof(*inputs));
        node->inputs = inputs;
        node->n_inputs = 3;
    }
    lt_node_set_input(node, 2, bias);
    return LEAT_OK;
}

static leat_status add_layer(leat_quantizer *q, lt_graph *graph, lt_quant_layer *layer,
                             leat_error *err)
{
    leat_node *node = graph->nodes[layer->position];
    const leat_value w = graph->values[node->inputs[1]];
    const int64_t channels[1] = {(int64_t)layer->channels};
    const lt_grid x = q->tensors[q->tensor_of[layer->x]].grid;
    uint32_t weights, bias = lt_input_of(node, 2);
    leat_status status = lt_quant_weights(q, layer, err);
    if (status == LEAT_OK) {
        status = add_dequantized(graph,
                                 &(lt_quant_constant){w.name, "_quantized", LEAT_DTYPE_I8, w.rank,
                                                      w.shape, layer->weights, false},
                                 &(lt_quant_constant){w.name, "_scale", LEAT_DTYPE_F32, 1, channels,
                                                      layer->scales, false},
                                 layer->axis, &weights, err);
    }
    uint32_t new_bias = bias;
    status = status ? status : add_bias(q, graph, layer, bias, x.scale, &new_bias, err);
    if (status == LEAT_OK) {
        lt_node_set_input(node, 1, weights);
        if (new_bias != bias) {
            status = set_bias(graph, node, new_bias, err);
        }
    }
    return status;
}

/* What reads a tensor from its grid does so. */
static void redirect(leat_node *const *nodes, uint32_t n_nodes, const lt_quant_flow *flow,
                     const uint32_t *grids)
{
    for (uint32_t n = 0; n < n_nodes; n++) {
        for (uint32_t i = 0; flow->reads[n] && i < lt_quant_data_inputs(nodes[n]); i++) {
            uint32_t x = nodes[n]->inputs[i];
            if (x != LEAT_NO_VALUE && flow->used[x]) {
                lt_node_set_input(nodes[n], i, grids[x]);
            }
        }
    }
}

leat_status lt_quant_build_static(leat_quantizer *q, lt_graph *graph, leat_error *err)
{
    lt_arena scratch;
    lt_quant_flow flow;
    const uint32_t n_values = graph->n_values, n_nodes = graph->n_nodes;
    lt_arena_init(&scratch, &q->context->memory, 0);
    uint32_t *grids = lt_arena_array(&scratch, n_values + 1u, sizeof(*grids));
    leat_node **nodes = lt_arena_array(&scratch, n_nodes + 1u, sizeof(leat_node *));
    leat_status status = grids && nodes
                             ? lt_quant_flow_of(q, &scratch, &flow, err)
                             : lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    if (status == LEAT_OK) {
        memcpy(nodes, graph->nodes, n_nodes * sizeof(*nodes));
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        if (q->layers[i].on) {
            status = add_layer(q, graph, &q->layers[i], err);
        }
    }
    status = status ? status : add_tensors(q, graph, &flow, n_nodes, grids, err);
    if (status == LEAT_OK) {
        redirect(nodes, n_nodes, &flow, grids);
    }
    lt_arena_destroy(&scratch);
    return status;
}

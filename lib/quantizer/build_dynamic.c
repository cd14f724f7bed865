/* SPDX-License-Identifier: Apache-2.0 */
/* Products whose data is quantized while the model runs:
 *
 *     x -> DynamicQuantizeLinear -> MatMulInteger(., w) -> Cast -> Mul(x_scale * w_scale) [-> Add]
 *
 * Data that several products read is quantized once. Gemm becomes MatMul, its weights transposed as
 * they must lie. Conv becomes ConvInteger with u8 weights, all that ONNX Runtime takes: 128 is
 * added to them and is their zero point. */
#include "base/error.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <string.h>

/* The three results of DynamicQuantizeLinear. */
typedef struct quantized {
    uint32_t value, scale, zero;
} quantized;

/* Channels of bytes that come again, behind the others. */
static leat_status repeat_channels(lt_graph *graph, const lt_quant_tensor *t, const char *stem,
                                   int32_t last, uint32_t *x, leat_error *err)
{
    const int64_t shape[1] = {(int64_t)t->n_again};
    uint32_t inputs[2] = {*x, 0}, again = 0;
    leat_status status = lt_quant_add_constant(
        graph, &(lt_quant_constant){stem, "_again", LEAT_DTYPE_I64, 1, shape, t->again, false},
        &inputs[1], err);
    status = status ? status
                    : lt_quant_add_node(
                          graph, &(lt_quant_node){"Gather", stem, "_again", inputs, 2, 1, last, 0},
                          &again, err);
    inputs[1] = again;
    return status ? status
                  : lt_quant_add_node(
                        graph, &(lt_quant_node){"Concat", stem, "_split", inputs, 2, 1, last, 0}, x,
                        err);
}

static leat_status quantize_data(lt_graph *graph, const lt_quant_tensor *t, uint32_t x,
                                 quantized *out, leat_error *err)
{
    uint32_t made[3];
    const char *stem = graph->values[x].name;
    const int32_t rank = graph->values[x].rank;
    const bool even = t != NULL && t->factors != NULL && rank > 0;
    leat_status status = even ? lt_quant_divide(graph, t, stem, 0, &x, err) : LEAT_OK;
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_quant_add_node(
        graph, &(lt_quant_node){"DynamicQuantizeLinear", stem, "_quantized", &x, 1, 3, -1, 0}, made,
        err);
    if (status == LEAT_OK && even && t->n_again > 0) {
        status = repeat_channels(graph, t, stem, rank - 1, &made[0], err);
    }
    *out = (quantized){made[0], made[1], made[2]};
    return status;
}

/* Filters of u8, and their zero point. */
static leat_status add_filters(lt_graph *graph, const lt_quant_layer *layer, uint32_t out[2],
                               leat_error *err)
{
    const leat_value w = graph->values[layer->node->inputs[1]];
    const size_t count = w.bytes / sizeof(float);
    const uint8_t zero = 128;
    uint8_t *levels = lt_arena_take(lt_graph_arena(graph), count, 1);
    if (levels == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for quantized weights");
    }
    for (size_t i = 0; i < count; i++) {
        levels[i] = (uint8_t)(layer->weights[i] + 128);
    }
    leat_status status = lt_quant_add_constant(
        graph,
        &(lt_quant_constant){w.name, "_quantized", LEAT_DTYPE_U8, w.rank, w.shape, levels, false},
        &out[0], err);
    return status ? status
                  : lt_quant_add_constant(graph,
                                          &(lt_quant_constant){w.name, "_zero_point", LEAT_DTYPE_U8,
                                                               0, NULL, &zero, true},
                                          &out[1], err);
}

/* The product of integers. */
static leat_status add_conv(lt_graph *graph, const lt_quant_layer *layer, quantized x,
                            uint32_t *out, leat_error *err)
{
    uint32_t inputs[4] = {x.value, 0, x.zero, 0}, filters[2];
    leat_node *made;
    leat_status status = add_filters(graph, layer, filters, err);
    status = status ? status
                    : lt_quant_add_value(graph, graph->values[layer->node->outputs[0]].name,
                                         "_integer", out, err);
    if (status != LEAT_OK) {
        return status;
    }
    inputs[1] = filters[0];
    inputs[3] = filters[1];
    const leat_node *node = layer->node;
    const lt_node_desc desc = {.op = "ConvInteger",
                               .domain = "",
                               .name = graph->values[*out].name,
                               .inputs = inputs,
                               .n_inputs = 4,
                               .outputs = out,
                               .n_outputs = 1,
                               .attrs = node->attrs,
                               .n_attrs = node->n_attrs};
    return lt_graph_add_node(graph, &desc, graph->n_nodes, &made, err);
}

/* A row of numbers, one for each channel of the layer's results. */
static leat_status add_row(lt_graph *graph, const lt_quant_layer *layer, const char *stem,
                           const char *suffix, const void *row, uint32_t *out, leat_error *err)
{
    const bool conv = strcmp(layer->node->op, "Conv") == 0;
    int64_t shape[LEAT_MAX_RANK] = {(int64_t)layer->channels};
    int32_t rank = conv ? graph->values[layer->node->inputs[1]].rank - 1 : 1;
    for (int32_t d = 1; d < rank; d++) {
        shape[d] = 1;
    }
    return lt_quant_add_constant(
        graph, &(lt_quant_constant){stem, suffix, LEAT_DTYPE_F32, rank, shape, row, false}, out,
        err);
}

/* Weights as [k][n], rows of channels that come again behind the others. */
static leat_status add_weights(lt_graph *graph, const lt_quant_layer *layer,
                               const lt_quant_tensor *t, uint32_t *out, leat_error *err)
{
    const leat_value w = graph->values[layer->node->inputs[1]];
    const bool turned = layer->axis == 0;
    const size_t again = t != NULL && t->factors != NULL ? t->n_again : 0;
    const int64_t shape[2] = {w.shape[turned] + (int64_t)again, w.shape[!turned]};
    const int8_t *levels = layer->weights;
    if (turned || again > 0) {
        size_t k = (size_t)w.shape[turned], n = (size_t)shape[1];
        int8_t *rows = lt_arena_take(lt_graph_arena(graph), (k + again) * n, 1);
        if (rows == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for quantized weights");
        }
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < n; j++) {
                rows[i * n + j] = turned ? levels[j * k + i] : levels[i * n + j];
            }
        }
        for (size_t i = 0; i < again; i++) {
            memcpy(rows + (k + i) * n, rows + (size_t)t->again[i] * n, n);
        }
        levels = rows;
    }
    return lt_quant_add_constant(
        graph, &(lt_quant_constant){w.name, "_quantized", LEAT_DTYPE_I8, 2, shape, levels, false},
        out, err);
}

/* From the product in i32 to `output` in f32. */
static leat_status add_scaling(lt_graph *graph, const lt_quant_layer *layer, uint32_t product,
                               uint32_t x_scale, uint32_t *out, leat_error *err)
{
    const char *stem = graph->values[layer->node->outputs[0]].name;
    uint32_t w_scale, cast, scale;
    leat_status status = add_row(graph, layer, graph->values[layer->node->inputs[1]].name, "_scale",
                                 layer->scales, &w_scale, err);
    status = status ? status
                    : lt_quant_add_node(
                          graph, &(lt_quant_node){"Cast", stem, "_float", &product, 1, 1, -1, 0},
                          &cast, err);
    status = status ? status
                    : lt_node_set_int(graph, graph->nodes[graph->n_nodes - 1], "to", LEAT_DTYPE_F32,
                                      err);
    status = status
                 ? status
                 : lt_quant_add_node(graph,
                                     &(lt_quant_node){"Mul", stem, "_scales",
                                                      (uint32_t[]){x_scale, w_scale}, 2, 1, -1, 0},
                                     &scale, err);
    return status ? status
                  : lt_quant_add_node(graph,
                                      &(lt_quant_node){"Mul", stem, "_scaled",
                                                       (uint32_t[]){cast, scale}, 2, 1, -1, 0},
                                      out, err);
}

static leat_status replace_layer(lt_graph *graph, const lt_quant_layer *layer,
                                 const lt_quant_tensor *t, quantized x, leat_error *err)
{
    leat_node *node = graph->nodes[layer->position];
    const char *stem = graph->values[node->outputs[0]].name;
    const bool conv = strcmp(node->op, "Conv") == 0;
    uint32_t weights, product, scaled, bias = lt_input_of(node, 2);
    leat_status status = conv ? add_conv(graph, layer, x, &product, err)
                              : add_weights(graph, layer, t, &weights, err);
    if (status == LEAT_OK && !conv) {
        status =
            lt_quant_add_node(graph,
                              &(lt_quant_node){"MatMulInteger", stem, "_integer",
                                               (uint32_t[]){x.value, weights, x.zero}, 3, 1, -1, 0},
                              &product, err);
    }
    status = status ? status : add_scaling(graph, layer, product, x.scale, &scaled, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_node *last = graph->nodes[graph->n_nodes - 1];
    if (bias != LEAT_NO_VALUE) {
        uint32_t sum;
        if (conv) {
            status = add_row(graph, layer, graph->values[bias].name, "_row",
                             graph->values[bias].data, &bias, err);
        }
        status = status
                     ? status
                     : lt_quant_add_node(graph,
                                         &(lt_quant_node){"Add", stem, "_sum",
                                                          (uint32_t[]){scaled, bias}, 2, 1, -1, 0},
                                         &sum, err);
        last = graph->nodes[graph->n_nodes - 1];
    }
    lt_node_set_output(last, 0, node->outputs[0]);
    return status;
}

leat_status lt_quant_build_dynamic(leat_quantizer *q, lt_graph *graph, leat_error *err)
{
    lt_arena scratch;
    leat_status status = LEAT_OK;
    lt_arena_init(&scratch, &q->context->memory, 0);
    quantized *made = lt_arena_array(&scratch, q->n_layers, sizeof(*made));
    leat_node **replaced = lt_arena_array(&scratch, q->n_layers, sizeof(*replaced));
    if (made == NULL || replaced == NULL) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        lt_quant_layer *layer = &q->layers[i];
        if (!layer->on) {
            continue;
        }
        const lt_quant_tensor *t =
            q->tensor_of[layer->x] == LT_QUANT_NONE ? NULL : &q->tensors[q->tensor_of[layer->x]];
        uint32_t same = 0;
        while (same < i && (!q->layers[same].on || q->layers[same].x != layer->x)) {
            same++;
        }
        made[i] = made[same];
        status = lt_quant_weights(q, layer, err);
        if (status == LEAT_OK && same == i) {
            status = quantize_data(graph, t, layer->x, &made[i], err);
        }
        status = status ? status : replace_layer(graph, layer, t, made[i], err);
        replaced[i] = graph->nodes[layer->position];
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        if (replaced[i] != NULL) {
            lt_graph_remove_node(graph, replaced[i]);
        }
    }
    lt_arena_destroy(&scratch);
    return status;
}

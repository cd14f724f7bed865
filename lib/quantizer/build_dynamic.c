/* SPDX-License-Identifier: Apache-2.0 */
/* Products whose data is quantized while the model runs:
 *
 *     x -> DynamicQuantizeLinear -> MatMulInteger(., w) -> Cast -> Mul(x_scale * w_scale) [-> Add]
 *
 * Data that several products read is quantized once. Gemm becomes MatMul, its weights transposed as
 * they must lie. */
#include "base/error.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <string.h>

/* The three results of DynamicQuantizeLinear. */
typedef struct quantized {
    uint32_t value, scale, zero;
} quantized;

/* Data divided by its factors and by how often each channel comes. */
static leat_status divide_data(lt_graph *graph, const lt_quant_tensor *t, const char *stem,
                               uint32_t *x, leat_error *err)
{
    const int64_t shape[1] = {(int64_t)t->channels};
    const lt_quant_constant constant = {stem, "_smooth", LEAT_DTYPE_F32, 1, shape, NULL, false};
    float *by = lt_arena_array(lt_graph_arena(graph), t->channels, sizeof(*by));
    lt_quant_constant factors = constant;
    uint32_t inputs[2] = {*x, 0};
    if (by == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    }
    for (size_t k = 0; k < t->channels; k++) {
        by[k] = 1;
    }
    for (size_t i = 0; i < t->n_again; i++) {
        by[t->again[i]] += 1;
    }
    for (size_t k = 0; k < t->channels; k++) {
        by[k] = 1 / (by[k] * t->factors[k]);
    }
    factors.data = by;
    leat_status status = lt_quant_add_constant(graph, &factors, &inputs[1], err);
    return status ? status
                  : lt_quant_add_node(graph,
                                      &(lt_quant_node){"Mul", stem, "_smooth", inputs, 2, 1, -1, 0},
                                      x, err);
}

/* Channels of bytes that come again, behind the others. */
static leat_status repeat_channels(lt_graph *graph, const lt_quant_tensor *t, const char *stem,
                                   int32_t last, uint32_t *x, leat_error *err)
{
    const int64_t shape[1] = {(int64_t)t->n_again};
    uint32_t inputs[2] = {*x, 0}, again;
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
    leat_status status = even ? divide_data(graph, t, stem, &x, err) : LEAT_OK;
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
    const int64_t channels[1] = {(int64_t)layer->channels};
    uint32_t w_scale, cast, scale;
    leat_status status = lt_quant_add_constant(
        graph,
        &(lt_quant_constant){graph->values[layer->node->inputs[1]].name, "_scale", LEAT_DTYPE_F32,
                             1, channels, layer->scales, false},
        &w_scale, err);
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
    uint32_t weights, product, scaled, bias = lt_input_of(node, 2);
    leat_status status = add_weights(graph, layer, t, &weights, err);
    status = status ? status
                    : lt_quant_add_node(graph,
                                        &(lt_quant_node){"MatMulInteger", stem, "_integer",
                                                         (uint32_t[]){x.value, weights, x.zero}, 3,
                                                         1, -1, 0},
                                        &product, err);
    status = status ? status : add_scaling(graph, layer, product, x.scale, &scaled, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_node *last = graph->nodes[graph->n_nodes - 1];
    if (bias != LEAT_NO_VALUE) {
        uint32_t sum;
        status = lt_quant_add_node(
            graph, &(lt_quant_node){"Add", stem, "_sum", (uint32_t[]){scaled, bias}, 2, 1, -1, 0},
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

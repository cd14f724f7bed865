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

static leat_status quantize_data(lt_graph *graph, uint32_t x, quantized *out, leat_error *err)
{
    uint32_t made[3];
    leat_status status =
        lt_quant_add_node(graph,
                          &(lt_quant_node){"DynamicQuantizeLinear", graph->values[x].name,
                                           "_quantized", &x, 1, 3, -1, 0},
                          made, err);
    *out = (quantized){made[0], made[1], made[2]};
    return status;
}

/* Weights as [k][n]. */
static leat_status add_weights(lt_graph *graph, const lt_quant_layer *layer, uint32_t *out,
                               leat_error *err)
{
    const leat_value w = graph->values[layer->node->inputs[1]];
    const bool turned = layer->axis == 0;
    const int64_t shape[2] = {w.shape[turned], w.shape[!turned]};
    const int8_t *levels = layer->weights;
    if (turned) {
        size_t k = (size_t)shape[0], n = (size_t)shape[1];
        int8_t *t = lt_arena_take(lt_graph_arena(graph), k * n, 1);
        if (t == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for quantized weights");
        }
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < n; j++) {
                t[i * n + j] = levels[j * k + i];
            }
        }
        levels = t;
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

static leat_status replace_layer(lt_graph *graph, const lt_quant_layer *layer, quantized x,
                                 leat_error *err)
{
    leat_node *node = graph->nodes[layer->position];
    const char *stem = graph->values[node->outputs[0]].name;
    uint32_t weights, product, scaled, bias = lt_input_of(node, 2);
    leat_status status = add_weights(graph, layer, &weights, err);
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
        uint32_t same = 0;
        while (same < i && (!q->layers[same].on || q->layers[same].x != layer->x)) {
            same++;
        }
        made[i] = made[same];
        status = lt_quant_weights(q, layer, err);
        if (status == LEAT_OK && same == i) {
            status = quantize_data(graph, layer->x, &made[i], err);
        }
        status = status ? status : replace_layer(graph, layer, made[i], err);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of matrix products in blocks along what is summed over, activations in f32:
 *
 *     w ~ scale * (q - zero),    q of 4 or 8 bits, scale and zero by block and column
 *
 * as DequantizeLinear with block_size (opset 21) in front of MatMul. Weights lie as [k][n], Gemm
 * becomes MatMul and Add. 4 bits: u4 with a zero point, the range of each block shrunk as far as
 * its mean square error falls. 8 bits: i8, symmetric. */
#include "base/error.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

/* How much of a block's range is tried for 4 bits. */
static const double SHARES[] = {1, 0.95, 0.9, 0.85, 0.8, 0.75};

/* Numbers of one column in one block. */
typedef struct block {
    const leat_quantizer *q;
    const lt_quant_layer *layer;
    size_t k, count, c;
} block;

static double number(const block *b, size_t i)
{
    return lt_quant_weight(b->q, b->layer, b->k + i, b->c);
}

typedef struct levels {
    float scale;
    int32_t zero, low, high;
} levels;

static int32_t level_of(double w, const levels *l)
{
    double level = rint(w / (double)l->scale) + l->zero;
    return (int32_t)fmax(l->low, fmin(l->high, level));
}

static double error_of(const block *b, const levels *l)
{
    double sum = 0;
    for (size_t i = 0; i < b->count; i++) {
        double w = number(b, i), e = w - (level_of(w, l) - l->zero) * (double)l->scale;
        sum += e * e;
    }
    return sum;
}

static float scale_of(double extent, double steps)
{
    return extent / steps >= 1.1754943508222875e-38 ? (float)(extent / steps) : 1;
}

/* The least and most of a block, 0 among them; false for NaN or infinity. */
static bool extent(const block *b, double *low, double *high)
{
    *low = *high = 0;
    for (size_t i = 0; i < b->count; i++) {
        double w = number(b, i);
        if (!isfinite(w)) {
            return false;
        }
        *low = fmin(*low, w);
        *high = fmax(*high, w);
    }
    return true;
}

static levels choose(const block *b, int32_t bits, double low, double high)
{
    if (bits == 8) {
        return (levels){scale_of(fmax(high, -low), 127), 0, -127, 127};
    }
    levels best = {1, 0, 0, 15};
    double least = INFINITY;
    for (size_t s = 0; s < sizeof(SHARES) / sizeof(SHARES[0]); s++) {
        levels l = {scale_of((high - low) * SHARES[s], 15), 0, 0, 15};
        l.zero = (int32_t)fmax(0, fmin(15, rint(-low * SHARES[s] / (double)l.scale)));
        double error = error_of(b, &l);
        if (error < least) {
            least = error;
            best = l;
        }
    }
    return best;
}

static void put(uint8_t *to, size_t at, int32_t bits, int32_t level)
{
    if (bits == 8) {
        to[at] = (uint8_t)level;
    } else {
        to[at / 2] |= (uint8_t)((level & 15) << at % 2 * 4);
    }
}

/* One block; adds to signal and noise. False for NaN or infinity. */
static bool quantize_block(const block *b, lt_quant_layer *layer, size_t row, double sums[2])
{
    const size_t n = layer->channels;
    const int32_t bits = layer->blocks.bits;
    double low, high;
    if (!extent(b, &low, &high)) {
        return false;
    }
    levels l = choose(b, bits, low, high);
    layer->blocks.scales[row * n + b->c] = l.scale;
    if (bits == 4) {
        put(layer->blocks.zeros, row * n + b->c, 4, l.zero);
    }
    for (size_t i = 0; i < b->count; i++) {
        double w = number(b, i);
        put(layer->blocks.levels, (b->k + i) * n + b->c, bits, level_of(w, &l));
        sums[0] += w * w;
    }
    sums[1] += error_of(b, &l);
    return true;
}

leat_status lt_quant_blocks(leat_quantizer *q, lt_quant_layer *layer, leat_error *err)
{
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    const size_t k = (size_t)w->shape[1 - layer->axis], n = layer->channels;
    const size_t each = (size_t)q->block, rows = k / each;
    double sums[2] = {0, 0};
    if (layer->blocks.levels != NULL) {
        return LEAT_OK;
    }
    layer->blocks.bits = q->bits;
    layer->blocks.scales = lt_arena_array(&q->arena, rows * n, sizeof(float));
    layer->blocks.zeros = lt_arena_array(&q->arena, rows * n / 2 + 1, 1);
    layer->blocks.levels = lt_arena_array(&q->arena, k * n * (size_t)q->bits / 8 + 1, 1);
    if (!layer->blocks.scales || !layer->blocks.zeros || !layer->blocks.levels) {
        layer->blocks.levels = NULL;
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for quantized weights");
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < n; c++) {
            const block b = {q, layer, row * each, each, c};
            if (!quantize_block(&b, layer, row, sums)) {
                layer->blocks.levels = NULL;
                return lt_quant_not_finite(q, layer, err);
            }
        }
    }
    layer->report.weight_sqnr_db = sums[1] > 0 ? 10 * log10(sums[0] / sums[1]) : INFINITY;
    return LEAT_OK;
}

/* --- building -----------------------------------------------------------------------------------
 */

/* The weights behind DequantizeLinear. */
static leat_status add_weights(const leat_quantizer *q, lt_graph *graph,
                               const lt_quant_layer *layer, uint32_t *out, leat_error *err)
{
    const leat_value w = graph->values[layer->node->inputs[1]];
    const bool four = layer->blocks.bits == 4;
    const leat_dtype dtype = four ? LEAT_DTYPE_U4 : LEAT_DTYPE_I8;
    const int64_t k = w.shape[1 - layer->axis], n = (int64_t)layer->channels;
    const int64_t all[2] = {k, n}, by_block[2] = {k / q->block, n};
    uint32_t inputs[3];
    leat_status status = lt_quant_add_constant(
        graph,
        &(lt_quant_constant){w.name, "_quantized", dtype, 2, all, layer->blocks.levels, false},
        &inputs[0], err);
    status =
        status ? status
               : lt_quant_add_constant(graph,
                                       &(lt_quant_constant){w.name, "_scale", LEAT_DTYPE_F32, 2,
                                                            by_block, layer->blocks.scales, false},
                                       &inputs[1], err);
    if (status == LEAT_OK && four) {
        status = lt_quant_add_constant(graph,
                                       &(lt_quant_constant){w.name, "_zero_point", dtype, 2,
                                                            by_block, layer->blocks.zeros, false},
                                       &inputs[2], err);
    }
    status = status ? status
                    : lt_quant_add_node(graph,
                                        &(lt_quant_node){"DequantizeLinear", w.name, "_dequantized",
                                                         inputs, four ? 3 : 2, 1, 0, 0},
                                        out, err);
    return status ? status
                  : lt_node_set_int(graph, graph->nodes[graph->n_nodes - 1], "block_size", q->block,
                                    err);
}

static leat_status replace_layer(const leat_quantizer *q, lt_graph *graph,
                                 const lt_quant_layer *layer, leat_error *err)
{
    leat_node *node = graph->nodes[layer->position];
    const char *stem = graph->values[node->outputs[0]].name;
    uint32_t weights, made, bias = lt_input_of(node, 2);
    leat_status status = add_weights(q, graph, layer, &weights, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (strcmp(node->op, "MatMul") == 0) {
        lt_node_set_input(node, 1, weights);
        return LEAT_OK;
    }
    status =
        lt_quant_add_node(graph,
                          &(lt_quant_node){"MatMul", stem, "_product",
                                           (uint32_t[]){node->inputs[0], weights}, 2, 1, -1, 0},
                          &made, err);
    if (status == LEAT_OK && bias != LEAT_NO_VALUE) {
        status = lt_quant_add_node(
            graph, &(lt_quant_node){"Add", stem, "_sum", (uint32_t[]){made, bias}, 2, 1, -1, 0},
            &made, err);
    }
    if (status == LEAT_OK) {
        lt_node_set_output(graph->nodes[graph->n_nodes - 1], 0, node->outputs[0]);
    }
    return status;
}

leat_status lt_quant_build_blocks(leat_quantizer *q, lt_graph *graph, leat_error *err)
{
    lt_arena scratch;
    lt_arena_init(&scratch, &q->context->memory, 0);
    leat_node **replaced = lt_arena_array(&scratch, q->n_layers, sizeof(*replaced));
    leat_status status =
        replaced ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        lt_quant_layer *layer = &q->layers[i];
        if (layer->on) {
            leat_node *node = graph->nodes[layer->position];
            replaced[i] = strcmp(node->op, "MatMul") == 0 ? NULL : node;
            status = lt_quant_blocks(q, layer, err);
            status = status ? status : replace_layer(q, graph, layer, err);
        }
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        if (replaced[i] != NULL) {
            lt_graph_remove_node(graph, replaced[i]);
        }
    }
    lt_arena_destroy(&scratch);
    return status;
}

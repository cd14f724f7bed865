/* SPDX-License-Identifier: Apache-2.0 */
/* A quantized variant of the source graph, and the pieces that both methods put in. */
#include "base/error.h"
#include "base/tensor.h"
#include "graph/infer.h"
#include "passes/passes.h"
#include "quantizer/quantizer.h"

#include <stdio.h>
#include <string.h>

/* Per-axis DequantizeLinear is of opset 13, that by blocks, and 4 bits, of 21. */
#define LEAST_OPSET 13
#define BLOCKS_OPSET 21

/* --- pieces -------------------------------------------------------------------------------------
 */

/* STEM SUFFIX, made different from all names that are there; NULL: no memory. */
static const char *new_name(lt_graph *graph, const char *stem, const char *suffix)
{
    size_t bytes = strlen(stem) + strlen(suffix) + 12;
    char *name = lt_arena_alloc(lt_graph_arena(graph), bytes, 1);
    if (name != NULL) {
        snprintf(name, bytes, "%s%s", stem, suffix);
        for (unsigned n = 2; lt_graph_find_value(graph, name) != LEAT_NO_VALUE; n++) {
            snprintf(name, bytes, "%s%s_%u", stem, suffix, n);
        }
    }
    return name;
}

leat_status lt_quant_add_value(lt_graph *graph, const char *stem, const char *suffix,
                               uint32_t *out_value, leat_error *err)
{
    const char *name = new_name(graph, stem, suffix);
    return name ? lt_graph_add_value(graph, name, out_value, err)
                : lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
}

leat_status lt_quant_add_constant(lt_graph *graph, const lt_quant_constant *c, uint32_t *out_value,
                                  leat_error *err)
{
    const char *name = new_name(graph, c->stem, c->suffix);
    leat_array array = {.dtype = c->dtype, .rank = c->rank, .data = (void *)(uintptr_t)c->data};
    if (name == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    }
    for (int32_t i = 0; i < c->rank; i++) {
        array.shape[i] = c->shape[i];
    }
    if (!lt_shape_bytes(array.dtype, array.rank, array.shape, &array.bytes)) {
        return lt_fail(err, LEAT_INTERNAL, "'%s' has no size", name);
    }
    return lt_graph_add_constant(graph, name, &array, c->copy, out_value, err);
}

leat_status lt_quant_add_node(lt_graph *graph, const lt_quant_node *node, uint32_t *out_values,
                              leat_error *err)
{
    leat_node *made;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
        status = lt_quant_add_value(graph, node->stem, node->suffix, &out_values[i], err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_node_desc desc = {.op = node->op,
                         .domain = "",
                         .name = graph->values[out_values[0]].name,
                         .inputs = node->inputs,
                         .n_inputs = node->n_inputs,
                         .outputs = out_values,
                         .n_outputs = node->n_outputs};
    status = lt_graph_add_node(graph, &desc, node->at ? node->at : graph->n_nodes, &made, err);
    return status != LEAT_OK || node->axis < 0
               ? status
               : lt_node_set_int(graph, made, "axis", node->axis, err);
}

leat_status lt_quant_divide(lt_graph *graph, const lt_quant_tensor *t, const char *stem,
                            uint32_t at, uint32_t *x, leat_error *err)
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
    return status
               ? status
               : lt_quant_add_node(
                     graph, &(lt_quant_node){"Mul", stem, "_smooth", inputs, 2, 1, -1, at}, x, err);
}

/* ------------------------------------------------------------------------------------------------
 */

leat_status lt_quant_build(leat_quantizer *q, lt_graph **out_graph, leat_error *err)
{
    bool changed = false;
    lt_graph *graph;
    const lt_pass_context context = {.user = NULL};
    leat_status status = lt_graph_clone(q->model->graph, &graph, err);
    if (status != LEAT_OK) {
        return status;
    }
    const bool blocks = q->method == LEAT_QUANTIZE_WEIGHTS;
    status = lt_quant_raise_opset(graph, blocks ? BLOCKS_OPSET : LEAST_OPSET, err);
    if (status != LEAT_OK) {
        lt_graph_destroy(graph);
        return status;
    }
    status = blocks                               ? lt_quant_build_blocks(q, graph, err)
             : q->method == LEAT_QUANTIZE_DYNAMIC ? lt_quant_build_dynamic(q, graph, err)
                                                  : lt_quant_build_static(q, graph, err);
    status = status ? status : lt_graph_sort(graph, err);
    status = status ? status : lt_pass_remove_dead(graph, &context, &changed, err);
    status = status ? status : lt_infer_graph(graph, true, err);
    if (status != LEAT_OK) {
        lt_graph_destroy(graph);
        return status;
    }
    *out_graph = graph;
    return LEAT_OK;
}

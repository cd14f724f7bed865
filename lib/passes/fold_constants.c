/* SPDX-License-Identifier: Apache-2.0 */
/* Computes at load what depends on constants alone, and shapes that are known.
 *
 * DequantizeLinear of constants stays: it says that the weights are int8. Outputs that are much
 * larger than their inputs (ConstantOfShape, Expand, Range, Tile of a few bytes) stay too, so that
 * a small file cannot ask for a large memory. */
#include "passes/match.h"

#define SMALL_BYTES (1u << 20)
#define MOST_GROWTH 16u

static bool may_fold(const leat_node *node)
{
    static const char *const never[] = {"DequantizeLinear", "QuantizeLinear",   "RandomNormal",
                                        "RandomUniform",    "RandomNormalLike", "RandomUniformLike",
                                        "Bernoulli",        "Multinomial",      "Dropout"};
    if (node->domain[0] != '\0' && strcmp(node->domain, "leat") != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (strcmp(node->op, never[i]) == 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        if (node->attrs[i].type == LEAT_ATTR_GRAPH) {
            return false;
        }
    }
    return true;
}

/* All inputs are constants; *out_bytes is what they take. */
static bool inputs_constant(const lt_graph *graph, const leat_node *node, size_t *out_bytes)
{
    *out_bytes = 0;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        if (graph->values[node->inputs[i]].data == NULL) {
            return false;
        }
        *out_bytes += graph->values[node->inputs[i]].bytes;
    }
    return true;
}

static bool outputs_modest(const lt_graph *graph, const leat_node *node, size_t in_bytes)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &graph->values[node->outputs[i]];
        size_t own;
        if (!lt_shape_bytes(value->dtype, value->rank, value->shape, &own) ||
            value->dtype == LEAT_DTYPE_STRING) {
            return false;
        }
        bytes += own;
    }
    return bytes <= SMALL_BYTES || bytes / MOST_GROWTH <= in_bytes;
}

static leat_status evaluate(lt_graph *graph, const lt_pass_context *context, const leat_node *node,
                            lt_arena *scratch, bool *out_done, leat_error *err)
{
    void **out = lt_arena_array(scratch, node->n_outputs, sizeof(*out));
    if (out == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "constant folding: out of memory");
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        size_t bytes = graph->values[node->outputs[i]].bytes;
        out[i] = lt_arena_alloc(lt_graph_arena(graph), bytes ? bytes : 1, LT_ALIGNMENT);
        if (out[i] == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "constant folding: out of memory");
        }
    }
    leat_status status = context->evaluate(context->user, node, graph->values, out, err);
    if (status == LEAT_NO_MEMORY) {
        return status;
    }
    *out_done = status == LEAT_OK; /* what cannot be computed now stays, and may fail at run time */
    lt_error_clear(err);
    for (uint32_t i = 0; *out_done && i < node->n_outputs; i++) {
        if (node->outputs[i] != LEAT_NO_VALUE) {
            graph->values[node->outputs[i]].data = out[i];
        }
    }
    return LEAT_OK;
}

/* Shape and Size of a value whose dimensions are all known. */
static leat_status fold_shape(lt_graph *graph, const leat_node *node, bool *out_done,
                              leat_error *err)
{
    uint32_t in = lt_input_of(node, 0), out = lt_output_of(node, 0);
    size_t count;
    bool size = lt_is_onnx(node, "Size");
    if ((!lt_is_onnx(node, "Shape") && !size) || in == LEAT_NO_VALUE || out == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    leat_value x = graph->values[in];
    if (x.rank < 0 || !lt_shape_count(x.rank, x.shape, &count)) {
        return LEAT_OK;
    }
    int64_t start = leat_node_int(node, "start", 0), end = leat_node_int(node, "end", x.rank);
    start += start < 0 ? x.rank : 0;
    end += end < 0 ? x.rank : 0;
    start = start < 0 ? 0 : start > x.rank ? x.rank : start;
    end = end < start ? start : end > x.rank ? x.rank : end;
    int64_t n = size ? 1 : end - start, total = (int64_t)count;
    int64_t *data = lt_arena_array(lt_graph_arena(graph), (size_t)n + 1, sizeof(*data));
    if (data == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "constant folding: out of memory");
    }
    memcpy(data, size ? &total : x.shape + start, (size_t)n * sizeof(*data));
    leat_value *value = &graph->values[out];
    value->dtype = LEAT_DTYPE_I64;
    value->rank = size ? 0 : 1;
    value->shape[0] = n;
    value->bytes = (size_t)n * sizeof(*data);
    value->data = data;
    *out_done = true;
    return LEAT_OK;
}

/* Computes a node whose inputs are all constants. */
static leat_status fold_inferred(lt_graph *graph, const lt_pass_context *context,
                                 const leat_node *node, lt_arena *scratch, bool *out_done,
                                 leat_error *err)
{
    size_t in_bytes;
    if (!inputs_constant(graph, node, &in_bytes) || context->evaluate == NULL) {
        return LEAT_OK;
    }
    lt_infer infer = {.graph = graph, .values = graph->values, .concrete = true};
    leat_status status = lt_infer_node(&infer, node, err);
    if (status == LEAT_NO_MEMORY) {
        return status;
    }
    if (status != LEAT_OK || infer.needs != LEAT_NO_VALUE ||
        !outputs_modest(graph, node, in_bytes)) {
        lt_error_clear(err);
        return LEAT_OK;
    }
    return evaluate(graph, context, node, scratch, out_done, err);
}

static leat_status fold_node(lt_graph *graph, const lt_pass_context *context, const leat_node *node,
                             lt_arena *scratch, bool *out_done, leat_error *err)
{
    leat_status status = fold_shape(graph, node, out_done, err);
    return status != LEAT_OK || *out_done || !may_fold(node)
               ? status
               : fold_inferred(graph, context, node, scratch, out_done, err);
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    uint32_t kept = 0;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        bool done = false;
        if (status == LEAT_OK) {
            status = fold_node(graph, context, graph->nodes[i], scratch, &done, err);
        }
        if (done) {
            *out_changed = true;
        } else {
            graph->nodes[kept++] = graph->nodes[i];
        }
    }
    graph->n_nodes = kept;
    return status;
}

static leat_status run_dequantize(lt_graph *graph, const lt_pass_context *context,
                                  lt_arena *scratch, bool *out_changed, leat_error *err)
{
    uint32_t kept = 0;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        bool done = false;
        const leat_node *node = graph->nodes[i];
        if (status == LEAT_OK && lt_is_onnx(node, "DequantizeLinear")) {
            status = fold_inferred(graph, context, node, scratch, &done, err);
        }
        *out_changed |= done;
        if (!done) {
            graph->nodes[kept++] = graph->nodes[i];
        }
    }
    graph->n_nodes = kept;
    return status;
}

leat_status lt_pass_fold_dequantize(lt_graph *graph, const lt_pass_context *context,
                                    bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graphs(graph, context, run_dequantize, out_changed, err)
                             : LEAT_OK;
}

leat_status lt_pass_fold_constants(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

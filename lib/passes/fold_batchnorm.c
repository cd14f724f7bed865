/* SPDX-License-Identifier: Apache-2.0 */
/* BatchNormalization at inference, behind a convolution with constant weights:
 *
 *     s[m] = scale[m] / sqrt(variance[m] + epsilon)
 *     W'[m, ...] = W[m, ...] * s[m]        B'[m] = (B[m] - mean[m]) * s[m] + bias[m]
 *
 * computed in double, rounded once to f32. */
#include "passes/match.h"

#include <math.h>

static float at(const leat_value *value, size_t i)
{
    float f;
    memcpy(&f, (const char *)value->data + i * sizeof(f), sizeof(f));
    return f;
}

static bool constant_row(const lt_graph *graph, uint32_t value, int64_t count)
{
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *v = &graph->values[value];
    return v->data != NULL && v->dtype == LEAT_DTYPE_F32 && v->rank == 1 && v->shape[0] == count;
}

static bool matches(const lt_graph *graph, const lt_uses *uses, const leat_node *conv,
                    leat_node **out_norm)
{
    uint32_t w = lt_input_of(conv, 1), b = lt_input_of(conv, 2);
    if (!lt_is_onnx(conv, "Conv") || w == LEAT_NO_VALUE || conv->n_outputs != 1) {
        return false;
    }
    const leat_value *weights = &graph->values[w];
    leat_node *norm = lt_only_reader(uses, conv->outputs[0]);
    if (weights->data == NULL || weights->dtype != LEAT_DTYPE_F32 || weights->rank < 3 ||
        norm == NULL || !lt_is_onnx(norm, "BatchNormalization") ||
        norm->inputs[0] != conv->outputs[0] || leat_node_int(norm, "training_mode", 0) != 0) {
        return false;
    }
    for (uint32_t i = 1; i < norm->n_outputs; i++) {
        if (norm->outputs[i] != LEAT_NO_VALUE) {
            return false;
        }
    }
    int64_t m = weights->shape[0];
    for (uint32_t i = 1; i < 5; i++) {
        if (!constant_row(graph, lt_input_of(norm, i), m)) {
            return false;
        }
    }
    *out_norm = norm;
    return b == LEAT_NO_VALUE || constant_row(graph, b, m);
}

static leat_status fold(lt_graph *graph, leat_node *conv, const leat_node *norm, leat_error *err)
{
    leat_value w = graph->values[conv->inputs[1]];
    leat_value p[5];
    uint32_t bias_at = lt_input_of(conv, 2), new_w, new_b;
    size_t m = (size_t)w.shape[0], each = m ? w.bytes / sizeof(float) / m : 0;
    float *weights = lt_arena_alloc(lt_graph_arena(graph), w.bytes, LT_ALIGNMENT);
    float *bias = lt_arena_array(lt_graph_arena(graph), m, sizeof(*bias));
    if (weights == NULL || bias == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "batch norm folding: out of memory");
    }
    for (uint32_t i = 1; i < 5; i++) {
        p[i] = graph->values[norm->inputs[i]];
    }
    double epsilon = (double)leat_node_float(norm, "epsilon", 1e-5f);
    for (size_t c = 0; c < m; c++) {
        double s = (double)at(&p[1], c) / sqrt((double)at(&p[4], c) + epsilon);
        double b = bias_at == LEAT_NO_VALUE ? 0 : (double)at(&graph->values[bias_at], c);
        bias[c] = (float)((b - (double)at(&p[3], c)) * s + (double)at(&p[2], c));
        for (size_t i = 0; i < each; i++) {
            weights[c * each + i] = (float)((double)at(&w, c * each + i) * s);
        }
    }
    leat_array wa = {w.dtype, w.rank, {0}, weights, w.bytes};
    leat_array ba = {w.dtype, 1, {(int64_t)m}, bias, m * sizeof(float)};
    memcpy(wa.shape, w.shape, sizeof(wa.shape));
    leat_status status = lt_graph_add_constant(graph, NULL, &wa, false, &new_w, err);
    if (status == LEAT_OK) {
        status = lt_graph_add_constant(graph, NULL, &ba, false, &new_b, err);
    }
    if (status == LEAT_OK) {
        uint32_t inputs[3] = {conv->inputs[0], new_w, new_b};
        lt_rewrite r = {.from = conv,
                        .at = conv,
                        .domain = conv->domain,
                        .inputs = inputs,
                        .n_inputs = 3,
                        .output = norm->outputs[0]};
        leat_node *made;
        status = lt_rewrite_node(graph, &r, &made, err);
        if (status == LEAT_OK) {
            made->opset = conv->opset;
            lt_graph_remove_node(graph, conv);
            lt_graph_remove_node(graph, norm);
        }
    }
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    (void)context;
    /* New values have no entry in `uses`, and are never asked for: they are constants. */
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *norm;
        if (matches(graph, &uses, graph->nodes[i], &norm)) {
            status = fold(graph, graph->nodes[i], norm, err);
            *out_changed = true;
        }
    }
    return status;
}

leat_status lt_pass_fold_batchnorm(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Cross-layer equalization: Nagel et al., "Data-Free Quantization through Weight Equalization and
 * Bias Correction", ICCV 2019, 4.1. Between two products a and b, with nothing but Relu and its
 * like between them, a channel c of positive size s[c] may move from one to the other:
 *
 *     a'[c] = a[c] / s[c],    bias'[c] = bias[c] / s[c],    b'[c] = b[c] * s[c]
 *     s[c] = sqrt(largest |a[c]| / largest |b[c]|)
 *
 * with a[c] the weights that make channel c and b[c] those that read it. No channel of the
 * activation between is then much wider than the others, which share its grid, nor are b's weights
 * of one channel. s[c] is rounded to a power of two, so that results in f32 stay the same to the
 * last bit. Pairs of one chain move each other: they take turns until nothing changes. */
#include "base/error.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

#define ROUNDS 30
/* Nodes between the two at most, and powers of two that a channel moves at a time. */
#define BETWEEN 4
#define MOST_POWER 30

/* Weights as [outputs][inputs of a group][taps], or, `turned`, [inputs][outputs]. */
typedef struct side {
    float *w;
    size_t outputs, inputs, taps, groups;
    bool turned, conv;
} side;

typedef struct pair {
    side a, b;
    float *bias; /* NULL: none */
    size_t channels;
} pair;

static side side_of(const lt_graph *graph, const lt_quant_layer *layer, const leat_node *node)
{
    const leat_value *v = &graph->values[node->inputs[1]];
    side s = {.taps = 1, .groups = 1, .turned = layer->axis == 1};
    s.outputs = layer->channels;
    s.inputs = (size_t)v->shape[s.turned ? 0 : 1];
    for (int32_t d = 2; d < v->rank; d++) {
        s.taps *= (size_t)v->shape[d];
    }
    s.conv = strcmp(node->op, "Conv") == 0;
    s.groups = s.conv ? (size_t)leat_node_int(node, "group", 1) : 1;
    return s;
}

/* Largest magnitude of each output or input channel; or, with s, all of them times s. */
static void sweep(const side *v, bool by_output, double *most, const float *s)
{
    const size_t each = v->outputs / v->groups;
    for (size_t o = 0; o < v->outputs; o++) {
        for (size_t i = 0; i < v->inputs; i++) {
            const size_t c = by_output ? o : o / each * v->inputs + i;
            float *w = v->w + (v->turned ? i * v->outputs + o : (o * v->inputs + i) * v->taps);
            for (size_t t = 0; t < v->taps; t++) {
                if (s != NULL) {
                    w[t] *= s[c];
                } else {
                    most[c] = fmax(most[c], fabs((double)w[t]));
                }
            }
        }
    }
}

/* One pair; whether something moved. `room` holds two doubles and a float for each channel. */
static bool even_out(const pair *p, double *room)
{
    const size_t n = p->channels;
    double *a = room, *b = room + n;
    float *s = (float *)(void *)(room + 2 * n);
    bool moved = false;
    memset(room, 0, 2 * n * sizeof(*room));
    sweep(&p->a, true, a, NULL);
    sweep(&p->b, false, b, NULL);
    for (size_t c = 0; c < n; c++) {
        const double ratio = a[c] / b[c];
        const bool known = a[c] > 0 && ratio > 0 && isfinite(ratio);
        const double power = known ? rint(log2(ratio) / 2) : 0;
        s[c] = (float)ldexp(1, (int)fmax(-MOST_POWER, fmin(MOST_POWER, power)));
        moved |= s[c] != 1;
    }
    sweep(&p->b, false, NULL, s);
    for (size_t c = 0; c < n; c++) {
        s[c] = 1 / s[c];
    }
    sweep(&p->a, true, NULL, s);
    for (size_t c = 0; p->bias != NULL && c < n; c++) {
        p->bias[c] *= s[c];
    }
    return moved;
}

/* --- finding pairs ------------------------------------------------------------------------------
 */

/* Whether f(s x) = s f(x) for s > 0, channel by channel; pools only of what a convolution reads. */
static bool is_homogeneous(const leat_node *node, bool conv)
{
    static const char *const ops[] = {"Relu",          "LeakyRelu",   "MaxPool",
                                      "GlobalMaxPool", "AveragePool", "GlobalAveragePool"};
    for (size_t i = 0; i < (conv ? sizeof(ops) / sizeof(ops[0]) : 2); i++) {
        if (lt_is_onnx(node, ops[i])) {
            return node->n_outputs == 1;
        }
    }
    return false;
}

static const lt_quant_layer *layer_at(const leat_quantizer *q, const lt_graph *graph,
                                      const leat_node *node)
{
    for (uint32_t i = 0; i < q->n_layers; i++) {
        if (graph->nodes[q->layers[i].position] == node) {
            return &q->layers[i];
        }
    }
    return NULL;
}

/* The layer whose result the node reads, and nothing else does; NULL: none. */
static const lt_quant_layer *layer_before(const leat_quantizer *q, const lt_graph *graph,
                                          const lt_uses *uses, const leat_node *node)
{
    const bool conv = lt_is_onnx(node, "Conv");
    for (int i = 0; i <= BETWEEN; i++) {
        const leat_node *from = uses->producer[node->inputs[0]];
        if (from == NULL || lt_only_reader(uses, node->inputs[0]) != node) {
            return NULL;
        }
        const lt_quant_layer *found = layer_at(q, graph, from);
        if (found != NULL || !is_homogeneous(from, conv)) {
            return found;
        }
        node = from;
    }
    return NULL;
}

/* A copy of a constant that nothing else reads, once, in the graph's arena. */
static leat_status own(lt_graph *graph, uint32_t value, float **copies, float **out,
                       leat_error *err)
{
    leat_value *v = &graph->values[value];
    if (copies[value] == NULL) {
        copies[value] = lt_arena_take(lt_graph_arena(graph), v->bytes, LT_ALIGNMENT);
        if (copies[value] == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory to equalize layers");
        }
        memcpy(copies[value], v->data, v->bytes);
        v->data = copies[value];
    }
    *out = copies[value];
    return LEAT_OK;
}

/* Whether the bias is missing, or a constant of one number a channel that may be changed. */
static bool bias_fits(const lt_graph *graph, const lt_uses *uses, uint32_t bias, size_t channels)
{
    const leat_value *v = bias == LEAT_NO_VALUE ? NULL : &graph->values[bias];
    return v == NULL || (v->data != NULL && v->dtype == LEAT_DTYPE_F32 && v->rank == 1 &&
                         v->shape[0] == (int64_t)channels && uses->count[bias] == 1);
}

/* The pair that ends with that layer; out->channels 0: there is none. */
static leat_status find_pair(leat_quantizer *q, lt_graph *graph, const lt_uses *uses,
                             const lt_quant_layer *last, float **copies, pair *out, leat_error *err)
{
    const leat_node *b = graph->nodes[last->position];
    const lt_quant_layer *first = layer_before(q, graph, uses, b);
    out->channels = 0;
    if (first == NULL) {
        return LEAT_OK;
    }
    const leat_node *a = graph->nodes[first->position];
    const uint32_t bias = lt_input_of(a, 2);
    out->a = side_of(graph, first, a);
    out->b = side_of(graph, last, b);
    if (out->a.conv != out->b.conv || out->a.groups == 0 || out->b.groups == 0 ||
        out->a.outputs != out->b.inputs * out->b.groups || out->a.outputs % out->a.groups != 0 ||
        out->b.outputs % out->b.groups != 0 || uses->count[a->inputs[1]] != 1 ||
        uses->count[b->inputs[1]] != 1 || !bias_fits(graph, uses, bias, out->a.outputs)) {
        return LEAT_OK;
    }
    leat_status status = own(graph, a->inputs[1], copies, &out->a.w, err);
    status = status ? status : own(graph, b->inputs[1], copies, &out->b.w, err);
    out->bias = NULL;
    if (status == LEAT_OK && bias != LEAT_NO_VALUE) {
        status = own(graph, bias, copies, &out->bias, err);
    }
    out->channels = out->a.outputs;
    return status;
}

/* Changes the graph; *out_pairs is how many pairs it has. */
static leat_status equalize(leat_quantizer *q, lt_graph *graph, lt_arena *scratch,
                            uint32_t *out_pairs, leat_error *err)
{
    lt_uses uses;
    size_t most = 0;
    pair *pairs = lt_arena_array(scratch, q->n_layers, sizeof(*pairs));
    float **copies = lt_arena_array(scratch, graph->n_values + 1u, sizeof(float *));
    leat_status status = pairs && copies
                             ? lt_uses_build(graph, scratch, &uses, err)
                             : lt_fail(err, LEAT_NO_MEMORY, "no memory to equalize layers");
    *out_pairs = 0;
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        pair *p = &pairs[*out_pairs];
        status = find_pair(q, graph, &uses, &q->layers[i], copies, p, err);
        *out_pairs += p->channels > 0;
        most = p->channels > most ? p->channels : most;
    }
    double *room = status ? NULL : lt_arena_array(scratch, 3 * most + 1, sizeof(*room));
    if (room == NULL) {
        return status ? status : lt_fail(err, LEAT_NO_MEMORY, "no memory to equalize layers");
    }
    bool moved = true;
    for (int round = 0; round < ROUNDS && moved; round++) {
        moved = false;
        for (uint32_t i = 0; i < *out_pairs; i++) {
            moved |= even_out(&pairs[i], room);
        }
    }
    return LEAT_OK;
}

leat_status lt_quant_equalize(leat_quantizer *q, leat_error *err)
{
    lt_graph *graph;
    lt_arena scratch;
    uint32_t pairs = 0;
    leat_status status = lt_graph_clone(q->model->graph, &graph, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_arena_init(&scratch, &q->context->memory, 0);
    status = equalize(q, graph, &scratch, &pairs, err);
    lt_arena_destroy(&scratch);
    lt_model_release_pages(q->model);
    if (status != LEAT_OK || pairs == 0) {
        lt_graph_destroy(graph);
        return status;
    }
    status = lt_model_of_graph(q->context, graph, q->model, &q->equalized, err);
    if (status == LEAT_OK) {
        q->model = q->equalized;
        for (uint32_t i = 0; i < q->n_layers; i++) {
            q->layers[i].node = q->model->graph->nodes[q->layers[i].position];
        }
    }
    return status;
}

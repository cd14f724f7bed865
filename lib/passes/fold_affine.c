/* SPDX-License-Identifier: Apache-2.0 */
/* Factors and addends of channels behind a convolution, plain or transposed, with constant weights:
 * BatchNormalization at inference; Mul, Div, Add and Sub of a constant of one element or of one a
 * channel.
 *
 *     y[m] = conv(x)[m] * s[m] + t[m]
 *     W'[m, ...] = W[m, ...] * s[m]        B'[m] = B[m] * s[m] + t[m]
 *
 * and for BatchNormalization  s = scale / sqrt(variance + epsilon), t = bias - mean * s.
 * Computed in double, rounded once to f32. */
#include "passes/match.h"

#include <math.h>

static double at(const leat_value *value, size_t i)
{
    float f;
    memcpy(&f, (const char *)value->data + i * sizeof(f), sizeof(f));
    return (double)f;
}

static bool constant_row(const lt_graph *graph, uint32_t value, int64_t count)
{
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *v = &graph->values[value];
    return v->data != NULL && v->dtype == LEAT_DTYPE_F32 && v->rank == 1 && v->shape[0] == count;
}

/* Whether a constant gives every channel (axis 1 of `rank`) one number: *out_step is 0 for the same
 * number for all, 1 otherwise. */
static bool channel_constant(const lt_graph *graph, uint32_t value, int32_t rank, int64_t channels,
                             size_t *out_step)
{
    const leat_value *v = &graph->values[value];
    if (v->data == NULL || v->dtype != LEAT_DTYPE_F32 || v->rank > rank || v->rank < 0) {
        return false;
    }
    *out_step = 0;
    for (int32_t i = 0; i < v->rank; i++) {
        bool channel = rank - v->rank + i == 1;
        if (v->shape[i] != 1 && (!channel || v->shape[i] != channels)) {
            return false;
        }
        *out_step |= channel && v->shape[i] != 1;
    }
    return true;
}

/* A convolution whose weights can be changed. */
typedef struct target {
    leat_node *conv;
    bool transposed;
    int64_t channels, groups; /* of the output */
} target;

static bool read_target(const lt_graph *graph, leat_node *conv, target *out)
{
    uint32_t w = lt_input_of(conv, 1), b = lt_input_of(conv, 2);
    *out = (target){conv, lt_is_onnx(conv, "ConvTranspose"), 0, leat_node_int(conv, "group", 1)};
    if ((!out->transposed && !lt_is_onnx(conv, "Conv")) || w == LEAT_NO_VALUE ||
        conv->n_outputs != 1 || out->groups < 1) {
        return false;
    }
    const leat_value *v = &graph->values[w];
    if (v->data == NULL || v->dtype != LEAT_DTYPE_F32 || v->rank < 3 || v->bytes == 0 ||
        v->shape[0] % out->groups != 0) {
        return false;
    }
    out->channels = out->transposed ? v->shape[1] : v->shape[0];
    if (out->transposed && __builtin_mul_overflow(out->channels, out->groups, &out->channels)) {
        return false;
    }
    return b == LEAT_NO_VALUE || constant_row(graph, b, out->channels);
}

static bool is_batchnorm(const lt_graph *graph, const target *t, const leat_node *norm)
{
    if (!lt_is_onnx(norm, "BatchNormalization") || norm->inputs[0] != t->conv->outputs[0] ||
        leat_node_int(norm, "training_mode", 0) != 0) {
        return false;
    }
    for (uint32_t i = 1; i < norm->n_outputs; i++) {
        if (norm->outputs[i] != LEAT_NO_VALUE) {
            return false;
        }
    }
    for (uint32_t i = 1; i < 5; i++) {
        if (!constant_row(graph, lt_input_of(norm, i), t->channels)) {
            return false;
        }
    }
    return true;
}

/* Mul, Div, Add or Sub of a constant; *out_constant is that, *out_step its distance a channel. */
static bool is_binary(const lt_graph *graph, const target *t, const leat_node *node,
                      uint32_t *out_constant, size_t *out_step)
{
    bool commutes = lt_is_onnx(node, "Mul") || lt_is_onnx(node, "Add");
    if ((!commutes && !lt_is_onnx(node, "Div") && !lt_is_onnx(node, "Sub")) ||
        node->n_inputs != 2 || node->n_outputs != 1 || node->opset < 7) {
        return false;
    }
    uint32_t data = node->inputs[0] == t->conv->outputs[0] ? 0 : 1;
    int32_t rank = graph->values[t->conv->inputs[1]].rank;
    *out_constant = node->inputs[1 - data];
    return (data == 0 || commutes) && *out_constant != LEAT_NO_VALUE &&
           channel_constant(graph, *out_constant, rank, t->channels, out_step);
}

/* s and t of every channel. */
typedef struct affine {
    double *s, *t;
} affine;

static bool read_affine(const lt_graph *graph, const target *target, const leat_node *node,
                        const affine *out, bool *out_scales)
{
    uint32_t constant;
    size_t step, m = (size_t)target->channels;
    *out_scales = true;
    if (is_batchnorm(graph, target, node)) {
        const leat_value *p[5];
        for (uint32_t i = 1; i < 5; i++) {
            p[i] = &graph->values[node->inputs[i]];
        }
        double epsilon = (double)leat_node_float(node, "epsilon", 1e-5f);
        for (size_t c = 0; c < m; c++) {
            out->s[c] = at(p[1], c) / sqrt(at(p[4], c) + epsilon);
            out->t[c] = at(p[2], c) - at(p[3], c) * out->s[c];
        }
        return true;
    }
    if (!is_binary(graph, target, node, &constant, &step)) {
        return false;
    }
    bool mul = lt_is_onnx(node, "Mul"), div = lt_is_onnx(node, "Div");
    double sign = lt_is_onnx(node, "Sub") ? -1 : 1;
    *out_scales = mul || div;
    for (size_t c = 0; c < m; c++) {
        double v = at(&graph->values[constant], c * step);
        out->s[c] = mul ? v : div ? 1 / v : 1;
        out->t[c] = *out_scales ? 0 : sign * v;
    }
    return true;
}

/* Where the next scaled weights go. One block for all weights of a model: large pages, which many
 * single ones would not fill, cost the system a fraction of the time. */
typedef struct room {
    char *next;
    size_t left;
} room;

static size_t room_bytes(const leat_value *weights)
{
    return (weights->bytes + LT_ALIGNMENT - 1) & ~(size_t)(LT_ALIGNMENT - 1);
}

static float *take_room(lt_graph *graph, room *room, const leat_value *weights)
{
    size_t bytes = room_bytes(weights);
    if (bytes > room->left) { /* not foreseen */
        return lt_arena_take(lt_graph_arena(graph), weights->bytes, LT_ALIGNMENT);
    }
    float *block = (float *)(void *)room->next;
    room->next += bytes;
    room->left -= bytes;
    return block;
}

typedef float four __attribute__((vector_size(16)));
typedef double four_wide __attribute__((vector_size(32)));

/* n elements that may be unaligned, times s. */
static void scale_run(const char *from, double s, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) { /* the passes are compiled for size, and this reads all weights */
        four v;
        memcpy(&v, from + i * sizeof(float), sizeof(v));
        v = __builtin_convertvector(__builtin_convertvector(v, four_wide) * s, four);
        memcpy(to + i, &v, sizeof(v));
    }
    for (; i < n; i++) {
        float f;
        memcpy(&f, from + i * sizeof(f), sizeof(f));
        to[i] = (float)((double)f * s);
    }
}

/* The weights times s, as a new constant. */
static leat_status scale_weights(lt_graph *graph, room *room, const target *t, const affine *by,
                                 uint32_t *out, leat_error *err)
{
    leat_value w = graph->values[t->conv->inputs[1]];
    size_t count = w.bytes / sizeof(float), outer = (size_t)w.shape[0];
    size_t inner = count / outer, m = (size_t)t->channels, groups = (size_t)t->groups;
    size_t runs = t->transposed ? m / groups : 1, each = inner / runs;
    float *weights = take_room(graph, room, &w);
    if (weights == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "folding into a convolution: out of memory");
    }
    for (size_t o = 0; o < outer; o++) {
        size_t first = t->transposed ? o / (outer / groups) * runs : o;
        for (size_t r = 0; r < runs; r++) {
            size_t at = o * inner + r * each;
            scale_run((const char *)w.data + at * sizeof(float), by->s[first + r], weights + at,
                      each);
        }
    }
    leat_array array = {w.dtype, w.rank, {0}, weights, w.bytes};
    memcpy(array.shape, w.shape, sizeof(array.shape));
    return lt_graph_add_constant(graph, NULL, &array, false, out, err);
}

static leat_status new_bias(lt_graph *graph, const target *t, const affine *by, uint32_t *out,
                            leat_error *err)
{
    uint32_t old = lt_input_of(t->conv, 2);
    size_t m = (size_t)t->channels;
    float *bias = lt_arena_array(lt_graph_arena(graph), m, sizeof(*bias));
    if (bias == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "folding into a convolution: out of memory");
    }
    for (size_t c = 0; c < m; c++) {
        double b = old == LEAT_NO_VALUE ? 0 : at(&graph->values[old], c);
        bias[c] = (float)(b * by->s[c] + by->t[c]);
    }
    leat_array array = {LEAT_DTYPE_F32, 1, {t->channels}, bias, m * sizeof(float)};
    return lt_graph_add_constant(graph, NULL, &array, false, out, err);
}

static leat_status fold(lt_graph *graph, room *room, const target *t, const leat_node *node,
                        const affine *by, bool scales, leat_error *err)
{
    leat_node *conv = t->conv, *made;
    uint32_t inputs[3] = {conv->inputs[0], conv->inputs[1], 0};
    leat_status status = scales ? scale_weights(graph, room, t, by, &inputs[1], err) : LEAT_OK;
    if (status == LEAT_OK) {
        status = new_bias(graph, t, by, &inputs[2], err);
    }
    lt_rewrite r = {.from = conv,
                    .at = conv,
                    .domain = conv->domain,
                    .inputs = inputs,
                    .n_inputs = 3,
                    .output = node->outputs[0]};
    if (status == LEAT_OK) {
        status = lt_rewrite_node(graph, &r, &made, err);
    }
    if (status == LEAT_OK) {
        made->opset = conv->opset;
        lt_graph_remove_node(graph, conv);
        lt_graph_remove_node(graph, node);
    }
    return status;
}

/* A convolution and the only reader of its result, which may be what is folded. */
static const leat_node *read_pair(const lt_graph *graph, const lt_uses *uses, uint32_t node,
                                  target *out)
{
    return read_target(graph, graph->nodes[node], out) ? lt_only_reader(uses, out->conv->outputs[0])
                                                       : NULL;
}

/* Whether read_affine will find factors. */
static bool has_factors(const lt_graph *graph, const target *t, const leat_node *node)
{
    uint32_t constant;
    size_t step;
    return is_batchnorm(graph, t, node) || ((lt_is_onnx(node, "Mul") || lt_is_onnx(node, "Div")) &&
                                            is_binary(graph, t, node, &constant, &step));
}

/* Room for all weights that will be scaled. None is no error: each then gets its own. */
static room make_room(lt_graph *graph, const lt_uses *uses)
{
    room room = {NULL, 0};
    size_t bytes = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        target t;
        const leat_node *node = read_pair(graph, uses, i, &t);
        if (node != NULL && has_factors(graph, &t, node)) {
            bytes += room_bytes(&graph->values[t.conv->inputs[1]]);
        }
    }
    room.next = bytes ? lt_arena_take(lt_graph_arena(graph), bytes, LT_ALIGNMENT) : NULL;
    if (room.next != NULL) {
        room.left = bytes;
        lt_memory_touch_large(room.next, bytes);
    }
    return room;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    (void)context;
    if (status != LEAT_OK) {
        return status;
    }
    room room = make_room(graph, &uses);
    /* New values have no entry in `uses`, and are never asked for: they are constants. */
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        target t;
        bool scales;
        const leat_node *node = read_pair(graph, &uses, i, &t);
        if (node == NULL) {
            continue;
        }
        affine by = {lt_arena_array(scratch, (size_t)t.channels, sizeof(double)),
                     lt_arena_array(scratch, (size_t)t.channels, sizeof(double))};
        if (by.s == NULL || by.t == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "folding into a convolution: out of memory");
        }
        if (read_affine(graph, &t, node, &by, &scales)) {
            status = fold(graph, &room, &t, node, &by, scales, err);
            *out_changed = true;
        }
    }
    return status;
}

leat_status lt_pass_fold_affine(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                                leat_error *err)
{
    return lt_run_on_graphs(graph, context, run, out_changed, err);
}

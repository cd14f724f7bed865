/* SPDX-License-Identifier: Apache-2.0 */
/* Layer and RMS normalisation over the last dimension as exporters spell them:
 *
 *     d = x - ReduceMean(x)      d / Sqrt(ReduceMean(d^2) + epsilon) * scale [+ bias]
 *     x / Sqrt(ReduceMean(x^2) + epsilon) * scale
 *
 * -> LayerNormalization, RMSNormalization of the domain leat. The root may be Reciprocal, 1 / Sqrt
 * or Pow by -0.5 in a product, squares Pow or Mul; d may be computed twice. */
#include "passes/monomial.h"

/* What was found. */
typedef struct norm {
    uint32_t x, scale, bias; /* bias LEAT_NO_VALUE: none */
    bool rms;
    double epsilon;
    const leat_node *last;
    lt_formula formula;
} norm;

/* Whether a ReduceMean is over the last dimension alone and keeps it. */
static bool over_last(const lt_graph *graph, const leat_node *mean)
{
    size_t n;
    const int64_t *axes = leat_node_ints(mean, "axes", &n);
    uint32_t input = lt_input_of(mean, 1);
    int32_t rank = graph->values[mean->inputs[0]].rank;
    int64_t axis = 0;
    if (input != LEAT_NO_VALUE) {
        const leat_value *v = &graph->values[input];
        if (v->data == NULL || v->dtype != LEAT_DTYPE_I64 || v->bytes != sizeof(axis)) {
            return false;
        }
        memcpy(&axis, v->data, sizeof(axis));
    } else if (n == 1) {
        axis = axes[0];
    } else {
        return false;
    }
    return rank >= 1 && (axis == -1 || axis == rank - 1) && leat_node_int(mean, "keepdims", 1) != 0;
}

/* Whether value = x - ReduceMean(x); *out_x is x. Readers of both may be several. */
static bool is_centred(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t *out_x)
{
    const leat_node *sub = uses->producer[value];
    if (sub == NULL || !lt_is_onnx(sub, "Sub")) {
        return false;
    }
    const leat_node *mean = uses->producer[sub->inputs[1]];
    *out_x = sub->inputs[0];
    return mean != NULL && lt_is_onnx(mean, "ReduceMean") && mean->inputs[0] == *out_x &&
           over_last(graph, mean);
}

/* value = Sqrt(ReduceMean(d^2) + epsilon), or with Pow by 1/2; *out_d is d. */
static bool is_deviation(const lt_graph *graph, const lt_uses *uses, uint32_t value, norm *n,
                         uint32_t *out_d)
{
    lt_monomial square;
    uint32_t mean_value;
    const leat_node *root = lt_read_node(uses, value, "Sqrt", &n->formula);
    if (root == NULL ||
        !lt_read_sum(graph, uses, root->inputs[0], &n->formula, &mean_value, &n->epsilon)) {
        return false;
    }
    const leat_node *mean = lt_read_node(uses, mean_value, "ReduceMean", &n->formula);
    if (mean == NULL || !over_last(graph, mean) ||
        !lt_read_monomial(graph, uses, mean->inputs[0], &n->formula, &square)) {
        return false;
    }
    *out_d = square.values[0];
    return square.n == 1 && square.powers[0] == 2 && square.factor == 1;
}

/* value = 1 / deviation. */
static bool is_inverse(const lt_graph *graph, const lt_uses *uses, uint32_t value, norm *n,
                       uint32_t *out_d)
{
    double one;
    const leat_node *node = lt_read_node(uses, value, "Reciprocal", &n->formula);
    if (node != NULL) {
        return is_deviation(graph, uses, node->inputs[0], n, out_d);
    }
    node = lt_read_node(uses, value, "Div", &n->formula);
    return node != NULL && lt_constant_float(graph, node->inputs[0], &one) && one == 1 &&
           is_deviation(graph, uses, node->inputs[1], n, out_d);
}

/* `node` divides by the deviation: d / deviation, d * inverse, inverse * d. */
static bool read_quotient(const lt_graph *graph, const lt_uses *uses, const leat_node *node,
                          norm *n, uint32_t *out_numerator, uint32_t *out_d)
{
    const norm start = *n;
    if (lt_is_onnx(node, "Div")) {
        *out_numerator = node->inputs[0];
        return is_deviation(graph, uses, node->inputs[1], n, out_d);
    }
    for (uint32_t i = 0; lt_is_onnx(node, "Mul") && i < 2; i++) {
        *n = start;
        *out_numerator = node->inputs[1 - i];
        if (is_inverse(graph, uses, node->inputs[i], n, out_d)) {
            return true;
        }
    }
    return false;
}

/* A value of one row of x's last dimension, known to be of that length. */
static bool is_row(const lt_graph *graph, uint32_t value, uint32_t x)
{
    const leat_value *v = &graph->values[value], *data = &graph->values[x];
    return v->rank == 1 && v->dtype == data->dtype && v->shape[0] == data->shape[data->rank - 1];
}

/* The other operand of the only reader, where that is `op` with a row. */
static const leat_node *read_row(const lt_graph *graph, const lt_uses *uses, uint32_t value,
                                 const char *op, uint32_t x, uint32_t *out_row)
{
    const leat_node *node = lt_only_reader(uses, value);
    if (node == NULL || !lt_is_onnx(node, op)) {
        return NULL;
    }
    *out_row = node->inputs[node->inputs[0] == value];
    return is_row(graph, *out_row, x) ? node : NULL;
}

static bool matches(const lt_graph *graph, const lt_uses *uses, const leat_node *node, norm *out)
{
    norm n = {.bias = LEAT_NO_VALUE};
    uint32_t numerator, d, x;
    if (node->n_outputs != 1 || !read_quotient(graph, uses, node, &n, &numerator, &d)) {
        return false;
    }
    n.x = numerator;
    n.rms = true;
    if (is_centred(graph, uses, numerator, &x)) {
        uint32_t again;
        bool same = numerator == d || (is_centred(graph, uses, d, &again) && again == x);
        n.rms = !same;
        n.x = same ? x : n.x;
    }
    if ((n.rms && numerator != d) || graph->values[n.x].rank < 1 || n.epsilon < 0 ||
        !lt_same_shape(graph, n.x, node->outputs[0])) {
        return false;
    }
    const leat_node *mul = read_row(graph, uses, node->outputs[0], "Mul", n.x, &n.scale);
    if (mul == NULL) {
        return false;
    }
    lt_formula_add(&n.formula, node);
    lt_formula_add(&n.formula, mul);
    n.last = mul;
    const leat_node *add =
        n.rms ? NULL : read_row(graph, uses, mul->outputs[0], "Add", n.x, &n.bias);
    if (add != NULL) {
        lt_formula_add(&n.formula, add);
        n.last = add;
    } else {
        n.bias = LEAT_NO_VALUE;
    }
    *out = n;
    return !n.formula.full;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const norm *n,
                        bool *out_changed, leat_error *err)
{
    uint32_t inputs[3] = {n->x, n->scale, n->bias};
    leat_attr attrs[2] = {{"axis", LEAT_ATTR_INT, 1, {.i = -1}},
                          {"epsilon", LEAT_ATTR_FLOAT, 1, {.f = (float)n->epsilon}}};
    lt_node_desc desc = {.op = n->rms ? "RMSNormalization" : "LayerNormalization",
                         .domain = "leat",
                         .name = n->last->name,
                         .inputs = inputs,
                         .n_inputs = n->bias == LEAT_NO_VALUE ? 2 : 3,
                         .outputs = n->last->outputs,
                         .n_outputs = 1,
                         .attrs = attrs,
                         .n_attrs = 2};
    leat_node *made;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, n->last), &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_keep_supported(graph, context, made)) {
        return LEAT_OK;
    }
    lt_formula_remove(graph, &n->formula); /* Sub and the mean go as dead */
    *out_changed = true;
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    /* Backwards, and without overlap: a formula ends before the next one's x. */
    for (uint32_t i = graph->n_nodes; i-- > 0 && status == LEAT_OK;) {
        norm found;
        if (i < graph->n_nodes && matches(graph, &uses, graph->nodes[i], &found)) {
            status = fuse(graph, context, &found, out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_fuse_layernorm(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Attention as exporters spell it:
 *
 *     Softmax(scale * Q K^T + mask) V   ->   Attention(Q, K, V, mask)
 *
 * where Mul or Div by numbers may stand behind Q, behind K, behind the product. The operands are
 * [B, heads, S, D]. Where all of them are Transposes of a Reshape of [B, S, heads * D], and the
 * result goes back that way, the node reads and writes [B, S, heads * D] itself. */
#include "passes/monomial.h"

/* What was found. */
typedef struct attention {
    uint32_t q, k, v, mask; /* [B, heads, S, D]; mask LEAT_NO_VALUE: none */
    bool k_by_rows;         /* k is [B, S, heads, D] */
    double scale;
    const leat_node *product; /* the second MatMul */
    lt_formula formula;
} attention;

static bool dims_equal(const lt_graph *graph, uint32_t a, int32_t i, uint32_t b, int32_t j)
{
    return graph->values[a].shape[i] == graph->values[b].shape[j];
}

/* Input of a Transpose of rank 4 with that permutation, whoever else reads its result. */
static bool behind(const lt_uses *uses, uint32_t value, const int64_t perm[4], uint32_t *out)
{
    const leat_node *node = uses->producer[value];
    size_t n;
    if (node == NULL || !lt_is_onnx(node, "Transpose")) {
        return false;
    }
    const int64_t *have = leat_node_ints(node, "perm", &n);
    if (have == NULL || n != 4 || memcmp(have, perm, 4 * sizeof(*perm)) != 0) {
        return false;
    }
    *out = node->inputs[0];
    return true;
}

/* value = *scale * *out; *scale is multiplied. */
static bool scaled(const lt_graph *graph, const lt_uses *uses, uint32_t value, attention *a,
                   uint32_t *out)
{
    lt_monomial m;
    if (!lt_read_monomial(graph, uses, value, &a->formula, &m) || m.n != 1 || m.powers[0] != 1 ||
        !lt_same_shape(graph, m.values[0], value)) {
        return false;
    }
    a->scale *= m.factor;
    *out = m.values[0];
    return true;
}

/* K from K^T. */
static bool read_keys(const lt_graph *graph, const lt_uses *uses, uint32_t transposed, attention *a)
{
    static const int64_t last_two[4] = {0, 1, 3, 2}, from_rows[4] = {0, 2, 3, 1};
    uint32_t value, k;
    if (!scaled(graph, uses, transposed, a, &value)) {
        return false;
    }
    a->k_by_rows = behind(uses, value, from_rows, &k);
    return (a->k_by_rows || behind(uses, value, last_two, &k)) && scaled(graph, uses, k, a, &a->k);
}

/* The product behind the softmax: scale, Q and K. */
static bool read_scores(const lt_graph *graph, const lt_uses *uses, uint32_t value, attention *a)
{
    uint32_t product;
    if (!scaled(graph, uses, value, a, &product)) {
        return false;
    }
    const leat_node *matmul = lt_read_node(uses, product, "MatMul", &a->formula);
    return matmul != NULL && graph->values[matmul->inputs[0]].rank == 4 &&
           graph->values[matmul->inputs[1]].rank == 4 &&
           scaled(graph, uses, matmul->inputs[0], a, &a->q) &&
           read_keys(graph, uses, matmul->inputs[1], a);
}

/* Whether adding the mask leaves the shape of the scores, [B, heads, S, T], as it is. Of symbols
 * this is known where they are equal, and for T: V has T rows, too, so that the product would fail
 * otherwise. What holds for T holds for S where both are one symbol on both sides. */
static bool mask_fits(const lt_graph *graph, uint32_t scores, uint32_t mask)
{
    const leat_value *s = &graph->values[scores], *m = &graph->values[mask];
    bool good = m->rank >= 0 && m->rank <= 4 && s->rank == 4 && m->dtype == s->dtype;
    for (int32_t i = 0; good && i < m->rank; i++) {
        int32_t at = i + 4 - m->rank;
        bool square = at == 2 && m->shape[i] == m->shape[i + 1] && s->shape[2] == s->shape[3];
        good = m->shape[i] == 1 || m->shape[i] == s->shape[at] || at == 3 || square;
    }
    return good;
}

/* Scores with or without a mask. */
static bool read_masked(const lt_graph *graph, const lt_uses *uses, uint32_t value, attention *a)
{
    attention plain = *a;
    if (read_scores(graph, uses, value, &plain)) {
        *a = plain;
        return true;
    }
    const leat_node *add = lt_read_node(uses, value, "Add", &a->formula);
    for (uint32_t i = 0; add != NULL && i < 2; i++) {
        attention tried = *a;
        uint32_t scores = add->inputs[i], mask = add->inputs[1 - i];
        if (mask_fits(graph, scores, mask) && read_scores(graph, uses, scores, &tried)) {
            *a = tried;
            a->mask = mask;
            return true;
        }
    }
    return false;
}

/* Batch and heads agree, so that nothing is repeated, and K has as many rows as V. */
static bool operands_fit(const lt_graph *graph, const attention *a)
{
    const leat_value *q = &graph->values[a->q], *k = &graph->values[a->k];
    const leat_value *v = &graph->values[a->v];
    int32_t k_head = a->k_by_rows ? 2 : 1;
    return q->rank == 4 && k->rank == 4 && v->rank == 4 && dims_equal(graph, a->q, 0, a->k, 0) &&
           dims_equal(graph, a->q, 0, a->v, 0) && dims_equal(graph, a->q, 1, a->k, k_head) &&
           dims_equal(graph, a->q, 1, a->v, 1) && dims_equal(graph, a->k, 3 - k_head, a->v, 2) &&
           q->dtype == k->dtype && q->dtype == v->dtype;
}

static bool matches(const lt_graph *graph, const lt_uses *uses, const leat_node *softmax,
                    attention *out)
{
    attention a = {.mask = LEAT_NO_VALUE, .scale = 1};
    if (!lt_is_onnx(softmax, "Softmax") || softmax->n_outputs != 1) {
        return false;
    }
    int64_t axis = leat_node_int(softmax, "axis", softmax->opset < 13 ? 1 : -1);
    uint32_t y = softmax->outputs[0];
    if (graph->values[y].rank != 4 || (axis != -1 && axis != 3)) {
        return false;
    }
    a.product = lt_only_reader(uses, y);
    if (a.product == NULL || !lt_is_onnx(a.product, "MatMul") || a.product->inputs[0] != y) {
        return false;
    }
    a.v = a.product->inputs[1];
    lt_formula_add(&a.formula, softmax);
    lt_formula_add(&a.formula, a.product);
    if (!read_masked(graph, uses, softmax->inputs[0], &a) || a.formula.full ||
        !operands_fit(graph, &a)) {
        return false;
    }
    *out = a;
    return true;
}

/* --- [B, S, heads * D] --------------------------------------------------------------------------
 */

/* The value of [B, S, heads * D] behind one of [B, S, heads, D]. */
static bool merged(const lt_graph *graph, const lt_uses *uses, uint32_t rows, uint32_t *out)
{
    const leat_node *node = uses->producer[rows];
    if (node == NULL || !lt_is_onnx(node, "Reshape")) {
        return false;
    }
    const leat_value *x = &graph->values[node->inputs[0]], *y = &graph->values[rows];
    *out = node->inputs[0];
    return x->rank == 3 && y->rank == 4 && x->shape[0] == y->shape[0] &&
           x->shape[1] == y->shape[1] && y->shape[2] > 0 && y->shape[3] > 0 &&
           x->shape[2] == y->shape[2] * y->shape[3];
}

/* The Reshape that makes [B, S, heads * D] of the result, by way of a Transpose; both are added to
 * the formula. */
static const leat_node *way_back(const lt_graph *graph, const lt_uses *uses, attention *a)
{
    static const int64_t swap[4] = {0, 2, 1, 3};
    const leat_node *transpose = lt_only_reader(uses, a->product->outputs[0]);
    uint32_t unused;
    if (transpose == NULL || !behind(uses, transpose->outputs[0], swap, &unused)) {
        return NULL;
    }
    uint32_t rows = transpose->outputs[0];
    const leat_node *reshape = lt_only_reader(uses, rows);
    if (reshape == NULL || !lt_is_onnx(reshape, "Reshape") || reshape->inputs[0] != rows) {
        return NULL;
    }
    const leat_value *x = &graph->values[rows], *y = &graph->values[reshape->outputs[0]];
    if (y->rank != 3 || y->shape[0] != x->shape[0] || y->shape[1] != x->shape[1] ||
        x->shape[2] < 0 || x->shape[3] < 0 || y->shape[2] != x->shape[2] * x->shape[3]) {
        return NULL;
    }
    lt_formula_add(&a->formula, transpose);
    lt_formula_add(&a->formula, reshape);
    return reshape;
}

/* Changes q, k and v to values of [B, S, heads * D] where all are made from such; the heads. */
static int64_t merge_heads(const lt_graph *graph, const lt_uses *uses, attention *a)
{
    static const int64_t swap[4] = {0, 2, 1, 3};
    uint32_t q, k = a->k, v, operands[3];
    if (!behind(uses, a->q, swap, &q) || !behind(uses, a->v, swap, &v) ||
        !(a->k_by_rows || behind(uses, a->k, swap, &k)) || !merged(graph, uses, q, &operands[0]) ||
        !merged(graph, uses, k, &operands[1]) || !merged(graph, uses, v, &operands[2])) {
        return 0;
    }
    int64_t heads = graph->values[q].shape[2];
    a->q = operands[0], a->k = operands[1], a->v = operands[2];
    a->k_by_rows = false;
    return heads;
}

/* --- the pass -----------------------------------------------------------------------------------
 */

/* K of [B, S, heads, D] brought to [B, heads, S, D]. */
static leat_status swap_keys(lt_graph *graph, attention *a, const leat_node *at, leat_error *err)
{
    static const int64_t swap[4] = {0, 2, 1, 3};
    leat_value k = graph->values[a->k];
    int64_t shape[4] = {k.shape[0], k.shape[2], k.shape[1], k.shape[3]};
    uint32_t made;
    leat_status status = lt_new_value(graph, k.dtype, 4, shape, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_add_transpose(graph, a->k, swap, made, at, NULL, err);
    a->k = made;
    return status;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        attention *a, bool *out_changed, leat_error *err)
{
    attention whole = *a;
    const leat_node *last = way_back(graph, uses, &whole);
    int64_t heads = last ? merge_heads(graph, uses, &whole) : 0;
    if (heads != 0 && !whole.formula.full) {
        *a = whole;
    }
    last = heads != 0 ? last : a->product;
    leat_status status = a->k_by_rows ? swap_keys(graph, a, last, err) : LEAT_OK;
    uint32_t inputs[4] = {a->q, a->k, a->v, a->mask};
    leat_attr attrs[3] = {{"scale", LEAT_ATTR_FLOAT, 1, {.f = (float)a->scale}},
                          {"q_num_heads", LEAT_ATTR_INT, 1, {.i = heads}},
                          {"kv_num_heads", LEAT_ATTR_INT, 1, {.i = heads}}};
    lt_node_desc desc = {.op = "Attention",
                         .domain = "leat",
                         .name = a->product->name,
                         .inputs = inputs,
                         .n_inputs = a->mask == LEAT_NO_VALUE ? 3 : 4,
                         .outputs = last->outputs,
                         .n_outputs = 1,
                         .attrs = attrs,
                         .n_attrs = heads != 0 ? 3 : 1};
    leat_node *made;
    if (status == LEAT_OK) {
        status = lt_graph_add_node(graph, &desc, lt_position(graph, last), &made, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_keep_supported(graph, context, made)) {
        return LEAT_OK; /* a Transpose of K goes as dead */
    }
    lt_formula_remove(graph, &a->formula);
    *out_changed = true;
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    /* Backwards: the nodes of a formula stand in front of its last one. The uses stay true for
     * other formulas, which share no node with this one. */
    bool changed = false;
    for (uint32_t i = graph->n_nodes; i-- > 0 && status == LEAT_OK;) {
        attention found;
        if (i < graph->n_nodes && matches(graph, &uses, graph->nodes[i], &found)) {
            status = fuse(graph, context, &uses, &found, &changed, err);
        }
    }
    *out_changed |= changed;
    /* The node's result has Q's dimensions, where its parts may have had symbols of their own. */
    return status == LEAT_OK && changed ? lt_infer_graph(graph, false, err) : status;
}

leat_status lt_pass_fuse_attention(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Moves Transposes towards the end of the graph until they meet their inverse, and drops those that
 * do nothing.
 *
 *     f(T(x))          -> T(f(x))            f works element by element
 *     f(T(x), T(y))    -> T(f(x, y))         same permutation; a constant operand is permuted
 * instead concat(T(x)...)  -> T(concat(x...))    with the axis mapped; likewise Pad, ReduceMean,
 * Softmax... T2(T1(x))        -> T(x), or x T that moves only dimensions of one element -> Reshape
 *
 * A Transpose is moved only when every reader of its result can take it over (or is a Transpose
 * itself), so that their number does not grow. */
#include "passes/transposes.h"

bool lt_read_perm(const lt_graph *graph, const leat_node *node, int64_t *perm, int32_t *rank)
{
    size_t n;
    bool seen[LEAT_MAX_RANK] = {false};
    const int64_t *list = leat_node_ints(node, "perm", &n);
    uint32_t x = lt_input_of(node, 0);
    if (!lt_is_onnx(node, "Transpose") || x == LEAT_NO_VALUE) {
        return false;
    }
    *rank = graph->values[x].rank;
    if (*rank < 1 || (list != NULL && n != (size_t)*rank)) {
        return false;
    }
    for (int32_t i = 0; i < *rank; i++) {
        perm[i] = list ? list[i] : *rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= *rank || seen[perm[i]]) {
            return false;
        }
        seen[perm[i]] = true;
    }
    return true;
}

void lt_invert_perm(const int64_t *perm, int32_t rank, int64_t *out)
{
    for (int32_t i = 0; i < rank; i++) {
        out[perm[i]] = i;
    }
}

static bool is_identity(const int64_t *perm, int32_t rank)
{
    for (int32_t i = 0; i < rank; i++) {
        if (perm[i] != i) {
            return false;
        }
    }
    return true;
}

/* --- which nodes a Transpose may pass -----------------------------------------------------------
 */

static bool one_scale(const lt_graph *graph, const leat_node *node)
{
    size_t count;
    const leat_value *scale = &graph->values[node->inputs[1]];
    return scale->rank >= 0 && lt_shape_count(scale->rank, scale->shape, &count) && count == 1 &&
           leat_node_int(node, "block_size", 0) == 0;
}

lt_passage lt_passage_of(const lt_graph *graph, const leat_node *node)
{
    static const char *const unary[] = {
        "Abs",      "Ceil",      "Celu",  "Clip",    "Cos",         "Elu",
        "Erf",      "Exp",       "Floor", "Gelu",    "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Log",   "Mish",    "Neg",         "Reciprocal",
        "Relu",     "Round",     "Selu",  "Sigmoid", "Sign",        "Sin",
        "Softplus", "Softsign",  "Sqrt",  "Swish",   "Tanh",        "ThresholdedRelu",
        "Cast",     "Not"};
    static const char *const binary[] = {"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"};
    if (node->n_outputs != 1 || node->outputs[0] == LEAT_NO_VALUE) {
        return LT_PASSAGE_NONE;
    }
    for (size_t i = 0; i < sizeof(unary) / sizeof(unary[0]); i++) {
        if (lt_is_onnx(node, unary[i])) {
            return LT_PASSAGE_UNARY;
        }
    }
    for (size_t i = 0; i < sizeof(binary) / sizeof(binary[0]); i++) {
        if (lt_is_op(node, binary[i]) && node->n_inputs == 2) {
            return LT_PASSAGE_BINARY;
        }
    }
    if (lt_is_onnx(node, "QuantizeLinear") || lt_is_onnx(node, "DequantizeLinear")) {
        return one_scale(graph, node) ? LT_PASSAGE_UNARY : LT_PASSAGE_NONE;
    }
    if (lt_is_onnx(node, "Concat")) {
        return LT_PASSAGE_CONCAT;
    }
    if ((lt_is_onnx(node, "Softmax") || lt_is_onnx(node, "LogSoftmax")) && node->opset >= 13) {
        return LT_PASSAGE_AXIS;
    }
    return LT_PASSAGE_NONE;
}

/* --- operands -----------------------------------------------------------------------------------
 */

bool lt_behind(const lt_pusher *p, uint32_t value, uint32_t *out)
{
    int64_t perm[LEAT_MAX_RANK];
    int32_t rank;
    const leat_node *node = p->uses.producer[value];
    if (node == NULL || !lt_read_perm(p->graph, node, perm, &rank) || rank != p->rank ||
        memcmp(perm, p->perm, (size_t)rank * sizeof(*perm)) != 0) {
        return false;
    }
    *out = node->inputs[0];
    return true;
}

/* A constant operand of a binary node, or one of a single element: as it is, or permuted. */
static leat_status permute_constant(lt_pusher *p, uint32_t value, const leat_node *at,
                                    uint32_t *out, bool *out_good, leat_error *err)
{
    lt_graph *graph = p->graph;
    leat_value v = graph->values[value];
    size_t count;
    *out = value;
    *out_good =
        v.rank >= 0 && lt_shape_count(v.rank, v.shape, &count) && count == 1 && v.rank <= p->rank;
    if (*out_good || v.data == NULL || v.rank > p->rank) {
        return LEAT_OK;
    }
    /* Full rank first: a view of the constant with ones in front. */
    leat_array full = {v.dtype, p->rank, {0}, (void *)v.data, v.bytes};
    for (int32_t i = 0; i < p->rank; i++) {
        int32_t from = i - (p->rank - v.rank);
        full.shape[i] = from < 0 ? 1 : v.shape[from];
    }
    uint32_t wide, made;
    int64_t inverse[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    lt_invert_perm(p->perm, p->rank, inverse);
    for (int32_t i = 0; i < p->rank; i++) {
        shape[i] = full.shape[inverse[i]];
    }
    leat_status status = lt_graph_add_constant(graph, NULL, &full, false, &wide, err);
    if (status == LEAT_OK) {
        status = lt_new_value(graph, v.dtype, p->rank, shape, &made, err);
    }
    if (status == LEAT_OK) {
        status = lt_add_transpose(graph, wide, inverse, made, at, NULL, err);
        *out = made;
        *out_good = true;
    }
    return status;
}

/* Whether operand i could be served, without changing anything. */
static bool operand_possible(const lt_pusher *p, const leat_node *node, uint32_t i)
{
    uint32_t value = node->inputs[i], x;
    size_t count;
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    if (lt_behind(p, value, &x)) {
        return true;
    }
    const leat_value *v = &p->graph->values[value];
    bool one = v->rank >= 0 && lt_shape_count(v->rank, v->shape, &count) && count == 1;
    return lt_passage_of(p->graph, node) == LT_PASSAGE_BINARY && v->rank <= p->rank &&
           v->rank >= 0 && (v->data != NULL || one);
}

/* Whether the Transpose with p->perm could pass the node. */
static bool can_pass(const lt_pusher *p, const leat_node *node)
{
    lt_passage kind = lt_passage_of(p->graph, node);
    uint32_t x;
    if (kind == LT_PASSAGE_NONE || p->graph->values[node->outputs[0]].rank != p->rank) {
        return false;
    }
    if (kind == LT_PASSAGE_UNARY || kind == LT_PASSAGE_AXIS) {
        return node->inputs[0] != LEAT_NO_VALUE && lt_behind(p, node->inputs[0], &x);
    }
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (!operand_possible(p, node, i)) {
            return false;
        }
    }
    return true;
}

/* Whether all readers of a Transpose's result take part. */
static bool readers_agree(const lt_pusher *p, uint32_t value)
{
    if (p->uses.is_output[value]) {
        return false;
    }
    for (uint32_t i = 0; i < p->graph->n_nodes; i++) {
        const leat_node *node = p->graph->nodes[i];
        for (uint32_t j = 0; j < node->n_inputs; j++) {
            if (node->inputs[j] == value && !lt_is_onnx(node, "Transpose") && !can_pass(p, node)) {
                return false;
            }
        }
    }
    return true;
}

/* --- moving -------------------------------------------------------------------------------------
 */

static leat_status map_axis(const lt_pusher *p, leat_node *node, leat_error *err)
{
    int64_t otherwise = lt_is_onnx(node, "Concat") ? 1 : -1;
    int64_t axis = leat_node_int(node, "axis", otherwise);
    axis += axis < 0 ? p->rank : 0;
    return axis >= 0 && axis < p->rank ? lt_node_set_int(p->graph, node, "axis", p->perm[axis], err)
                                       : LEAT_OK;
}

leat_status lt_push_transpose(lt_pusher *p, leat_node *node, leat_node **out_transpose,
                              leat_error *err)
{
    lt_graph *graph = p->graph;
    lt_passage kind = lt_passage_of(p->graph, node);
    uint32_t *inputs = lt_arena_array(lt_graph_arena(graph), node->n_inputs, sizeof(*inputs));
    uint32_t out = node->outputs[0], made_value = LEAT_NO_VALUE;
    int64_t inverse[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    leat_value y = graph->values[out];
    leat_status status = LEAT_OK;
    leat_node *made;
    if (inputs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "transposes: out of memory");
    }
    for (uint32_t i = 0; i < node->n_inputs && status == LEAT_OK; i++) {
        inputs[i] = node->inputs[i];
        bool data = i == 0 || kind == LT_PASSAGE_BINARY || kind == LT_PASSAGE_CONCAT;
        bool good;
        if (data && !lt_behind(p, node->inputs[i], &inputs[i])) {
            status = permute_constant(p, node->inputs[i], node, &inputs[i], &good, err);
        }
    }
    lt_invert_perm(p->perm, p->rank, inverse);
    for (int32_t i = 0; i < p->rank; i++) {
        shape[i] = y.shape[inverse[i]];
    }
    if (status == LEAT_OK) {
        status = lt_new_value(graph, y.dtype, p->rank, shape, &made_value, err);
    }
    lt_rewrite r = {.from = node,
                    .at = node,
                    .domain = node->domain,
                    .inputs = inputs,
                    .n_inputs = node->n_inputs,
                    .output = made_value};
    if (status == LEAT_OK) {
        status = lt_rewrite_node(graph, &r, &made, err);
    }
    if (status == LEAT_OK && (kind == LT_PASSAGE_CONCAT || kind == LT_PASSAGE_AXIS)) {
        status = map_axis(p, made, err);
    }
    if (status == LEAT_OK) {
        made->opset = node->opset;
        status = lt_add_transpose(graph, made_value, p->perm, out, node, out_transpose, err);
        lt_graph_remove_node(graph, node);
    }
    return status;
}

/* --- merging and dropping -----------------------------------------------------------------------
 */

/* T2(T1(x)) -> T(x). */
static leat_status merge(lt_graph *graph, const lt_uses *uses, leat_node *node, bool *out_changed,
                         leat_error *err)
{
    int64_t outer[LEAT_MAX_RANK], inner[LEAT_MAX_RANK], perm[LEAT_MAX_RANK];
    int32_t rank, inner_rank;
    const leat_node *first = uses->producer[node->inputs[0]];
    if (!lt_read_perm(graph, node, outer, &rank) || first == NULL ||
        !lt_read_perm(graph, first, inner, &inner_rank) || inner_rank != rank) {
        return LEAT_OK;
    }
    for (int32_t i = 0; i < rank; i++) {
        perm[i] = inner[outer[i]];
    }
    lt_node_set_input(node, 0, first->inputs[0]);
    *out_changed = true;
    return lt_node_set_ints(graph, node, "perm", perm, (size_t)rank, err);
}

/* Drops a Transpose that changes nothing; one whose result is a graph output stays. */
static bool drop(lt_graph *graph, const lt_uses *uses, const leat_node *node)
{
    int64_t perm[LEAT_MAX_RANK];
    int32_t rank;
    if (!lt_read_perm(graph, node, perm, &rank) || !is_identity(perm, rank) ||
        uses->is_output[node->outputs[0]]) {
        return false;
    }
    lt_graph_replace_uses(graph, node->outputs[0], node->inputs[0]);
    lt_graph_remove_node(graph, node);
    return true;
}

/* A Transpose that keeps the order of all dimensions but those of one element is a Reshape. A
 * symbolic first dimension that stays first is written as 0, "as in the input". */
static leat_status to_reshape(lt_graph *graph, leat_node *node, bool *out_changed, leat_error *err)
{
    int64_t perm[LEAT_MAX_RANK], target[LEAT_MAX_RANK], previous = -1;
    int32_t rank;
    if (!lt_read_perm(graph, node, perm, &rank) || is_identity(perm, rank)) {
        return LEAT_OK;
    }
    leat_value x = graph->values[node->inputs[0]];
    for (int32_t i = 0; i < rank; i++) {
        target[i] = x.shape[perm[i]];
        if (target[i] != 1) {
            if (perm[i] < previous || (target[i] < 0 && (i != 0 || perm[i] != 0)) ||
                target[i] == 0) {
                return LEAT_OK;
            }
            previous = perm[i];
        }
        target[i] = target[i] < 0 ? 0 : target[i];
    }
    leat_array array = {LEAT_DTYPE_I64, 1, {rank}, target, (size_t)rank * sizeof(*target)};
    uint32_t shape, out = node->outputs[0];
    leat_status status = lt_graph_add_constant(graph, NULL, &array, true, &shape, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t inputs[2] = {node->inputs[0], shape};
    lt_node_desc desc = {.op = "Reshape",
                         .domain = "",
                         .name = node->name,
                         .inputs = inputs,
                         .n_inputs = 2,
                         .outputs = &out,
                         .n_outputs = 1};
    status = lt_graph_add_node(graph, &desc, lt_position(graph, node), NULL, err);
    lt_graph_remove_node(graph, node);
    *out_changed = true;
    return status;
}

/* --- the pass -----------------------------------------------------------------------------------
 */

/* One change at a time: the uses are built anew after each. False when nothing was left to do. */
static leat_status step(lt_graph *graph, lt_arena *scratch, uint32_t *at, bool *out_changed,
                        leat_error *err)
{
    lt_pusher p = {.graph = graph};
    leat_status status = lt_uses_build(graph, scratch, &p.uses, err);
    for (; *at < graph->n_nodes && status == LEAT_OK; ++*at) {
        leat_node *node = graph->nodes[*at];
        if (lt_is_onnx(node, "Transpose")) {
            status = merge(graph, &p.uses, node, out_changed, err);
            if (status == LEAT_OK && drop(graph, &p.uses, node)) {
                *out_changed = true;
            } else if (status == LEAT_OK && !*out_changed) {
                status = to_reshape(graph, node, out_changed, err);
            }
        } else {
            const leat_node *producer = NULL;
            for (uint32_t i = 0; i < node->n_inputs && producer == NULL; i++) {
                producer =
                    node->inputs[i] == LEAT_NO_VALUE ? NULL : p.uses.producer[node->inputs[i]];
                producer = producer && lt_is_onnx(producer, "Transpose") ? producer : NULL;
            }
            if (producer != NULL && lt_passage_of(graph, node) != LT_PASSAGE_NONE &&
                lt_read_perm(graph, producer, p.perm, &p.rank) && can_pass(&p, node) &&
                readers_agree(&p, producer->outputs[0])) {
                leat_node *made;
                status = lt_push_transpose(&p, node, &made, err);
                *out_changed = true;
            }
        }
        if (*out_changed) {
            break;
        }
    }
    return status;
}

leat_status lt_pass_transposes(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                               leat_error *err)
{
    (void)context;
    return lt_run_steps(graph, step, 1, out_changed, err);
}

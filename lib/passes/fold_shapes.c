/* SPDX-License-Identifier: Apache-2.0 */
/* Shape arithmetic with dimensions that may be symbols. Exporters compute the target of a Reshape
 * from Shape, Gather, Slice, Unsqueeze and Concat; what comes out is often "as the input's" and
 * numbers:
 *
 *     Reshape(x, Concat(Shape(x)[0], Shape(x)[1], 12, 64))  ->  Reshape(x, [0, 0, 12, 64])
 *
 * so that shape inference knows the result, and other passes can see through it. A result without
 * symbols becomes a constant. */
#include "passes/match.h"

#define MOST 16 /* elements of a list */
#define DEEPEST 12

/* A list of integers, or one (rank 0). */
typedef struct list {
    bool scalar;
    size_t n;
    bool symbolic[MOST]; /* at[i] is a symbol of the graph then */
    int64_t at[MOST];
} list;

typedef struct reader {
    const lt_graph *graph;
    const lt_uses *uses;
} reader;

static bool read_list(const reader *r, uint32_t value, list *out, int depth);

static bool read_constant(const lt_graph *graph, uint32_t value, list *out)
{
    const leat_value *v = &graph->values[value];
    size_t count;
    if (v->data == NULL || v->rank > 1 || !lt_shape_count(v->rank, v->shape, &count) ||
        count > MOST || (v->dtype != LEAT_DTYPE_I64 && v->dtype != LEAT_DTYPE_I32)) {
        return false;
    }
    out->scalar = v->rank == 0;
    out->n = count;
    for (size_t i = 0; i < count; i++) {
        int32_t small = 0;
        if (v->dtype == LEAT_DTYPE_I64) {
            memcpy(&out->at[i], (const char *)v->data + 8 * i, 8);
        } else {
            memcpy(&small, (const char *)v->data + 4 * i, 4);
            out->at[i] = small;
        }
        out->symbolic[i] = false;
    }
    return true;
}

/* Numbers only, from input `i` of a node. */
static bool read_numbers(const reader *r, const leat_node *node, uint32_t i, list *out)
{
    uint32_t value = lt_input_of(node, i);
    return value != LEAT_NO_VALUE && read_constant(r->graph, value, out);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static bool read_shape(const reader *r, const leat_node *node, list *out)
{
    const leat_value *x = &r->graph->values[node->inputs[0]];
    if (x->rank < 0 || x->rank > MOST) {
        return false;
    }
    int64_t start = leat_node_int(node, "start", 0), end = leat_node_int(node, "end", x->rank);
    start = clamp(start + (start < 0 ? x->rank : 0), 0, x->rank);
    end = clamp(end + (end < 0 ? x->rank : 0), start, x->rank);
    out->scalar = false;
    out->n = (size_t)(end - start);
    for (size_t i = 0; i < out->n; i++) {
        out->at[i] = x->shape[start + (int64_t)i];
        out->symbolic[i] = out->at[i] < 0;
    }
    return true;
}

static bool read_gather(const reader *r, const leat_node *node, list *out, int depth)
{
    list data, indices;
    if (leat_node_int(node, "axis", 0) != 0 || !read_list(r, node->inputs[0], &data, depth + 1) ||
        data.scalar || !read_numbers(r, node, 1, &indices)) {
        return false;
    }
    out->scalar = indices.scalar;
    out->n = indices.n;
    for (size_t i = 0; i < indices.n; i++) {
        int64_t at = indices.at[i] + (indices.at[i] < 0 ? (int64_t)data.n : 0);
        if (at < 0 || at >= (int64_t)data.n) {
            return false;
        }
        out->at[i] = data.at[at];
        out->symbolic[i] = data.symbolic[at];
    }
    return true;
}

/* With starts and ends as inputs (opset 10) and steps of 1. */
static bool read_slice(const reader *r, const leat_node *node, list *out, int depth)
{
    list data, starts, ends, axes = {.n = 1}, steps = {.n = 1, .at = {1}};
    if (!read_numbers(r, node, 1, &starts) || !read_numbers(r, node, 2, &ends) ||
        (lt_input_of(node, 3) != LEAT_NO_VALUE && !read_numbers(r, node, 3, &axes)) ||
        (lt_input_of(node, 4) != LEAT_NO_VALUE && !read_numbers(r, node, 4, &steps)) ||
        !read_list(r, node->inputs[0], &data, depth + 1) || data.scalar || starts.n != 1 ||
        ends.n != 1 || axes.n != 1 || steps.n != 1 || (axes.at[0] != 0 && axes.at[0] != -1) ||
        steps.at[0] != 1) {
        return false;
    }
    int64_t n = (int64_t)data.n, begin = starts.at[0], end = ends.at[0];
    begin = clamp(begin < 0 ? begin + n : begin, 0, n);
    end = clamp(end < 0 ? end + n : end, begin, n);
    out->scalar = false;
    out->n = (size_t)(end - begin);
    memcpy(out->at, data.at + begin, out->n * sizeof(*out->at));
    memcpy(out->symbolic, data.symbolic + begin, out->n * sizeof(*out->symbolic));
    return true;
}

static bool read_concat(const reader *r, const leat_node *node, list *out, int depth)
{
    out->scalar = false;
    out->n = 0;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        list piece;
        if (!read_list(r, node->inputs[i], &piece, depth + 1) || piece.scalar ||
            out->n + piece.n > MOST) {
            return false;
        }
        memcpy(out->at + out->n, piece.at, piece.n * sizeof(*out->at));
        memcpy(out->symbolic + out->n, piece.symbolic, piece.n * sizeof(*out->symbolic));
        out->n += piece.n;
    }
    return true;
}

/* Unsqueeze of one integer, Squeeze or Reshape of a list of one: told by the ranks. */
static bool read_reshaped(const reader *r, const leat_node *node, list *out, int depth)
{
    const leat_value *y = &r->graph->values[node->outputs[0]];
    if (y->rank < 0 || y->rank > 1 || !read_list(r, node->inputs[0], out, depth + 1) ||
        (y->rank == 0 && out->n != 1)) {
        return false;
    }
    out->scalar = y->rank == 0;
    return true;
}

/* What is known about the integers of a value before any run. */
static bool read_list(const reader *r, uint32_t value, list *out, int depth)
{
    if (value == LEAT_NO_VALUE || depth == DEEPEST) {
        return false;
    }
    const leat_node *node = r->uses->producer[value];
    if (r->graph->values[value].data != NULL) {
        return read_constant(r->graph, value, out);
    }
    if (node == NULL || node->domain[0] != '\0' || node->n_inputs == 0 ||
        node->inputs[0] == LEAT_NO_VALUE) {
        return false;
    }
    if (strcmp(node->op, "Shape") == 0) {
        return read_shape(r, node, out);
    }
    if (strcmp(node->op, "Gather") == 0) {
        return read_gather(r, node, out, depth);
    }
    if (strcmp(node->op, "Slice") == 0) {
        return read_slice(r, node, out, depth);
    }
    if (strcmp(node->op, "Concat") == 0) {
        return read_concat(r, node, out, depth);
    }
    if (strcmp(node->op, "Unsqueeze") == 0 || strcmp(node->op, "Squeeze") == 0 ||
        strcmp(node->op, "Reshape") == 0) {
        return read_reshaped(r, node, out, depth);
    }
    if (strcmp(node->op, "Cast") == 0 && leat_node_int(node, "to", 0) == LEAT_DTYPE_I64) {
        return read_list(r, node->inputs[0], out, depth + 1);
    }
    return false;
}

/* --- rewriting ----------------------------------------------------------------------------------
 */

/* Whether the target of a Reshape of `x` can be written as numbers; they are put into the list. A
 * symbol that is not at its place in x is the one dimension left over, -1, but only beside numbers
 * that are not 0: what is left over of nothing cannot be told. */
static bool as_target(const leat_value *x, list *target)
{
    int left_over = -1;
    bool numbers = true;
    for (size_t i = 0; i < target->n; i++) {
        if (!target->symbolic[i]) {
            numbers &= target->at[i] > 0;
        } else if ((int32_t)i < x->rank && x->shape[i] == target->at[i]) {
            target->at[i] = 0;
            numbers = false;
        } else if (left_over >= 0) {
            return false;
        } else {
            left_over = (int)i;
        }
    }
    if (left_over >= 0) {
        target->at[left_over] = -1;
    }
    return left_over < 0 || numbers;
}

static leat_status set_target(lt_graph *graph, const lt_uses *uses, leat_node *node,
                              bool *out_changed, leat_error *err)
{
    reader r = {graph, uses};
    list target;
    uint32_t x = lt_input_of(node, 0), shape = lt_input_of(node, 1), made;
    if (!lt_is_onnx(node, "Reshape") || x == LEAT_NO_VALUE || shape == LEAT_NO_VALUE ||
        graph->values[shape].data != NULL || graph->values[x].rank < 0 ||
        leat_node_int(node, "allowzero", 0) != 0 || !read_list(&r, shape, &target, 0) ||
        target.scalar || !as_target(&graph->values[x], &target)) {
        return LEAT_OK;
    }
    leat_array array = {
        LEAT_DTYPE_I64, 1, {(int64_t)target.n}, target.at, target.n * sizeof(*target.at)};
    leat_status status = lt_graph_add_constant(graph, NULL, &array, true, &made, err);
    if (status == LEAT_OK) {
        lt_node_set_input(node, 1, made);
        *out_changed = true;
    }
    return status;
}

/* Makes a constant of what one node of shape arithmetic computes. */
static leat_status fold(lt_graph *graph, const lt_uses *uses, const leat_node *node, bool *out_done,
                        leat_error *err)
{
    static const char *const ops[] = {"Shape", "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze"};
    reader r = {graph, uses};
    list found;
    bool known = node->n_outputs == 1 && node->outputs[0] != LEAT_NO_VALUE &&
                 graph->values[node->outputs[0]].dtype == LEAT_DTYPE_I64;
    bool one_of = false;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        one_of |= lt_is_onnx(node, ops[i]);
    }
    if (!known || !one_of || !read_list(&r, node->outputs[0], &found, 0)) {
        return LEAT_OK;
    }
    for (size_t i = 0; i < found.n; i++) {
        known &= !found.symbolic[i];
    }
    if (!known) {
        return LEAT_OK;
    }
    int64_t *data = lt_arena_array(lt_graph_arena(graph), found.n + 1, sizeof(*data));
    if (data == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "shape folding: out of memory");
    }
    memcpy(data, found.at, found.n * sizeof(*data));
    leat_value *value = &graph->values[node->outputs[0]];
    value->rank = found.scalar ? 0 : 1;
    value->shape[0] = (int64_t)found.n;
    value->bytes = found.n * sizeof(*data);
    value->data = data;
    *out_done = true;
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    bool retargeted = false;
    uint32_t kept = 0;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    (void)context;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        leat_node *node = graph->nodes[i];
        bool done = false;
        if (status == LEAT_OK) {
            status = fold(graph, &uses, node, &done, err);
        }
        if (status == LEAT_OK && !done) {
            status = set_target(graph, &uses, node, &retargeted, err);
        }
        graph->nodes[kept] = node;
        kept += !done;
        *out_changed |= done || retargeted;
    }
    graph->n_nodes = kept;
    return status == LEAT_OK && retargeted ? lt_infer_graph(graph, false, err) : status;
}

leat_status lt_pass_fold_shapes(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                                leat_error *err)
{
    return lt_run_on_graph(graph, context, run, out_changed, err);
}

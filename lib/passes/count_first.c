/* SPDX-License-Identifier: Apache-2.0 */
/* Operators whose output size depends on data become a node that counts and one whose size the
 * count decides, so that a plan depends on the count alone, not on the data:
 *
 *     NonZero(x)          n = NonZeroCount(x)                    y = NonZeroTo(x, n)
 *     Compress(x, c)      n = CompressCount(x, c)                y = CompressTo(x, c, n)
 *     Unique(x)           i, inverse, c, n = UniqueIndex(x)      y = UniqueTo(x, i, n)
 *                                          indices = Prefix(i, n), counts = Prefix(c, n)
 *     StringSplit(x)      n = StringSplitCount(x)                y, counts = StringSplitTo(x, n)
 *     NonMaxSuppression   all, n = NonMaxSuppressionAll(...)     y = Prefix(all, n) */
#include "passes/match.h"

/* A node of leat's domain to be made before node `before`. */
typedef struct made_node {
    const char *op;
    const leat_node *from; /* whose name and attributes it gets */
    const uint32_t *inputs;
    uint32_t n_inputs;
    const uint32_t *outputs;
    uint32_t n_outputs;
} made_node;

static leat_status make(lt_graph *graph, const made_node *n, leat_node **out, leat_error *err)
{
    lt_node_desc desc = {.op = n->op,
                         .domain = "leat",
                         .name = n->from->name,
                         .inputs = n->inputs,
                         .n_inputs = n->n_inputs,
                         .outputs = n->outputs,
                         .n_outputs = n->n_outputs,
                         .attrs = n->from->attrs,
                         .n_attrs = n->from->n_attrs};
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, n->from), out, err);
    if (status == LEAT_OK) {
        lt_infer infer = {.graph = graph, .values = graph->values};
        status = lt_infer_node(&infer, *out, err);
    }
    return status;
}

/* The counting node. `first` is its first output value, made here with `n` more. Returns NULL in
 * *out_node where the device does not run it. */
static leat_status make_counter(lt_graph *graph, const lt_pass_context *context, const char *op,
                                const leat_node *from, uint32_t *outputs, uint32_t n_outputs,
                                leat_node **out_node, leat_error *err)
{
    leat_layout layout;
    leat_status status = LEAT_OK;
    *out_node = NULL;
    for (uint32_t i = 0; i < n_outputs && status == LEAT_OK; i++) {
        status = lt_graph_add_value(graph, NULL, &outputs[i], err);
    }
    const made_node node = {op, from, from->inputs, from->n_inputs, outputs, n_outputs};
    status = status ? status : make(graph, &node, out_node, err);
    if (status == LEAT_OK && !context->supports(context->user, graph, *out_node, &layout)) {
        lt_graph_remove_node(graph, *out_node);
        *out_node = NULL;
    }
    return status;
}

/* y = Prefix(x, n) for output i of `from`, where it is asked for. */
static leat_status make_prefix(lt_graph *graph, const leat_node *from, uint32_t i, uint32_t x,
                               uint32_t n, leat_error *err)
{
    const uint32_t inputs[] = {x, n}, y = lt_output_of(from, i);
    const made_node node = {"Prefix", from, inputs, 2, &y, 1};
    leat_node *made;
    return y == LEAT_NO_VALUE ? LEAT_OK : make(graph, &node, &made, err);
}

/* Count and node of the same inputs. */
static leat_status split_plain(lt_graph *graph, const lt_pass_context *context, leat_node *from,
                               const char *counter, const char *op, leat_error *err)
{
    uint32_t n, inputs[3] = {lt_input_of(from, 0), lt_input_of(from, 1)};
    leat_node *made;
    leat_status status = make_counter(graph, context, counter, from, &n, 1, &made, err);
    if (status != LEAT_OK || made == NULL) {
        return status;
    }
    inputs[from->n_inputs] = n;
    const made_node node = {op, from, inputs, from->n_inputs + 1, from->outputs, from->n_outputs};
    status = make(graph, &node, &made, err);
    if (status == LEAT_OK) {
        lt_graph_remove_node(graph, from);
    }
    return status;
}

static leat_status split_unique(lt_graph *graph, const lt_pass_context *context, leat_node *from,
                                leat_error *err)
{
    uint32_t made_values[4], inverse = lt_output_of(from, 2);
    leat_node *made;
    leat_status status =
        make_counter(graph, context, "UniqueIndex", from, made_values, 4, &made, err);
    if (status != LEAT_OK || made == NULL) {
        return status;
    }
    uint32_t x = from->inputs[0], n = made_values[3], y = from->outputs[0];
    if (inverse != LEAT_NO_VALUE) {
        lt_node_set_output(made, 1, inverse);
    }
    const uint32_t inputs[] = {x, made_values[0], n};
    const made_node node = {"UniqueTo", from, inputs, 3, &y, 1};
    status = make(graph, &node, &made, err);
    status = status ? status : make_prefix(graph, from, 1, made_values[0], n, err);
    status = status ? status : make_prefix(graph, from, 3, made_values[2], n, err);
    if (status == LEAT_OK) {
        lt_graph_remove_node(graph, from);
    }
    return status;
}

static leat_status split_nms(lt_graph *graph, const lt_pass_context *context, leat_node *from,
                             leat_error *err)
{
    uint32_t made_values[2];
    leat_node *made;
    leat_status status =
        make_counter(graph, context, "NonMaxSuppressionAll", from, made_values, 2, &made, err);
    if (status != LEAT_OK || made == NULL) {
        return status;
    }
    status = make_prefix(graph, from, 0, made_values[0], made_values[1], err);
    if (status == LEAT_OK) {
        lt_graph_remove_node(graph, from);
    }
    return status;
}

static leat_status split(lt_graph *graph, const lt_pass_context *context, leat_node *node,
                         leat_error *err)
{
    if (lt_is_onnx(node, "NonZero") && node->n_inputs == 1) {
        return split_plain(graph, context, node, "NonZeroCount", "NonZeroTo", err);
    }
    if (lt_is_onnx(node, "Compress") && node->n_inputs == 2) {
        return split_plain(graph, context, node, "CompressCount", "CompressTo", err);
    }
    if (lt_is_onnx(node, "StringSplit") && node->n_inputs == 1) {
        return split_plain(graph, context, node, "StringSplitCount", "StringSplitTo", err);
    }
    if (lt_is_onnx(node, "Unique")) {
        return split_unique(graph, context, node, err);
    }
    return lt_is_onnx(node, "NonMaxSuppression") ? split_nms(graph, context, node, err) : LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    (void)scratch;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        uint32_t before = graph->n_nodes;
        status = split(graph, context, graph->nodes[i], err);
        i += graph->n_nodes - before; /* the last of the new nodes is at the old one's place */
        *out_changed |= graph->n_nodes != before;
    }
    return status;
}

leat_status lt_pass_count_first(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                                leat_error *err)
{
    return context->supports ? lt_run_on_graphs(graph, context, run, out_changed, err) : LEAT_OK;
}

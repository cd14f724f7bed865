/* SPDX-License-Identifier: Apache-2.0 */
/* A pointwise convolution whose only reader is a depthwise one, both on channels-last data, becomes
 * ConvDepthwise: the value between them, the largest of a mobile network's block, need not be
 * stored. Runs behind the passes that choose layout and types. */
#include "passes/match.h"

static bool is_ones(const leat_node *node, const char *name, int64_t wanted)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (list[i] != wanted) {
            return false;
        }
    }
    return true;
}

/* A convolution of leat's on two spatial dimensions, with constants; sets the bias. */
static bool is_candidate(const lt_graph *graph, const leat_node *node, uint32_t *out_bias)
{
    uint32_t w = lt_input_of(node, 1), bias = lt_input_of(node, 2);
    bool fits = strcmp(node->domain, "leat") == 0 && strcmp(node->op, "Conv") == 0 &&
                node->n_outputs == 1 && node->n_inputs <= 3 &&
                leat_node_int(node, "channels_last", 0) != 0 &&
                leat_node_int(node, "residual", 0) == 0 && lt_input_of(node, 0) != LEAT_NO_VALUE &&
                w != LEAT_NO_VALUE && graph->values[w].data != NULL && graph->values[w].rank == 4;
    *out_bias = bias;
    return fits && (bias == LEAT_NO_VALUE || graph->values[bias].data != NULL);
}

static bool is_pointwise(const lt_graph *graph, const leat_node *node)
{
    const leat_value *w = &graph->values[node->inputs[1]];
    return w->shape[2] == 1 && w->shape[3] == 1 && leat_node_int(node, "group", 1) == 1 &&
           is_ones(node, "strides", 1) && is_ones(node, "pads", 0);
}

static bool is_depthwise(const lt_graph *graph, const leat_node *node)
{
    const leat_value *w = &graph->values[node->inputs[1]];
    return w->shape[1] == 1 && w->shape[0] > 1 && leat_node_int(node, "group", 1) == w->shape[0];
}

/* Parts that compute in one type. */
static bool are_alike(const leat_node *first, const leat_node *second)
{
    return leat_node_int(first, "compute", 0) == leat_node_int(second, "compute", 0);
}

/* The first part's attributes under the names that the fused node has for them. */
static leat_status copy_attrs(lt_graph *graph, leat_node *made, const leat_node *first,
                              leat_error *err)
{
    static const char *const names[][2] = {{"activation", "first_activation"},
                                           {"activation_alpha", "first_activation_alpha"},
                                           {"activation_beta", "first_activation_beta"},
                                           {"compute", "compute"}};
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && status == LEAT_OK; i++) {
        const leat_attr *attr = leat_node_attr(first, names[i][0]);
        if (attr != NULL) {
            leat_attr copy = *attr;
            copy.name = names[i][1];
            status = lt_node_set_attr(graph, made, &copy, err);
        }
    }
    return status;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, leat_node *first,
                        leat_node *second, const uint32_t biases[2], bool *out_changed,
                        leat_error *err)
{
    uint32_t inputs[5] = {first->inputs[0], first->inputs[1], biases[0], second->inputs[1],
                          biases[1]};
    lt_node_desc desc = {.op = "ConvDepthwise",
                         .domain = "leat",
                         .name = second->name,
                         .inputs = inputs,
                         .n_inputs = 5,
                         .outputs = second->outputs,
                         .n_outputs = 1,
                         .attrs = second->attrs,
                         .n_attrs = second->n_attrs};
    leat_layout layout;
    leat_node *made;
    leat_dtype y = graph->values[second->outputs[0]].dtype;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, second), &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = copy_attrs(graph, made, first, err);
    if (status == LEAT_OK && y != graph->values[inputs[0]].dtype) {
        leat_attr storage = {"storage", LEAT_ATTR_INT, 1, {.i = (int64_t)y}};
        status = lt_node_set_attr(graph, made, &storage, err);
    }
    if (status != LEAT_OK || !context->supports(context->user, graph, made, &layout)) {
        lt_graph_remove_node(graph, made);
        return status;
    }
    lt_graph_remove_node(graph, first);
    lt_graph_remove_node(graph, second);
    *out_changed = true;
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *first = graph->nodes[i];
        uint32_t biases[2];
        if (!is_candidate(graph, first, &biases[0]) || !is_pointwise(graph, first)) {
            continue;
        }
        leat_node *second = lt_only_reader(&uses, first->outputs[0]);
        if (second == NULL || second->inputs[0] != first->outputs[0] ||
            !is_candidate(graph, second, &biases[1]) || !is_depthwise(graph, second) ||
            !are_alike(first, second) ||
            graph->values[second->inputs[1]].shape[0] != graph->values[first->inputs[1]].shape[0]) {
            continue;
        }
        bool changed = false;
        status = fuse(graph, context, first, second, biases, &changed, err);
        *out_changed |= changed;
        i -= changed;
    }
    return status;
}

leat_status lt_pass_fuse_depthwise(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

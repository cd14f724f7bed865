/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that their device runs best on channels-last data get it: the node moves to the domain leat
 * with channels_last = 1, between Transposes of its data inputs and its output. The pass transposes
 * removes those that meet. */
#include "passes/match.h"

/* perm[i] of N, C, spatial... -> N, spatial..., C and back. */
static void to_last(int32_t rank, int64_t *perm)
{
    perm[0] = 0;
    for (int32_t i = 1; i < rank - 1; i++) {
        perm[i] = i + 1;
    }
    perm[rank - 1] = 1;
}

static void to_first(int32_t rank, int64_t *perm)
{
    perm[0] = 0;
    perm[1] = rank - 1;
    for (int32_t i = 2; i < rank; i++) {
        perm[i] = i - 1;
    }
}

/* A Transpose of `from` before `at`; *out is its result. */
static leat_status add_transpose(lt_graph *graph, uint32_t from, const int64_t *perm,
                                 const leat_node *at, uint32_t *out, leat_error *err)
{
    leat_value x = graph->values[from];
    int64_t shape[LEAT_MAX_RANK];
    for (int32_t i = 0; i < x.rank; i++) {
        shape[i] = x.shape[perm[i]];
    }
    leat_status status = lt_new_value(graph, x.dtype, x.rank, shape, out, err);
    return status ? status : lt_add_transpose(graph, from, perm, *out, at, NULL, err);
}

/* Inputs that hold data of the node's layout: the first, and the residual. */
static bool is_data_input(const leat_node *node, uint32_t i)
{
    return i == 0 || (i + 1 == node->n_inputs && leat_node_int(node, "residual", 0) != 0);
}

/* Whether the device takes the node with channels_last: asked with a copy beside it. */
static leat_status ask(lt_graph *graph, const lt_pass_context *context, const leat_node *node,
                       bool *out_yes, leat_error *err)
{
    leat_attr attr = {"channels_last", LEAT_ATTR_INT, 1, {.i = 1}};
    leat_layout layout;
    leat_node *probe;
    lt_rewrite r = {.from = node,
                    .at = node,
                    .domain = "leat",
                    .inputs = node->inputs,
                    .n_inputs = node->n_inputs,
                    .output = node->outputs[0],
                    .attrs = &attr,
                    .n_attrs = 1};
    leat_status status = lt_rewrite_node(graph, &r, &probe, err);
    if (status == LEAT_OK) {
        *out_yes = context->supports(context->user, graph, probe, &layout);
        lt_graph_remove_node(graph, probe);
    }
    return status;
}

static leat_status rewrite(lt_graph *graph, leat_node *node, leat_error *err)
{
    uint32_t inputs[16], made_value, out = node->outputs[0];
    int64_t last[LEAT_MAX_RANK], first[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    leat_value y = graph->values[out];
    leat_status status = LEAT_OK;
    leat_node *made, *back;
    to_last(y.rank, last);
    to_first(y.rank, first);
    for (uint32_t i = 0; i < node->n_inputs && status == LEAT_OK; i++) {
        inputs[i] = node->inputs[i];
        if (is_data_input(node, i)) {
            status = add_transpose(graph, node->inputs[i], last, node, &inputs[i], err);
        }
    }
    for (int32_t i = 0; i < y.rank; i++) {
        shape[i] = y.shape[last[i]];
    }
    if (status == LEAT_OK) {
        status = lt_new_value(graph, y.dtype, y.rank, shape, &made_value, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    leat_attr attr = {"channels_last", LEAT_ATTR_INT, 1, {.i = 1}};
    lt_rewrite r = {.from = node,
                    .at = node,
                    .domain = "leat",
                    .inputs = inputs,
                    .n_inputs = node->n_inputs,
                    .output = made_value,
                    .attrs = &attr,
                    .n_attrs = 1};
    status = lt_rewrite_node(graph, &r, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_add_transpose(graph, made_value, first, out, node, &back, err);
    lt_graph_remove_node(graph, node);
    return status;
}

static bool eligible(const lt_graph *graph, const leat_node *node)
{
    uint32_t x = lt_input_of(node, 0), y = lt_output_of(node, 0);
    if (node->n_outputs != 1 || x == LEAT_NO_VALUE || y == LEAT_NO_VALUE || node->n_inputs > 16 ||
        leat_node_int(node, "channels_last", 0) != 0) {
        return false;
    }
    int32_t rank = graph->values[x].rank;
    return rank >= 3 && rank <= 5 && graph->values[y].rank == rank;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    /* The nodes as they are now: those made on the way are not to be visited. */
    uint32_t count = graph->n_nodes;
    leat_node **nodes = lt_arena_array(scratch, count, sizeof(*nodes));
    if (nodes == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "layout: out of memory");
    }
    if (count != 0) {
        memcpy(nodes, graph->nodes, count * sizeof(*nodes));
    }
    for (uint32_t i = 0; i < count && status == LEAT_OK; i++) {
        leat_layout layout = LEAT_LAYOUT_ANY;
        bool yes = false;
        if (!eligible(graph, nodes[i]) ||
            !context->supports(context->user, graph, nodes[i], &layout) ||
            layout != LEAT_LAYOUT_CHANNELS_LAST) {
            continue;
        }
        status = ask(graph, context, nodes[i], &yes, err);
        if (status == LEAT_OK && yes) {
            status = rewrite(graph, nodes[i], err);
            *out_changed = true;
        }
    }
    return status;
}

leat_status lt_pass_layout(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                           leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

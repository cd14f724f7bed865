/* SPDX-License-Identifier: Apache-2.0 */
/* A pointwise convolution whose residual is the result of another one, as where a network's stage
 * begins, becomes ConvPair, whose sum is made in one go: the residual, as large as the result, need
 * not be stored. Runs behind the passes that choose layout and types. */
#include "passes/match.h"

static bool is_zeros(const leat_node *node, const char *name)
{
    size_t count;
    const int64_t *list = leat_node_ints(node, name, &count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (list[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Of leat's domain, on channels-last data, of one tap, all its types alike. */
static bool is_pointwise(const lt_graph *graph, const leat_node *node)
{
    if (strcmp(node->domain, "leat") != 0 || strcmp(node->op, "Conv") != 0 ||
        node->n_outputs != 1 || leat_node_int(node, "channels_last", 0) == 0 ||
        leat_node_int(node, "group", 1) != 1 || !is_zeros(node, "pads") ||
        leat_node_attr(node, "auto_pad") != NULL || leat_node_attr(node, "compute") != NULL ||
        leat_node_attr(node, "storage") != NULL) {
        return false;
    }
    uint32_t x = lt_input_of(node, 0), w = lt_input_of(node, 1);
    if (x == LEAT_NO_VALUE || w == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *weights = &graph->values[w];
    return weights->data != NULL && weights->rank == 4 && weights->shape[2] == 1 &&
           weights->shape[3] == 1 && graph->values[x].rank == 4 &&
           graph->values[x].dtype == graph->values[node->outputs[0]].dtype;
}

/* The node's attributes but `residual`, and the other one's strides. */
static leat_attr *attributes(lt_arena *scratch, const leat_node *node, const leat_node *second,
                             size_t *out_count)
{
    leat_attr *attrs = lt_arena_array(scratch, node->n_attrs + 1, sizeof(*attrs));
    const leat_attr *strides = leat_node_attr(second, "strides");
    size_t n = 0;
    for (uint32_t i = 0; attrs != NULL && i < node->n_attrs; i++) {
        if (strcmp(node->attrs[i].name, "residual") != 0) {
            attrs[n++] = node->attrs[i];
        }
    }
    if (attrs != NULL && strides != NULL) {
        attrs[n] = *strides;
        attrs[n++].name = "second_strides";
    }
    *out_count = n;
    return attrs;
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                        leat_node *node, leat_node *second, bool *out_changed, leat_error *err)
{
    const uint32_t inputs[6] = {node->inputs[0],   node->inputs[1],   node->inputs[2],
                                second->inputs[0], second->inputs[1], lt_input_of(second, 2)};
    size_t n_attrs;
    leat_attr *attrs = attributes(scratch, node, second, &n_attrs);
    if (attrs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "fuse_conv_pair: out of memory");
    }
    lt_node_desc desc = {.op = "ConvPair",
                         .domain = "leat",
                         .name = node->name,
                         .inputs = inputs,
                         .n_inputs = 6,
                         .outputs = node->outputs,
                         .n_outputs = 1,
                         .attrs = attrs,
                         .n_attrs = (uint32_t)n_attrs};
    leat_node *made;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, node), &made, err);
    *out_changed |= status == LEAT_OK && lt_keep_for_two(graph, context, made, node, second);
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        leat_node *node = graph->nodes[i];
        if (!is_pointwise(graph, node) || node->n_inputs != 4 ||
            leat_node_int(node, "residual", 0) == 0) {
            continue;
        }
        leat_node *second = uses.producer[node->inputs[3]];
        if (second == NULL || lt_only_reader(&uses, node->inputs[3]) != node ||
            !is_pointwise(graph, second) || second->n_inputs > 3 ||
            leat_node_int(second, "residual", 0) != 0 ||
            leat_node_attr(second, "activation") != NULL) {
            continue;
        }
        bool changed = false;
        status = fuse(graph, context, scratch, node, second, &changed, err);
        *out_changed |= changed;
        i -= changed;
    }
    return status;
}

leat_status lt_pass_fuse_conv_pair(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/match.h"

#include <math.h>

bool lt_is_onnx(const leat_node *node, const char *op)
{
    return node->domain[0] == '\0' && strcmp(node->op, op) == 0;
}

bool lt_is_op(const leat_node *node, const char *op)
{
    return strcmp(node->op, op) == 0 &&
           (node->domain[0] == '\0' || strcmp(node->domain, "leat") == 0);
}

uint32_t lt_input_of(const leat_node *node, uint32_t i)
{
    return i < node->n_inputs ? node->inputs[i] : LEAT_NO_VALUE;
}

uint32_t lt_output_of(const leat_node *node, uint32_t i)
{
    return i < node->n_outputs ? node->outputs[i] : LEAT_NO_VALUE;
}

leat_node *lt_only_reader(const lt_uses *uses, uint32_t value)
{
    return uses->count[value] == 1 && !uses->is_output[value] ? uses->reader[value] : NULL;
}

/* IEEE binary16. */
static double half_number(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                  : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                 : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}

bool lt_constant_float(const lt_graph *graph, uint32_t value, double *out)
{
    size_t count;
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *v = &graph->values[value];
    if (v->data == NULL || !lt_shape_count(v->rank, v->shape, &count) || count != 1) {
        return false;
    }
    float f;
    uint32_t wide;
    uint16_t half;
    switch (v->dtype) {
    case LEAT_DTYPE_F64:
        memcpy(out, v->data, sizeof(*out));
        return true;
    case LEAT_DTYPE_F32:
        memcpy(&f, v->data, sizeof(f));
        break;
    case LEAT_DTYPE_F16:
        memcpy(&half, v->data, sizeof(half));
        *out = half_number(half);
        return true;
    case LEAT_DTYPE_BF16:
        memcpy(&half, v->data, sizeof(half));
        wide = (uint32_t)half << 16;
        memcpy(&f, &wide, sizeof(f));
        break;
    default:
        return false;
    }
    *out = (double)f;
    return true;
}

uint32_t lt_position(const lt_graph *graph, const leat_node *node)
{
    uint32_t i = 0;
    while (i < graph->n_nodes && graph->nodes[i] != node) {
        i++;
    }
    return i;
}

leat_status lt_add_transpose(lt_graph *graph, uint32_t from, const int64_t *perm, uint32_t to,
                             const leat_node *before, leat_node **out_node, leat_error *err)
{
    const leat_attr attr = {
        "perm", LEAT_ATTR_INTS, (size_t)graph->values[from].rank, {.ints = perm}};
    const lt_node_desc desc = {.op = "Transpose",
                               .domain = "",
                               .name = "",
                               .inputs = &from,
                               .n_inputs = 1,
                               .outputs = &to,
                               .n_outputs = 1,
                               .attrs = &attr,
                               .n_attrs = 1};
    return lt_graph_add_node(graph, &desc, lt_position(graph, before), out_node, err);
}

leat_status lt_rewrite_node(lt_graph *graph, const lt_rewrite *r, leat_node **out_node,
                            leat_error *err)
{
    lt_node_desc desc = {.op = r->from->op,
                         .domain = r->domain,
                         .name = r->from->name,
                         .inputs = r->inputs,
                         .n_inputs = r->n_inputs,
                         .outputs = &r->output,
                         .n_outputs = 1,
                         .attrs = r->from->attrs,
                         .n_attrs = r->from->n_attrs};
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, r->at), out_node, err);
    for (uint32_t i = 0; status == LEAT_OK && i < r->n_attrs; i++) {
        status = lt_node_set_attr(graph, *out_node, &r->attrs[i], err);
    }
    return status;
}

bool lt_keep_supported(lt_graph *graph, const lt_pass_context *context, leat_node *made)
{
    leat_layout layout;
    if (context->supports(context->user, graph, made, &layout)) {
        return true;
    }
    lt_graph_remove_node(graph, made);
    return false;
}

bool lt_keep_for_two(lt_graph *graph, const lt_pass_context *context, leat_node *made,
                     const leat_node *first, const leat_node *second)
{
    if (!lt_keep_supported(graph, context, made)) {
        return false;
    }
    lt_graph_remove_node(graph, first);
    lt_graph_remove_node(graph, second);
    return true;
}

leat_status lt_new_value(lt_graph *graph, leat_dtype dtype, int32_t rank, const int64_t *shape,
                         uint32_t *out_value, leat_error *err)
{
    leat_status status = lt_graph_add_value(graph, NULL, out_value, err);
    if (status == LEAT_OK) {
        leat_value *value = &graph->values[*out_value];
        value->dtype = dtype;
        value->rank = rank;
        memcpy(value->shape, shape, (size_t)(rank > 0 ? rank : 0) * sizeof(*shape));
        if (!lt_shape_bytes(dtype, rank, shape, &value->bytes)) {
            value->bytes = 0;
        }
    }
    return status;
}

bool lt_same_shape(const lt_graph *graph, uint32_t a, uint32_t b)
{
    const leat_value *va = &graph->values[a], *vb = &graph->values[b];
    return va->rank >= 0 && lt_shape_equal(va->rank, va->shape, vb->rank, vb->shape);
}

leat_status lt_run_on_graph(lt_graph *graph, const lt_pass_context *context, lt_graph_pass_fn fn,
                            bool *out_changed, leat_error *err)
{
    lt_arena scratch;
    lt_arena_init(&scratch, lt_graph_arena(graph)->memory, 0);
    leat_status status = fn(graph, context, &scratch, out_changed, err);
    lt_arena_destroy(&scratch);
    return status;
}

leat_status lt_run_steps(lt_graph *graph, lt_graph_step_fn step, uint32_t back, bool *out_changed,
                         leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t at = 0; at < graph->n_nodes && status == LEAT_OK;) {
        bool changed = false;
        lt_arena scratch;
        lt_arena_init(&scratch, lt_graph_arena(graph)->memory, 0);
        status = step(graph, &scratch, &at, &changed, err);
        lt_arena_destroy(&scratch);
        *out_changed |= changed;
        if (changed) {
            at = at > back ? at - back : 0;
        }
    }
    return status;
}

leat_status lt_run_on_graphs(lt_graph *graph, const lt_pass_context *context, lt_graph_pass_fn fn,
                             bool *out_changed, leat_error *err)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        for (uint32_t a = 0; a < node->n_attrs; a++) {
            if (node->attrs[a].type != LEAT_ATTR_GRAPH) {
                continue;
            }
            leat_status status =
                lt_run_on_graphs((lt_graph *)node->attrs[a].u.graph, context, fn, out_changed, err);
            if (status != LEAT_OK) {
                return status;
            }
        }
    }
    return lt_run_on_graph(graph, context, fn, out_changed, err);
}

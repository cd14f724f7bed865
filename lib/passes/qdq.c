/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/qdq.h"

static bool is_byte(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_U8 || dtype == LEAT_DTYPE_I8;
}

static bool is_one_constant(const lt_graph *graph, uint32_t value)
{
    size_t count;
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *v = &graph->values[value];
    return v->data != NULL && v->rank >= 0 && lt_shape_count(v->rank, v->shape, &count) &&
           count == 1;
}

/* The scale of f32 and the zero point of `dtype` that node has as inputs 1 and 2. */
static bool read_grid(const lt_graph *graph, const leat_node *node, leat_dtype dtype,
                      lt_quantized *out)
{
    uint32_t scale = lt_input_of(node, 1), zero = lt_input_of(node, 2);
    if (!is_byte(dtype) || !is_one_constant(graph, scale) ||
        graph->values[scale].dtype != LEAT_DTYPE_F32 || leat_node_int(node, "block_size", 0) != 0) {
        return false;
    }
    if (zero == LEAT_NO_VALUE
            ? dtype != LEAT_DTYPE_U8
            : !is_one_constant(graph, zero) || graph->values[zero].dtype != dtype) {
        return false; /* without a zero point the products' results are u8 */
    }
    out->scale = scale;
    out->zero = zero;
    return true;
}

bool lt_qdq_dequantized(const lt_graph *graph, const lt_uses *uses, uint32_t value,
                        lt_quantized *out)
{
    const leat_node *node = value == LEAT_NO_VALUE ? NULL : uses->producer[value];
    if (node == NULL || !lt_is_onnx(node, "DequantizeLinear") ||
        lt_input_of(node, 0) == LEAT_NO_VALUE || graph->values[value].dtype != LEAT_DTYPE_F32) {
        return false;
    }
    out->value = node->inputs[0];
    return read_grid(graph, node, graph->values[node->inputs[0]].dtype, out);
}

bool lt_qdq_quantizes(const lt_graph *graph, const leat_node *node, lt_quantized *out)
{
    uint32_t x = lt_input_of(node, 0), y = lt_output_of(node, 0);
    if (!lt_is_onnx(node, "QuantizeLinear") || x == LEAT_NO_VALUE || y == LEAT_NO_VALUE ||
        graph->values[x].dtype != LEAT_DTYPE_F32) {
        return false;
    }
    out->value = y;
    return read_grid(graph, node, graph->values[y].dtype, out);
}

static bool same_constant(const lt_graph *graph, uint32_t a, uint32_t b)
{
    if (a == b || a == LEAT_NO_VALUE || b == LEAT_NO_VALUE) {
        return a == b;
    }
    const leat_value *va = &graph->values[a], *vb = &graph->values[b];
    return va->dtype == vb->dtype && va->bytes == vb->bytes &&
           memcmp(va->data, vb->data, va->bytes) == 0;
}

bool lt_qdq_same_grid(const lt_graph *graph, const lt_quantized *a, const lt_quantized *b)
{
    return graph->values[a->value].dtype == graph->values[b->value].dtype &&
           same_constant(graph, a->scale, b->scale) && same_constant(graph, a->zero, b->zero);
}

bool lt_qdq_is_product(const leat_node *node)
{
    return strcmp(node->domain, "leat") == 0 &&
           (strcmp(node->op, "QConv") == 0 || strcmp(node->op, "QMatMul") == 0);
}

void lt_qdq_inputs(const leat_node *node, uint32_t inputs[LT_Q_INPUTS])
{
    for (uint32_t i = 0; i < LT_Q_INPUTS; i++) {
        inputs[i] = lt_input_of(node, i);
    }
}

bool lt_qdq_is_open(const leat_node *node)
{
    bool residual = lt_input_of(node, LT_Q_RESIDUAL) != LEAT_NO_VALUE;
    return lt_qdq_is_product(node) &&
           lt_input_of(node, residual ? LT_Q_Z_SCALE : LT_Q_Y_SCALE) == LEAT_NO_VALUE;
}

leat_status lt_qdq_channel_row(lt_graph *graph, uint32_t value, int64_t n, int32_t rank,
                               uint32_t *out_row, leat_error *err)
{
    const leat_value v = graph->values[value];
    const int32_t at = v.rank - rank + 1; /* of the dimension that meets axis 1 */
    *out_row = LEAT_NO_VALUE;
    if (v.data == NULL || v.dtype != LEAT_DTYPE_F32 || at < 0 || v.rank > rank) {
        return LEAT_OK;
    }
    for (int32_t d = 0; d < v.rank; d++) {
        if (v.shape[d] != (d == at ? n : 1)) {
            return LEAT_OK;
        }
    }
    const leat_array row = {LEAT_DTYPE_F32, 1, {n}, (void *)(uintptr_t)v.data, v.bytes};
    return lt_graph_add_constant(graph, NULL, &row, false, out_row, err);
}

leat_status lt_qdq_make(lt_graph *graph, const lt_pass_context *context, const lt_qdq_desc *desc,
                        leat_node **out_node, leat_error *err)
{
    bool residual = desc->inputs[LT_Q_RESIDUAL] != LEAT_NO_VALUE;
    leat_attr attr = {"residual", LEAT_ATTR_INT, 1, {.i = residual}};
    leat_layout layout;
    leat_node *made;
    uint32_t n = LT_Q_INPUTS;
    while (n > 0 && desc->inputs[n - 1] == LEAT_NO_VALUE) {
        n--;
    }
    lt_rewrite r = {.from = desc->from,
                    .at = desc->at,
                    .domain = "leat",
                    .inputs = desc->inputs,
                    .n_inputs = n,
                    .output = desc->output,
                    .attrs = &attr,
                    .n_attrs = residual};
    *out_node = NULL;
    leat_status status = lt_rewrite_node(graph, &r, &made, err);
    if (status == LEAT_OK) {
        status = lt_node_set_op(graph, made, desc->op, "leat", err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (context->supports(context->user, graph, made, &layout)) {
        *out_node = made;
    } else {
        lt_graph_remove_node(graph, made);
    }
    return LEAT_OK;
}

leat_status lt_qdq_replace(lt_graph *graph, const lt_pass_context *context, const lt_qdq_desc *desc,
                           leat_node *const nodes[3], bool *out_changed, leat_error *err)
{
    leat_node *made;
    leat_status status = lt_qdq_make(graph, context, desc, &made, err);
    for (int i = 0; i < 3 && status == LEAT_OK && made != NULL; i++) {
        if (nodes[i] != NULL) {
            lt_graph_remove_node(graph, nodes[i]);
        }
        *out_changed = true;
    }
    return status;
}

static leat_status step_from(lt_graph *graph, const lt_pass_context *context, lt_qdq_step_fn step,
                             uint32_t *at, bool *out_changed, leat_error *err)
{
    lt_arena scratch;
    lt_uses uses;
    lt_arena_init(&scratch, lt_graph_arena(graph)->memory, 0);
    leat_status status = lt_uses_build(graph, &scratch, &uses, err);
    while (*at < graph->n_nodes && status == LEAT_OK && !*out_changed) {
        leat_node *node = graph->nodes[(*at)++];
        status = step(graph, context, &uses, node, out_changed, err);
    }
    lt_arena_destroy(&scratch);
    return status;
}

leat_status lt_qdq_run(lt_graph *graph, const lt_pass_context *context, lt_qdq_step_fn step,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t at = 0; at < graph->n_nodes && status == LEAT_OK;) {
        bool changed = false;
        status = step_from(graph, context, step, &at, &changed, err);
        *out_changed |= changed;
        at = changed && at > 2 ? at - 2 : at; /* nodes before may have gone away */
    }
    return status;
}

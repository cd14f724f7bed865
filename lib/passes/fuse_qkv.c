/* SPDX-License-Identifier: Apache-2.0 */
/* Q, K and V that are products of one value: one product and an attention that reads its parts.
 *
 *     Attention(MatMul(x, Wq, bq), MatMul(x, Wk, bk), MatMul(x, Wv, bv), mask)
 *         ->   PackedAttention(MatMul(x, [Wq Wk Wv], [bq bk bv]), mask)
 *
 * x is read once, and one product fills a device that three small ones leave idle. The products may
 * be QMatMul of one quantized x. The joined weights are a copy; only where the device has
 * PackedAttention. */
#include "passes/qdq.h"

/* One of the three. */
typedef struct part {
    const leat_node *node;
    uint32_t weight, bias; /* bias LEAT_NO_VALUE: none */
    int64_t columns;
} part;

/* A quantized product whose result is floats and that adds nothing but a bias. */
static bool is_bytes(const leat_node *node)
{
    return strcmp(node->op, "QMatMul") == 0 && lt_qdq_is_open(node) &&
           lt_input_of(node, LT_Q_RESIDUAL) == LEAT_NO_VALUE;
}

static bool read_part(const lt_graph *graph, const lt_uses *uses, const leat_node *attention,
                      uint32_t input, part *out)
{
    uint32_t value = attention->inputs[input];
    const leat_node *node = uses->producer[value];
    const bool bytes = node != NULL && is_bytes(node);
    if (node == NULL || !(bytes || (lt_is_op(node, "MatMul") && node->n_inputs <= 3)) ||
        node->n_outputs != 1 || node->n_attrs != 0 || lt_only_reader(uses, value) != attention) {
        return false;
    }
    const uint32_t weight = node->inputs[bytes ? LT_Q_W : 1];
    const leat_value *w = &graph->values[weight];
    const leat_dtype type = bytes ? LEAT_DTYPE_F32 : w->dtype;
    *out = (part){node, weight, lt_input_of(node, bytes ? LT_Q_BIAS : 2),
                  w->rank == 2 ? w->shape[1] : 0};
    size_t count = 0;
    bool row = out->bias == LEAT_NO_VALUE;
    if (!row) {
        const leat_value *b = &graph->values[out->bias];
        row = b->data != NULL && b->dtype == type && lt_shape_count(b->rank, b->shape, &count) &&
              (int64_t)count == out->columns;
    }
    return row && w->data != NULL && out->columns > 0 && lt_dtype_bits(w->dtype) % 8 == 0;
}

/* Of two quantized parts: one grid of x, weights' zero points in both or in none; what is joined is
 * constant, one number or one a column. */
static bool grids_alike(const lt_graph *graph, const part *a, const part *b)
{
    bool fine = lt_input_of(a->node, LT_Q_X_SCALE) == lt_input_of(b->node, LT_Q_X_SCALE) &&
                lt_input_of(a->node, LT_Q_X_ZERO) == lt_input_of(b->node, LT_Q_X_ZERO) &&
                (lt_input_of(a->node, LT_Q_W_ZERO) == LEAT_NO_VALUE) ==
                    (lt_input_of(b->node, LT_Q_W_ZERO) == LEAT_NO_VALUE);
    for (uint32_t i = LT_Q_W_SCALE; i <= LT_Q_W_ZERO && fine; i++) {
        uint32_t v = lt_input_of(b->node, i);
        size_t count;
        fine = v == LEAT_NO_VALUE ||
               (graph->values[v].data != NULL &&
                lt_shape_count(graph->values[v].rank, graph->values[v].shape, &count) &&
                (count == 1 || (int64_t)count == b->columns));
    }
    return fine;
}

/* The parts have one x, one type and as many rows; all have a bias or none has. */
static bool alike(const lt_graph *graph, const part *a, const part *b)
{
    const leat_value *wa = &graph->values[a->weight], *wb = &graph->values[b->weight];
    const bool bytes = is_bytes(a->node);
    return a->node->inputs[0] == b->node->inputs[0] && wa->dtype == wb->dtype &&
           wa->shape[0] == wb->shape[0] &&
           (a->bias == LEAT_NO_VALUE) == (b->bias == LEAT_NO_VALUE) && bytes == is_bytes(b->node) &&
           (!bytes || grids_alike(graph, a, b));
}

/* A head of the result is one of V, and all heads have as many elements. */
static bool heads_fit(const leat_node *attention, const part parts[3])
{
    int64_t heads = leat_node_int(attention, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(attention, "kv_num_heads", 0);
    return heads > 0 && kv_heads > 0 && parts[0].columns % heads == 0 &&
           parts[1].columns == parts[0].columns / heads * kv_heads &&
           parts[2].columns == parts[1].columns;
}

/* One number, as many times as there are columns. */
static void repeat(char *to, const char *from, size_t element, int64_t columns)
{
    for (int64_t i = 0; i < columns; i++) {
        memcpy(to + (size_t)i * element, from, element);
    }
}

/* A constant of `rows` rows, each those of the three constants side by side; of one row a constant
 * may be one number. */
static leat_status join(lt_graph *graph, const uint32_t values[3], const part parts[3],
                        int64_t rows, uint32_t *out, leat_error *err)
{
    leat_dtype dtype = graph->values[values[0]].dtype;
    size_t element = lt_dtype_bits(dtype) / 8, bytes;
    int64_t columns = parts[0].columns + parts[1].columns + parts[2].columns;
    leat_array array = {dtype, 2, {rows, columns}, NULL, 0};
    if (!lt_shape_bytes(dtype, 2, array.shape, &bytes)) {
        return lt_fail(err, LEAT_LIMIT, "attention: joined weights are too large");
    }
    char *to = lt_arena_array(lt_graph_arena(graph), bytes, 1);
    if (to == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "attention: no memory for joined weights");
    }
    array.data = to;
    array.bytes = bytes;
    for (int64_t row = 0; row < rows; row++) {
        for (int i = 0; i < 3; i++) {
            size_t part_bytes = (size_t)parts[i].columns * element;
            const leat_value *from = &graph->values[values[i]];
            if (from->bytes == element) {
                repeat(to, from->data, element, parts[i].columns);
            } else {
                memcpy(to, (const char *)from->data + (size_t)row * part_bytes, part_bytes);
            }
            to += part_bytes;
        }
    }
    if (rows == 1) {
        array.rank = 1;
        array.shape[0] = columns;
    }
    return lt_graph_add_constant(graph, NULL, &array, false, out, err);
}

/* The node that takes the attention's place; NULL where the device has none. */
static leat_status add_attention(lt_graph *graph, const lt_pass_context *context,
                                 const leat_node *attention, uint32_t qkv, leat_node **out,
                                 leat_error *err)
{
    uint32_t inputs[2] = {qkv, lt_input_of(attention, 3)};
    lt_node_desc desc = {.op = "PackedAttention",
                         .domain = "leat",
                         .name = attention->name,
                         .inputs = inputs,
                         .n_inputs = inputs[1] == LEAT_NO_VALUE ? 1 : 2,
                         .outputs = attention->outputs,
                         .n_outputs = 1,
                         .attrs = attention->attrs,
                         .n_attrs = attention->n_attrs};
    leat_layout layout;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, attention), out, err);
    if (status == LEAT_OK && !context->supports(context->user, graph, *out, &layout)) {
        lt_graph_remove_node(graph, *out);
        *out = NULL;
    }
    return status;
}

/* Input i of the parts, joined; none where the first has none. */
static leat_status join_inputs(lt_graph *graph, const part parts[3], uint32_t i, int64_t rows,
                               uint32_t *out, leat_error *err)
{
    uint32_t values[3];
    for (int k = 0; k < 3; k++) {
        values[k] = lt_input_of(parts[k].node, i);
    }
    *out = LEAT_NO_VALUE;
    return values[0] == LEAT_NO_VALUE ? LEAT_OK : join(graph, values, parts, rows, out, err);
}

/* The product of the joined weights, to `qkv`, before `first`. */
static leat_status add_product(lt_graph *graph, const part parts[3], const leat_node *first,
                               uint32_t qkv, leat_error *err)
{
    const leat_node *node = parts[0].node;
    const bool bytes = is_bytes(node), bias = parts[0].bias != LEAT_NO_VALUE;
    const int64_t rows = graph->values[parts[0].weight].shape[0];
    uint32_t inputs[LT_Q_INPUTS];
    lt_qdq_inputs(node, inputs);
    leat_status status =
        join_inputs(graph, parts, bytes ? LT_Q_W : 1, rows, &inputs[bytes ? LT_Q_W : 1], err);
    if (status == LEAT_OK) {
        status = join_inputs(graph, parts, bytes ? LT_Q_BIAS : 2, 1, &inputs[bytes ? LT_Q_BIAS : 2],
                             err);
    }
    for (uint32_t i = LT_Q_W_SCALE; bytes && i <= LT_Q_W_ZERO && status == LEAT_OK; i++) {
        status = join_inputs(graph, parts, i, 1, &inputs[i], err);
    }
    lt_node_desc desc = {.op = node->op,
                         .domain = bias || bytes ? "leat" : "",
                         .name = node->name,
                         .inputs = inputs,
                         .n_inputs = bytes  ? (bias ? LT_Q_BIAS : LT_Q_W_ZERO) + 1u
                                     : bias ? 3
                                            : 2,
                         .outputs = &qkv,
                         .n_outputs = 1};
    return status ? status : lt_graph_add_node(graph, &desc, lt_position(graph, first), NULL, err);
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const leat_node *attention,
                        const part parts[3], bool *out_changed, leat_error *err)
{
    leat_value q = graph->values[parts[0].node->outputs[0]];
    uint32_t qkv;
    leat_node *made = NULL;
    q.shape[2] = parts[0].columns + parts[1].columns + parts[2].columns;
    leat_status status = lt_new_value(graph, q.dtype, 3, q.shape, &qkv, err);
    status = status ? status : add_attention(graph, context, attention, qkv, &made, err);
    if (status != LEAT_OK || made == NULL) {
        return status;
    }
    const leat_node *first = parts[0].node;
    for (int i = 1; i < 3; i++) {
        bool before = lt_position(graph, parts[i].node) < lt_position(graph, first);
        first = before ? parts[i].node : first;
    }
    status = add_product(graph, parts, first, qkv, err);
    for (int i = 0; i < 3 && status == LEAT_OK; i++) {
        lt_graph_remove_node(graph, parts[i].node);
    }
    lt_graph_remove_node(graph, attention);
    *out_changed = true;
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    /* Backwards: the products stand in front of their attention. */
    for (uint32_t i = graph->n_nodes; i-- > 0 && status == LEAT_OK;) {
        const leat_node *node = i < graph->n_nodes ? graph->nodes[i] : NULL;
        part parts[3];
        if (node == NULL || !lt_is_op(node, "Attention") || node->domain[0] == '\0' ||
            node->n_inputs > 4 || node->n_outputs != 1 ||
            graph->values[node->inputs[0]].rank != 3) {
            continue;
        }
        bool good = true;
        for (uint32_t k = 0; k < 3 && good; k++) {
            good =
                read_part(graph, &uses, node, k, &parts[k]) && alike(graph, &parts[0], &parts[k]);
        }
        if (good && heads_fit(node, parts)) {
            status = fuse(graph, context, node, parts, out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_fuse_qkv(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                             leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

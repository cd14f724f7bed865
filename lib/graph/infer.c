/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operators, and walking a graph with it. */
#include "graph/custom.h"
#include "graph/shape/shape.h"

#include <stdarg.h>
#include <stdio.h>

static const lt_op ops[] = {
#define LT_OP(domain, name, since, min_in, max_in, min_out, max_out, infer)                        \
    {domain, name, sizeof(name) - 1, since, min_in, max_in, min_out, max_out, infer},
#include "graph/ops.def"
#undef LT_OP
};

const lt_op *lt_op_find(const char *domain, const char *name, int64_t opset)
{
    const lt_op *best = NULL;
    size_t bytes = strlen(name); /* plans look up every node: few names are compared in full */
    /* Nodes of leat's own domain have the newest standard signature. */
    bool own = strcmp(domain, "leat") == 0;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const lt_op *op = &ops[i];
        if (op->name_bytes == bytes && memcmp(op->name, name, bytes) == 0 &&
            (own || strcmp(op->domain, domain) == 0) && (own || op->since <= opset) &&
            (best == NULL || op->since > best->since)) {
            best = op;
        }
    }
    return best;
}

/* --- helpers of the families --------------------------------------------------------------------
 */

const leat_value *lt_in(const lt_infer *infer, uint32_t i)
{
    if (i >= infer->node->n_inputs || infer->node->inputs[i] == LEAT_NO_VALUE) {
        return NULL;
    }
    return &infer->values[infer->node->inputs[i]];
}

leat_status lt_bad(const lt_infer *infer, leat_error *err, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return lt_fail(err, LEAT_INVALID, "node '%s' (%s): %s",
                   lt_node_label(infer->graph, infer->node), infer->node->op, text);
}

leat_status lt_fresh(lt_infer *infer, int64_t *out_dim, leat_error *err)
{
    if (infer->concrete) {
        return lt_bad(infer, err, "the size of an output cannot be known");
    }
    return lt_graph_symbol(infer->graph, NULL, out_dim, err);
}

leat_status lt_set(lt_infer *infer, uint32_t i, leat_dtype dtype, int32_t rank,
                   const int64_t *shape, leat_error *err)
{
    if (i >= infer->node->n_outputs || infer->node->outputs[i] == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    leat_value *value = &infer->values[infer->node->outputs[i]];
    bool known = true;
    if (rank > LEAT_MAX_RANK) {
        return lt_fail(
            err, LEAT_UNSUPPORTED, "node '%s' (%s): an output of rank %d; %d is the most",
            lt_node_label(infer->graph, infer->node), infer->node->op, rank, LEAT_MAX_RANK);
    }
    value->dtype = dtype;
    value->rank = rank;
    value->bytes = 0;
    for (int32_t d = 0; d < rank; d++) {
        value->shape[d] = shape[d];
        known &= shape[d] >= 0;
    }
    if (known && rank >= 0 && dtype != LEAT_DTYPE_UNDEFINED &&
        !lt_shape_bytes(dtype, rank, shape, &value->bytes)) {
        return lt_bad(infer, err, "the size of output %u overflows", i);
    }
    return LEAT_OK;
}

leat_status lt_set_unknown(lt_infer *infer, uint32_t i, leat_dtype dtype, leat_error *err)
{
    if (infer->concrete) {
        return lt_bad(infer, err, "the shape of an input is not known");
    }
    return lt_set(infer, i, dtype, -1, NULL, err);
}

leat_status lt_set_like(lt_infer *infer, uint32_t i, leat_dtype dtype, const leat_value *like,
                        leat_error *err)
{
    int64_t shape[LEAT_MAX_RANK];
    memcpy(shape, like->shape, sizeof(shape)); /* `like` may be moved by adding symbols */
    leat_status status = lt_set(infer, i, dtype, like->rank, shape, err);
    if (status == LEAT_OK && i < infer->node->n_outputs &&
        infer->node->outputs[i] != LEAT_NO_VALUE) { /* what a container holds goes along */
        memcpy(infer->values[infer->node->outputs[i]].shape, shape, sizeof(shape));
    }
    return status;
}

int64_t lt_product_of(const int64_t *dims, int32_t count, bool *out_overflow)
{
    int64_t product = 1;
    *out_overflow = false;
    for (int32_t i = 0; i < count; i++) {
        if (dims[i] < 0) {
            return -1;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        *out_overflow |= __builtin_mul_overflow(product, dims[i], &product);
    }
    return product;
}

leat_status lt_ints(lt_infer *infer, uint32_t i, int64_t *out, size_t capacity, size_t *out_count,
                    bool *out_known, leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    *out_count = 0;
    *out_known = value != NULL && value->data != NULL;
    if (value == NULL) {
        return lt_bad(infer, err, "input %u is missing", i);
    }
    if (!*out_known) {
        if (infer->concrete) {
            infer->needs = infer->node->inputs[i];
        }
        return LEAT_OK;
    }
    size_t count;
    if ((value->dtype != LEAT_DTYPE_I64 && value->dtype != LEAT_DTYPE_I32) ||
        !lt_shape_count(value->rank, value->shape, &count)) {
        return lt_bad(infer, err, "input %u must hold integers, not %s", i,
                      leat_dtype_name(value->dtype));
    }
    if (count > capacity) {
        return lt_bad(infer, err, "input %u has %zu elements; at most %zu make sense", i, count,
                      capacity);
    }
    for (size_t j = 0; j < count; j++) {
        if (value->dtype == LEAT_DTYPE_I64) {
            memcpy(&out[j], (const char *)value->data + 8 * j, 8);
        } else {
            int32_t v;
            memcpy(&v, (const char *)value->data + 4 * j, 4);
            out[j] = v;
        }
    }
    *out_count = count;
    return LEAT_OK;
}

leat_status lt_broadcast(lt_infer *infer, int32_t *rank, int64_t *shape, const leat_value *b,
                         leat_error *err)
{
    int32_t wider = *rank > b->rank ? *rank : b->rank;
    int64_t out[LEAT_MAX_RANK] = {0};
    for (int32_t i = 0; i < wider; i++) {
        int32_t ia = i - (wider - *rank), ib = i - (wider - b->rank);
        int64_t da = ia < 0 ? 1 : shape[ia], db = ib < 0 ? 1 : b->shape[ib];
        if (da == db || db == 1) {
            out[i] = da;
        } else if (da == 1) {
            out[i] = db;
        } else if (da < 0 && db < 0) {
            leat_status status = lt_fresh(infer, &out[i], err);
            if (status != LEAT_OK) {
                return status;
            }
        } else if (da < 0 || db < 0) {
            out[i] =
                da < 0 ? db : da; /* a number above 1 (or 0) that the symbol must equal or be 1 */
        } else {
            return lt_bad(infer, err, "dimensions %lld and %lld do not broadcast", (long long)da,
                          (long long)db);
        }
    }
    memcpy(shape, out, sizeof(out));
    *rank = wider;
    return LEAT_OK;
}

leat_status lt_axis(const lt_infer *infer, int64_t axis, int32_t rank, int32_t *out_axis,
                    leat_error *err)
{
    *out_axis = 0; /* also for a caller that fails later */
    if (axis < -(int64_t)rank || axis >= rank) {
        return lt_bad(infer, err, "axis %lld is not within rank %d", (long long)axis, rank);
    }
    *out_axis = (int32_t)(axis < 0 ? axis + rank : axis);
    return LEAT_OK;
}

static bool is_own(const leat_node *node)
{
    return strcmp(node->domain, "leat") == 0;
}

/* Nodes whose floats may be of different types, and which have the attribute `storage`. */
static bool mixes_types(const leat_node *node)
{
    return is_own(node) &&
           (strcmp(node->op, "Conv") == 0 || strcmp(node->op, "ConvDepthwise") == 0 ||
            strcmp(node->op, "ConvPair") == 0 || strcmp(node->op, "Gemm") == 0 ||
            strcmp(node->op, "MatMul") == 0 || strcmp(node->op, "QMatMul") == 0);
}

static bool may_mix(const leat_node *node, leat_dtype a, leat_dtype b)
{
    const uint32_t mixed = 1u << LEAT_DTYPE_F32 | 1u << LEAT_DTYPE_F16 | 1u << LEAT_DTYPE_BF16;
    return a == b || ((unsigned)a < 32 && (unsigned)b < 32 && (mixed >> a & mixed >> b & 1) != 0 &&
                      mixes_types(node));
}

leat_status lt_same_type(const lt_infer *infer, uint32_t a, uint32_t b, leat_error *err)
{
    const leat_value *va = lt_in(infer, a), *vb = lt_in(infer, b);
    if (vb == NULL || may_mix(infer->node, va->dtype, vb->dtype) ||
        va->dtype == LEAT_DTYPE_UNDEFINED || vb->dtype == LEAT_DTYPE_UNDEFINED) {
        return LEAT_OK;
    }
    return lt_bad(infer, err, "inputs %u and %u are of types %s and %s", a, b,
                  leat_dtype_name(va->dtype), leat_dtype_name(vb->dtype));
}

leat_status lt_vector(const lt_infer *infer, uint32_t i, int64_t length, leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    if (value == NULL || value->rank < 0) {
        return LEAT_OK;
    }
    if (value->rank != 1) {
        return lt_bad(infer, err, "input %u has rank %d, not 1", i, value->rank);
    }
    if (length >= 0 && value->shape[0] >= 0 && value->shape[0] != length) {
        return lt_bad(infer, err, "input %u has %lld elements, not %lld", i,
                      (long long)value->shape[0], (long long)length);
    }
    return LEAT_OK;
}

leat_status lt_shaped(const lt_infer *infer, uint32_t i, int32_t rank, const int64_t *shape,
                      leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    if (value == NULL || value->rank < 0) {
        return LEAT_OK;
    }
    if (value->rank != rank) {
        return lt_bad(infer, err, "input %u has rank %d, not %d", i, value->rank, rank);
    }
    for (int32_t d = 0; d < rank; d++) {
        if (value->shape[d] >= 0 && shape[d] >= 0 && value->shape[d] != shape[d]) {
            return lt_bad(infer, err, "input %u has %lld elements on axis %d, not %lld", i,
                          (long long)value->shape[d], d, (long long)shape[d]);
        }
    }
    return LEAT_OK;
}

leat_status lt_single(const lt_infer *infer, uint32_t i, leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    for (int32_t d = 0; value != NULL && d < value->rank; d++) {
        if (value->shape[d] >= 0 && value->shape[d] != 1) {
            return lt_bad(infer, err, "input %u must be one number", i);
        }
    }
    return LEAT_OK;
}

leat_status lt_zero_point(const lt_infer *infer, uint32_t i, int64_t count, leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    bool vector = value != NULL && value->rank == 1; /* other ranks are left to the backend */
    return !vector || value->shape[0] == count || count < 0 ? LEAT_OK : lt_single(infer, i, err);
}

leat_status lt_fits(const lt_infer *infer, uint32_t i, int32_t rank, const int64_t *shape,
                    leat_error *err)
{
    const leat_value *value = lt_in(infer, i);
    if (value == NULL) {
        return LEAT_OK;
    }
    bool fits = value->rank <= rank;
    for (int32_t d = 0; fits && d < value->rank; d++) {
        int64_t have = value->shape[d], want = shape[rank - value->rank + d];
        fits = have == 1 || have == want || have < 0 || want < 0;
    }
    if (!fits) {
        char a[96], b[96];
        return lt_bad(infer, err, "input %u of shape %s does not broadcast to %s", i,
                      lt_shape_text(value->rank, value->shape, a, sizeof(a)),
                      lt_shape_text(rank, shape, b, sizeof(b)));
    }
    return LEAT_OK;
}

leat_status lt_indices(const lt_infer *infer, uint32_t i, leat_error *err)
{
    leat_dtype dtype = lt_in(infer, i)->dtype;
    if (dtype != LEAT_DTYPE_I64 && dtype != LEAT_DTYPE_I32 && dtype != LEAT_DTYPE_UNDEFINED) {
        return lt_bad(infer, err, "input %u must hold i32 or i64, not %s", i,
                      leat_dtype_name(dtype));
    }
    return LEAT_OK;
}

bool lt_channels_last(const lt_infer *infer)
{
    return is_own(infer->node) && leat_node_int(infer->node, "channels_last", 0) != 0;
}

/* --- nodes and graphs ---------------------------------------------------------------------------
 */

static leat_status check_counts(const lt_infer *infer, const lt_op *op, leat_error *err)
{
    const leat_node *node = infer->node;
    static const char *const own_only[] = {"channels_last", "activation", "residual", "compute",
                                           "storage"};
    bool has_activation = op->infer == lt_infer_causal_conv; /* by its own definition */
    for (size_t i = 0; !is_own(node) && i < sizeof(own_only) / sizeof(own_only[0]); i++) {
        if (leat_node_attr(node, own_only[i]) != NULL &&
            !(has_activation && i == 1)) { /* backends would follow it */
            return lt_bad(infer, err, "attribute %s is for nodes of the domain leat", own_only[i]);
        }
    }
    /* leat's own nodes may have a bias and a residual more. */
    int32_t extra = is_own(node) ? 2 : 0;
    if (node->n_inputs < (uint32_t)op->min_inputs ||
        (op->max_inputs >= 0 && node->n_inputs > (uint32_t)(op->max_inputs + extra))) {
        return lt_bad(infer, err, "%u inputs", node->n_inputs);
    }
    if (node->n_outputs < (uint32_t)op->min_outputs ||
        (op->max_outputs >= 0 && node->n_outputs > (uint32_t)op->max_outputs)) {
        return lt_bad(infer, err, "%u outputs", node->n_outputs);
    }
    if (op->min_outputs > 0 && node->outputs[0] == LEAT_NO_VALUE) {
        return lt_bad(infer, err, "output 0 is missing");
    }
    for (int32_t i = 0; i < op->min_inputs; i++) {
        bool zero_point =
            strcmp(op->domain, "leat") == 0 && i == 2; /* of QConv and QMatMul: optional */
        if (lt_in(infer, (uint32_t)i) == NULL && !zero_point) {
            return lt_bad(infer, err, "input %d is missing", i);
        }
    }
    return LEAT_OK;
}

/* An input of unknown rank leaves outputs unknown. At plan time all ranks are known. */
static bool ranks_known(const lt_infer *infer)
{
    for (uint32_t i = 0; i < infer->node->n_inputs; i++) {
        const leat_value *value = lt_in(infer, i);
        if (value != NULL && value->rank < 0) {
            return false;
        }
    }
    return true;
}

/* Whether the runtime carries the node out itself: its outputs show in a run only, and inputs may
 * be of unknown rank. */
static bool is_of_runtime(const lt_op *op)
{
    static const lt_infer_fn fns[] = {
        lt_infer_if,
        lt_infer_loop,
        lt_infer_scan,
        lt_infer_sequence_map,
        lt_infer_empty,
        lt_infer_construct,
        lt_infer_insert,
        lt_infer_element,
        lt_infer_split_to,
        lt_infer_optional,
        lt_infer_get_element,
        lt_infer_has_element,
        lt_infer_string_concat,
        lt_infer_string_normalizer,
    };
    for (size_t i = 0; i < sizeof(fns) / sizeof(fns[0]); i++) {
        if (op->infer == fns[i]) {
            return true;
        }
    }
    return false;
}

/* Type of output i of a node whose inputs' ranks are not known. */
static leat_dtype dtype_without_rank(const lt_infer *infer, const lt_op *op, uint32_t i)
{
    const leat_value *first = lt_in(infer, 0), *second = lt_in(infer, 1);
    lt_infer_fn f = op->infer;
    int64_t to;
    if (f == lt_infer_shape || f == lt_infer_size || f == lt_infer_arg || f == lt_infer_non_zero ||
        f == lt_infer_non_zero_to || f == lt_infer_count || f == lt_infer_compress_count ||
        f == lt_infer_nms || f == lt_infer_nms_all || f == lt_infer_unique_index ||
        (i >= 1 && f == lt_infer_unique) ||
        (i == 1 && (f == lt_infer_pool || f == lt_infer_top_k))) {
        return LEAT_DTYPE_I64;
    }
    if (f == lt_infer_compare || f == lt_infer_to_bool || (i == 1 && f == lt_infer_dropout)) {
        return LEAT_DTYPE_BOOL;
    }
    if (f == lt_infer_conv_integer || f == lt_infer_matmul_integer) {
        return LEAT_DTYPE_I32;
    }
    if (f == lt_infer_dynamic_quantize) {
        return i == 1 ? LEAT_DTYPE_F32 : LEAT_DTYPE_U8;
    }
    if (f == lt_infer_cast || f == lt_infer_bit_cast) {
        to = leat_node_int(infer->node, "to", 0);
        return to > 0 && to < LEAT_DTYPE_COUNT ? (leat_dtype)to : LEAT_DTYPE_UNDEFINED;
    }
    if (f == lt_infer_where || f == lt_infer_cast_like) {
        return second ? second->dtype : LEAT_DTYPE_UNDEFINED;
    }
    if (f == lt_infer_quantize || f == lt_infer_dequantize || f == lt_infer_qlinear_conv ||
        f == lt_infer_qlinear_matmul || f == lt_infer_one_hot || f == lt_infer_eye_like ||
        f == lt_infer_constant_of_shape || f == lt_infer_window || f == lt_infer_mel_weights) {
        return LEAT_DTYPE_UNDEFINED;
    }
    return first != NULL && (i == 0 || f == lt_infer_split) ? first->dtype : LEAT_DTYPE_UNDEFINED;
}

/* Outputs of a node whose inputs' ranks are not known: what the file declares stays. */
static leat_status infer_without_rank(lt_infer *infer, const lt_op *op, leat_error *err)
{
    const leat_node *node = infer->node;
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
        if (node->outputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &infer->values[node->outputs[i]];
        leat_dtype dtype = dtype_without_rank(infer, op, i);
        if (dtype == LEAT_DTYPE_UNDEFINED) {
            dtype = value->dtype;
        }
        int64_t shape[LEAT_MAX_RANK];
        int32_t rank = value->rank;
        memcpy(shape, value->shape, sizeof(shape));
        if (op->infer == lt_infer_shape && rank < 0) {
            rank = 1;
            status = lt_fresh(infer, &shape[0], err);
        } else if (op->infer == lt_infer_size) {
            rank = 0;
        }
        if (status == LEAT_OK) {
            status = lt_set(infer, i, dtype, rank, shape, err);
        }
    }
    return status;
}

/* The residual of leat's own nodes has the type (unless it is quantized) and shape of the output.
 */
static leat_status check_residual(const lt_infer *infer, leat_error *err)
{
    const leat_node *node = infer->node;
    if (!is_own(node) || infer->needs != LEAT_NO_VALUE || leat_node_int(node, "residual", 0) == 0) {
        return LEAT_OK;
    }
    const leat_value *x = node->n_inputs ? lt_in(infer, node->n_inputs - 1) : NULL;
    const leat_value *y = &infer->values[node->outputs[0]];
    bool typed = strcmp(node->op, "QConv") != 0 && strcmp(node->op, "QMatMul") != 0;
    bool fits = x != NULL && (may_mix(node, x->dtype, y->dtype) || !typed) && x->rank == y->rank;
    for (int32_t i = 0; fits && i < x->rank; i++) {
        fits = x->shape[i] == y->shape[i] || x->shape[i] < 0 || y->shape[i] < 0;
    }
    return fits ? LEAT_OK : lt_bad(infer, err, "the residual differs from the output");
}

/* Gives the output the type that the attribute `storage` says. */
static leat_status set_storage(lt_infer *infer, leat_error *err)
{
    const leat_node *node = infer->node;
    leat_value *y = node->n_outputs ? &infer->values[node->outputs[0]] : NULL;
    if (y == NULL || infer->needs != LEAT_NO_VALUE || leat_node_attr(node, "storage") == NULL) {
        return LEAT_OK;
    }
    int64_t dtype = leat_node_int(node, "storage", 0);
    if (dtype < 0 || dtype >= LEAT_DTYPE_COUNT || !mixes_types(node) ||
        !(may_mix(node, (leat_dtype)dtype, y->dtype) || y->dtype == LEAT_DTYPE_UNDEFINED)) {
        return lt_bad(infer, err, "its output cannot be of type %lld", (long long)dtype);
    }
    leat_value like = *y;
    return lt_set_like(infer, 0, (leat_dtype)dtype, &like, err);
}

leat_status lt_infer_node(lt_infer *infer, const leat_node *node, leat_error *err)
{
    const lt_op *op = infer->op ? infer->op : lt_op_find(node->domain, node->op, node->opset);
    infer->node = node;
    infer->needs = LEAT_NO_VALUE;
    const lt_custom_op *custom = op ? NULL : lt_custom_find(infer->graph->root->custom, node);
    if (custom != NULL) {
        return lt_custom_infer(infer, custom, err);
    }
    if (op == NULL) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "node '%s': operator %s%s%s (opset %d) is not supported",
                       lt_node_label(infer->graph, node), node->domain, node->domain[0] ? "." : "",
                       node->op, node->opset);
    }
    leat_status status = check_counts(infer, op, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (is_of_runtime(op)) {
        return infer->concrete
                   ? lt_fail(err, LEAT_UNSUPPORTED, "node '%s' (%s): known in a run only",
                             lt_node_label(infer->graph, node), node->op)
                   : op->infer(infer, err);
    }
    if (!ranks_known(infer)) {
        status = infer->concrete ? lt_bad(infer, err, "the rank of an input is not known")
                                 : infer_without_rank(infer, op, err);
        return status != LEAT_OK ? status : set_storage(infer, err);
    }
    status = op->infer(infer, err);
    status = status != LEAT_OK ? status : set_storage(infer, err);
    return status != LEAT_OK ? status : check_residual(infer, err);
}

/* Whether passes may look at a node that could not be inferred, and at those in its bodies: their
 * inputs are, as far as they are counted, those of a version that is known. */
static bool is_readable(lt_graph *graph, const leat_node *node)
{
    const lt_infer infer = {.graph = graph, .values = graph->values, .node = node};
    const lt_op *op = lt_op_find(node->domain, node->op, node->opset);
    op = op ? op : lt_op_find(node->domain, node->op, INT64_MAX);
    bool readable = op == NULL || check_counts(&infer, op, NULL) == LEAT_OK;
    for (uint32_t a = 0; a < node->n_attrs && readable; a++) {
        lt_graph *body =
            node->attrs[a].type == LEAT_ATTR_GRAPH ? (lt_graph *)node->attrs[a].u.graph : NULL;
        for (uint32_t i = 0; body != NULL && i < body->n_nodes && readable; i++) {
            readable = is_readable(body, body->nodes[i]);
        }
    }
    return readable;
}

/* Whether what the shape function of an operator of the application said can never change: it saw
 * everything that it will see in a run. */
static bool is_final(const lt_graph *graph, const leat_node *node)
{
    if (lt_op_find(node->domain, node->op, node->opset) != NULL ||
        lt_custom_find(graph->root->custom, node) == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        const leat_value *value =
            node->inputs[i] == LEAT_NO_VALUE ? NULL : &graph->values[node->inputs[i]];
        size_t count;
        if (value != NULL &&
            (value->rank < 0 || !lt_shape_count(value->rank, value->shape, &count))) {
            return false;
        }
    }
    return true;
}

leat_status lt_infer_graph(lt_graph *graph, bool strict, leat_error *err)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        lt_infer infer = {.graph = graph, .values = graph->values};
        leat_status status = lt_infer_node(&infer, graph->nodes[i], err);
        if (status == LEAT_UNSUPPORTED && !strict && !is_final(graph, graph->nodes[i]) &&
            is_readable(graph, graph->nodes[i])) {
            lt_error_clear(err);
            continue;
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static bool version_known(const leat_node *node)
{
    bool known = lt_op_find(node->domain, node->op, node->opset) != NULL ||
                 lt_op_find(node->domain, node->op, INT64_MAX) == NULL;
    for (uint32_t a = 0; a < node->n_attrs && known; a++) {
        known = node->attrs[a].type != LEAT_ATTR_GRAPH ||
                lt_versions_known((const lt_graph *)node->attrs[a].u.graph);
    }
    return known;
}

bool lt_versions_known(const lt_graph *graph)
{
    bool known = true;
    for (uint32_t i = 0; i < graph->n_nodes && known; i++) {
        known = version_known(graph->nodes[i]);
    }
    return known;
}

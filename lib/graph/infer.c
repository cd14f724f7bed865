/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operators, and walking a graph with it. */
#include "graph/shape/shape.h"

#include <stdarg.h>
#include <stdio.h>

static const lt_op ops[] = {
#define LT_OP(domain, name, since, min_in, max_in, min_out, max_out, infer)                        \
    {domain, name, since, min_in, max_in, min_out, max_out, infer},
#include "graph/ops.def"
#undef LT_OP
};

const lt_op *lt_op_find(const char *domain, const char *name, int64_t opset)
{
    const lt_op *best = NULL;
    /* Nodes of leat's own domain have the newest standard signature. */
    bool own = strcmp(domain, "leat") == 0;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const lt_op *op = &ops[i];
        if (strcmp(op->name, name) == 0 && (own || strcmp(op->domain, domain) == 0) &&
            (own || op->since <= opset) && (best == NULL || op->since > best->since)) {
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
    return lt_set(infer, i, dtype, like->rank, shape, err);
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
    int64_t out[LEAT_MAX_RANK];
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
    if (axis < -(int64_t)rank || axis >= rank) {
        return lt_bad(infer, err, "axis %lld is not within rank %d", (long long)axis, rank);
    }
    *out_axis = (int32_t)(axis < 0 ? axis + rank : axis);
    return LEAT_OK;
}

leat_status lt_same_type(const lt_infer *infer, uint32_t a, uint32_t b, leat_error *err)
{
    const leat_value *va = lt_in(infer, a), *vb = lt_in(infer, b);
    if (va->dtype == vb->dtype || va->dtype == LEAT_DTYPE_UNDEFINED ||
        vb->dtype == LEAT_DTYPE_UNDEFINED) {
        return LEAT_OK;
    }
    return lt_bad(infer, err, "inputs %u and %u are of types %s and %s", a, b,
                  leat_dtype_name(va->dtype), leat_dtype_name(vb->dtype));
}

/* --- nodes and graphs ---------------------------------------------------------------------------
 */

static leat_status check_counts(const lt_infer *infer, const lt_op *op, leat_error *err)
{
    const leat_node *node = infer->node;
    /* leat's own nodes may have a bias and a residual more. */
    int32_t extra = strcmp(node->domain, "leat") == 0 ? 2 : 0;
    if (node->n_inputs < (uint32_t)op->min_inputs ||
        (op->max_inputs >= 0 && node->n_inputs > (uint32_t)(op->max_inputs + extra))) {
        return lt_bad(infer, err, "%u inputs", node->n_inputs);
    }
    if (node->n_outputs < (uint32_t)op->min_outputs ||
        (op->max_outputs >= 0 && node->n_outputs > (uint32_t)op->max_outputs)) {
        return lt_bad(infer, err, "%u outputs", node->n_outputs);
    }
    for (int32_t i = 0; i < op->min_inputs; i++) {
        if (lt_in(infer, (uint32_t)i) == NULL) {
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

leat_status lt_infer_node(lt_infer *infer, const leat_node *node, leat_error *err)
{
    const lt_op *op = lt_op_find(node->domain, node->op, node->opset);
    infer->node = node;
    infer->needs = LEAT_NO_VALUE;
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
    if (!infer->concrete && !ranks_known(infer)) {
        const leat_value *first = lt_in(infer, 0);
        for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
            uint32_t value = node->outputs[i];
            leat_dtype dtype = value != LEAT_NO_VALUE ? infer->values[value].dtype : 0;
            if (dtype == LEAT_DTYPE_UNDEFINED && first != NULL && i == 0) {
                dtype = first->dtype;
            }
            if (value == LEAT_NO_VALUE || infer->values[value].rank < 0) {
                status = lt_set(infer, i, dtype, -1, NULL, err);
            }
        }
        return status;
    }
    return op->infer(infer, err);
}

leat_status lt_infer_graph(lt_graph *graph, bool strict, leat_error *err)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        lt_infer infer = {.graph = graph, .values = graph->values};
        leat_status status = lt_infer_node(&infer, graph->nodes[i], err);
        if (status == LEAT_UNSUPPORTED && !strict) {
            lt_error_clear(err);
            continue;
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

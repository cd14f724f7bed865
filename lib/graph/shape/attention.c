/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: Q, K and V of [B, heads, S, D] or [B, S, heads * D]. */
#include "graph/shape/shape.h"

/* Batch, heads, rows and features of an operand; symbolic where they are not known. */
typedef struct operand {
    int64_t batch, heads, rows, features;
} operand;

static leat_status read_operand(lt_infer *infer, uint32_t input, int64_t heads, operand *out,
                                leat_error *err)
{
    const leat_value *x = lt_in(infer, input);
    if (x->rank == 4) {
        *out = (operand){x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
        return LEAT_OK;
    }
    if (x->rank != 3) {
        return lt_bad(infer, err, "input %u has rank %d, not 3 or 4", input, x->rank);
    }
    if (heads < 1 || (x->shape[2] >= 0 && x->shape[2] % heads != 0)) {
        return lt_bad(infer, err, "%lld heads do not divide a last dimension of %lld",
                      (long long)heads, (long long)x->shape[2]);
    }
    *out = (operand){x->shape[0], heads, x->shape[1],
                     x->shape[2] < 0 ? x->shape[2] : x->shape[2] / heads};
    if (x->shape[2] < 0 && heads != 1) {
        return lt_fresh(infer, &out->features, err);
    }
    return LEAT_OK;
}

static bool differ(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && a != b;
}

/* present = past and new ones, [B, heads, P + S, D]. */
static leat_status set_present(lt_infer *infer, uint32_t output, uint32_t past, const operand *x,
                               leat_error *err)
{
    const leat_value *p = lt_in(infer, past);
    leat_dtype dtype = lt_in(infer, output)->dtype; /* K is input 1, V is input 2 */
    int64_t shape[4] = {x->batch, x->heads, x->rows, x->features};
    if (p != NULL && p->rank != 4) {
        return lt_bad(infer, err, "input %u has rank %d, not 4", past, p->rank);
    }
    if (p != NULL && (differ(p->shape[0], x->batch) || differ(p->shape[1], x->heads) ||
                      differ(p->shape[3], x->features))) {
        return lt_bad(infer, err, "input %u does not fit the new keys and values", past);
    }
    if (p != NULL && p->shape[2] >= 0 && x->rows >= 0) {
        if (__builtin_add_overflow(p->shape[2], x->rows, &shape[2])) {
            return lt_bad(infer, err, "the length of input %u overflows", past);
        }
    } else if (p != NULL) {
        leat_status status = lt_fresh(infer, &shape[2], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, output, dtype, 4, shape, err);
}

leat_status lt_infer_attention(lt_infer *infer, leat_error *err)
{
    int64_t heads = leat_node_int(infer->node, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(infer->node, "kv_num_heads", 0);
    operand q, k, v;
    leat_status status = lt_same_type(infer, 0, 1, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    if (status == LEAT_OK) {
        status = read_operand(infer, 0, heads, &q, err);
    }
    if (status == LEAT_OK) {
        status = read_operand(infer, 1, kv_heads, &k, err);
    }
    if (status == LEAT_OK) {
        status = read_operand(infer, 2, kv_heads, &v, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    const leat_value *x = lt_in(infer, 0);
    if (x->rank != lt_in(infer, 1)->rank || x->rank != lt_in(infer, 2)->rank) {
        return lt_bad(infer, err, "Q, K and V differ in rank");
    }
    if (differ(q.batch, k.batch) || differ(q.batch, v.batch) || differ(k.heads, v.heads) ||
        differ(k.rows, v.rows) || differ(q.features, k.features)) {
        return lt_bad(infer, err, "Q, K and V do not fit together");
    }
    leat_dtype dtype = x->dtype;
    int32_t rank = x->rank; /* symbols that are added may move x */
    int64_t four[4] = {q.batch, q.heads, q.rows, v.features};
    int64_t three[3] = {q.batch, q.rows, v.features};
    if (rank == 3 && heads != 1) {
        bool overflow;
        int64_t factors[2] = {heads, v.features};
        three[2] = lt_product_of(factors, 2, &overflow);
        if (overflow) {
            return lt_bad(infer, err, "the size of the output overflows");
        }
        if (three[2] < 0) {
            status = lt_fresh(infer, &three[2], err);
        }
    }
    if (status == LEAT_OK) {
        status = rank == 4 ? lt_set(infer, 0, dtype, 4, four, err)
                           : lt_set(infer, 0, dtype, 3, three, err);
    }
    if (status == LEAT_OK) {
        status = set_present(infer, 1, 4, &k, err);
    }
    if (status == LEAT_OK) {
        status = set_present(infer, 2, 5, &v, err);
    }
    if (status == LEAT_OK && infer->node->n_outputs > 3) {
        const leat_value *past = lt_in(infer, 4);
        int64_t keys = k.rows;
        if (past != NULL && past->shape[2] >= 0 && keys >= 0) {
            keys += past->shape[2]; /* does not overflow: set_present added them, too */
        } else if (past != NULL) {
            status = lt_fresh(infer, &keys, err);
        }
        int64_t scores[4] = {q.batch, q.heads, q.rows, keys};
        status = status != LEAT_OK ? status : lt_set(infer, 3, dtype, 4, scores, err);
    }
    return status;
}

/* leat's: Q, K and V side by side in the last dimension. */
leat_status lt_infer_packed_attention(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t heads = leat_node_int(infer->node, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(infer->node, "kv_num_heads", 0), all;
    if (x->rank != 3 || heads < 1 || kv_heads < 1 || heads % kv_heads != 0 ||
        __builtin_mul_overflow(kv_heads, 2, &all) || __builtin_add_overflow(heads, all, &all) ||
        x->shape[2] < 0 || x->shape[2] % all != 0) {
        return lt_bad(infer, err, "the heads do not divide the last dimension of three");
    }
    int64_t shape[3] = {x->shape[0], x->shape[1], x->shape[2] / all * heads};
    return lt_set(infer, 0, x->dtype, 3, shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that work element by element, with or without broadcasting. */
#include "graph/shape/shape.h"

leat_status lt_infer_same(lt_infer *infer, leat_error *err)
{
    return lt_set_like(infer, 0, lt_in(infer, 0)->dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_to_bool(lt_infer *infer, leat_error *err)
{
    return lt_set_like(infer, 0, LEAT_DTYPE_BOOL, lt_in(infer, 0), err);
}

/* Both inputs are of one type and shape. */
leat_status lt_infer_swiglu(lt_infer *infer, leat_error *err)
{
    const leat_value *a = lt_in(infer, 0);
    leat_status status = lt_same_type(infer, 0, 1, err);
    status = status ? status : lt_shaped(infer, 1, a->rank, a->shape, err);
    return status ? status : lt_infer_same(infer, err);
}

/* Broadcasts inputs [0, count) and sets output 0. */
static leat_status broadcast_all(lt_infer *infer, uint32_t count, leat_dtype dtype, leat_error *err)
{
    int64_t shape[LEAT_MAX_RANK] = {0};
    int32_t rank = 0;
    for (uint32_t i = 0; i < count; i++) {
        const leat_value *value = lt_in(infer, i);
        if (value == NULL) {
            return lt_bad(infer, err, "input %u is missing", i);
        }
        leat_status status = lt_broadcast(infer, &rank, shape, value, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, 0, dtype, rank, shape, err);
}

leat_status lt_infer_binary(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_same_type(infer, 0, 1, err);
    return status != LEAT_OK ? status : broadcast_all(infer, 2, lt_in(infer, 0)->dtype, err);
}

/* The exponent may be of another type. */
leat_status lt_infer_pow(lt_infer *infer, leat_error *err)
{
    return broadcast_all(infer, 2, lt_in(infer, 0)->dtype, err);
}

leat_status lt_infer_compare(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_same_type(infer, 0, 1, err);
    return status != LEAT_OK ? status : broadcast_all(infer, 2, LEAT_DTYPE_BOOL, err);
}

leat_status lt_infer_variadic(lt_infer *infer, leat_error *err)
{
    for (uint32_t i = 1; i < infer->node->n_inputs; i++) {
        if (lt_in(infer, i) == NULL) {
            return lt_bad(infer, err, "input %u is missing", i);
        }
        leat_status status = lt_same_type(infer, 0, i, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return broadcast_all(infer, infer->node->n_inputs, lt_in(infer, 0)->dtype, err);
}

leat_status lt_infer_where(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_same_type(infer, 1, 2, err);
    leat_dtype condition = lt_in(infer, 0)->dtype;
    if (status == LEAT_OK && condition != LEAT_DTYPE_BOOL && condition != LEAT_DTYPE_UNDEFINED) {
        status = lt_bad(infer, err, "the condition is %s, not bool", leat_dtype_name(condition));
    }
    return status != LEAT_OK ? status : broadcast_all(infer, 3, lt_in(infer, 1)->dtype, err);
}

/* The slope broadcasts to the data. */
leat_status lt_infer_prelu(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    leat_status status = lt_same_type(infer, 0, 1, err);
    if (status == LEAT_OK) {
        status = lt_fits(infer, 1, x->rank, x->shape, err);
    }
    return status != LEAT_OK ? status : lt_infer_same(infer, err);
}

/* The bounds are single numbers of the data's type. */
leat_status lt_infer_clip(lt_infer *infer, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 1; i < 3 && status == LEAT_OK; i++) {
        status = lt_same_type(infer, 0, i, err);
        status = status == LEAT_OK ? lt_single(infer, i, err) : status;
    }
    return status != LEAT_OK ? status : lt_infer_same(infer, err);
}

/* All inputs are bool. */
leat_status lt_infer_logic(lt_infer *infer, leat_error *err)
{
    for (uint32_t i = 0; i < infer->node->n_inputs; i++) {
        const leat_value *x = lt_in(infer, i);
        if (x != NULL && x->dtype != LEAT_DTYPE_BOOL && x->dtype != LEAT_DTYPE_UNDEFINED) {
            return lt_bad(infer, err, "input %u is %s, not bool", i, leat_dtype_name(x->dtype));
        }
    }
    return broadcast_all(infer, infer->node->n_inputs, LEAT_DTYPE_BOOL, err);
}

leat_status lt_infer_cast(lt_infer *infer, leat_error *err)
{
    int64_t to = leat_node_int(infer->node, "to", 0);
    if (to <= 0 || to >= LEAT_DTYPE_COUNT) {
        return lt_bad(infer, err, "attribute 'to' is %lld", (long long)to);
    }
    return lt_set_like(infer, 0, (leat_dtype)to, lt_in(infer, 0), err);
}

leat_status lt_infer_cast_like(lt_infer *infer, leat_error *err)
{
    return lt_set_like(infer, 0, lt_in(infer, 1)->dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_dropout(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_infer_same(infer, err);
    return status != LEAT_OK ? status
                             : lt_set_like(infer, 1, LEAT_DTYPE_BOOL, lt_in(infer, 0), err);
}

/* The same shape under another type of as many bits. */
leat_status lt_infer_bit_cast(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t to = leat_node_int(infer->node, "to", 0);
    if (to <= 0 || to >= LEAT_DTYPE_COUNT || to == LEAT_DTYPE_STRING) {
        return lt_bad(infer, err, "attribute 'to' is %lld", (long long)to);
    }
    if (x->dtype != LEAT_DTYPE_UNDEFINED &&
        lt_dtype_bits(x->dtype) != lt_dtype_bits((leat_dtype)to)) {
        return lt_bad(infer, err, "%s and %s differ in size", leat_dtype_name(x->dtype),
                      leat_dtype_name((leat_dtype)to));
    }
    return lt_set_like(infer, 0, (leat_dtype)to, x, err);
}

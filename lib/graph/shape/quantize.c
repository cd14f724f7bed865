/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */
#include "graph/shape/shape.h"

/* A scale of the data's rank has one element for each block along `axis`, one for each element on
 * the other axes. */
static leat_status check_blocks(const lt_infer *infer, const leat_value *x, const leat_value *scale,
                                int32_t axis, int64_t block, leat_error *err)
{
    bool fits = scale->rank == x->rank;
    for (int32_t i = 0; fits && i < x->rank; i++) {
        int64_t want = x->shape[i];
        if (i == axis && want >= 0) {
            want = want / block + (want % block != 0);
        }
        fits = scale->shape[i] < 0 || want < 0 || scale->shape[i] == want;
    }
    return fits ? LEAT_OK
                : lt_bad(infer, err, "the scale does not fit blocks of %lld on axis %d",
                         (long long)block, axis);
}

/* The scale is one number, one for each element of an axis, or blocked; the zero point has the
 * scale's shape. */
static leat_status check_scale(const lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *scale = lt_in(infer, 1), *zero = lt_in(infer, 2);
    int64_t block = leat_node_int(infer->node, "block_size", 0);
    bool one = scale->rank == 0 || (scale->rank == 1 && scale->shape[0] == 1);
    leat_status status = LEAT_OK;
    int32_t axis;
    if (block < 0) {
        return lt_bad(infer, err, "block_size is %lld", (long long)block);
    }
    if (!one || block != 0) {
        status = lt_axis(infer, leat_node_int(infer->node, "axis", 1), x->rank, &axis, err);
        if (status == LEAT_OK) {
            status = block ? check_blocks(infer, x, scale, axis, block, err)
                           : lt_vector(infer, 1, x->shape[axis], err);
        }
    }
    if (status != LEAT_OK || zero == NULL) {
        return status;
    }
    if (one) {
        return lt_single(infer, 2, err);
    }
    bool same = zero->rank == scale->rank;
    for (int32_t i = 0; same && i < zero->rank; i++) {
        same = zero->shape[i] == scale->shape[i] || zero->shape[i] < 0 || scale->shape[i] < 0;
    }
    return same ? LEAT_OK : lt_bad(infer, err, "scale and zero point differ in shape");
}

leat_status lt_infer_quantize(lt_infer *infer, leat_error *err)
{
    const leat_value *zero = lt_in(infer, 2);
    int64_t dtype = leat_node_int(infer->node, "output_dtype", 0);
    if (dtype < 0 || dtype >= LEAT_DTYPE_COUNT) {
        return lt_bad(infer, err, "output_dtype is %lld", (long long)dtype);
    }
    if (zero != NULL) {
        if (dtype != 0 && zero->dtype != LEAT_DTYPE_UNDEFINED && dtype != (int64_t)zero->dtype) {
            return lt_bad(infer, err, "output_dtype is %s, the zero point %s",
                          leat_dtype_name((leat_dtype)dtype), leat_dtype_name(zero->dtype));
        }
        dtype = zero->dtype;
    } else if (dtype == 0) {
        dtype = LEAT_DTYPE_U8;
    }
    leat_status status = check_scale(infer, err);
    return status != LEAT_OK ? status
                             : lt_set_like(infer, 0, (leat_dtype)dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_dequantize(lt_infer *infer, leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "output_dtype", 0);
    if (dtype <= 0 || dtype >= LEAT_DTYPE_COUNT) {
        dtype = lt_in(infer, 1)->dtype;
    }
    leat_status status = lt_same_type(infer, 0, 2, err);
    if (status == LEAT_OK) {
        status = check_scale(infer, err);
    }
    return status != LEAT_OK ? status
                             : lt_set_like(infer, 0, (leat_dtype)dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_dynamic_quantize(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_set_like(infer, 0, LEAT_DTYPE_U8, lt_in(infer, 0), err);
    if (status == LEAT_OK) {
        status = lt_set(infer, 1, LEAT_DTYPE_F32, 0, NULL, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 2, LEAT_DTYPE_U8, 0, NULL, err);
}

/* x, factors of its last dimension, columns of it that come again behind all. */
leat_status lt_infer_smooth_quantize(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    const leat_value *factors = lt_in(infer, 1), *again = lt_in(infer, 2);
    int64_t *columns = x.rank > 0 ? &x.shape[x.rank - 1] : NULL;
    if (columns == NULL || factors->rank != 1 || factors->shape[0] != *columns ||
        (again != NULL && again->rank != 1)) {
        return lt_bad(infer, err, "data of rank %d and factors that do not match", x.rank);
    }
    if (again != NULL && (*columns < 0 || again->shape[0] < 0 ||
                          __builtin_add_overflow(*columns, again->shape[0], columns))) {
        return lt_bad(infer, err, "columns that come again of unknown ones, or too many");
    }
    leat_status status = lt_set(infer, 0, LEAT_DTYPE_U8, x.rank, x.shape, err);
    if (status == LEAT_OK) {
        status = lt_set(infer, 1, LEAT_DTYPE_F32, 0, NULL, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 2, LEAT_DTYPE_U8, 0, NULL, err);
}

leat_dtype lt_quantized_type(const lt_infer *infer)
{
    uint32_t scale = lt_in(infer, 13) != NULL ? 11 : 6;
    const leat_value *zero = lt_in(infer, scale + 1);
    if (lt_in(infer, scale) == NULL) {
        return LEAT_DTYPE_F32;
    }
    return zero != NULL ? zero->dtype : LEAT_DTYPE_U8;
}

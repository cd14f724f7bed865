/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that draw random numbers. */
#include "graph/shape/shape.h"

/* The type that an attribute names; `otherwise` without one. */
static leat_status read_type(const lt_infer *infer, leat_dtype otherwise, leat_dtype *out,
                             leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "dtype", (int64_t)otherwise);
    *out = (leat_dtype)dtype;
    return dtype >= 0 && dtype < LEAT_DTYPE_COUNT
               ? LEAT_OK
               : lt_bad(infer, err, "dtype is %lld", (long long)dtype);
}

leat_status lt_infer_random(lt_infer *infer, leat_error *err)
{
    size_t count;
    leat_dtype dtype;
    const int64_t *shape = leat_node_ints(infer->node, "shape", &count);
    leat_status status = read_type(infer, LEAT_DTYPE_F32, &dtype, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        status = shape[i] >= 0 ? LEAT_OK
                               : lt_bad(infer, err, "shape[%zu] is %lld", i, (long long)shape[i]);
    }
    if (status == LEAT_OK && (leat_node_attr(infer->node, "shape") == NULL || count > 64)) {
        status = lt_bad(infer, err, "a shape of %zu numbers", count);
    }
    return status ? status : lt_set(infer, 0, dtype, (int32_t)count, shape, err);
}

leat_status lt_infer_random_like(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    leat_dtype dtype;
    leat_status status = read_type(infer, x->dtype, &dtype, err);
    return status ? status : lt_set_like(infer, 0, dtype, x, err);
}

leat_status lt_infer_multinomial(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0);
    int64_t samples = leat_node_int(infer->node, "sample_size", 1);
    leat_dtype dtype;
    leat_status status = read_type(infer, LEAT_DTYPE_I32, &dtype, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (x->rank != 2 || samples < 0 || (dtype != LEAT_DTYPE_I32 && dtype != LEAT_DTYPE_I64)) {
        return lt_bad(infer, err, "%lld samples from scores of rank %d", (long long)samples,
                      x->rank);
    }
    const int64_t shape[] = {x->shape[0], samples};
    return lt_set(infer, 0, dtype, 2, shape, err);
}

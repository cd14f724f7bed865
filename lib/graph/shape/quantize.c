/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */
#include "graph/shape/shape.h"

leat_status lt_infer_quantize(lt_infer *infer, leat_error *err)
{
    const leat_value *zero = lt_in(infer, 2);
    int64_t dtype = leat_node_int(infer->node, "output_dtype", 0);
    if (zero != NULL) {
        dtype = zero->dtype;
    } else if (dtype == 0) {
        dtype = LEAT_DTYPE_U8;
    }
    if (dtype < 0 || dtype >= LEAT_DTYPE_COUNT) {
        return lt_bad(infer, err, "output_dtype is %lld", (long long)dtype);
    }
    return lt_set_like(infer, 0, (leat_dtype)dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_dequantize(lt_infer *infer, leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "output_dtype", 0);
    if (dtype <= 0 || dtype >= LEAT_DTYPE_COUNT) {
        dtype = lt_in(infer, 1)->dtype;
    }
    return lt_set_like(infer, 0, (leat_dtype)dtype, lt_in(infer, 0), err);
}

leat_status lt_infer_dynamic_quantize(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_set_like(infer, 0, LEAT_DTYPE_U8, lt_in(infer, 0), err);
    if (status == LEAT_OK) {
        status = lt_set(infer, 1, LEAT_DTYPE_F32, 0, NULL, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 2, LEAT_DTYPE_U8, 0, NULL, err);
}

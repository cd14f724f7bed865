/* SPDX-License-Identifier: Apache-2.0 */
/* Windows, Fourier transforms, mel weights. */
#include "graph/shape/shape.h"

/* The integer in input i. *out_known is false when its data is needed, or not there at load.
 * Errors:   INVALID for more than one, or one outside [low, 2^40). */
static leat_status number(lt_infer *infer, uint32_t i, int64_t low, int64_t *out, bool *out_known,
                          leat_error *err)
{
    size_t count;
    leat_status status = lt_ints(infer, i, out, 1, &count, out_known, err);
    if (status == LEAT_OK && *out_known && (count != 1 || *out < low || *out >> 40 != 0)) {
        status = lt_bad(infer, err, "input %u is %lld", i, (long long)(count ? *out : 0));
    }
    return status;
}

static leat_status output_type(const lt_infer *infer, leat_dtype *out, leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "output_datatype", LEAT_DTYPE_F32);
    *out = (leat_dtype)dtype;
    return dtype > 0 && dtype < LEAT_DTYPE_COUNT
               ? LEAT_OK
               : lt_bad(infer, err, "output_datatype is %lld", (long long)dtype);
}

leat_status lt_infer_window(lt_infer *infer, leat_error *err)
{
    leat_dtype dtype;
    int64_t size;
    bool known;
    leat_status status = output_type(infer, &dtype, err);
    status = status ? status : number(infer, 0, 0, &size, &known, err);
    if (status == LEAT_OK && !known) {
        if (infer->concrete) {
            return LEAT_OK;
        }
        status = lt_fresh(infer, &size, err);
    }
    return status ? status : lt_set(infer, 0, dtype, 1, &size, err);
}

leat_status lt_infer_mel_weights(lt_infer *infer, leat_error *err)
{
    leat_dtype dtype;
    int64_t shape[2];
    bool known[2];
    leat_status status = output_type(infer, &dtype, err);
    for (uint32_t i = 0; i < 2 && status == LEAT_OK; i++) {
        status = number(infer, i, i, &shape[1 - i], &known[1 - i], err);
        if (status == LEAT_OK && !known[1 - i]) {
            if (infer->concrete) {
                return LEAT_OK;
            }
            status = lt_fresh(infer, &shape[1 - i], err);
        } else if (i == 1 && status == LEAT_OK) {
            shape[0] = shape[0] / 2 + 1;
        }
    }
    for (uint32_t i = 0; i < 5 && status == LEAT_OK; i++) {
        status = lt_single(infer, i, err);
    }
    return status ? status : lt_set(infer, 0, dtype, 2, shape, err);
}

/* The axis of DFT. */
static leat_status dft_axis(lt_infer *infer, int32_t rank, int32_t *out, bool *out_known,
                            leat_error *err)
{
    int64_t axis = infer->node->opset >= 20 ? -2 : leat_node_int(infer->node, "axis", 1);
    size_t count = 1;
    *out = 0;
    *out_known = true;
    leat_status status = LEAT_OK;
    if (infer->node->opset >= 20 && lt_in(infer, 2) != NULL) {
        status = lt_ints(infer, 2, &axis, 1, &count, out_known, err);
    }
    if (status != LEAT_OK || !*out_known) {
        return status;
    }
    if (count != 1) {
        return lt_bad(infer, err, "axis must be one number");
    }
    status = lt_axis(infer, axis, rank, out, err);
    return status == LEAT_OK && *out == rank - 1
               ? lt_bad(infer, err, "the last axis has the parts of numbers")
               : status;
}

leat_status lt_infer_dft(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    bool inverse = leat_node_int(infer->node, "inverse", 0) != 0, known = true;
    bool onesided = leat_node_int(infer->node, "onesided", 0) != 0;
    int32_t axis;
    if (x.rank < 2) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    int64_t parts = x.shape[x.rank - 1];
    if (parts >= 0 && parts != 1 && parts != 2) {
        return lt_bad(infer, err, "numbers of %lld parts", (long long)parts);
    }
    leat_status status = dft_axis(infer, x.rank, &axis, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        return lt_set_unknown(infer, 0, x.dtype, err);
    }
    int64_t n = x.shape[axis];
    n = inverse && onesided && n > 0 && n < INT64_MAX / 4 ? 2 * (n - 1) : n;
    if (lt_in(infer, 1) != NULL) {
        status = number(infer, 1, 1, &n, &known, err);
        if (status != LEAT_OK || (!known && infer->concrete)) {
            return status;
        }
        n = known ? n : -1;
    }
    x.shape[axis] = n >= 0 && onesided && !inverse ? n / 2 + 1 : n;
    if (n < 0) {
        status = lt_fresh(infer, &x.shape[axis], err);
    }
    x.shape[x.rank - 1] = inverse && onesided ? 1 : 2;
    return status ? status : lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* Length of a frame: given, that of the window, or all. Negative: not known. */
static leat_status frame_length(lt_infer *infer, const leat_value *x, int64_t *out, bool *out_known,
                                leat_error *err)
{
    const leat_value *window = lt_in(infer, 2);
    *out = window != NULL && window->rank == 1 ? window->shape[0] : x->shape[1];
    *out_known = true;
    if (lt_in(infer, 3) == NULL) {
        return LEAT_OK;
    }
    leat_status status = number(infer, 3, 1, out, out_known, err);
    *out = *out_known ? *out : -1;
    return status;
}

leat_status lt_infer_stft(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t step, length, shape[4];
    bool step_known, length_known;
    if (x.rank != 2 && x.rank != 3) {
        return lt_bad(infer, err, "a signal of rank %d", x.rank);
    }
    leat_status status = number(infer, 1, 1, &step, &step_known, err);
    if (status != LEAT_OK || (!step_known && infer->concrete)) {
        return status;
    }
    status = frame_length(infer, &x, &length, &length_known, err);
    if (status != LEAT_OK || (!length_known && infer->concrete)) {
        return status;
    }
    status = lt_vector(infer, 2, length, err);
    bool known = step_known && length >= 0 && x.shape[1] >= 0;
    if (status == LEAT_OK && known && length > x.shape[1]) {
        status = lt_bad(infer, err, "frames of %lld of a signal of %lld", (long long)length,
                        (long long)x.shape[1]);
    }
    shape[0] = x.shape[0];
    shape[1] = known ? 1 + (x.shape[1] - length) / step : -1;
    shape[2] = leat_node_int(infer->node, "onesided", 1) ? length / 2 + 1 : length;
    shape[3] = 2;
    if (status == LEAT_OK && !known) {
        status = lt_fresh(infer, &shape[1], err);
    }
    if (status == LEAT_OK && length < 0) {
        status = lt_fresh(infer, &shape[2], err);
    }
    return status ? status : lt_set(infer, 0, x.dtype, 4, shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a request gets of its batch's outputs. */
#include "base/error.h"
#include "batcher/batcher.h"
#include "batcher/pad.h"

#include <string.h>

/* Cuts an output's padded dimensions back to the request's length. Returns whether it is shorter.
 */
static bool cut_back(const leat_batcher *b, const leat_request *r, size_t o, leat_array *y)
{
    const uint32_t axes = r->length != 0 ? b->rules.padded_out[o] : 0;
    size_t count = 1;
    bool shorter = false;
    for (int32_t d = 0; d < y->rank; d++) {
        if ((axes >> d & 1) != 0 && y->shape[d] == r->padded) {
            shorter |= y->shape[d] != r->length;
            y->shape[d] = r->length;
        }
        count *= (size_t)y->shape[d];
    }
    y->bytes = leat_dtype_bytes(y->dtype, count);
    return shorter;
}

/* Output o of a request goes to its own memory, if it has any. */
static leat_status place(const leat_batcher *b, const leat_request *r, size_t o, leat_array *y,
                         leat_error *err)
{
    const leat_array *own = &r->outputs[o];
    if (r->caller_outputs == NULL) {
        return LEAT_OK;
    }
    if (own->bytes < y->bytes) {
        return lt_fail(err, LEAT_INVALID, "output '%s' needs %zu bytes, %zu were given",
                       b->io->outputs[o].name, y->bytes, own->bytes);
    }
    y->data = own->data;
    return LEAT_OK;
}

leat_status lt_batcher_hand_out(const leat_batcher *b, const leat_array *outputs, leat_request *r,
                                uint32_t row, leat_error *err)
{
    for (size_t o = 0; o < b->io->n_outputs; o++) {
        leat_array rows = outputs[o];
        const size_t row_bytes = lt_key_row_bytes(&rows);
        rows.data = (unsigned char *)rows.data + row * row_bytes;
        rows.bytes = row_bytes * r->rows;
        rows.shape[0] = r->rows;
        leat_array y = rows;
        const bool shorter = cut_back(b, r, o, &y);
        leat_status status = place(b, r, o, &y, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (y.bytes > 0 && (shorter || y.data != rows.data)) {
            lt_pad_copy(&rows, &y);
        }
        r->outputs[o] = y;
    }
    return LEAT_OK;
}

leat_status lt_batcher_copy_out(const leat_batcher *b, const leat_array *outputs, leat_request *r,
                                leat_error *err)
{
    for (size_t o = 0; o < b->io->n_outputs; o++) {
        leat_array y = outputs[o];
        leat_status status = place(b, r, o, &y, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (y.bytes > 0 && y.data != outputs[o].data) {
            memcpy(y.data, outputs[o].data, y.bytes);
        }
        r->outputs[o] = y;
    }
    return LEAT_OK;
}

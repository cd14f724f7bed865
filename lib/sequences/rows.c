/* SPDX-License-Identifier: Apache-2.0 */
/* One run of some rows. */
#include "base/error.h"
#include "batcher/sizes.h"
#include "sequences/sequences.h"

uint32_t lt_rows_planned(const leat_sequences *s, uint32_t n)
{
    return s->any_size || n == 0 ? n : lt_stepped_size(n, s->n_slots);
}

static void put_integer(int64_t *block, leat_dtype dtype, size_t i, int64_t value)
{
    if (dtype == LEAT_DTYPE_I64) {
        block[i] = value;
    } else {
        ((int32_t *)block)[i] = (int32_t)value;
    }
}

/* Lengths of the rows, numbers of the positions. */
static void put_counts(leat_sequences *s, const lt_rows *r)
{
    leat_array *lengths = s->lengths != LT_NO_INPUT ? &s->inputs[s->lengths] : NULL;
    leat_array *numbers = s->positions != LT_NO_INPUT ? &s->inputs[s->positions] : NULL;
    for (uint32_t i = 0; i < r->n; i++) {
        const uint32_t row = r->first + i;
        const int64_t length = s->owners[row] != NULL ? s->owners[row]->length : 0;
        const uint64_t end = (uint64_t)length + r->count;
        if (s->caches && s->dirty[row] < end) {
            s->dirty[row] = (uint32_t)end;
        }
        if (lengths != NULL) {
            put_integer(s->length_block, lengths->dtype, i, length);
        }
        for (uint32_t p = 0; numbers != NULL && p < r->count; p++) {
            put_integer(s->position_block, numbers->dtype, i * r->count + p, length + p);
        }
    }
    if (lengths != NULL) {
        lengths->shape[0] = r->n;
        lengths->bytes = leat_dtype_bytes(lengths->dtype, r->n);
    }
    if (numbers != NULL) {
        numbers->shape[0] = r->n;
        numbers->shape[1] = r->count;
        numbers->bytes = leat_dtype_bytes(numbers->dtype, (size_t)r->n * r->count);
    }
}

static leat_status check_outputs(const leat_sequences *s, const leat_array *outputs,
                                 const lt_rows *r, leat_error *err)
{
    for (size_t o = 0; o < s->io->n_outputs; o++) {
        const leat_array *y = &outputs[o];
        if (!lt_is_state_output(s, o) &&
            (y->rank < 1 || y->shape[0] != (int64_t)r->n ||
             (s->timed_outputs[o] && y->shape[1] != (int64_t)r->count))) {
            return lt_fail(err, LEAT_UNSUPPORTED,
                           "output '%s' has not the %u rows and %u positions of its run",
                           s->io->outputs[o].name, r->n, r->count);
        }
    }
    return LEAT_OK;
}

leat_status lt_rows_run(leat_sequences *s, const lt_rows *r, leat_error *err)
{
    leat_array *outputs = r->piece ? s->piece_outputs : s->step_outputs;
    leat_array *tokens = &s->inputs[s->tokens];
    for (size_t o = 0; o < s->io->n_outputs; o++) {
        outputs[o] = (leat_array){.dtype = LEAT_DTYPE_UNDEFINED};
    }
    lt_states_begin(s, r->first, r->n, outputs);
    put_counts(s, r);
    *tokens = s->item;
    tokens->shape[0] = r->n;
    tokens->shape[1] = s->timed ? r->count : tokens->shape[1];
    tokens->bytes = (size_t)r->n * r->count * s->item.bytes;
    tokens->data = r->tokens;
    leat_status status = leat_session_run(r->piece ? s->pieces : s->steps, s->inputs,
                                          s->io->n_inputs, outputs, s->io->n_outputs, err);
    return status ? status : check_outputs(s, outputs, r, err);
}

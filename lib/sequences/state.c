/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of states. Caches stay where they are, in a tensor of all rows, of which a run sees
 * those it has; other states are copied to a run's input and back. */
#include "base/error.h"
#include "runtime/model.h"
#include "runtime/tensor.h"
#include "sequences/sequences.h"

#include <string.h>

static unsigned char *group_at(const lt_state *state, uint32_t row, size_t group)
{
    return (unsigned char *)state->store->array.data + row * state->row_bytes +
           group * state->positions * state->inner;
}

/* Zeroes positions [from, to) of a row of a cache. */
static leat_status clear_cache(const leat_sequences *s, const lt_state *state, uint32_t row,
                               size_t from, size_t to, leat_error *err)
{
    lt_device *device = state->store->device;
    leat_status status = LEAT_OK;
    for (size_t g = 0; g < state->groups && from < to && status == LEAT_OK; g++) {
        status = lt_device_copy(device, LEAT_COPY_HOST_TO_DEVICE,
                                group_at(state, row, g) + from * state->inner, s->zeros,
                                (to - from) * state->inner, err);
    }
    return status;
}

leat_status lt_states_clear(leat_sequences *s, uint32_t row, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
        const lt_state *state = &s->states[i];
        if (state->in_place) {
            status = clear_cache(s, state, row, 0, s->dirty[row], err);
        } else {
            memset(state->rows + row * state->row_bytes, 0, state->row_bytes);
        }
    }
    s->dirty[row] = status ? s->dirty[row] : 0;
    return status;
}

static leat_status move_cache(const leat_sequences *s, const lt_state *state, uint32_t from,
                              uint32_t to, uint32_t length, leat_error *err)
{
    lt_device *device = state->store->device;
    leat_status status = LEAT_OK;
    for (size_t g = 0; g < state->groups && status == LEAT_OK; g++) {
        status = lt_device_copy(device, LEAT_COPY_DEVICE_TO_DEVICE, group_at(state, to, g),
                                group_at(state, from, g), length * state->inner, err);
    }
    return status ? status : clear_cache(s, state, to, length, s->dirty[to], err);
}

leat_status lt_states_move(leat_sequences *s, uint32_t from, uint32_t to, uint32_t length,
                           leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
        const lt_state *state = &s->states[i];
        if (state->in_place) {
            status = move_cache(s, state, from, to, length, err);
        } else {
            memcpy(state->rows + to * state->row_bytes, state->rows + from * state->row_bytes,
                   state->row_bytes);
        }
    }
    if (status == LEAT_OK || s->dirty[to] < length) {
        s->dirty[to] = length;
    }
    return status;
}

/* A run's rows of a copied state: part g of row r is at (g * n + r) * inner. */
static void gather(const leat_sequences *s, const lt_state *state, uint32_t first, uint32_t n)
{
    for (size_t g = 0; g < state->groups; g++) {
        for (uint32_t r = 0; r < n; r++) {
            unsigned char *to = state->in + (g * n + r) * state->inner;
            if (s->owners[first + r] != NULL) {
                memcpy(to, state->rows + (first + r) * state->row_bytes + g * state->inner,
                       state->inner);
            } else {
                memset(to, 0, state->inner);
            }
        }
    }
}

void lt_states_begin(leat_sequences *s, uint32_t first, uint32_t n, leat_array *outputs)
{
    for (size_t i = 0; i < s->n_states; i++) {
        lt_state *state = &s->states[i];
        leat_array *in = &s->inputs[state->input], *out = &outputs[state->output];
        *in = state->array;
        in->shape[state->row_axis] = n;
        in->bytes = n * state->row_bytes;
        *out = (leat_array){.dtype = LEAT_DTYPE_UNDEFINED};
        if (state->in_place) {
            state->view->array = *in;
            state->view->array.data = group_at(state, first, 0);
        } else {
            gather(s, state, first, n);
            in->data = state->in;
            *out = *in;
            out->data = state->out;
        }
    }
}

leat_status lt_states_end(leat_sequences *s, const leat_array *outputs, uint32_t first, uint32_t n,
                          uint32_t row, leat_error *err)
{
    for (size_t i = 0; i < s->n_states; i++) {
        const lt_state *state = &s->states[i];
        const leat_array *out = &outputs[state->output];
        if (out->bytes != n * state->row_bytes) {
            return lt_fail(err, LEAT_UNSUPPORTED, "state '%s' has %zu bytes after a run of %u rows",
                           s->io->outputs[state->output].name, out->bytes, n);
        }
        for (size_t g = 0; g < state->groups && !state->in_place; g++) {
            memcpy(state->rows + row * state->row_bytes + g * state->inner,
                   state->out + (g * n + row - first) * state->inner, state->inner);
        }
    }
    return LEAT_OK;
}

static leat_status bind(leat_sequences *s, const lt_state *state, leat_session *session,
                        leat_error *err)
{
    leat_status status =
        leat_session_bind(session, s->io->inputs[state->input].name, state->view, err);
    return status
               ? status
               : leat_session_bind(session, s->io->outputs[state->output].name, state->view, err);
}

static leat_status make_cache(leat_sequences *s, lt_state *state, const char *device,
                              leat_error *err)
{
    leat_context *context = s->model->context;
    leat_array all = state->array;
    all.shape[state->row_axis] = s->n_slots;
    leat_status status =
        leat_tensor_create(context, device, all.dtype, all.rank, all.shape, &state->store, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_tensor_wrap(context, device, &state->store->array, &state->view, err);
    status = status ? status : bind(s, state, s->steps, err);
    status = status ? status : bind(s, state, s->pieces, err);
    for (uint32_t row = 0; row < s->n_slots && status == LEAT_OK; row++) {
        status = clear_cache(s, state, row, 0, state->positions, err);
    }
    return status;
}

leat_status lt_states_make(leat_sequences *s, const char *device, leat_error *err)
{
    leat_status status = LEAT_OK;
    size_t longest = 1;
    for (size_t i = 0; i < s->n_states; i++) {
        const size_t bytes = s->states[i].positions * s->states[i].inner;
        longest = s->states[i].in_place && bytes > longest ? bytes : longest;
    }
    s->zeros = lt_arena_alloc(&s->arena, longest, LT_ALIGNMENT);
    for (size_t i = 0; i < s->n_states && status == LEAT_OK && s->zeros != NULL; i++) {
        lt_state *state = &s->states[i];
        if (state->in_place) {
            status = make_cache(s, state, device, err);
            continue;
        }
        const size_t bytes = state->row_bytes * s->n_slots;
        state->rows = lt_arena_alloc(&s->arena, bytes, LT_ALIGNMENT);
        state->in = lt_arena_alloc(&s->arena, bytes, LT_ALIGNMENT);
        state->out = lt_arena_alloc(&s->arena, bytes, LT_ALIGNMENT);
        if (state->rows == NULL || state->in == NULL || state->out == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for states of %u slots", s->n_slots);
        }
    }
    return status || s->zeros != NULL
               ? status
               : lt_fail(err, LEAT_NO_MEMORY, "no memory for states of %u slots", s->n_slots);
}

void lt_states_free(leat_sequences *s)
{
    for (size_t i = 0; s->states != NULL && i < s->n_states; i++) {
        leat_tensor_destroy(s->states[i].view);
        leat_tensor_destroy(s->states[i].store);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which input of a model is what: by the names that are given, else by those that exports have. */
#include "base/error.h"
#include "base/tensor.h"
#include "sequences/sequences.h"

#include <string.h>

size_t lt_find_io(const leat_io *ios, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ios[i].name, name) == 0) {
            return i;
        }
    }
    return LT_NO_INPUT;
}

/* The input of a name that was given, or may be there. */
static leat_status find_input(const leat_sequences *s, const char *given, const char *usual,
                              size_t *out_input, leat_error *err)
{
    *out_input = lt_find_io(s->io->inputs, s->io->n_inputs, given != NULL ? given : usual);
    return given == NULL || *out_input != LT_NO_INPUT
               ? LEAT_OK
               : lt_fail(err, LEAT_NOT_FOUND, "the model has no input '%s'", given);
}

/* The output "present..." of an input "past..." or "past_key_values..."; LT_NO_INPUT: none. */
static size_t present_of(const leat_model_signature *io, const char *past)
{
    static const char *const prefixes[] = {"past_key_values", "past"};
    for (size_t p = 0; p < 2; p++) {
        const size_t n = strlen(prefixes[p]);
        for (size_t o = 0; strncmp(past, prefixes[p], n) == 0 && o < io->n_outputs; o++) {
            const char *name = io->outputs[o].name;
            if (strncmp(name, "present", 7) == 0 && strcmp(name + 7, past + n) == 0) {
                return o;
            }
        }
    }
    return LT_NO_INPUT;
}

static bool is_state_input(const leat_sequences *s, size_t input)
{
    for (size_t i = 0; i < s->n_states; i++) {
        if (s->states[i].input == input) {
            return true;
        }
    }
    return false;
}

bool lt_is_state_output(const leat_sequences *s, size_t output)
{
    for (size_t i = 0; i < s->n_states; i++) {
        if (s->states[i].output == output) {
            return true;
        }
    }
    return false;
}

static leat_status find_states(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    const leat_model_signature *io = s->io;
    const size_t most = d->states != NULL ? d->n_states : io->n_inputs;
    s->states = lt_arena_array(&s->arena, most + 1, sizeof(*s->states));
    if (s->states == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the states of sequences");
    }
    for (size_t i = 0; i < most; i++) {
        size_t input = i, output;
        if (d->states != NULL) {
            if (d->states[i].input == NULL || d->states[i].output == NULL) {
                return lt_fail(err, LEAT_INVALID, "state %zu: a name is NULL", i);
            }
            input = lt_find_io(io->inputs, io->n_inputs, d->states[i].input);
            output = lt_find_io(io->outputs, io->n_outputs, d->states[i].output);
            if (input == LT_NO_INPUT || output == LT_NO_INPUT) {
                return lt_fail(err, LEAT_NOT_FOUND, "the model has no input '%s' or no output '%s'",
                               d->states[i].input, d->states[i].output);
            }
            if (is_state_input(s, input) || lt_is_state_output(s, output)) {
                return lt_fail(err, LEAT_INVALID, "'%s' or '%s' is of two states",
                               d->states[i].input, d->states[i].output);
            }
        } else {
            output = present_of(io, io->inputs[i].name);
        }
        if (output != LT_NO_INPUT) {
            s->states[s->n_states++] = (lt_state){.input = input, .output = output};
        }
    }
    return s->n_states > 0
               ? LEAT_OK
               : lt_fail(err, LEAT_UNSUPPORTED,
                         "the model has no states: no input 'past...' with an output 'present...' "
                         "of the same end; leat_sequences_desc.states can name them");
}

static bool same_symbol(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Finds the dimensions of rows and of positions of a state. */
static leat_status find_axes(const leat_sequences *s, lt_state *state, leat_error *err)
{
    const leat_io *in = &s->io->inputs[state->input], *out = &s->io->outputs[state->output];
    const char *rows = s->io->inputs[s->tokens].dim_names[0];
    int32_t others = 0;
    state->row_axis = state->position_axis = -1;
    for (int32_t d = 0; d < in->rank; d++) {
        if (in->shape[d] >= 0) {
            continue;
        }
        if (state->row_axis < 0 &&
            (rows == NULL || in->dim_names[d] == NULL || same_symbol(rows, in->dim_names[d]))) {
            state->row_axis = d;
        } else {
            state->position_axis = d;
            others++;
        }
    }
    if (!lt_is_movable(in->dtype) || in->dtype != out->dtype || in->rank < 1 ||
        state->row_axis < 0 || others > 1) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "state '%s': a dimension of the batch's symbol ('%s') and at most another "
                       "symbolic one are needed, and one type of whole bytes in and out",
                       in->name, rows ? rows : "none");
    }
    state->in_place = others == 1;
    const int32_t p = state->position_axis;
    if (state->in_place &&
        (out->rank != in->rank || !same_symbol(in->dim_names[p], out->dim_names[p]))) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "state '%s' grows: its length is '%s', that of '%s' is not; sequences need "
                       "caches of a fixed capacity (TensorScatter, GroupQueryAttention)",
                       in->name, in->dim_names[p] ? in->dim_names[p] : "?", out->name);
    }
    return state->in_place && state->row_axis != 0
               ? lt_fail(err, LEAT_UNSUPPORTED,
                         "cache '%s' does not begin with the batch dimension", in->name)
               : LEAT_OK;
}

/* Array of one row, and how its parts lie. */
static leat_status measure(const leat_sequences *s, lt_state *state, leat_error *err)
{
    const leat_io *io = &s->io->inputs[state->input];
    const int32_t at = state->in_place ? state->position_axis : state->row_axis;
    size_t count = 1;
    bool fits = true;
    state->groups = 1;
    state->positions = state->in_place ? (size_t)s->capacity + 1 : 1;
    state->array = (leat_array){.dtype = io->dtype, .rank = io->rank};
    for (int32_t d = 0; d < io->rank; d++) {
        const int64_t size = d == state->row_axis        ? 1
                             : d == state->position_axis ? (int64_t)state->positions
                                                         : io->shape[d];
        state->array.shape[d] = size;
        if (d < at) {
            fits = fits && lt_mul(state->groups, (size_t)size, &state->groups);
        } else if (d > at) {
            fits = fits && lt_mul(count, (size_t)size, &count);
        }
    }
    state->inner = leat_dtype_bytes(io->dtype, count);
    fits = fits && lt_shape_bytes(io->dtype, io->rank, state->array.shape, &state->row_bytes) &&
           lt_mul(state->row_bytes, s->n_slots, &count);
    state->array.bytes = state->row_bytes;
    return fits && state->row_bytes > 0
               ? LEAT_OK
               : lt_fail(err, LEAT_LIMIT, "state '%s' of %u slots is empty or too large to address",
                         io->name, s->n_slots);
}

/* Where an input is neither named nor known, it is the tokens. */
static leat_status find_tokens(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    leat_status status = find_input(s, d->tokens, "input_ids", &s->tokens, err);
    for (size_t i = 0; i < s->io->n_inputs && status == LEAT_OK; i++) {
        const char *name = s->io->inputs[i].name;
        bool known = i == s->tokens || i == s->lengths || i == s->positions || is_state_input(s, i);
        for (size_t f = 0; f < d->n_fixed && !known; f++) {
            known = d->fixed[f].name != NULL && strcmp(d->fixed[f].name, name) == 0;
        }
        if (!known && s->tokens == LT_NO_INPUT) {
            s->tokens = i;
        } else if (!known) {
            status = lt_fail(err, LEAT_INVALID,
                             "input '%s' is no state, not the tokens ('%s'), their positions or "
                             "lengths: give it in leat_sequences_desc.fixed",
                             name, s->io->inputs[s->tokens].name);
        }
    }
    return status || s->tokens != LT_NO_INPUT
               ? status
               : lt_fail(err, LEAT_UNSUPPORTED, "the model has no input for tokens");
}

/* What one position of one row of the tokens is. */
static leat_status find_item(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    const leat_io *io = &s->io->inputs[s->tokens];
    s->item = (leat_array){.dtype = io->dtype, .rank = io->rank};
    s->timed = d->frame == 0 && io->rank > 1 && io->shape[1] < 0;
    for (int32_t k = 0; k < io->rank; k++) {
        s->item.shape[k] = k == 0 || (k == 1 && s->timed) ? 1
                           : k == 1 && d->frame > 0       ? d->frame
                                                          : io->shape[k];
        if (s->item.shape[k] < 1 ||
            (k == 1 && d->frame > 0 && io->shape[1] >= 0 && io->shape[1] != d->frame)) {
            return lt_fail(err, LEAT_INVALID,
                           "tokens '%s': dimension %d is %lld; the first may be symbolic, the "
                           "second is time or leat_sequences_desc.frame (%lld) elements",
                           io->name, k, (long long)io->shape[k], (long long)d->frame);
        }
    }
    if (io->rank < 1 || io->shape[0] >= 0 || !lt_is_movable(io->dtype) ||
        !lt_shape_bytes(io->dtype, io->rank, s->item.shape, &s->item.bytes)) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "tokens '%s' do not begin with a symbolic batch dimension, or have elements "
                       "that are no whole bytes",
                       io->name);
    }
    return LEAT_OK;
}

static leat_status check_integers(const leat_sequences *s, size_t input, int32_t rank,
                                  leat_error *err)
{
    if (input == LT_NO_INPUT) {
        return LEAT_OK;
    }
    const leat_io *io = &s->io->inputs[input];
    return io->rank == rank && (io->dtype == LEAT_DTYPE_I64 || io->dtype == LEAT_DTYPE_I32)
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID, "input '%s' is not of rank %d, or not of integers",
                         io->name, rank);
}

/* Outputs that are no states have rows, and positions or else none that could be padding. */
static leat_status check_outputs(leat_sequences *s, leat_error *err)
{
    s->timed_outputs = lt_arena_array(&s->arena, s->io->n_outputs + 1, sizeof(bool));
    if (s->timed_outputs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for sequences");
    }
    for (size_t o = 0; o < s->io->n_outputs; o++) {
        const leat_io *io = &s->io->outputs[o];
        if (lt_is_state_output(s, o)) {
            continue;
        }
        if (io->rank == 0 || (io->rank > 0 && io->shape[0] >= 0)) {
            return lt_fail(err, LEAT_UNSUPPORTED,
                           "output '%s' does not begin with the batch dimension", io->name);
        }
        s->timed_outputs[o] = s->timed && io->rank > 1 && io->shape[1] < 0;
        s->exact |= !s->timed_outputs[o];
    }
    return LEAT_OK;
}

leat_status lt_roles_find(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    leat_status status = find_input(s, d->lengths, "past_length", &s->lengths, err);
    status = status ? status : find_input(s, d->positions, "position_ids", &s->positions, err);
    status = status ? status : find_states(s, d, err);
    status = status ? status : find_tokens(s, d, err);
    status = status ? status : find_item(s, d, err);
    status = status ? status : check_integers(s, s->lengths, 1, err);
    status = status ? status : check_integers(s, s->positions, s->timed ? 2 : 1, err);
    for (size_t i = 0; i < s->n_states && status == LEAT_OK; i++) {
        status = find_axes(s, &s->states[i], err);
        status = status ? status : measure(s, &s->states[i], err);
        s->caches |= s->states[i].in_place;
        s->exact |= !s->states[i].in_place;
    }
    if (status == LEAT_OK && s->caches && s->lengths == LT_NO_INPUT) {
        status = lt_fail(err, LEAT_UNSUPPORTED,
                         "the model has caches but no input 'past_length' to say how much each row "
                         "holds; leat_sequences_desc.lengths can name another");
    }
    return status ? status : check_outputs(s, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The life of sequences, and what callers do between steps. */
#include "sequences/sequences.h"

#include "base/error.h"
#include "batcher/sizes.h"
#include "runtime/model.h"

#include <string.h>

static leat_status no_memory(const leat_sequences *s, leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory for %u sequences of %u positions", s->n_slots,
                   s->capacity);
}

static leat_status check_desc(const leat_sequences_desc *d, leat_error *err)
{
    if (d->struct_size != sizeof(*d)) {
        return lt_fail(
            err, LEAT_INVALID,
            "leat_sequences_desc.struct_size is %zu: set it to sizeof(leat_sequences_desc)",
            d->struct_size);
    }
    if (d->n_slots > LT_MAX_SLOTS || d->capacity > 1u << 24 || d->max_piece > 1u << 16 ||
        (d->max_piece & (d->max_piece - 1)) != 0 || d->frame < 0 ||
        (d->states == NULL && d->n_states != 0) || (d->fixed == NULL && d->n_fixed != 0)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_sequences_desc: a number is out of range (slots up to %u, capacity "
                       "2^24, max_piece a power of two up to 2^16), or a list is missing",
                       LT_MAX_SLOTS);
    }
    if (d->session != NULL && d->session->struct_size != sizeof(*d->session)) {
        return lt_fail(err, LEAT_INVALID, "leat_session_desc.struct_size is %zu",
                       d->session->struct_size);
    }
    return LEAT_OK;
}

static leat_status copy_fixed(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    for (size_t f = 0; f < d->n_fixed; f++) {
        const leat_array *value = &d->fixed[f].value;
        const char *name = d->fixed[f].name;
        const size_t i = name ? lt_find_io(s->io->inputs, s->io->n_inputs, name) : LT_NO_INPUT;
        if (i == LT_NO_INPUT) {
            return lt_fail(err, LEAT_NOT_FOUND, "the model has no input '%s'",
                           name ? name : "(NULL)");
        }
        if (value->dtype == LEAT_DTYPE_STRING || value->dtype >= LEAT_DTYPE_COUNT ||
            (value->data == NULL && value->bytes != 0)) {
            return lt_fail(err, LEAT_INVALID, "input '%s': a fixed value is numbers", name);
        }
        s->inputs[i] = *value;
        s->inputs[i].data = lt_arena_alloc(&s->arena, value->bytes + 1, LT_ALIGNMENT);
        if (s->inputs[i].data == NULL) {
            return no_memory(s, err);
        }
        if (value->bytes > 0) {
            memcpy(s->inputs[i].data, value->data, value->bytes);
        }
    }
    return LEAT_OK;
}

/* Integers of a run, one or several a row. */
static bool make_integers(leat_sequences *s, size_t input, int64_t **out_block)
{
    if (input == LT_NO_INPUT) {
        return true;
    }
    const leat_io *io = &s->io->inputs[input];
    const size_t most = s->max_piece > s->n_slots ? s->max_piece : s->n_slots;
    *out_block = lt_arena_array(&s->arena, most, sizeof(**out_block));
    s->inputs[input] = (leat_array){.dtype = io->dtype, .rank = io->rank, .data = *out_block};
    return *out_block != NULL;
}

static leat_status make_slots(leat_sequences *s, leat_error *err)
{
    const size_t n = s->n_slots;
    size_t bytes;
    s->slots = lt_arena_array(&s->arena, n, sizeof(*s->slots));
    s->owners = lt_arena_array(&s->arena, n, sizeof(lt_sequence *));
    s->dirty = lt_arena_array(&s->arena, n, sizeof(*s->dirty));
    s->results = lt_arena_array(&s->arena, n, sizeof(*s->results));
    s->step_tokens = lt_arena_array(&s->arena, n, s->item.bytes);
    s->piece_tokens = lt_arena_array(&s->arena, s->max_piece, s->item.bytes);
    unsigned char *items =
        lt_mul(s->capacity, s->item.bytes, &bytes) ? lt_arena_array(&s->arena, n, bytes) : NULL;
    if (s->slots == NULL || s->owners == NULL || s->dirty == NULL || s->results == NULL ||
        s->step_tokens == NULL || s->piece_tokens == NULL || items == NULL ||
        !make_integers(s, s->lengths, &s->length_block) ||
        !make_integers(s, s->positions, &s->position_block)) {
        return no_memory(s, err);
    }
    for (size_t i = 0; i < n; i++) {
        s->slots[i].row = LT_NO_ROW;
        s->slots[i].items = items + i * bytes;
    }
    return LEAT_OK;
}

static leat_status open_sessions(leat_sequences *s, const leat_session_desc *wanted,
                                 leat_error *err)
{
    leat_session_desc desc = {.struct_size = sizeof(desc)};
    desc = wanted != NULL ? *wanted : desc;
    const bool own = desc.max_plans == 0;
    desc.max_plans = own ? s->n_slots + 1 : desc.max_plans;
    leat_status status = leat_session_create(s->model, &desc, &s->steps, err);
    desc.max_plans = own ? LT_PIECE_STEPS * LT_ROW_STEPS : desc.max_plans; /* all there may be */
    status = status ? status : leat_session_create(s->model, &desc, &s->pieces, err);
    const bool named = desc.devices != NULL && desc.n_devices > 0;
    return status ? status : lt_states_make(s, named ? desc.devices[0] : "cpu", err);
}

static leat_status build(leat_sequences *s, const leat_sequences_desc *d, leat_error *err)
{
    s->inputs = lt_arena_array(&s->arena, s->io->n_inputs + 1, sizeof(leat_array));
    s->step_outputs = lt_arena_array(&s->arena, s->io->n_outputs + 1, sizeof(leat_array));
    s->piece_outputs = lt_arena_array(&s->arena, s->io->n_outputs + 1, sizeof(leat_array));
    if (s->inputs == NULL || s->step_outputs == NULL || s->piece_outputs == NULL) {
        return no_memory(s, err);
    }
    leat_status status = lt_roles_find(s, d, err);
    status = status ? status : copy_fixed(s, d, err);
    s->max_piece = s->timed ? s->max_piece : 1;
    status = status ? status : make_slots(s, err);
    status = status ? status : open_sessions(s, d->session, err);
    return status ? status : lt_sequences_try(s, err);
}

leat_status leat_sequences_create(leat_model *model, const leat_sequences_desc *desc,
                                  leat_sequences **out_sequences, leat_error *err)
{
    static const leat_sequences_desc defaults = {.struct_size = sizeof(defaults)};
    if (out_sequences != NULL) {
        *out_sequences = NULL;
    }
    if (model == NULL || out_sequences == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_sequences_create: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_memory *memory = &model->context->memory;
    leat_sequences *s = lt_alloc_zeroed(memory, sizeof(*s), LT_ALIGNMENT);
    if (s == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for sequences");
    }
    s->memory = memory;
    s->model = model;
    s->io = leat_model_io(model);
    s->n_slots = desc->n_slots ? desc->n_slots : 8;
    s->capacity = desc->capacity ? desc->capacity : 2048;
    s->max_piece = desc->max_piece ? desc->max_piece : 32;
    s->any_size = lt_on_cpu(desc->session);
    s->clock = desc->clock;
    s->clock_user = desc->clock_user;
    lt_arena_init(&s->arena, memory, 0);
    pthread_mutex_init(&s->lock, NULL);
    status = build(s, desc, err);
    if (status != LEAT_OK) {
        leat_sequences_destroy(s);
        return status;
    }
    *out_sequences = s;
    return LEAT_OK;
}

void leat_sequences_destroy(leat_sequences *s)
{
    if (s == NULL) {
        return;
    }
    leat_session_destroy(s->steps);
    leat_session_destroy(s->pieces);
    lt_states_free(s);
    pthread_mutex_destroy(&s->lock);
    lt_arena_destroy(&s->arena);
    lt_free(s->memory, s, sizeof(*s));
}

/* The sequence of a number; NULL when it is not there. The caller holds the lock. */
static lt_sequence *find(leat_sequences *s, uint64_t id)
{
    lt_sequence *q = &s->slots[id % LT_MAX_SLOTS < s->n_slots ? id % LT_MAX_SLOTS : 0];
    return id != 0 && q->id == id && q->use != LT_SLOT_FREE && q->use != LT_SLOT_LEAVING ? q : NULL;
}

leat_status leat_sequences_join(leat_sequences *s, uint64_t *out_sequence, leat_error *err)
{
    if (out_sequence != NULL) {
        *out_sequence = 0;
    }
    if (s == NULL || out_sequence == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_sequences_join: an argument is NULL");
    }
    pthread_mutex_lock(&s->lock);
    uint32_t i = 0;
    while (i < s->n_slots && s->slots[i].use != LT_SLOT_FREE) {
        i++;
    }
    if (i < s->n_slots) {
        lt_sequence *q = &s->slots[i];
        q->use = LT_SLOT_LIVE;
        q->id = *out_sequence = ++s->next_id * LT_MAX_SLOTS + i;
        q->length = 0;
        q->waiting = q->taken = 0;
        q->outputs = NULL;
        lt_error_clear(&q->err);
        s->stats.joined++;
        s->stats.live++;
    }
    pthread_mutex_unlock(&s->lock);
    return *out_sequence != 0 ? LEAT_OK
                              : lt_fail(err, LEAT_BUSY, "all %u slots are taken", s->n_slots);
}

static leat_status append(leat_sequences *s, uint64_t id, const void *items, size_t n,
                          leat_error *err)
{
    lt_sequence *q = find(s, id);
    if (q == NULL || q->use == LT_SLOT_FAILED) {
        return lt_fail(err, LEAT_INVALID, q ? "the sequence has failed: %s" : "no such sequence%s",
                       q ? q->err.message : "");
    }
    const uint64_t there = (uint64_t)(s->caches ? q->length : 0) + q->waiting;
    if (n > s->capacity || there + n > s->capacity) {
        return lt_fail(err, LEAT_LIMIT,
                       "%zu positions behind %llu are more than leat_sequences_desc.capacity, %u",
                       n, (unsigned long long)there, s->capacity);
    }
    q->order = q->waiting == 0 ? s->next_order++ : q->order;
    memcpy(q->items + q->waiting * s->item.bytes, items, n * s->item.bytes);
    q->waiting += (uint32_t)n;
    return LEAT_OK;
}

leat_status leat_sequences_push(leat_sequences *s, uint64_t id, const void *items, size_t n,
                                leat_error *err)
{
    if (s == NULL || items == NULL || n == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_sequences_push: an argument is NULL, or no position");
    }
    pthread_mutex_lock(&s->lock);
    leat_status status = append(s, id, items, n, err);
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* The row and position of a run's output that are a sequence's. */
static leat_array last_of(const leat_sequences *s, const lt_sequence *q, size_t output)
{
    leat_array y = q->outputs[output];
    const int64_t rows = y.shape[0];
    y.bytes /= (size_t)rows;
    y.data = (unsigned char *)y.data + q->result_row * y.bytes;
    y.shape[0] = 1;
    if (s->timed_outputs[output] && y.shape[1] > 0) {
        y.bytes /= (size_t)y.shape[1];
        y.data = (unsigned char *)y.data + q->result_position * y.bytes;
        y.shape[1] = 1;
    }
    return y;
}

leat_status leat_sequences_result(leat_sequences *s, uint64_t id, size_t output,
                                  leat_array *out_array, leat_error *err)
{
    if (out_array != NULL) {
        *out_array = (leat_array){0};
    }
    if (s == NULL || out_array == NULL || output >= s->io->n_outputs ||
        lt_is_state_output(s, output)) {
        return lt_fail(
            err, LEAT_INVALID,
            "leat_sequences_result: an argument is NULL, or output %zu is a state or not "
            "there",
            output);
    }
    pthread_mutex_lock(&s->lock);
    const lt_sequence *q = find(s, id);
    leat_status status = LEAT_OK;
    if (q != NULL && q->use == LT_SLOT_FAILED) {
        status = lt_fail(err, q->err.status, "%s", q->err.message);
    } else if (q == NULL || q->outputs == NULL || s->stepping) {
        status = lt_fail(err, LEAT_INVALID, "the sequence has no result of the last step");
    } else {
        *out_array = last_of(s, q, output);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void lt_sequences_free(leat_sequences *s, lt_sequence *q)
{
    if (q->row != LT_NO_ROW) {
        s->owners[q->row] = NULL;
        q->row = LT_NO_ROW;
    }
    q->use = LT_SLOT_FREE;
    q->id = 0;
}

void leat_sequences_leave(leat_sequences *s, uint64_t id)
{
    pthread_mutex_lock(&s->lock);
    lt_sequence *q = find(s, id);
    if (q != NULL) {
        s->stats.left++;
        s->stats.live--;
        q->use = LT_SLOT_LEAVING;
        if (!s->stepping) {
            lt_sequences_free(s, q);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void leat_sequences_read_stats(leat_sequences *s, leat_sequences_stats *out_stats)
{
    const size_t size = out_stats->struct_size;
    pthread_mutex_lock(&s->lock);
    leat_sequences_stats stats = s->stats;
    pthread_mutex_unlock(&s->lock);
    stats.struct_size = size;
    memcpy(out_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
}

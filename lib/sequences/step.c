/* SPDX-License-Identifier: Apache-2.0 */
/* A step: which positions are run, the batched run and a piece, what comes of them. */
#include "base/clock.h"
#include "base/error.h"
#include "batcher/times.h"
#include "sequences/sequences.h"

#include <string.h>

enum {
    TRIES = 3 /* of a shape: the plan, the device's graph, and one whose time is measured */
};

typedef struct step {
    lt_rows batch;  /* one position each of these rows; n is 0: none */
    lt_rows pieces; /* several; n is 0: none */
    uint32_t moves;
} step;

/* Whether a failure is of the machine, not of what was run. */
static bool is_common(leat_status status)
{
    return status == LEAT_DEVICE_LOST || status == LEAT_NO_MEMORY || status == LEAT_CANCELLED ||
           status == LEAT_LIMIT || status == LEAT_IO || status == LEAT_BUSY;
}

static uint32_t lowest_free_row(const leat_sequences *s)
{
    uint32_t row = 0;
    while (row < s->n_slots && s->owners[row] != NULL) {
        row++;
    }
    return row;
}

/* Chooses who is in the batched run: those with one position. All that wait get rows. The caller
 * holds the lock. */
static step choose(leat_sequences *s)
{
    step now = {.batch = {false, 0, 0, 1, s->step_tokens}};
    for (uint32_t i = 0; i < s->n_slots; i++) {
        lt_sequence *q = &s->slots[i];
        q->outputs = NULL;
        q->taken = 0;
        q->in_piece = false;
        if (q->use != LT_SLOT_LIVE || q->waiting == 0) {
            continue;
        }
        if (q->row == LT_NO_ROW) {
            q->row = lowest_free_row(s);
            q->fresh = true;
            s->owners[q->row] = q;
        }
        q->taken = q->waiting == 1 || s->max_piece == 1;
    }
    return now;
}

/* Rows in the batched run, and the last one of them. */
static uint32_t count_rows(const leat_sequences *s, uint32_t *out_last)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < s->n_slots; row++) {
        if (s->owners[row] != NULL && s->owners[row]->taken > 0) {
            n++;
            *out_last = row;
        }
    }
    return n;
}

/* Clears the rows of new sequences, and moves rows down to free ones while that makes the batched
 * run smaller. */
static leat_status settle_rows(leat_sequences *s, step *now, leat_error *err)
{
    leat_status status = LEAT_OK;
    uint32_t last = 0;
    for (uint32_t row = 0; row < s->n_slots && status == LEAT_OK; row++) {
        if (s->owners[row] != NULL && s->owners[row]->fresh) {
            status = lt_states_clear(s, row, err);
            s->owners[row]->fresh = status != LEAT_OK;
        }
    }
    const uint32_t n = count_rows(s, &last);
    while (n > 0 && status == LEAT_OK) {
        const uint32_t free = lowest_free_row(s);
        now->batch.n = lt_rows_planned(s, last + 1);
        if (now->batch.n <= lt_rows_planned(s, n) || free > last) {
            break;
        }
        lt_sequence *q = s->owners[last];
        status = lt_states_move(s, last, free, (uint32_t)(s->caches ? q->length : 0), err);
        if (status == LEAT_OK) {
            s->owners[last] = NULL;
            s->owners[free] = q;
            q->row = free;
            now->moves++;
            (void)count_rows(s, &last);
        }
    }
    return status;
}

/* Puts the positions together. Rows of the batched run whose prompts wait for a piece have one
 * position run meanwhile. The caller holds the lock. */
static void take(leat_sequences *s, step *now)
{
    now->pieces = lt_pieces_take(s);
    memset(s->step_tokens, 0, s->n_slots * s->item.bytes);
    for (uint32_t row = 0; row < now->batch.n; row++) {
        lt_sequence *q = s->owners[row];
        if (q != NULL && !q->in_piece) {
            q->taken = q->use == LT_SLOT_LIVE && q->waiting > 0;
        }
        if (q != NULL && !q->in_piece && q->taken > 0) {
            memcpy(s->step_tokens + row * s->item.bytes, q->items, s->item.bytes);
        }
    }
}

/* Whether a row of a run has positions in it that count. */
static bool counts(const leat_sequences *s, const lt_rows *r, uint32_t row)
{
    const lt_sequence *q = s->owners[row];
    return q != NULL && q->taken > 0 && q->in_piece == r->piece;
}

/* What a run's rows took is given up. */
static void give_up(const leat_sequences *s, const lt_rows *r)
{
    for (uint32_t row = 0; row < s->n_slots; row++) {
        if (counts(s, r, row)) {
            s->owners[row]->taken = 0;
        }
    }
}

/* Runs the rows of a run that failed one by one, to find those that fail alone. */
static leat_status find_failing(leat_sequences *s, const lt_rows *r, uint32_t *out_good,
                                uint32_t *out_failing, leat_error *err)
{
    const size_t bytes = r->count * s->item.bytes;
    *out_good = *out_failing = 0;
    for (uint32_t row = r->first; row < r->first + r->n; row++) {
        if (!counts(s, r, row)) {
            continue;
        }
        unsigned char *tokens = r->tokens + (row - r->first) * bytes;
        const lt_rows alone = {true, row, 1, r->count, tokens};
        leat_error own = {0};
        leat_status status = lt_rows_run(s, &alone, &own);
        if (status == LEAT_OK) {
            ++*out_good;
            continue;
        }
        if (is_common(status)) {
            *err = own;
            return status;
        }
        ++*out_failing;
        s->owners[row]->err = own;
        s->owners[row]->taken = 0;
        memset(tokens, 0, bytes);
    }
    return LEAT_OK;
}

/* Takes over what a run gave. */
static leat_status end_run(leat_sequences *s, const lt_rows *r, leat_error *err)
{
    const leat_array *outputs = r->piece ? s->piece_outputs : s->step_outputs;
    leat_status status = LEAT_OK;
    for (uint32_t row = r->first; row < r->first + r->n && status == LEAT_OK; row++) {
        if (counts(s, r, row)) {
            lt_sequence *q = s->owners[row];
            status = lt_states_end(s, outputs, r->first, r->n, row, err);
            q->outputs = outputs;
            q->result_row = row - r->first;
            q->result_position = q->taken - 1;
        }
    }
    return status;
}

/* Runs rows, and where that fails finds whose fault it is. */
static leat_status run(leat_sequences *s, const lt_rows *r, leat_error *err)
{
    leat_error first = {0};
    leat_status status = r->n > 0 ? lt_rows_run(s, r, &first) : LEAT_OK;
    if (status != LEAT_OK && !is_common(status)) {
        uint32_t good, failing;
        leat_status found = find_failing(s, r, &good, &failing, &first);
        status = found                      ? found
                 : failing > 0 && good == 0 ? LEAT_OK
                 : failing > 0              ? lt_rows_run(s, r, &first)
                                            : status;
    }
    status = status ? status : end_run(s, r, &first);
    if (status != LEAT_OK) {
        give_up(s, r);
        if (err != NULL) {
            *err = first;
        }
    }
    return status;
}

static leat_status run_all(leat_sequences *s, const step *now, leat_error *err)
{
    leat_status status = run(s, &now->batch, err);
    const uint64_t begin = lt_sequences_now(s);
    leat_status pieces = run(s, &now->pieces, status ? NULL : err);
    if (pieces == LEAT_OK && now->pieces.n > 0) {
        lt_pieces_ran(s, &now->pieces, lt_sequences_now(s) - begin, false);
    }
    return status ? status : pieces;
}

/* What came of one sequence. The caller holds the lock. */
static void finish(leat_sequences *s, lt_sequence *q)
{
    if (q->use == LT_SLOT_LEAVING) {
        lt_sequences_free(s, q);
        return;
    }
    if (q->use != LT_SLOT_LIVE) {
        return;
    }
    if (q->err.status != LEAT_OK) {
        s->owners[q->row] = NULL;
        q->row = LT_NO_ROW;
        q->use = LT_SLOT_FAILED;
        s->stats.failed++;
        s->results[s->n_results++] = (leat_step_result){q->id, q->err.status};
        return;
    }
    if (q->taken == 0) {
        return;
    }
    q->waiting -= q->taken;
    q->length += q->taken;
    memmove(q->items, q->items + q->taken * s->item.bytes, q->waiting * s->item.bytes);
    if (q->waiting == 0) {
        s->results[s->n_results++] = (leat_step_result){q->id, LEAT_OK};
    } else {
        q->outputs = NULL;
    }
}

static void finish_all(leat_sequences *s, const step *now, uint64_t *out_positions)
{
    uint32_t batched = 0;
    *out_positions = 0;
    for (uint32_t i = 0; i < s->n_slots; i++) {
        lt_sequence *q = &s->slots[i];
        *out_positions += q->taken;
        batched += q->taken > 0 && !q->in_piece;
        finish(s, q);
    }
    s->stats.positions += *out_positions;
    s->stats.steps += *out_positions > 0;
    if (batched > 0) {
        s->stats.rows += batched;
        s->stats.fill_rows += now->batch.n - batched;
    }
    s->stats.pieces += now->pieces.n;
    s->stats.piece_runs += now->pieces.n > 0;
    s->stats.moves += now->moves;
}

static leat_status begin(leat_sequences *s, leat_error *err)
{
    pthread_mutex_lock(&s->lock);
    const bool taken = s->stepping;
    s->stepping = true;
    if (taken) {
        pthread_mutex_unlock(&s->lock);
        return lt_fail(err, LEAT_BUSY, "a step of these sequences runs already");
    }
    return LEAT_OK;
}

leat_status leat_sequences_step(leat_sequences *s, leat_step *out_step, leat_error *err)
{
    if (s == NULL || out_step == NULL || out_step->struct_size != sizeof(*out_step)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_sequences_step: an argument is NULL, or leat_step.struct_size is not "
                       "sizeof(leat_step)");
    }
    *out_step = (leat_step){.struct_size = sizeof(*out_step)};
    leat_status status = begin(s, err);
    if (status != LEAT_OK) {
        return status;
    }
    const uint64_t begun = lt_sequences_now(s);
    step now = choose(s);
    pthread_mutex_unlock(&s->lock);
    s->n_results = 0;
    status = settle_rows(s, &now, err);
    pthread_mutex_lock(&s->lock);
    if (status == LEAT_OK) {
        take(s, &now);
    } else {
        give_up(s, &now.batch);
    }
    pthread_mutex_unlock(&s->lock);
    status = status ? status : run_all(s, &now, err);
    pthread_mutex_lock(&s->lock);
    finish_all(s, &now, &out_step->positions);
    if (out_step->positions > 0) {
        lt_time_count(&s->stats.step, lt_sequences_now(s) - begun);
    }
    s->stepping = false;
    pthread_mutex_unlock(&s->lock);
    out_step->results = s->results;
    out_step->n_results = s->n_results;
    return status;
}

/* A run of rows whose tokens are zeros, which counts for nothing. */
static leat_status try_rows(leat_sequences *s, bool piece, uint32_t first, uint32_t n,
                            uint32_t count, leat_error *err)
{
    unsigned char *tokens = piece ? s->piece_tokens : s->step_tokens;
    memset(tokens, 0, (size_t)n * count * s->item.bytes);
    const lt_rows rows = {piece, first, n, count, tokens};
    return lt_rows_run(s, &rows, err);
}

uint64_t lt_sequences_now(const leat_sequences *s)
{
    return s->clock != NULL ? s->clock(s->clock_user) : lt_clock_ns();
}

leat_status lt_sequences_try(leat_sequences *s, leat_error *err)
{
    return try_rows(s, false, 0, lt_rows_planned(s, 1), 1, err);
}

/* The n rows beside each other with the most room. */
static uint32_t roomiest_rows(const leat_sequences *s, uint32_t n, uint64_t *out_room)
{
    uint32_t best = 0;
    *out_room = 0;
    for (uint32_t first = 0; first + n <= s->n_slots; first++) {
        uint64_t room = s->caches ? (uint64_t)s->capacity + 1 : UINT64_MAX;
        for (uint32_t row = first; row < first + n && s->caches; row++) {
            const lt_sequence *q = s->owners[row];
            const uint64_t own = (uint64_t)s->capacity + 1 - (uint64_t)(q ? q->length : 0);
            room = own < room ? own : room;
        }
        if (room > *out_room) {
            *out_room = room;
            best = first;
        }
    }
    return best;
}

/* Pieces in each shape, of as many rows as there may be in one run; what each takes. */
static leat_status warm_pieces(leat_sequences *s, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t n = 1; n <= s->n_slots && n <= s->max_piece && status == LEAT_OK; n *= 2) {
        uint64_t room;
        const uint32_t first = roomiest_rows(s, n, &room);
        for (uint32_t count = n == 1 ? 1 : 2;
             n * count <= s->max_piece && count <= room && status == LEAT_OK; count *= 2) {
            const lt_rows rows = {true, first, n, count, s->piece_tokens};
            uint64_t begin = 0;
            for (int i = 0; i < TRIES && status == LEAT_OK; i++) {
                begin = lt_sequences_now(s);
                status = try_rows(s, true, first, n, count, err);
            }
            lt_pieces_ran(s, &rows, lt_sequences_now(s) - begin, status == LEAT_OK);
        }
    }
    return status;
}

leat_status leat_sequences_warm(leat_sequences *s, leat_error *err)
{
    if (s == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_sequences_warm: an argument is NULL");
    }
    leat_status status = begin(s, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < s->n_slots; i++) {
        s->slots[i].outputs = NULL;
        s->slots[i].taken = 0;
    }
    pthread_mutex_unlock(&s->lock);
    for (uint32_t n = 1; n <= s->n_slots && status == LEAT_OK; n++) {
        if (lt_rows_planned(s, n) == n) {
            status = try_rows(s, false, 0, n, 1, err);
        }
    }
    status = status ? status : warm_pieces(s, err);
    const step nothing = {.moves = 0};
    uint64_t positions;
    pthread_mutex_lock(&s->lock);
    s->n_results = 0;
    finish_all(s, &nothing, &positions);
    s->stepping = false;
    pthread_mutex_unlock(&s->lock);
    return status;
}

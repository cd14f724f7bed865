/* SPDX-License-Identifier: Apache-2.0 */
/* A step: which positions are run, the batched run and a piece, what comes of them. */
#include "base/error.h"
#include "sequences/sequences.h"

#include <string.h>

typedef struct step {
    lt_sequence *piece; /* has several positions run alone; NULL: nobody */
    uint32_t count;     /* positions of that run, padding among them */
    uint32_t rows;      /* of the batched run; 0: none */
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

/* Chooses who has a piece and who is in the batched run: those with one position. All get rows. The
 * caller holds the lock. */
static step choose(leat_sequences *s)
{
    step now = {NULL, 0, 0, 0};
    for (uint32_t i = 0; i < s->n_slots; i++) {
        lt_sequence *q = &s->slots[i];
        q->outputs = NULL;
        q->taken = 0;
        if (q->use != LT_SLOT_LIVE || q->waiting == 0) {
            continue;
        }
        if (q->row == LT_NO_ROW) {
            q->row = lowest_free_row(s);
            q->fresh = true;
            s->owners[q->row] = q;
        }
        if (q->waiting == 1 || s->max_piece == 1) {
            q->taken = 1;
        } else if (now.piece == NULL || q->order < now.piece->order) {
            now.piece = q;
        }
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
        now->rows = lt_rows_planned(s, last + 1);
        if (now->rows <= lt_rows_planned(s, n) || free > last) {
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

static void take_piece(leat_sequences *s, step *now)
{
    lt_sequence *q = now->piece;
    uint32_t take = q->waiting < s->max_piece ? q->waiting : s->max_piece, count = 1;
    while (count < take) {
        count *= 2;
    }
    while (s->exact ? count > take
                    : s->caches && (uint64_t)q->length + count > (uint64_t)s->capacity + 1) {
        count /= 2;
    }
    q->taken = take < count ? take : count;
    now->count = count;
    memset(s->piece_tokens, 0, count * s->item.bytes);
    memcpy(s->piece_tokens, q->items, q->taken * s->item.bytes);
}

/* Puts the positions together. Rows of the batched run whose prompts wait for a piece have one
 * position run meanwhile. The caller holds the lock. */
static void take(leat_sequences *s, step *now)
{
    memset(s->step_tokens, 0, s->n_slots * s->item.bytes);
    for (uint32_t row = 0; row < now->rows; row++) {
        lt_sequence *q = s->owners[row];
        if (q != NULL && q != now->piece && q->use == LT_SLOT_LIVE && q->waiting > 0) {
            q->taken = 1;
            memcpy(s->step_tokens + row * s->item.bytes, q->items, s->item.bytes);
        } else if (q != NULL) {
            q->taken = 0;
        }
    }
    if (now->piece != NULL) {
        take_piece(s, now);
    }
}

/* What all but the piece took is given up. */
static void give_up(const leat_sequences *s, const step *now)
{
    for (uint32_t row = 0; row < s->n_slots; row++) {
        if (s->owners[row] != NULL && s->owners[row] != now->piece) {
            s->owners[row]->taken = 0;
        }
    }
}

static bool in_batch(const leat_sequences *s, const step *now, uint32_t row)
{
    return s->owners[row] != NULL && s->owners[row] != now->piece && s->owners[row]->taken > 0;
}

/* Runs the rows of a batched run that failed one by one, to find those that fail alone. */
static leat_status find_failing(leat_sequences *s, const step *now, uint32_t *out_good,
                                uint32_t *out_failing, leat_error *err)
{
    *out_good = *out_failing = 0;
    for (uint32_t row = 0; row < now->rows; row++) {
        if (!in_batch(s, now, row)) {
            continue;
        }
        const lt_rows alone = {true, row, 1, 1, s->step_tokens + row * s->item.bytes};
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
        memset(s->step_tokens + row * s->item.bytes, 0, s->item.bytes);
    }
    return LEAT_OK;
}

/* Takes over what a batched run gave. */
static leat_status end_batch(leat_sequences *s, const step *now, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t row = 0; row < now->rows && status == LEAT_OK; row++) {
        if (in_batch(s, now, row)) {
            status = lt_states_end(s, s->step_outputs, 0, now->rows, row, err);
            s->owners[row]->outputs = s->step_outputs;
            s->owners[row]->result_row = row;
            s->owners[row]->result_position = 0;
        }
    }
    return status;
}

static leat_status run_batch(leat_sequences *s, const step *now, leat_error *err)
{
    const lt_rows all = {false, 0, now->rows, 1, s->step_tokens};
    leat_error first = {0};
    leat_status status = now->rows > 0 ? lt_rows_run(s, &all, &first) : LEAT_OK;
    if (status != LEAT_OK && !is_common(status)) {
        uint32_t good, failing;
        leat_status found = find_failing(s, now, &good, &failing, &first);
        status = found                      ? found
                 : failing > 0 && good == 0 ? LEAT_OK
                 : failing > 0              ? lt_rows_run(s, &all, &first)
                                            : status;
    }
    status = status ? status : end_batch(s, now, &first);
    if (status != LEAT_OK) {
        give_up(s, now);
        if (err != NULL) {
            *err = first;
        }
    }
    return status;
}

static leat_status run_piece(leat_sequences *s, const step *now, leat_error *err)
{
    lt_sequence *q = now->piece;
    if (q == NULL) {
        return LEAT_OK;
    }
    const lt_rows piece = {true, q->row, 1, now->count, s->piece_tokens};
    leat_error own = {0};
    leat_status status = lt_rows_run(s, &piece, &own);
    status = status ? status : lt_states_end(s, s->piece_outputs, q->row, 1, q->row, &own);
    q->outputs = status ? NULL : s->piece_outputs;
    q->result_row = 0;
    q->result_position = q->taken - 1;
    if (status == LEAT_OK) {
        return LEAT_OK;
    }
    q->taken = 0;
    if (!is_common(status)) {
        q->err = own; /* it has failed */
        return LEAT_OK;
    }
    if (err != NULL) {
        *err = own;
    }
    return status;
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
        batched += q->taken > 0 && q != now->piece;
        finish(s, q);
    }
    s->stats.positions += *out_positions;
    s->stats.steps += *out_positions > 0;
    if (batched > 0) {
        s->stats.rows += batched;
        s->stats.fill_rows += now->rows - batched;
    }
    s->stats.pieces += now->count > 0;
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
    step now = choose(s);
    pthread_mutex_unlock(&s->lock);
    s->n_results = 0;
    status = settle_rows(s, &now, err);
    pthread_mutex_lock(&s->lock);
    if (status == LEAT_OK) {
        take(s, &now);
    } else {
        give_up(s, &now);
    }
    pthread_mutex_unlock(&s->lock);
    if (status == LEAT_OK) {
        status = run_batch(s, &now, err);
        leat_status piece = run_piece(s, &now, status ? NULL : err);
        status = status ? status : piece;
    }
    pthread_mutex_lock(&s->lock);
    finish_all(s, &now, &out_step->positions);
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

leat_status lt_sequences_try(leat_sequences *s, leat_error *err)
{
    return try_rows(s, false, 0, lt_rows_planned(s, 1), 1, err);
}

/* The row with the most room. */
static uint32_t roomiest_row(const leat_sequences *s, uint64_t *out_room)
{
    uint32_t best = 0;
    *out_room = 0;
    for (uint32_t row = 0; row < s->n_slots; row++) {
        const lt_sequence *q = s->owners[row];
        const uint64_t room = (uint64_t)s->capacity + 1 - (uint64_t)(q ? q->length : 0);
        if (!s->caches || room > *out_room) {
            *out_room = s->caches ? room : UINT64_MAX;
            best = row;
        }
    }
    return best;
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
    uint64_t room;
    const uint32_t row = roomiest_row(s, &room);
    for (uint32_t count = 1; count <= s->max_piece && count <= room && status == LEAT_OK;
         count *= 2) {
        status = try_rows(s, true, row, 1, count, err);
    }
    const step nothing = {NULL, 0, 0, 0};
    uint64_t positions;
    pthread_mutex_lock(&s->lock);
    s->n_results = 0;
    finish_all(s, &nothing, &positions);
    s->stepping = false;
    pthread_mutex_unlock(&s->lock);
    return status;
}

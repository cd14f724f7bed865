/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are answered without a run of their own: from the answers that are kept, or by an
 * equal request under way (single flight). The request that runs leads its flight; those that
 * follow it are in no queue. When it fails, is cancelled or expires, the next one leads. */
#include "base/error.h"
#include "batcher/batcher.h"

#include <stdatomic.h>
#include <string.h>

bool lt_flights_make(leat_batcher *b)
{
    for (b->n_flights = 16; b->n_flights < b->desc.queue_limit; b->n_flights *= 2) {
    }
    b->flights = lt_arena_array(&b->arena, b->n_flights, sizeof(*b->flights));
    b->answers = lt_arena_array(&b->arena, 1, sizeof(*b->answers));
    if (b->flights == NULL || b->answers == NULL) {
        return false;
    }
    if (!lt_answers_make(b->answers, b->memory, b->io, b->desc.answer_bytes)) {
        b->answers = NULL;
    }
    return b->answers != NULL;
}

/* ---- the table of leaders, by hash. The caller holds the lock. ------------------------------- */

static leat_request **flight_of(const leat_batcher *b, uint64_t hash)
{
    return &b->flights[hash & (b->n_flights - 1)];
}

static leat_request *find_leader(const leat_batcher *b, uint64_t hash)
{
    leat_request *r = *flight_of(b, hash);
    while (r != NULL && r->hash != hash) {
        r = r->flight;
    }
    return r;
}

void lt_flight_lead(leat_batcher *b, leat_request *r)
{
    if (find_leader(b, r->hash) == NULL) {
        leat_request **first = flight_of(b, r->hash);
        r->leads = true;
        r->flight = *first;
        *first = r;
    }
}

/* Nobody follows any more. Returns those who do. */
static leat_request *land(leat_batcher *b, leat_request *r)
{
    leat_request *followers = r->followers;
    if (r->leads) {
        leat_request **at = flight_of(b, r->hash);
        while (*at != r) {
            at = &(*at)->flight;
        }
        *at = r->flight;
    }
    r->leads = false;
    r->followers = NULL;
    return followers;
}

void lt_flight_leave(leat_request *r)
{
    leat_request **at = &r->leader->followers;
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    r->next = NULL;
    r->leader = NULL;
    r->state = LT_REQUEST_RUNNING;
}

/* ---- a request comes ------------------------------------------------------------------------- */

/* From what is kept. Without the lock, but for what it says. */
static bool answer_at_once(leat_batcher *b, const leat_request_desc *d, const lt_request_kind *kind,
                           lt_answer *answer, leat_request **out_request)
{
    leat_request *r = NULL;
    const bool same =
        answer->group == kind->words[0] && lt_answers_same(b->io, d->inputs, answer->inputs);
    pthread_mutex_lock(&b->lock);
    if (same && !b->closing && lt_batcher_has_room(b, d->class_index)) {
        r = lt_batcher_fill(b, d, kind);
        r->state = LT_REQUEST_RUNNING;
        r->next = NULL;
        r->held = out_request != NULL;
        b->stats.answer_hits++;
    }
    pthread_mutex_unlock(&b->lock);
    if (r != NULL) {
        leat_error err = {0};
        if (out_request != NULL) {
            *out_request = r;
        }
        leat_status status = lt_batcher_copy_out(b, answer->outputs, r, &err);
        lt_batcher_complete(r, status, status ? NULL : r->outputs, &err);
    }
    atomic_fetch_sub_explicit(&answer->readers, 1, memory_order_release);
    return r != NULL;
}

/* Whether a request is answered in time when it follows: who leads runs, or is not less urgent. */
static bool may_follow(const leat_batcher *b, const leat_request *leader,
                       const leat_request_desc *d)
{
    if (leader->state == LT_REQUEST_RUNNING) {
        return true;
    }
    const lt_request_times own = lt_batcher_times(b, d, lt_batcher_now(b));
    return leader->class_index <= d->class_index && leader->deadline <= own.deadline &&
           leader->node.due <= own.due;
}

/* Compares without the lock, while the leader cannot end. */
static bool follow(leat_batcher *b, const leat_request_desc *d, const lt_request_kind *kind,
                   leat_request *leader, leat_request **out_request)
{
    leat_request *r = NULL;
    const bool same =
        leader->group == kind->words[0] && lt_answers_same(b->io, d->inputs, leader->inputs);
    pthread_mutex_lock(&b->lock);
    if (same && leader->leads && !b->closing && lt_batcher_has_room(b, d->class_index)) {
        r = lt_batcher_fill(b, d, kind);
        r->held = out_request != NULL;
        r->hash = leader->hash; /* it may have to lead */
        r->group = leader->group;
        r->leader = leader;
        r->next = leader->followers;
        leader->followers = r;
        b->stats.answer_joins++;
        if (out_request != NULL) {
            *out_request = r;
        }
    }
    atomic_fetch_sub_explicit(&leader->writing, 1, memory_order_release);
    pthread_mutex_unlock(&b->lock);
    return r != NULL;
}

bool lt_flight_take(leat_batcher *b, const leat_request_desc *d, const lt_request_kind *kind,
                    uint64_t hash, leat_request **out_request)
{
    pthread_mutex_lock(&b->lock);
    lt_answer *answer = lt_answers_find(b->answers, hash);
    leat_request *leader = answer == NULL ? find_leader(b, hash) : NULL;
    if (answer != NULL) {
        answer->recent = true;
        atomic_fetch_add_explicit(&answer->readers, 1, memory_order_relaxed);
    }
    if (leader != NULL && !may_follow(b, leader, d)) {
        leader = NULL;
    }
    if (leader != NULL) {
        atomic_fetch_add_explicit(&leader->writing, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->lock);
    return answer != NULL   ? answer_at_once(b, d, kind, answer, out_request)
           : leader != NULL ? follow(b, d, kind, leader, out_request)
                            : false;
}

/* ---- a request that ran ends ----------------------------------------------------------------- */

/* Each has its own copy of what the leader got. */
static void answer_all(leat_batcher *b, leat_request *first, const leat_array *outputs)
{
    for (leat_request *r = first, *next; r != NULL; r = next) {
        leat_error err = {0};
        next = r->next;
        leat_status status = lt_batcher_copy_out(b, outputs, r, &err);
        lt_batcher_complete(r, status, status ? NULL : r->outputs, &err);
    }
}

static void succeed(leat_batcher *b, leat_request *r, const leat_array *outputs)
{
    pthread_mutex_lock(&b->lock);
    lt_answer *answer = lt_answers_find(b->answers, r->hash) == NULL
                            ? lt_answers_place(b->answers, r->inputs, outputs)
                            : NULL;
    pthread_mutex_unlock(&b->lock);
    if (answer != NULL) {
        lt_answers_fill(b->io, answer, r->inputs, outputs);
    }
    pthread_mutex_lock(&b->lock);
    if (answer != NULL) {
        lt_answers_publish(b->answers, answer, r->hash, r->group);
    }
    leat_request *followers = land(b, r);
    for (leat_request *f = followers; f != NULL; f = f->next) {
        f->state = LT_REQUEST_RUNNING;
        f->leader = NULL;
        f->hash = 0; /* its answer need not be kept */
    }
    pthread_mutex_unlock(&b->lock);
    answer_all(b, followers, outputs);
}

/* The first of those who follow runs in its place. The caller holds the lock. Returns those that
 * cannot, as no key is free. */
static leat_request *pass_on(leat_batcher *b, leat_request *followers, const lt_request_kind *kind)
{
    leat_request *r = followers;
    lt_batch_key *key = kind ? lt_keys_find(b, kind->words, kind->hash) : NULL;
    key = key || kind == NULL ? key : lt_keys_claim(b, kind);
    for (leat_request *f = followers; f != NULL; f = f->next) {
        f->leader = key != NULL && f != r ? r : NULL;
        f->state = key != NULL ? LT_REQUEST_WAITING : LT_REQUEST_RUNNING;
    }
    if (key == NULL) {
        return followers;
    }
    r->followers = r->next;
    r->key = (uint32_t)(key - b->keys);
    r->length = kind->length;
    r->padded = kind->padded;
    lt_keys_add(b, key, r);
    lt_flight_lead(b, r);
    return NULL;
}

static void fail(leat_batcher *b, leat_request *r)
{
    lt_request_kind kind;
    leat_error err = {0};
    leat_status status = lt_key_make(&b->rules, r->inputs, r->group, &kind, &err);
    kind.hash = lt_key_hash(kind.words, b->n_words);
    pthread_mutex_lock(&b->lock);
    leat_request *lost = land(b, r);
    if (lost != NULL) {
        lost = pass_on(b, lost, status == LEAT_OK ? &kind : NULL);
        lt_batcher_wake(b);
    }
    pthread_mutex_unlock(&b->lock);
    for (leat_request *next; lost != NULL; lost = next) {
        next = lost->next;
        status = lt_fail(&err, LEAT_BUSY, "requests of %u keys wait", b->desc.max_keys);
        lt_batcher_complete(lost, status, NULL, &err);
    }
}

void lt_flight_end(leat_request *r, leat_status status, const leat_array *outputs)
{
    if (status == LEAT_OK) {
        succeed(r->batcher, r, outputs);
    } else if (r->leads) {
        fail(r->batcher, r);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What callers do with requests: submit, wait, cancel, release. */
#include "base/clock.h"
#include "base/error.h"
#include "batcher/batcher.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static leat_status check_desc(const leat_batcher *b, const leat_request_desc *d, leat_error *err)
{
    if (d->struct_size != sizeof(*d)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_request_desc.struct_size is %zu: set it to sizeof(leat_request_desc)",
                       d->struct_size);
    }
    if (d->inputs == NULL || d->n_inputs != b->io->n_inputs) {
        return lt_fail(err, LEAT_INVALID, "%zu inputs were given, the model takes %zu", d->n_inputs,
                       b->io->n_inputs);
    }
    if (d->outputs != NULL ? d->n_outputs != b->io->n_outputs : d->done == NULL) {
        return lt_fail(err, LEAT_INVALID,
                       "%zu outputs were given, the model gives %zu (none only with a callback)",
                       d->n_outputs, b->io->n_outputs);
    }
    for (size_t o = 0; d->outputs != NULL && o < d->n_outputs; o++) {
        if (d->outputs[o].data == NULL) {
            return lt_fail(err, LEAT_INVALID, "output '%s' has no memory", b->io->outputs[o].name);
        }
    }
    if (d->class_index >= b->desc.n_classes) {
        return lt_fail(err, LEAT_INVALID, "class %u: there are %u", d->class_index,
                       b->desc.n_classes);
    }
    return LEAT_OK;
}

/* How many requests of a class may be there together with all others. */
static uint32_t most_taken(const leat_batcher *b, uint32_t class_index)
{
    return b->desc.queue_limit - (class_index > 0 ? b->desc.queue_limit / 8 : 0);
}

bool lt_batcher_has_room(leat_batcher *b, uint32_t class_index)
{
    if (b->free == NULL) {
        b->free = atomic_exchange(&b->returned, NULL);
    }
    return b->free != NULL &&
           atomic_load_explicit(&b->n_taken, memory_order_relaxed) < most_taken(b, class_index);
}

/* Whether the request may come in: room, and time enough. key: NULL when it has none yet. The
 * caller holds the lock. */
static leat_status admit(leat_batcher *b, const lt_batch_key *key, uint32_t rows,
                         const leat_request_desc *d, leat_error *err)
{
    const uint64_t deadline_ns = d->deadline_ns;
    if (b->closing) {
        return lt_fail(err, LEAT_INVALID, "the batcher is being destroyed");
    }
    if (!lt_batcher_has_room(b, d->class_index)) {
        return lt_fail(err, LEAT_BUSY,
                       "%u requests are not complete, or not released, yet: all that there may be "
                       "before one of class %u",
                       most_taken(b, d->class_index), d->class_index);
    }
    if (key == NULL && b->resting.first == NULL) {
        return lt_fail(err, LEAT_BUSY, "requests of %u keys wait", b->desc.max_keys);
    }
    if (deadline_ns != 0) {
        const uint64_t predicted = (uint64_t)(b->margin * (double)lt_batcher_predict(b, key, rows));
        if (predicted > deadline_ns) {
            return lt_fail(err, LEAT_EXPIRED,
                           "the request would be complete after %.3f ms, its deadline is %.3f ms",
                           (double)predicted / 1e6, (double)deadline_ns / 1e6);
        }
    }
    return LEAT_OK;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > LT_NEVER - b ? LT_NEVER : a + b;
}

lt_request_times lt_batcher_times(const leat_batcher *b, const leat_request_desc *d, uint64_t now)
{
    const uint64_t patience = add(now, b->desc.max_wait_ns[d->class_index]);
    const uint64_t deadline = d->deadline_ns ? add(now, d->deadline_ns) : LT_NEVER;
    return (lt_request_times){deadline, deadline < patience ? deadline : patience};
}

leat_request *lt_batcher_fill(leat_batcher *b, const leat_request_desc *d,
                              const lt_request_kind *kind)
{
    const uint64_t now = lt_batcher_now(b);
    const lt_request_times times = lt_batcher_times(b, d, now);
    leat_request *r = b->free;
    b->free = r->next;
    atomic_fetch_add_explicit(&b->n_taken, 1, memory_order_relaxed);
    r->state = LT_REQUEST_WAITING;
    r->rows = kind->rows;
    r->length = kind->length;
    r->padded = kind->padded;
    r->arrived = now;
    r->class_index = d->class_index;
    r->deadline = times.deadline;
    r->node.due = times.due;
    r->node.order = b->next_order++;
    r->slot = NULL;
    r->hash = 0;
    r->leads = false;
    r->followers = r->leader = NULL;
    r->done = d->done;
    r->done_user = d->done_user;
    r->caller_outputs = d->outputs;
    memcpy(r->inputs, d->inputs, d->n_inputs * sizeof(*d->inputs));
    if (d->outputs != NULL) {
        memcpy(r->outputs, d->outputs, d->n_outputs * sizeof(*d->outputs));
    } else {
        memset(r->outputs, 0, b->io->n_outputs * sizeof(*r->outputs));
    }
    b->stats.accepted++;
    b->stats.accepted_by_class[d->class_index]++;
    return r;
}

/* hash: of its inputs; 0: its answer is not to be kept. The caller holds the lock; a request is
 * free. */
static leat_request *enqueue(leat_batcher *b, lt_batch_key *key, const leat_request_desc *d,
                             const lt_request_kind *kind, uint64_t hash)
{
    leat_request *r = lt_batcher_fill(b, d, kind);
    r->key = (uint32_t)(key - b->keys);
    b->classes |= d->class_index > 0;
    lt_keys_add(b, key, r);
    lt_curve_arrival(&key->curve, r->arrived, kind->rows);
    lt_buckets_arrival(&b->pads, kind->length, kind->rows);
    if (hash != 0) {
        r->hash = hash;
        r->group = kind->words[0];
        lt_flight_lead(b, r);
        b->stats.answer_misses++;
    }
    return r;
}

leat_status lt_batcher_examine(const leat_batcher *b, const leat_array *inputs, size_t n_inputs,
                               uint64_t group, lt_request_kind *out, leat_error *err)
{
    if (b->desc.group != NULL) {
        group ^= b->desc.group(b->desc.group_user, inputs, n_inputs) * 0x9e3779b97f4a7c15u;
    }
    out->rows = 0;
    leat_status status = lt_key_make(&b->rules, inputs, group, out, err);
    if (status == LEAT_OK && out->rows > (uint32_t)b->desc.max_batch_size) {
        status = lt_fail(err, LEAT_INVALID, "a request of %u rows: a batch has %d at most",
                         out->rows, b->desc.max_batch_size);
    }
    out->hash = lt_key_hash(out->words, b->n_words);
    return status;
}

static void count_refused(leat_batcher *b, lt_batch_key *key, leat_status status,
                          uint32_t class_index)
{
    b->stats.refused++;
    if (status == LEAT_EXPIRED) {
        if (b->waiting.first == NULL && b->n_idle == b->desc.n_instances) {
            lt_curve_doubt(&key->curve);
        }
        b->stats.refused_late++;
        b->stats.missed_by_class[class_index]++;
    }
}

leat_status lt_batcher_enqueue(leat_batcher *b, const leat_request_desc *desc, bool wake,
                               leat_request **out_request, leat_error *err)
{
    lt_request_kind kind;
    leat_status status = check_desc(b, desc, err);
    status = status ? status
                    : lt_batcher_examine(b, desc->inputs, desc->n_inputs, desc->group, &kind, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint64_t hash = 0;
    if (b->answers != NULL) {
        hash = lt_answers_hash(b->io, kind.words[0], desc->inputs);
        if (lt_flight_take(b, desc, &kind, hash, out_request)) {
            return LEAT_OK;
        }
    }
    pthread_mutex_lock(&b->lock);
    leat_request *staged = NULL;
    lt_sleeper *called = NULL;
    lt_batch_key *key = lt_keys_find(b, kind.words, kind.hash);
    status = admit(b, key, kind.rows, desc, err);
    if (status == LEAT_OK) {
        key = key ? key : lt_keys_claim(b, &kind);
        leat_request *r = enqueue(b, key, desc, &kind, hash);
        if (wake || lt_batcher_busy_for(b, r->class_index)) {
            lt_slot_reserve(b, key, r);
        }
        staged = r->slot != NULL ? r : NULL;
        r->held = out_request != NULL;
        if (out_request != NULL) {
            *out_request = r;
        }
        if (wake && !lt_batcher_busy_for(b, desc->class_index)) {
            called = lt_batcher_call(b); /* else who is busy now looks again */
        }
    } else {
        count_refused(b, key, status, desc->class_index);
    }
    pthread_mutex_unlock(&b->lock);
    lt_batcher_rouse(called);
    if (staged != NULL) {
        lt_slot_write(staged); /* nobody completes it meanwhile */
    }
    return status;
}

leat_status leat_batcher_submit(leat_batcher *b, const leat_request_desc *desc,
                                leat_request **out_request, leat_error *err)
{
    if (out_request != NULL) {
        *out_request = NULL;
    }
    if (b == NULL || desc == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_submit: an argument is NULL");
    }
    return lt_batcher_enqueue(b, desc, true, out_request, err);
}

/* Runs batches until the request's own has run, or none may begin. The caller holds the lock. */
static void help(leat_batcher *b, const leat_request *r)
{
    uint64_t next;
    while (r->state == LT_REQUEST_WAITING && lt_batcher_step(b, &next)) {
    }
    if (b->stats.waiting > 0) {
        lt_batcher_wake(b); /* the rest is the threads' */
    }
}

leat_status leat_batcher_run(leat_batcher *b, const leat_request_desc *desc, leat_error *err)
{
    leat_request *r = NULL;
    if (b == NULL || desc == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_run: an argument is NULL");
    }
    leat_status status = lt_batcher_enqueue(b, desc, false, &r, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_request_wait(r, 0, err);
    leat_request_release(r);
    return status;
}

/* Without threads a caller that waits runs batches, until none may be begun. */
static void poll_until(leat_batcher *b, bool (*done)(const void *what), const void *what)
{
    uint64_t wait_ns = 0;
    while (wait_ns == 0 && !done(what)) {
        if (leat_batcher_poll(b, &wait_ns, NULL) != LEAT_OK) {
            return;
        }
    }
}

static bool request_done(const void *what)
{
    const leat_request *r = what;
    return atomic_load_explicit(&r->state, memory_order_acquire) == LT_REQUEST_DONE;
}

/* Waits, without having been complete at first. Whoever waits for ever runs what may be begun
 * meanwhile, as its thread need not be woken. */
static void wait_for(leat_request *r, uint64_t timeout_ns)
{
    leat_batcher *b = r->batcher;
    const struct timespec limit = lt_clock_limit(timeout_ns);
    int error = 0;
    if (b->desc.no_threads) {
        poll_until(b, request_done, r);
        return;
    }
    pthread_mutex_lock(&b->lock);
    if (timeout_ns == 0) {
        help(b, r);
    }
    while (!request_done(r) && error != ETIMEDOUT) {
        error = timeout_ns ? pthread_cond_timedwait(&r->completed, &b->lock, &limit)
                           : pthread_cond_wait(&r->completed, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

leat_status leat_request_wait(leat_request *r, uint64_t timeout_ns, leat_error *err)
{
    if (r == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_request_wait: the request is NULL");
    }
    if (!request_done(r)) {
        wait_for(r, timeout_ns);
    }
    if (!request_done(r)) {
        return lt_fail(err, LEAT_TIMEOUT, "the request is not complete yet");
    }
    if (err != NULL) {
        *err = r->err;
    }
    return r->status;
}

leat_status leat_request_cancel(leat_request *r, leat_error *err)
{
    if (r == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_request_cancel: the request is NULL");
    }
    leat_batcher *b = r->batcher;
    pthread_mutex_lock(&b->lock);
    const bool waits = r->state == LT_REQUEST_WAITING;
    if (waits && r->leader != NULL) {
        lt_flight_leave(r);
    } else if (waits) {
        lt_keys_remove(b, r);
    }
    pthread_mutex_unlock(&b->lock);
    if (!waits) {
        return lt_fail(err, LEAT_BUSY, "the request runs already, or is complete");
    }
    leat_error why = {0};
    (void)lt_fail(&why, LEAT_CANCELLED, "the request was cancelled");
    lt_batcher_complete(r, LEAT_CANCELLED, NULL, &why);
    return LEAT_OK;
}

/* Without the lock, but for those that wait for room. */
static void give_back(leat_request *r)
{
    leat_batcher *b = r->batcher;
    leat_request *top = atomic_load_explicit(&b->returned, memory_order_relaxed);
    atomic_store_explicit(&r->state, LT_REQUEST_FREE, memory_order_relaxed);
    atomic_fetch_sub_explicit(&b->n_taken, 1, memory_order_relaxed);
    do {
        r->next = top;
    } while (!atomic_compare_exchange_weak(&b->returned, &top, r));
    if (atomic_load(&b->n_without_room) > 0) {
        pthread_mutex_lock(&b->lock);
        pthread_cond_broadcast(&b->ended);
        pthread_mutex_unlock(&b->lock);
    }
}

void leat_request_release(leat_request *r)
{
    if (r == NULL) {
        return;
    }
    bool done = request_done(r);
    if (!done) {
        pthread_mutex_lock(&r->batcher->lock);
        done = request_done(r);
        r->held = done; /* who completes it gives it back */
        pthread_mutex_unlock(&r->batcher->lock);
    }
    if (done) {
        give_back(r);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

typedef struct drained {
    leat_batcher *batcher;
    uint64_t order; /* all requests below it */
} drained;

/* The caller holds the lock. */
static bool all_complete(const drained *d)
{
    const leat_batcher *b = d->batcher;
    for (uint32_t i = 0; i < b->desc.queue_limit; i++) {
        const leat_request *r = &b->requests[i];
        if ((r->state == LT_REQUEST_WAITING || r->state == LT_REQUEST_RUNNING) &&
            r->node.order < d->order) {
            return false;
        }
    }
    return true;
}

static bool drain_done(const void *what)
{
    const drained *d = what;
    pthread_mutex_lock(&d->batcher->lock);
    bool done = all_complete(d);
    pthread_mutex_unlock(&d->batcher->lock);
    return done;
}

void leat_batcher_flush(leat_batcher *b)
{
    if (b != NULL) {
        pthread_mutex_lock(&b->lock);
        b->flushed = b->next_order;
        lt_batcher_wake_all(b);
        pthread_mutex_unlock(&b->lock);
    }
}

leat_status leat_batcher_drain(leat_batcher *b, uint64_t timeout_ns, leat_error *err)
{
    if (b == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_drain: the batcher is NULL");
    }
    const struct timespec limit = lt_clock_limit(timeout_ns);
    int error = 0;
    leat_batcher_flush(b);
    pthread_mutex_lock(&b->lock);
    const drained d = {b, b->flushed};
    pthread_mutex_unlock(&b->lock);
    if (b->desc.no_threads) {
        poll_until(b, drain_done, &d);
    }
    pthread_mutex_lock(&b->lock);
    uint64_t next;
    while (timeout_ns == 0 && !b->desc.no_threads && !all_complete(&d) &&
           lt_batcher_step(b, &next)) {
    }
    while (!all_complete(&d) && error != ETIMEDOUT && !b->desc.no_threads) {
        error = timeout_ns ? pthread_cond_timedwait(&b->ended, &b->lock, &limit)
                           : pthread_cond_wait(&b->ended, &b->lock);
    }
    const bool done = all_complete(&d);
    pthread_mutex_unlock(&b->lock);
    return done ? LEAT_OK : lt_fail(err, LEAT_TIMEOUT, "requests are still to be completed");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which batch is begun, and when: no locks, no clock, so that tests can say what time it is. */
#include "batcher/batcher.h"

static leat_request *head(const lt_batch_key *key)
{
    return (leat_request *)key->heap.root;
}

/* Takes the head out; into *expired when its deadline is over, and NULL. */
static leat_request *take(leat_batcher *b, lt_batch_key *key, uint64_t now, leat_request **expired)
{
    leat_request *r = (leat_request *)lt_heap_pop(&key->heap);
    key->waiting--;
    key->rows -= r->rows;
    b->stats.waiting--;
    r->state = LT_REQUEST_RUNNING;
    r->next = NULL;
    if (r->deadline >= now) {
        return r;
    }
    r->next = *expired;
    *expired = r;
    return NULL;
}

/* Requests at the heads of queues whose deadline is over: those that wait for nothing but that.
 * Others, behind a head that is due earlier by its class, are met when a batch takes them. */
static void take_expired(leat_batcher *b, uint64_t now, leat_request **expired)
{
    for (uint32_t k = 0; k < b->desc.max_keys; k++) {
        lt_batch_key *key = &b->keys[k];
        while (key->waiting > 0 && head(key)->deadline < now) {
            (void)take(b, key, now, expired);
        }
    }
}

/* Whether the key's rows are to wait for more; *out_until: how long at most. */
static bool hold(leat_batcher *b, lt_batch_key *key, uint64_t now, uint64_t *out_until)
{
    if (b->desc.timeout_ns == LT_NEVER || key->rows >= (uint32_t)b->desc.max_batch_size ||
        b->closing || head(key)->node.order < b->flushed ||
        !lt_curve_holding_pays(&key->curve, key->rows)) {
        return false;
    }
    const uint64_t since = key->held_since ? key->held_since : now;
    const uint64_t limit = since + b->desc.timeout_ns;
    /* The next row is expected one gap after the last; when it has not come after two it will not.
     */
    const uint64_t expected = key->curve.last_arrival + (uint64_t)(2 * key->curve.gap_ns);
    uint64_t until = expected < limit ? expected : limit;
    /* Nothing is held beyond where its deadline could still be met. */
    const uint64_t run = (uint64_t)lt_curve_estimate(&key->curve, key->rows + 1);
    const uint64_t deadline = head(key)->deadline;
    if (deadline != LT_NEVER) {
        const uint64_t latest = deadline > run ? deadline - run : 0;
        until = latest < until ? latest : until;
    }
    key->held_since = since;
    *out_until = until;
    return now < until;
}

static void take_batch(leat_batcher *b, lt_batch_key *key, uint64_t now, lt_batch *batch)
{
    const uint32_t most = (uint32_t)b->desc.max_batch_size;
    leat_request **end = &batch->first;
    while (key->waiting > 0 && head(key)->rows <= most - batch->rows) {
        leat_request *r = take(b, key, now, &batch->expired);
        if (r != NULL) {
            batch->rows += r->rows;
            *end = r;
            end = &r->next;
        }
    }
}

lt_batch lt_batcher_pick(leat_batcher *b, uint64_t now, uint64_t *out_next)
{
    lt_batch batch = {.key = LT_NO_KEY};
    lt_batch_key *best = NULL;
    *out_next = LT_NEVER;
    take_expired(b, now, &batch.expired);
    for (uint32_t k = 0; k < b->desc.max_keys; k++) {
        lt_batch_key *key = &b->keys[k];
        uint64_t until = LT_NEVER;
        if (key->waiting == 0) {
            continue;
        }
        if (hold(b, key, now, &until)) {
            *out_next = until < *out_next ? until : *out_next;
        } else if (best == NULL || lt_heap_before(key->heap.root, best->heap.root)) {
            best = key;
        }
    }
    if (best == NULL) {
        return batch;
    }
    const bool full = best->rows >= (uint32_t)b->desc.max_batch_size;
    b->stats.closed_full += full;
    b->stats.closed_held += !full && best->held_since != 0;
    b->stats.closed_idle += !full && best->held_since == 0;
    best->held_since = 0;
    best->last_used = now;
    batch.key = (uint32_t)(best - b->keys);
    batch.hash = b->hashes[batch.key];
    take_batch(b, best, now, &batch);
    return batch;
}

uint64_t lt_batcher_predict(const leat_batcher *b, const lt_batch_key *key, uint32_t rows)
{
    const double own = lt_curve_estimate(&key->curve, rows);
    if (own == 0) {
        return 0;
    }
    double ahead = 0;
    for (uint32_t k = 0; k < b->desc.max_keys; k++) {
        const lt_batch_key *other = &b->keys[k];
        const uint32_t most = (uint32_t)b->desc.max_batch_size;
        if (other->waiting > 0) {
            ahead += other->rows / most * lt_curve_estimate(&other->curve, most) +
                     lt_curve_estimate(&other->curve, other->rows % most);
        }
    }
    return (uint64_t)(own + ahead / b->desc.n_instances);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which batch is begun, and when: no locks, no clock, so that tests can say what time it is. */
#include "batcher/batcher.h"
#include "batcher/times.h"

#define LT_ALONE_ABOVE 0.95 /* of what a row takes alone */
enum {
    LT_TOGETHER_EVERY = 32
};

static leat_request *head(const lt_batch_key *key)
{
    return (leat_request *)key->heap.root;
}

/* Takes the head out; into *expired when its deadline is over, and NULL. */
static leat_request *take(leat_batcher *b, lt_batch_key *key, uint64_t now, leat_request **expired)
{
    leat_request *r = head(key);
    lt_keys_remove(b, r);
    if (r->deadline >= now) {
        lt_time_count(&b->stats.queue[r->class_index], now - r->arrived);
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
    for (lt_batch_key *key = b->waiting.first, *next; key != NULL; key = next) {
        next = key->next; /* the key leaves the list with its last request */
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

/* Rows to take where batches gain next to nothing, as those in front would only wait for those
 * behind them: the head's. Now and then as many more, which shows whether that is still so, at the
 * least that those who are in it wait longer for. 0: batches gain. */
static uint32_t rows_alone(leat_batcher *b, const lt_batch_key *key)
{
    const uint32_t own = head(key)->rows, most = (uint32_t)b->desc.max_batch_size;
    if (b->together <= LT_ALONE_ABOVE || key->rows == own) {
        return 0;
    }
    const bool tried = ++b->n_split % LT_TOGETHER_EVERY == 0;
    return tried && 2 * own <= most ? 2 * own : own;
}

/* Rows to take of those that wait: all, the first request's, or fewer that are just a run's size
 * when a row costs less so, the others being left to the next batch. */
static uint32_t rows_to_take(leat_batcher *b, const lt_batch_key *key)
{
    const uint32_t most = (uint32_t)b->desc.max_batch_size;
    const uint32_t all = key->rows < most ? key->rows : most;
    const uint32_t alone = rows_alone(b, key);
    uint32_t fewer = all;
    if (alone > 0) {
        return alone;
    }
    while (fewer > 0 && b->planned[fewer] != fewer) {
        fewer--;
    }
    if (fewer == all || fewer == 0 || head(key)->rows > fewer ||
        key->curve.run_ns[b->planned[all]] == 0) { /* not measured: to be tried */
        return all;
    }
    const double full = lt_curve_estimate(&key->curve, all);
    const double less = lt_curve_estimate(&key->curve, fewer);
    return less * all < full * fewer ? fewer : all;
}

static void take_batch(leat_batcher *b, lt_batch_key *key, uint64_t now, lt_batch *batch)
{
    const uint32_t most = rows_to_take(b, key);
    const bool reserved = lt_batcher_reserves(b);
    leat_request **end = &batch->first;
    while (key->waiting > 0 && head(key)->rows <= most - batch->rows &&
           !(reserved && head(key)->class_index > 0)) {
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
    const bool reserved = lt_batcher_reserves(b);
    *out_next = LT_NEVER;
    take_expired(b, now, &batch.expired);
    for (lt_batch_key *key = b->waiting.first; key != NULL; key = key->next) {
        uint64_t until = LT_NEVER;
        if (reserved && head(key)->class_index > 0) {
            continue; /* for another instance, when it is done */
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
    lt_buckets_begin(&b->pads);
    batch.key = (uint32_t)(best - b->keys);
    batch.hash = best->hash;
    take_batch(b, best, now, &batch);
    batch.slot = lt_slot_close(b, best, &batch);
    return batch;
}

/* Nanoseconds of the batches that all waiting rows make but for those of `own`'s last one. */
static double backlog(const leat_batcher *b, const lt_batch_key *own)
{
    const uint32_t most = (uint32_t)b->desc.max_batch_size;
    double ns = 0;
    for (const lt_batch_key *key = b->waiting.first; key != NULL; key = key->next) {
        ns += key->rows / most * lt_curve_estimate(&key->curve, most);
        if (key != own) {
            ns += lt_curve_estimate(&key->curve, key->rows % most);
        }
    }
    return ns;
}

uint64_t lt_batcher_predict(const leat_batcher *b, const lt_batch_key *key, uint32_t rows)
{
    const uint32_t most = (uint32_t)b->desc.max_batch_size;
    if (key == NULL || lt_curve_estimate(&key->curve, rows) == 0) {
        return 0;
    }
    /* It runs with those before it, and when there are more than a batch, with others behind it. */
    const uint32_t with = key->rows + rows < most ? key->rows + rows : most;
    double ahead = backlog(b, key);
    if (b->n_idle == 0) {
        ahead += lt_curve_estimate(&key->curve, most); /* until one is free */
    }
    return (uint64_t)(lt_curve_estimate(&key->curve, with) + ahead / b->desc.n_instances);
}

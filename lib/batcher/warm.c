/* SPDX-License-Identifier: Apache-2.0 */
/* Running all batch sizes ahead of traffic. */
#include "base/error.h"
#include "batcher/batcher.h"

enum {
    TRIES = 3 /* of a size: the plan, the device's graph, and one whose time is measured */
};

/* Takes an instance out of the list of idle ones; waits until it is there. The caller holds the
 * lock. */
static void take_instance(leat_batcher *b, lt_instance *wanted)
{
    b->n_warming++;
    while (lt_batcher_take(b, wanted) == NULL) {
        pthread_cond_wait(&b->ended, &b->lock);
    }
    b->n_warming--;
}

/* The key's place in the curves; claimed when there is none and one is free. */
static void learn(leat_batcher *b, const lt_request_kind *kind, uint32_t planned, uint64_t ns)
{
    pthread_mutex_lock(&b->lock);
    lt_batch_key *key = lt_keys_find(b, kind->words, kind->hash);
    key = key ? key : lt_keys_claim(b, kind);
    if (key != NULL) {
        lt_curve_run(&key->curve, planned, ns);
        lt_batcher_note_gain(b, &key->curve, planned, ns);
    }
    lt_buckets_run(&b->pads, kind->padded, planned, ns, TRIES);
    pthread_mutex_unlock(&b->lock);
}

static leat_status run_size(lt_instance *at, const leat_request *r, const lt_request_kind *kind,
                            uint32_t planned, leat_error *err)
{
    leat_batcher *b = at->batcher;
    const bool alone = planned == r->rows && lt_batcher_in_place(b, r);
    const bool together = planned > 1 || !alone;
    leat_status status = LEAT_OK;
    uint64_t ns = 0;
    /* First in place, then with others, as far as this size is ever run so. */
    for (int i = alone ? 0 : TRIES; i < (together ? 2 * TRIES : TRIES) && status == LEAT_OK; i++) {
        const uint64_t begin = lt_batcher_now(b);
        status = lt_batcher_try(at, r, planned, i < TRIES, err);
        ns = lt_batcher_now(b) - begin;
    }
    if (status == LEAT_OK) {
        learn(b, kind, planned, ns);
    }
    return status;
}

static leat_status warm_instance(lt_instance *at, const leat_request *r,
                                 const lt_request_kind *kind, leat_error *err)
{
    leat_batcher *b = at->batcher;
    leat_status status = LEAT_OK;
    for (uint32_t n = r->rows; n <= (uint32_t)b->desc.max_batch_size && status == LEAT_OK; n++) {
        if (b->planned[n] == n) {
            status = run_size(at, r, kind, n, err);
        }
    }
    at->input_bytes = at->pad_bytes = 0; /* no request's */
    return status;
}

leat_status leat_batcher_warm(leat_batcher *b, const leat_array *inputs, size_t n_inputs,
                              uint64_t group, leat_error *err)
{
    if (b == NULL || inputs == NULL || n_inputs != b->io->n_inputs) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_warm: %zu inputs were given", n_inputs);
    }
    lt_request_kind kind = {0};
    leat_status status = lt_batcher_examine(b, inputs, n_inputs, group, &kind, err);
    const leat_request r = {.batcher = b,
                            .rows = kind.rows,
                            .length = kind.length,
                            .padded = kind.padded,
                            .inputs = (leat_array *)inputs};
    if (status == LEAT_OK && b->n_slots > 0) {
        pthread_mutex_lock(&b->lock);
        lt_slots_fit(b, &r);
        pthread_mutex_unlock(&b->lock);
    }
    for (int32_t i = 0; i < b->desc.n_instances && status == LEAT_OK; i++) {
        lt_instance *at = &b->instances[i];
        pthread_mutex_lock(&b->lock);
        take_instance(b, at);
        pthread_mutex_unlock(&b->lock);
        do {
            status = warm_instance(at, &r, &kind, err);
        } while (status == LEAT_DEVICE_LOST && lt_batcher_move(at));
        pthread_mutex_lock(&b->lock);
        lt_batcher_return_instance(b, at);
        lt_batcher_wake(b);
        pthread_cond_broadcast(&b->ended);
        pthread_mutex_unlock(&b->lock);
    }
    return status;
}

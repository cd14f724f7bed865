/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher's queues: found by hash, those that wait apart from those whose times are only
 * remembered. */
#include "batcher/batcher.h"

#include <string.h>

static void append(lt_key_list *list, lt_batch_key *key)
{
    key->next = NULL;
    key->previous = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = key;
    list->last = key;
}

static void unlink_key(lt_key_list *list, lt_batch_key *key)
{
    *(key->previous != NULL ? &key->previous->next : &list->first) = key->next;
    *(key->next != NULL ? &key->next->previous : &list->last) = key->previous;
}

static uint32_t *bucket_of(const leat_batcher *b, uint64_t hash)
{
    return &b->buckets[hash & (b->n_buckets - 1)];
}

bool lt_keys_make(leat_batcher *b)
{
    const size_t n = b->desc.max_keys, steps = (size_t)b->desc.max_batch_size + 1;
    b->n_words = LT_KEY_WORDS((uint32_t)b->io->n_inputs);
    for (b->n_buckets = 16; b->n_buckets < n; b->n_buckets *= 2) {
    }
    b->keys = lt_arena_array(&b->arena, n, sizeof(*b->keys));
    b->buckets = lt_arena_array(&b->arena, b->n_buckets, sizeof(*b->buckets));
    uint64_t *words = lt_arena_array(&b->arena, n, b->n_words * sizeof(*words));
    float *times = lt_arena_array(&b->arena, n, steps * sizeof(*times));
    if (b->keys == NULL || b->buckets == NULL || words == NULL || times == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < b->n_buckets; i++) {
        b->buckets[i] = LT_NO_KEY;
    }
    for (size_t k = 0; k < n; k++) {
        lt_batch_key *key = &b->keys[k];
        key->words = words + k * b->n_words;
        key->curve.run_ns = times + k * steps;
        key->curve.max_rows = (uint32_t)b->desc.max_batch_size;
        key->curve.planned = b->planned;
        append(&b->resting, key);
    }
    return true;
}

lt_batch_key *lt_keys_find(const leat_batcher *b, const uint64_t *words, uint64_t hash)
{
    const size_t bytes = b->n_words * sizeof(*words);
    for (uint32_t k = *bucket_of(b, hash); k != LT_NO_KEY; k = b->keys[k].chain) {
        if (b->keys[k].hash == hash && memcmp(b->keys[k].words, words, bytes) == 0) {
            return &b->keys[k];
        }
    }
    return NULL;
}

/* Takes a key out of its bucket, if it is in one. */
static void forget(leat_batcher *b, const lt_batch_key *key)
{
    uint32_t *at = bucket_of(b, key->hash);
    while (*at != LT_NO_KEY && &b->keys[*at] != key) {
        at = &b->keys[*at].chain;
    }
    if (*at != LT_NO_KEY) {
        *at = key->chain;
    }
}

lt_batch_key *lt_keys_claim(leat_batcher *b, const lt_request_kind *kind)
{
    lt_batch_key *key = b->resting.first;
    if (key == NULL) {
        return NULL;
    }
    forget(b, key);
    unlink_key(&b->resting, key);
    append(&b->resting, key); /* the newest now */
    uint32_t *bucket = bucket_of(b, kind->hash);
    key->hash = kind->hash;
    key->padded = kind->padded;
    key->chain = *bucket;
    *bucket = (uint32_t)(key - b->keys);
    memcpy(key->words, kind->words, b->n_words * sizeof(*kind->words));
    key->held_since = 0;
    lt_curve_clear(&key->curve);
    return key;
}

void lt_keys_add(leat_batcher *b, lt_batch_key *key, leat_request *r)
{
    if (key->waiting == 0) {
        unlink_key(&b->resting, key);
        append(&b->waiting, key);
    }
    lt_heap_push(&key->heap, &r->node);
    key->waiting++;
    key->rows += r->rows;
    b->pads.waiting += r->rows;
    b->stats.waiting++;
}

void lt_keys_remove(leat_batcher *b, leat_request *r)
{
    lt_batch_key *key = &b->keys[r->key];
    lt_heap_remove(&key->heap, &r->node);
    key->waiting--;
    key->rows -= r->rows;
    b->pads.waiting -= r->rows;
    b->stats.waiting--;
    r->state = LT_REQUEST_RUNNING;
    r->next = NULL;
    if (key->waiting == 0) {
        lt_slot_stop(b, key);
        unlink_key(&b->waiting, key);
        append(&b->resting, key);
    }
}

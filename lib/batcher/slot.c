/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: memory into which the inputs of requests that wait are copied by those who submit them, as
 * the batch needs them, so that its run begins with nothing left to be put together. Where an
 * instance is idle this is done while its thread wakes up.
 *
 *     key -> slot that is being filled   row 0 | row 1 | ... | (free)
 *                                          ^ request, ^ request
 *
 * A slot is a guess that the next batch of its key will be its requests from the first on, in the
 * order they came. Where it is wrong (one is cancelled, another is due earlier, only some are
 * taken) rows are put together from the callers' memory, which is theirs until completion, as
 * without. */
#include "batcher/batcher.h"
#include "batcher/pad.h"
#include "runtime/session.h"

#include <sched.h>
#include <stdatomic.h>

bool lt_block_fit(leat_batcher *b, lt_block *block, size_t bytes)
{
    if (block->data != NULL && block->bytes >= bytes) {
        return true;
    }
    lt_block_free(b, block);
    block->data = b->pins != NULL ? lt_device_alloc_pinned(b->pins, bytes) : NULL;
    block->pinned = block->data != NULL;
    if (block->data == NULL) {
        block->data = lt_alloc(b->memory, bytes, LT_ALIGNMENT);
    }
    block->bytes = block->data != NULL ? bytes : 0;
    return block->data != NULL;
}

void lt_block_free(leat_batcher *b, lt_block *block)
{
    if (block->pinned) {
        lt_device_free_pinned(b->pins, block->data, block->bytes);
    } else {
        lt_free(b->memory, block->data, block->bytes);
    }
    *block = (lt_block){0};
}

/* The first device of the sessions that is not the host. */
static lt_device *device_of(const leat_batcher *b)
{
    const leat_session *session = b->instances[0].session;
    for (size_t d = 0; session != NULL && d < session->program->n_wanted; d++) {
        if (!lt_device_is_host(session->program->devices[d])) {
            return session->program->devices[d];
        }
    }
    return NULL;
}

/* Twice as many as batches under way, and some for keys that are seldom filled. */
bool lt_slots_make(leat_batcher *b)
{
    b->pins = device_of(b);
    if (b->desc.stage_inputs < 0 || (b->desc.stage_inputs == 0 && b->pins == NULL) ||
        b->rules.batched == NULL) {
        return true;
    }
    const uint32_t n = 2 * (uint32_t)b->desc.n_instances + 4;
    const size_t n_in = b->io->n_inputs;
    b->slots = lt_arena_array(&b->arena, n, sizeof(*b->slots));
    lt_block *blocks = lt_arena_array(&b->arena, n, n_in * sizeof(*blocks));
    if (b->slots == NULL || blocks == NULL) {
        return false;
    }
    b->n_slots = n;
    for (uint32_t s = 0; s < n; s++) {
        b->slots[s].blocks = blocks + s * n_in;
        b->slots[s].next = b->free_slots;
        b->free_slots = &b->slots[s];
    }
    return true;
}

void lt_slots_free(leat_batcher *b)
{
    for (uint32_t s = 0; s < b->n_slots; s++) {
        for (size_t i = 0; i < b->io->n_inputs; i++) {
            lt_block_free(b, &b->slots[s].blocks[i]);
        }
    }
}

/* Bytes of the largest batch's input i; 0: it has no rows, or too many bytes. */
static size_t bytes_of(const leat_batcher *b, const leat_request *r, size_t i)
{
    const leat_array x = lt_batcher_padded_input(b, r, i);
    size_t bytes = 0;
    return b->rules.batched[i] &&
                   lt_mul(lt_key_row_bytes(&x), (size_t)b->desc.max_batch_size, &bytes)
               ? bytes
               : 0;
}

void lt_slots_fit(leat_batcher *b, const leat_request *r)
{
    for (lt_slot *slot = b->free_slots; slot != NULL; slot = slot->next) {
        for (size_t i = 0; i < b->io->n_inputs; i++) {
            /* What finds no memory here is put together when it runs. */
            (void)lt_block_fit(b, &slot->blocks[i], bytes_of(b, r, i));
        }
    }
}

static bool has_room(const leat_batcher *b, const lt_slot *slot, const leat_request *r)
{
    for (size_t i = 0; i < b->io->n_inputs; i++) {
        if (b->rules.batched[i] && slot->blocks[i].bytes < bytes_of(b, r, i)) {
            return false;
        }
    }
    return slot->rows + r->rows <= (uint32_t)b->desc.max_batch_size;
}

static void let_go(leat_batcher *b, lt_slot *slot)
{
    if (--slot->n_users == 0) {
        slot->next = b->free_slots;
        b->free_slots = slot;
    }
}

void lt_slot_stop(leat_batcher *b, lt_batch_key *key)
{
    if (key->slot != NULL) {
        let_go(b, key->slot);
        key->slot = NULL;
    }
}

void lt_slot_reserve(leat_batcher *b, lt_batch_key *key, leat_request *r)
{
    if (b->n_slots == 0) {
        return;
    }
    if (key->slot != NULL && !has_room(b, key->slot, r)) {
        lt_slot_stop(b, key);
    }
    if (key->slot == NULL) {
        lt_slot *slot = b->free_slots;
        if (slot == NULL) {
            return;
        }
        slot->rows = 0;
        if (!has_room(b, slot, r)) {
            return;
        }
        b->free_slots = slot->next;
        slot->n_users = 1;
        key->slot = slot;
    }
    r->slot = key->slot;
    r->slot_row = r->slot->rows;
    r->slot->rows += r->rows;
    r->slot->n_users++;
    atomic_fetch_add_explicit(&r->writing, 1, memory_order_relaxed);
}

void lt_slot_write(leat_request *r)
{
    const leat_batcher *b = r->batcher;
    for (size_t i = 0; i < b->io->n_inputs; i++) {
        if (!b->rules.batched[i]) {
            continue;
        }
        leat_array x = lt_batcher_padded_input(b, r, i);
        if (x.bytes > 0) { /* a slot has no memory for arrays without elements */
            x.data = (unsigned char *)r->slot->blocks[i].data + r->slot_row * lt_key_row_bytes(&x);
            lt_pad_copy(&r->inputs[i], &x);
        }
    }
    atomic_fetch_sub_explicit(&r->writing, 1, memory_order_release);
}

void lt_slot_settle(const leat_request *r)
{
    while (atomic_load_explicit(&r->writing, memory_order_acquire) != 0) {
        sched_yield(); /* the submitting thread is in the middle of a copy */
    }
}

const lt_slot *lt_slot_close(leat_batcher *b, lt_batch_key *key, const lt_batch *batch)
{
    const lt_slot *slot = batch->first != NULL ? batch->first->slot : NULL;
    uint32_t row = 0;
    for (const leat_request *r = batch->first; r != NULL && slot != NULL; r = r->next) {
        slot = r->slot == slot && r->slot_row == row ? slot : NULL;
        row += r->rows;
    }
    /* Others' rows behind must not be those that a batch is filled up with. */
    if (slot != NULL && slot->rows != row && b->planned[row] != row) {
        slot = NULL;
    }
    for (const leat_request *r = batch->first; r != NULL; r = r->next) {
        if (r->slot == key->slot) {
            lt_slot_stop(b, key); /* others begin anew, from the first row on */
        }
    }
    return slot;
}

void lt_slot_leave(leat_batcher *b, leat_request *r)
{
    if (r->slot != NULL) {
        let_go(b, r->slot);
        r->slot = NULL;
    }
}

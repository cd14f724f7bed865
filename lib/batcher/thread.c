/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher's threads: each runs batches while any may be begun, then one of them polls, if that
 * is wanted, and the others sleep. */
#include "base/thread.h"
#include "base/clock.h"
#include "batcher/batcher.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

lt_sleeper *lt_batcher_call(leat_batcher *b)
{
    lt_sleeper *s = b->sleepers;
    if (b->polling) {
        b->polling = false;
        atomic_fetch_add_explicit(&b->poll_ends, 1, memory_order_release);
        return NULL;
    }
    if (s != NULL) {
        b->sleepers = s->next;
        s->asleep = false;
    }
    return s;
}

void lt_batcher_rouse(lt_sleeper *s)
{
    if (s != NULL) {
        pthread_cond_signal(&s->wake);
    }
}

void lt_batcher_wake(leat_batcher *b)
{
    lt_batcher_rouse(lt_batcher_call(b));
}

void lt_batcher_wake_all(leat_batcher *b)
{
    while (b->polling || b->sleepers != NULL) {
        lt_batcher_wake(b);
    }
}

/* Polls, without the lock, until work has come, poll_us have passed, or `next`. Returns whether
 * work has come. One thread at a time. The caller holds the lock. */
static bool poll_for_work(leat_batcher *b, uint64_t next)
{
    const uint64_t last = lt_clock_ns() + 1000 * (uint64_t)b->desc.poll_us;
    const uint64_t end = last < next ? last : next;
    const uint32_t seen = atomic_load_explicit(&b->poll_ends, memory_order_relaxed);
    b->polling = true;
    pthread_mutex_unlock(&b->lock);
    while (atomic_load_explicit(&b->poll_ends, memory_order_acquire) == seen &&
           lt_clock_ns() < end) {
        lt_pause();
    }
    pthread_mutex_lock(&b->lock);
    const bool came = atomic_load_explicit(&b->poll_ends, memory_order_relaxed) != seen;
    b->polling = came && b->polling; /* it may be another's by now */
    return came;
}

/* Sleeps until work comes; until `next` at most. The caller holds the lock. */
static void sleep_for_work(leat_batcher *b, lt_sleeper *self, uint64_t next)
{
    const struct timespec limit = {.tv_sec = (time_t)(next / 1000000000u),
                                   .tv_nsec = (long)(next % 1000000000u)};
    int error = 0;
    self->next = b->sleepers;
    self->asleep = true;
    b->sleepers = self;
    while (self->asleep && error != ETIMEDOUT) {
        error = next == LT_NEVER ? pthread_cond_wait(&self->wake, &b->lock)
                                 : pthread_cond_timedwait(&self->wake, &b->lock, &limit);
    }
    if (self->asleep) {
        lt_sleeper **at = &b->sleepers;
        while (*at != self) {
            at = &(*at)->next;
        }
        *at = self->next;
    }
}

void *lt_batcher_thread(void *opaque)
{
    lt_sleeper *self = opaque;
    leat_batcher *b = self->batcher;
    uint64_t next;
    pthread_mutex_lock(&b->lock);
    for (bool polled = false;;) {
        if (lt_batcher_step(b, &next)) {
            polled = false;
            continue;
        }
        if (b->closing && b->stats.waiting == 0) {
            break;
        }
        if (!polled && !b->polling && b->desc.poll_us > 0) {
            polled = !poll_for_work(b, next);
        } else {
            sleep_for_work(b, self, next);
            polled = false;
        }
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

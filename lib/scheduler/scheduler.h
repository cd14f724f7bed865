/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's parts, as its files share them: scheduler.c its life and threads, requests.c what
 * comes, runs and ends, queue.c its queues, guard.c the shadow of the learned policy. */
#ifndef LT_SCHEDULER_SCHEDULER_H
#define LT_SCHEDULER_SCHEDULER_H

#include "base/clock.h"
#include "runtime/context.h"
#include "scheduler/core.h"

enum {
    LT_MOST_BATCH = 1024
};

typedef struct lt_device_thread {
    leat_scheduler *scheduler;
    uint32_t device;
    pthread_t thread;
    void *items[LT_MOST_BATCH];
} lt_device_thread;

struct leat_scheduler {
    lt_memory *memory;
    leat_scheduler_desc desc;
    leat_policy_weights weights;
    lt_arena arena;
    lt_device_thread *threads; /* of desc.run; NULL: none */
    uint32_t n_threads;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    bool closing;
    lt_core core;
    uint64_t deadlines[LEAT_MAX_DEVICES][LT_MOST_BATCH]; /* of what runs */

    bool has_shadow;
    lt_core shadow; /* the same requests by EDF */
    uint64_t shadow_deadlines[LEAT_MAX_DEVICES][LT_MOST_BATCH];
    double shadow_base; /* nanoseconds of work beyond what counts as credit */
    uint64_t takeovers;
};

static inline uint64_t lt_scheduler_now(const leat_scheduler *s)
{
    return s->desc.clock ? s->desc.clock(s->desc.clock_user) : lt_clock_ns();
}

/* requests.c: what a device is to do now. The caller holds the lock. */
void lt_scheduler_begin(leat_scheduler *scheduler, uint32_t device, uint64_t now,
                        leat_dispatch *out);
/* The device has ended. The caller holds the lock. */
void lt_scheduler_end(leat_scheduler *scheduler, uint32_t device, uint64_t now);
/* A request into a core's queue, or refused. The caller holds the lock. */
leat_status lt_scheduler_take(lt_core *core, bool admit, uint32_t queue, uint64_t now,
                              uint64_t deadline, void *item, leat_error *err) LEAT_MUST_CHECK;

/* guard.c: lets the shadow's devices go on until `now`, each batch taking what the table says. The
 * caller holds the lock. */
void lt_shadow_follow(leat_scheduler *scheduler, uint64_t now);
/* Lets EDF take over, or hand back. The caller holds the lock. */
void lt_shadow_guard(leat_scheduler *scheduler);

#endif

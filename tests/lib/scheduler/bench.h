/* SPDX-License-Identifier: Apache-2.0 */
/* A scheduler without threads, by a clock that the test sets. */
#ifndef TESTS_LIB_SCHEDULER_BENCH_H
#define TESTS_LIB_SCHEDULER_BENCH_H

#include "support/test.h"

#include <leat/scheduler.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

typedef struct bench {
    leat_context *context;
    leat_scheduler *scheduler;
    leat_error err;
    uint64_t now;
    void *items[1024];
    size_t n_expired;
    void *last_expired;
    uint64_t hash; /* of all decisions */
    uint64_t n_decisions;
    uint32_t n_devices; /* 1 or 2 */
} bench;

static bench b;

static inline uint64_t clock_now(void *user)
{
    return ((bench *)user)->now;
}

static inline void note_expired(void *user, uint32_t queue, void *item)
{
    (void)queue;
    ((bench *)user)->n_expired++;
    ((bench *)user)->last_expired = item;
}

static inline void note_decision(void *user, const leat_decision *d)
{
    bench *x = user;
    const uint64_t words[] = {d->time_ns, d->device, d->queue, d->rows, (uint64_t)d->policy};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        x->hash = (x->hash ^ words[i]) * 0x100000001b3u;
    }
    x->n_decisions++;
}

static inline void open_bench(leat_scheduler_desc desc)
{
    memset(&b, 0, sizeof(b));
    b.now = 1000 * MS;
    assert_ok(leat_context_create(NULL, &b.context, &b.err), &b.err);
    desc.struct_size = sizeof(desc);
    desc.context = b.context;
    b.n_devices = desc.n_devices = desc.n_devices ? desc.n_devices : 1;
    desc.expired = note_expired;
    desc.decided = note_decision;
    desc.user = &b;
    desc.clock = clock_now;
    desc.clock_user = &b;
    assert_ok(leat_scheduler_create(&desc, &b.scheduler, &b.err), &b.err);
}

static inline void close_bench(void)
{
    leat_scheduler_destroy(b.scheduler);
    leat_context_destroy(b.context);
}

/* One request takes `one`, more than that `step` each. */
static inline uint32_t add(uint32_t class_index, uint32_t max_batch, uint64_t one, uint64_t step)
{
    const uint64_t most = one + (max_batch - 1) * step;
    const leat_cost_point costs[] = {
        {0, 1, one}, {0, max_batch, most}, {1, 1, one}, {1, max_batch, most}};
    const leat_queue_desc desc = {.struct_size = sizeof(desc),
                                  .class_index = class_index,
                                  .max_batch = max_batch,
                                  .capacity = 64 * b.n_devices,
                                  .costs = costs,
                                  .n_costs = 2 * b.n_devices};
    uint32_t queue = 99;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &queue, &b.err), &b.err);
    return queue;
}

static inline void submit(uint32_t queue, uint64_t item, uint64_t deadline_ns)
{
    assert_ok(
        leat_scheduler_submit(b.scheduler, queue, (void *)(uintptr_t)item, deadline_ns, &b.err),
        &b.err);
}

static inline leat_dispatch begin(void)
{
    leat_dispatch d = {.items = b.items};
    assert_ok(leat_scheduler_begin(b.scheduler, 0, &d, &b.err), &b.err);
    return d;
}

static inline void end_after(uint64_t ns)
{
    b.now += ns;
    assert_ok(leat_scheduler_end(b.scheduler, 0, &b.err), &b.err);
}

static inline void assert_next(uint32_t queue, uint32_t rows, uint64_t first)
{
    const leat_dispatch d = begin();
    assert_int_equal(d.queue, queue);
    assert_int_equal(d.rows, rows);
    assert_int_equal((uintptr_t)b.items[0], first);
}

static inline leat_scheduler_stats stats(void)
{
    leat_scheduler_stats s = {.struct_size = sizeof(s)};
    leat_scheduler_read_stats(b.scheduler, &s);
    return s;
}

#endif

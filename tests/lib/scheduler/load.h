/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals at random on a scheduler of bench.h: small requests with deadlines, and bulk. */
#ifndef TESTS_LIB_SCHEDULER_LOAD_H
#define TESTS_LIB_SCHEDULER_LOAD_H

#include "bench.h"

/* ---- a load ---------------------------------------------------------------------------------- */

static inline uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static inline uint64_t small_cost(uint32_t rows)
{
    return MS / 2 + (rows - 1) * (MS / 20);
}

static inline uint64_t bulk_cost(uint32_t rows)
{
    return MS + (rows - 1) * (MS / 4);
}

/* What the device has become: half as fast, and batches gain nothing. */
static inline uint64_t drifted_cost(uint64_t one, uint32_t rows)
{
    return 2 * one * rows;
}

typedef struct load {
    uint32_t small, bulk;
    uint64_t seed, arrives;
    uint64_t ends[2], until[2]; /* of each device */
    uint64_t most_gap;          /* between requests */
    bool busy[2], drifted;
} load;

static inline void open_load(load *l)
{
    *l = (load){.small = add(0, 16, small_cost(1), MS / 20),
                .bulk = add(1, 16, bulk_cost(1), MS / 4),
                .seed = 9,
                .arrives = b.now,
                .until = {UINT64_MAX, UINT64_MAX},
                .most_gap = 230000 / b.n_devices};
}

static inline void begin_idle(load *l)
{
    for (uint32_t d = 0; d < b.n_devices; d++) {
        leat_dispatch next = {.items = b.items};
        if (l->busy[d]) {
            continue;
        }
        assert_ok(leat_scheduler_begin(b.scheduler, d, &next, &b.err), &b.err);
        const bool small = next.queue == l->small;
        l->busy[d] = next.rows > 0;
        l->until[d] = next.until_ns;
        l->ends[d] = b.now + (l->drifted ? drifted_cost(small ? MS / 2 : MS, next.rows)
                              : small    ? small_cost(next.rows)
                                         : bulk_cost(next.rows));
    }
}

/* So many requests, an event at a time. */
static inline void go_on(load *l, int n)
{
    while (n > 0) {
        uint64_t event = UINT64_MAX;
        uint32_t device = 0;
        for (uint32_t d = 0; d < b.n_devices; d++) {
            const uint64_t of_device = l->busy[d] ? l->ends[d] : l->until[d];
            if (of_device < event) {
                event = of_device;
                device = d;
            }
        }
        b.now = l->arrives < event ? l->arrives : event > b.now ? event : b.now;
        if (l->arrives <= event) {
            const bool small = next_random(&l->seed) % 10 < 7;
            (void)!leat_scheduler_submit(b.scheduler, small ? l->small : l->bulk, NULL,
                                         small ? 8 * MS : 60 * MS, NULL);
            l->arrives += next_random(&l->seed) % l->most_gap;
            n--;
        } else if (l->busy[device]) {
            assert_ok(leat_scheduler_end(b.scheduler, device, &b.err), &b.err);
            l->busy[device] = false;
        }
        begin_idle(l);
    }
}

/* So many requests of two queues, 1.3 times what can be done. */
static inline void run_load(int n)
{
    load l;
    open_load(&l);
    go_on(&l, n);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void fail(const char *what, const leat_error *err)
{
    fprintf(stderr, "serve: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*seed >> 11) + 0.5) / 9007199254740992.0;
}

void times_clear(times *t)
{
    for (int i = 0; i < BUCKETS; i++) {
        t->buckets[i] = 0;
    }
    t->completed = t->failed = t->late = t->refused = t->beyond = 0;
}

static uint64_t since(const _Atomic uint64_t *now, _Atomic uint64_t *seen)
{
    const uint64_t value = atomic_load(now);
    return value - atomic_exchange(seen, value);
}

void times_since(const times *t, times *seen, times *out)
{
    for (int i = 0; i < BUCKETS; i++) {
        out->buckets[i] = since(&t->buckets[i], &seen->buckets[i]);
    }
    out->completed = since(&t->completed, &seen->completed);
    out->failed = since(&t->failed, &seen->failed);
    out->late = since(&t->late, &seen->late);
    out->refused = since(&t->refused, &seen->refused);
    out->beyond = since(&t->beyond, &seen->beyond);
}

void times_note(times *t, uint64_t ns)
{
    double bucket = log((double)(ns < 100 ? 100 : ns) / 100) / log(1.01);
    atomic_fetch_add(&t->buckets[bucket < BUCKETS - 1 ? (int)bucket : BUCKETS - 1], 1);
}

double times_quantile(const times *t, double part)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        total += t->buckets[i];
    }
    for (int i = 0; i < BUCKETS; i++) {
        seen += t->buckets[i];
        if (seen > 0 && (double)seen >= part * (double)total) {
            return 100 * pow(1.01, i + 1) / 1e6;
        }
    }
    return 0;
}

void ticket_done(ticket *t, leat_status status)
{
    load *l = t->l;
    times *own = &l->times[t->class_index];
    const uint64_t took = now_ns() - t->due, deadline = l->deadline[t->class_index];
    const bool late = deadline != 0 && took > deadline;
    times_note(own, took);
    atomic_fetch_add(status == LEAT_OK ? &own->completed : &own->failed, 1);
    atomic_fetch_add(&own->late, status != LEAT_OK || late);
    atomic_fetch_add(&own->beyond, l->bound != 0 && took > l->bound);
    atomic_store(&t->busy, 0);
}

void wait_until(uint64_t due)
{
    uint64_t now = now_ns();
    if (now + 60000 < due) {
        const uint64_t ns = due - now - 50000;
        nanosleep(&(struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)}, NULL);
    }
    while (now_ns() < due) {
    }
}

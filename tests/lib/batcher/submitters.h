/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that send a batcher requests by the thousand, a few at a time, and cancel some. Each
 * request must complete once, and where it succeeds with its own numbers (y = x). */
#ifndef TESTS_LIB_BATCHER_SUBMITTERS_H
#define TESTS_LIB_BATCHER_SUBMITTERS_H

#include "support/test.h"

#include <leat/batcher.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUBMITTERS = 4,
    MOST_WIDTH = 4,
    MOST_WINDOW = 16
};

/* A request of one row. */
typedef struct sent {
    float in[MOST_WIDTH], out[MOST_WIDTH];
    leat_array x, y;
    leat_request *handle;
    _Atomic int completions;
    leat_status status;
} sent;

typedef struct submitter {
    leat_batcher *batcher;
    /* Draws a request: fills r->in and returns its width, sets class, deadline and group of desc.
     */
    int (*draw)(struct submitter *s, sent *r, leat_request_desc *desc);
    int window; /* handles that are held at once */
    int n_requests;
    uint32_t seed;
    pthread_t thread;
    uint64_t counts[LEAT_EXPIRED + 1], wrong;
} submitter;

static inline uint32_t next(submitter *s)
{
    s->seed = s->seed * 1664525u + 1013904223u;
    return s->seed >> 8;
}

static inline void note_completion(void *user, leat_status status, const leat_array *outputs,
                                   size_t n_outputs, const leat_error *error)
{
    sent *r = user;
    (void)outputs;
    (void)n_outputs;
    (void)error;
    r->status = status;
    atomic_fetch_add(&r->completions, 1);
}

/* Of a request whose numbers are there. */
static inline leat_request_desc describe_sent(sent *r, int width)
{
    r->x = (leat_array){.dtype = LEAT_DTYPE_F32,
                        .rank = 2,
                        .shape = {1, width},
                        .data = r->in,
                        .bytes = (size_t)width * sizeof(float)};
    r->y = (leat_array){.data = r->out, .bytes = sizeof(r->out)};
    return (leat_request_desc){.struct_size = sizeof(leat_request_desc),
                               .inputs = &r->x,
                               .n_inputs = 1,
                               .outputs = &r->y,
                               .n_outputs = 1,
                               .done = note_completion,
                               .done_user = r};
}

static inline void finish_sent(submitter *s, sent *r)
{
    leat_error err;
    const leat_status status = leat_request_wait(r->handle, 0, &err);
    s->wrong += atomic_load(&r->completions) != 1 || r->status != status;
    s->wrong += status == LEAT_OK && memcmp(r->in, r->out, r->x.bytes) != 0;
    s->counts[status]++;
    leat_request_release(r->handle);
}

/* Until it is let in: one that is refused may come without a deadline. */
static inline bool send_one(submitter *s, sent *r)
{
    leat_error err;
    leat_status status;
    memset(r, 0, sizeof(*r));
    leat_request_desc drawn = {0};
    const int width = s->draw(s, r, &drawn);
    leat_request_desc desc = describe_sent(r, width);
    desc.class_index = drawn.class_index;
    desc.deadline_ns = drawn.deadline_ns;
    desc.group = drawn.group;
    while ((status = leat_batcher_submit(s->batcher, &desc, &r->handle, &err)) != LEAT_OK) {
        desc.deadline_ns = 0;
        if (status == LEAT_BUSY) {
            nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
        } else if (status != LEAT_EXPIRED) {
            return false;
        }
    }
    if (next(s) % 5 == 0) {
        status = leat_request_cancel(r->handle, &err);
        s->wrong += status != LEAT_OK && status != LEAT_BUSY;
    }
    return true;
}

static inline void *send_all(void *argument)
{
    submitter *s = argument;
    sent window[MOST_WINDOW];
    for (int i = 0; i < s->n_requests; i++) {
        sent *r = &window[i % s->window];
        if (i >= s->window) {
            finish_sent(s, r);
        }
        if (!send_one(s, r)) {
            s->wrong++;
            return NULL;
        }
    }
    for (int i = 0; i < s->window; i++) {
        finish_sent(s, &window[i]);
    }
    return NULL;
}

/* Each thread's part of LEAT_TORTURE_REQUESTS (scripts/torture.sh: a million), or of `by_default`.
 */
static inline int requests_each(int by_default)
{
    const char *wanted = getenv("LEAT_TORTURE_REQUESTS");
    return (wanted ? atoi(wanted) : by_default) / SUBMITTERS;
}

/* Runs threads that are `like` this, adds up how their requests ended, and compares the batcher's
 * own counts once nothing runs. */
static inline leat_batcher_stats run_submitters(submitter like, uint64_t *out_counts)
{
    static submitter s[SUBMITTERS];
    const uint64_t sum = (uint64_t)SUBMITTERS * (uint64_t)like.n_requests;
    for (int i = 0; i < SUBMITTERS; i++) {
        s[i] = like;
        s[i].seed = (uint32_t)i + 1;
        assert_int_equal(pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(s[i].wrong, 0);
        for (int k = 0; k <= LEAT_EXPIRED; k++) {
            out_counts[k] += s[i].counts[k];
        }
    }
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    do { /* a batch may return behind its last completion */
        sched_yield();
        leat_batcher_read_stats(like.batcher, &stats);
    } while (stats.running > 0);
    assert_int_equal(stats.accepted, sum);
    assert_int_equal(stats.succeeded, out_counts[LEAT_OK]);
    assert_int_equal(stats.cancelled, out_counts[LEAT_CANCELLED]);
    assert_int_equal(stats.expired, out_counts[LEAT_EXPIRED]);
    assert_int_equal(stats.failed, out_counts[LEAT_IO] + out_counts[LEAT_NO_MEMORY]);
    assert_int_equal(stats.succeeded + stats.cancelled + stats.expired + stats.failed, sum);
    assert_int_equal(stats.waiting, 0);
    return stats;
}

#endif

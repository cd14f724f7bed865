/* SPDX-License-Identifier: Apache-2.0 */
/* An array of requests at once, on top of what submit.c does with one. */
#include "base/error.h"
#include "batcher/batcher.h"

#include <stdatomic.h>

enum {
    WINDOW = 512
};

/* The requests of leat_batcher_process that are under way, oldest first. */
typedef struct window {
    leat_request *requests[WINDOW];
    size_t first; /* index of the oldest */
    size_t n;
    leat_status *statuses; /* may be NULL */
    size_t failed;         /* the lowest index that failed; SIZE_MAX: none */
    leat_status status;
    leat_error err;
} window;

static void note(window *w, size_t index, leat_status status, const leat_error *err)
{
    if (w->statuses != NULL) {
        w->statuses[index] = status;
    }
    if (status != LEAT_OK && index < w->failed) {
        w->failed = index;
        w->status = status;
        w->err = *err;
    }
}

static void finish_oldest(window *w)
{
    leat_error err = {0};
    leat_request *r = w->requests[w->first % WINDOW];
    note(w, w->first, leat_request_wait(r, 0, &err), &err);
    leat_request_release(r);
    w->first++;
    w->n--;
}

/* Others' requests fill the queue, or have all keys: waits for one of them. */
static void wait_for_room(leat_batcher *b)
{
    pthread_mutex_lock(&b->lock);
    atomic_fetch_add(&b->n_without_room, 1); /* before looking: who gives one back looks after it */
    const bool room = lt_batcher_has_room(b, 0) && b->resting.first != NULL;
    if (!room && !b->desc.no_threads) {
        pthread_cond_wait(&b->ended, &b->lock);
    }
    atomic_fetch_sub(&b->n_without_room, 1);
    pthread_mutex_unlock(&b->lock);
    if (b->desc.no_threads && leat_batcher_poll(b, NULL, NULL) != LEAT_OK) {
        return; /* cannot be: it has no threads */
    }
}

static void submit_one(leat_batcher *b, window *w, size_t index, const leat_array *inputs,
                       leat_array *outputs)
{
    const size_t n_in = b->io->n_inputs, n_out = b->io->n_outputs;
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = inputs + index * n_in,
                                    .n_inputs = n_in,
                                    .outputs = outputs + index * n_out,
                                    .n_outputs = n_out};
    leat_request *r = NULL;
    leat_error err = {0};
    leat_status status;
    if (w->n == WINDOW) {
        finish_oldest(w);
    }
    while ((status = leat_batcher_submit(b, &desc, &r, &err)) == LEAT_BUSY) {
        if (w->n > 0) {
            finish_oldest(w);
        } else {
            wait_for_room(b);
        }
    }
    if (status == LEAT_OK) {
        w->requests[(w->first + w->n) % WINDOW] = r;
        w->n++;
        return;
    }
    /* Indices in the window follow each other: one that was not queued ends it. */
    while (w->n > 0) {
        finish_oldest(w);
    }
    note(w, index, status, &err);
    w->first = index + 1;
}

leat_status leat_batcher_process(leat_batcher *b, size_t n_requests, const leat_array *inputs,
                                 leat_array *outputs, leat_status *statuses, leat_error *err)
{
    if (b == NULL || (n_requests > 0 && (inputs == NULL || outputs == NULL))) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_process: an argument is NULL");
    }
    window w = {.statuses = statuses, .failed = SIZE_MAX};
    for (size_t i = 0; i < n_requests; i++) {
        submit_one(b, &w, i, inputs, outputs);
    }
    leat_batcher_flush(b);
    while (w.n > 0) {
        finish_oldest(&w);
    }
    if (w.failed == SIZE_MAX) {
        return LEAT_OK;
    }
    if (err != NULL) {
        *err = w.err;
    }
    return lt_fail_within(err, w.status, "request %zu", w.failed);
}

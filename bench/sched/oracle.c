/* SPDX-License-Identifier: Apache-2.0 */
/* What no policy can exceed on given arrivals, even one that knows them beforehand.
 *
 * A batch of b that is in time for all its requests begins after the last of them came and ends
 * before the first is due, so they came within D - L(b) of each other. Of each request this gives
 * the largest batch it can be part of, and L(b) / b of it the least time p it can take of a device;
 * e = work / p is what it yields. Now let a device be taken away at any moment, let parts of
 * requests count, and let batches form by themselves: of this relaxed problem (a linear program on
 * intervals) the optimum is a polymatroid's, found by greed (Edmonds, 1970): in order of falling e,
 * each group adds what more can be processed together with those before, which EDF with preemption
 * finds (Glover, 1967, for the unit case). */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEVELS = 32 /* of e, rounded up */
};

typedef struct job {
    double arrived, due; /* seconds */
    double least;        /* seconds of a device at least */
    int level;           /* e is level / LEVELS at most */
} job;

typedef struct jobs {
    job *job;
    size_t n, room;
} jobs;

static int by_arrival(const void *a, const void *b)
{
    const double x = ((const job *)a)->arrived, y = ((const job *)b)->arrived;
    return x < y ? -1 : x > y;
}

static void append_job(jobs *list, job j)
{
    if (list->n == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->job = realloc(list->job, list->room * sizeof(j));
        if (list->job == NULL) {
            fail("no memory", NULL);
        }
    }
    list->job[list->n++] = j;
}

/* The least time each of a stream's requests, by arrival, can take. */
static void find_least(const stream *s, job *own, size_t n)
{
    for (uint32_t b = 1; b <= s->max_batch && b <= n; b++) {
        const double cost = cost_ns(s, b) / 1e9, window = s->deadline_ms / 1e3 - cost;
        size_t marked = 0; /* those before are */
        for (size_t k = 0; window >= 0 && k + b <= n; k++) {
            if (own[k + b - 1].arrived - own[k].arrived > window) {
                continue;
            }
            for (size_t i = marked > k ? marked : k; i < k + b; i++) {
                own[i].least = fmin(own[i].least, cost / b);
            }
            marked = k + b;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const double e = s->work_ns / 1e9 / own[i].least;
        own[i].level = (int)ceil(fmin(e, 1) * LEVELS - 1e-9);
    }
}

typedef struct heap {
    const job **at;
    double *left;
    size_t n;
} heap;

static void swap(heap *h, size_t a, size_t b)
{
    const job *j = h->at[a];
    const double left = h->left[a];
    h->at[a] = h->at[b];
    h->left[a] = h->left[b];
    h->at[b] = j;
    h->left[b] = left;
}

static void push(heap *h, const job *j, double left)
{
    size_t i = h->n++;
    h->at[i] = j;
    h->left[i] = left;
    for (; i > 0 && h->at[(i - 1) / 2]->due > h->at[i]->due; i = (i - 1) / 2) {
        swap(h, i, (i - 1) / 2);
    }
}

static void pop(heap *h)
{
    size_t i = 0;
    swap(h, 0, --h->n);
    for (;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2; c++) {
            least = c < h->n && h->at[c]->due < h->at[least]->due ? c : least;
        }
        if (least == i) {
            return;
        }
        swap(h, i, least);
        i = least;
    }
}

/* The most seconds of work, in devices' time, of jobs of a level or above. */
static double process(const jobs *list, heap *h, int level, uint32_t n_devices)
{
    double time = 0, done = 0;
    h->n = 0;
    for (size_t i = 0; i <= list->n; i++) {
        const double next = i < list->n ? list->job[i].arrived : INFINITY;
        while (h->n > 0 && time < next) {
            if (h->at[0]->due <= time) {
                pop(h);
                continue;
            }
            const double until = fmin(next, h->at[0]->due);
            const double part = fmin(until - time, h->left[0]);
            done += part;
            time += part;
            h->left[0] -= part;
            if (h->left[0] <= 0) {
                pop(h);
            }
        }
        time = fmax(time, i < list->n ? next : time);
        if (i < list->n && list->job[i].level >= level) {
            push(h, &list->job[i], list->job[i].least / n_devices);
        }
    }
    return done * n_devices;
}

oracle most_possible(const world *w, int trace, uint64_t seed)
{
    jobs list = {0};
    double asked = 0, most = 0, before = 0;
    for (size_t i = 0; i < w->n_streams; i++) {
        const stream *s = &w->streams[i];
        const size_t first = list.n;
        uint64_t chance = arrival_seed(seed, i, trace);
        for (double at = next_arrival(w, trace, s, 0, &chance); at < w->seconds;
             at = next_arrival(w, trace, s, at, &chance)) {
            append_job(&list, (job){at, fmin(at + s->deadline_ms / 1e3, w->seconds), INFINITY, 0});
        }
        if (list.n > first) {
            find_least(s, list.job + first, list.n - first);
        }
        asked += (double)(list.n - first) * s->work_ns / 1e9;
    }
    heap h = {malloc((list.n + 1) * sizeof(*h.at)), malloc((list.n + 1) * sizeof(*h.left)), 0};
    if (h.at == NULL || h.left == NULL) {
        fail("no memory", NULL);
    }
    if (list.n > 0) {
        qsort(list.job, list.n, sizeof(job), by_arrival);
    }
    for (int level = LEVELS; level > 0; level--) {
        const double done = process(&list, &h, level, w->n_devices);
        most += (done - before) * level / LEVELS;
        before = done;
    }
    free(h.at);
    free(h.left);
    free(list.job);
    const double time = w->seconds * w->n_devices;
    return (oracle){fmin(most, asked) / time, asked / time};
}

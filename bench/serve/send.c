/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    (void)outputs;
    (void)n_outputs;
    (void)error;
    ticket_done(user, status);
}

/* Request number `index`, due at `due`. */
static ticket make_ticket(load *l, uint64_t index, uint64_t due, uint32_t class_index)
{
    const uint32_t kind = l->order ? l->order[index % l->n_order] : (uint32_t)(index % l->n_kinds);
    return (ticket){.l = l,
                    .due = due,
                    .kind = kind,
                    .group =
                        l->group_rows ? (uint64_t)l->inputs[kind][0].shape[0] : index % l->n_groups,
                    .class_index = class_index};
}

/* Answers a request on this thread. */
static leat_status run_alone(ticket *t)
{
    const load *l = t->l;
    leat_array outputs[MOST_OUTPUTS];
    const size_t n_outputs = leat_model_io(l->model)->n_outputs;
    memset(outputs, 0, n_outputs * sizeof(outputs[0]));
    const leat_array *inputs = l->inputs[t->kind];
    const leat_status status =
        l->null != NULL
            ? null_run(l->null, 0, inputs, l->n_inputs, outputs, n_outputs, NULL)
            : leat_session_run(l->session, inputs, l->n_inputs, outputs, n_outputs, NULL);
    ticket_done(t, status);
    return LEAT_OK;
}

static leat_status submit(ticket *t, way how)
{
    load *l = t->l;
    const uint64_t deadline = l->deadline[t->class_index], waited = now_ns() - t->due;
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = l->inputs[t->kind],
                                    .n_inputs = l->n_inputs,
                                    .group = t->group,
                                    .class_index = t->class_index,
                                    .deadline_ns = deadline == 0       ? 0
                                                   : waited < deadline ? deadline - waited
                                                                       : 1,
                                    .done = completed,
                                    .done_user = t};
    atomic_store(&t->busy, 1);
    leat_status status = how == BY_SESSION ? run_alone(t)
                         : l->fifo != NULL ? (fifo_submit(l->fifo, t) ? LEAT_OK : LEAT_BUSY)
                         : how == BY_RUN   ? leat_batcher_run(l->batcher, &desc, NULL)
                                           : leat_batcher_submit(l->batcher, &desc, NULL, NULL);
    if (how == BY_SUBMIT && status != LEAT_OK) {
        atomic_store(&t->busy, 0);
    }
    return status;
}

static void drain(load *l)
{
    leat_error err;
    if (l->fifo != NULL) {
        fifo_drain(l->fifo);
    } else if (leat_batcher_drain(l->batcher, 0, &err) != LEAT_OK) {
        fail("drain", &err);
    }
}

static void counts(load *l, uint64_t *batches, uint64_t *rows)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    if (l->fifo != NULL) {
        fifo_counts(l->fifo, batches, rows);
        return;
    }
    leat_batcher_read_stats(l->batcher, &stats);
    *batches = stats.batches;
    *rows = stats.rows;
}

/* One thread that sends requests as they arrive. */
typedef struct sender {
    load *l;
    const settings *s;
    arrivals stream;
    uint32_t class_index; /* of the next arrival */
    double at;            /* its time; infinity: none */
    bool stretches;       /* prints them */
    double reported;      /* seconds up to which they were printed */
    uint64_t begin, most_beyond;
    ticket *tickets; /* [TICKETS] */
    pthread_t thread;
} sender;

enum {
    TICKETS = 8192,
    MOST_SENDERS = 64
};

/* Waits for the next arrival. False: there is none. */
static bool next_arrival(sender *o, uint64_t *out_due, uint32_t *out_class)
{
    const settings *s = o->s;
    const double at = o->at, end = s->trace != NULL ? INFINITY : s->seconds;
    if (at >= end || isinf(at) || o->l->times[o->class_index].beyond > o->most_beyond) {
        return false;
    }
    while (o->stretches && o->reported + s->every <= at) {
        o->reported += s->every;
        print_stretch(o->l, s, o->reported);
    }
    *out_due = o->begin + (uint64_t)(at * 1e9);
    *out_class = o->class_index;
    wait_until(*out_due);
    o->at = arrivals_next(&o->stream, &o->class_index);
    return true;
}

static void *send_stream(void *argument)
{
    sender *o = argument;
    load *l = o->l;
    uint64_t due;
    uint32_t c;
    for (uint64_t sent = 0; next_arrival(o, &due, &c); sent++) {
        ticket *t = &o->tickets[sent % TICKETS];
        if (atomic_load(&t->busy)) {
            l->times[c].refused++;
            continue;
        }
        *t = make_ticket(l, sent, due, c);
        l->times[c].refused += submit(t, l->way) != LEAT_OK;
    }
    return NULL;
}

/* The senders of a load: of equal parts of the rate, and one of the urgent requests, the first
 * being the caller's own thread. */
static int make_senders(sender *all, load *l, const settings *s, double rate)
{
    const uint32_t bulk = s->urgent > 0 ? 1 : 0;
    const int most = MOST_SENDERS - 1;
    const int n = s->trace != NULL || s->senders < 1 ? 1 : s->senders < most ? s->senders : most;
    for (int i = 0; i < n; i++) {
        all[i] = (sender){.stream = {.rate = rate / n,
                                     .seed = 1 + 10 * (uint64_t)i,
                                     .on_ms = s->on_ms,
                                     .off_ms = s->off_ms},
                          .class_index = bulk,
                          .stretches = i == 0 && s->every > 0,
                          .most_beyond = UINT64_MAX};
        if (s->trace != NULL) {
            arrivals_read(&all[i].stream, s->trace);
        } else if (l->bound != 0) {
            all[i].most_beyond = (uint64_t)(0.01 * rate * s->seconds) + 1;
        }
    }
    if (s->urgent > 0) {
        all[n] = (sender){.stream = {.rate = s->urgent, .seed = 5}, .most_beyond = UINT64_MAX};
    }
    return n + (s->urgent > 0);
}

/* Sends all of a load's requests and waits for them. Returns how long it took, in seconds. */
static double send_all(load *l, const settings *s, double rate)
{
    static sender all[MOST_SENDERS];
    const int n = make_senders(all, l, s, rate);
    const uint64_t begin = now_ns() + (n > 1 ? 2000000 : 0); /* until all threads are there */
    for (int i = n - 1; i >= 0; i--) {
        all[i].l = l;
        all[i].s = s;
        all[i].begin = begin;
        all[i].tickets = calloc(TICKETS, sizeof(ticket));
        all[i].at = arrivals_next(&all[i].stream, &all[i].class_index);
        if (i > 0 && pthread_create(&all[i].thread, NULL, send_stream, &all[i]) != 0) {
            fail("thread", NULL);
        }
    }
    send_stream(&all[0]);
    for (int i = 1; i < n; i++) {
        pthread_join(all[i].thread, NULL);
    }
    drain(l);
    const double took = (double)(now_ns() - begin) / 1e9;
    if (all[0].stretches) { /* the rest; what follows tells of all */
        print_stretch(l, s, took);
    }
    for (int i = 0; i < n; i++) {
        free(all[i].tickets);
    }
    return took;
}

result open_loop(load *l, const settings *s, double rate)
{
    uint64_t before[2], after[2];
    const uint32_t bulk = s->urgent > 0 ? 1 : 0;
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    if (l->batcher != NULL) {
        leat_batcher_read_stats(l->batcher, &stats);
    }
    counts(l, &before[0], &before[1]);
    for (int c = 0; c < CLASSES; c++) {
        times_clear(&l->times[c]);
    }
    times_clear(&l->reported);
    result r = {.asked = rate, .took = send_all(l, s, rate)};
    counts(l, &after[0], &after[1]);
    r.rows = (double)(after[1] - before[1]) / (double)(after[0] - before[0]);
    for (uint32_t c = 0; c < CLASSES && s->light <= 0; c++) {
        const times *t = &l->times[c];
        r.refused += t->refused + t->failed;
        if (c == bulk || t->completed + t->refused + t->failed > 0) {
            print_class(l, s, &r, c);
            if (c < bulk && !s->json && l->batcher != NULL) {
                printf("; 99 %% begun within %.3f ms", begun_within(l, &stats, c));
            }
            printf(c < bulk && !s->json ? "\n" : "");
        }
    }
    const times *t = &l->times[bulk];
    r.p50 = times_quantile(t, 0.5);
    r.p99 = times_quantile(t, 0.99);
    r.rate = (double)t->completed / r.took;
    r.goodput = (double)(t->completed + t->failed - t->late) / r.took;
    return r;
}

typedef struct user {
    load *l;
    pthread_t thread;
    size_t index;
    uint64_t until;
} user;

static void *ask_again(void *argument)
{
    user *u = argument;
    for (uint64_t i = u->index; now_ns() < u->until; i++) {
        ticket t = make_ticket(u->l, i, now_ns(), 0);
        if (submit(&t, BY_RUN) == LEAT_BUSY) {
            atomic_fetch_add(&u->l->times[0].failed, 1); /* others are counted by `completed` */
        }
    }
    return NULL;
}

void closed_loop(load *l, const settings *s)
{
    static user users[1024];
    const int n = s->users < 1024 ? s->users : 1024;
    times *t = &l->times[0];
    times_clear(t);
    const uint64_t begin = now_ns();
    for (int i = 0; i < n; i++) {
        users[i] =
            (user){.l = l, .index = (size_t)i, .until = begin + (uint64_t)(s->seconds * 1e9)};
        if (pthread_create(&users[i].thread, NULL, ask_again, &users[i]) != 0) {
            fail("thread", NULL);
        }
    }
    for (int i = 0; i < n; i++) {
        pthread_join(users[i].thread, NULL);
    }
    const double took = (double)(now_ns() - begin) / 1e9;
    printf(
        s->json
            ? "{\"users\": %d, \"per_s\": %.1f, \"mean_ms\": %.4f, \"p50_ms\": %.4f, \"p90_ms\": "
              "%.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"errors\": %llu}\n"
            : "%d users: %.0f/s, ms: mean %.3f, 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f; "
              "%llu errors\n",
        n, (double)t->completed / took, took * 1e3 * n / (double)t->completed,
        times_quantile(t, 0.5), times_quantile(t, 0.9), times_quantile(t, 0.99),
        times_quantile(t, 0.999), (unsigned long long)t->failed);
}

/* Requests one after the other on a session. Returns requests a second by the median. */
double run_directly(load *l, const settings *s, const leat_session_desc *desc)
{
    leat_error err;
    leat_array outputs[MOST_OUTPUTS] = {{0}};
    const size_t n_outputs = leat_model_io(l->model)->n_outputs;
    const size_t n = l->order ? l->n_order : l->n_kinds;
    if (s->null_us > 0) {
        return 1e6 / (s->null_us + s->null_row_us);
    }
    if (leat_session_create(l->model, desc, &l->session, &err) != LEAT_OK) {
        fail("session", &err);
    }
    uint64_t total = 0, measured = 0;
    const uint64_t begin = now_ns(), most = 1500000000u;
    const size_t rounds = (299 / n + 1) * n; /* the first half makes plans */
    for (size_t i = 0; i < 2 * rounds; i++) {
        const uint32_t kind = l->order ? l->order[i % n] : (uint32_t)(i % n);
        const uint64_t started = now_ns();
        const bool measure = i >= rounds || started - begin > most / 2;
        memset(outputs, 0, sizeof(outputs));
        if (leat_session_run(l->session, l->inputs[kind], l->n_inputs, outputs, n_outputs, &err) !=
            LEAT_OK) {
            fail("run", &err);
        }
        const uint64_t ended = now_ns();
        if (measure) {
            total += ended - started;
            measured++;
            times_note(&l->times[0], ended - started);
        }
        if (measured > 0 && ended - begin > most) {
            break;
        }
    }
    const double median = times_quantile(&l->times[0], 0.5),
                 rate = 1e9 * (double)measured / (double)total;
    printf(s->json ? "{\"direct_median_ms\": %.4f, \"direct_per_s\": %.1f}\n"
                   : "one after the other: median %.3f ms, %.0f/s\n",
           median, rate);
    return rate;
}

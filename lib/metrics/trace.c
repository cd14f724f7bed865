/* SPDX-License-Identifier: Apache-2.0 */
/* A context's trace as chrome's JSON: complete events ("X") in a lane for each thread and kind,
 * waiting requests as asynchronous ones ("b" and "e" of an id).
 * https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU */
#include "base/error.h"
#include "metrics/text.h"
#include "runtime/context.h"

#include <stdio.h>

#define MOST_THREADS 64u
#define DEFAULT_EVENTS 32768u

static const char *const lane_names[LT_LANE_COUNT] = {"queue", "batch", "run", "copy", "kernel"};

leat_status leat_trace_start(leat_context *context, uint32_t n_events, leat_error *err)
{
    if (context == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_trace_start: the context is NULL");
    }
    lt_trace *t = &context->trace;
    const uint32_t n = n_events ? n_events : DEFAULT_EVENTS;
    leat_status status = LEAT_OK;
    pthread_mutex_lock(&t->lock);
    if (lt_trace_is_on(t)) {
        status = lt_fail(err, LEAT_BUSY, "the context is traced already");
    } else if (n != t->capacity) {
        lt_free(&context->memory, t->events, t->capacity * sizeof(*t->events));
        t->events = lt_alloc(&context->memory, n * sizeof(*t->events), LT_ALIGNMENT);
        t->capacity = t->events != NULL ? n : 0;
        status = t->events != NULL
                     ? LEAT_OK
                     : lt_fail(err, LEAT_NO_MEMORY, "no memory for %u events of a trace", n);
    }
    if (status == LEAT_OK) {
        t->n_events = 0;
        t->start_ns = lt_clock_ns();
    }
    if (status != LEAT_BUSY) {
        atomic_store_explicit(&t->on, status == LEAT_OK, memory_order_relaxed);
    }
    pthread_mutex_unlock(&t->lock);
    return status;
}

void leat_trace_stop(leat_context *context)
{
    pthread_mutex_lock(&context->trace.lock);
    atomic_store_explicit(&context->trace.on, 0, memory_order_relaxed);
    pthread_mutex_unlock(&context->trace.lock);
}

/* Names of nodes are a file's: nothing of them may end a string. */
static const char *plain(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '_' : *c;
    }
    return text;
}

/* Threads seen so far; those beyond the table share its end. */
typedef struct threads {
    uint64_t ids[MOST_THREADS];
    bool named[MOST_THREADS][LT_LANE_COUNT];
    uint32_t n;
} threads;

static uint32_t thread_of(threads *all, uint64_t id)
{
    uint32_t i = 0;
    while (i < all->n && all->ids[i] != id) {
        i++;
    }
    if (i == all->n && i < MOST_THREADS) {
        all->ids[all->n++] = id;
    }
    return i < MOST_THREADS ? i : MOST_THREADS - 1;
}

static void put_event(lt_text *out, threads *all, const lt_trace *t, lt_trace_event e)
{
    char line[384], at[2][32];
    const uint32_t thread = thread_of(all, e.thread), lane = thread * LT_LANE_COUNT + e.lane;
    const uint64_t ns[2] = {e.begin_ns - t->start_ns, e.lane == LT_LANE_QUEUE
                                                          ? e.end_ns - t->start_ns
                                                          : e.end_ns - e.begin_ns};
    for (int i = 0; i < 2; i++) {
        snprintf(at[i], sizeof(at[i]), "%llu.%03u", (unsigned long long)(ns[i] / 1000),
                 (unsigned)(ns[i] % 1000));
    }
    if (e.lane == LT_LANE_QUEUE) {
        for (int i = 0; i < 2; i++) {
            snprintf(line, sizeof(line),
                     ",\n{\"name\":\"%s\",\"cat\":\"queue\",\"ph\":\"%c\",\"id\":%llu,\"pid\":1,"
                     "\"tid\":0,\"ts\":%s}",
                     plain(e.name), "be"[i], (unsigned long long)e.number, at[i]);
            lt_text_put(out, line);
        }
        return;
    }
    if (!all->named[thread][e.lane]) {
        all->named[thread][e.lane] = true;
        snprintf(
            line, sizeof(line),
            ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"args\":{\"name\":"
            "\"%s, thread %u\"}}",
            lane, lane_names[e.lane], thread);
        lt_text_put(out, line);
    }
    snprintf(line, sizeof(line),
             ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%s,"
             "\"dur\":%s,\"args\":{\"node\":\"%s\",\"rows\":%llu}}",
             plain(e.name), lane_names[e.lane], lane, at[0], at[1], plain(e.detail),
             (unsigned long long)e.number);
    lt_text_put(out, line);
}

leat_status leat_trace_write(leat_context *context, leat_write_fn write, void *user,
                             leat_error *err)
{
    if (context == NULL || write == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_trace_write: an argument is NULL");
    }
    const lt_trace *t = &context->trace;
    if (t->events == NULL || lt_trace_is_on(t)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_trace_write: a trace must have run, and be stopped");
    }
    char line[128];
    threads all = {.n = 0};
    lt_text out = {.write = write, .user = user};
    const uint64_t lost = t->n_events > t->capacity ? t->n_events - t->capacity : 0;
    snprintf(line, sizeof(line), "{\"otherData\":{\"lost\":%llu},\"traceEvents\":[\n",
             (unsigned long long)lost);
    lt_text_put(&out, line);
    lt_text_put(&out, "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":0,\"args\":"
                      "{\"name\":\"leat\"}}");
    for (uint64_t i = lost; i < t->n_events; i++) {
        put_event(&out, &all, t, t->events[i % t->capacity]);
    }
    lt_text_put(&out, "]}\n");
    return lt_text_flush(&out) == LEAT_OK
               ? LEAT_OK
               : lt_fail(err, out.status, "the trace could not be written (%s)",
                         leat_status_text(out.status));
}

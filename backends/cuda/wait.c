/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a queue without holding a core for long, and without waking late.
 *
 * A thread that the driver wakes runs again up to 0.6 ms after the end (seen in a virtual machine
 * with an H100), so a wait polls first. A graph does the same work in every run: of one that takes
 * long the wait sleeps until shortly before the earliest end of its latest runs, and polls only
 * then. It asks now and then while it sleeps, for the graph may have shared the device before, and
 * have it alone now. Where nothing is known, or the graph takes longer than the wait polls, the
 * driver wakes the thread. */
#include "cuda.h"

#include <time.h>

/* How long a wait polls from the end that it expects, or from its beginning. */
#define POLL_NS 2000000u
/* How much earlier it begins: what a timer is late, and a part of the time for the device's clocks,
 * but no more than the last. */
#define EARLY_NS 200000u
#define EARLY_PART 32u
#define MOST_EARLY_NS 2000000u
/* How long it sleeps at a time, or a part of the time expected if that is more. */
#define NAP_NS 1000000u
#define NAP_PART 64u

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
                               .tv_nsec = (long)(ns % 1000000000u)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL); /* a signal: polls longer */
}

void lt_cuda_wait_forget(lt_cuda_graph *graph)
{
    if (graph->stream != NULL) {
        graph->stream->last = NULL;
        graph->stream = NULL;
    }
}

void lt_cuda_wait_expect(lt_cuda_stream *stream, lt_cuda_graph *graph)
{
    if (stream->last != NULL) {
        lt_cuda_wait_forget(stream->last);
    }
    lt_cuda_wait_forget(graph); /* it may have gone through another stream before */
    stream->last = graph;
    stream->launched_ns = now_ns();
    graph->stream = stream;
}

/* The least of the latest times; 0 for none. */
static uint64_t least_time(const lt_cuda_graph *graph)
{
    uint64_t least = 0;
    for (uint32_t i = 0; i < LT_CUDA_TIMES && i < graph->n_times; i++) {
        least = i == 0 || graph->times[i] < least ? graph->times[i] : least;
    }
    return least;
}

/* When a wait does what, for a graph whose runs took `least_ns`, 0 for not known. */
typedef struct schedule {
    uint64_t wake, limit; /* it sleeps until, polls until */
    uint64_t nap;
} schedule;

static schedule plan(const lt_cuda_stream *stream, uint64_t least_ns)
{
    const uint64_t now = now_ns(), nap = least_ns / NAP_PART,
                   early = EARLY_NS + least_ns / EARLY_PART;
    if (least_ns <= POLL_NS) {
        return (schedule){.limit = now + POLL_NS};
    }
    const uint64_t end = stream->launched_ns + least_ns;
    return (schedule){.wake = end - (early < MOST_EARLY_NS ? early : MOST_EARLY_NS),
                      .limit = (end > now ? end : now) + POLL_NS,
                      .nap = nap > NAP_NS ? nap : NAP_NS};
}

/* Notes that the graph ended about `end_ns`; 0: not known, as the wait began later. */
static void keep_time(lt_cuda_stream *stream, uint64_t end_ns)
{
    lt_cuda_graph *graph = stream->last;
    if (graph != NULL && end_ns > stream->launched_ns) {
        graph->times[graph->n_times++ % LT_CUDA_TIMES] = end_ns - stream->launched_ns;
    }
    if (graph != NULL) {
        lt_cuda_wait_forget(graph);
    }
}

/* What the application queues in its own queue later is not waited for. */
static cu_result mark(const lt_cuda_stream *stream)
{
    return stream->device->cu->event_record(stream->done, stream->queue);
}

static cu_result ask(const lt_cuda_stream *stream)
{
    const lt_cuda_driver *cu = stream->device->cu;
    return stream->wrapped ? cu->event_query(stream->done) : cu->stream_query(stream->queue);
}

/* The driver wakes the thread. */
static cu_result sleep_to_the_end(const lt_cuda_stream *stream)
{
    cu_result result = stream->wrapped ? 0 : mark(stream);
    return result ? result : stream->device->cu->event_synchronize(stream->done);
}

cu_result lt_cuda_wait(lt_cuda_stream *stream)
{
    const schedule s = plan(stream, stream->last ? least_time(stream->last) : 0);
    uint64_t at_work = 0; /* when it was last seen so */
    cu_result result = stream->wrapped ? mark(stream) : 0;
    while (result == 0) {
        const uint64_t now = now_ns();
        result = ask(stream);
        if (result != CU_ERROR_NOT_READY) {
            break;
        }
        result = 0;
        at_work = now;
        if (now > s.limit) {
            result = sleep_to_the_end(stream);
            at_work = now_ns();
            break;
        }
        if (now < s.wake) {
            sleep_until(now + s.nap < s.wake ? now + s.nap : s.wake);
        }
    }
    keep_time(stream, at_work);
    return result;
}

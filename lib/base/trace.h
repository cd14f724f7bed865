/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of what ran when. Off it costs one read of a number; on, events go to memory that was made
 * at the start, the oldest being overwritten. */
#ifndef LT_BASE_TRACE_H
#define LT_BASE_TRACE_H

#include "base/clock.h"
#include "base/memory.h"

/* What a thread does in a lane it does one after the other, or one within the other. */
typedef enum lt_trace_lane {
    LT_LANE_QUEUE = 0, /* requests that wait: any number at once, told apart by id */
    LT_LANE_BATCH,
    LT_LANE_RUN,
    LT_LANE_COPY,
    LT_LANE_KERNEL,
    LT_LANE_COUNT
} lt_trace_lane;

typedef struct lt_trace_event {
    uint64_t begin_ns, end_ns;
    uint64_t thread; /* any number that is the thread's own */
    uint64_t number; /* QUEUE: id; BATCH: rows; else 0 */
    lt_trace_lane lane;
    char name[32], detail[40]; /* terminated, cut to fit */
} lt_trace_event;

typedef struct lt_trace {
    pthread_mutex_t lock; /* guards what follows */
    _Atomic int on;
    lt_trace_event *events;
    uint32_t capacity;
    uint64_t n_events; /* so far; event i is at i % capacity */
    uint64_t start_ns;
} lt_trace;

void lt_trace_init(lt_trace *trace);
void lt_trace_destroy(lt_trace *trace, lt_memory *memory);

static inline bool lt_trace_is_on(const lt_trace *trace)
{
    return atomic_load_explicit(&trace->on, memory_order_relaxed) != 0;
}

/* When something begins; 0 when that is not asked. */
static inline uint64_t lt_trace_begin(const lt_trace *trace)
{
    return lt_trace_is_on(trace) ? lt_clock_ns() : 0;
}

/* Something that began then (0: nothing) and ended at end_ns, on this thread. detail may be NULL.
 * Threads:  any. */
void lt_trace_add(lt_trace *trace, lt_trace_lane lane, const char *name, const char *detail,
                  uint64_t number, uint64_t begin_ns, uint64_t end_ns);

/* The same, ended now. */
static inline void lt_trace_end(lt_trace *trace, lt_trace_lane lane, const char *name,
                                uint64_t begin_ns)
{
    if (begin_ns != 0) {
        lt_trace_add(trace, lane, name, NULL, 0, begin_ns, lt_clock_ns());
    }
}

#endif

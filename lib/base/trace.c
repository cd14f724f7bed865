/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include <string.h>

void lt_trace_init(lt_trace *trace)
{
    memset(trace, 0, sizeof(*trace));
    pthread_mutex_init(&trace->lock, NULL);
}

void lt_trace_destroy(lt_trace *trace, lt_memory *memory)
{
    lt_free(memory, trace->events, trace->capacity * sizeof(*trace->events));
    pthread_mutex_destroy(&trace->lock);
}

static void put(char *to, size_t capacity, const char *text)
{
    const size_t n = text != NULL ? strnlen(text, capacity - 1) : 0;
    memcpy(to, text != NULL ? text : "", n);
    to[n] = '\0';
}

void lt_trace_add(lt_trace *trace, lt_trace_lane lane, const char *name, const char *detail,
                  uint64_t number, uint64_t begin_ns, uint64_t end_ns)
{
    pthread_mutex_lock(&trace->lock);
    if (lt_trace_is_on(trace) && begin_ns >= trace->start_ns && end_ns >= begin_ns) {
        lt_trace_event *e = &trace->events[trace->n_events++ % trace->capacity];
        e->begin_ns = begin_ns;
        e->end_ns = end_ns;
        e->thread = (uint64_t)(uintptr_t)pthread_self();
        e->number = number;
        e->lane = lane;
        put(e->name, sizeof(e->name), name);
        put(e->detail, sizeof(e->detail), detail);
    }
    pthread_mutex_unlock(&trace->lock);
}

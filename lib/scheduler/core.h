/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, costs and decisions, without locks, threads or a clock of their own: the scheduler has
 * two of them, one that decides and the guard's in its shadow. */
#ifndef LT_SCHEDULER_CORE_H
#define LT_SCHEDULER_CORE_H

#include "base/memory.h"

#include <leat/scheduler.h>

#define LT_NEVER UINT64_MAX
#define LT_MARGIN 1.05 /* of a cost, where a deadline depends on it */

enum {
    LT_MOST_BATCH = 1024
};

/* A request that waits. */
typedef struct lt_waiting {
    uint64_t arrived;
    uint64_t deadline; /* LT_NEVER: none */
    void *item;
} lt_waiting;

typedef struct lt_queue {
    uint32_t class_index;
    uint32_t max_batch;
    double weight;
    lt_waiting *ring; /* [capacity], by deadline; a power of two */
    uint32_t capacity;
    uint32_t limit; /* that may wait; the ring also has room for what runs, should it come back */
    uint32_t first;
    uint32_t waiting;
    uint32_t corrected;                 /* batches, by which the costs were */
    float *cost[LEAT_MAX_DEVICES];      /* [max_batch + 1]: L(b); NULL: not on this device */
    uint32_t most[2][LEAT_MAX_DEVICES]; /* rows of a batch: [0] by class and chunk, [1] in
                                           four chunks */
    float work;                         /* L(b) / b where that is least, as it was said to be: the
                                           unit in which work is counted */
    float least;                        /* the same by the costs as they are now */
    float gap_ns;                       /* between arrivals, moving mean; 0: not known */
    uint64_t last_arrival;
    double served; /* FAIR: time had, over weight */
} lt_queue;

/* What runs on a device. */
typedef struct lt_running {
    bool busy;
    bool lost; /* the device: nothing begins on it */
    uint32_t queue;
    uint32_t rows;
    uint64_t begun;
    uint64_t end;      /* as predicted */
    uint64_t until;    /* idle: when to look again, by the policy */
    lt_waiting *batch; /* [LT_MOST_BATCH]: the requests */
} lt_running;

typedef struct lt_core {
    leat_policy policy;
    bool strict;
    uint64_t hold_ns;
    uint64_t chunk_ns;
    bool longer;   /* rules: batches below class 0 take up to four chunks */
    double margin; /* admission, EDF: of what waits and is due before, 1 to 2; 0: by all that waits
                      in queues that are due before */
    uint64_t max_wait[LEAT_MAX_CLASSES];
    const float *weights; /* [LEAT_POLICY_WEIGHTS] */
    uint32_t n_devices;
    uint32_t n_queues;
    lt_queue queues[LEAT_MAX_QUEUES];
    lt_running devices[LEAT_MAX_DEVICES];
    double virtual_time; /* FAIR: what queues that come back start from */
    leat_scheduler_stats stats;
} lt_core;

typedef struct lt_choice {
    uint32_t queue;
    uint32_t shed; /* requests in front that are given back first */
    uint32_t rows; /* 0: none */
    uint64_t until;
} lt_choice;

static inline lt_waiting *lt_queue_at(const lt_queue *q, uint32_t i)
{
    return &q->ring[(q->first + i) & (q->capacity - 1)];
}

/* When the queue's first request is due: its deadline, or the end of its class's wait. */
static inline uint64_t lt_queue_due(const lt_core *c, const lt_queue *q)
{
    const lt_waiting *head = lt_queue_at(q, 0);
    const uint64_t patience = head->arrived + c->max_wait[q->class_index];
    return head->deadline < patience ? head->deadline : patience;
}

/* Rows of a batch of at most `most` with which the first request meets its deadline, with a
 * twentieth to spare; 1 at least. */
uint32_t lt_queue_fit(const lt_queue *q, uint32_t device, uint64_t now, uint32_t most);

/* Adds a request behind those that are due before it; false when the queue is full. */
bool lt_core_push(lt_core *core, uint32_t queue, uint64_t now, uint64_t deadline, void *item);
/* Takes a request out of the front that cannot be in time any more: *out_item. */
bool lt_core_expire(lt_core *core, uint32_t queue, uint64_t now, void **out_item);
/* Takes the first request out, unrun. */
void *lt_core_give_back(lt_core *core, uint32_t queue);
/* admit.c: nanoseconds until a request of the queue would be complete, behind what goes before. */
double lt_core_predict(const lt_core *core, uint32_t queue, uint64_t now, uint64_t deadline);
/* A request with a deadline was complete at `end`; LT_NEVER: it was given back. */
void lt_core_note_late(lt_core *core, const lt_waiting *request, uint64_t end);
/* What an idle device is to do. Reads only; no request in front has expired. */
lt_choice lt_core_pick(const lt_core *core, uint32_t device, uint64_t now);
lt_choice lt_core_pick_learned(const lt_core *core, uint32_t device, uint64_t now);
/* Begins a choice: its requests are then in devices[device].batch. */
void lt_core_begin(lt_core *core, uint32_t device, const lt_choice *choice, uint64_t now);
/* Ends what the device runs. */
void lt_core_end(lt_core *core, uint32_t device, uint64_t now);
/* What the device runs waits again. */
void lt_core_put_back(lt_core *core, uint32_t device);
/* Counts a request that was not taken. */
void lt_core_refuse(lt_core *core, uint32_t queue, uint64_t now);

#endif

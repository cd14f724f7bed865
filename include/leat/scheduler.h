/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler: which queue's requests run next on which device, in batches of how many.
 *
 *     leat_scheduler_create -> leat_scheduler_add ... -> leat_scheduler_submit ...
 *
 * A queue is what one model and class of requests wait in. What a batch of b requests takes on a
 * device, L(device, b), is given as measured points and corrected by every run. A request is a
 * pointer of the caller's; batches of them are run by a thread a device (leat_scheduler_desc.run),
 * or by the caller between leat_scheduler_begin and leat_scheduler_end.
 *
 * Bounds that hold by every policy: a request that cannot be complete within its deadline any more
 * is given back unrun; a queue whose first request has waited for its class's max_wait_ns is next;
 * a batch of a class below 0 takes chunk_ns at most (but one request), since a device cannot be
 * taken away from what it runs, so an urgent request waits for no more than that. Batches are also
 * cut so that their first request meets its deadline.
 *
 * Policies order what is left:
 *
 * - EDF: earliest deadline first, where a deadline is the request's own or the end of its max_wait
 * - FIFO: who has waited longest
 * - SJF: the shortest batch
 * - FAIR: the queue that has had the least time for its weight
 * - LEARNED: the highest score, a linear function of LEAT_POLICY_WEIGHTS numbers about the queue,
 *   the batch and the load. It may also wait, run (below class 0) up to four times longer batches,
 *   and give requests back for whom a larger batch is too late. It decides only while it has shown
 *   itself: some rules (EDF with admission, EDF that holds batches back for chunk_ns / 2, EDF, and
 *   EDF with admission that holds them so and makes them, below class 0, up to four times longer)
 *   and the policy all decide in the shadow about the same requests, by the table of
 *   costs. Of the rules the one that has done most work in time stands in: it is in charge at first
 *   (EDF that holds, until another has shown itself), until the policy has done more than it by
 *   some batches (of requests whose deadlines have passed, and before the longest deadline has
 *   passed once of all others, too), and again when that is lost, or when the devices have done
 *   less than its shadow by guard_loss of it and some batches.
 *
 * Decisions depend on the calls and their times alone: with the same clock they are the same again.
 *
 * The conventions of leat.h hold. */
#ifndef LEAT_SCHEDULER_H
#define LEAT_SCHEDULER_H

#include <leat/batcher.h>
#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_MAX_DEVICES 8
#define LEAT_MAX_QUEUES 16
#define LEAT_POLICY_WEIGHTS 24

typedef struct leat_scheduler leat_scheduler;

typedef enum leat_policy {
    LEAT_POLICY_EDF = 0,
    LEAT_POLICY_FIFO = 1,
    LEAT_POLICY_SJF = 2,
    LEAT_POLICY_FAIR = 3,
    LEAT_POLICY_LEARNED = 4
} leat_policy;

/* The learned policy's numbers; lib/scheduler/learned.c says what each multiplies. */
typedef struct leat_policy_weights {
    float weights[LEAT_POLICY_WEIGHTS];
} leat_policy_weights;

/* Those that come with leat. Static storage.
 * Threads:  any. */
LEAT_API const leat_policy_weights *leat_policy_default(void);

/* One choice, as it is logged. */
typedef struct leat_decision {
    uint64_t time_ns;
    uint32_t device;
    uint32_t queue;
    uint32_t rows;      /* 0: none yet */
    leat_policy policy; /* that chose */
    uint64_t until_ns;  /* with rows 0: when to look again */
} leat_decision;
typedef void (*leat_decision_fn)(void *user, const leat_decision *decision);

/* Runs a batch; on the device's own thread. */
typedef void (*leat_dispatch_fn)(void *user, uint32_t device, uint32_t queue, void *const *items,
                                 size_t n_items);
/* Told of a request that is given back unrun, its deadline being out of reach, or by LEARNED; must
 * not call the scheduler. */
typedef void (*leat_expired_fn)(void *user, uint32_t queue, void *item);

typedef struct leat_scheduler_desc {
    size_t struct_size;
    leat_context *context; /* whose memory is used; borrowed */
    uint32_t n_devices;    /* 1 to LEAT_MAX_DEVICES */
    leat_policy policy;
    int32_t strict_classes; /* 1: a lower class runs only while no higher one waits (or when its
                               max_wait_ns has passed); but LEARNED */
    int32_t admit;    /* 1: requests that would miss their deadline behind what goes before them are
                         refused. By EDF that is what runs and, times a margin (1 to 2, so that about
                         one admitted request of a hundred is late), the largest batches of what waits
                         and is due before; by others all that waits in queues that are due before */
    uint64_t hold_ns; /* a batch that is not full waits so long for more; but LEARNED */
    uint64_t chunk_ns; /* 0: 2 ms */
    uint64_t
        max_wait_ns[LEAT_MAX_CLASSES];  /* 0: 1 s for class 0, four times the former for others */
    const leat_policy_weights *weights; /* LEARNED: copied; NULL: those that come with leat */
    double guard_loss;                  /* 0: 0.003; 1 or more: no guard */
    leat_dispatch_fn run;               /* NULL: begin and end are the caller's */
    leat_expired_fn expired;
    leat_decision_fn decided; /* must not call the scheduler */
    void *user;               /* of the three */
    leat_clock_fn clock;      /* without run; NULL: the system's */
    void *clock_user;
    uint32_t preemptible; /* bit d: device d may be taken away at any time, so that every class's
                             batches take chunk_ns at most there; the others are dedicated */
    float learn_step; /* LEARNED, up to 1: weights are learned while it serves, each changes by so
                         much at a time, after a trial in the shadow; 0: they stay */
    uint64_t seed;    /* of the directions that are tried */
} leat_scheduler_desc;

/* Creates a scheduler without queues.
 * Owns:     *out_scheduler is the caller's; borrows the context.
 * Threads:  any.
 * Errors:   INVALID; NO_MEMORY; IO when a thread cannot be made. */
LEAT_API leat_status leat_scheduler_create(const leat_scheduler_desc *desc,
                                           leat_scheduler **out_scheduler,
                                           leat_error *err) LEAT_MUST_CHECK;

/* A batch of `rows` requests took `ns` on a device. */
typedef struct leat_cost_point {
    uint32_t device;
    uint32_t rows;
    uint64_t ns;
} leat_cost_point;

typedef struct leat_queue_desc {
    size_t struct_size;
    uint32_t class_index; /* 0: the most urgent */
    uint32_t max_batch;   /* 1 to 1024 */
    uint32_t capacity;    /* requests that may wait; 0: 1024 */
    double weight;        /* for FAIR; 0: 1 */
    const leat_cost_point
        *costs; /* a device without any does not run the queue. Between points
                   lines, below the first its cost, above the last in proportion */
    size_t n_costs;
} leat_queue_desc;

/* Adds a queue; *out_queue is its number, from 0 on.
 * Threads:  any, but before the first submit.
 * Errors:   INVALID; LIMIT above LEAT_MAX_QUEUES; NO_MEMORY. */
LEAT_API leat_status leat_scheduler_add(leat_scheduler *scheduler, const leat_queue_desc *desc,
                                        uint32_t *out_queue, leat_error *err) LEAT_MUST_CHECK;

/* Queues a request. Allocates nothing.
 * Units:    deadline_ns from now on; 0: none.
 * Threads:  any.
 * Errors:   BUSY when the queue is full; EXPIRED with `admit`; INVALID. */
LEAT_API leat_status leat_scheduler_submit(leat_scheduler *scheduler, uint32_t queue, void *item,
                                           uint64_t deadline_ns, leat_error *err) LEAT_MUST_CHECK;

/* What a device is to run now. items: the caller's array, of as many as the largest max_batch. */
typedef struct leat_dispatch {
    uint32_t queue;
    uint32_t rows; /* 0: nothing now */
    void **items;
    uint64_t until_ns; /* with rows 0: when to ask again at the latest; UINT64_MAX: when something
                          is submitted or ends */
} leat_dispatch;

/* Takes the next batch of a device that is idle, without `run`.
 * Threads:  any.
 * Errors:   INVALID, also when the device has not ended. */
LEAT_API leat_status leat_scheduler_begin(leat_scheduler *scheduler, uint32_t device,
                                          leat_dispatch *dispatch, leat_error *err) LEAT_MUST_CHECK;

/* The device has done what was begun.
 * Threads:  any.
 * Errors:   INVALID when nothing was begun; NO_DEVICE when the device was lost meanwhile. */
LEAT_API leat_status leat_scheduler_end(leat_scheduler *scheduler, uint32_t device,
                                        leat_error *err) LEAT_MUST_CHECK;

/* A device is gone: what it runs waits again, in its place by deadline, for other devices, and
 * nothing begins on it until it is restored. Of what was running, nothing that comes later counts:
 * `run` may still return, leat_scheduler_end fails with NO_DEVICE.
 * Threads:  any; also within `run`, whose batch it is then.
 * Errors:   INVALID. */
LEAT_API leat_status leat_scheduler_lose(leat_scheduler *scheduler, uint32_t device,
                                         leat_error *err) LEAT_MUST_CHECK;

/* The device is there again and may be given batches. Does nothing for one that was not lost.
 * Threads:  any.
 * Errors:   INVALID for a number that no device has. */
LEAT_API leat_status leat_scheduler_restore(leat_scheduler *scheduler, uint32_t device,
                                            leat_error *err) LEAT_MUST_CHECK;

/* Counts since the scheduler was created. Work is in nanoseconds: a request's is L(b) / b of its
 * queue's best device and batch. */
typedef struct leat_scheduler_stats {
    size_t struct_size; /* set by the caller */
    uint64_t submitted[LEAT_MAX_CLASSES];
    uint64_t on_time[LEAT_MAX_CLASSES]; /* complete within their deadline, or without one */
    uint64_t late[LEAT_MAX_CLASSES];    /* complete, but late */
    uint64_t expired[LEAT_MAX_CLASSES]; /* given back unrun */
    uint64_t refused[LEAT_MAX_CLASSES]; /* BUSY or EXPIRED */
    uint64_t waiting;                   /* now */
    uint64_t batches;
    uint64_t work_submitted_ns;
    uint64_t work_on_time_ns;
    uint64_t busy_ns[LEAT_MAX_DEVICES];
    uint64_t takeovers; /* by a rule from LEARNED; the beginning does not count */
    int32_t guarded;    /* 1: a rule decides now */
    int32_t stand_in;   /* which one it is, or would be: 0 EDF with admission, 1 EDF that holds, 2
                           EDF, 3 EDF with admission and longer batches */
    uint64_t stand_in_changes;
    uint64_t trials; /* of other weights, that have ended */
    uint64_t steps;  /* that the weights took */
} leat_scheduler_stats;

/* Reads the counts.
 * Threads:  any. */
LEAT_API void leat_scheduler_read_stats(leat_scheduler *scheduler, leat_scheduler_stats *out_stats);

/* Waits for what runs, then frees everything. Requests that wait are dropped: `expired` is told.
 * Threads:  no other call may be under way. */
LEAT_API void leat_scheduler_destroy(leat_scheduler *scheduler);

/* The weights as they are now, of LEARNED; with the same calls, times and seed they are the same.
 * Threads:  any. */
LEAT_API void leat_scheduler_read_weights(leat_scheduler *scheduler,
                                          leat_policy_weights *out_weights);

/* Reads and writes weights: a small text file with a checksum.
 * Errors:   NOT_FOUND, IO; CORRUPT for a file that is none, is damaged or has another number. */
LEAT_API leat_status leat_policy_load(leat_context *context, const char *path,
                                      leat_policy_weights *out_weights,
                                      leat_error *err) LEAT_MUST_CHECK;
LEAT_API leat_status leat_policy_save(leat_context *context, const char *path,
                                      const leat_policy_weights *weights,
                                      leat_error *err) LEAT_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif

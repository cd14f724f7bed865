/* SPDX-License-Identifier: Apache-2.0 */
/* The auto-batcher: requests of many threads run together, as batches of one model.
 *
 *     leat_batcher_create -> leat_batcher_submit ... -> leat_request_wait, or a callback
 *
 * or, from threads that wait for what they ask, leat_batcher_run; for an array of requests at once,
 * leat_batcher_process.
 *
 * A request has one or more rows: its inputs begin with the batch dimension. Requests whose other
 * dimensions, types and group agree wait in one queue (a key) and are run together, at most
 * max_batch_size rows at a time; different keys never wait for each other to fill. Which dimension
 * is the batch is read from the model: the first one of an input whose first dimension is symbolic,
 * with the symbol of the first such input. Every output must begin with it too. Inputs without it
 * (a threshold, say) may have 64 bytes at most: requests that differ in them do not meet.
 *
 * When a batch starts: at once while an instance is idle, so that a lone request waits for nothing;
 * while all are busy queues grow by themselves. An idle instance holds a batch back only when that
 * lowers the mean latency by the times measured so far (leat_batcher_desc.timeout_ns). On the CPU
 * (and with one instance of `run`) requests that wait are run one by one where a row has been found
 * to take as long in a batch as alone, so that none waits for others' rows; now and then a batch of
 * all that wait shows whether that is still so.
 *
 * Order: the request that is due first, which is its deadline or the time at which its class's
 * max_wait_ns has passed, whichever is earlier (earliest deadline first with a bound on starvation;
 * Liu and Layland, JACM 20(1), 1973).
 *
 * Every request that was accepted is completed exactly once. When a batch fails, its halves are run
 * again, down to single requests, so that one bad request does not fail its neighbours.
 *
 * The conventions of leat.h hold. */
#ifndef LEAT_BATCHER_H
#define LEAT_BATCHER_H

#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_MAX_CLASSES 8

typedef struct leat_batcher leat_batcher;
typedef struct leat_request leat_request;

/* Runs a batch in place of a session, with the arguments and the contract of leat_session_run:
 * outputs with data NULL are to point at memory that stays until the instance's next run.
 * Threads:  one call at a time for each instance (0 <= instance < n_instances). */
typedef leat_status (*leat_batch_fn)(void *user, int32_t instance, const leat_array *inputs,
                                     size_t n_inputs, leat_array *outputs, size_t n_outputs,
                                     leat_error *err);

/* A request's group from its inputs, such as the number of slices of a scan: requests of different
 * groups never share a batch. Called on the thread that submits; must not call the batcher. */
typedef uint64_t (*leat_group_fn)(void *user, const leat_array *inputs, size_t n_inputs);

/* Monotonic time in nanoseconds. */
typedef uint64_t (*leat_clock_fn)(void *user);

typedef struct leat_batcher_desc {
    size_t struct_size;
    int32_t max_batch_size;     /* rows of a batch; 0: 32 */
    const int32_t *batch_sizes; /* ascending: rows that a run may have; a batch of fewer is filled
                               up with copies of its last row. max_batch_size is always one. NULL:
                               every number on the CPU and with `run`, else 1, 2, 3, 4, 6, 8, 12,
                               16, 24, ...: a device makes a plan and a graph for each */
    uint32_t n_batch_sizes;
    uint64_t timeout_ns;  /* longest that a batch is held back for more requests; 0: 50 ms;
                             UINT64_MAX: never hold */
    uint32_t queue_limit; /* requests not yet completed, and handles not yet released; the last
                             eighth is for class 0, so that others cannot shut it out; 0: 1024 */
    uint32_t max_keys;    /* keys with waiting requests or measured times; 0: 64 */
    int32_t n_instances; /* batches under way at once, a session and a thread each; 0: 4 on a device
                            (some are filled while others run), 2 on the CPU where the context has
                            two threads (each batch has one while there are two), else 1 */
    int32_t spread_devices; /* 1: each instance runs on one of the session's devices, in turn, and
                               on the CPU what that cannot run where "cpu" is among them: copies of
                               the model side by side, on devices alike (their batches take equally
                               long); 0: each may use all of them, in order of preference */
    int32_t reserved_instances; /* of them: for requests of class 0 alone, in batches of those
                               alone, so that they begin while all others are busy; 0: 1 of 4 or
                               more when there are (one a device with spread_devices); -1: none.
                               While all requests are of class 0 it is none */
    int32_t stage_inputs; /* 1: inputs of requests that have to wait are copied meanwhile, on the
                             submitting thread, to where their batch will be run from (memory that
                             devices read without a detour), for shapes that leat_batcher_warm was
                             given; -1: no; 0: where a session has a device other than the CPU */
    uint32_t poll_us;     /* microseconds that one thread without work polls before it sleeps: a
                             request that comes meanwhile does not wait for it to wake (some 10 to
                             60 us), and a processor is busy for as long after the last batch; 0:
                             it sleeps at once */
    int32_t no_threads;   /* 1: batches run in leat_batcher_poll, on its caller's thread */
    uint32_t n_classes;   /* priorities 0 to n_classes - 1; 0: LEAT_MAX_CLASSES */
    uint64_t max_wait_ns[LEAT_MAX_CLASSES]; /* after which a request of the class is due, deadline
                                    or not; 0: 1 s for class 0, four times the former for others */
    const leat_session_desc *session; /* of the instances; NULL: defaults. max_plans 0: as many as
                                    there are batch sizes, twice */
    const char
        *pad_dimension; /* symbol of a dimension (not the first), such as "sequence", whose
                            lengths need not agree: inputs are padded with zeros up to the next
                            of pad_lengths, outputs cut back. For models to which zeros there
                            make no difference, as a mask among the inputs has it. NULL: none */
    const int64_t
        *pad_lengths; /* ascending; longer ones are not padded; NULL: 16, 24, 32, 48, ... */
    uint32_t n_pad_lengths;
    uint32_t pad_buckets;  /* 0: all of pad_lengths are padded to. Else so many of them at most,
                              chosen by cost after the first 64 requests and then after every 256:
                              those with which the lengths seen take the least time by the runs
                              measured so far, padding and smaller batches weighed against each
                              other. Of 128 pad_lengths at most; NULL: 16, 32, ... 256, 288, ...
                              Until enough is measured it is as with 0. A new length has its plan
                              made when a batch of it first runs */
    uint64_t answer_bytes; /* memory for answers that are kept, taken at once; 0: none are. A
                              request whose inputs are, byte by byte, those of an earlier one of its
                              group, is answered from there, without a run; one equal to a request
                              that waits or runs gets a copy of what that gets, unless it is more
                              urgent (when that one fails, is cancelled or expires the next one
                              runs). For models that give the same for the same inputs, alone or in
                              any batch, and whose `run` has no other effect. Failures are not kept.
                              What was not asked for lately goes when room is needed (CLOCK). Inputs
                              are kept, too, to be compared; a request takes the time to read them
                              once more. `done` may be called before leat_batcher_submit returns. At
                              least 4096 */
    leat_batch_fn run;     /* instead of sessions of the model; NULL: none */
    void *run_user;
    leat_group_fn group; /* NULL: leat_request_desc.group alone */
    void *group_user;
    leat_clock_fn clock; /* for tests, with no_threads; NULL: the system's */
    void *clock_user;
} leat_batcher_desc;

/* Creates a batcher with its instances.
 * Owns:     *out_batcher is the caller's; borrows the model. Strings in desc are copied.
 * Threads:  any.
 * Errors:   UNSUPPORTED when the model has no batch dimension, an output lacks it, or a type cannot
 *           be put in rows (strings, sequences, elements smaller than a byte); INVALID; NO_MEMORY;
 *           those of leat_session_create; IO when a thread cannot be made. */
LEAT_API leat_status leat_batcher_create(leat_model *model, const leat_batcher_desc *desc,
                                         leat_batcher **out_batcher,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Told of a completion, on the thread that ran the batch or cancelled the request, or that
 * submitted one whose answer was kept. outputs is NULL unless status is LEAT_OK. It may submit but
 * must not wait for, flush, poll or destroy the batcher. */
typedef void (*leat_request_fn)(void *user, leat_status status, const leat_array *outputs,
                                size_t n_outputs, const leat_error *error);

typedef struct leat_request_desc {
    size_t struct_size;
    const leat_array *inputs; /* in the model's order */
    size_t n_inputs;
    leat_array *outputs; /* each with memory (data, bytes) for its result; their dtype, rank, shape
                            and bytes are set. NULL with a callback: results are in the batcher's
                            memory, valid until `done` returns */
    size_t n_outputs;
    uint64_t deadline_ns; /* from now on; 0: none. A request that is not begun in time is completed
                             with EXPIRED instead; one that cannot be complete by then, by the times
                             measured so far, is refused */
    uint32_t class_index; /* 0: the most urgent */
    uint64_t group;       /* requests of different groups never share a batch */
    leat_request_fn done; /* NULL: none */
    void *done_user;
} leat_request_desc;

/* Queues a request and returns at once. Allocates nothing.
 * Owns:     the descriptor and its arrays are copied; inputs' data is borrowed until completion,
 *           and so are `outputs`. *out_request (NULL: no handle is wanted) is the caller's, given
 *           back by leat_request_release.
 * Threads:  any.
 * Errors:   BUSY when queue_limit requests or max_keys keys are there; EXPIRED when the deadline
 *           cannot be met; INVALID for a wrong count, type or shape, or more rows than a batch
 *           has. */
LEAT_API leat_status leat_batcher_submit(leat_batcher *batcher, const leat_request_desc *desc,
                                         leat_request **out_request,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Submits a request and waits for it. While an instance is idle it runs on this thread, without a
 * switch to another; others that wait may run with it.
 * Threads:  any but a callback's.
 * Errors:   those of leat_batcher_submit and leat_request_wait. */
LEAT_API leat_status leat_batcher_run(leat_batcher *batcher, const leat_request_desc *desc,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Waits for a request's completion and gives its status.
 * Units:    timeout_ns in nanoseconds, 0 waits for ever.
 * Threads:  any but a callback's.
 * Errors:   TIMEOUT when it is not complete yet; its own: EXPIRED, CANCELLED, those of
 *           leat_session_run. */
LEAT_API leat_status leat_request_wait(leat_request *request, uint64_t timeout_ns,
                                       leat_error *err) LEAT_MUST_CHECK;

/* Completes a request with CANCELLED (its callback is called before this returns), if it has not
 * been begun.
 * Threads:  any.
 * Errors:   BUSY when it runs or is complete: what it gives is then what it gives. */
LEAT_API leat_status leat_request_cancel(leat_request *request, leat_error *err) LEAT_MUST_CHECK;

/* Gives a handle back, complete or not. NULL does nothing. */
LEAT_API void leat_request_release(leat_request *request);

/* Runs n_requests requests of the same priority and waits for all: request i has inputs
 * [i * n_inputs ...) and outputs [i * n_outputs ...), with memory. Waits where the queue is full.
 * statuses: n_requests of them, or NULL.
 * Threads:  any but a callback's.
 * Errors:   that of the first request, by index, that failed; the others are complete. */
LEAT_API leat_status leat_batcher_process(leat_batcher *batcher, size_t n_requests,
                                          const leat_array *inputs, leat_array *outputs,
                                          leat_status *statuses, leat_error *err) LEAT_MUST_CHECK;

/* With no_threads: runs one batch if one may start, on this thread. *out_wait_ns (may be NULL): 0
 * when another may start now, else nanoseconds until one may, UINT64_MAX when nothing waits.
 * Threads:  one call at a time.
 * Errors:   INVALID for a batcher with threads. Failures of requests are theirs alone. */
LEAT_API leat_status leat_batcher_poll(leat_batcher *batcher, uint64_t *out_wait_ns,
                                       leat_error *err) LEAT_MUST_CHECK;

/* Nothing that waits now is held back any longer.
 * Threads:  any. */
LEAT_API void leat_batcher_flush(leat_batcher *batcher);

/* Waits until all requests accepted so far are complete (with no_threads: polls).
 * Units:    timeout_ns in nanoseconds, 0 waits for ever.
 * Threads:  any but a callback's.
 * Errors:   TIMEOUT. */
LEAT_API leat_status leat_batcher_drain(leat_batcher *batcher, uint64_t timeout_ns,
                                        leat_error *err) LEAT_MUST_CHECK;

/* Runs every batch size for requests such as this one, on every instance, so that no later one
 * waits until plans are made: for each shape that requests will have, before traffic comes. Its
 * times are the first measured ones. Requests that come meanwhile wait, or run on other instances.
 * inputs: of one request; their contents are run, results are dropped.
 * Threads:  any but a callback's; with no_threads not while polled.
 * Errors:   those of leat_batcher_submit and leat_session_run. */
LEAT_API leat_status leat_batcher_warm(leat_batcher *batcher, const leat_array *inputs,
                                       size_t n_inputs, uint64_t group,
                                       leat_error *err) LEAT_MUST_CHECK;

/* How often a time was at most 2^i microseconds, and in no bucket before: counts[i]; in the last
 * one also what took longer. */
#define LEAT_TIME_BUCKETS 26 /* 1 us to 33.6 s */
typedef struct leat_time_histogram {
    uint64_t counts[LEAT_TIME_BUCKETS];
    uint64_t total_ns;
} leat_time_histogram;

/* The same for rows of a batch: at most 2^i. */
#define LEAT_ROWS_BUCKETS 21

/* Counts since the batcher was created. */
typedef struct leat_batcher_stats {
    size_t struct_size; /* set by the caller */
    uint64_t accepted;  /* requests */
    uint64_t refused;   /* BUSY or EXPIRED at submit */
    uint64_t succeeded; /* completed with OK; with failed, cancelled and expired: all completed */
    uint64_t failed;
    uint64_t cancelled;
    uint64_t expired;
    uint64_t waiting;     /* now: accepted, not begun */
    uint64_t batches;     /* runs, those of halves included */
    uint64_t rows;        /* in them */
    uint64_t closed_full; /* batches begun because they were full */
    uint64_t closed_idle; /* because an instance was idle */
    uint64_t closed_held; /* after having been held back */
    uint64_t bisected;    /* batches that failed and were run again by halves */
    uint64_t moved;       /* times that an instance went on on another device, its own being lost */
    uint64_t input_bytes; /* of the batches' inputs with rows */
    uint64_t pad_bytes;   /* of them: padding */
    uint64_t fill_rows;   /* copies of last rows, with which batches were filled up to a size */
    uint64_t staged;      /* requests whose inputs were put in place while they waited */
    uint64_t refused_late; /* of those refused: by their deadline */
    uint64_t running;      /* now: batches under way */
    uint64_t n_instances;
    uint64_t pad_changes; /* times that other lengths to pad to were chosen */
    /* With answer_bytes: requests answered by what was kept, by an equal one under way, and those
     * queued for a run, which of all accepted are the rest. */
    uint64_t answer_hits;
    uint64_t answer_joins;
    uint64_t answer_misses;
    uint64_t answer_evictions; /* answers that had to go */
    uint64_t answers;          /* now: kept */
    uint64_t answer_bytes;     /* now: theirs */
    /* By class; misses are requests refused, expired or complete too late for their deadline. */
    uint64_t accepted_by_class[LEAT_MAX_CLASSES];
    uint64_t missed_by_class[LEAT_MAX_CLASSES];
    leat_time_histogram
        request[LEAT_MAX_CLASSES];               /* from submit to completion, of those that ran */
    leat_time_histogram queue[LEAT_MAX_CLASSES]; /* from submit to the beginning of their batch */
    leat_time_histogram compute;                 /* of batches, rows put together among it */
    uint64_t batch_rows[LEAT_ROWS_BUCKETS];      /* batches by rows, those of `fill_rows` not
                                                    counted */
} leat_batcher_stats;

/* Reads the counts.
 * Threads:  any. */
LEAT_API void leat_batcher_read_stats(leat_batcher *batcher, leat_batcher_stats *out_stats);

/* Drains, ends the threads and frees everything. Handles that were not released are invalid then.
 * Threads:  no other call may be under way. */
LEAT_API void leat_batcher_destroy(leat_batcher *batcher);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher's parts, as its files share them: batcher.c its life, submit.c what callers do with
 * requests, process.c many at once, keys.c which queues there are, pick.c which batch is begun
 * when, serve.c running one, hand_out.c its results, thread.c the threads that do, warm.c running
 * all sizes ahead of traffic, flight.c requests that need no run of their own. */
#ifndef LT_BATCHER_BATCHER_H
#define LT_BATCHER_BATCHER_H

#include "base/memory.h"
#include "base/trace.h"
#include "batcher/answers.h"
#include "batcher/curve.h"
#include "batcher/heap.h"
#include "batcher/key.h"
#include "batcher/share.h"
#include "runtime/context.h"

#include <leat/batcher.h>
#include <pthread.h>

#define LT_NEVER UINT64_MAX
#define LT_NO_KEY UINT32_MAX

typedef enum lt_request_state {
    LT_REQUEST_FREE = 0,
    LT_REQUEST_WAITING, /* in its key's heap */
    LT_REQUEST_RUNNING, /* taken out to be run, or completed otherwise */
    LT_REQUEST_DONE     /* completed; its handle is still out */
} lt_request_state;

/* Memory for one input's rows of a batch. */
typedef struct lt_block {
    void *data;
    size_t bytes;
    bool pinned; /* a device reads it without a detour */
} lt_block;

/* A batch's inputs that are put in place while its requests wait (slot.c). */
typedef struct lt_slot lt_slot;
struct lt_slot {
    lt_slot *next;    /* of those that nobody uses */
    lt_block *blocks; /* [n_inputs] */
    uint32_t rows;    /* given to requests so far */
    uint32_t n_users; /* requests, and the key that fills it */
};

struct leat_request {
    lt_heap_node node; /* first: a node is its request */
    leat_batcher *batcher;
    leat_request *next; /* in the list of free ones, a batch, or what is to be completed */
    _Atomic lt_request_state state; /* written with the lock, but FREE by leat_request_release */
    bool held;                      /* the caller has a handle */
    uint32_t key;
    uint32_t rows;
    int64_t length; /* of the dimension that is padded; 0: none is */
    int64_t padded; /* to this length */
    uint64_t arrived;
    uint64_t deadline; /* LT_NEVER: none */
    uint32_t class_index;
    lt_slot *slot; /* NULL: its inputs are the caller's alone */
    uint32_t slot_row;
    _Atomic int writing; /* its inputs are being copied to the slot, or read: it must not end */
    /* Only where answers are kept (flight.c). */
    uint64_t hash;           /* of its inputs; 0: its answer is not to be kept */
    uint64_t group;          /* of its key */
    bool leads;              /* equal ones may follow it */
    leat_request *flight;    /* leads: the next one in its bucket */
    leat_request *followers; /* by next */
    leat_request *leader;    /* NULL: it follows none */
    leat_array *inputs;
    leat_array *outputs;        /* [n_outputs]: what the request gets */
    leat_array *caller_outputs; /* where they go at last; NULL: to the callback alone */
    leat_request_fn done;
    void *done_user;
    pthread_cond_t completed;
    leat_status status;
    leat_error err;
};

/* Requests that may share a batch. */
typedef struct lt_batch_key lt_batch_key;
struct lt_batch_key {
    uint64_t *words;               /* of the key */
    uint64_t hash;                 /* of them */
    lt_batch_key *next, *previous; /* in the list of those that wait, or that do not */
    uint32_t chain;                /* next key in the bucket */
    lt_heap heap;
    uint32_t waiting;    /* requests in the heap */
    uint32_t rows;       /* of them */
    lt_slot *slot;       /* which its next requests go to; NULL: none */
    uint64_t held_since; /* a batch has been held back since; 0: none is */
    lt_curve curve;
    int64_t padded; /* length to which its requests are padded; 0: to none */
};

typedef struct lt_key_list {
    lt_batch_key *first, *last;
} lt_key_list;

/* A thread of the batcher, and what it sleeps by when it has nothing to do. */
typedef struct lt_sleeper lt_sleeper;
struct lt_sleeper {
    leat_batcher *batcher;
    pthread_t thread;
    lt_sleeper *next;
    pthread_cond_t wake;
    bool asleep; /* in the list */
};

/* One batch under way at a time. */
typedef struct lt_instance lt_instance;
struct lt_instance {
    leat_batcher *batcher;
    lt_instance *next; /* of those that are idle */
    int32_t index;
    int32_t place;         /* with spread_devices: which of them */
    bool urgent;           /* its work comes before the others' on the device */
    leat_session *session; /* NULL with desc.run */
    leat_array *inputs;    /* of the batch */
    leat_array *outputs;
    lt_block *blocks;     /* [n_inputs]: where rows of several requests are put together */
    uint64_t input_bytes; /* of the batch under way */
    uint64_t pad_bytes;   /* of them */
    double share;         /* lt_batcher_share when its run began */
};

struct leat_batcher {
    lt_memory *memory;
    lt_trace *trace;
    leat_batcher_desc desc; /* with defaults filled in, without pointers to the caller's */
    const leat_model_signature *io;
    lt_key_rules rules;
    uint32_t n_words;
    lt_arena arena; /* of all that is as old as the batcher */
    leat_pool
        *pool; /* whose threads batches share on the CPU; NULL: on a device, or with desc.run */
    leat_model *model;         /* with sessions */
    leat_session_desc session; /* as the instances' are to be */
    int32_t n_places;          /* devices that instances are spread over; 1: all use the same */
    lt_instance *instances;
    lt_sleeper *threads; /* as many as instances; each takes any that is idle */
    int32_t n_threads;

    pthread_mutex_t lock;       /* guards everything below, and requests but while RUNNING */
    lt_sleeper *sleepers;       /* the one asleep for the shortest time first */
    bool polling;               /* a thread polls, and has not been told that work has come */
    _Atomic uint32_t poll_ends; /* raised to tell it */
    pthread_cond_t ended;       /* requests were completed: room, and for drain */
    lt_instance *idle;
    int32_t n_idle;
    int32_t *busy;    /* [n_places]: instances under way */
    lt_share *shares; /* [n_places]: of their time */
    bool *lost;       /* [n_places] */
    double margin;    /* predicted ends are multiplied by it: 1 to 3, so that about one request of a
                         hundred is late */
    bool classes;     /* a request of another class than 0 has come */
    leat_request *free;
    _Atomic(leat_request *) returned; /* free, too: given back without the lock */
    _Atomic uint32_t n_taken;         /* that are neither */
    _Atomic uint32_t n_without_room;  /* callers that wait for a free one */
    lt_batch_key *keys;               /* [max_keys] */
    uint32_t *buckets;   /* [n_buckets]: the first key of those with a hash; LT_NO_KEY: none */
    uint32_t n_buckets;  /* a power of two */
    lt_key_list waiting; /* keys with requests in their heaps */
    lt_key_list resting; /* the others, the one used longest ago first */
    lt_buckets pads;     /* lengths to which requests are padded */
    bool choosing;       /* a thread chooses them */
    uint32_t *planned;   /* [max_batch_size + 1]: rows of the run for a batch of so many */
    bool weighs;         /* what batches gain: where they may have any size */
    double together;     /* what a row takes in a batch, over what it takes alone: mean of the
                            first, then moving mean */
    uint32_t n_gains;    /* that it is the mean of; 7 at most */
    uint32_t n_split;    /* batches that were kept apart because of it */
    lt_device *pins;     /* whose pinned memory blocks are; NULL: ordinary memory */
    lt_slot *slots;      /* [n_slots] */
    uint32_t n_slots;    /* 0: inputs are put together when a batch runs */
    lt_slot *free_slots;
    lt_answers *answers;    /* NULL: none are kept */
    leat_request **flights; /* [n_flights]: the first leader of those with a hash */
    uint32_t n_flights;     /* a power of two */
    uint32_t n_warming;     /* callers that wait for an instance of their own */
    leat_request *requests; /* [queue_limit] */
    uint64_t next_order;
    uint64_t flushed; /* requests of a lower order are not held back */
    bool closing;
    leat_batcher_stats stats;
};

/* What pick chose. */
typedef struct lt_batch {
    leat_request *first; /* by next, in the order they are due */
    const lt_slot *slot; /* where their inputs lie as the batch needs them; NULL: nowhere */
    uint32_t key;
    uint64_t hash; /* of the key: its place may become another's meanwhile */
    uint32_t rows;
    leat_request *expired; /* requests whose time was over */
} lt_batch;

/* slot.c: makes the slots if inputs are to be staged; frees them. */
bool lt_slots_make(leat_batcher *batcher);
void lt_slots_free(leat_batcher *batcher);
/* Makes a block of at least so many bytes. False: no memory. */
bool lt_block_fit(leat_batcher *batcher, lt_block *block, size_t bytes);
void lt_block_free(leat_batcher *batcher, lt_block *block);
/* Makes room in all slots that nobody uses for rows such as the request's. The caller holds the
 * lock. */
void lt_slots_fit(leat_batcher *batcher, const leat_request *request);
/* Gives a request that was just queued its rows in the key's slot, if there are any; then it is
 * `writing` until lt_slot_write. The caller holds the lock. */
void lt_slot_reserve(leat_batcher *batcher, lt_batch_key *key, leat_request *request);
/* Copies the request's inputs there. Without the lock; the request may be gone afterwards. */
void lt_slot_write(leat_request *request);
/* Waits until a request is not being written. */
void lt_slot_settle(const leat_request *request);
/* The slot in which the requests of a batch of a key lie one after the other from the first row on;
 * NULL when none does. Nothing is added to it from now on. The caller holds the lock. */
const lt_slot *lt_slot_close(leat_batcher *batcher, lt_batch_key *key, const lt_batch *batch);
/* Nothing is added to what the key fills any more. The caller holds the lock. */
void lt_slot_stop(leat_batcher *batcher, lt_batch_key *key);
/* The request needs its slot no longer. The caller holds the lock. */
void lt_slot_leave(leat_batcher *batcher, leat_request *request);

/* Input i of a request as the batch has it: rows of the padded lengths, data not set. */
leat_array lt_batcher_padded_input(const leat_batcher *batcher, const leat_request *request,
                                   size_t i);

uint64_t lt_batcher_now(const leat_batcher *batcher);

/* keys.c. The caller holds the lock, but for make. */
bool lt_keys_make(leat_batcher *batcher);
/* The key of these words; NULL: it has none. */
lt_batch_key *lt_keys_find(const leat_batcher *batcher, const uint64_t *words, uint64_t hash);
/* Gives such requests, which have no key, that of those used longest ago; NULL when all wait. */
lt_batch_key *lt_keys_claim(leat_batcher *batcher, const lt_request_kind *kind);
void lt_keys_add(leat_batcher *batcher, lt_batch_key *key, leat_request *request);
/* Takes a waiting request out; it is RUNNING then. */
void lt_keys_remove(leat_batcher *batcher, leat_request *request);

/* Takes the batch that is to be begun at `now` out of its queue, and what has expired. Its `first`
 * is NULL when there is none: *out_next is then when to ask again, LT_NEVER: when something comes.
 * The caller holds the lock. */
lt_batch lt_batcher_pick(leat_batcher *batcher, uint64_t now, uint64_t *out_next);

/* Whether the instances that are idle are kept for class 0. The caller holds the lock. */
static inline bool lt_batcher_reserves(const leat_batcher *b)
{
    return b->classes && b->n_idle <= b->desc.reserved_instances;
}

/* Whether requests of a class have to wait for an instance. The caller holds the lock. */
static inline bool lt_batcher_busy_for(const leat_batcher *b, uint32_t class_index)
{
    return b->idle == NULL || (class_index > 0 && lt_batcher_reserves(b));
}

/* An instance that is idle, taken: `wanted`, or NULL when that is not idle; one that is `urgent` as
 * wanted, if there is, where the fewest are under way; one that is given back. The caller holds the
 * lock. */
lt_instance *lt_batcher_take(leat_batcher *batcher, const lt_instance *wanted);
lt_instance *lt_batcher_take_instance(leat_batcher *batcher, bool urgent);
void lt_batcher_return_instance(leat_batcher *batcher, lt_instance *instance);

/* Nanoseconds of a place's time that each instance under way there has had until now, since the
 * beginning; 0 where lengths are not chosen by cost. Called before `busy` changes. The caller holds
 * the lock. */
double lt_batcher_share(leat_batcher *batcher, int32_t place);

/* Nanoseconds from now until a request of these rows of a key would be complete, behind all that
 * waits; 0 when not known (key NULL: its times are not). The caller holds the lock. */
uint64_t lt_batcher_predict(const leat_batcher *batcher, const lt_batch_key *key, uint32_t rows);

/* How many devices the instances are spread over. */
int32_t lt_batcher_count_places(const leat_batcher_desc *desc);

/* Opens the session of every instance, as `wanted`, or by default with NULL. */
leat_status lt_batcher_open(leat_batcher *batcher, leat_model *model,
                            const leat_session_desc *wanted, leat_error *err);

/* Opens the session of an instance again, on another device: its own is lost. False when there is
 * none. The instance is the caller's, who does not hold the lock. */
bool lt_batcher_move(lt_instance *instance);

/* Runs one batch on an idle instance, and completes what has expired, if anything may begin. False
 * when nothing may: *out_next as for lt_batcher_pick. The caller holds the lock, which is let go
 * while the batch runs. */
bool lt_batcher_step(leat_batcher *batcher, uint64_t *out_next);

/* Takes those that were given back into the free ones. Returns whether any is free for a request of
 * the class: the last eighth of them is for class 0. The caller holds the lock. */
bool lt_batcher_has_room(leat_batcher *batcher, uint32_t class_index);

/* Completes a request that is RUNNING: sets the outputs, calls back, lets waiters go. Without the
 * lock. outputs: NULL unless the status is LEAT_OK. */
void lt_batcher_complete(leat_request *request, leat_status status, const leat_array *outputs,
                         const leat_error *error);

/* hand_out.c: what rows [row, row + request->rows) of a batch's outputs are to a request: copied to
 * its memory, or where they lie; in request->outputs. INVALID when its memory is too small. */
leat_status lt_batcher_hand_out(const leat_batcher *batcher, const leat_array *outputs,
                                leat_request *request, uint32_t row,
                                leat_error *err) LEAT_MUST_CHECK;

/* What a request gets of outputs that are wholly its own. */
leat_status lt_batcher_copy_out(const leat_batcher *batcher, const leat_array *outputs,
                                leat_request *request, leat_error *err) LEAT_MUST_CHECK;

/* Until when a request is to be complete, and when its batch has to begin. */
typedef struct lt_request_times {
    uint64_t deadline; /* LT_NEVER: none */
    uint64_t due;
} lt_request_times;

/* Of a request that comes at `now`. */
lt_request_times lt_batcher_times(const leat_batcher *batcher, const leat_request_desc *desc,
                                  uint64_t now);

/* A free request, filled in as WAITING, but in no queue. The caller holds the lock, and one is
 * free. */
leat_request *lt_batcher_fill(leat_batcher *batcher, const leat_request_desc *desc,
                              const lt_request_kind *kind);

/* flight.c: makes what answers are kept in. False: no memory. */
bool lt_flights_make(leat_batcher *batcher);
/* Takes a request whose answer is known, which is complete then, or whose equal is under way. False
 * where neither is: it is to be queued. Without the lock. */
bool lt_flight_take(leat_batcher *batcher, const leat_request_desc *desc,
                    const lt_request_kind *kind, uint64_t hash, leat_request **out_request);
/* A request with a hash and a group is queued: equal ones may follow it. The caller holds the lock.
 */
void lt_flight_lead(leat_batcher *batcher, leat_request *request);
/* One that follows is taken out; it is RUNNING then. The caller holds the lock. */
void lt_flight_leave(leat_request *request);
/* A request with a hash has come to this, nobody being told yet: what follows it is complete, or
 * waits in its place. Without the lock. */
void lt_flight_end(leat_request *request, leat_status status, const leat_array *outputs);

/* Queues a request: leat_batcher_submit; `wake`: a thread is to begin it. */
leat_status lt_batcher_enqueue(leat_batcher *batcher, const leat_request_desc *desc, bool wake,
                               leat_request **out_request, leat_error *err) LEAT_MUST_CHECK;

leat_status lt_batcher_examine(const leat_batcher *batcher, const leat_array *inputs,
                               size_t n_inputs, uint64_t group, lt_request_kind *out_kind,
                               leat_error *err) LEAT_MUST_CHECK;

/* Whether a request, when it is a batch's only one, can run in place: its own arrays are the run's.
 */
bool lt_batcher_in_place(const leat_batcher *batcher, const leat_request *request);

/* Runs a request alone on an instance that is the caller's, filled up to `planned` rows; the
 * results are in at->outputs. in_place: from the request's own memory. */
leat_status lt_batcher_try(lt_instance *at, const leat_request *request, uint32_t planned,
                           bool in_place, leat_error *err) LEAT_MUST_CHECK;

/* Notes what rows of a key's batch gained over running alone, where runs of as many and of one have
 * been measured before: a first run makes its plan. The caller holds the lock. */
void lt_batcher_note_gain(leat_batcher *batcher, const lt_curve *curve, uint32_t rows, uint64_t ns);

/* Chooses the lengths to which requests are padded anew when that is due. The caller holds the
 * lock, which is let go meanwhile. */
void lt_batcher_choose_lengths(leat_batcher *batcher);

/* trace.c: a batch that ran, of these requests. */
void lt_batcher_trace(leat_batcher *batcher, const leat_request *first, uint32_t rows,
                      uint64_t begin_ns, uint64_t end_ns);

/* A thread of the batcher, an lt_sleeper. */
void *lt_batcher_thread(void *sleeper);

/* Tells the thread that polls, or takes the one that fell asleep last, whose stack and core's
 * caches are the warmest, out of those asleep: NULL, or what lt_batcher_rouse wakes, if that may
 * be without the lock, so that it does not wake only to wait for that. The caller holds the lock.
 */
lt_sleeper *lt_batcher_call(leat_batcher *batcher);
void lt_batcher_rouse(lt_sleeper *sleeper);
/* Both; for all of them. The caller holds the lock. */
void lt_batcher_wake(leat_batcher *batcher);
void lt_batcher_wake_all(leat_batcher *batcher);

#endif

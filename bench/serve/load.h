/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of bench/serve.c share: requests of a load, their times, and who answers them. */
#ifndef BENCH_SERVE_LOAD_H
#define BENCH_SERVE_LOAD_H

#include <leat/batcher.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    MOST_INPUTS = 16,
    MOST_KINDS = 1024,
    MOST_OUTPUTS = 64,
    MOST_DEVICES = 8,
    CLASSES = 2,
    BUCKETS = 3000 /* 1 % each from 100 ns: up to 10^6 s */
};

/* How a request is put to the server: queued, answered by a callback; run by leat_batcher_run on
 * the load's own thread; or run on that thread by a session, without a server. */
typedef enum way {
    BY_SUBMIT = 0,
    BY_RUN,
    BY_SESSION
} way;

/* The command line. */
typedef struct settings {
    const char *model, *plugins, *pad, *lengths, *length, *trace;
    const char *devices[MOST_DEVICES];
    size_t n_devices;
    const char *shapes[MOST_INPUTS];
    size_t n_shapes;
    const char *mixed[MOST_KINDS];
    size_t n_mixed;
    int threads, senders, max_batch, step, instances, groups, group_rows, users, fifo, json;
    int distinct, pad_buckets;
    double poll_us, seconds, rate, light, p99_ms, on_ms, off_ms, null_us, null_row_us, every;
    double deadline_ms, urgent, urgent_deadline_ms, overload, from, growth, answers_mb;
} settings;

/* Latencies of one class, in buckets of 1 %. */
typedef struct times {
    _Atomic uint64_t buckets[BUCKETS];
    _Atomic uint64_t completed, failed, late, refused;
    _Atomic uint64_t beyond; /* took longer than the load's bound */
} times;

typedef struct fifo fifo;

typedef struct load {
    leat_model *model;
    leat_batcher *batcher; /* NULL: fifo answers */
    fifo *fifo;
    leat_session *session; /* of BY_SESSION */
    void *null;            /* the device in place of the model; NULL: none */
    way way;
    leat_array inputs[MOST_KINDS][MOST_INPUTS];
    size_t n_kinds, n_inputs, n_groups;
    bool group_rows;       /* a request's group is how many rows it has */
    double mean_rows;      /* of a request */
    const uint32_t *order; /* [n_order]: kinds of requests, in turn; NULL: 0, 1, 2, ... */
    size_t n_order;
    uint64_t deadline[CLASSES]; /* ns; 0: none */
    uint64_t bound;             /* ns; 0: none */
    times times[CLASSES];
    times reported; /* of --every: what its lines have told of times[0 or 1] */
} load;

/* A request under way. */
typedef struct ticket ticket;
struct ticket {
    load *l;
    ticket *next; /* in the fifo */
    uint64_t due; /* the time at which it was to arrive */
    uint32_t kind, class_index;
    uint64_t group;
    _Atomic int busy;
};

/* What a load came to. */
typedef struct result {
    double asked, took, rate, goodput, rows, p50, p99;
    uint64_t refused;
} result;

/* ---- times.c: the clock, and histograms of latencies ------------------------------------------
 */

uint64_t now_ns(void);
void wait_until(uint64_t due);
void fail(const char *what, const leat_error *err);
double uniform(uint64_t *seed);

void times_clear(times *t);
/* What came to `t` since `seen` was as it is, to *out; then seen is as t. */
void times_since(const times *t, times *seen, times *out);
void times_note(times *t, uint64_t ns);
/* Milliseconds below which this part of all lie. */
double times_quantile(const times *t, double part);

/* Ends a request. */
void ticket_done(ticket *t, leat_status status);

/* ---- arrivals.c: when requests arrive ----------------------------------------------------------
 */

/* At random, all along or in bursts, or as a file says. */
typedef struct arrivals {
    double rate;            /* requests a second, on the mean */
    double on_ms, off_ms;   /* bursts: all arrive within on_ms of every on_ms + off_ms; 0: none */
    const double *seconds;  /* of a trace, ascending; NULL: none */
    const uint8_t *classes; /* of its requests */
    size_t n;
    uint64_t seed;
    double at; /* the last one's time without the pauses */
    size_t next;
} arrivals;

/* Reads a trace of lines "SECONDS[,CLASS]". */
void arrivals_read(arrivals *a, const char *path);
/* The next arrival's time in seconds from the start, infinity at a trace's end. class_index: set
 * from a trace only. */
double arrivals_next(arrivals *a, uint32_t *class_index);

/* ---- inputs.c: what requests ask ---------------------------------------------------------------
 */

void make_inputs(const settings *s, load *l);

/* ---- settings.c --------------------------------------------------------------------------------
 */

settings read_settings(int argc, char **argv);

/* ---- send.c: loads -----------------------------------------------------------------------------
 */

/* One open loop for so many seconds; `rate` 0: the trace. Ends early where more requests than one
 * of a hundred were beyond the load's bound. Prints a line without its end. */
result open_loop(load *l, const settings *s, double rate);
/* Users who ask again when they are answered. */
void closed_loop(load *l, const settings *s);
/* Requests one after the other on a session, for at most 1.5 s. Returns requests a second. */
double run_directly(load *l, const settings *s, const leat_session_desc *desc);

/* ---- search.c: what a server can bear ----------------------------------------------------------
 */

/* The highest rate within the bound, by doubling and halving. */
double search(load *l, const settings *s, double direct_rate);
void overload(load *l, const settings *s, double peak);
/* A light load put in every way in turn. */
void light_load(load *l, const settings *s);

/* ---- report.c ----------------------------------------------------------------------------------
 */

void print_class(const load *l, const settings *s, const result *r, uint32_t class_index);
/* What came since the last stretch of a long load, up to `seconds` after its start. */
void print_stretch(load *l, const settings *s, double seconds);
/* What was answered without a run, where answers are kept. */
void print_answers(const load *l, const settings *s);
/* Milliseconds within which 99 % of a class's requests were begun since `before`; within a bucket
 * of the batcher's (a power of two) as if all times there were as frequent. */
double begun_within(const load *l, const leat_batcher_stats *before, uint32_t class_index);

/* ---- null.c: in place of a model ---------------------------------------------------------------
 */

/* One device that takes fixed + row * rows microseconds, asleep; outputs are zeros. To be
 * leat_batcher_desc's run and run_user. */
leat_status null_run(void *opaque, int32_t instance, const leat_array *inputs, size_t n_inputs,
                     leat_array *outputs, size_t n_outputs, leat_error *err);
void *null_create(const leat_model_signature *io, double fixed_us, double row_us);

/* ---- fifo.c: the yardstick ---------------------------------------------------------------------
 */

/* One queue in the order of arrival. Who is free takes what stands at its head, as far as shapes
 * and groups are the same, up to max_batch. */
fifo *fifo_create(load *l, const leat_session_desc *session, int workers, int max_batch);
bool fifo_submit(fifo *f, ticket *t);
void fifo_drain(fifo *f);
void fifo_counts(fifo *f, uint64_t *batches, uint64_t *rows);
/* Runs every size of a kind on every worker's session. */
void fifo_warm(fifo *f, size_t kind);
void fifo_destroy(fifo *f);

#endif

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
    CLASSES = 2,
    BUCKETS = 3000 /* 1 % each from 100 ns: up to 10^6 s */
};

/* Latencies of one class, in buckets of 1 %. */
typedef struct times {
    _Atomic uint64_t buckets[BUCKETS];
    _Atomic uint64_t completed, failed, late, refused;
} times;

typedef struct fifo fifo;

typedef struct load {
    leat_model *model;
    leat_batcher *batcher; /* NULL: fifo answers */
    fifo *fifo;
    leat_array inputs[MOST_KINDS][MOST_INPUTS];
    size_t n_kinds, n_inputs, n_groups;
    uint32_t *order; /* [n_order]: kinds of requests, in turn; NULL: 0, 1, 2, ... */
    size_t n_order;
    uint64_t deadline[CLASSES]; /* ns; 0: none */
    times times[CLASSES];
} load;

/* A request under way. */
typedef struct ticket ticket;
struct ticket {
    load *l;
    ticket *next; /* in the fifo */
    uint64_t due; /* the time at which it was to arrive */
    uint32_t kind, group, class_index;
    _Atomic int busy;
};

uint64_t now_ns(void);
void fail(const char *what, const leat_error *err);
double uniform(uint64_t *seed);

void times_clear(times *t);
void times_note(times *t, uint64_t ns);
/* Milliseconds below which this part of all lie. */
double times_quantile(const times *t, double part);

/* Ends a request. */
void ticket_done(ticket *t, leat_status status);

/* When requests arrive: at random, all along or in bursts, or as a file says. */
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

/* Reads a trace of lines "SECONDS[,CLASS]"; `scale` times its speed. */
void arrivals_read(arrivals *a, const char *path);
/* The next arrival's time in seconds from the start, infinity at a trace's end. class_index: set
 * from a trace only. */
double arrivals_next(arrivals *a, uint32_t *class_index);

/* The yardstick: one queue in the order of arrival. Who is free takes what stands at its head, as
 * far as shapes and groups are the same, up to max_batch. */
fifo *fifo_create(load *l, const leat_session_desc *session, int workers, int max_batch);
bool fifo_submit(fifo *f, ticket *t);
void fifo_drain(fifo *f);
void fifo_counts(fifo *f, uint64_t *batches, uint64_t *rows);
/* Runs every size of a kind on every worker's session. */
void fifo_warm(fifo *f, size_t kind);
void fifo_destroy(fifo *f);

#endif

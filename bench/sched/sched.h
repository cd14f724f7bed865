/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of bench/sched.c: streams.c what asks, traces.c when requests come, simulate.c a policy
 * in simulated time, train.c the learned policy's weights, live.c policies in real time, oracle.c
 * what no policy can exceed, highest.c the highest load that meets an objective, table.c the
 * tables. */
#ifndef BENCH_SCHED_SCHED_H
#define BENCH_SCHED_SCHED_H

#include <leat/scheduler.h>
#include <stdbool.h>
#include <stdio.h>

enum {
    MOST_STREAMS = 8,
    MOST_POINTS = 256,
    N_TRACES = 5,
    N_FIXED = 4, /* policies that are rules */
    N_COMBINATIONS = 4 * 2 * 4 * 2 * 2,
    MOST_BATCH = 1024,
    MOST_REPEATS = 16,
    TIME_STEPS = 1024 /* of 16 ns */
};

extern const char *const trace_names[N_TRACES];
extern const char *const policy_names[N_FIXED + 1];

typedef struct stream {
    const char *model;
    uint32_t class_index;
    uint32_t max_batch;
    double deadline_ms;
    double share; /* of the work */
    bool bulk;    /* what "on/off bulk" switches */
    bool crowd;   /* what the flash crowd wants */
    leat_cost_point costs[MOST_POINTS];
    size_t n_costs;
    double work_ns;
} stream;

typedef struct world {
    stream streams[MOST_STREAMS];
    size_t n_streams;
    uint32_t n_devices;
    double seconds, load;
    double warm;               /* of the seconds, not counted */
    int only;                  /* trace; -1: all */
    double learn;              /* step of the learned policy's weights; 0: they stay */
    int repeats;               /* of each policy, live; up to MOST_REPEATS */
    bool grid;                 /* is searched */
    int fixed[N_COMBINATIONS]; /* of the grid, those that are tried */
    int n_fixed;
    leat_context *context;
    FILE *log;
    uint32_t *times;        /* as in simulation */
    uint32_t *submit_times; /* likewise, of leat_scheduler_submit */
} world;

typedef struct result {
    double goodput;              /* of the devices' time */
    double busy;                 /* of the devices' time */
    double on_time;              /* of the requests */
    double worst_class;          /* of the requests of the class with the fewest on time */
    uint64_t takeovers, changes; /* of the stand-in */
    uint64_t trials, steps;      /* of weights */
    uint64_t decisions;
} result;

/* Gives the world the streams whose models the file has costs of; NULL: those of an H100. */
void make_streams(world *w, const char *curves);

/* Ends the program. */
void fail(const char *what, const leat_error *err);

/* Numbers by chance, the same again from a seed. */
uint64_t next_random(uint64_t *seed);
double uniform(uint64_t *seed); /* above 0, below 1 */
double normal(uint64_t *seed);

/* A stream's next arrival, in seconds, behind `at`; beyond w->seconds: none. */
double next_arrival(const world *w, int trace, const stream *s, double at, uint64_t *seed);
/* Where a stream's chance begins. */
uint64_t arrival_seed(uint64_t seed, size_t stream, int trace);

/* What a batch takes: between the measured points. */
double cost_ns(const stream *s, uint32_t rows);
/* A scheduler with the streams' queues; what desc lacks is filled in. */
leat_scheduler *make_scheduler(const world *w, leat_scheduler_desc desc);
result simulate(const world *w, int trace, uint64_t seed, leat_scheduler_desc desc);
/* One of the grid: policy, strict classes, holding, chunk, admission. */
leat_scheduler_desc combination(int number);
/* The best of w->fixed on the very arrivals. goodputs: [w->n_fixed], what each does, or NULL. */
result best_of_grid(const world *w, int trace, uint64_t seed, leat_scheduler_desc *out_desc,
                    double *goodputs);
void name_policy(const leat_scheduler_desc *desc, char *text, size_t bytes);
/* What a scheduler has done in so many nanoseconds. */
/* before: what is not counted of it; NULL: nothing. */
result result_of(const world *w, leat_scheduler *scheduler, double time_ns,
                 const leat_scheduler_stats *before);

/* Work in time that no policy can exceed, and work asked for, over the devices' time. */
typedef struct oracle {
    double most;
    double asked;
} oracle;
oracle most_possible(const world *w, int trace, uint64_t seed);
/* The rules that are tried for the highest load at which 99 % of each class is in time. */
extern const leat_scheduler_desc objective_rules[];
extern const size_t n_objective_rules;
/* live: in real time, on a device that waits; of the rules those that hold or admit only. */
void print_highest(const world *w, uint64_t seed, const leat_policy_weights *weights, bool live);

/* The weights the other way round, and glad to wait. */
leat_policy_weights wrecked(const leat_policy_weights *weights);
/* The table of one seed, and of several. */
void print_table(const world *w, uint64_t seed, const leat_policy_weights *weights);
void print_seeds(const world *w, uint64_t seed, int n_seeds, const leat_policy_weights *weights);

void train(const world *w, int generations, int threads, const char *path,
           leat_policy_weights *weights);

/* The table in real time. folder: of the streams' models, run on the CPU; NULL: nothing is run, the
 * device waits for what a batch would take. */
/* A policy in real time: what comes is submitted when it comes. */
result run_live(world *w, int trace, uint64_t seed, leat_scheduler_desc desc);
void print_live(world *w, uint64_t seed, const leat_policy_weights *weights, const char *folder);
/* Measures the streams' costs with the models of a folder. */
void measure_costs(world *w, const char *folder);
void close_models(world *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Policies in real time: the scheduler's own threads, requests submitted when they come, and as
 * device the CPU with the streams' models, or nothing that takes as long. */
#include "sched/sched.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_INPUTS = 8,
    LARGEST = 16, /* rows of a batch of a real model */
    TOKENS = 32   /* of a dimension that has no size */
};

/* A stream's model, with inputs for its largest batch. */
typedef struct runner {
    leat_model *model;
    leat_session *session;
    leat_array inputs[MOST_INPUTS], outputs[MOST_INPUTS];
    size_t n_inputs, n_outputs;
    void *data[MOST_INPUTS];
} runner;

static runner runners[MOST_STREAMS];

/* Inputs of so many rows, of the data that is there. */
static void run_rows(runner *r, uint32_t rows)
{
    leat_error err;
    for (size_t i = 0; i < r->n_inputs; i++) {
        r->inputs[i].shape[0] = rows;
        size_t count = 1;
        for (int32_t d = 0; d < r->inputs[i].rank; d++) {
            count *= (size_t)r->inputs[i].shape[d];
        }
        r->inputs[i].bytes = leat_dtype_bytes(r->inputs[i].dtype, count);
    }
    if (leat_session_run(r->session, r->inputs, r->n_inputs, r->outputs, r->n_outputs, &err)) {
        fail("run", &err);
    }
}

static void open_model(const world *w, runner *r, const char *folder, const char *model)
{
    char path[512];
    leat_error err;
    const leat_session_desc desc = {.struct_size = sizeof(desc), .max_plans = 2 * LARGEST};
    model = strcmp(model, "cpu-lite0") == 0  ? "efficientnet-lite0"
            : strncmp(model, "cpu-", 4) == 0 ? model + 4
                                             : model;
    snprintf(path, sizeof(path), "%s/%s.onnx", folder, model);
    if (leat_model_load(w->context, path, NULL, &r->model, &err) ||
        leat_session_create(r->model, &desc, &r->session, &err)) {
        fail(path, &err);
    }
    const leat_model_signature *io = leat_model_io(r->model);
    if (io->n_inputs > MOST_INPUTS || io->n_outputs > MOST_INPUTS) {
        fail("more inputs or outputs than 8", NULL);
    }
    r->n_inputs = io->n_inputs;
    r->n_outputs = io->n_outputs;
    for (size_t i = 0; i < io->n_inputs; i++) {
        leat_array *x = &r->inputs[i];
        size_t count = 1;
        *x = (leat_array){.dtype = io->inputs[i].dtype, .rank = io->inputs[i].rank};
        for (int32_t d = 0; d < x->rank; d++) {
            x->shape[d] = d == 0                       ? LARGEST
                          : io->inputs[i].shape[d] < 0 ? TOKENS
                                                       : io->inputs[i].shape[d];
            count *= (size_t)x->shape[d];
        }
        const size_t bytes = leat_dtype_bytes(x->dtype, count);
        x->data = r->data[i] = calloc(1, bytes + 1);
        if (x->data == NULL) {
            fail("no memory", NULL);
        }
        for (size_t k = 0; x->dtype == LEAT_DTYPE_I64 && k < count; k++) {
            ((int64_t *)x->data)[k] = 1; /* a token, a mask */
        }
    }
}

/* Milliseconds of a batch: the median of five. */
static double time_rows(runner *r, uint32_t rows)
{
    uint64_t ns[5];
    run_rows(r, rows);
    for (int i = 0; i < 5; i++) {
        const uint64_t begin = lt_clock_ns();
        run_rows(r, rows);
        uint64_t took = lt_clock_ns() - begin;
        for (int k = 0; k < i; k++) {
            if (ns[k] > took) {
                const uint64_t larger = ns[k];
                ns[k] = took;
                took = larger;
            }
        }
        ns[i] = took;
    }
    return (double)ns[2];
}

void measure_costs(world *w, const char *folder)
{
    for (size_t i = 0; i < w->n_streams; i++) {
        stream *s = &w->streams[i];
        s->n_costs = 0;
        s->max_batch = s->max_batch < LARGEST ? s->max_batch : LARGEST;
        open_model(w, &runners[i], folder, s->model);
        s->work_ns = 1e18;
        for (uint32_t rows = 1; rows <= s->max_batch; rows *= 2) {
            const double ns = time_rows(&runners[i], rows);
            s->work_ns = ns / rows < s->work_ns ? ns / rows : s->work_ns;
            for (uint32_t d = 0; d < w->n_devices; d++) {
                s->costs[s->n_costs++] = (leat_cost_point){d, rows, (uint64_t)ns};
            }
        }
    }
}

void close_models(world *w)
{
    for (size_t i = 0; i < w->n_streams; i++) {
        leat_session_destroy(runners[i].session);
        leat_model_destroy(runners[i].model);
        for (size_t k = 0; k < MOST_INPUTS; k++) {
            free(runners[i].data[k]);
        }
    }
}

/* Sleeps until shortly before, then looks at the clock: a sleep alone is 50 us late. */
static void wait_until(uint64_t ns)
{
    const uint64_t early = ns - 80000, now = lt_clock_ns();
    if (now < early) {
        const struct timespec rest = {(time_t)((early - now) / 1000000000u),
                                      (long)((early - now) % 1000000000u)};
        nanosleep(&rest, NULL);
    }
    while (lt_clock_ns() < ns) {
    }
}

static void run_batch(void *user, uint32_t device, uint32_t queue, void *const *items,
                      size_t n_items)
{
    const world *w = user;
    (void)device;
    (void)items;
    if (runners[queue].session != NULL) {
        run_rows(&runners[queue], (uint32_t)n_items);
    } else {
        wait_until(lt_clock_ns() + (uint64_t)cost_ns(&w->streams[queue], (uint32_t)n_items));
    }
}

/* Nothing is late by more than the machine makes it. */
result run_live(world *w, int trace, uint64_t seed, leat_scheduler_desc desc)
{
    double arrival[MOST_STREAMS];
    uint64_t seeds[MOST_STREAMS];
    desc.run = run_batch;
    desc.user = w;
    for (size_t i = 0; i < w->n_streams; i++) {
        seeds[i] = arrival_seed(seed, i, trace);
        arrival[i] = next_arrival(w, trace, &w->streams[i], 0, &seeds[i]);
    }
    leat_scheduler *scheduler = make_scheduler(w, desc);
    leat_scheduler_stats before = {.struct_size = sizeof(before)};
    bool warm = w->warm <= 0;
    const uint64_t begin = lt_clock_ns();
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < w->n_streams; i++) {
            first = arrival[i] < arrival[first] ? i : first;
        }
        const double at = arrival[first] < w->seconds ? arrival[first] : w->seconds;
        wait_until(begin + (uint64_t)(at * 1e9));
        if (!warm && at >= w->warm) {
            leat_scheduler_read_stats(scheduler, &before);
            warm = true;
        }
        if (arrival[first] >= w->seconds) {
            break;
        }
        const stream *s = &w->streams[first];
        (void)!leat_scheduler_submit(scheduler, (uint32_t)first, NULL,
                                     (uint64_t)(s->deadline_ms * 1e6), NULL);
        arrival[first] = next_arrival(w, trace, s, arrival[first], &seeds[first]);
    }
    const double time_ns = (double)(lt_clock_ns() - begin) - w->warm * 1e9;
    const result r = result_of(w, scheduler, time_ns, &before);
    leat_scheduler_destroy(scheduler);
    return r;
}

typedef struct spread {
    double least, median, most;
} spread;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static spread spread_of(double *values, int n)
{
    qsort(values, (size_t)n, sizeof(*values), by_size);
    return (spread){100 * values[0], 50 * (values[n / 2] + values[(n - 1) / 2]),
                    100 * values[n - 1]};
}

/* Every policy once, and again, so that what the machine does meanwhile is the same for all. */
static void print_trace(world *w, int trace, uint64_t seed, const leat_policy_weights *weights)
{
    char name[64] = "-";
    leat_scheduler_desc descs[N_FIXED + 2] = {{0}};
    double goodput[N_FIXED + 2][MOST_REPEATS];
    const int first = w->grid ? 0 : 1; /* the grid's */
    if (w->grid) {
        (void)best_of_grid(w, trace, seed, &descs[0], NULL);
        name_policy(&descs[0], name, sizeof(name));
    }
    for (int p = 0; p < N_FIXED; p++) {
        descs[p + 1] = (leat_scheduler_desc){.policy = (leat_policy)p, .admit = p == 0};
    }
    descs[N_FIXED + 1] = (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = weights};
    for (int r = 0; r < w->repeats; r++) {
        for (int p = first; p < N_FIXED + 2; p++) {
            goodput[p][r] = run_live(w, trace, seed, descs[p]).goodput;
        }
    }
    const spread own = spread_of(goodput[N_FIXED + 1], w->repeats);
    double best = 0;
    printf("%-12s", trace_names[trace]);
    for (int p = first; p < N_FIXED + 2; p++) {
        const spread s = spread_of(goodput[p], w->repeats);
        best = p <= N_FIXED && s.median > best ? s.median : best;
        printf("  %5.1f (%.1f-%.1f)", s.median, s.least, s.most);
    }
    printf("  %5.3f  %s\n", own.median / best, name);
    fflush(stdout);
}

void print_live(world *w, uint64_t seed, const leat_policy_weights *weights, const char *folder)
{
    if (folder != NULL) {
        measure_costs(w, folder);
    }
    for (size_t i = 0; i < w->n_streams; i++) {
        printf("%s, class %u, within %g ms: a batch of 1 takes %.3f ms, %.3f ms each at best\n",
               w->streams[i].model, w->streams[i].class_index, w->streams[i].deadline_ms,
               cost_ns(&w->streams[i], 1) / 1e6, w->streams[i].work_ns / 1e6);
    }
    printf("live, goodput in %%, median (least-most) of %d: %sEDF with admission, FIFO, SJF, FAIR, "
           "learned; learned over the best\n",
           w->repeats, w->grid ? "the grid's best in simulation, " : "");
    for (int t = 0; t < N_TRACES; t++) {
        if (w->only < 0 || w->only == t) {
            print_trace(w, t, seed, weights);
        }
    }
    if (folder != NULL) {
        close_models(w);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's policies on five traces, in simulated time:
 *
 *     sched [--curves FILE] [--seconds S] [--load L] [--seed N] [--log FILE]
 *           [--train GENERATIONS [--threads N]] [--weights FILE]
 *
 * Streams of requests (models with a class, a deadline, a share of the work) come as a trace says;
 * the devices take for a batch what was measured (lines "MODEL ROWS MILLISECONDS"; without a file
 * an H100's), give or take 3 %. The scheduler is the library's own, run by a clock that jumps from
 * one event to the next. Goodput is the work of requests complete within their deadlines (a
 * request's being its part of its best batch) over the devices' time: also the effective
 * utilisation.
 *
 * For every trace: the rules as they come, EDF with admission; the best of a grid over rule, strict
 * classes, holding, chunk and admission; the learned policy with its guard; and one whose weights
 * were wrecked. The grid is searched on the very arrivals it is judged by, the learned policy is
 * not: it is trained (--train, --weights says where to write) on other seeds, by the cross-entropy
 * method (Rubinstein, 1999) on what it gains over that grid's best. */
#include "base/clock.h"

#include <leat/scheduler.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_STREAMS = 8,
    MOST_POINTS = 256,
    N_TRACES = 5,
    MOST_BATCH = 1024,
    POPULATION = 96,
    ELITE = 14,
    TIME_STEPS = 1024 /* of 16 ns */
};

static const char *const trace_names[N_TRACES] = {"Poisson", "burst", "diurnal", "flash crowd",
                                                  "on/off bulk"};

typedef struct point {
    char model[32];
    uint32_t rows;
    double ms;
} point;

/* One lent H100, 2026-11-26, `leat bench --device cuda:0`, medians. */
static const point h100[] = {
#include "sched_curves.inc"
};

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
    leat_context *context;
    FILE *log;
    uint32_t *times; /* as in simulation */
} world;

static void fail(const char *what, const leat_error *err)
{
    fprintf(stderr, "sched: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

/* ---- numbers by chance ----------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *seed)
{
    return ((double)(next_random(seed) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *seed)
{
    return sqrt(-2 * log(uniform(seed))) * cos(6.283185307179586 * uniform(seed));
}

/* ---- traces ---------------------------------------------------------------------------------- */

/* How many times its mean a stream's rate is at a part of the whole time. */
static double intensity(int trace, const stream *s, double part, double seconds)
{
    const double t = part * seconds;
    switch (trace) {
    case 1: /* bursts of 60 ms, five a second */
        return fmod(t, 0.2) < 0.06 ? 2.4 : 0.4;
    case 2:
        return 1 - 0.75 * cos(6.283185307179586 * part);
    case 3:
        return !s->crowd ? 0.8 : part < 0.4 ? 0.5 : 0.5 + 5 * exp(-(part - 0.4) * 8);
    case 4:
        return !s->bulk ? 0.7 : fmod(t, 0.5) < 0.25 ? 3 : 0;
    default:
        return 1;
    }
}

#define MOST_INTENSITY 6.0

/* Arrivals by thinning (Lewis and Shedler, 1979): of a stream, from `at` on. */
static double next_arrival(const world *w, int trace, const stream *s, double at, uint64_t *seed)
{
    const double rate = w->load * w->n_devices * s->share * 1e9 / s->work_ns; /* a second */
    do {
        at -= log(uniform(seed)) / (rate * MOST_INTENSITY);
    } while (at < w->seconds &&
             uniform(seed) * MOST_INTENSITY > intensity(trace, s, at / w->seconds, w->seconds));
    return at;
}

/* ---- the simulation -------------------------------------------------------------------------- */

typedef struct result {
    double goodput; /* of the devices' time */
    double busy;    /* of the devices' time */
    double on_time; /* of the requests */
    uint64_t takeovers;
    uint64_t decisions;
} result;

typedef struct simulation {
    uint64_t now;
    uint32_t *times; /* [TIME_STEPS]: what leat_scheduler_begin took; NULL: not wanted */
    uint64_t decisions;
    FILE *log;
} simulation;

static uint64_t clock_of(void *user)
{
    return ((simulation *)user)->now;
}

static void decided(void *user, const leat_decision *d)
{
    simulation *s = user;
    s->decisions++;
    if (s->log != NULL) {
        fprintf(s->log, "%llu device %u queue %u rows %u policy %d until %llu\n",
                (unsigned long long)d->time_ns, d->device, d->queue, d->rows, (int)d->policy,
                (unsigned long long)d->until_ns);
    }
}

static leat_scheduler *make(const world *w, leat_scheduler_desc desc, simulation *s)
{
    leat_scheduler *scheduler;
    leat_error err;
    desc.struct_size = sizeof(desc);
    desc.context = w->context;
    desc.n_devices = w->n_devices;
    desc.clock = clock_of;
    desc.clock_user = s;
    desc.decided = decided;
    desc.user = s;
    if (leat_scheduler_create(&desc, &scheduler, &err) != LEAT_OK) {
        fail("scheduler", &err);
    }
    for (size_t i = 0; i < w->n_streams; i++) {
        const stream *t = &w->streams[i];
        uint32_t queue;
        const leat_queue_desc q = {.struct_size = sizeof(q),
                                   .class_index = t->class_index,
                                   .max_batch = t->max_batch,
                                   .capacity = 4096,
                                   .weight = t->share,
                                   .costs = t->costs,
                                   .n_costs = t->n_costs};
        if (leat_scheduler_add(scheduler, &q, &queue, &err) != LEAT_OK) {
            fail(t->model, &err);
        }
    }
    return scheduler;
}

/* What a batch takes: between the measured points. */
static double cost_ns(const stream *s, uint32_t rows)
{
    const leat_cost_point *below = NULL, *above = NULL;
    for (size_t i = 0; i < s->n_costs && s->costs[i].device == 0; i++) {
        below = s->costs[i].rows <= rows ? &s->costs[i] : below;
        above = above == NULL && s->costs[i].rows >= rows ? &s->costs[i] : above;
    }
    if (above == NULL) {
        return (double)below->ns * rows / below->rows;
    }
    if (below == NULL || above == below) {
        return (double)above->ns;
    }
    return (double)below->ns + ((double)above->ns - (double)below->ns) * (rows - below->rows) /
                                   (above->rows - below->rows);
}

static result simulate(const world *w, int trace, uint64_t seed, leat_scheduler_desc desc)
{
    void *items[MOST_BATCH];
    simulation s = {.now = 1, .log = w->log, .times = w->times};
    leat_scheduler *scheduler = make(w, desc, &s);
    const uint64_t horizon = (uint64_t)(w->seconds * 1e9);
    double arrival[MOST_STREAMS];
    uint64_t seeds[MOST_STREAMS], noise = seed * 77 + 5;
    uint64_t ends[LEAT_MAX_DEVICES] = {0}, until[LEAT_MAX_DEVICES] = {0};
    bool busy[LEAT_MAX_DEVICES] = {false};
    for (size_t i = 0; i < w->n_streams; i++) {
        seeds[i] = seed * 1000 + i * 17 + (uint64_t)trace;
        arrival[i] = next_arrival(w, trace, &w->streams[i], 0, &seeds[i]);
    }
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < w->n_streams; i++) {
            first = arrival[i] < arrival[first] ? i : first;
        }
        uint64_t next = (uint64_t)(arrival[first] * 1e9) + 1;
        int device = -1;
        for (uint32_t d = 0; d < w->n_devices; d++) {
            const uint64_t event = busy[d] ? ends[d] : until[d];
            if (event < next) {
                next = event;
                device = (int)d;
            }
        }
        if (next >= horizon) {
            break;
        }
        s.now = next > s.now ? next : s.now;
        if (device < 0) {
            const stream *t = &w->streams[first];
            (void)!leat_scheduler_submit(scheduler, (uint32_t)first, NULL,
                                         (uint64_t)(t->deadline_ms * 1e6), NULL);
            arrival[first] = next_arrival(w, trace, t, arrival[first], &seeds[first]);
        } else if (busy[device]) {
            (void)!leat_scheduler_end(scheduler, (uint32_t)device, NULL);
            busy[device] = false;
        }
        for (uint32_t d = 0; d < w->n_devices; d++) {
            leat_dispatch out = {.items = items};
            if (busy[d]) {
                continue;
            }
            const uint64_t begin = s.times ? lt_clock_ns() : 0;
            if (leat_scheduler_begin(scheduler, d, &out, NULL) != LEAT_OK) {
                fail("begin", NULL);
            }
            if (s.times != NULL) {
                const uint64_t step = (lt_clock_ns() - begin) / 16;
                s.times[step < TIME_STEPS ? step : TIME_STEPS - 1]++;
            }
            until[d] = out.until_ns;
            if (out.rows > 0) {
                const double cost = cost_ns(&w->streams[out.queue], out.rows);
                busy[d] = true;
                ends[d] = s.now + (uint64_t)(cost * (1 + 0.03 * (2 * uniform(&noise) - 1)));
            }
        }
    }
    leat_scheduler_stats stats = {.struct_size = sizeof(stats)};
    leat_scheduler_read_stats(scheduler, &stats);
    leat_scheduler_destroy(scheduler);
    uint64_t on_time = 0, submitted = 0, used = 0;
    for (int c = 0; c < LEAT_MAX_CLASSES; c++) {
        on_time += stats.on_time[c];
        submitted += stats.submitted[c];
    }
    for (uint32_t d = 0; d < w->n_devices; d++) {
        used += stats.busy_ns[d];
    }
    const double time = (double)horizon * w->n_devices;
    return (result){.goodput = (double)stats.work_on_time_ns / time,
                    .busy = (double)used / time,
                    .on_time = (double)on_time / (double)submitted,
                    .takeovers = stats.takeovers,
                    .decisions = s.decisions};
}

/* ---- fixed policies -------------------------------------------------------------------------- */

static const char *const policy_names[] = {"EDF", "FIFO", "SJF", "FAIR", "LEARNED"};

static result best_of_grid(const world *w, int trace, uint64_t seed, leat_scheduler_desc *out_desc)
{
    static const uint64_t holds[] = {0, 1000000, 4000000, 12000000};
    result best = {.goodput = -1};
    for (int i = 0; i < 4 * 2 * 4 * 2 * 2; i++) {
        const leat_scheduler_desc desc = {.policy = (leat_policy)(i % 4),
                                          .strict_classes = i / 4 % 2,
                                          .hold_ns = holds[i / 8 % 4],
                                          .chunk_ns = i / 32 % 2 ? 8000000 : 2000000,
                                          .admit = i / 64 % 2};
        const result r = simulate(w, trace, seed, desc);
        if (r.goodput > best.goodput) {
            best = r;
            *out_desc = desc;
        }
    }
    return best;
}

/* ---- training -------------------------------------------------------------------------------- */

typedef struct candidate {
    leat_policy_weights w;
    double fitness;
} candidate;

static int by_fitness(const void *a, const void *b)
{
    const double x = ((const candidate *)a)->fitness, y = ((const candidate *)b)->fitness;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The mean of what it reaches of the grid's best, up to 1.15, and its worst. */
static double fitness_of(const world *w, const leat_policy_weights *weights, uint64_t seed,
                         const double best[N_TRACES])
{
    double sum = 0, worst = 10;
    for (int t = 0; t < N_TRACES; t++) {
        const leat_scheduler_desc desc = {
            .policy = LEAT_POLICY_LEARNED, .weights = weights, .guard_loss = 1};
        const double ratio = simulate(w, t, seed, desc).goodput / best[t];
        sum += ratio < 1.3 ? ratio : 1.3;
        worst = ratio < worst ? ratio : worst;
    }
    return sum / N_TRACES + 0.5 * (worst < 1 ? worst : 1);
}

/* Jobs 0 to n - 1, dealt out to threads; what they give does not depend on how many there are. */
typedef struct jobs {
    const world *w;
    uint64_t arrivals;
    candidate *pool;
    double *best;
    void (*job)(struct jobs *jobs, int i);
    int n;
    _Atomic int next;
} jobs;

static void *work_off(void *argument)
{
    jobs *j = argument;
    for (int i = atomic_fetch_add(&j->next, 1); i < j->n; i = atomic_fetch_add(&j->next, 1)) {
        j->job(j, i);
    }
    return NULL;
}

static void run_jobs(jobs *j, void (*job)(jobs *jobs, int i), int n, int threads)
{
    pthread_t others[64];
    int started = 0;
    j->job = job;
    j->n = n;
    j->next = 0;
    while (started < threads - 1 && started < 64 &&
           pthread_create(&others[started], NULL, work_off, j) == 0) {
        started++;
    }
    work_off(j);
    for (int i = 0; i < started; i++) {
        pthread_join(others[i], NULL);
    }
}

static void search_grid(jobs *j, int trace)
{
    leat_scheduler_desc unused;
    j->best[trace] = best_of_grid(j->w, trace, j->arrivals, &unused).goodput;
}

static void try_candidate(jobs *j, int i)
{
    j->pool[i].fitness = fitness_of(j->w, &j->pool[i].w, j->arrivals, j->best);
}

static void train(const world *w, int generations, int threads, const char *path,
                  leat_policy_weights *weights)
{
    static candidate pool[POPULATION];
    double best[N_TRACES], spread[LEAT_POLICY_WEIGHTS];
    uint64_t seed = 4711;
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        spread[i] = 0.6;
    }
    for (int g = 0; g < generations; g++) {
        const uint64_t arrivals = 100 + (uint64_t)g / 4; /* new ones every fourth */
        jobs j = {.w = w, .arrivals = arrivals, .pool = pool, .best = best};
        if (g % 4 == 0) {
            run_jobs(&j, search_grid, N_TRACES, threads);
        }
        for (int p = 0; p < POPULATION; p++) {
            for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
                pool[p].w.weights[i] =
                    weights->weights[i] + (float)(p ? spread[i] * normal(&seed) : 0);
            }
        }
        run_jobs(&j, try_candidate, POPULATION, threads);
        const double centre = pool[0].fitness;
        qsort(pool, POPULATION, sizeof(pool[0]), by_fitness);
        for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
            double mean = 0, square = 0;
            for (int p = 0; p < ELITE; p++) {
                mean += pool[p].w.weights[i] / ELITE;
                square += (double)pool[p].w.weights[i] * pool[p].w.weights[i] / ELITE;
            }
            weights->weights[i] = (float)(0.3 * weights->weights[i] + 0.7 * mean);
            spread[i] = 0.3 * spread[i] + 0.7 * (sqrt(fmax(square - mean * mean, 0)) + 0.02);
        }
        leat_error err;
        if (path != NULL && leat_policy_save(w->context, path, weights, &err) != LEAT_OK) {
            fail("weights", &err);
        }
        printf("generation %d: the mean's fitness %.4f, best %.4f\n", g, centre, pool[0].fitness);
        fflush(stdout);
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static leat_policy_weights wrecked(const leat_policy_weights *weights)
{
    leat_policy_weights w = *weights;
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        w.weights[i] = -w.weights[i];
    }
    w.weights[20] = 5; /* and waits gladly */
    return w;
}

/* Nanoseconds, to 16. */
static int quantile(const uint32_t *times, double part)
{
    double total = 0, below = 0;
    for (int i = 0; i < TIME_STEPS; i++) {
        total += times[i];
    }
    for (int i = 0; i < TIME_STEPS; i++) {
        below += times[i];
        if (below >= part * total) {
            return 16 * i + 16;
        }
    }
    return 16 * TIME_STEPS;
}

static void print_table(const world *w, uint64_t seed, const leat_policy_weights *weights)
{
    const leat_policy_weights bad = wrecked(weights);
    int wins = 0, level = 0, guarded = 0;
    static uint32_t times[TIME_STEPS];
    printf("%-12s %6s %6s %6s %6s %6s %-33s %7s %5s %8s %8s %6s\n", "goodput %", "EDF", "FIFO",
           "SJF", "FAIR", "best", "(of the grid)", "learned", "ratio", "busy", "wrecked", "/EDF");
    for (int t = 0; t < N_TRACES; t++) {
        double fixed[4];
        leat_scheduler_desc at = {0};
        for (int p = 0; p < 4; p++) {
            const leat_scheduler_desc desc = {.policy = (leat_policy)p, .admit = p == 0};
            fixed[p] = simulate(w, t, seed, desc).goodput;
        }
        const result best = best_of_grid(w, t, seed, &at);
        world timed = *w;
        timed.times = times;
        const result own =
            simulate(&timed, t, seed,
                     (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = weights});
        const result wreck = simulate(
            w, t, seed, (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = &bad});
        const double ratio = own.goodput / best.goodput;
        char name[64];
        snprintf(name, sizeof(name), "%s%s hold %.1f chunk %d%s", policy_names[at.policy],
                 at.strict_classes ? " strict" : "", (double)at.hold_ns / 1e6,
                 (int)(at.chunk_ns / 1000000), at.admit ? " admit" : "");
        printf("%-12s %6.2f %6.2f %6.2f %6.2f %6.2f %-33s %7.2f %5.3f %8.2f %8.2f %6.4f"
               "  takeovers %llu, %llu; on time %.1f %%, %.1f %%\n",
               trace_names[t], 100 * fixed[0], 100 * fixed[1], 100 * fixed[2], 100 * fixed[3],
               100 * best.goodput, name, 100 * own.goodput, ratio, 100 * own.busy,
               100 * wreck.goodput, wreck.goodput / fixed[0], (unsigned long long)own.takeovers,
               (unsigned long long)wreck.takeovers, 100 * own.on_time, 100 * best.on_time);
        fflush(stdout);
        wins += ratio >= 1.10;
        level += ratio >= 0.99;
        guarded += wreck.goodput >= 0.99 * fixed[0];
    }
    printf("learned: at least 0.99 of the best fixed on %d of 5, at least 1.10 on %d; wrecked "
           "within 1 %% of EDF on %d\nleat_scheduler_begin: median %d ns, 99 %% %d ns\n",
           level, wins, guarded, quantile(times, 0.5), quantile(times, 0.99));
}

/* ---- settings -------------------------------------------------------------------------------- */

static size_t read_curves(const char *path, point *points)
{
    size_t n = 0;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (path == NULL) {
        memcpy(points, h100, sizeof(h100));
        return sizeof(h100) / sizeof(h100[0]);
    }
    while (file != NULL && n < MOST_POINTS &&
           fscanf(file, "%31s %u %lf", points[n].model, &points[n].rows, &points[n].ms) == 3) {
        n++;
    }
    if (n == 0) {
        fail(path, NULL);
    }
    fclose(file);
    return n;
}

static void add_stream(world *w, const point *points, size_t n, stream s)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t d = 0; strcmp(points[i].model, s.model) == 0 && d < w->n_devices; d++) {
            s.n_costs += d == 0;
        }
    }
    const size_t n_points = s.n_costs;
    s.n_costs = 0;
    for (uint32_t d = 0; d < w->n_devices && n_points > 0; d++) {
        for (size_t i = 0; i < n && s.n_costs < MOST_POINTS; i++) {
            if (strcmp(points[i].model, s.model) == 0) {
                const uint64_t ns = (uint64_t)(points[i].ms * 1e6);
                s.costs[s.n_costs++] = (leat_cost_point){d, points[i].rows, ns};
            }
        }
    }
    if (n_points == 0) {
        return;
    }
    s.work_ns = INFINITY;
    for (uint32_t b = 1; b <= s.max_batch; b++) {
        s.work_ns = fmin(s.work_ns, cost_ns(&s, b) / b);
    }
    w->streams[w->n_streams++] = s;
}

static void make_streams(world *w, const char *curves)
{
    static point points[MOST_POINTS];
    const size_t n = read_curves(curves, points);
    static const stream all[] = {/* an H100's */
                                 {"resnet50", 0, 128, 8, 0.25, false, true, {{0}}, 0, 0},
                                 {"lite0", 0, 64, 5, 0.20, false, false, {{0}}, 0, 0},
                                 {"lite0", 1, 128, 30, 0.10, false, false, {{0}}, 0, 0},
                                 {"bert-large", 1, 32, 60, 0.20, false, false, {{0}}, 0, 0},
                                 {"resnet50", 2, 128, 400, 0.25, true, false, {{0}}, 0, 0},
                                 /* a processor's */
                                 {"cpu-mlp", 0, 64, 5, 0.15, false, true, {{0}}, 0, 0},
                                 {"cpu-magika", 0, 16, 60, 0.20, false, false, {{0}}, 0, 0},
                                 {"cpu-lite0", 1, 16, 150, 0.20, false, true, {{0}}, 0, 0},
                                 {"cpu-minilm", 1, 16, 250, 0.20, false, false, {{0}}, 0, 0},
                                 {"cpu-minilm", 2, 16, 3000, 0.25, true, false, {{0}}, 0, 0}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && w->n_streams < MOST_STREAMS; i++) {
        add_stream(w, points, n, all[i]);
    }
    if (w->n_streams == 0) {
        fail("the curves have none of the models of make_streams", NULL);
    }
}

int main(int argc, char **argv)
{
    static world w = {.n_devices = 1, .seconds = 4, .load = 1.0};
    const char *curves = NULL, *weights_path = NULL, *log_path = NULL;
    uint64_t seed = 1;
    int generations = 0, threads = 1;
    leat_policy_weights weights;
    leat_error err;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--curves") == 0) {
            curves = value;
        } else if (strcmp(name, "--devices") == 0) {
            w.n_devices = (uint32_t)atoi(value);
        } else if (strcmp(name, "--seconds") == 0) {
            w.seconds = atof(value);
        } else if (strcmp(name, "--load") == 0) {
            w.load = atof(value);
        } else if (strcmp(name, "--seed") == 0) {
            seed = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--train") == 0) {
            generations = atoi(value);
        } else if (strcmp(name, "--threads") == 0) {
            threads = atoi(value);
        } else if (strcmp(name, "--weights") == 0) {
            weights_path = value;
        } else if (strcmp(name, "--log") == 0) {
            log_path = value;
        } else {
            fail(name, NULL);
        }
    }
    if (argc % 2 == 0 || w.n_devices < 1 || w.n_devices > LEAT_MAX_DEVICES || w.seconds <= 0) {
        fail("every option has a value; see the head of bench/sched.c", NULL);
    }
    make_streams(&w, curves);
    if (leat_context_create(NULL, &w.context, &err) != LEAT_OK) {
        fail("context", &err);
    }
    memcpy(&weights, leat_policy_default(), sizeof(weights));
    if (weights_path != NULL &&
        leat_policy_load(w.context, weights_path, &weights, &err) != LEAT_OK &&
        (generations == 0 || err.status != LEAT_NOT_FOUND)) {
        fail("weights", &err);
    }
    if (generations > 0) {
        train(&w, generations, threads, weights_path, &weights);
        for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
            printf("%.5gf, ", (double)weights.weights[i]);
        }
        printf("\n");
    }
    w.log = log_path ? fopen(log_path, "w") : NULL;
    print_table(&w, seed, &weights);
    if (w.log != NULL) {
        fclose(w.log);
    }
    leat_context_destroy(w.context);
    return 0;
}

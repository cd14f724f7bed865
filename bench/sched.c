/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's policies on five traces, in simulated time:
 *
 *     sched [--curves FILE] [--seconds S] [--load L] [--seed N] [--log FILE]
 *           [--train GENERATIONS [--threads N]] [--weights FILE] [--live null|FOLDER]
 *           [--warm S] [--repeat N] [--learn STEP] [--trace 0..4] [--grid 0|1] [--highest 1]
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
 * method (Rubinstein, 1999) on what it gains over that grid's best.
 *
 * With --learn the learned policy's weights change while it serves, by so much at a time; how often
 * they did is told.
 *
 * "bound" is what no policy can exceed on these arrivals (sched/oracle.c). --trace takes one trace
 * only, --grid 0 leaves out the grid. --highest finds for each policy the highest load at which
 * 99 % of each class is in time; with --live null live, by five steps of --seconds each.
 *
 * --live runs the same in real time, each policy for S seconds: "null" with devices that wait for
 * what a batch takes, a FOLDER with the models in it on the CPU, whose costs are measured first.
 * --repeat N: each so often, in turn; medians. The first --warm seconds are not counted. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct point {
    char model[32];
    uint32_t rows;
    double ms;
} point;

/* One lent H100, 2026-11-26, `leat bench --device cuda:0`, medians. */
static const point h100[] = {
#include "sched_curves.inc"
};

void fail(const char *what, const leat_error *err)
{
    fprintf(stderr, "sched: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

/* ---- the table --------------------------------------------------------------------------------
 */

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
    static uint32_t times[TIME_STEPS], submit_times[TIME_STEPS];
    printf("%-12s %6s %6s %6s %6s %6s %-33s %7s %5s %6s %8s %8s %6s\n", "goodput %", "EDF", "FIFO",
           "SJF", "FAIR", "best", "(of the grid)", "learned", "ratio", "bound", "busy", "wrecked",
           "/EDF");
    for (int t = 0; t < N_TRACES; t++) {
        double fixed[4];
        leat_scheduler_desc at = {0};
        result best = {0};
        if (w->only >= 0 && w->only != t) {
            continue;
        }
        for (int p = 0; p < 4; p++) {
            const leat_scheduler_desc desc = {.policy = (leat_policy)p, .admit = p == 0};
            const result r = simulate(w, t, seed, desc);
            fixed[p] = r.goodput;
            if (r.goodput > best.goodput) {
                best = r;
                at = desc;
            }
        }
        if (w->grid) {
            best = best_of_grid(w, t, seed, &at);
        }
        world timed = *w;
        timed.times = times;
        timed.submit_times = submit_times;
        const result own = simulate(&timed, t, seed,
                                    (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED,
                                                          .weights = weights,
                                                          .learn_step = (float)w->learn});
        const result wreck = simulate(
            w, t, seed, (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = &bad});
        const double ratio = own.goodput / best.goodput;
        char name[64];
        name_policy(&at, name, sizeof(name));
        printf("%-12s %6.2f %6.2f %6.2f %6.2f %6.2f %-33s %7.2f %5.3f %6.2f %8.2f %8.2f %6.4f"
               "  takeovers %llu, %llu; other stand-ins %llu, %llu; on time %.1f %%, %.1f %%; %llu "
               "steps of %llu\n",
               trace_names[t], 100 * fixed[0], 100 * fixed[1], 100 * fixed[2], 100 * fixed[3],
               100 * best.goodput, name, 100 * own.goodput, ratio,
               100 * most_possible(w, t, seed).most, 100 * own.busy, 100 * wreck.goodput,
               wreck.goodput / fixed[0], (unsigned long long)own.takeovers,
               (unsigned long long)wreck.takeovers, (unsigned long long)own.changes,
               (unsigned long long)wreck.changes, 100 * own.on_time, 100 * best.on_time,
               (unsigned long long)own.steps, (unsigned long long)own.trials);
        fflush(stdout);
        wins += ratio >= 1.10;
        level += ratio >= 0.99;
        guarded += wreck.goodput >= 0.99 * fixed[0];
    }
    printf("learned: at least 0.99 of the best fixed on %d of 5, at least 1.10 on %d; wrecked "
           "within 1 %% of EDF on %d\nleat_scheduler_begin: median %d ns, 99 %% %d ns; submit: %d, "
           "%d\n",
           level, wins, guarded, quantile(times, 0.5), quantile(times, 0.99),
           quantile(submit_times, 0.5), quantile(submit_times, 0.99));
}

/* ---- settings ---------------------------------------------------------------------------------
 */

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
    static world w = {
        .n_devices = 1, .seconds = 4, .load = 1.0, .only = -1, .repeats = 1, .grid = true};
    bool at_objective = false;
    const char *curves = NULL, *weights_path = NULL, *log_path = NULL, *live = NULL;
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
        } else if (strcmp(name, "--trace") == 0) {
            w.only = atoi(value);
        } else if (strcmp(name, "--warm") == 0) {
            w.warm = atof(value);
        } else if (strcmp(name, "--repeat") == 0) {
            w.repeats = atoi(value);
        } else if (strcmp(name, "--learn") == 0) {
            w.learn = atof(value);
        } else if (strcmp(name, "--grid") == 0) {
            w.grid = atoi(value) != 0;
        } else if (strcmp(name, "--highest") == 0) {
            at_objective = atoi(value) != 0;
        } else if (strcmp(name, "--threads") == 0) {
            threads = atoi(value);
        } else if (strcmp(name, "--weights") == 0) {
            weights_path = value;
        } else if (strcmp(name, "--live") == 0) {
            live = value;
        } else if (strcmp(name, "--log") == 0) {
            log_path = value;
        } else {
            fail(name, NULL);
        }
    }
    if (argc % 2 == 0 || w.n_devices < 1 || w.n_devices > LEAT_MAX_DEVICES || w.seconds <= w.warm ||
        w.repeats < 1 || w.repeats > MOST_REPEATS) {
        fail("every option has a value; see the head of bench/sched.c", NULL);
    }
    make_streams(&w, curves);
    /* Live, another core is for those who submit. */
    const leat_context_desc one = {.struct_size = sizeof(one), .threads = 1};
    if (leat_context_create(live ? &one : NULL, &w.context, &err) != LEAT_OK) {
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
    if (at_objective) {
        print_highest(&w, seed, &weights, live != NULL);
    } else if (live != NULL) {
        print_live(&w, seed, &weights, strcmp(live, "null") == 0 ? NULL : live);
    } else {
        print_table(&w, seed, &weights);
    }
    if (w.log != NULL) {
        fclose(w.log);
    }
    leat_context_destroy(w.context);
    return 0;
}

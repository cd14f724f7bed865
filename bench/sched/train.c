/* SPDX-License-Identifier: Apache-2.0 */
/* The learned policy's weights, by the cross-entropy method (Rubinstein, 1999), at the load that
 * the world has, which is more than can be done, and at lower ones, where as much of every class as
 * can be is to be in time. */
#include "sched/sched.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static const double lower_loads[] = {0.25, 0.35, 0.45, 0.55, 0.65, 0.75};

enum {
    N_LOWER = sizeof(lower_loads) / sizeof(lower_loads[0]),
    POPULATION = 96,
    ELITE = 14
};

typedef struct candidate {
    leat_policy_weights w;
    double fitness;
} candidate;

static int by_fitness(const void *a, const void *b)
{
    const double x = ((const candidate *)a)->fitness, y = ((const candidate *)b)->fitness;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* At how many of the lower loads 99 % of each class are in time; of one where it is 97 to 99 %
 * a part. */
static double loads_met(const world *w, int trace, uint64_t seed, const leat_scheduler_desc *desc)
{
    double sum = 0;
    for (int i = 0; i < N_LOWER; i++) {
        world at = *w;
        at.load = lower_loads[i];
        const double part = (simulate(&at, trace, seed, *desc).worst_class - 0.97) / 0.02;
        sum += part < 0 ? 0 : part > 1 ? 1 : part;
    }
    return sum;
}

/* What the best rules reach on a trace: the goodput of the grid's, and lower loads. */
typedef struct best_fixed {
    double goodput, met;
} best_fixed;

/* The mean of what it reaches of them, each up to a bound, and the worst, twice: by goodput at the
 * world's load, and by lower loads. */
static double fitness_of(const world *w, const leat_policy_weights *weights, uint64_t seed,
                         const best_fixed best[N_TRACES])
{
    const leat_scheduler_desc desc = {
        .policy = LEAT_POLICY_LEARNED, .weights = weights, .guard_loss = 1};
    double sum = 0, worst = 1, worst_lower = 1;
    for (int t = 0; t < N_TRACES; t++) {
        const double ratio = simulate(w, t, seed, desc).goodput / best[t].goodput;
        const double lower = loads_met(w, t, seed, &desc) / best[t].met;
        sum += fmin(ratio, 1.3) + fmin(lower, 1.5);
        worst = fmin(worst, ratio);
        worst_lower = fmin(worst_lower, lower);
    }
    return sum / N_TRACES + 0.5 * (worst + worst_lower);
}

/* Jobs 0 to n - 1, dealt out to threads; what they give does not depend on how many there are. */
typedef struct jobs {
    const world *w;
    uint64_t arrivals;
    candidate *pool;
    best_fixed *best;
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
    best_fixed *best = &j->best[trace];
    best->goodput = best_of_grid(j->w, trace, j->arrivals, &unused, NULL).goodput;
    best->met = 0.5; /* at least, as it divides */
    for (size_t i = 0; i < n_objective_rules; i++) {
        best->met = fmax(best->met, loads_met(j->w, trace, j->arrivals, &objective_rules[i]));
    }
}

static void try_candidate(jobs *j, int i)
{
    j->pool[i].fitness = fitness_of(j->w, &j->pool[i].w, j->arrivals, j->best);
}

void train(const world *w, int generations, int threads, const char *path,
           leat_policy_weights *weights)
{
    static candidate pool[POPULATION];
    best_fixed best[N_TRACES];
    double spread[LEAT_POLICY_WEIGHTS];
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

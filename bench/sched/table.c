/* SPDX-License-Identifier: Apache-2.0 */
/* The policies on each trace: of one seed all that is known, of several their means and what they
 * lie between. */
#include "sched/sched.h"

#include <math.h>
#include <string.h>

/* What one seed's arrivals of a trace give. */
typedef struct row {
    result rules[N_FIXED]; /* as they come, EDF with admission */
    result best;           /* of the grid, or of the rules */
    leat_scheduler_desc best_desc;
    result own, wreck;
    double grid[N_COMBINATIONS]; /* goodput of each that is tried */
} row;

leat_policy_weights wrecked(const leat_policy_weights *weights)
{
    leat_policy_weights w = *weights;
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        w.weights[i] = -w.weights[i];
    }
    w.weights[20] = 5; /* and waits gladly */
    return w;
}

static row run_row(const world *w, int trace, uint64_t seed, const leat_policy_weights *weights)
{
    const leat_policy_weights bad = wrecked(weights);
    world plain = *w; /* what is timed is the learned policy's */
    plain.times = plain.submit_times = NULL;
    row r = {0};
    for (int p = 0; p < N_FIXED; p++) {
        const leat_scheduler_desc desc = {.policy = (leat_policy)p, .admit = p == 0};
        r.rules[p] = simulate(&plain, trace, seed, desc);
        if (r.rules[p].goodput > r.best.goodput) {
            r.best = r.rules[p];
            r.best_desc = desc;
        }
    }
    if (w->grid) {
        r.best = best_of_grid(&plain, trace, seed, &r.best_desc, r.grid);
    }
    r.own = simulate(w, trace, seed,
                     (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED,
                                           .weights = weights,
                                           .learn_step = (float)w->learn});
    r.wreck = simulate(&plain, trace, seed,
                       (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = &bad});
    return r;
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

static void print_row(const char *trace, const row *r, double bound)
{
    char name[64];
    name_policy(&r->best_desc, name, sizeof(name));
    printf("%-12s %6.2f %6.2f %6.2f %6.2f %6.2f %-33s %7.2f %5.3f %6.2f %8.2f %8.2f %6.4f"
           "  takeovers %llu, %llu; other stand-ins %llu, %llu; on time %.1f %%, %.1f %%; %llu "
           "steps of %llu\n",
           trace, 100 * r->rules[0].goodput, 100 * r->rules[1].goodput, 100 * r->rules[2].goodput,
           100 * r->rules[3].goodput, 100 * r->best.goodput, name, 100 * r->own.goodput,
           r->own.goodput / r->best.goodput, 100 * bound, 100 * r->own.busy, 100 * r->wreck.goodput,
           r->wreck.goodput / r->rules[0].goodput, (unsigned long long)r->own.takeovers,
           (unsigned long long)r->wreck.takeovers, (unsigned long long)r->own.changes,
           (unsigned long long)r->wreck.changes, 100 * r->own.on_time, 100 * r->best.on_time,
           (unsigned long long)r->own.steps, (unsigned long long)r->own.trials);
    fflush(stdout);
}

/* The best of the grid, by their numbers, for --fixed. */
static void print_ranks(const world *w, const row *r)
{
    bool shown[N_COMBINATIONS] = {false};
    printf("    of the grid:");
    for (int rank = 0; rank < 8 && rank < w->n_fixed; rank++) {
        int best = -1;
        for (int i = 0; i < w->n_fixed; i++) {
            best = !shown[i] && (best < 0 || r->grid[i] > r->grid[best]) ? i : best;
        }
        shown[best] = true;
        printf(" %d: %.2f", w->fixed[best], 100 * r->grid[best]);
    }
    printf("\n");
}

void print_table(const world *w, uint64_t seed, const leat_policy_weights *weights)
{
    int wins = 0, level = 0, guarded = 0;
    static uint32_t times[TIME_STEPS], submit_times[TIME_STEPS];
    world timed = *w;
    timed.times = times;
    timed.submit_times = submit_times;
    printf("%-12s %6s %6s %6s %6s %6s %-33s %7s %5s %6s %8s %8s %6s\n", "goodput %", "EDF", "FIFO",
           "SJF", "FAIR", "best", "(of the grid)", "learned", "ratio", "bound", "busy", "wrecked",
           "/EDF");
    for (int t = 0; t < N_TRACES; t++) {
        if (w->only >= 0 && w->only != t) {
            continue;
        }
        const row r = run_row(&timed, t, seed, weights);
        print_row(trace_names[t], &r, most_possible(w, t, seed).most);
        if (w->grid) {
            print_ranks(w, &r);
        }
        wins += r.own.goodput >= 1.10 * r.best.goodput;
        level += r.own.goodput >= 0.99 * r.best.goodput;
        guarded += r.wreck.goodput >= 0.99 * r.rules[0].goodput;
    }
    printf("learned: at least 0.99 of the best fixed on %d of 5, at least 1.10 on %d; wrecked "
           "within 1 %% of EDF on %d\nleat_scheduler_begin: median %d ns, 99 %% %d ns; submit: %d, "
           "%d\n",
           level, wins, guarded, quantile(times, 0.5), quantile(times, 0.99),
           quantile(submit_times, 0.5), quantile(submit_times, 0.99));
}

/* ---- several seeds ------------------------------------------------------------------------------
 */

typedef struct spread {
    double sum, squares, least, most;
    int n;
} spread;

static void note(spread *s, double x)
{
    s->least = s->n == 0 || x < s->least ? x : s->least;
    s->most = s->n == 0 || x > s->most ? x : s->most;
    s->sum += x;
    s->squares += x * x;
    s->n++;
}

static double deviation(const spread *s)
{
    const double mean = s->sum / s->n;
    return s->n > 1 ? sqrt(fmax(s->squares - s->n * mean * mean, 0) / (s->n - 1)) : 0;
}

void print_seeds(const world *w, uint64_t seed, int n_seeds, const leat_policy_weights *weights)
{
    printf("%-12s %6s %6s %7s  %-31s %6s  %-22s\n", "goodput %", "EDF", "fixed", "learned",
           "ratio, +- deviation (least-most)", "bound", "wrecked/EDF (least-most)");
    for (int t = 0; t < N_TRACES; t++) {
        spread edf = {0}, fixed = {0}, own = {0}, ratio = {0}, bound = {0}, kept = {0};
        for (int i = 0; i < n_seeds && (w->only < 0 || w->only == t); i++) {
            const uint64_t at = seed + (uint64_t)i;
            const row r = run_row(w, t, at, weights);
            note(&edf, 100 * r.rules[0].goodput);
            note(&fixed, 100 * r.best.goodput);
            note(&own, 100 * r.own.goodput);
            note(&ratio, r.own.goodput / r.best.goodput);
            note(&bound, 100 * most_possible(w, t, at).most);
            note(&kept, r.wreck.goodput / r.rules[0].goodput);
        }
        if (edf.n > 0) {
            printf("%-12s %6.2f %6.2f %7.2f  %.4f +- %.4f (%.4f-%.4f) %6.2f  %.4f "
                   "(%.4f-%.4f)\n",
                   trace_names[t], edf.sum / edf.n, fixed.sum / fixed.n, own.sum / own.n,
                   ratio.sum / ratio.n, deviation(&ratio), ratio.least, ratio.most,
                   bound.sum / bound.n, kept.sum / kept.n, kept.least, kept.most);
            fflush(stdout);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The highest load at which 99 % of every class's requests are in time (their deadline is then at
 * least the 99th percentile of what they took), by bisection, for each policy and for what no
 * policy can exceed (the second half of the time, that the learned policy may have shown itself;
 * the bound over all of it); and the work done in time there, in % of the devices' time: the
 * effective utilisation within the objective. */
#include "sched/sched.h"

#define OBJECTIVE 0.99

const leat_scheduler_desc objective_rules[] = {
    {.policy = LEAT_POLICY_EDF},
    {.policy = LEAT_POLICY_EDF, .admit = 1},
    {.policy = LEAT_POLICY_EDF, .hold_ns = 1000000},
    {.policy = LEAT_POLICY_FIFO},
    {.policy = LEAT_POLICY_FIFO, .hold_ns = 12000000, .chunk_ns = 8000000, .strict_classes = 1},
    {.policy = LEAT_POLICY_SJF},
    {.policy = LEAT_POLICY_FAIR},
};
const size_t n_objective_rules = sizeof(objective_rules) / sizeof(objective_rules[0]);

typedef struct attempt {
    bool met;
    double goodput;
} attempt;

static attempt try_load(const world *w, double load, int trace, uint64_t seed,
                        const leat_scheduler_desc *desc, bool live)
{
    world at = *w;
    at.load = load;
    at.warm = desc ? w->seconds / 2 : 0;
    if (desc == NULL) {
        const oracle o = most_possible(&at, trace, seed);
        return (attempt){o.most >= OBJECTIVE * o.asked, o.most};
    }
    const result r = live ? run_live(&at, trace, seed, *desc) : simulate(&at, trace, seed, *desc);
    return (attempt){r.worst_class >= OBJECTIVE, r.goodput};
}

static double highest(const world *w, int trace, uint64_t seed, const leat_scheduler_desc *desc,
                      bool live)
{
    double low = 0, high = live ? 0.96 : 1.28, best = 0;
    for (int i = 0; i < (live ? 5 : 7); i++) {
        const double load = (low + high) / 2;
        const attempt a = try_load(w, load, trace, seed, desc, live);
        if (a.met) {
            low = load;
            best = a.goodput;
        } else {
            high = load;
        }
    }
    return best;
}

static void print_live_highest(const world *w, uint64_t seed, const leat_policy_weights *weights)
{
    const leat_scheduler_desc descs[] = {
        {.policy = LEAT_POLICY_EDF, .admit = 1},
        {.policy = LEAT_POLICY_EDF, .hold_ns = 1000000},
        {.policy = LEAT_POLICY_LEARNED, .weights = weights},
    };
    printf("%-12s %6s %6s %7s, live, on a device that waits\n", "99 % in time", "admit", "hold 1",
           "learned");
    for (int t = 0; t < N_TRACES; t++) {
        if (w->only >= 0 && w->only != t) {
            continue;
        }
        printf("%-12s", trace_names[t]);
        for (size_t i = 0; i < sizeof(descs) / sizeof(descs[0]); i++) {
            printf(" %6.1f", 100 * highest(w, t, seed, &descs[i], true));
            fflush(stdout);
        }
        printf("\n");
    }
}

static void print_simulated_highest(const world *w, uint64_t seed,
                                    const leat_policy_weights *weights)
{
    const leat_scheduler_desc learned[] = {
        {.policy = LEAT_POLICY_LEARNED, .weights = weights},
        {.policy = LEAT_POLICY_LEARNED, .weights = weights, .guard_loss = 1},
    };
    printf("%-12s %6s %6s %6s %6s %6s %6s %6s %7s %7s %6s\n", "99 % in time", "EDF", "admit",
           "hold 1", "FIFO", "strict", "SJF", "FAIR", "learned", "alone", "bound");
    for (int t = 0; t < N_TRACES; t++) {
        if (w->only >= 0 && w->only != t) {
            continue;
        }
        printf("%-12s", trace_names[t]);
        for (size_t i = 0; i < n_objective_rules + 2; i++) {
            const leat_scheduler_desc *desc =
                i < n_objective_rules ? &objective_rules[i] : &learned[i - n_objective_rules];
            printf(" %6.1f", 100 * highest(w, t, seed, desc, false));
            fflush(stdout);
        }
        printf("  %6.1f\n", 100 * highest(w, t, seed, NULL, false));
        fflush(stdout);
    }
}

void print_highest(const world *w, uint64_t seed, const leat_policy_weights *weights, bool live)
{
    if (live) {
        print_live_highest(w, seed, weights);
    } else {
        print_simulated_highest(w, seed, weights);
    }
}

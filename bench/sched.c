/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's policies on five traces, in simulated time:
 *
 *     sched [--curves FILE] [--seconds S] [--load L] [--seed N] [--log FILE]
 *           [--train GENERATIONS [--threads N]] [--weights FILE] [--live null|FOLDER]
 *           [--warm S] [--repeat N] [--learn STEP] [--trace 0..4] [--grid 0|1] [--highest 1]
 *           [--seeds N] [--fixed NUMBER,NUMBER,...]
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
 * With --seeds N seeds are taken, from --seed on: their means, deviations and ranges. --fixed: only
 * these combinations of the grid, by the numbers that the table of one seed shows for the best.
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

/* "3,17,40" */
static void choose_fixed(world *w, const char *list)
{
    for (w->n_fixed = 0; *list != '\0'; list += *list == ',') {
        char *end;
        const long number = strtol(list, &end, 10);
        if (end == list || number < 0 || number >= N_COMBINATIONS || w->n_fixed == N_COMBINATIONS ||
            (*end != ',' && *end != '\0')) {
            fail("--fixed: numbers below 128, with commas", NULL);
        }
        w->fixed[w->n_fixed++] = (int)number;
        list = end;
    }
}

int main(int argc, char **argv)
{
    static world w = {
        .n_devices = 1, .seconds = 4, .load = 1.0, .only = -1, .repeats = 1, .grid = true};
    bool at_objective = false;
    const char *curves = NULL, *weights_path = NULL, *log_path = NULL, *live = NULL;
    uint64_t seed = 1;
    int generations = 0, threads = 1, n_seeds = 1;
    leat_policy_weights weights;
    leat_error err;
    for (w.n_fixed = 0; w.n_fixed < N_COMBINATIONS; w.n_fixed++) {
        w.fixed[w.n_fixed] = w.n_fixed;
    }
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
        } else if (strcmp(name, "--seeds") == 0) {
            n_seeds = atoi(value);
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
        } else if (strcmp(name, "--fixed") == 0) {
            choose_fixed(&w, value);
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
        w.repeats < 1 || n_seeds < 1 || w.repeats > MOST_REPEATS) {
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
    } else if (n_seeds > 1) {
        print_seeds(&w, seed, n_seeds, &weights);
    } else {
        print_table(&w, seed, &weights);
    }
    if (w.log != NULL) {
        fclose(w.log);
    }
    leat_context_destroy(w.context);
    return 0;
}

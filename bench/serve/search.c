/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool good(load *l, const settings *s, double rate)
{
    l->bound = (uint64_t)(s->p99_ms * 1e6);
    const result r = open_loop(l, s, rate);
    const bool within = r.refused == 0 && r.p99 <= s->p99_ms;
    l->bound = 0;
    printf(s->json ? "" : within ? "  within\n" : "  beyond\n");
    fflush(stdout);
    return within;
}

/* A second time where the first was beyond: others may have disturbed it. */
static bool within(load *l, const settings *s, double rate)
{
    return good(l, s, rate) || good(l, s, rate);
}

/* Up from a rate that is not known yet until one is beyond. */
static void climb(load *l, const settings *s, double growth, double *low, double *high)
{
    while (*high < 1e7 && within(l, s, *high)) {
        *low = *high;
        *high *= growth;
    }
}

static void narrow(load *l, const settings *s, double *low, double *high)
{
    while (*low > 0 && *high > 1.025 * *low) {
        const double middle = sqrt(*low * *high);
        *(within(l, s, middle) ? low : high) = middle;
    }
}

/* What disturbs a server for a moment makes a rate that it can bear one beyond, and all that is
 * tried then is below. So the least rate beyond is tried once more at the end, and where it is
 * within the search goes on from there, by small steps. */
double search(load *l, const settings *s, double direct_rate)
{
    enum {
        MOST_RETURNS = 8
    };
    const double growth = s->growth > 1 ? s->growth : 2;
    double low = 0, high = s->from > 0 ? s->from : direct_rate / 4;
    climb(l, s, growth, &low, &high);
    while (low == 0 && high > 1) { /* not even the first */
        high /= growth;
        low = within(l, s, high) ? high : 0;
        high = low > 0 ? growth * low : high;
    }
    narrow(l, s, &low, &high);
    for (int i = 0; i < MOST_RETURNS && low > 0; i++) {
        const double least_beyond = high;
        climb(l, s, 1.1, &low, &high);
        if (low < least_beyond) {
            break;
        }
        narrow(l, s, &low, &high);
    }
    printf(
        s->json
            ? "{\"p99_bound_ms\": %.3f, \"highest_per_s\": %.1f, \"of_direct\": %.3f}\n"
            : "highest rate with 99 %% within %.3f ms: %.0f requests/s, %.2f times one after the "
              "other\n",
        s->p99_ms, low, low / direct_rate);
    if (l->mean_rows != 1) {
        printf(s->json ? "{\"rows_per_s\": %.1f}\n" : "in rows: %.0f/s\n", low * l->mean_rows);
    }
    return low;
}

void overload(load *l, const settings *s, double peak)
{
    settings own = *s;
    own.seconds = 2 * s->seconds;
    l->deadline[0] = l->deadline[1] = (uint64_t)(s->p99_ms * 1e6);
    const result r = open_loop(l, &own, s->overload * peak);
    printf(s->json ? "{\"overload\": %.2f, \"goodput_per_s\": %.1f, \"of_peak\": %.4f}\n"
                   : "\n%.2f times that rate: %.0f/s complete in time, %.3f of it\n",
           s->overload, r.goodput, r.goodput / peak);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void light_load(load *l, const settings *s)
{
    enum {
        ROUNDS = 7
    };
    static const char *const names[] = {"submitted", "run by the caller", "directly"};
    double medians[3][ROUNDS], tails[3][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int w = BY_SESSION; w >= BY_SUBMIT; w--) {
            l->way = (way)w;
            const result r = open_loop(l, s, s->light);
            medians[w][round] = r.p50;
            tails[w][round] = r.p99;
        }
    }
    for (int w = BY_SESSION; w >= BY_SUBMIT; w--) {
        qsort(medians[w], ROUNDS, sizeof(double), by_value);
        qsort(tails[w], ROUNDS, sizeof(double), by_value);
        printf(s->json
                   ? "{\"way\": \"%s\", \"asked\": %.1f, \"p50_ms\": [%.4f, %.4f, %.4f], "
                     "\"p99_ms\": %.4f, \"of_direct\": %.4f}\n"
                   : "%-18s %.0f/s: median %.4f ms (%.4f to %.4f), 99 %% %.4f; %.3f of directly\n",
               names[w], s->light, medians[w][ROUNDS / 2], medians[w][0], medians[w][ROUNDS - 1],
               tails[w][ROUNDS / 2], medians[w][ROUNDS / 2] / medians[BY_SESSION][ROUNDS / 2]);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What asks: streams of requests, and what batches of their models take. */
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

void make_streams(world *w, const char *curves)
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

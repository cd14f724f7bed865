/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/curve.h"

#include <string.h>

#define NEWEST 0.125 /* weight in a moving mean */

void lt_curve_clear(lt_curve *curve)
{
    memset(curve->run_ns, 0, ((size_t)curve->max_rows + 1) * sizeof(*curve->run_ns));
    curve->gap_ns = 0;
    curve->last_arrival = 0;
}

static double mean(double old, double newest)
{
    return old == 0 ? newest : old + NEWEST * (newest - old);
}

void lt_curve_arrival(lt_curve *curve, uint64_t now, uint32_t rows)
{
    if (curve->last_arrival != 0 && now >= curve->last_arrival) {
        /* One nanosecond at least: 0 means that nothing is known. */
        double gap = (double)(now - curve->last_arrival) / rows;
        curve->gap_ns = mean(curve->gap_ns, gap < 1 ? 1 : gap);
    }
    curve->last_arrival = now;
}

void lt_curve_run(lt_curve *curve, uint32_t rows, uint64_t ns)
{
    if (rows >= 1 && rows <= curve->max_rows) {
        float *at = &curve->run_ns[rows];
        *at = (float)mean(*at, ns < 1 ? 1 : (double)ns);
    }
}

void lt_curve_doubt(lt_curve *curve)
{
    for (uint32_t rows = 1; rows <= curve->max_rows; rows++) {
        curve->run_ns[rows] *= 0.9f;
    }
}

double lt_curve_estimate(const lt_curve *curve, uint32_t rows)
{
    if (rows == 0) {
        return 0;
    }
    if (curve->planned != NULL && rows <= curve->max_rows) {
        rows = curve->planned[rows];
    }
    uint32_t below = rows, above = rows;
    while (below > 0 && (below > curve->max_rows || curve->run_ns[below] == 0)) {
        below--;
    }
    while (above <= curve->max_rows && curve->run_ns[above] == 0) {
        above++;
    }
    if (below == 0 && above > curve->max_rows) {
        return 0;
    }
    if (above > curve->max_rows) {
        return (double)curve->run_ns[below] * rows / below;
    }
    /* Fewer rows than were ever measured: as much as those, not more. */
    if (below == 0 || below == above) {
        return curve->run_ns[above];
    }
    double part = (double)(rows - below) / (above - below);
    return curve->run_ns[below] + part * ((double)curve->run_ns[above] - curve->run_ns[below]);
}

bool lt_curve_holding_pays(const lt_curve *curve, uint32_t n)
{
    const double g = curve->gap_ns;
    const double now = lt_curve_estimate(curve, n), more = lt_curve_estimate(curve, n + 1);
    const double one = lt_curve_estimate(curve, 1);
    return n > 0 && n < curve->max_rows && g > 0 && now > 0 && g < now &&
           n * (g + more) + more < n * now + now - g + one;
}

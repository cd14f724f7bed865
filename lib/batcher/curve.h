/* SPDX-License-Identifier: Apache-2.0 */
/* What a key's batches cost and how fast its requests come: the numbers behind holding a batch back
 * and admitting a request. */
#ifndef LT_BATCHER_CURVE_H
#define LT_BATCHER_CURVE_H

#include <stdbool.h>
#include <stdint.h>

/* L(b), the nanoseconds of a run of b rows, and the time between two rows' arrivals, as moving
 * means (weight 1/8 for the newest). */
typedef struct lt_curve {
    float *run_ns; /* [max_rows + 1]; 0: not measured. The owner's */
    uint32_t max_rows;
    const uint32_t *planned; /* [max_rows + 1]: rows of the run for so many; NULL: as many */
    double gap_ns;           /* 0: not known */
    uint64_t last_arrival;
} lt_curve;

void lt_curve_clear(lt_curve *curve);
void lt_curve_arrival(lt_curve *curve, uint64_t now, uint32_t rows);
void lt_curve_run(lt_curve *curve, uint32_t rows, uint64_t ns);

/* Makes all measured times a tenth less: a request was refused by them while nothing else ran, and
 * when they were exceptions nobody would ever find out. */
void lt_curve_doubt(lt_curve *curve);

/* L(rows) of the run for so many rows: measured, between its measured neighbours, or beyond them at
 * the cost of a row of the nearest; 0 when nothing is measured. */
double lt_curve_estimate(const lt_curve *curve, uint32_t rows);

/* Whether n rows that could run now should wait for one more, expected a gap g from now. All of
 * their latencies summed, one step ahead: running now, n rows take L(n) and the newcomer, who waits
 * for them, L(n) - g + L(1); waiting, n rows take g + L(n + 1) and the newcomer L(n + 1). It pays
 * when
 *
 *     n (g + L(n+1)) + L(n+1)  <  n L(n) + L(n) - g + L(1)     and  g < L(n).
 *
 * False when gap or costs are not known. */
bool lt_curve_holding_pays(const lt_curve *curve, uint32_t n);

#endif

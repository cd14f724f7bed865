/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of an activation in fixed memory, and the range that 8 bits should cover. */
#ifndef LT_QUANTIZER_HISTOGRAM_H
#define LT_QUANTIZER_HISTOGRAM_H

#include <leat/quantizer.h>
#include <stdbool.h>

#define LT_HISTOGRAM_BINS 8192u /* even: half of them on each side of 0 */

/* Bins of equal width over [-limit, limit). When a number lies outside, limit doubles and bins are
 * merged in pairs, so that nothing depends on how the data was cut into batches. Zeroed memory is
 * an empty histogram. */
typedef struct lt_histogram {
    double limit; /* a power of two; 0 while all numbers were 0 */
    float least, most;
    uint64_t count;
    uint64_t bins[LT_HISTOGRAM_BINS];
} lt_histogram;

/* Adds `count` numbers. False, and nothing added, when one is NaN or infinite. */
bool lt_histogram_add(lt_histogram *histogram, const float *data, size_t count);

/* A grid of 8 bits: real = scale * (q - zero), q in [least, 255 + least]. */
typedef struct lt_grid {
    float scale;
    int32_t zero;
    bool is_signed; /* i8, else u8 */
} lt_grid;

/* The grid that covers [low, high], widened to hold 0; symmetric: zero point 0 and q in
 * [-127, 127]. A range of no width gives scale 1. */
lt_grid lt_grid_of_range(float low, float high, bool symmetric);

/* The range [*out_low, *out_high] by a method other than BEST. */
void lt_histogram_range(const lt_histogram *histogram, leat_quantize_range method, bool symmetric,
                        float *out_low, float *out_high);

/* Mean square error of the histogram's numbers on a grid; each bin counts at its middle. */
double lt_histogram_error(const lt_histogram *histogram, lt_grid grid);

#endif

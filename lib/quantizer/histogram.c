/* SPDX-License-Identifier: Apache-2.0 */
#include "quantizer/histogram.h"

#include <math.h>
#include <string.h>

#define HALF (LT_HISTOGRAM_BINS / 2)

/* --- counting -----------------------------------------------------------------------------------
 */

static void double_limit(lt_histogram *h)
{
    uint64_t merged[LT_HISTOGRAM_BINS / 2];
    for (size_t i = 0; i < HALF; i++) {
        merged[i] = h->bins[2 * i] + h->bins[2 * i + 1];
    }
    memset(h->bins, 0, sizeof(h->bins));
    memcpy(h->bins + HALF / 2, merged, sizeof(merged));
    h->limit *= 2;
}

static void cover(lt_histogram *h, double extent)
{
    if (extent == 0) {
        return;
    }
    if (h->limit == 0) { /* only zeros so far: they lie in the bin right of the middle anyway */
        int exponent;
        (void)frexp(extent, &exponent);
        h->limit = ldexp(1, exponent);
    }
    while (extent >= h->limit) {
        double_limit(h);
    }
}

bool lt_histogram_add(lt_histogram *h, const float *data, size_t count)
{
    float least = h->count ? h->least : INFINITY, most = h->count ? h->most : -INFINITY;
    float checked = 0; /* NaN as soon as one number is not finite */
    for (size_t i = 0; i < count; i++) {
        checked += data[i] * 0.0f;
        least = data[i] < least ? data[i] : least;
        most = data[i] > most ? data[i] : most;
    }
    if (isnan(checked)) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    h->least = least;
    h->most = most;
    h->count += count;
    cover(h, fmax(fabs((double)least), fabs((double)most)));
    if (h->limit == 0) {
        h->bins[HALF] += count;
        return true;
    }
    double per_unit = HALF / h->limit;
    for (size_t i = 0; i < count; i++) {
        /* below LT_HISTOGRAM_BINS since |data| < limit; rounding can reach it */
        size_t bin = (size_t)((double)data[i] * per_unit + HALF);
        h->bins[bin < LT_HISTOGRAM_BINS ? bin : LT_HISTOGRAM_BINS - 1]++;
    }
    return true;
}

/* --- grids --------------------------------------------------------------------------------------
 */

lt_grid lt_grid_of_range(float low, float high, bool symmetric)
{
    lt_grid grid = {1, 0, symmetric};
    double l = low < 0 ? (double)low : 0, h = high > 0 ? (double)high : 0;
    double width = symmetric ? fmax(-l, h) / 127 : (h - l) / 255;
    if ((float)width > 0) {
        grid.scale = (float)width;
        grid.zero = symmetric ? 0 : (int32_t)fmin(255, rint(-l / (double)grid.scale));
    }
    return grid;
}

static double middle(const lt_histogram *h, size_t bin)
{
    return ((double)bin + 0.5 - HALF) * h->limit / HALF;
}

/* The bins that hold something lie in [*first, *end). */
static void filled(const lt_histogram *h, size_t *first, size_t *end)
{
    *first = 0;
    *end = LT_HISTOGRAM_BINS;
    while (*first < *end && h->bins[*first] == 0) {
        (*first)++;
    }
    while (*end > *first && h->bins[*end - 1] == 0) {
        (*end)--;
    }
}

double lt_histogram_error(const lt_histogram *h, lt_grid grid)
{
    size_t first, end;
    double sum = 0, scale = (double)grid.scale;
    double least = grid.is_signed ? -127 : 0, most = grid.is_signed ? 127 : 255;
    if (h->limit == 0) { /* zeros are exact on every grid */
        return 0;
    }
    filled(h, &first, &end);
    for (size_t i = first; i < end; i++) {
        if (h->bins[i] != 0) {
            double x = middle(h, i);
            double q = fmin(most, fmax(least, rint(x / scale) + grid.zero));
            double e = x - (q - grid.zero) * scale;
            sum += e * e * (double)h->bins[i];
        }
    }
    return sum / (double)h->count;
}

/* --- ranges -------------------------------------------------------------------------------------
 */

/* Leaves out 1 in 20,000 numbers at either end. */
static void percentile(const lt_histogram *h, float *low, float *high)
{
    uint64_t most_out = h->count / 20000, out = 0;
    size_t i = 0;
    for (; out + h->bins[i] <= most_out; i++) {
        out += h->bins[i];
    }
    double l = (double)i - HALF;
    out = 0;
    for (i = LT_HISTOGRAM_BINS; out + h->bins[i - 1] <= most_out; i--) {
        out += h->bins[i - 1];
    }
    double r = (double)i - HALF;
    *low = fmaxf(*low, (float)(l * h->limit / HALF));
    *high = fminf(*high, (float)(r * h->limit / HALF));
}

/* The best of 60 ranges that are cut at one end (or, symmetric, at both). */
static float cut(const lt_histogram *h, float low, float high, bool upper, bool symmetric)
{
    float best = upper ? high : low;
    double least = INFINITY;
    for (int i = 0; i < 60; i++) {
        float part = 1 - 0.0125f * (float)i;
        float l = upper && !symmetric ? low : low * part;
        float r = upper || symmetric ? high * part : high;
        double error = lt_histogram_error(h, lt_grid_of_range(l, r, symmetric));
        if (error < least) {
            least = error;
            best = upper ? r : l;
        }
    }
    return best;
}

static void least_square(const lt_histogram *h, bool symmetric, float *low, float *high)
{
    if (symmetric) {
        float whole = fmaxf(-*low, *high);
        float bound = cut(h, -whole, whole, true, true);
        *low = fmaxf(*low, -bound);
        *high = fminf(*high, bound);
        return;
    }
    float uncut = *high;
    *high = cut(h, *low, uncut, true, false);
    *low = cut(h, *low, *high, false, false);
    *high = cut(h, *low, uncut, true, false);
}

/* Kullback-Leibler divergence of the magnitudes below bin `end` (those above counted in the last
 * one) from the same spread over `levels` steps. */
static double divergence(const uint64_t *magnitudes, size_t end, size_t levels, uint64_t total)
{
    double sum = 0, beyond = (double)total;
    for (size_t i = 0; i < end; i++) {
        beyond -= (double)magnitudes[i];
    }
    for (size_t step = 0; step < levels; step++) {
        size_t from = step * end / levels, to = (step + 1) * end / levels;
        double all = 0, used = 0;
        for (size_t i = from; i < to; i++) {
            all += (double)magnitudes[i];
            used += magnitudes[i] != 0;
        }
        for (size_t i = from; i < to; i++) {
            double p = (double)magnitudes[i] + (i == end - 1 ? beyond : 0);
            if (p > 0) {
                /* a step that is empty but for what was cut off has no q: as costly as all of it */
                double q = used > 0 && magnitudes[i] != 0 ? all / used : 1e-9 * (double)total;
                sum += p / (double)total * log(p / q);
            }
        }
    }
    return sum;
}

/* Migacz, "8-bit inference with TensorRT", GTC 2017, over magnitudes; a side that reaches less far
 * keeps its own bound. */
static void entropy(const lt_histogram *h, bool symmetric, float *low, float *high)
{
    uint64_t magnitudes[HALF];
    for (size_t i = 0; i < HALF; i++) {
        magnitudes[i] = h->bins[HALF + i] + h->bins[HALF - 1 - i];
    }
    magnitudes[0] = magnitudes[1]; /* zeros, which activations make, are exact on every grid */
    uint64_t total = 0;
    for (size_t i = 0; i < HALF; i++) {
        total += magnitudes[i];
    }
    if (total == 0) {
        return;
    }
    size_t levels = symmetric || (*low < 0 && *high > 0) ? 128 : 256, end = HALF, best;
    while (end > levels && magnitudes[end - 1] == 0) {
        end--;
    }
    double least = INFINITY;
    best = end;
    for (size_t to = end; to >= levels && to >= end / 8; to -= to > 2048 ? 32 : 8) {
        double d = divergence(magnitudes, to, levels, total);
        if (d < least) {
            least = d;
            best = to;
        }
    }
    float bound = (float)((double)best * h->limit / HALF);
    *low = fmaxf(*low, -bound);
    *high = fminf(*high, bound);
}

void lt_histogram_range(const lt_histogram *h, leat_quantize_range method, bool symmetric,
                        float *out_low, float *out_high)
{
    *out_low = h->count && h->least < 0 ? h->least : 0;
    *out_high = h->count && h->most > 0 ? h->most : 0;
    if (h->count == 0 || h->limit == 0) {
        return;
    }
    switch (method) {
    case LEAT_RANGE_PERCENTILE:
        percentile(h, out_low, out_high);
        break;
    case LEAT_RANGE_MSE:
        least_square(h, symmetric, out_low, out_high);
        break;
    case LEAT_RANGE_ENTROPY:
        entropy(h, symmetric, out_low, out_high);
        break;
    default:
        break;
    }
}

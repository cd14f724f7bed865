/* SPDX-License-Identifier: Apache-2.0 */
/* Where an output index of Resize reads, and with which weights.
 *
 * The source position x of output index j follows the operator's text. Nearest computes it in f32,
 * as other runtimes do, so that x that should be whole stays whole; the others in f64. Linear takes
 * the 2, cubic the 4 positions around x; antialias widens the filter by 1 / scale when shrinking.
 */
#include "movement/resize.h"

#include <math.h>

/* Source position of output index j, in the arithmetic of `real`. */
#define POSITION(name, real)                                                                       \
    static real name(lt_resize_where where, const lt_resize_axis *axis, real j)                    \
    {                                                                                              \
        const real half = (real)0.5, one = (real)1.0;                                              \
        real in = (real)axis->in, scale = (real)axis->scale, width = (real)axis->width;            \
        real begin = (real)axis->roi_begin, end = (real)axis->roi_end;                             \
        switch (where) {                                                                           \
        case RESIZE_HALF_PIXEL:                                                                    \
            return (j + half) / scale - half;                                                      \
        case RESIZE_HALF_PIXEL_SYMMETRIC: {                                                        \
            real adjustment = (real)axis->out / width;                                             \
            return in / (real)2.0 * (one - adjustment) + (j + half) / scale - half;                \
        }                                                                                          \
        case RESIZE_PYTORCH_HALF_PIXEL:                                                            \
            return axis->out > 1 ? (j + half) / scale - half : (real)0.0;                          \
        case RESIZE_ALIGN_CORNERS:                                                                 \
            return width == one ? (real)0.0 : j * (in - one) / (width - one);                      \
        case RESIZE_TF_HALF_PIXEL_FOR_NN:                                                          \
            return (j + half) / scale;                                                             \
        case RESIZE_TF_CROP_AND_RESIZE:                                                            \
            if (axis->out > 1) {                                                                   \
                return begin * (in - one) + j * (end - begin) * (in - one) / (width - one);        \
            }                                                                                      \
            return half * (begin + end) * (in - one);                                              \
        default:                                                                                   \
            return j / scale;                                                                      \
        }                                                                                          \
    }
POSITION(position_f32, float)
POSITION(position_f64, double)

static double round_position(lt_resize_round round, double x, double scale)
{
    switch (round) {
    case RESIZE_FLOOR:
        return floor(x);
    case RESIZE_CEIL:
        return ceil(x);
    case RESIZE_ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case RESIZE_SIMPLE:
        return scale < 1.0 ? ceil(x) : trunc(x);
    default:
        return ceil(x - 0.5);
    }
}

static int64_t clamp_index(double x, int64_t count)
{
    return x > 0.0 ? (x < (double)(count - 1) ? (int64_t)x : count - 1) : 0;
}

int64_t lt_resize_taps(const lt_resize_rule *rule, double scale)
{
    if (rule->mode == RESIZE_NEAREST) {
        return 1;
    }
    int64_t radius = rule->mode == RESIZE_CUBIC ? 2 : 1;
    if (!rule->antialias || scale >= 1.0) {
        return 2 * radius;
    }
    return (int64_t)fmin(2.0 - 2.0 * (floor(-(double)radius / scale) + 1.0), 0x1p40);
}

/* Weight of a tap at distance d. */
static double filter(const lt_resize_rule *rule, double d)
{
    double a = rule->cubic_a;
    d = fabs(d);
    if (rule->mode == RESIZE_LINEAR) {
        return d < 1.0 ? 1.0 - d : 0.0;
    }
    if (d <= 1.0) {
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    }
    return d < 2.0 ? ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a : 0.0;
}

static void store_weight(void *weights, bool wide, int64_t at, double weight)
{
    if (wide) {
        ((double *)weights)[at] = weight;
    } else {
        ((float *)weights)[at] = (float)weight;
    }
}

/* Taps of one output index at source position x. */
static void fill_taps(const lt_resize_rule *rule, const lt_resize_axis *axis, int64_t taps,
                      double x, bool wide, int64_t *index, void *weights, int64_t at)
{
    double stretch = rule->antialias && axis->scale < 1.0 ? axis->scale : 1.0;
    double limit = (double)axis->in + (double)taps;
    x = fmin(fmax(x, -limit), limit);
    double base = ceil(x) - 1.0; /* the whole number left of x */
    double first = base + 1.0 - (double)(taps / 2), sum = 0.0;
    for (int64_t t = 0; t < taps; t++) {
        double where = first + (double)t;
        bool outside = where < 0.0 || where > (double)(axis->in - 1);
        sum += outside && rule->exclude_outside ? 0.0 : filter(rule, (where - x) * stretch);
    }
    for (int64_t t = 0; t < taps; t++) {
        double where = first + (double)t;
        bool outside = where < 0.0 || where > (double)(axis->in - 1);
        double weight =
            outside && rule->exclude_outside ? 0.0 : filter(rule, (where - x) * stretch);
        index[at + t] = clamp_index(where, axis->in);
        store_weight(weights, wide, at + t, sum != 0.0 ? weight / sum : weight);
    }
}

void lt_resize_fill(const lt_resize_rule *rule, const lt_resize_axis *axis, int64_t taps, bool wide,
                    int64_t *index, void *weights)
{
    for (int64_t j = 0; j < axis->out; j++) {
        double x = rule->mode == RESIZE_NEAREST ? (double)position_f32(rule->where, axis, (float)j)
                                                : position_f64(rule->where, axis, (double)j);
        if (rule->where == RESIZE_TF_CROP_AND_RESIZE &&
            !(x >= 0.0 && x <= (double)(axis->in - 1))) {
            for (int64_t t = 0; t < taps; t++) {
                index[j * taps + t] = -1;
                if (rule->mode != RESIZE_NEAREST) {
                    store_weight(weights, wide, j * taps + t, 0.0);
                }
            }
        } else if (rule->mode == RESIZE_NEAREST) {
            index[j] = clamp_index(round_position(rule->round, x, axis->scale), axis->in);
        } else {
            fill_taps(rule, axis, taps, x, wide, index, weights, j * taps);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Data of matrix products whose channels differ much in size share one grid, and the few large ones
 * take precision from all others. Two changes that are exact in real numbers even them out:
 *
 *     x'[k] = x[k] / (s[k] r[k]),    w'[k] = s[k] w[k],    channel k of both r[k] times
 *
 * Factors s move size from data to weights (Xiao et al., "SmoothQuant", ICML 2023); repetition does
 * so without making the weights' range wider, for a few columns more (Zhao et al., "Improving
 * Neural Network Quantization without Retraining using Outlier Channel Splitting", ICML 2019).
 * Which is best follows from the noise that is to be expected, relative to the signal, and summed
 * over the layers l that read x; with w'[k] in steps of a_l[c] = max over k |s[k] w[k][c]| / 127:
 *
 *     data      step^2 / 12 * sum over k of (r[k] s[k])^2 |w[k]|^2,    step = range of x' / 255
 *     weights   sum over c of a_l[c]^2 / 12 * sum over k of E[x[k]^2] / s[k]^2 */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

/* At most one column more in so many, and as many more at a time: whole groups of the kernels. */
#define MOST_SPLIT 24
#define GROUP 16
/* Factors are powers of a channel's extent: tried exponents are I / EXPONENTS. */
#define EXPONENTS 4
/* Less noise than this part of what there was is worth the work at run time. */
#define WORTH 0.8
/* Fewer columns are as good as long as their noise is no more than this times the least. */
#define ENOUGH 1.04

typedef struct search {
    const leat_quantizer *q;
    lt_quant_tensor *x;
    size_t k;
    double *squares; /* E[x^2] of each channel */
    double *norms;   /* sum over layers of |w[k]|^2 / signal */
    double *s;       /* being tried */
    uint32_t *r;     /* likewise */
    double *best_s;
    uint32_t *best_r;
    double least, plain; /* noise of the best, and without any change */
    size_t extra;        /* columns of the best */
} search;

static bool reads(const lt_quant_layer *layer, const lt_quant_tensor *x)
{
    return layer->on && layer->x == x->value;
}

/* Power of layer's results, as far as channels do not depend on each other; adds |w[k]|^2 / that to
 * norms where those are given. */
static double signal_of(const search *h, const lt_quant_layer *layer, double *norms)
{
    double signal = 0;
    for (int pass = 0; pass < (norms ? 2 : 1); pass++) {
        for (size_t k = 0; k < h->k; k++) {
            double sum = 0;
            for (size_t c = 0; c < layer->channels; c++) {
                double w = lt_quant_weight(h->q, layer, k, c);
                sum += w * w;
            }
            if (pass == 0) {
                signal += sum * h->squares[k];
            } else {
                norms[k] += signal > 0 ? sum / signal : 0;
            }
        }
    }
    return signal;
}

/* Noise of a layer's rounded weights, relative to its signal. */
static double weight_noise(const search *h, const lt_quant_layer *layer, const double *s)
{
    double steps = 0, data = 0, signal = signal_of(h, layer, NULL);
    for (size_t c = 0; c < layer->channels; c++) {
        double most = 0;
        for (size_t k = 0; k < h->k; k++) {
            most = fmax(most, fabs(lt_quant_weight(h->q, layer, k, c)) * s[k]);
        }
        steps += most * most / (127.0 * 127.0 * 12);
    }
    for (size_t k = 0; k < h->k; k++) {
        data += h->squares[k] / (s[k] * s[k]);
    }
    return signal > 0 ? steps * data / signal : 0;
}

/* Noise of rounded data; *out_widest is the channel whose range asks most of the grid. */
static double data_noise(const search *h, const double *s, const uint32_t *r, size_t *out_widest)
{
    double high = 0, low = 0, sum = 0;
    size_t highest = 0, lowest = 0;
    for (size_t k = 0; k < h->k; k++) {
        double factor = s[k] * r[k];
        double up = (double)h->x->most[k] / factor, down = (double)h->x->least[k] / factor;
        highest = up > high ? k : highest;
        high = fmax(high, up);
        lowest = down < low ? k : lowest;
        low = fmin(low, down);
        sum += factor * factor * h->norms[k];
    }
    *out_widest = high > -low ? highest : lowest;
    double step = (high - low) / 255;
    return step * step / 12 * sum;
}

/* With the factors that are set: repeats the widest channels, and notes the best. */
static void split(search *h)
{
    const bool repeats = h->q->method == LEAT_QUANTIZE_DYNAMIC;
    double weights = 0, least = INFINITY;
    size_t widest, found = 0, most = repeats ? h->k / MOST_SPLIT / GROUP * GROUP : 0;
    for (uint32_t i = 0; i < h->q->n_layers; i++) {
        weights += reads(&h->q->layers[i], h->x) ? weight_noise(h, &h->q->layers[i], h->s) : 0;
    }
    for (int pass = 0; pass < 2; pass++) { /* the least noise, then the fewest columns near it */
        for (size_t k = 0; k < h->k; k++) {
            h->r[k] = 1;
        }
        for (size_t extra = 0;; extra++) {
            double noise = data_noise(h, h->s, h->r, &widest) + weights;
            if (extra % GROUP == 0) {
                least = pass == 0 && noise < least ? noise : least;
                if (pass == 1 && noise <= least * ENOUGH) {
                    found = extra;
                    least = noise;
                    break;
                }
            }
            if (extra == most) {
                break;
            }
            h->r[widest]++;
        }
    }
    if (least < h->least) {
        h->least = least;
        h->extra = found;
        memcpy(h->best_s, h->s, h->k * sizeof(*h->s));
        memcpy(h->best_r, h->r, h->k * sizeof(*h->r));
    }
}

/* s[k] = extent[k]^exponent with a geometric mean of 1, bounded so that w' stays normal. */
static void set_factors(search *h, double exponent)
{
    double mean = 0;
    for (size_t k = 0; k < h->k; k++) {
        double extent = fmax((double)h->x->most[k], -(double)h->x->least[k]);
        h->s[k] = exponent * log(fmax(extent, 1e-12));
        mean += h->s[k] / (double)h->k;
    }
    for (size_t k = 0; k < h->k; k++) {
        h->s[k] = (double)(float)exp(fmax(-7, fmin(7, h->s[k] - mean)));
    }
}

/* What the layers' noise is with the best, in the report's unit. */
static void predict(const search *h)
{
    size_t widest;
    for (uint32_t i = 0; i < h->q->n_layers; i++) {
        lt_quant_layer *layer = &h->q->layers[i];
        if (reads(layer, h->x)) {
            memset(h->norms, 0, h->k * sizeof(*h->norms));
            (void)signal_of(h, layer, h->norms);
            double noise =
                data_noise(h, h->best_s, h->best_r, &widest) + weight_noise(h, layer, h->best_s);
            layer->report.own_sqnr_db = noise > 0 ? -10 * log10(noise) : INFINITY;
        }
    }
}

/* Keeps the best with the tensor. */
static leat_status keep(leat_quantizer *q, search *h, leat_error *err)
{
    lt_quant_tensor *x = h->x;
    float *factors = lt_arena_array(&q->arena, h->k, sizeof(*factors));
    int64_t *again = lt_arena_array(&q->arena, h->extra + 1, sizeof(*again));
    if (factors == NULL || again == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to even out channels");
    }
    x->n_again = 0;
    for (size_t k = 0; k < h->k; k++) {
        factors[k] = (float)h->best_s[k];
        for (uint32_t r = 1; r < h->best_r[k]; r++) {
            again[x->n_again++] = (int64_t)k;
        }
    }
    x->factors = factors;
    x->again = again;
    return LEAT_OK;
}

static leat_status smooth_tensor(leat_quantizer *q, lt_quant_tensor *x, lt_arena *scratch,
                                 leat_error *err)
{
    search h = {.q = q, .x = x, .k = x->channels, .least = INFINITY};
    double **arrays[] = {&h.squares, &h.norms, &h.s, &h.best_s};
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        *arrays[i] = lt_arena_array(scratch, h.k, sizeof(double));
    }
    h.r = lt_arena_array(scratch, h.k, sizeof(*h.r));
    h.best_r = lt_arena_array(scratch, h.k, sizeof(*h.best_r));
    if (!h.squares || !h.norms || !h.s || !h.best_s || !h.r || !h.best_r) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to even out channels");
    }
    double count = (double)(x->histogram->count / h.k);
    for (size_t k = 0; k < h.k; k++) {
        h.squares[k] = x->squares[k] / count;
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        if (reads(&q->layers[i], x)) {
            (void)signal_of(&h, &q->layers[i], h.norms);
        }
    }
    for (int e = 0; e <= EXPONENTS; e++) {
        set_factors(&h, (double)e / EXPONENTS);
        if (e == 0) {
            size_t widest;
            for (size_t k = 0; k < h.k; k++) {
                h.r[k] = 1;
            }
            h.plain = data_noise(&h, h.s, h.r, &widest);
            for (uint32_t i = 0; i < q->n_layers; i++) {
                h.plain += reads(&q->layers[i], x) ? weight_noise(&h, &q->layers[i], h.s) : 0;
            }
        }
        split(&h);
    }
    if (!(h.least < WORTH * h.plain)) {
        for (size_t k = 0; k < h.k; k++) {
            h.best_s[k] = h.best_r[k] = 1;
        }
        predict(&h);
        return LEAT_OK;
    }
    predict(&h);
    return keep(q, &h, err);
}

/* Whether all that read x are matrix products with a row of weights for each channel that was
 * counted, and no other tensor shares its grid. */
static bool can_smooth(const leat_quantizer *q, const lt_quant_tensor *x)
{
    bool some = false;
    /* an image may lie on its grid for other readers */
    const bool image =
        q->method == LEAT_QUANTIZE_STATIC && q->model->graph->values[x->value].rank > 3;
    if (x->squares == NULL || x->channels == 0 || x->axis >= 0 || x->histogram->count == 0 ||
        image) {
        return false;
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        if (&q->tensors[i] != x &&
            q->tensors[i].group == q->tensors[q->tensor_of[x->value]].group) {
            return false;
        }
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        const lt_quant_layer *layer = &q->layers[i];
        const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
        if (reads(layer, x)) {
            some = true;
            if (w->rank != 2 || (size_t)w->shape[1 - layer->axis] != x->channels) {
                return false;
            }
        }
    }
    return some;
}

leat_status lt_quant_smooth(leat_quantizer *q, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < q->n_tensors && status == LEAT_OK; i++) {
        lt_arena scratch;
        if (!can_smooth(q, &q->tensors[i])) {
            continue;
        }
        lt_arena_init(&scratch, &q->context->memory, 0);
        status = smooth_tensor(q, &q->tensors[i], &scratch, err);
        lt_arena_destroy(&scratch);
        status = status ? status : lt_quant_progress(q, "smooth", i + 1, q->n_tensors, err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights on symmetric grids of i8, one scale for each output channel:
 *
 *     w ~ scale[c] * q,   q in [-127, 127],   scale[c] = max |w of channel c| / 127
 */
#include "base/error.h"
#include "base/tensor.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

/* Weights seen as [outer][channels][inner]. */
typedef struct view {
    const char *data; /* of floats, perhaps unaligned: they lie in the mapped file */
    size_t outer, channels, inner;
} view;

static float at(const view *w, size_t o, size_t c, size_t i)
{
    float f;
    memcpy(&f, w->data + ((o * w->channels + c) * w->inner + i) * sizeof(f), sizeof(f));
    return f;
}

static view view_of(const leat_value *weights, const lt_quant_layer *layer)
{
    view v = {weights->data, 1, layer->channels, 1};
    for (int32_t d = 0; d < weights->rank; d++) {
        size_t n = (size_t)weights->shape[d];
        v.outer *= d < layer->axis ? n : 1;
        v.inner *= d > layer->axis ? n : 1;
    }
    return v;
}

double lt_quant_weight(const leat_quantizer *q, const lt_quant_layer *layer, size_t k, size_t c)
{
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    size_t columns = (size_t)w->shape[1];
    float f;
    memcpy(&f, (const char *)w->data + (layer->axis == 1 ? k * columns + c : c * columns + k) * 4,
           sizeof(f));
    return (double)f;
}

/* Factor of what is summed over (smooth.c). */
static float factor(const float *factors, const view *w, size_t o, size_t i)
{
    return factors ? factors[o * w->inner + i] : 1;
}

/* Largest magnitude of channel c; NaN when one is not finite. */
static float extent(const view *w, const float *factors, size_t c)
{
    float most = 0;
    for (size_t o = 0; o < w->outer; o++) {
        for (size_t i = 0; i < w->inner; i++) {
            float f = fabsf(at(w, o, c, i) * factor(factors, w, o, i));
            most = f > most ? f : most;
            if (!(f <= 3.4e38f)) {
                return NAN;
            }
        }
    }
    return most;
}

leat_status lt_quant_not_finite(const leat_quantizer *q, const lt_quant_layer *layer,
                                leat_error *err)
{
    return lt_fail(err, LEAT_INVALID,
                   "the weights '%s' of node '%s' hold NaN or infinity: keep the node, or mend the "
                   "model",
                   q->model->graph->values[layer->node->inputs[1]].name, layer->report.name);
}

leat_status lt_quant_weights(leat_quantizer *q, lt_quant_layer *layer, leat_error *err)
{
    const leat_value *weights = &q->model->graph->values[layer->node->inputs[1]];
    const view w = view_of(weights, layer);
    const uint32_t x = q->tensor_of[layer->x];
    const float *factors = x == LT_QUANT_NONE ? NULL : q->tensors[x].factors;
    double signal = 0, noise = 0;
    if (layer->weights != NULL) {
        return LEAT_OK;
    }
    float *scales = lt_arena_array(&q->arena, w.channels, sizeof(*scales));
    int8_t *out = lt_arena_array(&q->arena, w.outer * w.channels * w.inner, 1);
    if (scales == NULL || out == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for quantized weights");
    }
    for (size_t c = 0; c < w.channels; c++) {
        float most = extent(&w, factors, c);
        if (isnan(most)) {
            return lt_quant_not_finite(q, layer, err);
        }
        /* a channel of zeros, or of numbers so small that their scale would be 0 */
        scales[c] = most / 127 >= 1.1754944e-38f ? most / 127 : 1;
    }
    for (size_t o = 0; o < w.outer; o++) {
        for (size_t c = 0; c < w.channels; c++) {
            for (size_t i = 0; i < w.inner; i++) {
                double f = (double)(at(&w, o, c, i) * factor(factors, &w, o, i)),
                       scale = (double)scales[c];
                double level = fmax(-127, fmin(127, rint(f / scale)));
                out[(o * w.channels + c) * w.inner + i] = (int8_t)level;
                signal += f * f;
                noise += (f - level * scale) * (f - level * scale);
            }
        }
    }
    lt_model_release_pages(q->model); /* all of them together are as much as the model */
    layer->report.weight_sqnr_db = noise > 0 ? 10 * log10(signal / noise) : INFINITY;
    layer->weights = out;
    layer->scales = scales;
    return LEAT_OK;
}

leat_status lt_quant_levels(leat_quantizer *q, lt_quant_layer *layer, leat_error *err)
{
    return q->method == LEAT_QUANTIZE_WEIGHTS ? lt_quant_blocks(q, layer, err)
                                              : lt_quant_weights(q, layer, err);
}

bool lt_quant_lost_mean(const leat_quantizer *q, const lt_quant_layer *layer, double *out)
{
    const leat_value *weights = &q->model->graph->values[layer->node->inputs[1]];
    const lt_quant_tensor *x = &q->tensors[q->tensor_of[layer->x]];
    const view w = view_of(weights, layer);
    const float *factors = x->factors;
    const bool conv = layer->axis == 0 && weights->rank > 2;
    size_t sums = w.outer * w.inner, taps = 1;
    size_t groups = conv ? (size_t)leat_node_int(layer->node, "group", 1) : 1;
    for (int32_t d = 2; d < weights->rank; d++) {
        taps *= (size_t)weights->shape[d];
    }
    size_t each = sums / taps; /* input channels of one output channel */
    if (x->channels == 0 || x->axis != (conv ? 1 : -1) || x->channels != each * groups ||
        w.channels % groups != 0) {
        return false;
    }
    double count = (double)(x->histogram->count / x->channels);
    for (size_t c = 0; c < w.channels; c++) {
        size_t first = c / (w.channels / groups) * each;
        out[c] = 0;
        for (size_t o = 0; o < w.outer; o++) {
            for (size_t i = 0; i < w.inner; i++) {
                double level = layer->weights[(o * w.channels + c) * w.inner + i];
                double by = (double)factor(factors, &w, o, i);
                double lost = (double)at(&w, o, c, i) - level * (double)layer->scales[c] / by;
                out[c] += lost * x->sums[first + (o * w.inner + i) / taps] / count;
            }
        }
    }
    return true;
}

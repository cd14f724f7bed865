/* SPDX-License-Identifier: Apache-2.0 */
/* The layers' part in the error, and which of them go back to f32 to keep a budget.
 *
 * Each layer alone adds noise to the outputs and saves operations. Noise of layers that err
 * independently adds up, so the best to give up are those with the most noise for each operation:
 * the least number of them, in that order, with which the drop is allowed. What a layer saves is
 * the time that was measured; where nothing is decided by time, operations stand for it. */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <stdlib.h>

/* Batches that a layer alone is measured with. */
#define BATCHES 4u
/* Operations that stand for a saved nanosecond where a layer's time is not known. */
#define PER_NS 100

leat_status lt_quant_sensitivity(leat_quantizer *q, leat_error *err)
{
    leat_status status = LEAT_OK;
    if (q->n_batches == 0) {
        return LEAT_OK;
    }
    bool *on = lt_arena_array(&q->arena, q->n_layers, sizeof(*on));
    if (on == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for sensitivities");
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        on[i] = q->layers[i].on;
        q->layers[i].on = false;
    }
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        lt_quant_score score;
        if (!on[i]) {
            continue;
        }
        q->layers[i].on = true;
        status = lt_quant_measure(q, BATCHES, &score, err);
        q->layers[i].on = false;
        q->layers[i].report.sqnr_db = score.sqnr_db;
        status = status ? status : lt_quant_progress(q, "sensitivity", i + 1, q->n_layers, err);
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        q->layers[i].on = on[i];
    }
    return status;
}

void lt_quant_take_back(lt_quant_layer *layer, lt_quant_back why)
{
    static const char *const reasons[LT_QUANT_BACKS] = {
        "", "slower in 8 bits on this CPU", "the model is no faster with it on this CPU",
        "went back to f32 to keep the budget"};
    layer->on = false;
    layer->back = why;
    layer->report.reason = reasons[why];
}

/* --- reverting ----------------------------------------------------------------------------------
 */

/* Noise to signal of the layer alone, for each nanosecond or operation that it saves. */
static double worth(const leat_quantizer *q, const lt_quant_layer *layer)
{
    double noise = isnan(layer->report.sqnr_db) ? 0 : pow(10, -layer->report.sqnr_db / 10);
    double saved = (double)layer->report.flops / (q->by_time ? PER_NS : 1);
    if (q->by_time && layer->f32_ns > 0 && layer->own_ns > 0) {
        saved = (double)layer->f32_ns - (double)layer->own_ns;
    }
    return noise / (saved >= 1 ? saved : 1);
}

typedef struct candidate {
    double worth;
    uint32_t layer;
} candidate;

static int by_worth(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->worth != y->worth) {
        return x->worth > y->worth ? -1 : 1;
    }
    return x->layer < y->layer ? -1 : 1;
}

/* The first `n` candidates are f32, the others quantized. */
static leat_status try_first(leat_quantizer *q, const candidate *c, uint32_t count, uint32_t n,
                             lt_quant_score *out, leat_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        q->layers[c[i].layer].on = i >= n;
    }
    if (n == count) { /* nothing is quantized */
        *out = (lt_quant_score){INFINITY, 0};
        return LEAT_OK;
    }
    return lt_quant_measure(q, q->n_batches, out, err);
}

/* Least n with which the drop is allowed: between `low`, which fails, and `high`, which does not.
 */
static leat_status bisect(leat_quantizer *q, const candidate *c, uint32_t count, uint32_t *out_n,
                          leat_error *err)
{
    uint32_t low = 0, high = count;
    leat_status status = LEAT_OK;
    while (high - low > 1 && status == LEAT_OK) {
        lt_quant_score score;
        uint32_t n = low + (high - low) / 2;
        status = try_first(q, c, count, n, &score, err);
        *(score.drop <= q->desc.max_drop ? &high : &low) = n;
        status = status ? status : lt_quant_progress(q, "revert", count - (high - low), count, err);
    }
    *out_n = high;
    return status;
}

leat_status lt_quant_revert(leat_quantizer *q, leat_error *err)
{
    lt_quant_score score;
    uint32_t count = 0, n = 0;
    if (q->desc.max_drop <= 0 || !(q->drop > q->desc.max_drop)) {
        return LEAT_OK;
    }
    candidate *c = lt_arena_array(&q->arena, q->n_layers, sizeof(*c));
    if (c == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to keep the budget");
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        if (q->layers[i].on) {
            c[count++] = (candidate){worth(q, &q->layers[i]), i};
        }
    }
    qsort(c, count, sizeof(*c), by_worth);
    leat_status status = bisect(q, c, count, &n, err);
    status = status ? status : try_first(q, c, count, n, &score, err);
    if (status != LEAT_OK) {
        return status;
    }
    q->sqnr_db = score.sqnr_db;
    q->drop = score.drop;
    for (uint32_t i = 0; i < n; i++) {
        lt_quant_take_back(&q->layers[c[i].layer], LT_QUANT_BUDGET);
    }
    return n < count ? LEAT_OK
                     : lt_fail(err, LEAT_LIMIT,
                               "no layer can be quantized within a drop of %g: allow more, or "
                               "calibrate with more data",
                               q->desc.max_drop);
}

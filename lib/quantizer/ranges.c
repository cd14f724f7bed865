/* SPDX-License-Identifier: Apache-2.0 */
/* The grid of each tensor. A method alone gives every tensor its range; BEST tries the four on the
 * outputs of the whole model, then biases that are corrected, then, tensor by tensor, the other
 * three where their grids differ. */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <math.h>

#define METHODS 4
/* Batches that a choice is made with, and variants that are tried at most. */
#define BATCHES 8u
#define MOST_TRIED 48u

static bool is_symmetric(const leat_quantizer *q)
{
    return q->desc.target != LEAT_QUANTIZE_FOR_CPU;
}

/* All of what is evened out: there is no histogram of it. */
static lt_grid smooth_grid(const leat_quantizer *q, const lt_quant_tensor *x)
{
    float low = 0, high = 0;
    for (size_t k = 0; k < x->channels; k++) {
        low = fminf(low, x->least[k] / x->factors[k]);
        high = fmaxf(high, x->most[k] / x->factors[k]);
    }
    return lt_grid_of_range(low, high, is_symmetric(q));
}

/* The grid that a method gives the group of tensor `first`: it covers all of them. */
static lt_grid grid_of(const leat_quantizer *q, uint32_t first, leat_quantize_range method)
{
    float low = 0, high = 0;
    if (q->tensors[first].factors != NULL) {
        return smooth_grid(q, &q->tensors[first]);
    }
    for (uint32_t i = first; i < q->n_tensors; i++) {
        float l, h;
        if (q->tensors[i].group == first && q->tensors[i].histogram != NULL) {
            lt_histogram_range(q->tensors[i].histogram, method, is_symmetric(q), &l, &h);
            low = fminf(low, l);
            high = fmaxf(high, h);
        }
    }
    return lt_grid_of_range(low, high, is_symmetric(q));
}

static void set_group(leat_quantizer *q, uint32_t first, leat_quantize_range method, lt_grid grid)
{
    for (uint32_t i = first; i < q->n_tensors; i++) {
        if (q->tensors[i].group == first) {
            q->tensors[i].range = method;
            q->tensors[i].grid = grid;
        }
    }
}

/* Every group's grid by every method. */
typedef struct choices {
    lt_grid (*grids)[METHODS]; /* per tensor; only those of groups' first ones are filled */
    double best;               /* sqnr_db of what is set */
    uint32_t tried;
} choices;

static leat_status try_methods(leat_quantizer *q, choices *c, leat_error *err)
{
    leat_quantize_range best = LEAT_RANGE_MSE;
    c->best = -INFINITY;
    for (int m = 0; m <= METHODS; m++) {
        leat_quantize_range method = m < METHODS ? (leat_quantize_range)(m + 1) : best;
        for (uint32_t i = 0; i < q->n_tensors; i++) {
            if (q->tensors[i].group == i) {
                set_group(q, i, method, c->grids[i][method - 1]);
            }
        }
        lt_quant_score score;
        leat_status status = m == METHODS ? LEAT_OK : lt_quant_measure(q, BATCHES, &score, err);
        status = status ? status : lt_quant_progress(q, "range", (uint64_t)m, METHODS, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (m < METHODS && score.sqnr_db > c->best) {
            c->best = score.sqnr_db;
            best = method;
        }
    }
    return LEAT_OK;
}

/* Corrected biases stay when the outputs err less with them. */
static leat_status try_correction(leat_quantizer *q, choices *c, leat_error *err)
{
    lt_quant_score score;
    q->correct_bias = true;
    leat_status status = lt_quant_measure(q, BATCHES, &score, err);
    if (status == LEAT_OK && score.sqnr_db > c->best) {
        c->best = score.sqnr_db;
    } else {
        q->correct_bias = false;
    }
    return status;
}

static bool differs(lt_grid a, lt_grid b)
{
    return fabsf(a.scale - b.scale) > 0.02f * a.scale || a.zero != b.zero;
}

static leat_status try_group(leat_quantizer *q, choices *c, uint32_t first, leat_error *err)
{
    for (int m = 0; m < METHODS && c->tried < MOST_TRIED; m++) {
        leat_quantize_range old_range = q->tensors[first].range;
        lt_grid old = q->tensors[first].grid, grid = c->grids[first][m];
        lt_quant_score score;
        if (!differs(old, grid)) {
            continue;
        }
        set_group(q, first, (leat_quantize_range)(m + 1), grid);
        leat_status status = lt_quant_measure(q, BATCHES, &score, err);
        status = status ? status : lt_quant_progress(q, "range", c->tried, MOST_TRIED, err);
        if (status != LEAT_OK) {
            return status;
        }
        c->tried++;
        if (score.sqnr_db > c->best) {
            c->best = score.sqnr_db;
        } else {
            set_group(q, first, old_range, old);
        }
    }
    return LEAT_OK;
}

leat_status lt_quant_choose_ranges(leat_quantizer *q, leat_error *err)
{
    choices c = {.grids = lt_arena_array(&q->arena, q->n_tensors + 1u, sizeof(*c.grids))};
    leat_quantize_range wanted = q->desc.range;
    leat_status status = LEAT_OK;
    if (q->grids_known) {
        return LEAT_OK;
    }
    if (c.grids == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for ranges");
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        for (int m = 0; m < METHODS && q->tensors[i].group == i; m++) {
            c.grids[i][m] = grid_of(q, i, (leat_quantize_range)(m + 1));
        }
        if (q->tensors[i].group == i) {
            leat_quantize_range range = wanted == LEAT_RANGE_BEST ? LEAT_RANGE_MSE : wanted;
            set_group(q, i, range, c.grids[i][range - 1]);
        }
    }
    if (q->n_batches == 0) {
        return LEAT_OK;
    }
    if (wanted == LEAT_RANGE_BEST) {
        status = try_methods(q, &c, err);
    } else {
        lt_quant_score score;
        status = lt_quant_measure(q, BATCHES, &score, err);
        c.best = score.sqnr_db;
    }
    status = status ? status : try_correction(q, &c, err);
    for (uint32_t i = 0; i < q->n_tensors && status == LEAT_OK; i++) {
        if (q->tensors[i].group == i && wanted == LEAT_RANGE_BEST) {
            status = try_group(q, &c, i, err);
        }
    }
    return status;
}

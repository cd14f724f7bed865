/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of LANES channels by the factor R of what the layer reads: feedback.c has the formula. */
#include "quantizer/feedback.h"

#include <math.h>
#include <string.h>

#define LANES LT_FEEDBACK_LANES
/* of both errors of LANES channels */
#define VECTORS (2 * LANES * sizeof(float) / sizeof(lt_feedback_vector))

typedef lt_feedback_vector vector;

bool lt_feedback_open_lanes(lt_feedback_lanes *l, size_t k, lt_arena *scratch)
{
    float **arrays[] = {&l->w, &l->step, &l->zero, &l->level, &l->near, &l->errors};
    bool good = true;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]) && good; i++) {
        const size_t each = arrays[i] == &l->errors ? 2 * LANES : LANES;
        *arrays[i] = lt_arena_array(scratch, k * each + 1, sizeof(float));
        good = *arrays[i] != NULL;
    }
    return good;
}

/* --- weights and levels where they lie ----------------------------------------------------------
 */

/* Where weight (k, c) of a layer lies, k counted in its group. */
static size_t place(const lt_quant_layer *layer, size_t k_all, size_t k, size_t c)
{
    return layer->axis == 1 ? k * layer->channels + c : c * k_all + k;
}

static size_t all_rows(const leat_quantizer *q, const lt_quant_layer *layer)
{
    const leat_value *v = &q->model->graph->values[layer->node->inputs[1]];
    return v->bytes / sizeof(float) / layer->channels;
}

static int32_t get_level(const uint8_t *from, size_t at, int32_t bits)
{
    return bits == 8 ? (int8_t)from[at] : from[at / 2] >> at % 2 * 4 & 15;
}

static void set_level(uint8_t *to, size_t at, int32_t bits, int32_t level)
{
    const unsigned shift = at % 2 * 4;
    if (bits == 8) {
        to[at] = (uint8_t)level;
    } else {
        to[at / 2] = (uint8_t)((to[at / 2] & ~(15u << shift)) | (unsigned)level << shift);
    }
}

/* Weight (i, channel) of the piece, its step and zero, into lane `at`. */
static void fill_lane(const leat_quantizer *q, const lt_feedback_piece *piece, size_t i,
                      size_t channel, lt_feedback_lanes *l, size_t at)
{
    const lt_quant_layer *layer = piece->layer;
    const leat_value *v = &q->model->graph->values[layer->node->inputs[1]];
    const float *factors = q->tensors[q->tensor_of[layer->x]].factors;
    const size_t k = piece->first + i;
    const size_t from = place(layer, all_rows(q, layer), k, channel);
    memcpy(&l->w[at], (const char *)v->data + from * sizeof(float), sizeof(float));
    if (layer->blocks.levels == NULL) {
        l->w[at] *= factors ? factors[k] : 1;
        l->step[at] = layer->scales[channel];
        l->zero[at] = 0;
        return;
    }
    const size_t b = k / (size_t)q->block * layer->channels + channel;
    l->step[at] = layer->blocks.scales[b];
    l->zero[at] = layer->blocks.bits == 4 ? (float)get_level(layer->blocks.zeros, b, 4) : 0;
}

static void fill_lanes(const leat_quantizer *q, const lt_feedback_piece *piece, size_t first,
                       size_t n, lt_feedback_lanes *l)
{
    const bool narrow = piece->layer->blocks.levels != NULL && piece->layer->blocks.bits == 4;
    l->low = narrow ? 0 : -127;
    l->high = narrow ? 15 : 127;
    for (size_t i = 0; i < piece->k; i++) {
        for (size_t c = 0; c < LANES; c++) {
            const size_t at = i * LANES + c;
            if (c < n) {
                fill_lane(q, piece, i, first + c, l, at);
            } else {
                l->w[at] = l->zero[at] = 0;
                l->step[at] = 1;
            }
        }
    }
}

/* --- rounding -----------------------------------------------------------------------------------
 */

static float level_of(const lt_feedback_lanes *l, size_t at, float w)
{
    return fmaxf(l->low, fminf(l->high, rintf(w / l->step[at]) + l->zero[at]));
}

static float error_of(const lt_feedback_lanes *l, size_t at, float level)
{
    return l->w[at] - l->step[at] * (level - l->zero[at]);
}

/* A row of R times both errors behind column `first`. */
static void dot(const float *row, const float *errors, size_t first, size_t k, float out[2 * LANES])
{
    vector sum[VECTORS] = {{0}};
    const float *at = errors + first * 2 * LANES;
    for (size_t i = first; i < k; i++, at += 2 * LANES) {
#pragma GCC unroll 8
        for (size_t v = 0; v < VECTORS; v++) {
            sum[v] += row[i] * ((const vector *)at)[v];
        }
    }
    memcpy(out, sum, sizeof(sum));
}

/* lost: |R (w - q)|^2 of both. */
static void round_lanes(float *h, size_t k, lt_feedback_lanes *l, double lost[2][LANES])
{
    float behind[2 * LANES];
    for (size_t j = k; j-- > 0;) {
        const float *row = lt_feedback_row(h, k, j);
        float *errors = l->errors + j * 2 * LANES;
        dot(row, l->errors, j + 1, k, behind);
        for (size_t c = 0; c < LANES; c++) {
            const size_t at = j * LANES + c;
            l->level[at] = level_of(l, at, l->w[at] + behind[c] / row[j]);
            l->near[at] = level_of(l, at, l->w[at]);
            errors[c] = error_of(l, at, l->level[at]);
            errors[LANES + c] = error_of(l, at, l->near[at]);
            const double e = (double)(row[j] * errors[c] + behind[c]);
            const double n = (double)(row[j] * errors[LANES + c] + behind[LANES + c]);
            lost[0][c] += e * e;
            lost[1][c] += n * n;
        }
    }
}

/* Keeps what errs less, channel by channel. */
static void keep_lanes(const leat_quantizer *q, const lt_feedback_piece *piece, size_t first,
                       size_t n, const lt_feedback_lanes *l, const double lost[2][LANES])
{
    lt_quant_layer *layer = piece->layer;
    const size_t k_all = all_rows(q, layer);
    for (size_t c = 0; c < n; c++) {
        const float *levels = lost[0][c] < lost[1][c] ? l->level : l->near;
        for (size_t i = 0; i < piece->k; i++) {
            const size_t k = piece->first + i;
            const int32_t level = (int32_t)levels[i * LANES + c];
            if (layer->blocks.levels != NULL) {
                set_level(layer->blocks.levels, k * layer->channels + first + c, layer->blocks.bits,
                          level);
            } else {
                layer->weights[place(layer, k_all, k, first + c)] = (int8_t)level;
            }
        }
    }
}

static void add_noise(const lt_feedback_piece *piece, size_t n, const lt_feedback_lanes *l,
                      const double lost[2][LANES], double sums[2])
{
    for (size_t i = 0; i < piece->k; i++) {
        for (size_t c = 0; c < n; c++) {
            const size_t which = lost[0][c] < lost[1][c] ? 0 : LANES;
            const double w = (double)l->w[i * LANES + c];
            const double e = (double)l->errors[i * 2 * LANES + which + c];
            sums[0] += w * w;
            sums[1] += e * e;
        }
    }
}

void lt_feedback_round(const leat_quantizer *q, const lt_feedback_piece *piece, size_t c, size_t n,
                       lt_feedback_lanes *l, double sums[2])
{
    double lost[2][LANES] = {{0}};
    const lt_quant_layer *layer = piece->layer;
    const size_t groups =
        strcmp(layer->node->op, "Conv") == 0 ? (size_t)leat_node_int(layer->node, "group", 1) : 1;
    const size_t first = piece->group * (layer->channels / groups) + c;
    fill_lanes(q, piece, first, n, l);
    if (!piece->triangle) {
        for (size_t i = 0; i < piece->k * LANES; i++) {
            l->near[i] = level_of(l, i, l->w[i]);
            l->errors[i / LANES * 2 * LANES + LANES + i % LANES] = error_of(l, i, l->near[i]);
        }
    } else {
        round_lanes(piece->h, piece->k, l, lost);
    }
    keep_lanes(q, piece, first, n, l, lost);
    add_noise(piece, n, l, lost, sums);
}

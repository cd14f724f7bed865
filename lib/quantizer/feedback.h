/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of error feedback share: feedback.c makes the passes over the data,
 * feedback_sums.c sums up what the layers read, feedback_round.c rounds by that. */
#ifndef LT_QUANTIZER_FEEDBACK_H
#define LT_QUANTIZER_FEEDBACK_H

#include "quantizer/quantizer.h"

/* Vectors that every target has: of 16 bytes. */
typedef float lt_feedback_vector __attribute__((vector_size(16), aligned(4), may_alias));

/* Columns of a strip. */
#define LT_FEEDBACK_WIDE 8

/* Batches whose rows fill a piece at the earliest; where feedback was asked for, all. */
#define LT_FEEDBACK_BATCHES 16

/* Rows of data that are summed up at a time, and channels that are rounded together. */
#define LT_FEEDBACK_PANEL 128
#define LT_FEEDBACK_LANES 16

/* Weights that make up for each other: rows [first, first + k) of what a group sums over, and the
 * upper triangle of a matrix of [k][k] in strips of WIDE rows, each from its diagonal on:
 *
 *     strip 0: [WIDE][k]   strip 1: [WIDE][k - WIDE]   ...      k rounded up to WIDE
 */
typedef struct lt_feedback_piece {
    lt_quant_layer *layer;
    size_t group, first, k;
    uint64_t rows; /* summed up */
    float *h;      /* sums of x^T x; then R with R^T R = h */
    bool triangle; /* it is R; else nothing is known about the data */
} lt_feedback_piece;

/* Floats of `h`. */
size_t lt_feedback_floats(size_t k);
/* Row i of the triangle; only its elements from i / WIDE * WIDE on are there. */
float *lt_feedback_row(float *h, size_t k, size_t i);

/* Adds rows of the layer's data to a piece's sums, unless it needs no more.
 * Shapes:   room holds PANEL * (k rounded up to WIDE) floats. */
void lt_feedback_add(const leat_quantizer *q, lt_feedback_piece *piece, const leat_array *x,
                     float *room);
/* Whether a piece needs no more. */
bool lt_feedback_full(const lt_feedback_piece *piece);

/* h becomes R. */
void lt_feedback_factorize(lt_feedback_piece *piece);

/* LANES channels of one group, [k][LANES] each. */
typedef struct lt_feedback_lanes {
    float *w, *step, *zero; /* of a level: w ~ step (level - zero) */
    float *level, *near;    /* by feedback, and the nearest */
    float *errors;          /* [k][2][LANES]: of both */
    float low, high;
} lt_feedback_lanes;
bool lt_feedback_open_lanes(lt_feedback_lanes *l, size_t k, lt_arena *scratch);

/* Rounds channels [c, c + n) of a piece's group anew, n <= LANES; adds the signal and the noise of
 * their weights to sums. */
void lt_feedback_round(const leat_quantizer *q, const lt_feedback_piece *piece, size_t c, size_t n,
                       lt_feedback_lanes *l, double sums[2]);

#endif

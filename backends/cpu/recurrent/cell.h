/* SPDX-License-Identifier: Apache-2.0 */
/* One step of LSTM, GRU or RNN for some rows of a batch.
 *
 *     LSTM   i, o, f, c~ = xw + R h     C = f * C + i * c~     H = o * h(C)
 *     GRU    z, r = xw + R h   n = g(xw + r * (R h + b)), or g(xw + R (r * h))   H = (1 - z) n + z
 * h RNN    H = f(xw + R h)
 *
 * xw is W x with both biases, from a product over all steps; or, for short sequences, made here.
 *
 * Weights are packed into panels of 4 (GRU: 3) vectors a row of k, so that a panel's sums are all
 * gates of `vl` hidden units, and the gates never leave the core:
 *
 *     panel p:  k = 0: [gate 0 of units p * vl...] [gate 1] [gate 2] [gate 3]   k = 1: ...
 *
 * RNN has one gate: there the four vectors are four times as many units.
 * A step reads the packed weights once for up to mr rows; with one row it is bound by reading them
 * from the second-level cache (`leat bench --profile`).
 * Storage, products and sums are f32 (f64 kernels: f64). */
#ifndef LT_CPU_RECURRENT_CELL_H
#define LT_CPU_RECURRENT_CELL_H

#include "cpu.h"

typedef enum lt_cell_kind {
    LT_CELL_RNN,
    LT_CELL_GRU,
    LT_CELL_LSTM
} lt_cell_kind;

typedef enum lt_cell_function {
    LT_CELL_SIGMOID,
    LT_CELL_TANH,
    LT_CELL_RELU,
    LT_CELL_AFFINE,           /* alpha x + beta */
    LT_CELL_LEAKY_RELU,       /* alpha x below 0 */
    LT_CELL_THRESHOLDED_RELU, /* x above alpha, else 0 */
    LT_CELL_SCALED_TANH,      /* alpha tanh(beta x) */
    LT_CELL_HARD_SIGMOID,     /* max(0, min(1, alpha x + beta)) */
    LT_CELL_ELU,              /* alpha (exp(x) - 1) below 0 */
    LT_CELL_SOFTSIGN,
    LT_CELL_SOFTPLUS
} lt_cell_function;

typedef struct lt_cell_activation {
    lt_cell_function function;
    float alpha, beta;
} lt_cell_activation;

/* Vectors of a panel's row. */
static inline int64_t lt_cell_vectors(lt_cell_kind kind)
{
    return kind == LT_CELL_GRU ? 3 : 4;
}

/* Gates: rows of W and R over hidden. */
static inline int64_t lt_cell_gates(lt_cell_kind kind)
{
    return kind == LT_CELL_RNN ? 1 : kind == LT_CELL_GRU ? 3 : 4;
}

/* Hidden units of a panel. */
static inline int64_t lt_cell_units(lt_cell_kind kind, int64_t vl)
{
    return kind == LT_CELL_RNN ? 4 * vl : vl;
}

/* One direction's weights and functions. Types are the kernels'. */
typedef struct lt_cell {
    lt_cell_kind kind;
    int64_t hidden;
    int64_t inputs;       /* read where w is not NULL */
    const void *r;        /* packed R */
    const void *w;        /* packed W; NULL: rows have xw */
    const void *bias;     /* gates * hidden, and a vector more; with w only */
    const void *r_bias;   /* GRU with linear_before_reset: of the last gate, whole panels */
    const void *peephole; /* LSTM: i, o, f, each of whole panels; or NULL */
    lt_cell_activation activation[3];
    double clip; /* of what enters an activation of gates; 0: none */
    bool input_forget;
    bool linear_before_reset;
} lt_cell;

/* One row of the batch. States are of whole panels, xw and y of hidden units. */
typedef struct lt_cell_row {
    const void *xw; /* gates * hidden, and a vector more that may be read */
    const void *x;
    const void *h;
    void *h_next;
    void *c;       /* LSTM; updated */
    void *z, *r_h; /* GRU without linear_before_reset: between the phases */
    void *y;       /* may be NULL */
} lt_cell_row;

/* Which rows and panels a call computes. A GRU without linear_before_reset has phases 0 and 1;
 * phase 1 needs all panels of phase 0. */
typedef struct lt_cell_part {
    const lt_cell_row *rows;
    int64_t n_rows;
    int64_t panel_begin, panel_end;
    int phase;
} lt_cell_part;

typedef struct lt_cell_kernels {
    const char *name[3]; /* by kind */
    int64_t vl;
    int64_t mr; /* rows of a tile */
    void (*run)(const lt_cell *cell, const lt_cell_part *part);
} lt_cell_kernels;

extern const lt_cell_kernels lt_cpu_cell_f32_portable;
extern const lt_cell_kernels lt_cpu_cell_f64_portable;
#if defined(__x86_64__)
extern const lt_cell_kernels lt_cpu_cell_f32_avx2;
extern const lt_cell_kernels lt_cpu_cell_f32_avx512;
#endif

#endif

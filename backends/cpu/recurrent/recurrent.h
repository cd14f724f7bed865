/* SPDX-License-Identifier: Apache-2.0 */
/* LSTM, GRU, RNN at fixed shapes: what prepare (recurrent.c) and launch (run.c) share. */
#ifndef LT_CPU_RECURRENT_RECURRENT_H
#define LT_CPU_RECURRENT_RECURRENT_H

#include "gemm/gemm.h"
#include "movement/movement.h"
#include "recurrent/cell.h"

/* Inputs of the nodes. */
enum {
    LT_RNN_X,
    LT_RNN_W,
    LT_RNN_R,
    LT_RNN_B,
    LT_RNN_LENGTHS,
    LT_RNN_H,
    LT_RNN_C,
    LT_RNN_P
};

/* Parts of the workspace, in bytes from its start. */
typedef struct lt_rnn_parts {
    size_t x;        /* X widened from f16 or bf16 */
    size_t y;        /* Y before it is rounded */
    size_t xw;       /* W x of all steps and directions */
    size_t xw_one;   /* bytes of one direction */
    size_t pack;     /* W and R, where they are not constant */
    size_t pack_one; /* bytes of one direction: W, then R */
    size_t small;    /* biases and peepholes, where they are not constant */
    size_t h;        /* two states for each direction and row */
    size_t c, z, r_h;
    size_t rows; /* lt_cell_row for each direction and row */
    size_t gemm;
    size_t total;
} lt_rnn_parts;

typedef struct lt_rnn {
    lt_move_label label;
    lt_cell_kind kind;
    leat_dtype dtype;
    bool narrow;    /* f16 or bf16: computed in f32 */
    size_t element; /* bytes of what is computed in */
    bool batch_first;
    bool fused; /* W is applied step by step, not by a product before */
    bool has_p;
    uint32_t n_inputs, n_outputs; /* that the node lists */
    int64_t dirs, seq, batch, inputs, hidden;
    int64_t gates, panels, padded; /* padded: units of all panels */
    const lt_cell_kernels *kernels;
    const lt_gemm_kernels *gemm;
    lt_cell cell[2]; /* by direction; pointers are set per launch where not constant */
    bool reverse[2];
    const void *w[2], *r[2]; /* packed; NULL: by launch */
    const void *small;       /* NULL: by launch */
    size_t small_one;        /* bytes of one direction: see lt_rnn_small */
    size_t bias_bytes;
    lt_rnn_parts parts;
} lt_rnn;

/* Bytes of a direction's packed weights: R, or a fused W (of k columns). */
size_t lt_rnn_panel_bytes(const lt_rnn *rnn, int64_t k);

/* Packs direction d of W or R, data of the node's type, to panels (cell.h). */
void lt_rnn_pack_panels(const lt_rnn *rnn, const void *data, int64_t d, int64_t k, void *out);

/* Packs direction d of W for the product over all steps. */
void lt_rnn_pack_gemm(const lt_rnn *rnn, const void *data, int64_t d, void *out);
size_t lt_rnn_gemm_bytes(const lt_rnn *rnn);

/* The product of X and W for one direction, but for its pointers. */
lt_gemm_job lt_rnn_input_job(const lt_rnn *rnn);

/* Fills the small block of all directions: for each the bias (what is added to W x), the last
 * gate's R bias, the peepholes. `bias` and `peephole` are the node's inputs; may be NULL. */
void lt_rnn_small(const lt_rnn *rnn, const void *bias, const void *peephole, void *out);

leat_status lt_rnn_launch(const void *state, const leat_kernel_args *args, leat_error *err);

#endif

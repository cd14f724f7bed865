/* SPDX-License-Identifier: Apache-2.0 */
#include "recurrent/cell.h"

#include "elementwise/vmath.h"

#define T float
#define VL 8
#define MR 2
#define CELL_EXP lt_exp_f32
#define CELL_TANH lt_tanh_f32
#define CELL_SIGMOID lt_sigmoid_f32
#define CELL_SOFTPLUS lt_softplus_f32
#define TABLE lt_cpu_cell_f32_avx2
#define NAME_RNN "rnn_f32_avx2"
#define NAME_GRU "gru_f32_avx2"
#define NAME_LSTM "lstm_f32_avx2"
#include "recurrent/cell.inc"

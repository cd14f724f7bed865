/* SPDX-License-Identifier: Apache-2.0 */
#include "recurrent/cell.h"

#include <math.h>

static inline double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static inline double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

#define T double
#define VL 2
#define MR 2
#define CELL_EXP exp
#define CELL_TANH tanh
#define CELL_SIGMOID sigmoid
#define CELL_SOFTPLUS softplus
#define TABLE lt_cpu_cell_f64_portable
#define NAME_RNN "rnn_f64_portable"
#define NAME_GRU "gru_f64_portable"
#define NAME_LSTM "lstm_f64_portable"
#include "recurrent/cell.inc"

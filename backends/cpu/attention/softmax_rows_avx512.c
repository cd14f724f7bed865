/* SPDX-License-Identifier: Apache-2.0 */
#define TABLE lt_softmax_rows_avx512
#include "attention/softmax_rows.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#define LANES 32
#define VL 16
#define TABLE lt_row_kernels_avx512
#include "reduce/rows_kernel.inc"

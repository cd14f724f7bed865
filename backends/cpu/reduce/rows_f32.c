/* SPDX-License-Identifier: Apache-2.0 */
#define LANES 16
#define VL 4
#define TABLE lt_row_kernels_portable
#include "reduce/rows_kernel.inc"

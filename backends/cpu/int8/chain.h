/* SPDX-License-Identifier: Apache-2.0 */
/* What the AVX-512 kernels of one tile and of several in one call (gemm_u8s8_chain_avx512vnni.c)
 * share. */
#ifndef LT_CPU_INT8_CHAIN_H
#define LT_CPU_INT8_CHAIN_H

#include "int8/int8.h"

/* What is added to the sums of a result of bytes: a residual of bytes, after the sum was rounded to
 * bytes of its own with MID. */
typedef enum lt_int8_addend {
    LT_INT8_ADD_NOTHING,
    LT_INT8_ADD_RESIDUAL,
    LT_INT8_ADD_RESIDUAL_MID
} lt_int8_addend;

#define LT_INT8_CHAIN_ROWS 14 /* of each tile; their columns are whole panels of 32 */

/* Computes the tiles of one job and returns true; or false, having done nothing, where their
 * results are not bytes by sums and scale, perhaps with a residual of bytes, or k is too short.
 * `wide`: for processors as lt_cpu_device.full_width says. */
bool lt_int8_chain_avx512vnni(const lt_gemm_tile *tiles, size_t count, bool wide);

#endif

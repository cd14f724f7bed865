/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of bytes, channels-last: one filter a channel.
 *
 *     S[p, c] = offset[c] + sum over taps t of X[pixel(p, t), c] * W[t, c]        in s32
 *
 * W has its zero point taken away already and lies as s16 [taps][columns]; offset holds bias and
 * the zero point of X (int8.h). Products of u8 by 9 bits are exact in 32. */
#ifndef LT_CPU_INT8_DEPTHWISE_H
#define LT_CPU_INT8_DEPTHWISE_H

#include "int8/int8.h"

/* Channels that a call sums up. */
#define LT_INT8_DEPTHWISE_CHANNELS 32
/* Most taps of a filter that is computed so. */
#define LT_INT8_DEPTHWISE_TAPS 64

/* sums[0..32) for one pixel. rows[t * LT_GEMM_MAX_MR] points at the tap's first channel of the
 * block; only `n` channels are read from each. weights and offset are readable to 32. */
typedef void (*lt_int8_depthwise_fn)(const void *const *rows, size_t taps, size_t channel,
                                     uint32_t n, const int16_t *weights, size_t columns,
                                     const int32_t *offset, int32_t *sums);

void lt_int8_depthwise_portable(const void *const *rows, size_t taps, size_t channel, uint32_t n,
                                const int16_t *weights, size_t columns, const int32_t *offset,
                                int32_t *sums);
void lt_int8_depthwise_avx2(const void *const *rows, size_t taps, size_t channel, uint32_t n,
                            const int16_t *weights, size_t columns, const int32_t *offset,
                            int32_t *sums);
void lt_int8_depthwise_avx512(const void *const *rows, size_t taps, size_t channel, uint32_t n,
                              const int16_t *weights, size_t columns, const int32_t *offset,
                              int32_t *sums);

#endif

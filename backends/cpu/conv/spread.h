/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions of few output channels, several neighbouring output pixels as one row of the
 * product.
 *
 *     Y[x * P + d, m] = sum over t, c of X[(x * P + d) * stride + t, c] * W[t, c, m]
 *                     = sum over u, c of X[x * P * stride + u, c] * W'[u, c, d * channels + m]
 *
 * with W'[u, c, d * channels + m] = W[u - d * stride, c, m], 0 where there is no such position: a
 * convolution of P times the channels, P times the stride and filters wider by (P - 1) * stride,
 * whose output lies in memory as the other's does. What is gained: a product of one or eight
 * columns takes as long as one of 16. Beside a sum's terms stand products by 0, so that infinities
 * and NaN reach up to (P - 1) * stride pixels further. */
#ifndef LT_CPU_CONV_SPREAD_H
#define LT_CPU_CONV_SPREAD_H

#include "conv/conv.h"

/* How many output pixels make a row, 1 when nothing is gained; *out_gain: how many times faster the
 * arithmetic then is. */
int64_t lt_conv_spread_pixels(const lt_conv *conv, const lt_cpu_device *device, double *out_gain);

/* Errors:   NO_MEMORY; LIMIT when a size overflows. */
leat_status lt_conv_spread_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, leat_kernel *out_kernel, leat_error *err);

/* Weights [channels, in, filter] of `element` bytes each of a convolution of `wide` (its geometry
 * after spreading over `pixels`) to [pixels * channels, in, wide filter]. */
void lt_conv_spread_weights(const lt_conv_geometry *wide, int64_t pixels, size_t element,
                            const void *weights, void *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Walking two arrays of f32 whose common lines are short, a tile of lines at a time. */
#ifndef LT_CPU_SHORT_LINES_H
#define LT_CPU_SHORT_LINES_H

#include "elementwise/broadcast.h"

/* Whether lines are so short that lt_broadcast_run_short is the better way. */
bool lt_broadcast_is_short(const lt_broadcast *b);

/* n elements of the output from element `to` on; operand i is x[i][k * stride[i]], stride 0 or 1.
 */
typedef void (*lt_tile_fn)(const void *argument, const float *const *x, const int64_t *stride,
                           int64_t to, int64_t n);

/* Calls fn for all elements on the pool. x: the two operands; one that has the output's shape is
 * passed on in place and may be the output. */
void lt_broadcast_run_short(const lt_broadcast *b, double bytes_per_element, const float *const *x,
                            lt_tile_fn fn, const void *argument, const leat_kernel_args *args);

#endif

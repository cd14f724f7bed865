/* SPDX-License-Identifier: Apache-2.0 */
/* Walking several arrays of broadcast shapes together. */
#ifndef LT_CPU_BROADCAST_H
#define LT_CPU_BROADCAST_H

#include "cpu.h"

#define LT_BROADCAST_MAX 3

/* The output's shape with neighbouring dimensions merged wherever all inputs allow, so that the
 * inner line is as long as can be.
 * Shapes:   dims[0..rank) of the output, rank at least 1; strides[i] of input i in elements, 0
 * along a dimension that it lacks. The inner strides are 0 or 1. */
typedef struct lt_broadcast {
    int32_t rank;
    int32_t inputs;
    int64_t dims[LEAT_MAX_RANK];
    int64_t strides[LT_BROADCAST_MAX][LEAT_MAX_RANK];
    int64_t lines;  /* product of all dimensions but the last */
    int64_t length; /* of a line */
} lt_broadcast;

/* Errors:   INVALID when a dimension of an input is neither the output's nor 1. */
leat_status lt_broadcast_plan(lt_broadcast *b, const leat_node *node, const leat_value *out,
                              const leat_value *const *inputs, int32_t count, leat_error *err);

/* One stretch of a line: input i starts at element from[i], the output at element to. */
typedef void (*lt_line_fn)(const void *argument, const int64_t *from, int64_t to, int64_t length);

/* Calls fn for all lines (parts of it, when there is one long line) on the pool. */
void lt_broadcast_run(const lt_broadcast *b, double bytes_per_element, lt_line_fn fn,
                      const void *argument, const leat_kernel_args *args);

#endif

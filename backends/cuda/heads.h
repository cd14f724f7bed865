/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of attention, seen as [batch][heads][rows][size]. */
#ifndef LT_CUDA_HEADS_H
#define LT_CUDA_HEADS_H

#include "cuda.h"

/* stride: of batch, head and row, in elements; those of a row follow each other. */
typedef struct lt_cuda_heads {
    int64_t batch, heads, rows, size, stride[3];
} lt_cuda_heads;

/* Of a value [B, heads, rows, size], or [B, rows, heads * size] with that number of heads. False
 * for others. */
static inline bool lt_cuda_read_heads(const leat_value *value, int64_t heads, lt_cuda_heads *out)
{
    const int64_t *s = value->shape;
    if (value->rank == 4) {
        *out = (lt_cuda_heads){s[0], s[1], s[2], s[3], {s[1] * s[2] * s[3], s[2] * s[3], s[3]}};
        return true;
    }
    if (value->rank != 3 || heads < 1 || s[2] % heads != 0) {
        return false;
    }
    *out = (lt_cuda_heads){s[0], heads, s[1], s[2] / heads, {s[1] * s[2], s[2] / heads, s[2]}};
    return true;
}

#endif

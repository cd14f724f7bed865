/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of f16 and bf16 to f32 and back, in three instruction sets. */
#ifndef LT_CPU_HALF_H
#define LT_CPU_HALF_H

#include "convert.h"

/* Elements that fit a block on the stack: how code walks f16 and bf16 data. */
#define LT_HALF_BLOCK 512

/* dtype is F16, BF16, or F32 (a copy). Rounds to nearest even. No overlap. */
typedef struct lt_half_kernels {
    void (*widen)(leat_dtype dtype, const void *from, float *to, int64_t n);
    void (*narrow)(leat_dtype dtype, const float *from, void *to, int64_t n);
} lt_half_kernels;

extern const lt_half_kernels lt_half_portable;
extern const lt_half_kernels lt_half_avx2;
extern const lt_half_kernels lt_half_avx512;

/* The best of the three for a device. */
const lt_half_kernels *lt_half_for(const lt_cpu_device *device);

static inline bool lt_is_half(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16;
}

/* n elements from element `at` on as f32: the data itself when it is f32, else `block` (room for
 * LT_HALF_BLOCK) filled. */
static inline const float *lt_half_view(const lt_half_kernels *half, leat_dtype dtype,
                                        const void *data, int64_t at, int64_t n, float *block)
{
    if (dtype == LEAT_DTYPE_F32) {
        return (const float *)data + at;
    }
    half->widen(dtype, (const uint16_t *)data + at, block, n);
    return block;
}

#endif

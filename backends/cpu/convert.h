/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of f16, bf16 and f32. */
#ifndef LT_CPU_CONVERT_H
#define LT_CPU_CONVERT_H

#include "cpu.h"

/* Element i of an f32, f16 or bf16 array; data may be unaligned. */
static inline float lt_cpu_get_f32(leat_dtype dtype, const void *data, size_t i)
{
    if (dtype == LEAT_DTYPE_F32) {
        float f;
        memcpy(&f, (const char *)data + i * sizeof(f), sizeof(f));
        return f;
    }
    uint16_t h;
    memcpy(&h, (const char *)data + i * sizeof(h), sizeof(h));
    return dtype == LEAT_DTYPE_F16 ? lt_f16_to_f32(h) : lt_bf16_to_f32(h);
}

/* n elements of f16 or bf16 (or f32: a copy) to f32. */
static inline void lt_cpu_widen_f32(leat_dtype dtype, const void *from, float *to, size_t n)
{
    if (dtype == LEAT_DTYPE_F32) {
        memcpy(to, from, n * sizeof(*to));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = lt_cpu_get_f32(dtype, from, i);
    }
}

/* n elements of f32 to f16 or bf16 (or f32: a copy), rounded to nearest even. */
static inline void lt_cpu_narrow_f32(leat_dtype dtype, const float *from, void *to, size_t n)
{
    if (dtype == LEAT_DTYPE_F32) {
        memcpy(to, from, n * sizeof(*from));
        return;
    }
    uint16_t *half = to;
    for (size_t i = 0; i < n; i++) {
        half[i] = dtype == LEAT_DTYPE_F16 ? lt_f32_to_f16(from[i]) : lt_f32_to_bf16(from[i]);
    }
}

#endif

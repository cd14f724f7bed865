/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/half.h"

const lt_half_kernels *lt_half_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return &lt_half_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return &lt_half_avx2;
    }
#endif
    (void)device;
    return &lt_half_portable;
}

#define STEP 1
static inline void widen_step(const uint16_t *x, float *y)
{
    uint16_t h;
    memcpy(&h, x, sizeof(h));
    *y = lt_f16_to_f32(h);
}

static inline void narrow_step(const float *x, uint16_t *y)
{
    *y = lt_f32_to_f16(*x);
}

#define TABLE lt_half_portable
#include "elementwise/half_kernel.inc"

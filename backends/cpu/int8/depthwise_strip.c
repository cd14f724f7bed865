/* SPDX-License-Identifier: Apache-2.0 */
#include "int8/depthwise.h"
#include "int8/finish.h"

#define KERNELS lt_cpu_depthwise_u8s32_16_portable
#define NAME "depthwise_u8s32_16_portable"
#define FINISH lt_int8_finish_portable
#define VECTOR four
#define LANES 1
#define GROUP 1
#define TILES(X) X(1) X(2)

typedef struct four {
    int32_t x[4];
} four;

static inline __attribute__((always_inline)) four load(const four *from)
{
    return *from;
}

static inline __attribute__((always_inline)) void store(four *to, four x)
{
    *to = x;
}

static inline __attribute__((always_inline)) void combine(const uint8_t *const at[GROUP],
                                                          uint32_t n, const bool whole, four *to)
{
    for (uint32_t i = 0; i < 16; i++) {
        to[i / 4].x[i % 4] = whole || i < n ? at[0][i] : 0;
    }
}

static inline __attribute__((always_inline)) four multiply_add(four sum, four x, four w)
{
    for (int i = 0; i < 4; i++) {
        sum.x[i] = (int32_t)((uint32_t)sum.x[i] + (uint32_t)(x.x[i] * w.x[i]));
    }
    return sum;
}

static inline __attribute__((always_inline)) void store_bytes(const lt_int8_depthwise_strip *s,
                                                              const lt_int8_epilogue *e,
                                                              const four sum[4], uint8_t *c)
{
    for (uint32_t i = 0; i < s->tile.n; i++) {
        float x = (float)sum[i / 4].x[i % 4] * s->scale[i] + s->bias[i];
        c[i] = (uint8_t)((int32_t)lt_int8_round(x, e->low, e->high) + e->zero);
    }
}

#include "int8/depthwise_strip.inc"

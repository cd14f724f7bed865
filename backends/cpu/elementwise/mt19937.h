/* SPDX-License-Identifier: Apache-2.0 */
/* The Mersenne Twister (M. Matsumoto and T. Nishimura, ACM TOMACS 8, 1998), 53-bit doubles from two
 * words: the sequence that ONNX's reference (numpy's RandomState) draws Dropout masks from. */
#ifndef LT_CPU_MT19937_H
#define LT_CPU_MT19937_H

#include <stdint.h>

typedef struct lt_mt19937 {
    uint32_t state[624];
    uint32_t at;
} lt_mt19937;

static inline void lt_mt19937_seed(lt_mt19937 *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < 624; i++) {
        r->state[i] = 1812433253u * (r->state[i - 1] ^ r->state[i - 1] >> 30) + i;
    }
    r->at = 624;
}

static inline uint32_t lt_mt19937_next(lt_mt19937 *r)
{
    if (r->at == 624) {
        for (uint32_t i = 0; i < 624; i++) {
            uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % 624] & 0x7fffffffu);
            r->state[i] = r->state[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        r->at = 0;
    }
    uint32_t y = r->state[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* A number in [0, 1). */
static inline double lt_mt19937_uniform(lt_mt19937 *r)
{
    uint32_t high = lt_mt19937_next(r) >> 5, low = lt_mt19937_next(r) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

#endif

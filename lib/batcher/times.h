/* SPDX-License-Identifier: Apache-2.0 */
/* Counting in histograms by powers of two. */
#ifndef LT_BATCHER_TIMES_H
#define LT_BATCHER_TIMES_H

#include <leat/batcher.h>

/* Significant bits: i such that 2^i is the least power of two that is not less than n + 1. */
static inline uint32_t lt_bits(uint64_t n)
{
    return n == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(n);
}

/* Counts a time. */
static inline void lt_time_count(leat_time_histogram *h, uint64_t ns)
{
    const uint32_t i = lt_bits((ns > 0 ? ns - 1 : 0) / 1000);
    h->counts[i < LEAT_TIME_BUCKETS ? i : LEAT_TIME_BUCKETS - 1]++;
    h->total_ns += ns;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

uint64_t lt_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct timespec lt_clock_limit(uint64_t timeout_ns)
{
    struct timespec limit;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    const uint64_t ns = (uint64_t)limit.tv_nsec + timeout_ns % 1000000000u;
    limit.tv_sec += (time_t)(timeout_ns / 1000000000u + ns / 1000000000u);
    limit.tv_nsec = (long)(ns % 1000000000u);
    return limit;
}

void lt_clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_BASE_CLOCK_H
#define LT_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Monotonic time in nanoseconds from an arbitrary start. */
uint64_t lt_clock_ns(void);

/* The time timeout_ns from now, for pthread_cond_timedwait on a condition of lt_clock_cond_init. */
struct timespec lt_clock_limit(uint64_t timeout_ns);

/* A condition whose timed waits go by this clock. */
void lt_clock_cond_init(pthread_cond_t *cond);

#endif

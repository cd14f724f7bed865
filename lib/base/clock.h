/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_BASE_CLOCK_H
#define LT_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic time in nanoseconds from an arbitrary start. */
uint64_t lt_clock_ns(void);

#endif

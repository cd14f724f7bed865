/* SPDX-License-Identifier: Apache-2.0 */
#include "base/placement.h"

#include "base/clock.h"

#define LINE 64
#define PASSES 6 /* after one that brings the data */

static uint64_t read_lines(const char *data, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i + LINE <= bytes; i += LINE) {
        sum += *(const uint64_t *)(const void *)(data + i);
    }
    return sum;
}

uint64_t lt_placement_time(void *user, const char *data, size_t bytes)
{
    volatile uint64_t sum = read_lines(data, bytes); /* so that the reading is done */
    uint64_t least = UINT64_MAX;
    (void)user;
    for (int pass = 0; pass < PASSES; pass++) {
        const uint64_t start = lt_clock_ns();
        sum = read_lines(data, bytes);
        const uint64_t taken = lt_clock_ns() - start;
        least = taken < least ? taken : least;
    }
    (void)sum;
    return least;
}

size_t lt_placement_best(const char *block, size_t bytes, size_t window, size_t step,
                         lt_placement_time_fn time, void *user)
{
    size_t best = 0;
    uint64_t least = UINT64_MAX;
    for (size_t at = 0; window <= bytes && at <= bytes - window; at += step) {
        const uint64_t taken = time(user, block + at, window);
        if (taken < least) {
            least = taken;
            best = at;
        }
    }
    return best;
}

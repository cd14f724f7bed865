/* SPDX-License-Identifier: Apache-2.0 */
/* Where to put data that is to stay in the second-level cache.
 *
 * That cache finds its sets by physical addresses. Pages that the system, or the host of a virtual
 * machine, has picked at random do not fill the sets evenly: of 192 pages in 16 ways of 16 colours
 * (768 KB of 1 MiB), a tenth of the colours gets more than 16, and what is read in turn then misses
 * with all pages of such a colour. Nothing tells the colours, but the time of reading does. */
#ifndef LT_BASE_PLACEMENT_H
#define LT_BASE_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

/* How long it takes to read [data, data + bytes) from end to end, again and again. */
typedef uint64_t (*lt_placement_time_fn)(void *user, const char *data, size_t bytes);

/* The time in nanoseconds of the quickest of a few passes; `user` is not used. */
uint64_t lt_placement_time(void *user, const char *data, size_t bytes);

/* The offset of the window of `window` bytes, of those at multiples of `step` in `block`, that
 * time(user, ...) says the least of: the first of equals. All of `block` has been written.
 * window is at most bytes, step not 0. */
size_t lt_placement_best(const char *block, size_t bytes, size_t window, size_t step,
                         lt_placement_time_fn time, void *user);

#endif

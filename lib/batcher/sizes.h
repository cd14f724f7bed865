/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows runs have: devices other than the CPU make a plan and a graph for each number. */
#ifndef LT_BATCHER_SIZES_H
#define LT_BATCHER_SIZES_H

#include <leat/leat.h>
#include <stdbool.h>
#include <string.h>

static inline bool lt_is_cpu(const char *device)
{
    return strcmp(device, "cpu") == 0;
}

/* Whether sessions run on the CPU alone. */
static inline bool lt_on_cpu(const leat_session_desc *session)
{
    return session == NULL || session->n_devices == 0 ||
           (session->n_devices == 1 && lt_is_cpu(session->devices[0]));
}

/* The least of 1, 2, 3, 4, 6, 8, 12, ... that is not less than n; max at most. */
static inline uint32_t lt_stepped_size(uint32_t n, uint32_t max)
{
    uint32_t size = 1;
    while (size < n) {
        size *= 2;
    }
    const uint32_t between = size / 4 * 3; /* of the half and the whole */
    size = size >= 4 && n <= between ? between : size;
    return size < max ? size : max;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Places blocks with known lifetimes in one buffer. */
#ifndef LT_RUNTIME_MEMORY_PLAN_H
#define LT_RUNTIME_MEMORY_PLAN_H

#include "base/memory.h"

/* A block that is in use from time `first` to time `last`, both included. */
typedef struct lt_memory_item {
    size_t bytes;
    uint32_t first;
    uint32_t last;
    size_t offset; /* result, a multiple of LT_ALIGNMENT */
} lt_memory_item;

/* Gives every item an offset such that items whose times overlap do not share bytes: the largest
 * first, each into the smallest gap that holds it.
 * Owns:     scratch memory comes from `scratch`.
 * Errors:   NO_MEMORY; LIMIT when the sum overflows. */
leat_status lt_memory_plan(lt_memory_item *items, size_t n_items, lt_arena *scratch,
                           size_t *out_total_bytes, leat_error *err) LEAT_MUST_CHECK;

#endif

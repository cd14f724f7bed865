/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/memory_plan.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static int larger_first(const void *a, const void *b)
{
    const lt_memory_item *left = *(lt_memory_item *const *)a;
    const lt_memory_item *right = *(lt_memory_item *const *)b;
    if (left->bytes != right->bytes) {
        return left->bytes > right->bytes ? -1 : 1;
    }
    return left < right ? -1 : 1; /* the same result everywhere */
}

/* Offset of the smallest gap between placed items that are alive together with `item`; behind all
 * of them when no gap holds it. `placed` is sorted by offset. */
static bool find_offset(lt_memory_item *const *placed, size_t n_placed, const lt_memory_item *item,
                        size_t *out_offset)
{
    size_t end = 0; /* where the items seen so far end */
    size_t best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < n_placed; i++) {
        const lt_memory_item *other = placed[i];
        if (other->first > item->last || other->last < item->first) {
            continue;
        }
        if (other->offset > end && other->offset - end >= item->bytes &&
            other->offset - end < best_gap) {
            best = end;
            best_gap = other->offset - end;
        }
        size_t after;
        if (!lt_align_up(other->offset + other->bytes, LT_ALIGNMENT, &after)) {
            return false;
        }
        end = after > end ? after : end;
    }
    *out_offset = best != SIZE_MAX ? best : end;
    return true;
}

static void insert(lt_memory_item **placed, size_t n_placed, lt_memory_item *item)
{
    size_t at = n_placed;
    while (at > 0 && placed[at - 1]->offset > item->offset) {
        at--;
    }
    memmove(&placed[at + 1], &placed[at], (n_placed - at) * sizeof(*placed));
    placed[at] = item;
}

leat_status lt_memory_plan(lt_memory_item *items, size_t n_items, lt_arena *scratch,
                           size_t *out_total_bytes, leat_error *err)
{
    *out_total_bytes = 0;
    lt_memory_item **order = lt_arena_array(scratch, n_items, sizeof(*order));
    lt_memory_item **placed = lt_arena_array(scratch, n_items + 1, sizeof(*placed));
    if (order == NULL || placed == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan memory");
    }
    size_t n_order = 0;
    for (size_t i = 0; i < n_items; i++) {
        items[i].offset = 0;
        if (items[i].bytes != 0) {
            order[n_order++] = &items[i];
        }
    }
    qsort(order, n_order, sizeof(*order), larger_first);
    size_t total = 0;
    for (size_t i = 0; i < n_order; i++) {
        lt_memory_item *item = order[i];
        size_t end;
        if (!find_offset(placed, i, item, &item->offset) ||
            !lt_add(item->offset, item->bytes, &end) || end > SIZE_MAX / 2) {
            return lt_fail(err, LEAT_LIMIT, "intermediate values exceed the address space");
        }
        insert(placed, i, item);
        total = end > total ? end : total;
    }
    *out_total_bytes = total;
    return LEAT_OK;
}

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

/* Placed items by time: time is cut into slices, and each has a list of the items that are in use
 * in it. An item meets those of its own slices alone, which are few where values are short-lived,
 * as they are in long chains. */
#define MOST_SLICES 128u

typedef struct link {
    const lt_memory_item *item;
    uint32_t next; /* link + 1; 0: none */
} link;

typedef struct slices {
    uint32_t heads[MOST_SLICES]; /* link + 1; 0: none */
    uint64_t times;              /* of one slice */
    link *links;
    uint32_t n_links;
    const lt_memory_item **near; /* those that an item meets */
} slices;

static uint32_t slice_of(const slices *s, uint32_t time)
{
    return (uint32_t)(time / s->times);
}

/* Room for all items in the slices of their times. */
static bool make_slices(slices *s, const lt_memory_item *items, size_t n_items, lt_arena *scratch)
{
    uint64_t end = 0, n_links = 0;
    for (size_t i = 0; i < n_items; i++) {
        end = items[i].last > end ? items[i].last : end;
    }
    memset(s->heads, 0, sizeof(s->heads));
    s->times = end / MOST_SLICES + 1;
    s->n_links = 0;
    for (size_t i = 0; i < n_items; i++) {
        n_links += slice_of(s, items[i].last) - slice_of(s, items[i].first) + 1;
    }
    s->links = n_links < UINT32_MAX ? lt_arena_array(scratch, n_links + 1, sizeof(link)) : NULL;
    s->near = lt_arena_array(scratch, n_items + 1, sizeof(*s->near));
    return s->links != NULL && s->near != NULL;
}

static void place(slices *s, const lt_memory_item *item)
{
    uint32_t last = slice_of(s, item->last);
    for (uint32_t k = slice_of(s, item->first); k <= last; k++) {
        s->links[s->n_links] = (link){item, s->heads[k]};
        s->heads[k] = ++s->n_links;
    }
}

static int by_offset(const void *a, const void *b)
{
    const lt_memory_item *left = *(const lt_memory_item *const *)a;
    const lt_memory_item *right = *(const lt_memory_item *const *)b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* Most lists are short. */
static void sort_near(const lt_memory_item **near, size_t n)
{
    if (n > 48) {
        qsort(near, n, sizeof(*near), by_offset);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const lt_memory_item *item = near[i];
        size_t to = i;
        for (; to > 0 && near[to - 1]->offset > item->offset; to--) {
            near[to] = near[to - 1];
        }
        near[to] = item;
    }
}

/* Lists in s->near the placed items that are alive together with `item`, by offset. */
static size_t find_near(slices *s, const lt_memory_item *item)
{
    size_t n = 0;
    uint32_t first = slice_of(s, item->first), last = slice_of(s, item->last);
    for (uint32_t k = first; k <= last; k++) {
        for (uint32_t l = s->heads[k]; l != 0; l = s->links[l - 1].next) {
            const lt_memory_item *other = s->links[l - 1].item;
            /* One that is in several slices counts in the first that both are in. */
            uint32_t begin = slice_of(s, other->first);
            if (other->first <= item->last && other->last >= item->first &&
                k == (begin > first ? begin : first)) {
                s->near[n++] = other;
            }
        }
    }
    sort_near(s->near, n);
    return n;
}

/* Offset of the smallest gap between placed items that are alive together with `item`; behind all
 * of them when no gap holds it. */
static bool find_offset(slices *s, const lt_memory_item *item, size_t *out_offset)
{
    size_t end = 0; /* where the items seen so far end */
    size_t best = SIZE_MAX, best_gap = SIZE_MAX;
    size_t n = find_near(s, item);
    for (size_t i = 0; i < n; i++) {
        const lt_memory_item *other = s->near[i];
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

leat_status lt_memory_plan(lt_memory_item *items, size_t n_items, lt_arena *scratch,
                           size_t *out_total_bytes, leat_error *err)
{
    *out_total_bytes = 0;
    lt_memory_item **order = lt_arena_array(scratch, n_items, sizeof(*order));
    slices s;
    if (order == NULL || !make_slices(&s, items, n_items, scratch)) {
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
        if (!find_offset(&s, item, &item->offset) || !lt_add(item->offset, item->bytes, &end) ||
            end > SIZE_MAX / 2) {
            return lt_fail(err, LEAT_LIMIT, "intermediate values exceed the address space");
        }
        place(&s, item);
        total = end > total ? end : total;
    }
    *out_total_bytes = total;
    return LEAT_OK;
}

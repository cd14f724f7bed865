/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive pairing heap (Fredman, Sedgewick, Sleator and Tarjan, Algorithmica 1, 1986): push
 * and look O(1), pop and remove O(log n) amortized, no memory of its own. */
#ifndef LT_BATCHER_HEAP_H
#define LT_BATCHER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* Lies in what is ordered: by `due`, then by `order`, which is different for all. */
typedef struct lt_heap_node lt_heap_node;
struct lt_heap_node {
    uint64_t due;
    uint64_t order;
    lt_heap_node *child;
    lt_heap_node *next;     /* sibling */
    lt_heap_node *previous; /* sibling, or the parent of a first child; NULL: the root */
};

typedef struct lt_heap {
    lt_heap_node *root; /* the least; NULL: empty */
} lt_heap;

static inline bool lt_heap_before(const lt_heap_node *a, const lt_heap_node *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

void lt_heap_push(lt_heap *heap, lt_heap_node *node);
/* Takes the least out; the heap must not be empty. */
lt_heap_node *lt_heap_pop(lt_heap *heap);
/* Takes out a node that is in the heap. */
void lt_heap_remove(lt_heap *heap, lt_heap_node *node);

#endif

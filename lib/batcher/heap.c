/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/heap.h"

#include <stddef.h>

/* One tree of two roots without siblings; either may be NULL. */
static lt_heap_node *join(lt_heap_node *a, lt_heap_node *b)
{
    if (a == NULL || b == NULL) {
        return a ? a : b;
    }
    lt_heap_node *parent = lt_heap_before(b, a) ? b : a;
    lt_heap_node *child = parent == a ? b : a;
    child->next = parent->child;
    if (child->next != NULL) {
        child->next->previous = child;
    }
    child->previous = parent;
    parent->child = child;
    return parent;
}

/* One tree of a list of siblings: pairs from the left, then all from the right. */
static lt_heap_node *join_siblings(lt_heap_node *first)
{
    lt_heap_node *pairs = NULL; /* the last pair first, by next */
    while (first != NULL) {
        lt_heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->previous = NULL;
        if (b != NULL) {
            b->next = b->previous = NULL;
        }
        a = join(a, b);
        a->next = pairs;
        pairs = a;
    }
    lt_heap_node *root = NULL;
    while (pairs != NULL) {
        lt_heap_node *rest = pairs->next;
        pairs->next = NULL;
        root = join(root, pairs);
        pairs = rest;
    }
    return root;
}

void lt_heap_push(lt_heap *heap, lt_heap_node *node)
{
    node->child = node->next = node->previous = NULL;
    heap->root = join(heap->root, node);
}

lt_heap_node *lt_heap_pop(lt_heap *heap)
{
    lt_heap_node *least = heap->root;
    heap->root = join_siblings(least->child);
    least->child = NULL;
    return least;
}

void lt_heap_remove(lt_heap *heap, lt_heap_node *node)
{
    if (node == heap->root) {
        (void)lt_heap_pop(heap);
        return;
    }
    if (node->previous->child == node) {
        node->previous->child = node->next;
    } else {
        node->previous->next = node->next;
    }
    if (node->next != NULL) {
        node->next->previous = node->previous;
    }
    node->next = node->previous = NULL;
    heap->root = join(heap->root, join_siblings(node->child));
    node->child = NULL;
}

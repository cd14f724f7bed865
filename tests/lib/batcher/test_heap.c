/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "batcher/heap.h"

#include <stdlib.h>

enum {
    N = 500
};

static uint32_t seed = 1;

static uint32_t next(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* The least of those that are in. */
static int least(const lt_heap_node *nodes, const int *in)
{
    int best = -1;
    for (int i = 0; i < N; i++) {
        if (in[i] && (best < 0 || lt_heap_before(&nodes[i], &nodes[best]))) {
            best = i;
        }
    }
    return best;
}

/* Pushes, pops and removals in a random order: the root is always the least. */
static void random_operations_keep_the_least_on_top(void **state)
{
    (void)state;
    static lt_heap_node nodes[N];
    static int in[N];
    lt_heap heap = {NULL};
    for (int step = 0; step < 20000; step++) {
        int i = (int)(next() % N);
        if (!in[i]) {
            nodes[i].due = next() % 40; /* many alike */
            nodes[i].order = (uint64_t)step;
            lt_heap_push(&heap, &nodes[i]);
            in[i] = 1;
        } else if (next() % 2) {
            lt_heap_remove(&heap, &nodes[i]);
            in[i] = 0;
        } else {
            int expected = least(nodes, in);
            assert_ptr_equal(lt_heap_pop(&heap), &nodes[expected]);
            in[expected] = 0;
        }
        int top = least(nodes, in);
        assert_ptr_equal(heap.root, top < 0 ? NULL : &nodes[top]);
    }
    for (int i; (i = least(nodes, in)) >= 0; in[i] = 0) {
        assert_ptr_equal(lt_heap_pop(&heap), &nodes[i]);
    }
    assert_null(heap.root);
}

/* What is alike comes out in the order in which it went in. */
static void equal_due_times_keep_their_order(void **state)
{
    (void)state;
    static lt_heap_node nodes[N];
    lt_heap heap = {NULL};
    for (int i = 0; i < N; i++) {
        nodes[i] = (lt_heap_node){.due = 7, .order = (uint64_t)i};
        lt_heap_push(&heap, &nodes[i]);
    }
    for (int i = 0; i < N; i++) {
        assert_ptr_equal(lt_heap_pop(&heap), &nodes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_keep_the_least_on_top),
        cmocka_unit_test(equal_due_times_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "runtime/memory_plan.h"
#include "support/oracle.h"

static size_t plan(lt_memory_item *items, size_t count)
{
    lt_memory memory;
    lt_arena arena;
    leat_error err = {0};
    size_t total = 0;
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    assert_ok(lt_memory_plan(items, count, &arena, &total, &err), &err);
    lt_arena_destroy(&arena);
    return total;
}

static void assert_no_overlap(const lt_memory_item *items, size_t count, size_t total)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(items[i].offset % LT_ALIGNMENT, 0);
        assert_true(items[i].offset + items[i].bytes <= total);
        for (size_t k = 0; k < i; k++) {
            bool together = items[i].first <= items[k].last && items[k].first <= items[i].last;
            bool share = items[i].offset < items[k].offset + items[k].bytes &&
                         items[k].offset < items[i].offset + items[i].bytes;
            assert_false(together && share);
        }
    }
}

static void plan_chain_uses_two_blocks(void **state)
{
    (void)state;
    lt_memory_item items[10];
    for (uint32_t i = 0; i < 10; i++) {
        items[i] = (lt_memory_item){1024, i, i + 1, 0};
    }
    size_t total = plan(items, 10);
    assert_no_overlap(items, 10, total);
    assert_int_equal(total, 2048);
}

static void plan_gap_takes_the_smallest_that_fits(void **state)
{
    (void)state;
    /* 0: big; 1 and 2 leave gaps of 256 and 128 beside it when they are gone. */
    lt_memory_item items[] = {
        {1024, 0, 9, 0}, {256, 0, 1, 0}, {512, 0, 9, 0}, {128, 0, 1, 0}, {128, 2, 9, 0},
    };
    size_t total = plan(items, 5);
    assert_no_overlap(items, 5, total);
    assert_int_equal(total, 1024 + 256 + 512 + 128);
}

static void plan_no_items_needs_nothing(void **state)
{
    (void)state;
    assert_int_equal(plan(NULL, 0), 0);
    lt_memory_item empty = {0, 0, 5, 77};
    assert_int_equal(plan(&empty, 1), 0);
    assert_int_equal(empty.offset, 0);
}

static void plan_random_items_never_overlap(void **state)
{
    (void)state;
    enum {
        N = 300
    };
    static lt_memory_item items[N];
    uint64_t seed = 5;
    size_t sum = 0;
    for (size_t i = 0; i < N; i++) {
        uint32_t first = (uint32_t)(oracle_random(&seed) * 100);
        items[i].bytes = (size_t)(oracle_random(&seed) * 5000);
        items[i].first = first;
        items[i].last = first + (uint32_t)(oracle_random(&seed) * 8);
        sum += items[i].bytes;
    }
    size_t total = plan(items, N);
    assert_no_overlap(items, N, total);
    assert_true(total < sum / 4);
}

/* The same offsets as looking at all pairs gives: the largest first, ties in the order of the list,
 * each into the smallest gap. */
static void plan_equals_a_search_of_all_pairs(void **state)
{
    enum {
        N = 120
    };
    static lt_memory_item items[N], wanted[N];
    static bool placed[N];
    uint64_t seed = 11;
    (void)state;
    for (int round = 0; round < 12; round++) {
        uint32_t times = round % 3 == 0 ? 40 : round % 3 == 1 ? 1000 : 100000;
        uint32_t most = round < 6 ? 5 : times;
        for (size_t i = 0; i < N; i++) {
            uint32_t first = (uint32_t)(oracle_random(&seed) * times);
            items[i] = (lt_memory_item){(size_t)(oracle_random(&seed) * 40) * 64, first,
                                        first + (uint32_t)(oracle_random(&seed) * most), 0};
            wanted[i] = items[i];
            placed[i] = false;
        }
        for (size_t n = 0; n < N; n++) {
            size_t at = N;
            for (size_t i = 0; i < N; i++) {
                if (!placed[i] && (at == N || wanted[i].bytes > wanted[at].bytes)) {
                    at = i;
                }
            }
            /* All ends of others are the offsets to try; the gap ends at the next one's begin. */
            lt_memory_item *item = &wanted[at];
            size_t best = SIZE_MAX, best_gap = SIZE_MAX, behind = 0;
            for (size_t e = 0; e <= N && item->bytes != 0; e++) {
                size_t from = 0, to = SIZE_MAX;
                if (e < N) {
                    from = wanted[e].offset + wanted[e].bytes;
                }
                bool taken =
                    e < N && (!placed[e] || wanted[e].bytes == 0 || wanted[e].first > item->last ||
                              wanted[e].last < item->first);
                for (size_t k = 0; k < N && !taken; k++) {
                    const lt_memory_item *o = &wanted[k];
                    if (placed[k] && o->bytes != 0 && o->first <= item->last &&
                        o->last >= item->first) {
                        taken = o->offset <= from && from < o->offset + o->bytes;
                        to = o->offset >= from && o->offset < to ? o->offset : to;
                        behind = o->offset + o->bytes > behind ? o->offset + o->bytes : behind;
                    }
                }
                bool smaller = to - from < best_gap || (to - from == best_gap && from < best);
                if (!taken && to != SIZE_MAX && to - from >= item->bytes && smaller) {
                    best = from;
                    best_gap = to - from;
                }
            }
            item->offset = best != SIZE_MAX ? best : behind;
            placed[at] = true;
        }
        assert_no_overlap(items, 0, plan(items, N));
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(items[i].offset, wanted[i].offset);
        }
    }
}

static void plan_overflow_returns_limit(void **state)
{
    (void)state;
    lt_memory memory;
    lt_arena arena;
    leat_error err = {0};
    size_t total = 1;
    lt_memory_item items[] = {{SIZE_MAX / 2, 0, 1, 0}, {SIZE_MAX / 2, 0, 1, 0}};
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    assert_int_equal(lt_memory_plan(items, 2, &arena, &total, &err), LEAT_LIMIT);
    assert_int_equal(total, 0);
    lt_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_chain_uses_two_blocks),
        cmocka_unit_test(plan_gap_takes_the_smallest_that_fits),
        cmocka_unit_test(plan_no_items_needs_nothing),
        cmocka_unit_test(plan_random_items_never_overlap),
        cmocka_unit_test(plan_equals_a_search_of_all_pairs),
        cmocka_unit_test(plan_overflow_returns_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

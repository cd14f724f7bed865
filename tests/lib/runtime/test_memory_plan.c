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
        cmocka_unit_test(plan_overflow_returns_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

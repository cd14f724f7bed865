/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c, tensor.c, error.c. */
#include "support/test.h"

#include "base/error.h"
#include "base/tensor.h"

#include <stdlib.h>
#include <string.h>

static void budget_bounds_what_is_live(void **state)
{
    lt_memory memory;
    (void)state;
    lt_memory_init(&memory, NULL, 1000);
    void *a = lt_alloc(&memory, 600, 64);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_null(lt_alloc(&memory, 600, 16));
    assert_null(lt_alloc(&memory, SIZE_MAX, 16));
    lt_free(&memory, a, 600);
    a = lt_alloc(&memory, 1000, 16);
    assert_non_null(a);
    assert_int_equal(memory.live_bytes, 1000);
    assert_int_equal(memory.peak_bytes, 1000);
    lt_free(&memory, a, 1000);
    assert_int_equal(memory.live_bytes, 0);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.allocations, 2);
}

static void arena_aligns_and_zeroes(void **state)
{
    lt_memory memory;
    lt_arena arena;
    (void)state;
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 256);
    for (size_t i = 1; i < 2000; i = i * 2 + 1) {
        unsigned char *block = lt_arena_alloc(&arena, i, 64);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_equal(block[j], 0);
        }
        memset(block, 0xff, i);
    }
    assert_null(lt_arena_array(&arena, SIZE_MAX / 2, 16));
    assert_null(lt_arena_alloc(&arena, SIZE_MAX - 8, 64));
    assert_string_equal(lt_arena_string_n(&arena, "abcdef", 3), "abc");
    lt_arena_destroy(&arena);
    assert_int_equal(memory.live_blocks, 0);
}

static void shape_bytes_catches_overflow_and_packs(void **state)
{
    int64_t huge[] = {INT64_MAX, 4}, odd[] = {3, 3}, negative[] = {2, -1}, empty[] = {1ll << 60, 0};
    int64_t wide[] = {0, 1ll << 62, 3}; /* its strides would overflow */
    size_t bytes;
    (void)state;
    assert_false(lt_shape_bytes(LEAT_DTYPE_F32, 2, huge, &bytes));
    assert_false(lt_shape_bytes(LEAT_DTYPE_F32, 2, negative, &bytes));
    assert_false(lt_shape_bytes(LEAT_DTYPE_UNDEFINED, 2, odd, &bytes));
    assert_true(lt_shape_bytes(LEAT_DTYPE_F32, 2, empty, &bytes) && bytes == 0);
    assert_false(lt_shape_bytes(LEAT_DTYPE_F64, 2, empty, &bytes)); /* in bytes */
    assert_false(lt_shape_bytes(LEAT_DTYPE_U8, 3, wide, &bytes));
    assert_false(lt_shape_count(3, wide, &bytes));
    assert_true(lt_shape_count(2, empty, &bytes) && bytes == 0);
    assert_true(lt_shape_bytes(LEAT_DTYPE_I4, 2, odd, &bytes) && bytes == 5);
    assert_true(lt_shape_bytes(LEAT_DTYPE_U2, 2, odd, &bytes) && bytes == 3);
    assert_true(lt_shape_bytes(LEAT_DTYPE_C128, 2, odd, &bytes) && bytes == 144);
    assert_true(lt_shape_bytes(LEAT_DTYPE_F64, 0, NULL, &bytes) && bytes == 8);
}

static void dtype_names_go_both_ways(void **state)
{
    (void)state;
    for (int i = 1; i < LEAT_DTYPE_COUNT; i++) {
        assert_int_equal(lt_dtype_from_name(leat_dtype_name((leat_dtype)i)), i);
        assert_true(lt_dtype_bits((leat_dtype)i) != 0);
    }
    assert_string_equal(leat_dtype_name((leat_dtype)99), "undefined");
    assert_int_equal(lt_dtype_from_name("f33"), LEAT_DTYPE_UNDEFINED);
}

static void fail_within_puts_context_in_front(void **state)
{
    leat_error err = {0};
    char shape[12];
    int64_t dims[] = {1, -1, 1000000, 7};
    (void)state;
    assert_int_equal(lt_fail(&err, LEAT_IO, "inner %d", 7), LEAT_IO);
    assert_int_equal(lt_fail_within(&err, LEAT_CORRUPT, "outer"), LEAT_CORRUPT);
    assert_string_equal(err.message, "outer: inner 7");
    assert_int_equal(lt_fail(NULL, LEAT_IO, "x"), LEAT_IO);
    lt_shape_text(4, dims, shape, sizeof(shape));
    assert_string_equal(shape, "1x?x1000000");
    for (int s = LEAT_OK; s <= LEAT_EXPIRED; s++) {
        assert_string_not_equal(leat_status_text((leat_status)s), "unknown status");
    }
    assert_string_equal(leat_status_text((leat_status)99), "unknown status");
}

/* Only the first bytes of whole large pages are written. */
static void touch_large_keeps_what_is_beside(void **state)
{
    (void)state;
    const size_t page = (size_t)2 << 20, bytes = 4 * page + 8191;
    unsigned char *block = malloc(bytes);
    assert_non_null(block);
    for (size_t begin = 0; begin < 2 * page; begin += page - 4097) {
        memset(block, 0xa5, bytes);
        lt_memory_touch_large(block + begin, bytes - 2 * begin);
        lt_memory_touch_large(block + begin, page - 1);
        for (size_t i = 0; i < bytes; i++) {
            bool whole = (uintptr_t)(block + i) % page == 0 && i >= begin &&
                         bytes - begin >= begin && i + page <= bytes - begin;
            if (block[i] != 0xa5 && (!whole || block[i] != 0)) {
                fail_msg("byte %zu of a block from %zu", i, begin);
            }
        }
    }
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touch_large_keeps_what_is_beside),
        cmocka_unit_test(budget_bounds_what_is_live),
        cmocka_unit_test(arena_aligns_and_zeroes),
        cmocka_unit_test(shape_bytes_catches_overflow_and_packs),
        cmocka_unit_test(dtype_names_go_both_ways),
        cmocka_unit_test(fail_within_puts_context_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

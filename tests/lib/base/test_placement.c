/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/placement.h"

#include <string.h>

#define BYTES 4096u

/* Stands for the clock: a window costs what its first byte says. */
static uint64_t first_byte(void *user, const char *data, size_t bytes)
{
    size_t *asked = user;
    (*asked)++;
    assert_int_equal(bytes, 1024);
    return (uint64_t)(unsigned char)data[0];
}

static size_t best_of(const char *costs, size_t n, size_t *out_asked)
{
    static char block[BYTES];
    memset(block, 100, sizeof(block));
    for (size_t i = 0; i < n; i++) {
        block[i * 512] = costs[i];
    }
    *out_asked = 0;
    return lt_placement_best(block, sizeof(block), 1024, 512, first_byte, out_asked);
}

static void best_is_the_quickest_window(void **state)
{
    (void)state;
    size_t asked;
    assert_int_equal(best_of("\5\4\3\2\3\4\5", 7, &asked), 3 * 512);
    assert_int_equal(asked, 7);
    assert_int_equal(best_of("\5\4\3\2\3\4\1", 7, &asked), 6 * 512);
    assert_int_equal(best_of("\1\4\3\2\3\4\5", 7, &asked), 0);
}

static void best_of_equals_is_the_first(void **state)
{
    (void)state;
    size_t asked;
    assert_int_equal(best_of("\5\2\3\2\3\2\5", 7, &asked), 512);
}

/* What would begin at 3584 ends behind the block, however quick. */
static void best_stays_within_the_block(void **state)
{
    (void)state;
    size_t asked;
    assert_int_equal(best_of("\5\4\3\2\3\4\5\1", 8, &asked), 3 * 512);
    assert_int_equal(asked, 7);
}

static void best_of_a_window_as_large_as_the_block_is_0(void **state)
{
    (void)state;
    static const char block[1024];
    size_t asked = 0;
    assert_int_equal(lt_placement_best(block, 1024, 1024, 512, first_byte, &asked), 0);
    assert_int_equal(asked, 1);
}

static void time_reads_without_writing(void **state)
{
    (void)state;
    char block[BYTES], before[BYTES];
    for (size_t i = 0; i < BYTES; i++) {
        block[i] = (char)(i * 7);
    }
    memcpy(before, block, BYTES);
    assert_true(lt_placement_time(NULL, block, BYTES) < UINT64_MAX);
    assert_memory_equal(block, before, BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_is_the_quickest_window),
        cmocka_unit_test(best_of_equals_is_the_first),
        cmocka_unit_test(best_stays_within_the_block),
        cmocka_unit_test(best_of_a_window_as_large_as_the_block_is_0),
        cmocka_unit_test(time_reads_without_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

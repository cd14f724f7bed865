/* SPDX-License-Identifier: Apache-2.0 */
/* What batches that run at once cost: their share of the device's time. */
#include "bench.h"

#include "batcher/batcher.h"

static void time_is_shared_by_those_under_way(void **state)
{
    (void)state;
    lt_share s = {.at = 100};
    assert_true(lt_share_go_on(&s, 150, 0) == 0); /* nobody's */
    const double a = lt_share_go_on(&s, 150, 0);
    const double b = lt_share_go_on(&s, 154, 1);
    const double a_end = lt_share_go_on(&s, 162, 2);
    assert_true(lt_share_go_on(&s, 160, 2) == a_end); /* a clock read before: nothing */
    const double b_end = lt_share_go_on(&s, 166, 1);
    assert_true(a_end - a == 8 && b_end - b == 8);
}

/* What the lengths' choice knows of a run of so many rows, padded to a length's index. */
static float known(const bench *b, uint32_t index, uint32_t rows)
{
    const lt_buckets *pads = &b->batcher->pads;
    return pads->run_ns[index * (pads->max_rows + 1) + rows];
}

/* Instance 1 is the test's while instance 0 runs. */
static void a_batch_beside_another_costs_half(void **state)
{
    (void)state;
    static const int64_t lengths[] = {4, 8};
    bench *b = open_bench((leat_batcher_desc){.pad_dimension = "S",
                                              .pad_lengths = lengths,
                                              .n_pad_lengths = 2,
                                              .pad_buckets = 2,
                                              .max_batch_size = 2,
                                              .n_instances = 2,
                                              .timeout_ns = UINT64_MAX});
    leat_batcher *at = b->batcher;
    lt_instance *other = &at->instances[1];
    asked a;
    assert_ptr_equal(lt_batcher_take(at, other), other);
    b->cost_ns = 10 * MS;
    submit(b, &a, 1, 1, 3);
    b->now += 7 * MS; /* it waits: not its time */
    poll(b);
    assert_got(&a, LEAT_OK);
    assert_true(known(b, 0, 1) == 5 * MS);
    b->now += 3 * MS;
    lt_batcher_return_instance(at, other);
    b->now += 100 * MS; /* nobody's */
    lt_batcher_return_instance(at, lt_batcher_take(at, other));
    const lt_instance *own = lt_batcher_take(at, &at->instances[0]); /* it is the next to run */
    lt_batcher_return_instance(at, &at->instances[0]);
    assert_ptr_equal(own, at->idle);
    submit(b, &a, 1, 2, 7);
    poll(b);
    assert_got(&a, LEAT_OK);
    assert_true(known(b, 1, 2) == 10 * MS); /* alone */
    close_bench(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_shared_by_those_under_way),
        cmocka_unit_test(a_batch_beside_another_costs_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

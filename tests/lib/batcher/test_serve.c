/* SPDX-License-Identifier: Apache-2.0 */
/* Running a batch: what fails alone, where results go, sizes run ahead of traffic. */
#include "lib/batcher/bench.h"

static void bad_request_does_not_fail_its_neighbours(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 16});
    asked a[9];
    for (int i = 0; i < 9; i++) {
        submit(b, &a[i], (float)(i + 1), 1, WIDTH);
    }
    b->poison = 6;
    poll(b);
    for (int i = 0; i < 9; i++) {
        assert_got(&a[i], i == 5 ? LEAT_INVALID : LEAT_OK);
    }
    leat_batcher_stats stats = stats_of(b);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.succeeded, 8);
    assert_true(stats.bisected >= 3 && stats.bisected <= 4);
    assert_int_equal(poll(b), UINT64_MAX);
    close_bench(b);
}

static void lost_device_fails_the_batch_at_once(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[4];
    for (int i = 0; i < 4; i++) {
        submit(b, &a[i], (float)(i + 1), 1, WIDTH);
    }
    b->poison = 2;
    b->poison_status = LEAT_DEVICE_LOST;
    poll(b);
    assert_int_equal(b->n_runs, 1);
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_DEVICE_LOST);
    }
    close_bench(b);
}

static void results_without_memory_are_the_callbacks(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1 + i, WIDTH);
        desc.outputs = NULL;
        desc.n_outputs = 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    poll(b);
    for (int i = 0; i < 3; i++) { /* `completed` compared the numbers */
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].rows, 1 + i);
    }
    close_bench(b);
}

static void output_that_is_too_small_fails_its_request_alone(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[2];
    for (int i = 0; i < 2; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 2, WIDTH);
        a[i].y.bytes = i == 0 ? 8 : sizeof(a[i].out);
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    poll(b);
    assert_got(&a[0], LEAT_INVALID);
    assert_got(&a[1], LEAT_OK);
    close_bench(b);
}

static void warm_runs_every_size_and_measures_it(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 3};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 5, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a;
    leat_request_desc desc = ask(&a, 7, 1, WIDTH);
    b->cost_ns = 10 * MS;
    assert_ok(leat_batcher_warm(b->batcher, desc.inputs, 1, 0, &b->err), &b->err);
    int seen[6] = {0};
    for (int i = 0; i < b->n_runs; i++) {
        seen[b->rows[i]]++;
    }
    assert_true(seen[1] >= 3 && seen[3] >= 3 && seen[5] >= 3 && seen[2] + seen[4] == 0);
    desc.deadline_ns = 9 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 0;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    poll(b);
    assert_got(&a, LEAT_OK);
    assert_int_equal(stats_of(b).batches, 1); /* of requests only */
    assert_int_equal(leat_batcher_warm(b->batcher, desc.inputs, 2, 0, &b->err), LEAT_INVALID);
    b->poison = 7;
    assert_int_equal(leat_batcher_warm(b->batcher, desc.inputs, 1, 0, &b->err), LEAT_INVALID);
    close_bench(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_request_does_not_fail_its_neighbours),
        cmocka_unit_test(lost_device_fails_the_batch_at_once),
        cmocka_unit_test(results_without_memory_are_the_callbacks),
        cmocka_unit_test(output_that_is_too_small_fails_its_request_alone),
        cmocka_unit_test(warm_runs_every_size_and_measures_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

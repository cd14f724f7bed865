/* SPDX-License-Identifier: Apache-2.0 */
/* Which batch is begun when, by a clock that the test sets: deadlines, classes, holding, sizes. */
#include "lib/batcher/bench.h"

#include "batcher/batcher.h"

static void batches_go_by_deadline_then_by_arrival(void **state)
{
    (void)state;
    static const uint64_t deadlines[] = {0, 50, 20, 0, 30}; /* ms */
    static const float order[] = {3, 5, 2, 1, 4};
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[5];
    for (int i = 0; i < 5; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.deadline_ns = deadlines[i] * MS;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    for (int i = 0; i < 5; i++) {
        poll(b);
        assert_true(b->first[i] == order[i]);
    }
    close_bench(b);
}

/* A request of a low class goes behind a high one's, but not behind those that come after its
 * max_wait less theirs has passed. */
static void low_classes_wait_but_not_for_ever(void **state)
{
    (void)state;
    bench *b =
        open_bench((leat_batcher_desc){.max_batch_size = 1, .max_wait_ns = {10 * MS, 100 * MS}});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.class_index = i == 0 ? 1 : 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
        b->now += i == 0 ? 89 * MS : 2 * MS;
    }
    for (int i = 0; i < 3; i++) {
        poll(b);
    }
    assert_true(b->first[0] == 2 && b->first[1] == 1 && b->first[2] == 3);
    close_bench(b);
}

static void request_not_begun_in_time_expires(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.deadline_ns = i == 1 ? 0 : (uint64_t)(5 + i) * MS;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    b->now += 6 * MS;
    poll(b);
    assert_got(&a[0], LEAT_EXPIRED);
    assert_got(&a[1], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(stats_of(b).expired, 1);
    close_bench(b);
}

/* The cost of a run is known from the first; a deadline behind what waits cannot be met. */
static void deadline_that_cannot_be_met_is_refused(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[4];
    b->cost_ns = 10 * MS;
    submit(b, &a[0], 1, 1, WIDTH);
    poll(b);
    submit(b, &a[1], 2, 1, WIDTH);
    submit(b, &a[2], 3, 1, WIDTH);
    leat_request_desc desc = ask(&a[3], 4, 1, WIDTH);
    desc.deadline_ns = 29 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    assert_non_null(strstr(b->err.message, "30.000 ms"));
    desc.deadline_ns = 31 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    while (poll(b) == 0) {
    }
    assert_got(&a[3], LEAT_OK);
    assert_int_equal(stats_of(b).refused, 1);
    close_bench(b);
}

/* A request runs with those that wait before it: a full batch takes longer than it alone. */
static void prediction_counts_the_batch_that_a_request_will_be_in(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 2, .timeout_ns = UINT64_MAX});
    asked a[4];
    for (int n = 1; n <= 2; n++) {
        b->cost_ns = n == 1 ? 10 * MS : 30 * MS;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
    }
    submit(b, &a[0], 1, 1, WIDTH);
    leat_request_desc desc = ask(&a[1], 1, 1, WIDTH);
    desc.deadline_ns = 29 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 31 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    desc = ask(&a[2], 1, 1, WIDTH);
    desc.deadline_ns = 59 * MS; /* behind a full batch; others may join it */
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 61 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    while (poll(b) == 0) {
    }
    assert_got(&a[1], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

/* Where no instance is idle what runs has to end first. */
static void prediction_counts_the_batch_that_runs(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    lt_instance *only = &b->batcher->instances[0];
    asked a;
    b->cost_ns = 10 * MS;
    submit(b, &a, 1, 1, WIDTH);
    poll(b);
    assert_ptr_equal(lt_batcher_take(b->batcher, only), only);
    leat_request_desc desc = ask(&a, 1, 1, WIDTH);
    desc.deadline_ns = 19 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 21 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    lt_batcher_return_instance(b->batcher, only);
    poll(b);
    assert_got(&a, LEAT_OK);
    close_bench(b);
}

/* What was late, although it was predicted not to be, makes predictions longer: by a thousandth. */
static void late_requests_make_predictions_longer(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a;
    int n_late = 0;
    b->cost_ns = 10 * MS;
    submit(b, &a, 1, 1, WIDTH);
    poll(b);
    for (;; n_late++) {
        leat_request_desc desc = ask(&a, 1, 1, WIDTH);
        desc.deadline_ns = 11 * MS;
        if (leat_batcher_submit(b->batcher, &desc, NULL, &b->err) == LEAT_EXPIRED) {
            break;
        }
        assert_true(n_late < 200);
        b->now += 5 * MS;
        b->n_runs = 0;
        poll(b);
        assert_got(&a, LEAT_OK); /* but 4 ms late */
    }
    assert_in_range(n_late, 98, 102);
    assert_int_equal(stats_of(b).missed_by_class[0], n_late + 1);
    close_bench(b);
}

/* A run that once took long does not have all deadlines refused for ever. */
static void times_that_refuse_all_are_doubted(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a;
    b->cost_ns = 100 * MS;
    submit(b, &a, 1, 1, WIDTH);
    poll(b);
    leat_request_desc desc = ask(&a, 2, 1, WIDTH);
    desc.deadline_ns = 5 * MS;
    int refused = 0;
    while (leat_batcher_submit(b->batcher, &desc, NULL, &b->err) == LEAT_EXPIRED) {
        refused++;
        assert_true(refused < 100);
    }
    assert_true(refused > 10);
    b->cost_ns = MS;
    poll(b);
    assert_got(&a, LEAT_OK);
    close_bench(b);
}

/* Rows that come 1 ms apart, runs of 20 ms or so whatever they hold: waiting for the next pays. */
static bench *open_steady(uint64_t timeout_ns, asked *a)
{
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 8, .timeout_ns = timeout_ns});
    b->cost_ns = 20 * MS;
    submit(b, &a[0], 1, 1, WIDTH);
    poll(b);
    for (int batch = 0; batch < 4; batch++) {
        for (int i = 0; i < 8; i++) {
            b->now += MS;
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
        assert_int_equal(b->rows[b->n_runs - 1], 8);
        b->cost_ns = 0; /* as if it ran elsewhere: rows keep coming */
    }
    b->now += MS;
    b->n_runs = 0;
    return b;
}

static void batch_is_held_while_that_pays_and_begun_when_none_comes(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    b->now += MS;
    submit(b, &a[10], 3, 1, WIDTH);
    uint64_t wait = poll(b);
    assert_int_equal(b->n_runs, 0);              /* held */
    assert_true(wait > 2 * MS && wait < 5 * MS); /* twice the gap */
    b->now += wait;
    assert_int_equal(poll(b), 0);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(stats_of(b).closed_held, 1);
    close_bench(b);
}

static void flush_ends_holding_of_what_waits(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    b->now += MS;
    submit(b, &a[10], 3, 1, WIDTH);
    assert_true(poll(b) > 0);
    leat_batcher_flush(b->batcher);
    assert_int_equal(poll(b), 0);
    assert_int_equal(b->n_runs, 1);
    close_bench(b);
}

static void timeout_bounds_holding_and_never_means_none(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(300000, a);
    submit(b, &a[9], 2, 1, WIDTH);
    assert_int_equal(poll(b), 300000);
    close_bench(b);
    b = open_steady(UINT64_MAX, a);
    submit(b, &a[9], 2, 1, WIDTH);
    assert_int_equal(poll(b), 0);
    close_bench(b);
}

static void batch_is_not_held_beyond_where_its_deadline_can_be_met(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    leat_request_desc desc = ask(&a[9], 2, 1, WIDTH);
    desc.deadline_ns = 20 * MS + 300000;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    const uint64_t bounded = poll(b);
    close_bench(b);
    b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    const uint64_t unbounded = poll(b);
    assert_true(bounded > 0 && bounded < unbounded);
    close_bench(b);
}

static void batches_are_filled_up_to_a_size(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 6, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a[5];
    for (int n = 1; n <= 5; n++) {
        b->n_runs = 0;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], (float)(i + 1), 1, WIDTH);
        }
        poll(b);
        assert_int_equal(b->n_runs, 1);
        assert_int_equal(b->rows[0], n == 1 ? 1 : n < 5 ? 4 : 6);
        for (int i = 0; i < n; i++) {
            assert_got(&a[i], LEAT_OK);
        }
    }
    assert_int_equal(stats_of(b).rows, 15);
    assert_int_equal(stats_of(b).fill_rows, 2 + 1 + 0 + 1);
    assert_int_equal(stats_of(b).batch_rows[0], 1);
    assert_int_equal(stats_of(b).batch_rows[2], 2);
    close_bench(b);
}

/* Rows that would be filled up dearly are left to the next batch. */
static void batch_is_cut_to_a_size_where_rows_cost_less(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 8, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a[8];
    for (int n = 4; n <= 8; n += 4) {
        b->cost_ns = n == 4 ? 10 * MS : 20 * MS;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
    }
    b->n_runs = 0;
    for (int i = 0; i < 5; i++) { /* 5 rows for 20 ms, or 4 for 10 */
        submit(b, &a[i], 1, 1, WIDTH);
    }
    poll(b);
    assert_int_equal(b->rows[0], 4);
    poll(b);
    assert_int_equal(b->rows[1], 1);
    close_bench(b);
}

/* Four requests at once, run to the last; the most rows of a run. */
static int64_t most_of_four(bench *b)
{
    asked a[4];
    int64_t most = 0;
    b->n_runs = 0;
    for (int i = 0; i < 4; i++) {
        submit(b, &a[i], (float)(i + 1), 1, WIDTH);
    }
    for (int64_t rows = 0, n = 0; rows < 4; rows += b->rows[n++]) {
        poll(b);
        most = b->rows[n] > most ? b->rows[n] : most;
    }
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    return most;
}

/* Where a row takes as long in a batch as alone nobody waits for others' rows, until batches gain.
 */
static void rows_that_gain_nothing_together_run_alone(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4, .timeout_ns = UINT64_MAX});
    asked a;
    int n_tried = 0, n_together = 0;
    b->element_ns = MS;
    submit(b, &a, 1, 1, WIDTH);
    poll(b);
    while (most_of_four(b) == 4) { /* together until that is known */
        assert_true(++n_tried < 64);
    }
    assert_true(n_tried > 1);
    for (int i = 0; i < 64; i++) { /* and now and then two */
        const int64_t most = most_of_four(b);
        assert_in_range(most, 1, 2);
        n_together += most > 1;
    }
    assert_in_range(n_together, 1, 16);
    b->element_ns = 0;
    b->cost_ns = MS;
    for (n_tried = 0; most_of_four(b) < 4 || most_of_four(b) < 4; n_tried++) {
        assert_true(n_tried < 256);
    }
    for (int i = 0; i < 64; i++) {
        assert_int_equal(most_of_four(b), 4);
    }
    close_bench(b);
}

/* What is run ahead of traffic says so, too. */
static void rows_that_gained_nothing_when_warming_run_alone(void **state)
{
    (void)state;
    for (int gains = 0; gains < 2; gains++) {
        bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4, .timeout_ns = UINT64_MAX});
        float one[WIDTH] = {1};
        const leat_array x = {LEAT_DTYPE_F32, 2, {1, WIDTH}, one, sizeof(one)};
        b->element_ns = gains ? 0 : MS;
        b->cost_ns = gains ? MS : 0;
        for (int i = 0; i < 7; i++) {
            b->n_runs = 0;
            assert_ok(leat_batcher_warm(b->batcher, &x, 1, 0, &b->err), &b->err);
        }
        assert_int_equal(most_of_four(b), gains ? 4 : 1);
        close_bench(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_go_by_deadline_then_by_arrival),
        cmocka_unit_test(low_classes_wait_but_not_for_ever),
        cmocka_unit_test(request_not_begun_in_time_expires),
        cmocka_unit_test(deadline_that_cannot_be_met_is_refused),
        cmocka_unit_test(prediction_counts_the_batch_that_a_request_will_be_in),
        cmocka_unit_test(prediction_counts_the_batch_that_runs),
        cmocka_unit_test(late_requests_make_predictions_longer),
        cmocka_unit_test(times_that_refuse_all_are_doubted),
        cmocka_unit_test(batch_is_held_while_that_pays_and_begun_when_none_comes),
        cmocka_unit_test(flush_ends_holding_of_what_waits),
        cmocka_unit_test(timeout_bounds_holding_and_never_means_none),
        cmocka_unit_test(batch_is_not_held_beyond_where_its_deadline_can_be_met),
        cmocka_unit_test(batches_are_filled_up_to_a_size),
        cmocka_unit_test(batch_is_cut_to_a_size_where_rows_cost_less),
        cmocka_unit_test(rows_that_gain_nothing_together_run_alone),
        cmocka_unit_test(rows_that_gained_nothing_when_warming_run_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

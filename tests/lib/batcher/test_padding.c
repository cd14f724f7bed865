/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of unlike lengths, padded to meet. */
#include "lib/batcher/bench.h"

/* Requests of 3 to 5 elements meet as rows of 6; zeros are added and taken away again. */
static void shorter_requests_are_padded_and_cut_back(void **state)
{
    (void)state;
    static const int64_t lengths[] = {2, 6, 8};
    bench *b = open_bench(
        (leat_batcher_desc){.pad_dimension = "S", .pad_lengths = lengths, .n_pad_lengths = 3});
    asked a[5];
    static const int widths[] = {3, 5, 4, 7, 9};
    for (int i = 0; i < 5; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1 + i % 2, widths[i]);
        if (i == 1) { /* to the callback */
            desc.outputs = NULL;
            desc.n_outputs = 0;
        }
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 3); /* 6, 8 and 9 wide */
    assert_int_equal(b->rows[0], 4);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].status, LEAT_OK);
        if (i != 1) {
            assert_got(&a[i], LEAT_OK);
            assert_int_equal(a[i].y.shape[1], widths[i]);
        }
    }
    const leat_batcher_stats stats = stats_of(b);
    assert_int_equal(stats.pad_bytes, (3 + 2 * 1 + 2 + 2 * 1) * (int)sizeof(float));
    assert_int_equal(stats.input_bytes, (4 * 6 + 2 * 8) * (int)sizeof(float));
    close_bench(b);
}

static void padding_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const int64_t wrong[] = {4, 4};
    leat_error err;
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .pad_dimension = "S",
                              .pad_lengths = wrong,
                              .n_pad_lengths = 2};
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_INVALID);
    desc.n_pad_lengths = 0;
    assert_ok(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), &err);
    desc.pad_dimension = "N"; /* the batch itself */
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_NOT_FOUND);
}

/* Nothing to pad: it does not meet those that are, and neither do inputs that disagree. */
static void request_without_length_is_not_padded(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.pad_dimension = "S"});
    asked a[3];
    submit(b, &a[0], 1, 1, 0);
    submit(b, &a[1], 2, 1, 5);
    submit(b, &a[2], 3, 2, 0);
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a[i].status, LEAT_OK);
        assert_int_equal(a[i].y.bytes, a[i].x.bytes);
    }
    assert_got(&a[1], LEAT_OK);
    close_bench(b);
}

/* `n` requests of these widths in turn, one batch for each few; the widths that were run last. */
static void ask_for(bench *b, const int *widths, int n_widths, int n, int at_once)
{
    static asked a[MOST_RUNS];
    for (int i = 0; i < n; i += at_once) {
        b->n_runs = 0;
        for (int k = 0; k < at_once; k++) {
            submit(b, &a[k], 1, 1, widths[(i + k) % n_widths]);
        }
        while (poll(b) == 0) {
        }
        for (int k = 0; k < at_once; k++) {
            assert_got(&a[k], LEAT_OK);
        }
    }
}

static bool ran(const bench *b, int64_t width)
{
    for (int i = 0; i < b->n_runs; i++) {
        if (b->widths[i] == width) {
            return true;
        }
    }
    return false;
}

static void lengths_to_pad_to_are_chosen_by_what_runs_cost(void **state)
{
    (void)state;
    static const int64_t lengths[] = {2, 4, 6, 8, 10, 12, 14, 16};
    static const int widths[] = {3, 4, 4, 3, 9, 10, 15, 16};
    bench *b = open_bench((leat_batcher_desc){.pad_dimension = "S",
                                              .pad_lengths = lengths,
                                              .n_pad_lengths = 8,
                                              .pad_buckets = 2,
                                              .timeout_ns = UINT64_MAX});
    /* Padding is all that costs: 4 rows of 4, 2 of 10 and 2 of 16 are 4 * 4 + 4 * 16 elements in
     * two buckets, less than 4 * 10 + ... or 6 * 10 + 2 * 16. */
    b->element_ns = MS;
    ask_for(b, widths, 8, 64, 8);
    assert_int_equal(stats_of(b).pad_changes, 1);
    ask_for(b, widths, 8, 8, 8);
    assert_int_equal(b->n_runs, 2);
    assert_true(ran(b, 4) && ran(b, 16));
    /* Runs cost the same whatever they have: one bucket for all. */
    b->element_ns = 0;
    b->cost_ns = 100 * MS;
    ask_for(b, widths, 8, 8 * 256, 8);
    ask_for(b, widths, 8, 8, 8);
    assert_int_equal(b->n_runs, 1);
    assert_true(ran(b, 16));
    const uint64_t changes = stats_of(b).pad_changes;
    assert_true(changes >= 2 && changes <= 8); /* once every 256 at most */
    /* It stays as it is while what comes does. */
    ask_for(b, widths, 8, 8 * 256, 8);
    assert_int_equal(stats_of(b).pad_changes, changes);
    /* Longer ones than any before are padded to themselves at first. */
    ask_for(b, (const int[]){20}, 1, 1, 1);
    assert_true(ran(b, 20));
    close_bench(b);
}

/* What is under way when lengths change keeps those that it came with. */
static void requests_that_wait_keep_their_padding(void **state)
{
    (void)state;
    static const int64_t lengths[] = {4, 8, 16};
    bench *b = open_bench((leat_batcher_desc){.pad_dimension = "S",
                                              .pad_lengths = lengths,
                                              .n_pad_lengths = 3,
                                              .pad_buckets = 1,
                                              .max_batch_size = 2,
                                              .timeout_ns = UINT64_MAX});
    static asked a[70];
    b->cost_ns = MS;
    for (int i = 0; i < 70; i++) {
        submit(b, &a[i], (float)(i + 1), 2, i % 2 ? 3 : 7); /* a batch */
    }
    for (int i = 0; i < 70; i++) {
        b->n_runs = 0;
        poll(b);
        assert_int_equal(b->widths[0], i % 2 ? 4 : 8);
        assert_got(&a[i], LEAT_OK);
    }
    assert_int_equal(stats_of(b).pad_changes, 1);
    submit(b, &a[0], 1, 1, 3);
    b->n_runs = 0;
    poll(b);
    assert_int_equal(b->widths[0], 8);
    assert_got(&a[0], LEAT_OK);
    close_bench(b);
}

static void choosing_of_too_many_lengths_is_refused(void **state)
{
    (void)state;
    int64_t lengths[129];
    leat_error err;
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .pad_dimension = "S",
                              .pad_lengths = lengths,
                              .pad_buckets = 4};
    for (int i = 0; i < 129; i++) {
        lengths[i] = i + 1;
    }
    desc.n_pad_lengths = 129;
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_INVALID);
    desc.n_pad_lengths = 128;
    assert_ok(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), &err);
    desc.n_pad_lengths = 0;
    assert_ok(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shorter_requests_are_padded_and_cut_back),
        cmocka_unit_test(padding_that_makes_no_sense_is_refused),
        cmocka_unit_test(request_without_length_is_not_padded),
        cmocka_unit_test(lengths_to_pad_to_are_chosen_by_what_runs_cost),
        cmocka_unit_test(requests_that_wait_keep_their_padding),
        cmocka_unit_test(choosing_of_too_many_lengths_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

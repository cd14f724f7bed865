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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shorter_requests_are_padded_and_cut_back),
        cmocka_unit_test(padding_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

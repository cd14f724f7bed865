/* SPDX-License-Identifier: Apache-2.0 */
/* What callers do with requests, and which queues there are for them. */
#include "lib/batcher/bench.h"

static void cancelled_request_completes_once_and_does_not_run(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        assert_ok(leat_batcher_submit(b->batcher, &desc, &a[i].handle, &b->err), &b->err);
    }
    assert_int_equal(leat_request_wait(NULL, 1, &b->err), LEAT_INVALID);
    assert_ok(leat_request_cancel(a[1].handle, &b->err), &b->err);
    assert_got(&a[1], LEAT_CANCELLED);
    assert_int_equal(leat_request_cancel(a[1].handle, &b->err), LEAT_BUSY);
    assert_int_equal(leat_request_wait(a[1].handle, 0, &b->err), LEAT_CANCELLED);
    assert_ok(leat_request_wait(a[0].handle, 0, &b->err), &b->err); /* polls */
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(leat_request_cancel(a[2].handle, &b->err), LEAT_BUSY);
    for (int i = 0; i < 3; i++) {
        leat_request_release(a[i].handle);
    }
    assert_got(&a[0], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

static void full_queue_is_busy_until_one_completes(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.queue_limit = 2});
    asked a[3];
    submit(b, &a[0], 1, 1, WIDTH);
    submit(b, &a[1], 2, 1, WIDTH);
    leat_request_desc desc = ask(&a[2], 3, 1, WIDTH);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

/* The last eighth of the queue is for class 0. */
static void full_queue_leaves_room_for_class_0(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.queue_limit = 16});
    asked a[17];
    for (int i = 0; i < 14; i++) {
        leat_request_desc desc = ask(&a[i], (float)i, 1, WIDTH);
        desc.class_index = 1;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    leat_request_desc bulk = ask(&a[14], 14, 1, WIDTH);
    bulk.class_index = 1;
    assert_int_equal(leat_batcher_submit(b->batcher, &bulk, NULL, &b->err), LEAT_BUSY);
    assert_non_null(strstr(b->err.message, "14 requests"));
    submit(b, &a[14], 14, 1, WIDTH);
    submit(b, &a[15], 15, 1, WIDTH);
    leat_request_desc urgent = ask(&a[16], 16, 1, WIDTH);
    assert_int_equal(leat_batcher_submit(b->batcher, &urgent, NULL, &b->err), LEAT_BUSY);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    for (int i = 0; i < 16; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    assert_ok(leat_batcher_submit(b->batcher, &bulk, NULL, &b->err), &b->err);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    close_bench(b);
}

/* Two keys: a third one takes the place of one that waits for nothing. */
static void keys_are_used_again_when_nothing_waits_for_them(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 2});
    asked a[3];
    submit(b, &a[0], 1, 1, 1);
    submit(b, &a[1], 2, 1, 2);
    leat_request_desc desc = ask(&a[2], 3, 1, 3);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    for (int i = 0; i < 3; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

/* The place of a key whose times are known is not given to a request that is refused. */
static void refused_request_takes_no_keys_place(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 2, .queue_limit = 1});
    asked a[3];
    b->cost_ns = 10 * MS;
    submit(b, &a[0], 1, 1, 1);
    poll(b);
    submit(b, &a[1], 2, 1, 2);
    leat_request_desc desc = ask(&a[2], 3, 1, 3);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    desc = ask(&a[2], 3, 1, 1);
    desc.deadline_ns = 5 * MS; /* the first shape takes 10 ms, it is remembered */
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    assert_int_equal(stats_of(b).refused, 2);
    assert_int_equal(stats_of(b).refused_late, 1);
    assert_int_equal(stats_of(b).missed_by_class[0], 1);
    close_bench(b);
}

/* Many more shapes than keys, in all orders: each finds its own queue again or a new one. */
static void keys_come_and_go(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 5});
    static asked a[MOST_RUNS];
    uint32_t seed = 1;
    for (int round = 0; round < 40; round++) {
        b->n_runs = 0;
        for (int i = 0; i < 5; i++) {
            seed = seed * 1664525u + 1013904223u;
            submit(b, &a[i], (float)(i + 1), 1, 1 + (int)(seed >> 16) % 17);
        }
        while (poll(b) == 0) {
        }
        for (int i = 0; i < 5; i++) {
            assert_got(&a[i], LEAT_OK);
        }
    }
    assert_int_equal(stats_of(b).succeeded, 200);
    close_bench(b);
}

static void bad_requests_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4, .n_classes = 2});
    asked a;
    const struct {
        int rows, width, class_index;
        leat_dtype dtype;
        size_t less;
        const char *says;
    } bad[] = {
        {5, 1, 0, LEAT_DTYPE_F32, 0, "5 rows"},      {0, 1, 0, LEAT_DTYPE_F32, 0, "rows"},
        {1, 2, 2, LEAT_DTYPE_F32, 0, "class 2"},     {1, 2, 0, LEAT_DTYPE_I32, 0, "i32"},
        {1, 2, 0, LEAT_DTYPE_F32, 4, "has 4 bytes"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        leat_request_desc desc = ask(&a, 1, bad[i].rows, bad[i].width);
        desc.class_index = (uint32_t)bad[i].class_index;
        a.x.dtype = bad[i].dtype;
        a.x.bytes -= bad[i].less;
        assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_INVALID);
        if (strstr(b->err.message, bad[i].says) == NULL) {
            fail_msg("'%s' does not say '%s'", b->err.message, bad[i].says);
        }
    }
    leat_request_desc desc = ask(&a, 1, 1, 1);
    desc.outputs = NULL;
    desc.done = NULL;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_INVALID);
    assert_int_equal(stats_of(b).accepted, 0);
    close_bench(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_request_completes_once_and_does_not_run),
        cmocka_unit_test(full_queue_is_busy_until_one_completes),
        cmocka_unit_test(full_queue_leaves_room_for_class_0),
        cmocka_unit_test(keys_are_used_again_when_nothing_waits_for_them),
        cmocka_unit_test(refused_request_takes_no_keys_place),
        cmocka_unit_test(keys_come_and_go),
        cmocka_unit_test(bad_requests_are_refused_with_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

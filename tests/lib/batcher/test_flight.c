/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept, and equal requests that share a run: who completes, when, with what. */
#include "lib/batcher/bench.h"
#include "lib/batcher/submitters.h"

enum {
    KEPT = 1 << 16
};

static bench *open_kept(leat_batcher_desc desc)
{
    desc.answer_bytes = desc.answer_bytes ? desc.answer_bytes : KEPT;
    return open_bench(desc);
}

static void submit_handle(bench *b, asked *a, leat_request_desc desc)
{
    assert_ok(leat_batcher_submit(b->batcher, &desc, &a->handle, &b->err), &b->err);
}

static void equal_requests_run_once(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked first, again, other, wide;
    submit(b, &first, 1, 2, WIDTH);
    poll(b);
    assert_got(&first, LEAT_OK);
    submit(b, &again, 1, 2, WIDTH);
    assert_got(&again, LEAT_OK); /* at once */
    assert_int_equal(b->n_runs, 1);
    submit(b, &other, 2, 2, WIDTH); /* other bytes, and another shape of the same */
    submit(b, &wide, 1, 3, 2);
    assert_int_equal(other.completions + wide.completions, 0);
    poll(b);
    poll(b);
    assert_got(&other, LEAT_OK);
    assert_got(&wide, LEAT_OK);
    const leat_batcher_stats s = stats_of(b);
    assert_int_equal(s.answer_hits, 1);
    assert_int_equal(s.answer_misses, 3);
    assert_int_equal(s.answers, 3);
    assert_int_equal(s.accepted, 4);
    assert_int_equal(s.succeeded, 4);
    assert_int_equal(s.waiting + s.running, 0);
    close_bench(b);
}

static void without_it_everything_runs(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[2];
    for (int i = 0; i < 2; i++) {
        submit(b, &a[i], 1, 1, WIDTH);
        poll(b);
        assert_got(&a[i], LEAT_OK);
    }
    assert_int_equal(b->n_runs, 2);
    assert_int_equal(stats_of(b).answer_misses + stats_of(b).answers, 0);
    close_bench(b);
}

static void groups_have_their_own_answers(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], 1, 1, WIDTH);
        desc.group = i == 1;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
        poll(b);
        assert_got(&a[i], LEAT_OK);
    }
    assert_int_equal(b->n_runs, 2);
    close_bench(b);
}

static void callbacks_without_memory_see_what_is_kept(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) { /* a run, one that follows it, one that finds it */
        leat_request_desc desc = ask(&a[i], 5, 2, WIDTH);
        desc.outputs = NULL;
        desc.n_outputs = 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
        if (i > 0) {
            poll(b);
        }
    }
    for (int i = 0; i < 3; i++) { /* `completed` compared the numbers */
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].rows, 2);
    }
    assert_int_equal(b->n_runs, 1);
    close_bench(b);
}

static void equal_requests_that_wait_share_a_run(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[4];
    for (int i = 0; i < 4; i++) {
        submit_handle(b, &a[i], ask(&a[i], 1, 1, WIDTH));
    }
    assert_int_equal(stats_of(b).waiting, 1);
    assert_int_equal(stats_of(b).answer_joins, 3);
    poll(b);
    assert_int_equal(b->n_runs, 1);
    assert_int_equal(b->rows[0], 1);
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_OK);
        assert_ok(leat_request_wait(a[i].handle, 0, &b->err), &b->err);
        leat_request_release(a[i].handle);
    }
    close_bench(b);
}

static void waiting_for_one_that_follows_runs_what_it_follows(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[2];
    submit(b, &a[0], 1, 1, WIDTH);
    submit_handle(b, &a[1], ask(&a[1], 1, 1, WIDTH));
    assert_ok(leat_request_wait(a[1].handle, 0, &b->err), &b->err);
    leat_request_release(a[1].handle);
    assert_got(&a[0], LEAT_OK);
    assert_got(&a[1], LEAT_OK);
    submit(b, &a[0], 2, 1, WIDTH);
    submit(b, &a[1], 2, 1, WIDTH);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    assert_got(&a[0], LEAT_OK);
    assert_got(&a[1], LEAT_OK);
    submit(b, &a[0], 3, 1, WIDTH);
    submit(b, &a[1], 3, 1, WIDTH);
    close_bench(b); /* which runs what waits; `completed` would miss memory that is gone */
    assert_got(&a[0], LEAT_OK);
    assert_got(&a[1], LEAT_OK);
}

static void cancelling_one_does_not_cancel_the_others(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    for (int which = 0; which < 3; which++) { /* the one that leads, then others */
        asked a[3];
        for (int i = 0; i < 3; i++) {
            submit_handle(b, &a[i], ask(&a[i], (float)(which + 1), 1, WIDTH));
        }
        assert_ok(leat_request_cancel(a[which].handle, &b->err), &b->err);
        assert_int_equal(leat_request_cancel(a[which].handle, &b->err), LEAT_BUSY);
        assert_got(&a[which], LEAT_CANCELLED);
        assert_int_equal(stats_of(b).waiting, 1);
        poll(b);
        for (int i = 0; i < 3; i++) {
            assert_got(&a[i], i == which ? LEAT_CANCELLED : LEAT_OK);
            leat_request_release(a[i].handle);
        }
        assert_int_equal(b->n_runs, which + 1);
    }
    asked all[3];
    for (int i = 0; i < 3; i++) {
        submit_handle(b, &all[i], ask(&all[i], 9, 1, WIDTH));
    }
    for (int i = 0; i < 3; i++) {
        assert_ok(leat_request_cancel(all[i].handle, &b->err), &b->err);
        assert_got(&all[i], LEAT_CANCELLED);
        leat_request_release(all[i].handle);
    }
    assert_int_equal(stats_of(b).waiting, 0);
    assert_int_equal(poll(b), UINT64_MAX);
    close_bench(b);
}

static void one_that_expires_leaves_the_run_to_the_next(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked hasty, patient;
    leat_request_desc desc = ask(&hasty, 1, 1, WIDTH);
    desc.deadline_ns = MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    submit(b, &patient, 1, 1, WIDTH);
    b->now += 2 * MS;
    poll(b);
    poll(b);
    assert_got(&hasty, LEAT_EXPIRED);
    assert_got(&patient, LEAT_OK);
    assert_int_equal(b->n_runs, 1);
    close_bench(b);
}

static void urgent_requests_do_not_follow_others(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){.max_batch_size = 1});
    asked bulk, urgent, late;
    leat_request_desc desc = ask(&bulk, 1, 1, WIDTH);
    desc.class_index = 2;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    submit(b, &urgent, 1, 1, WIDTH);
    desc = ask(&late, 1, 1, WIDTH);
    desc.class_index = 2;
    desc.deadline_ns = 1000 * (uint64_t)MS; /* the other has none to keep it by */
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    assert_int_equal(stats_of(b).answer_joins, 0);
    assert_int_equal(stats_of(b).waiting, 3);
    poll(b);
    assert_got(&urgent, LEAT_OK);
    poll(b);
    poll(b);
    assert_got(&bulk, LEAT_OK);
    assert_got(&late, LEAT_OK);
    assert_int_equal(stats_of(b).answers, 1);
    close_bench(b);
}

static void failures_are_not_kept_and_not_shared(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[3];
    b->poison = 6;
    for (int i = 0; i < 3; i++) {
        submit(b, &a[i], 6, 1, WIDTH);
    }
    for (int i = 0; i < 3; i++) {
        poll(b);
        assert_int_equal(b->n_runs, i + 1);
    }
    for (int i = 0; i < 3; i++) {
        assert_got(&a[i], LEAT_INVALID);
    }
    assert_int_equal(stats_of(b).answers, 0);
    b->poison = 0;
    submit(b, &a[0], 6, 1, WIDTH);
    assert_int_equal(a[0].completions, 0);
    poll(b);
    assert_got(&a[0], LEAT_OK);
    submit(b, &a[1], 6, 1, WIDTH);
    assert_got(&a[1], LEAT_OK);
    assert_int_equal(b->n_runs, 4);
    close_bench(b);
}

static void memory_that_is_too_small_fails_its_request_alone(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){0});
    asked a[4], companion;
    submit(b, &companion, 3, 1, WIDTH); /* so that rows are handed out, not run in place */
    for (int i = 0; i < 4; i++) {       /* the first leads; the second fails */
        leat_request_desc desc = ask(&a[i], 1, 2, WIDTH);
        a[i].y.bytes = i == 1 || i == 3 ? 8 : sizeof(a[i].out);
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
        if (i == 2) {
            poll(b);
        }
    }
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], i == 1 || i == 3 ? LEAT_INVALID : LEAT_OK);
    }
    assert_int_equal(b->n_runs, 1);
    close_bench(b);
}

static void answers_go_when_bytes_run_out(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){.answer_bytes = 4096});
    asked a;
    int n = 0;
    while (stats_of(b).answer_evictions == 0) {
        submit(b, &a, (float)(++n), 1, WIDTH);
        poll(b);
        assert_got(&a, LEAT_OK);
        assert_true(stats_of(b).answer_bytes <= 4096);
    }
    assert_in_range(n, 4, 16);
    const int runs = b->n_runs;
    submit(b, &a, (float)n, 1, WIDTH);
    assert_got(&a, LEAT_OK);
    submit(b, &a, 1, 1, WIDTH); /* gone */
    poll(b);
    assert_got(&a, LEAT_OK);
    assert_int_equal(b->n_runs, runs + 1);
    close_bench(b);
}

static void nothing_is_allocated_and_the_queue_is_bounded(void **state)
{
    (void)state;
    bench *b = open_kept((leat_batcher_desc){.queue_limit = 2});
    leat_memory_info before, after;
    asked a[3];
    submit(b, &a[0], 1, 1, WIDTH);
    poll(b);
    leat_context_memory(b->run.context, &before);
    for (int i = 0; i < 50; i++) {
        submit(b, &a[0], (float)(i % 20), 1, WIDTH);
        submit(b, &a[1], (float)(i % 20), 1, WIDTH);
        poll(b);
        assert_got(&a[0], LEAT_OK);
        assert_got(&a[1], LEAT_OK);
    }
    leat_context_memory(b->run.context, &after);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.live_bytes, before.live_bytes);
    for (int i = 0; i < 2; i++) { /* answered, but not released */
        submit_handle(b, &a[i], ask(&a[i], 1, 1, WIDTH));
    }
    leat_request_desc desc = ask(&a[2], 1, 1, WIDTH);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    leat_request_release(a[0].handle);
    submit(b, &a[2], 1, 1, WIDTH);
    assert_got(&a[2], LEAT_OK);
    leat_request_release(a[1].handle);
    close_bench(b);
}

static void too_few_bytes_are_refused(void **state)
{
    (void)state;
    leat_error err;
    const leat_batcher_desc desc = {.struct_size = sizeof(desc), .answer_bytes = 4095};
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_INVALID);
}

static void create_with_failing_allocations_leaves_nothing(void **state)
{
    (void)state;
    const leat_batcher_desc kept = {.struct_size = sizeof(kept), .answer_bytes = KEPT};
    walk_creation(&kept);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum {
    REQUESTS = 80000, /* of all, by default */
    WINDOW = 8,
    VALUES = 40 /* of which the block holds fewer */
};

static _Atomic uint32_t runs;

/* y = x; one run of 11 fails, and so do those with a negative number. */
static leat_status unreliable(void *user, int32_t instance, const leat_array *inputs,
                              size_t n_inputs, leat_array *outputs, size_t n_outputs,
                              leat_error *err)
{
    static float memory[2][4096];
    const float *x = inputs[0].data;
    bool fails = atomic_fetch_add(&runs, 1) % 11 == 10;
    (void)user;
    (void)n_inputs;
    (void)n_outputs;
    for (size_t i = 0; i < inputs[0].bytes / sizeof(float); i++) {
        fails |= x[i] < 0;
    }
    if (fails) {
        err->status = LEAT_IO;
        strcpy(err->message, "by design");
        return LEAT_IO;
    }
    void *data = outputs[0].data ? outputs[0].data : memory[instance];
    memcpy(data, x, inputs[0].bytes);
    outputs[0] = inputs[0];
    outputs[0].data = data;
    return LEAT_OK;
}

static int draw_value(submitter *s, sent *r, leat_request_desc *desc)
{
    const float value = (float)(next(s) % VALUES);
    for (int k = 0; k < 4; k++) {
        r->in[k] = value == 7 ? -1 : value + (float)k;
    }
    desc->class_index = next(s) % 3;
    desc->deadline_ns = next(s) % 8 == 0 ? 20000 : 0;
    return 4;
}

static void threads_share_runs_and_each_completes_once(void **state)
{
    (void)state;
    const int each = requests_each(REQUESTS);
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    test_run run;
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = 8,
                                    .queue_limit = SUBMITTERS * WINDOW + 1,
                                    .n_instances = 2,
                                    .answer_bytes = 12000,
                                    .stage_inputs = 1,
                                    .run = unreliable};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    uint64_t counts[LEAT_EXPIRED + 1] = {0};
    const leat_batcher_stats stats = run_submitters(
        (submitter){.batcher = batcher, .draw = draw_value, .window = WINDOW, .n_requests = each},
        counts);
    print_message("of %d: %llu ok, %llu failed, %llu cancelled, %llu expired; %llu by an answer, "
                  "%llu by another's run, %llu answers gone\n",
                  SUBMITTERS * each, (unsigned long long)counts[LEAT_OK],
                  (unsigned long long)counts[LEAT_IO], (unsigned long long)counts[LEAT_CANCELLED],
                  (unsigned long long)counts[LEAT_EXPIRED], (unsigned long long)stats.answer_hits,
                  (unsigned long long)stats.answer_joins,
                  (unsigned long long)stats.answer_evictions);
    assert_int_equal(stats.answer_hits + stats.answer_joins + stats.answer_misses, stats.accepted);
    assert_int_equal(stats.failed, counts[LEAT_IO]);
    assert_true(stats.answer_hits > 0 && stats.answer_evictions > 0 && counts[LEAT_IO] > 0);
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_requests_run_once),
        cmocka_unit_test(without_it_everything_runs),
        cmocka_unit_test(groups_have_their_own_answers),
        cmocka_unit_test(callbacks_without_memory_see_what_is_kept),
        cmocka_unit_test(equal_requests_that_wait_share_a_run),
        cmocka_unit_test(waiting_for_one_that_follows_runs_what_it_follows),
        cmocka_unit_test(cancelling_one_does_not_cancel_the_others),
        cmocka_unit_test(one_that_expires_leaves_the_run_to_the_next),
        cmocka_unit_test(urgent_requests_do_not_follow_others),
        cmocka_unit_test(failures_are_not_kept_and_not_shared),
        cmocka_unit_test(memory_that_is_too_small_fails_its_request_alone),
        cmocka_unit_test(answers_go_when_bytes_run_out),
        cmocka_unit_test(nothing_is_allocated_and_the_queue_is_bounded),
        cmocka_unit_test(too_few_bytes_are_refused),
        cmocka_unit_test(create_with_failing_allocations_leaves_nothing),
        cmocka_unit_test(threads_share_runs_and_each_completes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher without threads, by a clock that the test sets: which requests meet and what each
 * gets; the batcher's life. */
#include "lib/batcher/bench.h"

static void lone_request_runs_at_once_in_place(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a;
    submit(b, &a, 1, 1, WIDTH);
    assert_int_equal(a.completions, 0);
    assert_int_equal(poll(b), 0);
    assert_got(&a, LEAT_OK);
    assert_int_equal(poll(b), UINT64_MAX);
    assert_int_equal(b->n_runs, 1);
    assert_int_equal(stats_of(b).closed_idle, 1);
    close_bench(b);
}

static void requests_of_one_shape_run_together_and_get_their_own_rows(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 8});
    asked a[5];
    for (int i = 0; i < 5; i++) {
        submit(b, &a[i], (float)(i + 1), 1 + i % 2, WIDTH);
    }
    poll(b);
    assert_int_equal(b->n_runs, 1);
    assert_int_equal(b->rows[0], 7);
    for (int i = 0; i < 5; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

static void full_batches_leave_the_rest_and_keep_whole_requests(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4});
    asked a[4];
    for (int i = 0; i < 4; i++) {
        submit(b, &a[i], (float)(i + 1), i == 1 ? 2 : 3 - (i == 0) * 2, WIDTH); /* 1 2 3 3 */
    }
    poll(b);
    assert_int_equal(b->rows[0], 3);
    poll(b);
    poll(b);
    assert_int_equal(b->n_runs, 3);
    assert_int_equal(stats_of(b).closed_full, 2);
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

static uint64_t by_first_element(void *user, const leat_array *inputs, size_t n_inputs)
{
    (void)user;
    (void)n_inputs;
    return (uint64_t)((const float *)inputs[0].data)[0] % 2;
}

/* Shapes, tags and the callback's groups each keep requests apart; none waits for another's. */
static void requests_of_other_keys_run_apart(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.group = by_first_element});
    asked a[8];
    for (int i = 0; i < 8; i++) {
        leat_request_desc desc = ask(&a[i], (float)(1 + i % 2), 1, i < 4 ? 2 : 3);
        desc.group = i == 7 ? 9 : 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 5);
    for (int i = 0; i < 8; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

/* y = x * s: s has no batch dimension, so that requests with another s do not meet. */
static void inputs_without_rows_are_part_of_the_key(void **state)
{
    (void)state;
    bench *b = calloc(1, sizeof(*b));
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "Nx3");
    onnx_builder_input(builder, "s", LEAT_DTYPE_F32, "");
    onnx_builder_node(builder, "Mul", "x,s", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "Nx3");
    open_model(b, builder, (leat_batcher_desc){0});
    asked a[4];
    float scales[] = {1, 2, 1, 2};
    leat_array in[4][2];
    for (int i = 0; i < 4; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, 3);
        in[i][0] = a[i].x;
        in[i][1] = test_f32(&scales[i], "");
        desc.inputs = in[i];
        desc.n_inputs = 2;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 2);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(b->rows[1], 2);
    close_bench(b);
}

static void times_are_counted_by_class(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[3];
    b->cost_ns = 3 * MS;
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], 1, 1, WIDTH);
        desc.class_index = i == 0 ? 2 : 5;
        desc.deadline_ns = i == 2 ? 4 * MS : 0; /* due first, but it takes 5 */
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    b->now += 2 * MS;
    while (poll(b) == 0) {
    }
    leat_batcher_stats s = stats_of(b);
    assert_int_equal(s.compute.total_ns, 9 * MS);
    assert_int_equal(s.compute.counts[12], 3); /* 2.048 to 4.096 ms */
    assert_int_equal(s.queue[2].total_ns, 5 * MS);
    assert_int_equal(s.queue[2].counts[13], 1); /* 4.096 to 8.192 ms */
    assert_int_equal(s.queue[5].total_ns, 2 * MS + 8 * MS);
    assert_int_equal(s.request[5].total_ns, 5 * MS + 11 * MS);
    assert_int_equal(s.accepted_by_class[5], 2);
    assert_int_equal(s.missed_by_class[5], 1);
    close_bench(b);
}

static void process_gives_every_request_the_models_results(void **state)
{
    (void)state;
    enum {
        N = 700 /* more than the queue */
    };
    static float x[N][4], y[N][3], expected[N][3];
    static leat_array in[N], out[N];
    static leat_status statuses[N];
    test_run run;
    onnx_builder *builder = test_build_mlp();
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .max_batch_size = 32, .queue_limit = 100};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 4; k++) {
            x[i][k] = (float)((i * 7 + k * 3) % 11) - 5;
        }
        in[i] = test_f32(x[i], "1x4");
        out[i] = (leat_array){.data = y[i], .bytes = sizeof(y[i])};
    }
    test_mlp_oracle(&x[0][0], N, &expected[0][0]);
    assert_ok(leat_batcher_process(batcher, N, in, out, statuses, &run.err), &run.err);
    for (int i = 0; i < N; i++) {
        assert_int_equal(statuses[i], LEAT_OK);
        for (int k = 0; k < 3; k++) {
            assert_float_equal(y[i][k], expected[i][k], 1e-5f);
        }
    }
    in[40].shape[1] = 3; /* one that does not fit its type */
    assert_int_equal(leat_batcher_process(batcher, N, in, out, statuses, &run.err), LEAT_INVALID);
    assert_non_null(strstr(run.err.message, "request 40"));
    for (int i = 0; i < N; i++) {
        assert_int_equal(statuses[i], i == 40 ? LEAT_INVALID : LEAT_OK);
    }
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void models_without_a_batch_dimension_are_refused(void **state)
{
    (void)state;
    leat_error err;
    leat_batcher_desc one = {.struct_size = sizeof(one), .max_batch_size = 1};
    leat_batcher_desc wrong = {.struct_size = 4};
    assert_int_equal(create("1x3", "1x3", LEAT_DTYPE_F32, NULL, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "batch dimension"));
    assert_int_equal(create("Nx3", "Nx3", LEAT_DTYPE_STRING, NULL, &err), LEAT_UNSUPPORTED);
    assert_int_equal(create("Nx3", "Nx3", LEAT_DTYPE_F32, &wrong, &err), LEAT_INVALID);
    assert_ok(create("1x3", "1x3", LEAT_DTYPE_F32, &one, &err), &err);
    assert_ok(create("Nx3", "Nx3", LEAT_DTYPE_F32, NULL, &err), &err);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const int32_t wrong[][2] = {{0, 4}, {4, 4}, {4, 9}, {5, 4}};
    onnx_builder *builder = test_build_mlp();
    test_run run;
    test_run_load(&run, builder);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        leat_batcher *batcher;
        const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                        .max_batch_size = 8,
                                        .batch_sizes = wrong[i],
                                        .n_batch_sizes = 2};
        assert_int_equal(leat_batcher_create(run.model, &desc, &batcher, &run.err), LEAT_INVALID);
        assert_null(batcher);
    }
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void create_with_failing_allocations_leaves_nothing(void **state)
{
    (void)state;
    walk_creation(NULL);
}

/* Batches of every size once; after that no submit, run or completion allocates. */
static void warmed_batches_allocate_nothing(void **state)
{
    (void)state;
    enum {
        N = 8
    };
    float x[N][4] = {{0}}, y[N][3];
    leat_array in[N], out[N];
    test_run run;
    onnx_builder *builder = test_build_mlp();
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .max_batch_size = N, .no_threads = 1};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    uint64_t before = 0;
    for (int round = 0; round < 4; round++) {
        for (int n = 1; n <= N; n++) {
            for (int i = 0; i < n; i++) {
                in[i] = test_f32(x[i], "1x4");
                out[i] = (leat_array){.data = y[i], .bytes = sizeof(y[i])};
            }
            assert_ok(leat_batcher_process(batcher, (size_t)n, in, out, NULL, &run.err), &run.err);
        }
        leat_memory_info info;
        leat_context_memory(run.context, &info);
        if (round == 1) {
            before = info.allocations;
        }
        assert_true(round < 2 || info.allocations == before);
    }
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_request_runs_at_once_in_place),
        cmocka_unit_test(requests_of_one_shape_run_together_and_get_their_own_rows),
        cmocka_unit_test(full_batches_leave_the_rest_and_keep_whole_requests),
        cmocka_unit_test(requests_of_other_keys_run_apart),
        cmocka_unit_test(inputs_without_rows_are_part_of_the_key),
        cmocka_unit_test(times_are_counted_by_class),
        cmocka_unit_test(process_gives_every_request_the_models_results),
        cmocka_unit_test(models_without_a_batch_dimension_are_refused),
        cmocka_unit_test(sizes_that_make_no_sense_are_refused),
        cmocka_unit_test(create_with_failing_allocations_leaves_nothing),
        cmocka_unit_test(warmed_batches_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

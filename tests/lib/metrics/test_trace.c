/* SPDX-License-Identifier: Apache-2.0 */
/* Traces as a JSON parser of another's reads them (scripts/trace_check.py). */
#include "support/test.h"

#include "support/run.h"

#include <leat/metrics.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static leat_status to_file(void *user, const char *text, size_t bytes)
{
    return fwrite(text, 1, bytes, user) == bytes ? LEAT_OK : LEAT_IO;
}

/* Writes the trace, and has it checked; `wanted`: counts. */
static void check_trace(leat_context *context, const char *wanted)
{
    char path[] = "/tmp/leat-trace-XXXXXX", command[256];
    leat_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_ok(leat_trace_write(context, to_file, file, &err), &err);
    fclose(file);
    snprintf(command, sizeof(command), "python3 scripts/trace_check.py %s %s", path, wanted);
    const int result = system(command);
    unlink(path);
    assert_int_equal(result, 0);
}

static void run_once(test_run *r, int64_t rows)
{
    static float x[8 * 4];
    leat_array in = {LEAT_DTYPE_F32, 2, {rows, 4}, x, (size_t)rows * 16}, out = {0};
    assert_ok(leat_session_run(r->session, &in, 1, &out, 1, &r->err), &r->err);
}

static void submit(leat_batcher *batcher, int64_t rows, leat_error *err)
{
    static float x[8 * 4], memory[8][8 * 3];
    static leat_array outputs[8];
    static int n;
    leat_array *y = &outputs[n++ % 8];
    const leat_array in = {LEAT_DTYPE_F32, 2, {rows, 4}, x, (size_t)rows * 16};
    *y = (leat_array){LEAT_DTYPE_F32, 2, {rows, 3}, memory[y - outputs], sizeof(memory[0])};
    const leat_request_desc desc = {
        .struct_size = sizeof(desc), .inputs = &in, .n_inputs = 1, .outputs = y, .n_outputs = 1};
    assert_ok(leat_batcher_submit(batcher, &desc, NULL, err), err);
}

static void batches_runs_and_kernels_have_lanes(void **state)
{
    const leat_batcher_desc desc = {.struct_size = sizeof(desc), .no_threads = 1};
    leat_batcher *batcher = NULL;
    test_run r;
    (void)state;
    onnx_builder *b = test_build_mlp();
    test_run_load(&r, b);
    assert_ok(leat_batcher_create(r.model, &desc, &batcher, &r.err), &r.err);
    submit(batcher, 1, &r.err); /* before the trace */
    assert_ok(leat_batcher_drain(batcher, 0, &r.err), &r.err);
    assert_ok(leat_trace_start(r.context, 0, &r.err), &r.err);
    for (int i = 0; i < 5; i++) {
        submit(batcher, 1 + i % 2, &r.err);
        submit(batcher, 2, &r.err);
        assert_ok(leat_batcher_drain(batcher, 0, &r.err), &r.err);
    }
    leat_trace_stop(r.context);
    submit(batcher, 1, &r.err); /* behind it */
    assert_ok(leat_batcher_drain(batcher, 0, &r.err), &r.err);
    /* A batch of two: one gather, two hand-outs. The model is one product. */
    check_trace(r.context, "queue=10 batch=5 run=5 copy=15 kernel=5 lost=0");
    leat_batcher_destroy(batcher);
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void ring_keeps_the_latest(void **state)
{
    leat_memory_info before, after;
    test_run r;
    (void)state;
    onnx_builder *b = test_build_mlp();
    test_run_open(&r, b);
    run_once(&r, 2);
    assert_ok(leat_trace_start(r.context, 7, &r.err), &r.err);
    leat_context_memory(r.context, &before);
    for (int i = 0; i < 50; i++) {
        run_once(&r, 2);
    }
    leat_context_memory(r.context, &after);
    assert_int_equal(after.allocations, before.allocations);
    leat_trace_stop(r.context);
    check_trace(r.context, "run=4 kernel=3 lost=93"); /* kernels end before their runs */
    /* Anew, with the same memory: nothing of before. */
    assert_ok(leat_trace_start(r.context, 7, &r.err), &r.err);
    run_once(&r, 2);
    leat_trace_stop(r.context);
    check_trace(r.context, "run=1 kernel=1 lost=0");
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static leat_status refuse(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return LEAT_IO;
}

static void what_is_wrong_is_refused(void **state)
{
    test_run r;
    (void)state;
    onnx_builder *b = test_build_mlp();
    test_run_open(&r, b);
    leat_trace_stop(r.context);
    assert_int_equal(leat_trace_write(r.context, refuse, NULL, &r.err), LEAT_INVALID);
    assert_int_equal(leat_trace_start(NULL, 0, &r.err), LEAT_INVALID);
    assert_ok(leat_trace_start(r.context, 100, &r.err), &r.err);
    assert_int_equal(leat_trace_start(r.context, 0, &r.err), LEAT_BUSY);
    run_once(&r, 2); /* it goes on */
    assert_int_equal(leat_trace_write(r.context, refuse, NULL, &r.err), LEAT_INVALID);
    leat_trace_stop(r.context);
    assert_int_equal(leat_trace_write(r.context, refuse, NULL, &r.err), LEAT_IO);
    assert_int_equal(leat_trace_write(r.context, NULL, NULL, &r.err), LEAT_INVALID);
    check_trace(r.context, "run=1 kernel=1");
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void no_memory_is_no_trace(void **state)
{
    test_allocator memory;
    const leat_allocator allocator = test_allocator_init(&memory);
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .allocator = &allocator, .threads = 1};
    leat_context *context = NULL;
    leat_error err;
    (void)state;
    assert_ok(leat_context_create(&desc, &context, &err), &err);
    assert_ok(leat_trace_start(context, 10, &err), &err);
    leat_trace_stop(context);
    memory.allow = 0;
    assert_int_equal(leat_trace_start(context, 20, &err), LEAT_NO_MEMORY);
    assert_int_equal(leat_trace_write(context, refuse, NULL, &err), LEAT_INVALID);
    memory.allow = -1;
    assert_ok(leat_trace_start(context, 20, &err), &err);
    leat_context_destroy(context); /* while it runs */
    assert_int_equal(memory.live, 0);
}

/* Names are the file's. */
static void names_cannot_leave_their_strings(void **state)
{
    static float x[6];
    const leat_array in = test_f32(x, "2x3");
    leat_array out = {0};
    test_run r;
    (void)state;
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3");
    onnx_builder_node(b, "Sin", "x", "q\"\\\n\x01\xc3\xa9\xff \"}]{", NULL, 0);
    onnx_builder_node(b, "Cos", "q\"\\\n\x01\xc3\xa9\xff \"}]{", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "2x3");
    test_run_open(&r, b);
    assert_ok(leat_trace_start(r.context, 0, &r.err), &r.err);
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    leat_trace_stop(r.context);
    check_trace(r.context, "run=1 kernel=2");
    test_run_free(&r);
    onnx_builder_destroy(b);
}

typedef struct runner {
    test_run *shared;
    pthread_t thread;
} runner;

static void *run_many(void *argument)
{
    runner *u = argument;
    test_run own = *u->shared;
    test_run_session(&own, NULL);
    for (int i = 0; i < 200; i++) {
        run_once(&own, 1 + i % 3);
    }
    leat_session_destroy(own.session);
    return NULL;
}

static void threads_have_lanes_of_their_own(void **state)
{
    runner runners[4];
    test_run r;
    (void)state;
    onnx_builder *b = test_build_mlp();
    test_run_load(&r, b);
    assert_ok(leat_trace_start(r.context, 0, &r.err), &r.err);
    for (int i = 0; i < 4; i++) {
        runners[i].shared = &r;
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_many, &runners[i]), 0);
    }
    for (int i = 0; i < 100; i++) { /* while they run */
        leat_trace_stop(r.context);
        assert_ok(leat_trace_start(r.context, 0, &r.err), &r.err);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(runners[i].thread, NULL);
    }
    leat_trace_stop(r.context);
    check_trace(r.context, "lost=0");
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* A device's copies and kernels are timed apart, or each kernel, as the session's profile says. */
static void devices_have_copies_and_kernels(void **state)
{
    static const char *const fake[] = {"fake:0"};
    static float x[6];
    const leat_array in = test_f32(x, "2x3");
    (void)state;
    for (int32_t profile = 0; profile <= 2; profile++) {
        const leat_session_desc desc = {
            .struct_size = sizeof(desc), .devices = fake, .n_devices = 1, .profile = profile};
        leat_array out = {0};
        test_run r;
        onnx_builder *b = onnx_builder_create(17);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3");
        onnx_builder_node(b, "Relu", "x", "z", NULL, 0);
        onnx_builder_node(b, "Add", "z,z", "y", NULL, 0);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "2x3");
        test_run_load(&r, b);
        assert_ok(leat_context_load_backend(r.context, TEST_BUILD "/tests/plugins/backend_fake.so",
                                            &r.err),
                  &r.err);
        test_run_session(&r, &desc);
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        assert_ok(leat_trace_start(r.context, 0, &r.err), &r.err);
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        leat_trace_stop(r.context);
        check_trace(r.context, profile == 0   ? "run=1 kernel=0 copy=0"
                               : profile == 1 ? "run=1 kernel=2 copy=0"
                                              : "run=1 kernel=1 copy=2");
        test_run_free(&r);
        onnx_builder_destroy(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_runs_and_kernels_have_lanes),
        cmocka_unit_test(ring_keeps_the_latest),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(no_memory_is_no_trace),
        cmocka_unit_test(devices_have_copies_and_kernels),
        cmocka_unit_test(names_cannot_leave_their_strings),
        cmocka_unit_test(threads_have_lanes_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

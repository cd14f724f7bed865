/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of sessions on CUDA, many and side by side: with the fake driver, which counts what is alive
 * and what is called, or, where LEAT_CUDA_PLUGIN names the plugin, on a real device. */
#include "backends/cuda/fakes.h"
#include "support/test.h"

#include "base/clock.h"
#include "support/run.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static fake_cuda_counts *counts; /* NULL: a real device */
static int (*memory_info)(size_t *out_free, size_t *out_total);
static const char *plugin = FAKES "/libleat_cuda.so";
static const char *const names[] = {"cuda:0"};

static void *find(const char *name)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return driver ? dlsym(driver, name) : NULL;
}

static int find_driver(void **state)
{
    (void)state;
    void *symbol = find("fake_cuda_read_counts");
    if (symbol != NULL) {
        fake_cuda_counts *(*read)(void);
        memcpy(&read, &symbol, sizeof(symbol));
        counts = read();
    }
    symbol = find("cuMemGetInfo_v2");
    memcpy(&memory_info, &symbol, sizeof(symbol));
    return 0;
}

static int behave(void **state)
{
    (void)state;
    setenv("LEAT_FAKE_CUDA", "good", 1);
    return 0;
}

static void start(test_run *r, onnx_builder *b, int32_t no_graphs)
{
    test_run_load(r, b);
    assert_ok(leat_context_load_backend(r->context, plugin, &r->err), &r->err);
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = names, .n_devices = 1, .no_graphs = no_graphs};
    test_run_session(r, &desc);
}

static void finish(test_run *r, onnx_builder *b)
{
    test_run_free(r);
    onnx_builder_destroy(b);
    if (counts != NULL) {
        assert_int_equal(counts->device_blocks, 0);
        assert_int_equal(counts->pinned_blocks, 0);
        assert_int_equal(counts->streams, 0);
        assert_int_equal(counts->events, 0);
        assert_int_equal(counts->graphs, 0);
    }
}

#define MOST_ROWS 5

static void run_rows(leat_session *session, int64_t rows, int seed)
{
    float x[MOST_ROWS * 4], expected[MOST_ROWS * 3];
    leat_error err = {0};
    for (int i = 0; i < 4 * MOST_ROWS; i++) {
        x[i] = (float)((i * 7 + seed * 13) % 23 - 11);
    }
    test_mlp_oracle(x, (size_t)rows, expected);
    leat_array in = {.dtype = LEAT_DTYPE_F32,
                     .rank = 2,
                     .shape = {rows, 4},
                     .data = x,
                     .bytes = (size_t)rows * 16};
    leat_array out = {0};
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &err), &err);
    for (int64_t i = 0; i < rows * 3; i++) {
        assert_true(((const float *)out.data)[i] == expected[i]);
    }
}

static void warmed_runs_allocate_nothing(void **state)
{
    onnx_builder *b = test_build_mlp();
    test_run r;
    size_t before = 0, after = 0, total, n_runs = counts ? 300 : 10000;
    (void)state;
    start(&r, b, 0);
    for (int i = 0; i < 8; i++) {
        run_rows(r.session, 1 + i % 2, i);
    }
    size_t allocations = counts ? counts->allocations : 0;
    size_t captures = counts ? counts->captures : 0, launches = counts ? counts->launches : 0;
    if (counts == NULL) {
        assert_int_equal(memory_info(&before, &total), 0);
    }
    for (size_t i = 0; i < n_runs; i++) {
        run_rows(r.session, 1 + (int64_t)(i % 2), (int)i);
    }
    if (counts != NULL) {
        assert_int_equal(counts->allocations, allocations);
        assert_int_equal(counts->captures, captures);
        assert_int_equal(captures, 2);                /* a graph for each shape */
        assert_int_equal(counts->launches, launches); /* nothing but graphs */
    } else {
        assert_int_equal(memory_info(&after, &total), 0);
        assert_int_equal(before, after);
    }
    finish(&r, b);
}

/* Runs in a queue of the application's: right, not recorded, and the queue stays. */
static void runs_join_a_queue_of_the_application(void **state)
{
    onnx_builder *b = test_build_mlp();
    test_run r;
    float x[3][4] = {{1, -2, 3, 4}, {0, 5, -6, 7}, {8, 9, 1, -3}}, expected[3][3];
    int (*make)(void **, unsigned), (*end)(void *);
    void *queue = NULL, *symbol = find("cuStreamCreate");
    leat_stream *stream;
    leat_array in[3], out[3] = {{0}};
    (void)state;
    memcpy(&make, &symbol, sizeof(symbol));
    symbol = find("cuStreamDestroy");
    memcpy(&end, &symbol, sizeof(symbol));
    start(&r, b, 0);
    assert_int_equal(make(&queue, 1), 0);
    assert_ok(leat_stream_wrap(r.context, "cuda:0", queue, &stream, &r.err), &r.err);
    size_t captures = counts ? counts->captures : 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++) {
            float result[3] = {0};
            test_mlp_oracle(x[i], 1, expected[i]);
            in[i] = test_f32(x[i], "1x4");
            out[i] = test_f32(result, "1x3");
            assert_ok(
                leat_session_submit(r.session, stream, &in[i], 1, &out[i], 1, NULL, NULL, &r.err),
                &r.err);
            assert_ok(leat_stream_wait(stream, 0, &r.err), &r.err);
            assert_memory_equal(result, expected[i], sizeof(result));
        }
    }
    assert_true(counts == NULL || counts->captures == captures);
    leat_stream_destroy(stream);
    run_rows(r.session, 2, 3);       /* and in its own again */
    assert_int_equal(end(queue), 0); /* it was still there */
    finish(&r, b);
}

static void queue_of_a_device_that_the_session_lacks_is_refused(void **state)
{
    onnx_builder *b = test_build_mlp();
    test_run r;
    float x[4] = {0};
    leat_stream *stream;
    leat_array in = test_f32(x, "1x4"), out = {0};
    (void)state;
    test_run_open(&r, b);
    assert_ok(leat_context_load_backend(r.context, plugin, &r.err), &r.err);
    assert_ok(leat_stream_wrap(r.context, "cuda:0", NULL, &stream, &r.err), &r.err);
    assert_int_equal(leat_session_submit(r.session, stream, &in, 1, &out, 1, NULL, NULL, &r.err),
                     LEAT_INVALID);
    leat_stream_destroy(stream);
    finish(&r, b);
}

typedef struct thread_work {
    leat_session *session;
    size_t n_runs;
} thread_work;

static void *run_many(void *argument)
{
    const thread_work *work = argument;
    for (size_t i = 0; i < work->n_runs; i++) {
        run_rows(work->session, 1 + (int64_t)(i % MOST_ROWS), (int)i);
    }
    return NULL;
}

/* They capture while the other allocates, launches and captures. */
static void two_sessions_on_two_threads_give_their_results(void **state)
{
    onnx_builder *b = test_build_mlp();
    test_run r;
    pthread_t thread;
    leat_session *second;
    (void)state;
    start(&r, b, 0);
    leat_session_desc desc = {.struct_size = sizeof(desc), .devices = names, .n_devices = 1};
    assert_ok(leat_session_create(r.model, &desc, &second, &r.err), &r.err);
    thread_work work[2] = {{r.session, counts ? 60 : 5000}, {second, counts ? 60 : 5000}};
    assert_int_equal(pthread_create(&thread, NULL, run_many, &work[0]), 0);
    run_many(&work[1]);
    pthread_join(thread, NULL);
    leat_session_destroy(second);
    finish(&r, b);
}

static void a_failing_capture_gives_the_same_results(void **state)
{
    static const char *const behaviours[] = {"begin_capture", "end_capture",  "instantiate",
                                             "upload",        "graph_launch", "no_pinned"};
    (void)state;
    if (counts == NULL) {
        skip();
    }
    for (size_t k = 0; k < sizeof(behaviours) / sizeof(behaviours[0]); k++) {
        onnx_builder *b = test_build_mlp();
        test_run r;
        start(&r, b, 0);
        setenv("LEAT_FAKE_CUDA", behaviours[k], 1);
        for (int i = 0; i < 5; i++) {
            run_rows(r.session, 3, i);
        }
        setenv("LEAT_FAKE_CUDA", "good", 1);
        run_rows(r.session, 3, 9);
        finish(&r, b);
    }
}

/* A graph that takes 6 ms: no wait ends before it does, and once its times are known a wait polls
 * at its end instead of having itself woken. */
static void a_long_graph_is_polled_for_at_its_end(void **state)
{
    enum {
        RUNS = 24,
        LATE_NS = 6000000
    };
    onnx_builder *b = test_build_mlp();
    test_run r;
    (void)state;
    if (counts == NULL) {
        onnx_builder_destroy(b);
        skip();
    }
    start(&r, b, 0);
    for (int i = 0; i < 4; i++) {
        run_rows(r.session, 2, i);
    }
    setenv("LEAT_FAKE_CUDA", "late", 1);
    const size_t wakes = counts->wakes, graphs = counts->graph_launches;
    for (int i = 0; i < RUNS; i++) {
        const uint64_t begin = lt_clock_ns();
        run_rows(r.session, 2, i);
        assert_true(lt_clock_ns() - begin >= LATE_NS);
    }
    assert_int_equal(counts->graph_launches - graphs, RUNS);
    assert_true(counts->wakes > wakes);
    assert_true(counts->wakes < wakes + RUNS);
    setenv("LEAT_FAKE_CUDA", "good", 1);
    finish(&r, b);
}

/* An error each time, with a graph or before there is one; nothing aborts, all can be freed. */
static void a_lost_device_is_an_error_in_every_later_run(void **state)
{
    (void)state;
    if (counts == NULL) {
        skip();
    }
    for (int warm = 0; warm < 4; warm++) {
        onnx_builder *b = test_build_mlp();
        test_run r;
        float x[4] = {1, 2, 3, 4};
        start(&r, b, 0);
        for (int i = 0; i < warm; i++) {
            run_rows(r.session, 1, i);
        }
        setenv("LEAT_FAKE_CUDA", "dead", 1);
        for (int i = 0; i < 3; i++) {
            leat_array in = test_f32(x, "1x4"), out = {0};
            memset(&r.err, 0, sizeof(r.err));
            assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err),
                             LEAT_DEVICE_LOST);
            assert_non_null(strstr(r.err.message, "cuda: "));
        }
        setenv("LEAT_FAKE_CUDA", "good", 1);
        finish(&r, b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, behave)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(warmed_runs_allocate_nothing),
        TEST(runs_join_a_queue_of_the_application),
        TEST(queue_of_a_device_that_the_session_lacks_is_refused),
        TEST(two_sessions_on_two_threads_give_their_results),
        TEST(a_failing_capture_gives_the_same_results),
        TEST(a_long_graph_is_polled_for_at_its_end),
        TEST(a_lost_device_is_an_error_in_every_later_run),
    };
    (void)argc;
    if (getenv("LEAT_CUDA_PLUGIN") != NULL) {
        plugin = getenv("LEAT_CUDA_PLUGIN");
    } else if (start_with_fakes(argv, FAKES) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, find_driver, NULL);
}

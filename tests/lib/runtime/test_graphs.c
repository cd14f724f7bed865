/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded runs: the fake device's graphs hold addresses and commands as they were queued, so a
 * graph that is replayed when it should not be gives wrong results. */
#include "support/test.h"

#include "plugins/backend_fake.h"
#include "support/run.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"

static const fake_counts *counts;
static void (*pin)(const void *address, size_t bytes);

static const char *const fake_names[] = {"fake:0"};

static int find_counts(void **state)
{
    (void)state;
    void *library = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *symbol = dlsym(library, "backend_fake_counts");
    assert_non_null(symbol);
    const fake_counts *(*read)(void);
    memcpy(&read, &symbol, sizeof(symbol));
    counts = read();
    symbol = dlsym(library, "backend_fake_pin");
    assert_non_null(symbol);
    memcpy(&pin, &symbol, sizeof(symbol));
    return 0;
}

static int forget(void **state)
{
    (void)state;
    unsetenv("LEAT_FAKE_GRAPHS");
    pin(NULL, 0);
    return 0;
}

static void start(test_run *r, onnx_builder *b, leat_fallback fallback, int32_t no_graphs)
{
    test_run_load(r, b);
    assert_ok(leat_context_load_backend(r->context, FAKE, &r->err), &r->err);
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = fake_names,
                              .n_devices = 1,
                              .fallback = fallback,
                              .no_graphs = no_graphs};
    test_run_session(r, &desc);
}

/* Nothing of the device is left. */
static void finish(test_run *r, onnx_builder *b)
{
    test_run_free(r);
    onnx_builder_destroy(b);
    assert_int_equal(counts->graphs, 0);
    assert_int_equal(counts->pinned, 0);
}

/* y = Relu(x + x) */
static onnx_builder *build_chain(void)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_text(b, "x: f32[N]; t = Add(x, x); y = Relu(t); -> y: f32[N]");
    return b;
}

static leat_array vector(float *data, int64_t count)
{
    return (leat_array){.dtype = LEAT_DTYPE_F32,
                        .rank = 1,
                        .shape = {count},
                        .data = data,
                        .bytes = (size_t)count * sizeof(float)};
}

/* Runs with new data; y NULL: the session's own output. */
static void run_chain(test_run *r, float *x, float *y, int64_t count, float seed)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = seed * (float)(i % 17 - 8);
        if (y != NULL) {
            y[i] = -1;
        }
    }
    leat_array in = vector(x, count), out = {0};
    if (y != NULL) {
        out = vector(y, count);
    }
    assert_ok(leat_session_run(r->session, &in, 1, &out, 1, &r->err), &r->err);
    assert_int_equal(out.shape[0], count);
    for (int64_t i = 0; i < count; i++) {
        float expected = x[i] > 0 ? 2 * x[i] : 0;
        assert_true(((const float *)out.data)[i] == expected);
    }
}

static void third_run_replays_what_the_second_recorded(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[5], y[5];
    size_t captures = counts->captures, replays = counts->replays, plain = counts->plain;
    (void)state;
    start(&r, b, LEAT_FALLBACK_NONE, 0);
    run_chain(&r, x, y, 5, 1);
    assert_int_equal(counts->plain - plain, 2);
    assert_int_equal(counts->captures, captures);
    for (int i = 0; i < 6; i++) {
        run_chain(&r, x, i % 2 ? y : NULL, 5, (float)i - 2);
    }
    assert_int_equal(counts->captures - captures, 1);
    assert_int_equal(counts->replays - replays, 6);
    assert_int_equal(counts->plain - plain, 2);
    finish(&r, b);
}

/* Small arrays go through pinned memory, so that the caller's addresses do not matter. */
static void other_buffers_and_shapes_give_their_own_results(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[3][64], y[3][64];
    size_t captures = counts->captures;
    (void)state;
    start(&r, b, LEAT_FALLBACK_NONE, 0);
    for (int i = 0; i < 24; i++) {
        run_chain(&r, x[i % 3], y[i / 3 % 3], i % 2 ? 64 : 9, (float)(i - 11));
    }
    assert_int_equal(counts->captures - captures, 2);
    finish(&r, b);
}

/* Runs of n elements in the caller's memory, pinned from the start or not at all; the results go
 * there too, or stay the session's. */
static void run_large(bool is_pinned, bool own_outputs, size_t n_buffers, size_t expected_captures)
{
    enum {
        N = 300000
    };
    onnx_builder *b = build_chain();
    test_run r;
    size_t captures = counts->captures, bytes = n_buffers * 2 * N * sizeof(float);
    float *block = malloc(bytes);
    assert_non_null(block);
    pin(is_pinned ? block : NULL, bytes);
    start(&r, b, LEAT_FALLBACK_NONE, 0);
    for (size_t i = 0; i < 5 * n_buffers; i++) {
        float *x = block + i % n_buffers * 2 * N;
        run_chain(&r, x, own_outputs ? x + N : NULL, N, (float)i - 3);
    }
    assert_int_equal(counts->captures - captures, expected_captures);
    finish(&r, b);
    free(block);
}

static void large_arrays_are_streamed_beside_the_graph(void **state)
{
    (void)state;
    run_large(false, true, 1, 1);
    run_large(false, true, 3, 1);
}

/* Outputs' addresses are the graph's then: the same again replay; with others in turn nothing is
 * recorded, for no two runs in a row are alike. Inputs are copied before it, from anywhere. */
static void pinned_arrays_are_taken_where_they_are(void **state)
{
    (void)state;
    run_large(true, true, 1, 1);
    run_large(true, true, 2, 0);
    run_large(true, false, 3, 1);
}

static void a_node_of_the_cpu_leaves_two_graphs(void **state)
{
    onnx_builder *b = onnx_builder_create(17);
    test_run r;
    float x[4] = {-1, 2, -3, 4};
    size_t captures = counts->captures, plain = counts->plain;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "4");
    onnx_builder_node(b, "Relu", "x", "a", NULL, 0);
    onnx_builder_node(b, "Neg", "a", "b", NULL, 0); /* the fake device has none */
    onnx_builder_node(b, "Add", "b,a", "c", NULL, 0);
    onnx_builder_node(b, "Add", "c,b", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "4");
    start(&r, b, LEAT_FALLBACK_CPU, 0);
    for (int i = 0; i < 5; i++) {
        leat_array in = vector(x, 4), out = {0};
        x[1] = (float)i;
        const float expected[4] = {0, -(float)i, 0, -4};
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        test_assert_f32(&out, "4", expected);
    }
    assert_int_equal(counts->captures - captures, 2);
    assert_int_equal(counts->plain - plain, 3);
    finish(&r, b);
}

static void without_graphs_every_run_is_queued(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[5];
    size_t captures = counts->captures, plain = counts->plain;
    (void)state;
    start(&r, b, LEAT_FALLBACK_NONE, 1);
    for (int i = 0; i < 4; i++) {
        run_chain(&r, x, NULL, 5, (float)i);
    }
    assert_int_equal(counts->captures, captures);
    assert_int_equal(counts->plain - plain, 8);
    finish(&r, b);
}

static void a_device_that_cannot_record_runs_plainly(void **state)
{
    static const char *const failures[] = {"begin", "end", "queue", "launch"};
    (void)state;
    for (size_t f = 0; f < sizeof(failures) / sizeof(failures[0]); f++) {
        onnx_builder *b = build_chain();
        test_run r;
        float x[5], y[5];
        size_t replays = counts->replays, plain = counts->plain;
        setenv("LEAT_FAKE_GRAPHS", failures[f], 1);
        start(&r, b, LEAT_FALLBACK_NONE, 0);
        for (int i = 0; i < 5; i++) {
            run_chain(&r, x, y, 5, (float)i - 1);
        }
        assert_int_equal(counts->replays, replays);
        assert_int_equal(counts->plain - plain, 10);
        finish(&r, b);
    }
}

/* A graph that fails later is given up too. */
static void a_graph_that_fails_once_is_dropped(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[5];
    (void)state;
    start(&r, b, LEAT_FALLBACK_NONE, 0);
    for (int i = 0; i < 4; i++) {
        run_chain(&r, x, NULL, 5, (float)i);
    }
    setenv("LEAT_FAKE_GRAPHS", "launch", 1);
    run_chain(&r, x, NULL, 5, 7);
    unsetenv("LEAT_FAKE_GRAPHS");
    assert_int_equal(counts->graphs, 0);
    size_t replays = counts->replays;
    run_chain(&r, x, NULL, 5, 8);
    assert_int_equal(counts->replays, replays);
    finish(&r, b);
}

static void a_profile_times_nodes_without_graphs(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[5];
    size_t captures = counts->captures;
    (void)state;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, FAKE, &r.err), &r.err);
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = fake_names, .n_devices = 1, .profile = 1};
    test_run_session(&r, &desc);
    for (int i = 0; i < 4; i++) {
        run_chain(&r, x, NULL, 5, (float)i);
    }
    assert_int_equal(counts->captures, captures);
    finish(&r, b);
}

static void trimmed_plans_take_their_graphs_along(void **state)
{
    onnx_builder *b = build_chain();
    test_run r;
    float x[5], y[5];
    (void)state;
    start(&r, b, LEAT_FALLBACK_NONE, 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            run_chain(&r, x, y, 5, (float)i);
        }
        assert_int_equal(counts->graphs, 1);
        leat_context_trim(r.context);
        assert_int_equal(counts->graphs, 0);
        assert_int_equal(counts->pinned, 0);
    }
    finish(&r, b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(third_run_replays_what_the_second_recorded),
        TEST(other_buffers_and_shapes_give_their_own_results),
        TEST(large_arrays_are_streamed_beside_the_graph),
        TEST(pinned_arrays_are_taken_where_they_are),
        TEST(a_node_of_the_cpu_leaves_two_graphs),
        TEST(without_graphs_every_run_is_queued),
        TEST(a_device_that_cannot_record_runs_plainly),
        TEST(a_graph_that_fails_once_is_dropped),
        TEST(a_profile_times_nodes_without_graphs),
        TEST(trimmed_plans_take_their_graphs_along),
    };
    return cmocka_run_group_tests(tests, find_counts, NULL);
}

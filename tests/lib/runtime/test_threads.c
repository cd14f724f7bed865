/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads on one context: sessions of one model that run together, and creation and
 * destruction at the same time. Meant for SANITIZE=thread, useful without. */
#include "support/test.h"

#include "support/attrs.h"
#include "support/run.h"

#include <pthread.h>
#include <stdlib.h>

#define ROUNDS 40
#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"

static leat_context *context;
static leat_model *model;
static float x[8] = {1, 2, 3, 4, -1, 0, 2, -3};
static float expected[6];

typedef struct worker {
    pthread_t thread;
    leat_session *session; /* NULL: one of its own each round */
    const char *device;
    leat_status status;
    leat_error err;
    int wrong;
} worker;

static void run_once(worker *w, leat_session *session, int round)
{
    leat_array in = test_f32(x, round % 3 ? "2x4" : "1x4"), out = {0};
    w->status = leat_session_run(session, &in, 1, &out, 1, &w->err);
    if (w->status == LEAT_OK) {
        w->wrong += memcmp(out.data, expected, out.bytes) != 0;
    }
}

static void *work(void *argument)
{
    worker *w = argument;
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = &w->device,
                              .n_devices = 1,
                              .fallback = LEAT_FALLBACK_CPU,
                              .max_plans = 1};
    for (int round = 0; round < ROUNDS && w->status == LEAT_OK; round++) {
        leat_session *session = w->session;
        if (session == NULL) {
            w->status = leat_session_create(model, &desc, &session, &w->err);
        }
        if (w->status == LEAT_OK) {
            run_once(w, session, round);
        }
        if (w->session == NULL) {
            leat_session_destroy(session);
        }
        if (round % 8 == 0) {
            leat_context_trim(context);
        }
    }
    return NULL;
}

static void run_workers(worker *workers, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (int i = 0; i < count; i++) {
        assert_ok(workers[i].status, &workers[i].err);
        assert_int_equal(workers[i].wrong, 0);
    }
}

static onnx_builder *b;

static int setup(void **state)
{
    (void)state;
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 2};
    size_t bytes;
    b = test_build_mlp();
    const void *data = onnx_builder_finish(b, &bytes);
    test_mlp_oracle(x, 2, expected);
    return leat_context_create(&desc, &context, NULL) != LEAT_OK ||
           leat_context_load_backend(context, FAKE, NULL) != LEAT_OK ||
           leat_model_load_memory(context, data, bytes, NULL, &model, NULL) != LEAT_OK;
}

static int teardown(void **state)
{
    (void)state;
    leat_model_destroy(model);
    leat_context_destroy(context);
    onnx_builder_destroy(b);
    return 0;
}

static void two_sessions_run_together(void **state)
{
    (void)state;
    worker workers[2] = {{.device = "cpu"}, {.device = "cpu"}};
    for (int i = 0; i < 2; i++) {
        assert_ok(leat_session_create(model, NULL, &workers[i].session, &workers[i].err),
                  &workers[i].err);
    }
    run_workers(workers, 2);
    for (int i = 0; i < 2; i++) {
        leat_session_destroy(workers[i].session);
    }
}

static void sessions_come_and_go_together(void **state)
{
    (void)state;
    worker workers[4] = {
        {.device = "cpu"}, {.device = "fake:0"}, {.device = "cpu"}, {.device = "fake:1"}};
    run_workers(workers, 4);
}

static void *load_and_drop(void *argument)
{
    worker *w = argument;
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    for (int round = 0; round < ROUNDS && w->status == LEAT_OK; round++) {
        leat_model *own;
        w->status = leat_model_load_memory(context, data, bytes, NULL, &own, &w->err);
        if (w->status == LEAT_OK) {
            leat_model_destroy(own);
        }
        w->wrong += leat_device_count(context) != 4;
    }
    return NULL;
}

static void models_load_while_others_run(void **state)
{
    (void)state;
    worker loader = {0}, runner = {.device = "cpu"};
    assert_int_equal(pthread_create(&loader.thread, NULL, load_and_drop, &loader), 0);
    run_workers(&runner, 1);
    pthread_join(loader.thread, NULL);
    assert_ok(loader.status, &loader.err);
    assert_int_equal(loader.wrong, 0);
}

/* Phases of 1, 2 and 4 taps on many threads at the same time: their products need workspaces of
 * different sizes, which once overlapped. Many runs, for it takes threads that are interrupted. */
static void threads_of_a_transposed_convolution_share_nothing(void **state)
{
    enum {
        IN = 16,
        OUT = 32,
        H = 20,
        W = 24,
        RUNS = 1000
    };
    static float image[IN * H * W], w[IN * OUT * 9];
    (void)state;
    leat_context_desc many = {.struct_size = sizeof(many), .threads = 8};
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "1x16x20x24");
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "1x32x40x48");
    for (int i = 0; i < IN * OUT * 9; i++) {
        w[i] = (float)(i * 7 % 13 - 6);
    }
    for (int i = 0; i < IN * H * W; i++) {
        image[i] = (float)(i * 5 % 11 - 5);
    }
    onnx_builder_floats(builder, "w", "16x32x3x3", w);
    static const int64_t twos[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr attrs[] = {test_attr_ints("strides", twos, 2), test_attr_ints("pads", ones, 4),
                               test_attr_ints("output_padding", ones, 2)};
    onnx_builder_node(builder, "ConvTranspose", "x,w", "y", attrs, 3);
    test_run run = {0};
    size_t bytes;
    const void *data = onnx_builder_finish(builder, &bytes);
    assert_ok(leat_context_create(&many, &run.context, &run.err), &run.err);
    assert_ok(leat_model_load_memory(run.context, data, bytes, NULL, &run.model, &run.err),
              &run.err);
    test_run_session(&run, NULL);
    leat_array in = test_f32(image, "1x16x20x24"), out = {0};
    void *first = NULL;
    for (int i = 0; i < RUNS; i++) {
        test_run_ok(&run, &in, 1, &out, 1);
        if (i == 0) {
            first = malloc(out.bytes);
            assert_non_null(first);
            memcpy(first, out.data, out.bytes);
        }
        assert_memory_equal(out.data, first, out.bytes); /* small integers: exact in any order */
    }
    free(first);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(two_sessions_run_together),
        TEST(sessions_come_and_go_together),
        TEST(models_load_while_others_run),
        cmocka_unit_test(threads_of_a_transposed_convolution_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

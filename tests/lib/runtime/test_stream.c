/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/run.h"

#include <pthread.h>
#include <time.h>

static test_run r;
static onnx_builder *b;
static leat_stream *stream;
static float x[8] = {1, 2, 3, 4, -1, 0, 2, -3};
static float expected[6];

static int setup(void **state)
{
    (void)state;
    b = test_build_mlp();
    test_run_open(&r, b);
    test_mlp_oracle(x, 2, expected);
    return leat_stream_create(r.context, "cpu", &stream, &r.err) != LEAT_OK;
}

static int teardown(void **state)
{
    (void)state;
    leat_stream_destroy(stream);
    test_run_free(&r);
    onnx_builder_destroy(b);
    return 0;
}

/* What done callbacks tell. */
typedef struct outcome {
    pthread_mutex_t lock;
    int count;
    int order[64];
    leat_status status;
    leat_error error;
} outcome;

static outcome seen;

static void reset_outcome(void)
{
    memset(&seen, 0, sizeof(seen));
    pthread_mutex_init(&seen.lock, NULL);
}

static void note(void *user, leat_status status, const leat_error *error)
{
    pthread_mutex_lock(&seen.lock);
    seen.order[seen.count++] = (int)(intptr_t)user;
    seen.status = status;
    if (error != NULL) {
        seen.error = *error;
    }
    pthread_mutex_unlock(&seen.lock);
}

static void submit_runs_in_order(void **state)
{
    (void)state;
    enum {
        N = 20
    };
    static float y[N][6];
    leat_array out[N] = {{0}};
    reset_outcome();
    for (int i = 0; i < N; i++) {
        leat_array in = test_f32(x, i % 2 ? "2x4" : "1x4"); /* the array itself is copied */
        out[i].data = y[i];
        out[i].bytes = sizeof(y[i]);
        assert_ok(leat_session_submit(r.session, stream, &in, 1, &out[i], 1, note,
                                      (void *)(intptr_t)i, &r.err),
                  &r.err);
        memset(&in, 0xff, sizeof(in));
    }
    assert_ok(leat_stream_wait(stream, 0, &r.err), &r.err);
    assert_int_equal(seen.count, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(seen.order[i], i);
        test_assert_f32(&out[i], i % 2 ? "2x3" : "1x3", expected);
    }
}

static void submit_failing_run_tells_done(void **state)
{
    (void)state;
    reset_outcome();
    leat_array in = test_f32(x, "2x3"), out = {0};
    assert_ok(leat_session_submit(r.session, stream, &in, 1, &out, 1, note, NULL, &r.err), &r.err);
    assert_ok(leat_stream_wait(stream, 0, &r.err), &r.err);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.status, LEAT_INVALID);
    assert_int_equal(seen.error.status, LEAT_INVALID);
    assert_true(seen.error.message[0] != '\0');
}

static void submit_null_returns_invalid(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_int_equal(leat_session_submit(NULL, stream, &in, 1, &out, 1, NULL, NULL, &r.err),
                     LEAT_INVALID);
    assert_int_equal(leat_session_submit(r.session, NULL, &in, 1, &out, 1, NULL, NULL, &r.err),
                     LEAT_INVALID);
    assert_int_equal(leat_session_submit(r.session, stream, NULL, 1, &out, 1, NULL, NULL, &r.err),
                     LEAT_INVALID);
}

/* Holds the stream's thread until released. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static leat_status wait_inside;

static void hold(void *user, leat_status status, const leat_error *error)
{
    (void)status, (void)error;
    wait_inside = leat_stream_wait(user, 0, NULL);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void wait_too_long_returns_timeout(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "2x4"), out = {0};
    pthread_mutex_lock(&gate);
    assert_ok(leat_session_submit(r.session, stream, &in, 1, &out, 1, hold, stream, &r.err),
              &r.err);
    assert_int_equal(leat_stream_wait(stream, 2000000, &r.err), LEAT_TIMEOUT);
    assert_true(r.err.message[0] != '\0');
    pthread_mutex_unlock(&gate);
    assert_ok(leat_stream_wait(stream, 60000000000u, &r.err), &r.err);
    assert_int_equal(wait_inside, LEAT_INVALID); /* a callback must not wait for its stream */
    test_assert_f32(&out, "2x3", expected);
}

static int left;

static void submit_again(void *user, leat_status status, const leat_error *error)
{
    (void)error;
    if (status == LEAT_OK && --left > 0) {
        static leat_array out;
        leat_array in = test_f32(x, "2x4");
        leat_error err;
        out = (leat_array){0};
        if (leat_session_submit(user, stream, &in, 1, &out, 1, submit_again, user, &err)) {
            left = -1;
        }
    }
}

static void done_may_submit_again(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "2x4"), out = {0};
    left = 5;
    assert_ok(
        leat_session_submit(r.session, stream, &in, 1, &out, 1, submit_again, r.session, &r.err),
        &r.err);
    leat_stream_destroy(stream); /* waits for all of them */
    stream = NULL;
    assert_int_equal(left, 0);
}

static void wait_empty_stream_returns_at_once(void **state)
{
    (void)state;
    assert_ok(leat_stream_wait(stream, 0, &r.err), &r.err);
    assert_ok(leat_stream_wait(stream, 1, &r.err), &r.err);
    assert_int_equal(leat_stream_wait(NULL, 1, &r.err), LEAT_INVALID);
}

static void create_bad_arguments_fail(void **state)
{
    (void)state;
    leat_stream *other = stream;
    assert_int_equal(leat_stream_create(r.context, "moon", &other, &r.err), LEAT_NO_DEVICE);
    assert_null(other);
    assert_int_equal(leat_stream_wrap(r.context, "cpu", NULL, &other, &r.err), LEAT_UNSUPPORTED);
    assert_null(other);
}

static void idle_stream_uses_no_processor(void **state)
{
    (void)state;
    struct timespec before, after, pause = {0, 50000000};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    int64_t ns = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    assert_true(ns < 25000000); /* a thread that polls would have used 50 ms */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(submit_runs_in_order),        TEST(submit_failing_run_tells_done),
        TEST(submit_null_returns_invalid), TEST(wait_too_long_returns_timeout),
        TEST(done_may_submit_again),       TEST(wait_empty_stream_returns_at_once),
        TEST(create_bad_arguments_fail),   TEST(idle_stream_uses_no_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

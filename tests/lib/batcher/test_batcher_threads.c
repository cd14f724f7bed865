/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher under load: several threads submit requests of several shapes, cancel some, let some
 * expire, runs fail at times. Each request completes exactly once, and with its own numbers. */
#include "support/test.h"

#include "support/run.h"

#include <leat/batcher.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUBMITTERS = 4,
    REQUESTS = 5000, /* of each */
    WINDOW = 16,     /* handles of each, less than the queue's together */
    WIDTHS = 3
};

static _Atomic uint32_t runs;

/* y = x; every 13th run fails, and so does any that holds a negative number. */
static leat_status unreliable(void *user, int32_t instance, const leat_array *inputs,
                              size_t n_inputs, leat_array *outputs, size_t n_outputs,
                              leat_error *err)
{
    float *const *memories = user;
    const float *x = inputs[0].data;
    const size_t count = inputs[0].bytes / sizeof(float);
    (void)n_inputs;
    (void)n_outputs;
    bool fails = atomic_fetch_add(&runs, 1) % 13 == 12;
    for (size_t i = 0; i < count; i++) {
        fails |= x[i] < 0;
    }
    if (fails) {
        err->status = LEAT_IO;
        strcpy(err->message, "by design");
        return LEAT_IO;
    }
    void *data = outputs[0].data ? outputs[0].data : memories[instance];
    memcpy(data, x, inputs[0].bytes);
    outputs[0] = inputs[0];
    outputs[0].data = data;
    return LEAT_OK;
}

typedef struct asked {
    float in[WIDTHS], out[WIDTHS];
    leat_array x, y;
    leat_request *handle;
    _Atomic int completions;
    leat_status status;
} asked;

typedef struct submitter {
    leat_batcher *batcher;
    uint32_t seed;
    pthread_t thread;
    uint64_t counts[LEAT_EXPIRED + 1];
    uint64_t wrong;
} submitter;

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    asked *a = user;
    (void)outputs;
    (void)n_outputs;
    (void)error;
    a->status = status;
    atomic_fetch_add(&a->completions, 1);
}

static uint32_t next(submitter *s)
{
    s->seed = s->seed * 1664525u + 1013904223u;
    return s->seed >> 8;
}

static void finish(submitter *s, asked *a)
{
    leat_error err;
    leat_status status = leat_request_wait(a->handle, 0, &err);
    s->wrong += atomic_load(&a->completions) != 1 || a->status != status;
    s->counts[status]++;
    const bool right = memcmp(a->in, a->out, a->x.bytes) == 0;
    s->wrong += (status == LEAT_OK) && !right;
    leat_request_release(a->handle);
}

static void *submit_all(void *argument)
{
    submitter *s = argument;
    static _Thread_local asked window[WINDOW];
    leat_error err;
    for (int i = 0; i < REQUESTS; i++) {
        asked *a = &window[i % WINDOW];
        if (i >= WINDOW) {
            finish(s, a);
        }
        memset(a, 0, sizeof(*a));
        const int width = 1 + (int)(next(s) % WIDTHS);
        for (int k = 0; k < width; k++) {
            a->in[k] = (float)(next(s) % 1000 + 1);
        }
        a->in[0] = next(s) % 50 == 0 ? -1 : a->in[0];
        a->x = (leat_array){.dtype = LEAT_DTYPE_F32,
                            .rank = 2,
                            .shape = {1, width},
                            .data = a->in,
                            .bytes = (size_t)width * sizeof(float)};
        a->y = (leat_array){.data = a->out, .bytes = sizeof(a->out)};
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = &a->x,
                                        .n_inputs = 1,
                                        .outputs = &a->y,
                                        .n_outputs = 1,
                                        .class_index = next(s) % 3,
                                        .done = completed,
                                        .done_user = a,
                                        .deadline_ns = next(s) % 10 == 0 ? 20000 : 0};
        leat_request_desc now = desc;
        leat_status status;
        while ((status = leat_batcher_submit(s->batcher, &now, &a->handle, &err)) != LEAT_OK) {
            now.deadline_ns = 0; /* refused: it may come without a deadline */
            if (status == LEAT_BUSY) {
                nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
            } else if (status != LEAT_EXPIRED) {
                s->wrong++;
                return NULL;
            }
        }
        if (next(s) % 5 == 0) {
            leat_status cancelled = leat_request_cancel(a->handle, &err);
            s->wrong += cancelled != LEAT_OK && cancelled != LEAT_BUSY;
        }
    }
    for (int i = 0; i < WINDOW; i++) {
        finish(s, &window[i]);
    }
    return NULL;
}

static void every_request_completes_once_whatever_happens(void **state)
{
    (void)state;
    static float memory[2][4096];
    float *memories[2] = {memory[0], memory[1]};
    static submitter s[SUBMITTERS];
    onnx_builder *builder = onnx_builder_create(17);
    test_run run;
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = 16,
                                    .queue_limit = 100,
                                    .n_instances = 2,
                                    .run = unreliable,
                                    .run_user = memories};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    for (int i = 0; i < SUBMITTERS; i++) {
        s[i].batcher = batcher;
        s[i].seed = (uint32_t)i + 1;
        assert_int_equal(pthread_create(&s[i].thread, NULL, submit_all, &s[i]), 0);
    }
    uint64_t counts[LEAT_EXPIRED + 1] = {0};
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(s[i].wrong, 0);
        for (int k = 0; k <= LEAT_EXPIRED; k++) {
            counts[k] += s[i].counts[k];
        }
    }
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    assert_int_equal(stats.accepted, SUBMITTERS * REQUESTS);
    assert_int_equal(stats.succeeded, counts[LEAT_OK]);
    assert_int_equal(stats.cancelled, counts[LEAT_CANCELLED]);
    assert_int_equal(stats.expired, counts[LEAT_EXPIRED]);
    assert_int_equal(stats.failed, counts[LEAT_IO]);
    assert_int_equal(stats.succeeded + stats.cancelled + stats.expired + stats.failed,
                     SUBMITTERS * REQUESTS);
    assert_true(counts[LEAT_OK] > 0 && counts[LEAT_IO] > 0);
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

typedef struct runner {
    leat_batcher *batcher;
    pthread_t thread;
    int index;
    uint64_t wrong;
} runner;

static void *run_all(void *argument)
{
    runner *r = argument;
    float x[4], y[3], expected[3];
    for (int i = 0; i < 2000; i++) {
        for (int k = 0; k < 4; k++) {
            x[k] = (float)((i * 7 + k * 3 + r->index) % 11) - 5;
        }
        test_mlp_oracle(x, 1, expected);
        const leat_array in = test_f32(x, "1x4");
        leat_array out = {.data = y, .bytes = sizeof(y)};
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = &in,
                                        .n_inputs = 1,
                                        .outputs = &out,
                                        .n_outputs = 1};
        leat_error err;
        r->wrong += leat_batcher_run(r->batcher, &desc, &err) != LEAT_OK;
        for (int k = 0; k < 3; k++) {
            r->wrong += !(y[k] - expected[k] < 1e-5f && expected[k] - y[k] < 1e-5f);
        }
    }
    return NULL;
}

/* Threads that wait for what they ask run it themselves, or have it run with others'. */
static void threads_that_wait_get_their_own_results(void **state)
{
    (void)state;
    static runner r[SUBMITTERS];
    onnx_builder *builder = test_build_mlp();
    test_run run;
    test_run_load(&run, builder);
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, NULL, &batcher, &run.err), &run.err);
    for (int i = 0; i < SUBMITTERS; i++) {
        r[i] = (runner){.batcher = batcher, .index = i};
        assert_int_equal(pthread_create(&r[i].thread, NULL, run_all, &r[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(r[i].thread, NULL);
        assert_int_equal(r[i].wrong, 0);
    }
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    assert_int_equal(stats.succeeded, SUBMITTERS * 2000);
    assert_int_equal(stats.rows, SUBMITTERS * 2000);
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

/* Requests that nobody waits for are complete when the batcher is gone. */
static void destroy_completes_what_waits(void **state)
{
    (void)state;
    enum {
        N = 200
    };
    static asked a[N];
    static float x[4];
    onnx_builder *builder = test_build_mlp();
    test_run run;
    test_run_load(&run, builder);
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, NULL, &batcher, &run.err), &run.err);
    const leat_array in = test_f32(x, "1x4");
    for (int i = 0; i < N; i++) {
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = &in,
                                        .n_inputs = 1,
                                        .done = completed,
                                        .done_user = &a[i]};
        assert_ok(leat_batcher_submit(batcher, &desc, NULL, &run.err), &run.err);
    }
    leat_batcher_destroy(batcher);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].status, LEAT_OK);
    }
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void wait_and_drain_give_up_in_time(void **state)
{
    (void)state;
    onnx_builder *builder = test_build_mlp();
    test_run run;
    test_run_load(&run, builder);
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, NULL, &batcher, &run.err), &run.err);
    assert_ok(leat_batcher_drain(batcher, 1, &run.err), &run.err); /* nothing waits */
    float x[4] = {0}, y[3];
    const leat_array in = test_f32(x, "1x4");
    leat_array out = {.data = y, .bytes = sizeof(y)};
    const leat_request_desc desc = {
        .struct_size = sizeof(desc), .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
    leat_request *request;
    assert_ok(leat_batcher_submit(batcher, &desc, &request, &run.err), &run.err);
    leat_status status = leat_request_wait(request, 1, &run.err);
    assert_true(status == LEAT_TIMEOUT || status == LEAT_OK);
    assert_ok(leat_request_wait(request, 0, &run.err), &run.err);
    leat_request_release(request);
    assert_ok(leat_batcher_drain(batcher, 0, &run.err), &run.err);
    assert_int_equal(leat_batcher_poll(batcher, NULL, &run.err), LEAT_INVALID);
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_completes_once_whatever_happens),
        cmocka_unit_test(threads_that_wait_get_their_own_results),
        cmocka_unit_test(destroy_completes_what_waits),
        cmocka_unit_test(wait_and_drain_give_up_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

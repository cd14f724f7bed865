/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher under load: several threads submit requests of several shapes, cancel some, let some
 * expire; runs fail at times, and so do allocations. Each request completes exactly once, and with
 * its own numbers. */
#include "support/test.h"

#include "lib/batcher/submitters.h"
#include "support/run.h"

#include <sched.h>

enum {
    REQUESTS = 20000, /* of all, by default */
    INSTANCES = 2,
    WINDOW = 16, /* handles of each, less than the queue's together */
    WIDTHS = 3
};

static _Atomic uint32_t runs;

/* Memory of which every 61st block is not to be had, once that is wanted. */
static _Atomic uint32_t allocations;
static _Atomic int failing;

static void *alloc_or_not(void *user, size_t bytes, size_t alignment)
{
    (void)user;
    if (atomic_load(&failing) && atomic_fetch_add(&allocations, 1) % 61 == 60) {
        return NULL;
    }
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void free_block(void *user, void *block, size_t bytes)
{
    (void)user;
    (void)bytes;
    free(block);
}

/* y = x by a session that keeps one plan only, so that most runs allocate; every 13th run fails as
 * a device might, and so does any that holds a negative number. */
static leat_status unreliable(void *user, int32_t instance, const leat_array *inputs,
                              size_t n_inputs, leat_array *outputs, size_t n_outputs,
                              leat_error *err)
{
    leat_session *const *sessions = user;
    const float *x = inputs[0].data;
    const size_t count = inputs[0].bytes / sizeof(float);
    const uint32_t index = atomic_fetch_add(&runs, 1);
    bool fails = atomic_load(&failing) && index % 13 == 12;
    if (index % 16 == 0) {
        sched_yield(); /* others come meanwhile, and are staged */
    }
    for (size_t i = 0; i < count; i++) {
        fails |= x[i] < 0;
    }
    if (fails) {
        err->status = LEAT_IO;
        strcpy(err->message, "by design");
        return LEAT_IO;
    }
    return leat_session_run(sessions[instance], inputs, n_inputs, outputs, n_outputs, err);
}

/* y = x, rows of any width. */
static onnx_builder *build_identity(void)
{
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    return builder;
}

static int draw_any_width(submitter *s, sent *r, leat_request_desc *desc)
{
    const int width = 1 + (int)(next(s) % WIDTHS);
    for (int k = 0; k < width; k++) {
        r->in[k] = (float)(next(s) % 1000 + 1);
    }
    r->in[0] = next(s) % 50 == 0 ? -1 : r->in[0];
    /* Of a group whose times nobody knows, so that it is let in. */
    const bool hopeless = next(s) % 8 == 0;
    desc->class_index = next(s) % 3;
    desc->deadline_ns = hopeless ? 1000 : 0;
    desc->group = hopeless ? next(s) : 0;
    return width;
}

static uint64_t running(leat_batcher *batcher)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    return stats.running;
}

/* What a million requests run on: a context whose memory fails, the model, sessions, the batcher.
 */
typedef struct torture {
    leat_context *context;
    leat_model *model;
    leat_session *sessions[INSTANCES];
    leat_batcher *batcher;
    onnx_builder *builder;
    leat_error err;
} torture;

static void open_torture(torture *t)
{
    const leat_allocator allocator = {.alloc = alloc_or_not, .free = free_block};
    const leat_context_desc context = {
        .struct_size = sizeof(context), .allocator = &allocator, .threads = 1};
    const leat_session_desc session = {.struct_size = sizeof(session), .max_plans = 1};
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = 16,
                                    .queue_limit = 100,
                                    .n_instances = INSTANCES,
                                    .stage_inputs = 1,
                                    .poll_us = 20,
                                    .run = unreliable,
                                    .run_user = t->sessions};
    t->builder = build_identity();
    size_t bytes;
    const void *file = onnx_builder_finish(t->builder, &bytes);
    assert_ok(leat_context_create(&context, &t->context, &t->err), &t->err);
    assert_ok(leat_model_load_memory(t->context, file, bytes, NULL, &t->model, &t->err), &t->err);
    for (int i = 0; i < INSTANCES; i++) {
        assert_ok(leat_session_create(t->model, &session, &t->sessions[i], &t->err), &t->err);
    }
    assert_ok(leat_batcher_create(t->model, &desc, &t->batcher, &t->err), &t->err);
    for (int width = WIDTHS; width > 0; width--) {
        float x[WIDTHS] = {0};
        const leat_array in = {.dtype = LEAT_DTYPE_F32,
                               .rank = 2,
                               .shape = {1, width},
                               .data = x,
                               .bytes = (size_t)width * sizeof(float)};
        assert_ok(leat_batcher_warm(t->batcher, &in, 1, 0, &t->err), &t->err);
    }
    atomic_store(&failing, 1);
}

static void close_torture(torture *t)
{
    leat_batcher_destroy(t->batcher);
    atomic_store(&failing, 0);
    for (int i = 0; i < INSTANCES; i++) {
        leat_session_destroy(t->sessions[i]);
    }
    leat_model_destroy(t->model);
    leat_context_destroy(t->context);
    onnx_builder_destroy(t->builder);
}

static void every_request_completes_once_whatever_happens(void **state)
{
    (void)state;
    static torture t;
    const int each = requests_each(REQUESTS);
    open_torture(&t);
    uint64_t counts[LEAT_EXPIRED + 1] = {0};
    const leat_batcher_stats stats = run_submitters(
        (submitter){
            .batcher = t.batcher, .draw = draw_any_width, .window = WINDOW, .n_requests = each},
        counts);
    print_message("of %d: %llu ok, %llu failed, %llu without memory, %llu cancelled, %llu expired; "
                  "%llu batches, %llu halved, %llu requests staged\n",
                  each * SUBMITTERS, (unsigned long long)counts[LEAT_OK],
                  (unsigned long long)counts[LEAT_IO], (unsigned long long)counts[LEAT_NO_MEMORY],
                  (unsigned long long)counts[LEAT_CANCELLED],
                  (unsigned long long)counts[LEAT_EXPIRED], (unsigned long long)stats.batches,
                  (unsigned long long)stats.bisected, (unsigned long long)stats.staged);
    assert_true(counts[LEAT_OK] > 0 && counts[LEAT_IO] > 0 && counts[LEAT_NO_MEMORY] > 0);
    assert_true(counts[LEAT_CANCELLED] > 0 && counts[LEAT_EXPIRED] > 0);
    assert_true(stats.bisected > 0);
    close_torture(&t);
}

/* A model that waits, in its first run, until it is let go. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open, reached;
    const void *last_input; /* of the last run */
    float memory[64];
} gate;

static leat_status pass_gate(void *user, int32_t instance, const leat_array *inputs,
                             size_t n_inputs, leat_array *outputs, size_t n_outputs,
                             leat_error *err)
{
    gate *g = user;
    (void)instance;
    (void)n_inputs;
    (void)n_outputs;
    (void)err;
    pthread_mutex_lock(&g->lock);
    g->reached = true;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    void *data = outputs[0].data ? outputs[0].data : g->memory;
    memcpy(data, inputs[0].data, inputs[0].bytes);
    g->last_input = inputs[0].data;
    outputs[0] = inputs[0];
    outputs[0].data = data;
    return LEAT_OK;
}

/* Values below 100 pass at once. */
static leat_status pass_gate_of_bulk(void *user, int32_t instance, const leat_array *inputs,
                                     size_t n_inputs, leat_array *outputs, size_t n_outputs,
                                     leat_error *err)
{
    static gate open = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .open = true};
    const bool bulk = ((const float *)inputs[0].data)[0] >= 100;
    return pass_gate(bulk ? user : &open, instance, inputs, n_inputs, outputs, n_outputs, err);
}

static void set_gate(gate *g, bool open, bool reached)
{
    pthread_mutex_lock(&g->lock);
    g->open = open;
    g->reached &= reached;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static void wait_until_reached(gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->reached) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

static void submit_value(leat_batcher *batcher, sent *r, uint32_t class_index, float value,
                         leat_error *err)
{
    *r = (sent){.in = {value}};
    leat_request_desc desc = describe_sent(r, 1);
    desc.class_index = class_index;
    assert_ok(leat_batcher_submit(batcher, &desc, &r->handle, err), err);
}

/* While one runs, others are put where their batch is run from; one that is cancelled leaves a
 * hole, and all get their own numbers still. */
static void inputs_are_staged_while_they_wait(void **state)
{
    (void)state;
    enum {
        N = 5
    };
    static const int32_t sizes[] = {1, 8};
    static gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    onnx_builder *builder = build_identity();
    test_run run;
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = 8,
                                    .batch_sizes = sizes,
                                    .n_batch_sizes = 2,
                                    .stage_inputs = 1,
                                    .timeout_ns = UINT64_MAX,
                                    .run = pass_gate,
                                    .run_user = &g};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    float zero = 0;
    const leat_array in = {
        .dtype = LEAT_DTYPE_F32, .rank = 2, .shape = {1, 1}, .data = &zero, .bytes = sizeof(zero)};
    g.open = true;
    assert_ok(leat_batcher_warm(batcher, &in, 1, 0, &run.err), &run.err);
    for (int hole = 0; hole < 2; hole++) {
        static sent a[N + 1];
        while (running(batcher) > 0) { /* what is complete may not have returned yet */
            sched_yield();
        }
        set_gate(&g, false, false);
        submit_value(batcher, &a[N], 0, 100, &run.err);
        wait_until_reached(&g); /* it runs, and the others wait */
        for (int i = 0; i < N; i++) {
            submit_value(batcher, &a[i], 0, (float)(i + 1), &run.err);
        }
        if (hole) {
            assert_ok(leat_request_cancel(a[2].handle, &run.err), &run.err);
        }
        set_gate(&g, true, true);
        for (int i = 0; i <= N; i++) {
            const bool cancelled = hole && i == 2;
            assert_int_equal(leat_request_wait(a[i].handle, 0, &run.err),
                             cancelled ? LEAT_CANCELLED : LEAT_OK);
            assert_true(cancelled || a[i].out[0] == a[i].in[0]);
            leat_request_release(a[i].handle);
        }
        leat_batcher_stats stats = {.struct_size = sizeof(stats)};
        leat_batcher_read_stats(batcher, &stats);
        /* The first one while a thread woke up, the others where no hole undoes it. */
        assert_int_equal(stats.staged, N + 1 + hole);
        assert_int_equal(stats.batches, 2 * (hole + 1));
    }
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

/* One instance of two is kept for class 0: while a bulk request runs another one waits, an urgent
 * one does not, nor does it take the bulk with it. */
static void urgent_requests_have_an_instance(void **state)
{
    (void)state;
    static gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    onnx_builder *builder = build_identity();
    test_run run;
    test_run_load(&run, builder);
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .n_instances = 2,
                              .reserved_instances = 2,
                              .run = pass_gate_of_bulk,
                              .run_user = &g};
    leat_batcher *batcher;
    assert_int_equal(leat_batcher_create(run.model, &desc, &batcher, &run.err), LEAT_INVALID);
    desc.reserved_instances = 1;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    static sent a[3];
    submit_value(batcher, &a[0], 1, 100, &run.err);
    wait_until_reached(&g);
    submit_value(batcher, &a[1], 1, 101, &run.err);
    submit_value(batcher, &a[2], 0, 1, &run.err);
    assert_ok(leat_request_wait(a[2].handle, 0, &run.err), &run.err);
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    assert_int_equal(stats.waiting, 1);
    assert_int_equal(stats.batches, 1);
    set_gate(&g, true, true);
    for (int i = 0; i < 3; i++) {
        assert_ok(leat_request_wait(a[i].handle, 0, &run.err), &run.err);
        assert_true(a[i].out[0] == a[i].in[0]);
        leat_request_release(a[i].handle);
    }
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
    static sent a[N];
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
                                        .done = note_completion,
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
        cmocka_unit_test(inputs_are_staged_while_they_wait),
        cmocka_unit_test(urgent_requests_have_an_instance),
        cmocka_unit_test(threads_that_wait_get_their_own_results),
        cmocka_unit_test(destroy_completes_what_waits),
        cmocka_unit_test(wait_and_drain_give_up_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

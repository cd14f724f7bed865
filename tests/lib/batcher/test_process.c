/* SPDX-License-Identifier: Apache-2.0 */
/* leat_batcher_process where others have the room that it needs, and giving handles back. */
#include "lib/batcher/bench.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    ROOM = 3,
    ROUNDS = 300
};

static leat_status copy(void *user, int32_t instance, const leat_array *inputs, size_t n_inputs,
                        leat_array *outputs, size_t n_outputs, leat_error *err)
{
    (void)user;
    (void)instance;
    (void)n_inputs;
    (void)n_outputs;
    (void)err;
    static _Thread_local float memory[1024];
    void *data = outputs[0].data ? outputs[0].data : memory;
    memcpy(data, inputs[0].data, inputs[0].bytes);
    outputs[0] = inputs[0];
    outputs[0].data = data;
    return LEAT_OK;
}

typedef struct waiter {
    leat_batcher *batcher;
    asked a;
    leat_status status;
    _Atomic int begun;
} waiter;

static void *process_one(void *argument)
{
    waiter *w = argument;
    (void)ask(&w->a, 5, 1, WIDTH);
    atomic_store(&w->begun, 1);
    w->status = leat_batcher_process(w->batcher, 1, &w->a.x, &w->a.y, NULL, NULL);
    return NULL;
}

static leat_batcher *open_threads(bench *b, onnx_builder *builder, uint32_t queue_limit)
{
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .queue_limit = queue_limit, .run = copy};
    leat_batcher *batcher;
    b->builder = builder;
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    test_run_load(&b->run, builder);
    assert_ok(leat_batcher_create(b->run.model, &desc, &batcher, &b->err), &b->err);
    return batcher;
}

static void submit_to(leat_batcher *batcher, asked *a, float value)
{
    leat_request_desc desc = ask(a, value, 1, WIDTH);
    desc.done = NULL;
    assert_int_equal(leat_batcher_submit(batcher, &desc, &a->handle, NULL), LEAT_OK);
}

/* All room is that of handles which are complete; whoever gives one back, without the lock, lets
 * in the one who waits: at whatever moment that is. */
static void giving_back_lets_in_who_waits_for_room(void **state)
{
    (void)state;
    static bench b;
    static asked a[ROOM];
    static waiter w;
    leat_batcher *batcher = open_threads(&b, onnx_builder_create(17), ROOM);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread;
        for (int i = 0; i < ROOM; i++) {
            submit_to(batcher, &a[i], (float)i);
        }
        for (int i = 0; i < ROOM; i++) {
            assert_int_equal(leat_request_wait(a[i].handle, 0, NULL), LEAT_OK);
            assert_memory_equal(a[i].out, a[i].in, a[i].x.bytes);
        }
        memset(&w, 0, sizeof(w));
        w.batcher = batcher;
        assert_int_equal(pthread_create(&thread, NULL, process_one, &w), 0);
        while (atomic_load(&w.begun) == 0) {
        }
        for (volatile int spin = 0; spin < round * 20; spin++) { /* at many moments */
        }
        for (int i = 0; i < ROOM; i++) {
            leat_request_release(a[i].handle);
        }
        pthread_join(thread, NULL); /* or for ever */
        assert_int_equal(w.status, LEAT_OK);
        assert_memory_equal(w.a.out, w.a.in, w.a.x.bytes);
    }
    leat_batcher_destroy(batcher);
    test_run_free(&b.run);
    onnx_builder_destroy(b.builder);
}

/* Handles given back before, while and after their requests are complete. */
static void handles_are_given_back_at_any_time(void **state)
{
    (void)state;
    static bench b;
    static asked a[ROOM];
    leat_batcher *batcher = open_threads(&b, onnx_builder_create(17), ROOM);
    for (int round = 0; round < 20 * ROUNDS; round++) {
        asked *at = &a[round % ROOM];
        leat_request_desc desc = ask(at, 1, 1, WIDTH);
        desc.done = NULL;
        leat_status status;
        while ((status = leat_batcher_submit(batcher, &desc, &at->handle, NULL)) == LEAT_BUSY) {
            assert_int_equal(leat_batcher_drain(batcher, 0, NULL), LEAT_OK);
        }
        assert_int_equal(status, LEAT_OK);
        for (volatile int spin = 0; spin < round % 997; spin++) {
        }
        leat_request_release(at->handle);
        if (round % ROOM == ROOM - 1) { /* their memory is used again */
            assert_int_equal(leat_batcher_drain(batcher, 0, NULL), LEAT_OK);
        }
    }
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    assert_int_equal(stats.succeeded, 20 * ROUNDS);
    leat_batcher_destroy(batcher);
    test_run_free(&b.run);
    onnx_builder_destroy(b.builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(giving_back_lets_in_who_waits_for_room),
        cmocka_unit_test(handles_are_given_back_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

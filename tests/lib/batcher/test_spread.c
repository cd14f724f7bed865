/* SPDX-License-Identifier: Apache-2.0 */
/* Instances on several devices (spread_devices), on those of the fake plugin: who runs where, and
 * what becomes of requests when a device is lost. */
#include "batcher/batcher.h"

#include "plugins/backend_fake.h"
#include "support/run.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"

enum {
    WIDTH = 3,
    REQUESTS = 40
};

static const fake_counts *counts;
static void (*lose)(unsigned devices);

static int find_fake(void **state)
{
    (void)state;
    void *library = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    const fake_counts *(*read)(void);
    void *symbol = dlsym(library, "backend_fake_counts");
    assert_non_null(symbol);
    memcpy(&read, &symbol, sizeof(symbol));
    counts = read();
    symbol = dlsym(library, "backend_fake_lose");
    assert_non_null(symbol);
    memcpy(&lose, &symbol, sizeof(symbol));
    return 0;
}

static int repair(void **state)
{
    (void)state;
    lose(0);
    return 0;
}

typedef struct bench {
    onnx_builder *builder;
    test_run run;
    leat_batcher *batcher;
} bench;

/* y = Relu(x) on the devices named. What the descriptor points to is gone afterwards. */
static leat_status open_bench(bench *b, leat_batcher_desc desc, const char *const *names, size_t n)
{
    b->batcher = NULL;
    b->builder = onnx_builder_create(17);
    onnx_builder_input(b->builder, "x", LEAT_DTYPE_F32, "Nx3");
    onnx_builder_node(b->builder, "Relu", "x", "y", NULL, 0);
    onnx_builder_output(b->builder, "y", LEAT_DTYPE_F32, "Nx3");
    test_run_load(&b->run, b->builder);
    assert_ok(leat_context_load_backend(b->run.context, FAKE, &b->run.err), &b->run.err);
    const char **devices = malloc(n * sizeof(*devices));
    char *directory = strdup(TEST_BUILD);
    assert_non_null(devices);
    memcpy(devices, names, n * sizeof(*devices));
    const leat_session_desc session = {.struct_size = sizeof(session),
                                       .devices = devices,
                                       .n_devices = n,
                                       .cache_directory = directory};
    desc.struct_size = sizeof(desc);
    desc.session = &session;
    desc.spread_devices = 1;
    leat_status status = leat_batcher_create(b->run.model, &desc, &b->batcher, &b->run.err);
    free(devices);
    free(directory);
    return status;
}

static void close_bench(bench *b)
{
    leat_batcher_destroy(b->batcher);
    test_run_free(&b->run);
    onnx_builder_destroy(b->builder);
}

static leat_batcher_stats stats_of(bench *b)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(b->batcher, &stats);
    return stats;
}

/* Requests of one row, as many as wanted, all waiting before the first is waited for; each gets
 * `wanted`, and with OK its own numbers. */
static void ask_many(bench *b, leat_status wanted)
{
    float in[REQUESTS][WIDTH], out[REQUESTS][WIDTH];
    leat_array y[REQUESTS]; /* the batcher's until it has answered */
    leat_request *handles[REQUESTS];
    leat_error err = {0};
    for (int i = 0; i < REQUESTS; i++) {
        for (int k = 0; k < WIDTH; k++) {
            in[i][k] = (float)(k == 1 ? -i : i + k);
        }
        const leat_array x = test_f32(in[i], "1x3");
        y[i] = test_f32(out[i], "1x3");
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = &x,
                                        .n_inputs = 1,
                                        .outputs = &y[i],
                                        .n_outputs = 1};
        assert_ok(leat_batcher_submit(b->batcher, &desc, &handles[i], &err), &err);
    }
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(leat_request_wait(handles[i], 0, &err), wanted);
        leat_request_release(handles[i]);
        for (int k = 0; k < WIDTH && wanted == LEAT_OK; k++) {
            assert_true(out[i][k] == (k == 1 ? 0 : (float)(i + k)));
        }
    }
}

/* Every instance is run once by warming, and each has one device. */
static void warm(bench *b)
{
    float row[WIDTH] = {1, 2, 3};
    const leat_array x = test_f32(row, "1x3");
    leat_error err = {0};
    assert_ok(leat_batcher_warm(b->batcher, &x, 1, 0, &err), &err);
}

static void instances_take_turns_on_the_devices(void **state)
{
    static const char *const names[] = {"fake:0", "cpu", "fake:1"};
    bench b;
    (void)state;
    assert_ok(open_bench(&b, (leat_batcher_desc){.max_batch_size = 4}, names, 3), &b.run.err);
    assert_int_equal(stats_of(&b).n_instances, 8); /* 4 a device */
    const size_t before[2] = {counts->waits[0], counts->waits[1]};
    warm(&b);
    assert_true(counts->waits[0] > before[0]);
    assert_int_equal(counts->waits[0] - before[0], counts->waits[1] - before[1]);
    ask_many(&b, LEAT_OK);
    assert_int_equal(stats_of(&b).moved, 0);
    close_bench(&b);
}

/* Whoever begins a batch takes an instance where the fewest are under way. */
static void batches_go_where_the_fewest_run(void **state)
{
    static const char *const names[] = {"fake:0", "fake:1"};
    lt_instance *taken[6];
    bench b;
    (void)state;
    const leat_batcher_desc desc = {.n_instances = 6, .no_threads = 1, .reserved_instances = -1};
    assert_ok(open_bench(&b, desc, names, 2), &b.run.err);
    for (int i = 0; i < 6; i++) {
        taken[i] = lt_batcher_take_instance(b.batcher, false);
        assert_true(i % 2 == 0 || taken[i]->place != taken[i - 1]->place);
    }
    for (int place = 0; place < 2; place++) { /* come back one device after the other */
        for (int i = 0; i < 6; i++) {
            if (taken[i]->place == place) {
                lt_batcher_return_instance(b.batcher, taken[i]);
            }
        }
    }
    for (int i = 0; i < 6; i++) {
        taken[i] = lt_batcher_take_instance(b.batcher, false);
        assert_true(i % 2 == 0 || taken[i]->place != taken[i - 1]->place);
    }
    assert_null(b.batcher->idle);
    close_bench(&b);
}

/* What ran on a lost device runs again on the one that is left; nobody is told. */
static void requests_survive_the_loss_of_a_device(void **state)
{
    static const char *const names[] = {"fake:0", "fake:1"};
    bench b;
    (void)state;
    assert_ok(open_bench(&b, (leat_batcher_desc){.max_batch_size = 4}, names, 2), &b.run.err);
    warm(&b);
    lose(1U << 1);
    for (int i = 0; i < 20; i++) {
        ask_many(&b, LEAT_OK);
    }
    warm(&b); /* which runs on every instance, and moves those that no batch has met */
    assert_int_equal(stats_of(&b).moved, 4);
    assert_int_equal(stats_of(&b).bisected, 0);
    const size_t lost = counts->waits[1];
    ask_many(&b, LEAT_OK);
    assert_int_equal(counts->waits[1], lost); /* nobody asks it any more */
    lose(3);
    ask_many(&b, LEAT_DEVICE_LOST);
    close_bench(&b);
}

static void a_device_that_cannot_be_opened_is_an_error(void **state)
{
    static const char *const names[] = {"fake:0", "fake:2"};
    bench b;
    (void)state;
    assert_int_equal(open_bench(&b, (leat_batcher_desc){.max_batch_size = 4}, names, 2),
                     LEAT_NO_DEVICE);
    assert_non_null(strstr(b.run.err.message, "fake:2"));
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(instances_take_turns_on_the_devices, repair),
        cmocka_unit_test_teardown(batches_go_where_the_fewest_run, repair),
        cmocka_unit_test_teardown(requests_survive_the_loss_of_a_device, repair),
        cmocka_unit_test_teardown(a_device_that_cannot_be_opened_is_an_error, repair),
    };
    return cmocka_run_group_tests(tests, find_fake, NULL);
}

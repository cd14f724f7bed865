/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing among ways by measurement on a device: the CUDA plugin on the fake driver, ways that
 * copy memory of theirs. */
#include "backends/cuda/fakes.h"
#include "support/test.h"

#include "runtime/choose.h"
#include "support/run.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOW_BYTES ((size_t)8 << 20)
#define MOST_SEEN 64

static fake_cuda_counts *counts;

static int find_driver(void **state)
{
    (void)state;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = driver ? dlsym(driver, "fake_cuda_read_counts") : NULL;
    fake_cuda_counts *(*read)(void);
    if (symbol == NULL) {
        return -1;
    }
    memcpy(&read, &symbol, sizeof(symbol));
    counts = read();
    return 0;
}

static int behave(void **state)
{
    (void)state;
    setenv("LEAT_FAKE_CUDA", "good", 1);
    return 0;
}

typedef struct bench bench;

/* A way: its launch copies so many bytes on the device; 0: it fails. */
typedef struct work {
    bench *bench;
    size_t bytes;
    uint32_t unread_mask;
    int32_t not_capturable;
} work;

struct bench {
    test_run run;
    lt_device *device;
    lt_tuning *tuning;
    char directory[64], path[128];
    void *from, *to;
    float weights[64];
    leat_value values[3]; /* x, weights, y */
    leat_node node;
    work works[3];
    leat_way ways[3];
    const void *seen[MOST_SEEN]; /* places of the weights */
    size_t n_seen;
    bool weights_are_null;
};

static leat_status copy_some(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const work *w = state;
    bench *b = w->bench;
    if (w->bytes == 0) {
        return LEAT_DEVICE_LOST;
    }
    assert_non_null(args->inputs[0]);
    assert_non_null(args->outputs[0]);
    assert_non_null(args->workspace);
    b->weights_are_null = b->weights_are_null || args->inputs[1] == NULL;
    size_t i = 0;
    while (i < b->n_seen && b->seen[i] != args->inputs[1]) {
        i++;
    }
    if (i == b->n_seen && i < MOST_SEEN) {
        b->seen[b->n_seen++] = args->inputs[1];
        if (args->inputs[1] != NULL) { /* the fake driver's memory is the host's */
            assert_memory_equal(args->inputs[1], b->weights, sizeof(b->weights));
        }
    }
    return b->device->backend->copy(b->device->handle, args->stream, LEAT_COPY_DEVICE_TO_DEVICE,
                                    b->to, b->from, w->bytes, err);
}

static leat_status prepare_work(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                                leat_error *err)
{
    const work *w = argument;
    (void)node, (void)device, (void)host, (void)plan, (void)err;
    *out_kernel = (leat_kernel){.name = "work",
                                .launch = copy_some,
                                .state = w,
                                .workspace_bytes = 100,
                                .unread_mask = w->unread_mask,
                                .not_capturable = w->not_capturable};
    return LEAT_OK;
}

static void open_bench(bench *b, onnx_builder *builder)
{
    static const uint32_t inputs[] = {0, 1}, outputs[] = {2};
    static const char *const names[] = {"slow", "fast", "broken"};
    static const size_t bytes[] = {SLOW_BYTES, 1, 0};
    memset(b, 0, sizeof(*b));
    test_run_load(&b->run, builder);
    assert_ok(leat_context_load_backend(b->run.context, FAKES "/libleat_cuda.so", &b->run.err),
              &b->run.err);
    assert_ok(lt_device_get(b->run.context, "cuda:0", &b->device, &b->run.err), &b->run.err);
    assert_ok(lt_device_alloc(b->device, SLOW_BYTES, &b->from, &b->run.err), &b->run.err);
    assert_ok(lt_device_alloc(b->device, SLOW_BYTES, &b->to, &b->run.err), &b->run.err);
    strcpy(b->directory, "/tmp/leat-tuning-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    snprintf(b->path, sizeof(b->path), "%s/%s", b->directory, LT_TUNING_FILE);
    assert_ok(lt_tuning_create(b->run.context, b->directory, &b->tuning, &b->run.err), &b->run.err);
    for (int i = 0; i < 64; i++) {
        b->weights[i] = (float)i;
    }
    b->values[0] = (leat_value){.dtype = LEAT_DTYPE_F16, .rank = 2, .shape = {3, 5}};
    b->values[1] = (leat_value){.dtype = LEAT_DTYPE_F32,
                                .rank = 1,
                                .shape = {64},
                                .data = b->weights,
                                .bytes = sizeof(b->weights)};
    b->values[2] = (leat_value){.dtype = LEAT_DTYPE_F32, .rank = 2, .shape = {3, 5}};
    b->node = (leat_node){.op = "Work",
                          .domain = "",
                          .name = "w",
                          .n_inputs = 2,
                          .n_outputs = 1,
                          .inputs = inputs,
                          .outputs = outputs};
    for (int i = 0; i < 3; i++) {
        b->works[i] = (work){.bench = b, .bytes = bytes[i]};
        /* The estimates say the opposite. */
        b->ways[i] = (leat_way){names[i], 10.0 * (i + 1), prepare_work, &b->works[i]};
    }
}

static void close_bench(bench *b, onnx_builder *builder)
{
    lt_tuning_destroy(b->tuning);
    unlink(b->path);
    assert_int_equal(rmdir(b->directory), 0);
    lt_device_free(b->device, b->from, SLOW_BYTES);
    lt_device_free(b->device, b->to, SLOW_BYTES);
    test_run_free(&b->run);
    onnx_builder_destroy(builder);
    assert_int_equal(counts->device_blocks, 0);
    assert_int_equal(counts->streams, 0);
    assert_int_equal(counts->graphs, 0);
}

/* Index of the way; the constants of the model are said to have so many bytes. */
static size_t choose(bench *b, uint64_t constant_bytes)
{
    const lt_compile_context context = {.tuning = b->tuning, .constant_bytes = constant_bytes};
    const leat_kernel_node node = {&b->node, b->values};
    leat_plan plan;
    size_t chosen, blocks = counts->device_blocks;
    b->n_seen = 0;
    b->weights_are_null = false;
    lt_host_plan_init(&plan, b->device, &context);
    assert_ok(lt_choose(&plan, &node, b->ways, 3, &chosen, &b->run.err), &b->run.err);
    lt_host_plan_destroy(&plan);
    assert_int_equal(counts->device_blocks, blocks);
    assert_int_equal(counts->graphs, 0);
    return chosen;
}

static void fastest_way_is_chosen_and_kept(void **state)
{
    bench b;
    (void)state;
    onnx_builder *builder = test_build_mlp();
    open_bench(&b, builder);
    size_t graphs = counts->graph_launches;
    assert_int_equal(choose(&b, 0), 1);
    assert_int_equal(b.n_seen, 1); /* one place: a small model stays in the caches */
    assert_true(counts->graph_launches - graphs >= 8);
    graphs = counts->graph_launches;
    assert_int_equal(choose(&b, 0), 1); /* as recorded */
    assert_int_equal(counts->graph_launches, graphs);
    assert_int_equal(choose(&b, (uint64_t)1 << 40), 1);
    close_bench(&b, builder);
}

/* A large model's constants are elsewhere every time. How often a way is launched depends on how
 * long it took, so that a pause of this process leads to a second try. */
static void constants_of_a_large_model_move(void **state)
{
    size_t most = 0;
    (void)state;
    for (int i = 0; i < 20 && most <= 8; i++) {
        bench b;
        onnx_builder *builder = test_build_mlp();
        open_bench(&b, builder);
        assert_int_equal(choose(&b, (uint64_t)1 << 40), 1);
        most = b.n_seen > most ? b.n_seen : most;
        close_bench(&b, builder);
    }
    assert_true(most > 8);
}

/* A packed constant is not copied to the device. */
static void unread_constant_stays_away(void **state)
{
    bench b;
    (void)state;
    onnx_builder *builder = test_build_mlp();
    open_bench(&b, builder);
    for (int i = 0; i < 3; i++) {
        b.works[i].unread_mask = 2;
    }
    assert_int_equal(choose(&b, (uint64_t)1 << 40), 1);
    assert_true(b.weights_are_null);
    assert_int_equal(b.n_seen, 1);
    close_bench(&b, builder);
}

static void way_that_is_hardly_faster_is_left(void **state)
{
    bench b;
    (void)state;
    onnx_builder *builder = test_build_mlp();
    open_bench(&b, builder);
    b.works[1].bytes = SLOW_BYTES;
    b.works[0].bytes = SLOW_BYTES - SLOW_BYTES / 4;
    assert_int_equal(choose(&b, 0), 0);
    close_bench(&b, builder);
}

/* Without graphs launches are queued; where nothing can be measured the estimates stand. */
static void devices_that_fail_are_borne(void **state)
{
    static const char *const without_graphs[] = {"begin_capture", "end_capture", "instantiate"};
    bench b;
    (void)state;
    onnx_builder *builder = test_build_mlp();
    open_bench(&b, builder);
    for (uint32_t i = 0; i < 3; i++) {
        setenv("LEAT_FAKE_CUDA", without_graphs[i], 1);
        b.node.opset = (int32_t)i + 1; /* another node */
        assert_int_equal(choose(&b, 0), 1);
    }
    setenv("LEAT_FAKE_CUDA", "good", 1);
    b.node.opset = 4;
    b.works[0].not_capturable = b.works[1].not_capturable = 1;
    assert_int_equal(choose(&b, 0), 1);
    setenv("LEAT_FAKE_CUDA", "no_memory", 1);
    b.node.opset = 5;
    assert_int_equal(choose(&b, 0), 0);
    setenv("LEAT_FAKE_CUDA", "dead", 1);
    assert_int_equal(choose(&b, 0), 0);
    setenv("LEAT_FAKE_CUDA", "good", 1);
    assert_int_equal(choose(&b, 0), 1);
    close_bench(&b, builder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fastest_way_is_chosen_and_kept, behave),
        cmocka_unit_test_setup(constants_of_a_large_model_move, behave),
        cmocka_unit_test_setup(unread_constant_stays_away, behave),
        cmocka_unit_test_setup(way_that_is_hardly_faster_is_left, behave),
        cmocka_unit_test_setup(devices_that_fail_are_borne, behave),
    };
    (void)argc;
    if (start_with_fakes(argv, FAKES) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, find_driver, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Failing allocations where the quantizer reads files: data, labels, caches, whole models; and
 * where it measures. */
#include "support/test.h"

#include "base/npy.h"
#include "support/file.h"
#include "support/quantize.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES 3

static char folder[64];
static float numbers[SAMPLES * 32];
static int64_t labels[SAMPLES] = {2, 0, 1};

static char cache_path[96], labels_path[96];

/* Valid until the fourth next call. */
static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void write_npy(const char *name, leat_array array)
{
    lt_memory memory;
    leat_error err;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_npy_write(&memory, in_folder(name), &array, &err), &err);
}

/* x -> product -> Relu -> product */
static void write_model(void)
{
    size_t bytes;
    onnx_builder *b = onnx_builder_create(17);
    test_random_constant(b, "w", "32x32", 0.3f, 3, 1);
    test_random_constant(b, "v", "32x4", 0.3f, 0, 2);
    onnx_builder_text(b, "x: f32[Nx32]; m = MatMul(x, w); r = Relu(m); y = MatMul(r, v); "
                         "-> y: f32[Nx4]");
    const void *data = onnx_builder_finish(b, &bytes);
    test_write_file(in_folder("m.onnx"), data, bytes);
    onnx_builder_destroy(b);
}

typedef struct quantizing {
    leat_quantizer_desc desc;
    bool keep_cache; /* else it is made anew each time */
    const char *labels;
} quantizing;

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const quantizing *what = argument;
    const leat_quantizer_file file = {NULL, in_folder("x.npy")};
    leat_context_desc with = {.struct_size = sizeof(with), .allocator = allocator, .threads = 1};
    leat_quantizer *q = NULL;
    leat_model *model = NULL;
    leat_context *context;
    if (what->desc.cache != NULL && !what->keep_cache) {
        unlink(what->desc.cache);
    }
    leat_status status = leat_context_create(&with, &context, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_quantizer_load(context, in_folder("m.onnx"), in_folder("q.onnx"), &model, err);
    status = status ? status : leat_quantizer_create(model, &what->desc, &q, err);
    status = status ? status : leat_quantizer_feed_files(q, &file, 1, what->labels, err);
    status = status ? status : leat_quantizer_finish(q, in_folder("q.onnx"), err);
    leat_quantizer_destroy(q);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

static void walk(quantizing what)
{
    what.desc.struct_size = sizeof(what.desc);
    what.desc.any_speed = 1;
    test_walk_allocations(attempt, &what);
}

static void a_cache_that_is_written(void **state)
{
    (void)state;
    walk((quantizing){.desc = {.method = LEAT_QUANTIZE_STATIC,
                               .range = LEAT_RANGE_MIN_MAX,
                               .cache = cache_path}});
}

static void a_cache_that_is_read(void **state)
{
    leat_allocator allocator;
    test_allocator memory;
    leat_error err = {0};
    quantizing what = {.desc = {.struct_size = sizeof(what.desc),
                                .method = LEAT_QUANTIZE_STATIC,
                                .range = LEAT_RANGE_MIN_MAX,
                                .any_speed = 1,
                                .cache = cache_path},
                       .keep_cache = true};
    (void)state;
    allocator = test_allocator_init(&memory);
    assert_ok(attempt(&what, &allocator, &err), &err);
    assert_int_equal(memory.live, 0);
    walk(what);
}

static void labels_and_measuring(void **state)
{
    (void)state;
    walk((quantizing){.desc = {.method = LEAT_QUANTIZE_STATIC,
                               .range = LEAT_RANGE_MIN_MAX,
                               .sensitivity = 1,
                               .max_drop = 0.9,
                               .smooth = 1,
                               .equalize = 1},
                      .labels = labels_path});
}

static void feedback_with_few_bits(void **state)
{
    (void)state;
    walk((quantizing){
        .desc = {.method = LEAT_QUANTIZE_WEIGHTS, .bits = 4, .block = 16, .feedback = 1}});
}

static leat_status file_to_file(void *argument, const leat_allocator *allocator, leat_error *err)
{
    leat_context_desc with = {.struct_size = sizeof(with), .allocator = allocator, .threads = 1};
    const leat_quantizer_desc desc = {.struct_size = sizeof(desc), .any_speed = 1, .feedback = -1};
    leat_context *context;
    (void)argument;
    leat_status status = leat_context_create(&with, &context, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_quantize_file(context, in_folder("m.onnx"), in_folder("q.onnx"), &desc,
                                in_folder("x.npy"), err);
    leat_context_destroy(context);
    return status;
}

static void from_file_to_file(void **state)
{
    (void)state;
    test_walk_allocations(file_to_file, NULL);
}

static int setup(void **state)
{
    uint32_t seed = 5;
    (void)state;
    for (size_t i = 0; i < SAMPLES * 32; i++) {
        numbers[i] = test_seeded(&seed);
    }
    strcpy(folder, "/tmp/leat-walks-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(cache_path, sizeof(cache_path), "%s/cache", folder);
    snprintf(labels_path, sizeof(labels_path), "%s/labels.npy", folder);
    write_model();
    write_npy("x.npy", test_f32(numbers, "3x32"));
    write_npy("labels.npy", test_i64(labels, "3"));
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_that_is_written), cmocka_unit_test(a_cache_that_is_read),
        cmocka_unit_test(labels_and_measuring),    cmocka_unit_test(feedback_with_few_bits),
        cmocka_unit_test(from_file_to_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

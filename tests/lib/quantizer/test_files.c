/* SPDX-License-Identifier: Apache-2.0 */
/* Calibration data in files, and from file to file. */
#include "support/test.h"

#include "base/npy.h"
#include "support/file.h"
#include "support/run.h"

#include <leat/quantizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

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

static float numbers[96];
static int64_t labels[24];

static void write_bytes(const char *name, onnx_builder *b)
{
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    test_write_file(in_folder(name), data, bytes);
}

typedef struct fixture {
    onnx_builder *builder;
    test_run run;
    leat_quantizer *q;
} fixture;

static fixture open_fixture(onnx_builder *builder)
{
    fixture f = {.builder = builder};
    test_run_load(&f.run, builder);
    assert_ok(leat_quantizer_create(f.run.model, NULL, &f.q, &f.run.err), &f.run.err);
    return f;
}

static void close_fixture(fixture *f)
{
    leat_quantizer_destroy(f->q);
    test_run_free(&f->run);
    onnx_builder_destroy(f->builder);
}

static uint64_t batches_of(fixture *f)
{
    leat_quantizer_report r = {.struct_size = sizeof(r)};
    assert_ok(leat_quantizer_finish(f->q, in_folder("out.onnx"), &f->run.err), &f->run.err);
    assert_ok(leat_quantizer_report_get(f->q, &r, &f->run.err), &f->run.err);
    return r.n_batches;
}

static void array_is_fed_sample_by_sample(void **state)
{
    (void)state;
    fixture f = open_fixture(test_build_mlp());
    const leat_quantizer_file file = {NULL, in_folder("x.npy")};
    write_npy("x.npy", test_f32(numbers, "24x4"));
    assert_ok(leat_quantizer_feed_files(f.q, &file, 1, NULL, &f.run.err), &f.run.err);
    assert_int_equal(batches_of(&f), 24);
    close_fixture(&f);
}

/* Of one rank more: whole inputs. */
static void array_of_batches_is_fed_batch_by_batch(void **state)
{
    (void)state;
    fixture f = open_fixture(test_build_mlp());
    const leat_quantizer_file file = {"x", in_folder("x.npy")};
    write_npy("x.npy", test_f32(numbers, "4x6x4"));
    write_npy("y.npy", test_i64(labels, "24"));
    assert_ok(leat_quantizer_feed_files(f.q, &file, 1, in_folder("y.npy"), &f.run.err), &f.run.err);
    assert_int_equal(batches_of(&f), 4);
    close_fixture(&f);
}

static void directory_is_fed_file_by_file(void **state)
{
    (void)state;
    fixture f = open_fixture(test_build_mlp());
    const leat_quantizer_file file = {NULL, in_folder("many")};
    assert_int_equal(mkdir(in_folder("many"), 0700), 0);
    write_npy("many/b.npy", test_f32(numbers, "3x4"));
    write_npy("many/a.npy", test_f32(numbers + 12, "5x4"));
    assert_ok(leat_quantizer_feed_files(f.q, &file, 1, NULL, &f.run.err), &f.run.err);
    assert_int_equal(batches_of(&f), 8);
    close_fixture(&f);
}

static onnx_builder *build_two_inputs(void)
{
    static const float w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "a", LEAT_DTYPE_F32, "2x4");
    onnx_builder_input(b, "b", LEAT_DTYPE_F32, "2x4");
    onnx_builder_floats(b, "w", "4x2", w);
    onnx_builder_node(b, "Add", "a,b", "s", NULL, 0);
    onnx_builder_node(b, "MatMul", "s,w", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "2x2");
    return b;
}

static void inputs_by_name_and_batches_as_the_model_says(void **state)
{
    (void)state;
    fixture f = open_fixture(build_two_inputs());
    const leat_quantizer_file files[] = {{"b", in_folder("x.npy")}, {"a", in_folder("x.npy")}};
    write_npy("x.npy", test_f32(numbers, "24x4"));
    assert_ok(leat_quantizer_feed_files(f.q, files, 2, NULL, &f.run.err), &f.run.err);
    assert_int_equal(batches_of(&f), 12);
    close_fixture(&f);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    write_npy("x.npy", test_f32(numbers, "24x4"));
    write_npy("odd.npy", test_f32(numbers, "23x4"));
    write_npy("wide.npy", test_f32(numbers, "19x5"));
    write_npy("none.npy", test_f32(numbers, "0x4"));
    write_npy("ids.npy", test_i64(labels, "6x4"));
    write_npy("few.npy", test_i64(labels, "23"));
    write_npy("half.npy", test_f32(numbers, "12x4"));
    FILE *text = fopen(in_folder("text.npy"), "w");
    assert_non_null(text);
    fputs("no numbers", text);
    fclose(text);
    assert_int_equal(mkdir(in_folder("empty"), 0700), 0);
    const struct {
        bool two;
        const char *first, *first_name, *second, *second_name, *labels;
        leat_status status;
        const char *part;
    } cases[] = {
        {false, "gone.npy", NULL, NULL, NULL, NULL, LEAT_NOT_FOUND, "gone.npy"},
        {false, "text.npy", NULL, NULL, NULL, NULL, LEAT_CORRUPT, "text.npy"},
        {false, "empty", NULL, NULL, NULL, NULL, LEAT_INVALID, "no .npy"},
        {false, "wide.npy", NULL, NULL, NULL, NULL, LEAT_INVALID, "19x5"},
        {false, "none.npy", NULL, NULL, NULL, NULL, LEAT_INVALID, "0 samples"},
        {false, "ids.npy", NULL, NULL, NULL, NULL, LEAT_INVALID, "i64[6x4]"},
        {false, "x.npy", "z", NULL, NULL, NULL, LEAT_INVALID, "no input 'z'; the inputs are 'x'"},
        {false, "x.npy", NULL, "x.npy", NULL, NULL, LEAT_INVALID, "two files"},
        {false, "x.npy", NULL, NULL, NULL, "few.npy", LEAT_INVALID, "23 labels"},
        {false, "half.npy", NULL, NULL, NULL, "few.npy", LEAT_INVALID, "23 labels"},
        {false, "x.npy", NULL, NULL, NULL, "x.npy", LEAT_INVALID, "labels in"},
        {true, "x.npy", NULL, NULL, NULL, NULL, LEAT_INVALID, "2 inputs ('a', 'b'): say"},
        {true, "x.npy", "a", NULL, NULL, NULL, LEAT_INVALID, "input 'b' is missing"},
        {true, "x.npy", "a", "half.npy", "b", NULL, LEAT_INVALID, "6 batches"},
        {true, "odd.npy", "a", "odd.npy", "b", NULL, LEAT_INVALID, "23 samples"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture f = open_fixture(cases[i].two ? build_two_inputs() : test_build_mlp());
        char first[160], second[160];
        snprintf(first, sizeof(first), "%s/%s", folder, cases[i].first);
        snprintf(second, sizeof(second), "%s/%s", folder, cases[i].second ? cases[i].second : "");
        const leat_quantizer_file files[] = {{cases[i].first_name, first},
                                             {cases[i].second_name, second}};
        leat_status status = leat_quantizer_feed_files(
            f.q, files, cases[i].second ? 2 : 1,
            cases[i].labels ? in_folder(cases[i].labels) : NULL, &f.run.err);
        if (status != cases[i].status || strstr(f.run.err.message, cases[i].part) == NULL) {
            fail_msg("case %zu: status %d, '%s'", i, status, f.run.err.message);
        }
        close_fixture(&f);
    }
}

static void file_to_file_with_three_settings(void **state)
{
    leat_context *context;
    leat_error err;
    (void)state;
    onnx_builder *b = test_build_mlp();
    write_bytes("mlp.onnx", b);
    write_npy("x.npy", test_f32(numbers, "24x4"));
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    for (int m = LEAT_QUANTIZE_DYNAMIC; m <= LEAT_QUANTIZE_STATIC; m++) {
        leat_quantizer_desc desc = {
            .struct_size = sizeof(desc), .method = (leat_quantize_method)m, .bits = 8};
        assert_ok(leat_quantize_file(context, in_folder("mlp.onnx"), in_folder("q.onnx"), &desc,
                                     in_folder("x.npy"), &err),
                  &err);
        leat_model *model;
        assert_ok(leat_model_load(context, in_folder("q.onnx"), NULL, &model, &err), &err);
        leat_model_destroy(model);
    }
    assert_int_equal(leat_quantize_file(context, in_folder("mlp.onnx"), in_folder("no/q.onnx"),
                                        NULL, NULL, &err),
                     LEAT_NOT_FOUND);
    leat_context_destroy(context);
    onnx_builder_destroy(b);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < 96; i++) {
        numbers[i] = (float)((int)(i * 37 % 96) - 48) / 32;
    }
    for (size_t i = 0; i < 24; i++) {
        labels[i] = (int64_t)i % 3;
    }
    strcpy(folder, "/tmp/leat-calibration-XXXXXX");
    return mkdtemp(folder) == NULL;
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
        cmocka_unit_test(array_is_fed_sample_by_sample),
        cmocka_unit_test(array_of_batches_is_fed_batch_by_batch),
        cmocka_unit_test(directory_is_fed_file_by_file),
        cmocka_unit_test(inputs_by_name_and_batches_as_the_model_says),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(file_to_file_with_three_settings),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

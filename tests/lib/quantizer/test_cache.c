/* SPDX-License-Identifier: Apache-2.0 */
/* The calibration cache, and what is decided by time. */
#include "support/test.h"

#include "base/npy.h"
#include "quantizer/quantizer.h"
#include "runtime/tuning.h"
#include "support/file.h"
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define K 24
#define N 10
#define SAMPLES 70 /* more than are kept */

static char folder[64], data_path[96], cache_path[96];
static float numbers[SAMPLES * K];

/* x -> product -> Relu -> product */
static onnx_builder *build(uint32_t seed)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx24");
    test_random_constant(b, "w", "24x24", 0.3f, 0, seed);
    test_random_constant(b, "v", "24x10", 0.3f, 0, 2);
    onnx_builder_node(b, "MatMul", "x,w", "m", NULL, 0);
    onnx_builder_node(b, "Relu", "m", "r", NULL, 0);
    onnx_builder_node(b, "MatMul", "r,v", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx10");
    return b;
}

static void write_data(size_t samples)
{
    lt_memory memory;
    leat_error err;
    char shape[32];
    snprintf(shape, sizeof(shape), "%zux24", samples);
    leat_array array = test_f32(numbers, shape);
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_npy_write(&memory, data_path, &array, &err), &err);
}

typedef struct counts {
    int calibrated, ranges, timed;
} counts;

static int count(void *user, const char *stage, uint64_t done, uint64_t total)
{
    counts *c = user;
    (void)done;
    (void)total;
    c->calibrated += strcmp(stage, "calibrate") == 0;
    c->ranges += strcmp(stage, "range") == 0;
    c->timed += strcmp(stage, "time") == 0;
    return 0;
}

/* Quantizes with the cache; what was written, to be freed, and what was fed. */
static leat_status quantize(uint32_t seed, leat_quantize_target target, void **out, size_t *bytes,
                            counts *seen, uint64_t *n_fed, leat_error *err)
{
    onnx_builder *b = build(seed);
    const leat_quantizer_file file = {NULL, data_path};
    leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                .method = LEAT_QUANTIZE_STATIC,
                                .target = target,
                                .cache = cache_path,
                                .progress = count,
                                .progress_user = seen};
    test_run run;
    *seen = (counts){0, 0, 0};
    *out = NULL;
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, &desc);
    leat_status status = leat_quantizer_feed_files(q, &file, 1, NULL, err);
    status = status ? status : leat_quantizer_finish(q, test_quantized_path, err);
    if (status == LEAT_OK) {
        *out = test_read_file(test_quantized_path, bytes);
        *n_fed = test_quantizer_report(q).n_batches;
    }
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return status;
}

static void second_time_gives_the_same_without_searching(void **state)
{
    void *first, *second, *third;
    size_t bytes[3];
    counts seen;
    uint64_t fed;
    leat_error err;
    (void)state;
    unlink(cache_path);
    write_data(SAMPLES);
    assert_ok(quantize(1, LEAT_QUANTIZE_FOR_CPU, &first, &bytes[0], &seen, &fed, &err), &err);
    assert_true(seen.ranges > 0 && fed == SAMPLES);
    assert_int_equal(access(cache_path, R_OK), 0);
    assert_ok(quantize(1, LEAT_QUANTIZE_FOR_CPU, &second, &bytes[1], &seen, &fed, &err), &err);
    assert_true(seen.ranges == 0 && fed == SAMPLES);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(first, second, bytes[0]);
    /* other settings: the counts hold, the grids do not */
    assert_ok(quantize(1, LEAT_QUANTIZE_FOR_CUDA, &third, &bytes[2], &seen, &fed, &err), &err);
    assert_true(seen.ranges > 0 && fed == SAMPLES);
    assert_true(bytes[2] != bytes[0] || memcmp(first, third, bytes[0]) != 0);
    free(first);
    free(second);
    free(third);
}

static void assert_foreign(uint32_t seed, const char *part)
{
    void *out;
    size_t bytes;
    counts seen;
    uint64_t fed;
    leat_error err;
    unlink(test_quantized_path);
    leat_status status = quantize(seed, LEAT_QUANTIZE_FOR_CPU, &out, &bytes, &seen, &fed, &err);
    test_assert_refused(status, LEAT_INVALID, &err, part);
    test_assert_refused(status, LEAT_INVALID, &err, cache_path);
    assert_int_equal(access(test_quantized_path, F_OK), -1);
}

/* A cache of the first model with all data. */
static void make_cache(void)
{
    void *out;
    size_t bytes;
    counts seen;
    uint64_t fed;
    leat_error err;
    unlink(cache_path);
    write_data(SAMPLES);
    assert_ok(quantize(1, LEAT_QUANTIZE_FOR_CPU, &out, &bytes, &seen, &fed, &err), &err);
    free(out);
}

static void foreign_and_damaged_caches_are_refused(void **state)
{
    size_t bytes;
    (void)state;
    make_cache();
    assert_foreign(7, "another model");
    write_data(SAMPLES - 1);
    assert_foreign(1, "other data");
    write_data(SAMPLES);
    unsigned char *cache = test_read_file(cache_path, &bytes);
    for (size_t at = 0; at < bytes; at += bytes / 23 + 1) { /* the first is the magic */
        cache[at] ^= 0x10;
        test_write_file(cache_path, cache, bytes);
        assert_foreign(1, at < 8 ? "this version" : "damaged");
        cache[at] ^= 0x10;
    }
    for (size_t left = 0; left < bytes; left += bytes / 11 + 1) {
        test_write_file(cache_path, cache, left);
        assert_foreign(1, left < 80 ? "this version" : "damaged");
    }
    free(cache);
}

static void write_summed(char *cache, size_t bytes)
{
    const uint64_t sum = lt_hash(LT_HASH_START, cache, bytes - sizeof(sum));
    memcpy(cache + bytes - sizeof(sum), &sum, sizeof(sum));
    test_write_file(cache_path, cache, bytes);
}

/* What counting could not have found, in the first tensor's record behind a head of 72 bytes. */
static void wrong_numbers_under_a_right_sum_are_refused(void **state)
{
    static const double not_a_number = NAN, no_power = 3, far = 1e30;
    static const float nan_f = NAN, inf_f = INFINITY, far_f = 1e30f;
    static const uint64_t many = 1ull << 40, channels = 1ull << 60, bins = 9000;
    static const int32_t axis = 7, range = 9, zero = -200;
    const struct {
        size_t at;
        const void *data;
        size_t bytes;
    } wrong[] = {
        {0, &not_a_number, 8}, {0, &no_power, 8}, {0, &far, 8},      {8, &nan_f, 4},
        {12, &far_f, 4},       {16, &many, 8},    {24, &bins, 8},    {32, &channels, 8},
        {40, &axis, 4},        {44, &range, 4},   {48, &inf_f, 4},   {48, &nan_f, 4},
        {52, &zero, 4},        {64, &bins, 8},    {72, &channels, 8} /* the first bin */
    };
    size_t bytes;
    (void)state;
    make_cache();
    char *cache = test_read_file(cache_path, &bytes), kept[8];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *at = cache + 72 + wrong[i].at;
        memcpy(kept, at, sizeof(kept));
        memcpy(at, wrong[i].data, wrong[i].bytes);
        write_summed(cache, bytes);
        assert_foreign(1, "damaged");
        memcpy(at, kept, sizeof(kept));
    }
    for (size_t left = bytes - 64; left < bytes; left += 8) {
        char *part = malloc(left);
        assert_non_null(part);
        memcpy(part, cache, left);
        write_summed(part, left);
        assert_foreign(1, "damaged");
        free(part);
    }
    free(cache);
}

/* Quantizes with the cache and by time; what was written, to be freed. *out_back: layers in f32. */
static void *quantize_by_time(double max_drop, size_t *bytes, counts *seen, size_t *out_back)
{
    onnx_builder *b = build(1);
    const leat_quantizer_file file = {NULL, data_path};
    leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                .method = LEAT_QUANTIZE_STATIC,
                                .max_drop = max_drop,
                                .cache = cache_path,
                                .progress = count,
                                .progress_user = seen};
    leat_quantizer *q;
    test_run run;
    *seen = (counts){0, 0, 0};
    test_run_load(&run, b);
    assert_ok(leat_quantizer_create(run.model, &desc, &q, &run.err), &run.err);
    assert_ok(leat_quantizer_feed_files(q, &file, 1, NULL, &run.err), &run.err);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    leat_quantizer_report r = test_quantizer_report(q);
    *out_back = 0;
    for (size_t i = 0; i < r.n_layers; i++) {
        assert_int_equal(r.layers[i].bits == 32, r.layers[i].reason[0] != '\0');
        *out_back += r.layers[i].bits == 32;
    }
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return test_read_file(test_quantized_path, bytes);
}

/* Writes "slower" (1) or "stays" (0) for both layers into the cache, whose last part they are. */
static void choose_in_cache(const uint64_t back[2])
{
    size_t bytes;
    char *cache = test_read_file(cache_path, &bytes);
    for (size_t i = 0; i < 2; i++) {
        memcpy(cache + bytes - sizeof(uint64_t) - (2 - i) * 32 + 24, &back[i], sizeof(back[i]));
    }
    write_summed(cache, bytes);
    free(cache);
}

/* Times are measured once: whatever was decided then is what the next call does. */
static void what_time_decided_stays_decided(void **state)
{
    static const uint64_t choices[][2] = {{0, 0}, {1, 0}, {0, 1}};
    counts seen;
    size_t bytes[2], back;
    (void)state;
    unlink(cache_path);
    write_data(SAMPLES);
    void *first = quantize_by_time(0, &bytes[0], &seen, &back);
    assert_true(seen.timed > 0);
    void *second = quantize_by_time(0, &bytes[1], &seen, &back);
    assert_int_equal(seen.timed, 0);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(first, second, bytes[0]);
    free(first);
    free(second);
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        choose_in_cache(choices[i]);
        free(quantize_by_time(0, &bytes[0], &seen, &back));
        assert_int_equal(seen.timed, 0);
        assert_int_equal(back, choices[i][0] + choices[i][1]);
    }
    free(quantize_by_time(0.9, &bytes[0], &seen, &back)); /* other settings */
    assert_true(seen.timed > 0);
}

/* Every layer says what it took, and one that is f32 says why; the whole is no slower than what
 * was measured of f32, for else all would have gone back. */
static void layers_that_do_not_pay_say_so(void **state)
{
    (void)state;
    for (int any = 0; any < 2; any++) {
        onnx_builder *b = build(1);
        leat_quantizer_desc desc = {
            .struct_size = sizeof(desc), .method = LEAT_QUANTIZE_STATIC, .any_speed = any};
        leat_quantizer *q;
        test_run run;
        test_run_load(&run, b);
        assert_ok(leat_quantizer_create(run.model, &desc, &q, &run.err), &run.err);
        leat_array x = test_f32(numbers, "70x24");
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), &run.err);
        assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
        leat_quantizer_report r = test_quantizer_report(q);
        uint64_t predicted = r.ns_before;
        assert_true(r.ns_before > 0 && r.ns_after > 0);
        for (size_t i = 0; i < r.n_layers; i++) {
            const leat_quantized_layer *l = &r.layers[i];
            assert_true(l->ns_before > 0 && l->ns_after > 0);
            assert_int_equal(l->bits == 32, l->reason[0] != '\0');
            assert_true(!any || l->bits == 8);
            predicted -= l->bits == 8 ? l->ns_before - l->ns_after : 0;
        }
        assert_true(predicted == r.ns_predicted || r.ns_predicted == 0);
        leat_quantizer_destroy(q);
        test_run_free(&run);
        onnx_builder_destroy(b);
    }
}

/* The context's memory at most, with so many batches fed. */
static uint64_t bytes_after(int batches)
{
    onnx_builder *b = build(1);
    leat_memory_info memory;
    test_run run;
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, NULL);
    for (int i = 0; i < batches; i++) {
        leat_array x = test_f32(numbers + i % SAMPLES * K, "1x24");
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), &run.err);
    }
    leat_context_memory(run.context, &memory);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return memory.peak_bytes;
}

/* 64 are kept to measure with; of more nothing stays: 10,000 would be 1.4 MB. */
static void more_batches_take_no_more_memory(void **state)
{
    (void)state;
    assert_int_equal(bytes_after(10000), bytes_after(128));
}

static int setup(void **state)
{
    uint32_t seed = 5;
    for (size_t i = 0; i < SAMPLES * K; i++) {
        numbers[i] = test_seeded(&seed);
    }
    strcpy(folder, "/tmp/leat-cache-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(data_path, sizeof(data_path), "%s/x.npy", folder);
    snprintf(cache_path, sizeof(cache_path), "%s/cache", folder);
    return test_quantized_setup(state);
}

static int teardown(void **state)
{
    unlink(data_path);
    unlink(cache_path);
    rmdir(folder);
    return test_quantized_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_time_gives_the_same_without_searching),
        cmocka_unit_test(foreign_and_damaged_caches_are_refused),
        cmocka_unit_test(wrong_numbers_under_a_right_sum_are_refused),
        cmocka_unit_test(what_time_decided_stays_decided),
        cmocka_unit_test(layers_that_do_not_pay_say_so),
        cmocka_unit_test(more_batches_take_no_more_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that cannot be read or written, files that end early, disks that are full: for whatever the
 * library reads and writes, the same answers. */
#include "support/test.h"

#include "base/npy.h"
#include "support/file.h"
#include "support/quantize.h"

#include <dirent.h>
#include <leat/scheduler.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static leat_context *context;
static leat_model *model; /* of m.onnx */
static leat_error err;

static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

/* --- what reads and what writes --------------------------------------------------------------- */

static leat_status read_model(const char *path)
{
    leat_model *read;
    leat_status status = leat_model_load(context, path, NULL, &read, &err);
    leat_model_destroy(read);
    return status;
}

static leat_status read_policy(const char *path)
{
    leat_policy_weights weights;
    return leat_policy_load(context, path, &weights, &err);
}

static leat_status feed(const char *data, const char *labels)
{
    leat_quantizer *q;
    const leat_quantizer_file file = {NULL, data};
    assert_ok(leat_quantizer_create(model, NULL, &q, &err), &err);
    leat_status status = leat_quantizer_feed_files(q, &file, 1, labels, &err);
    leat_quantizer_destroy(q);
    return status;
}

static leat_status read_data(const char *path)
{
    return feed(path, NULL);
}

static leat_status read_labels(const char *path)
{
    return feed(in_folder("x.npy"), path);
}

static leat_status quantize_model(const char *path)
{
    const leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .method = LEAT_QUANTIZE_DYNAMIC, .any_speed = 1};
    return leat_quantize_file(context, path, in_folder("q.onnx"), &desc, NULL, &err);
}

static leat_status write_model(const char *path)
{
    return leat_model_save(model, path, NULL, &err);
}

static leat_status write_outside(const char *path)
{
    const leat_model_save_desc desc = {.struct_size = sizeof(desc), .external_threshold = 1};
    return leat_model_save(model, path, &desc, &err);
}

static leat_status write_policy(const char *path)
{
    return leat_policy_save(context, path, leat_policy_default(), &err);
}

static leat_status write_quantized(const char *path)
{
    const leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .method = LEAT_QUANTIZE_DYNAMIC, .any_speed = 1};
    return leat_quantize_file(context, in_folder("m.onnx"), path, &desc, NULL, &err);
}

static const struct reader {
    const char *name, *good;
    leat_status (*read)(const char *path);
} readers[] = {{"model", "m.onnx", read_model},       {"policy", "policy", read_policy},
               {"data", "x.npy", read_data},          {"archive", "x.npz", read_data},
               {"labels", "labels.npy", read_labels}, {"quantize", "m.onnx", quantize_model}};
static const struct writer {
    const char *name;
    leat_status (*write)(const char *path);
} writers[] = {{"model", write_model},
               {"outside", write_outside},
               {"policy", write_policy},
               {"quantized", write_quantized}};

#define EACH(i, list)                                                                              \
    size_t i = 0;                                                                                  \
    i < sizeof(list) / sizeof(list[0]);                                                            \
    i++

/* --- tests ------------------------------------------------------------------------------------ */

static void assert_says(const char *who, const char *path, leat_status status, leat_status wanted)
{
    if (status != wanted || err.status != status || strstr(err.message, path) == NULL) {
        fail_msg("%s of '%s': %s instead of %s: '%s'", who, path, leat_status_text(status),
                 leat_status_text(wanted), err.message);
    }
}

static void good_files_are_read(void **state)
{
    (void)state;
    for (EACH(i, readers)) {
        assert_ok(readers[i].read(in_folder(readers[i].good)), &err);
    }
}

/* Also a directory: one of data is empty. Opening a FIFO does not wait. */
static void what_is_no_file_is_said_with_its_path(void **state)
{
    static const struct {
        const char *name;
        leat_status status;
    } cases[] = {{"missing", LEAT_NOT_FOUND}, {"m.onnx/x", LEAT_NOT_FOUND},
                 {"loop", LEAT_IO},           {"none", LEAT_INVALID},
                 {"fifo", LEAT_INVALID},      {"../../dev/zero", LEAT_INVALID}};
    (void)state;
    for (EACH(i, readers)) {
        for (EACH(c, cases)) {
            char path[160];
            snprintf(path, sizeof(path), "%s", in_folder(cases[c].name));
            assert_says(readers[i].name, path, readers[i].read(path), cases[c].status);
        }
    }
}

/* Cut at every 60th byte, and empty; that is never between two fields of the model. */
static void files_that_end_early_are_corrupt(void **state)
{
    (void)state;
    for (EACH(i, readers)) {
        const char *ending = strchr(readers[i].good, '.');
        char path[160];
        size_t bytes;
        char *data = test_read_file(in_folder(readers[i].good), &bytes);
        snprintf(path, sizeof(path), "%s", in_folder("cut"));
        strcat(path, ending ? ending : "");
        for (size_t left = 0; left < bytes; left += 60) {
            test_write_file(path, data, left);
            assert_says(readers[i].name, path, readers[i].read(path), LEAT_CORRUPT);
        }
        unlink(path);
        free(data);
    }
}

static size_t files_in_folder(void)
{
    size_t n = 0;
    DIR *files = opendir(folder);
    assert_non_null(files);
    while (readdir(files) != NULL) {
        n++;
    }
    closedir(files);
    return n;
}

static void where_nothing_can_be_written_nothing_is_left(void **state)
{
    (void)state;
    const size_t before = files_in_folder();
    char none[96], under_file[96], in_missing[96];
    snprintf(none, sizeof(none), "%s", in_folder("none"));
    snprintf(under_file, sizeof(under_file), "%s", in_folder("m.onnx/out"));
    snprintf(in_missing, sizeof(in_missing), "%s", in_folder("missing/out"));
    for (EACH(i, writers)) {
        assert_says(writers[i].name, none, writers[i].write(none), LEAT_IO);
        assert_says(writers[i].name, "/dev/full", writers[i].write("/dev/full"), LEAT_IO);
        assert_says(writers[i].name, under_file, writers[i].write(under_file), LEAT_NOT_FOUND);
        assert_says(writers[i].name, in_missing, writers[i].write(in_missing), LEAT_NOT_FOUND);
        assert_int_equal(files_in_folder(), before);
    }
    if (geteuid() != 0) { /* who may write anywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        for (EACH(i, writers)) {
            assert_says(writers[i].name, "out", writers[i].write(in_folder("out")), LEAT_IO);
        }
        assert_int_equal(chmod(folder, 0700), 0);
    }
}

/* As a disk is full after so many bytes: the file that was there stays, nothing else does. */
static void a_full_disk_leaves_the_old_file(void **state)
{
    struct rlimit kept, limit;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    for (EACH(i, writers)) {
        char path[96];
        size_t bytes, now;
        snprintf(path, sizeof(path), "%s", in_folder("out"));
        assert_ok(writers[i].write(path), &err);
        char *old = test_read_file(path, &bytes);
        const size_t before = files_in_folder();
        /* of the model with its weights outside the first file is shorter than the second */
        for (size_t most = 0; most < (writers[i].write == write_outside ? 64 : bytes); most += 64) {
            limit = (struct rlimit){most, kept.rlim_max};
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
            leat_status status = writers[i].write(path);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
            assert_says(writers[i].name, folder, status, LEAT_IO);
            assert_int_equal(files_in_folder(), before);
            char *again = test_read_file(path, &now);
            assert_int_equal(now, bytes);
            assert_memory_equal(again, old, bytes);
            free(again);
        }
        free(old);
        assert_ok(write_model(path), &err); /* takes the file outside with it */
        unlink(path);
    }
}

/* --- files ------------------------------------------------------------------------------------ */

static void write_npy(const char *name, leat_array array)
{
    lt_memory memory;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_npy_write(&memory, in_folder(name), &array, &err), &err);
}

/* An archive of one entry without compression, x.npy, as in test_npz.c. */
static void write_archive(void)
{
    size_t bytes, n = 0;
    char *npy = test_read_file(in_folder("x.npy"), &bytes);
    char out[4096];
    const uint32_t size = (uint32_t)bytes;
    char local[30] = "PK\3\4\24", central[46] = "PK\1\2\24\0\24", end[22] = "PK\5\6";
    assert_true(bytes < sizeof(out) - 200);
    memcpy(local + 18, &size, 4);
    memcpy(local + 22, &size, 4);
    local[26] = 5;
    memcpy(out, local, 30);
    memcpy(out + 30, "x.npy", 5);
    memcpy(out + 35, npy, bytes);
    n = 35 + bytes;
    const uint32_t at = (uint32_t)n, central_bytes = 51;
    memcpy(central + 20, &size, 4);
    memcpy(central + 24, &size, 4);
    central[28] = 5;
    memcpy(out + n, central, 46);
    memcpy(out + n + 46, "x.npy", 5);
    n += 51;
    end[8] = end[10] = 1;
    memcpy(end + 12, &central_bytes, 4);
    memcpy(end + 16, &at, 4);
    memcpy(out + n, end, 22);
    test_write_file(in_folder("x.npz"), out, n + 22);
    free(npy);
}

static int setup(void **state)
{
    static float numbers[6 * 4];
    static int64_t labels[6] = {0, 1, 2, 0, 1, 2};
    size_t bytes;
    (void)state;
    strcpy(folder, "/tmp/leat-files-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    onnx_builder *b = test_build_mlp();
    const void *data = onnx_builder_finish(b, &bytes);
    test_write_file(in_folder("m.onnx"), data, bytes);
    onnx_builder_destroy(b);
    for (size_t i = 0; i < 24; i++) {
        numbers[i] = (float)i / 8 - 1;
    }
    write_npy("x.npy", test_f32(numbers, "6x4"));
    write_npy("labels.npy", test_i64(labels, "6"));
    write_archive();
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    assert_ok(leat_model_load(context, in_folder("m.onnx"), NULL, &model, &err), &err);
    assert_ok(write_policy(in_folder("policy")), &err);
    return mkdir(in_folder("none"), 0700) || mkfifo(in_folder("fifo"), 0600) ||
           symlink("loop", in_folder("loop"));
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    leat_model_destroy(model);
    leat_context_destroy(context);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_are_read),
        cmocka_unit_test(what_is_no_file_is_said_with_its_path),
        cmocka_unit_test(files_that_end_early_are_corrupt),
        cmocka_unit_test(where_nothing_can_be_written_nothing_is_left),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

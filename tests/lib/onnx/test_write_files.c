/* SPDX-License-Identifier: Apache-2.0 */
/* Saving over a model that is in use: whatever fails, and whenever somebody looks, the model and
 * its data belong together. This program replaces the system calls that saving makes. */
#include "lib/onnx/model.h"

#include "onnx/external.h"
#include "onnx/writer.h"
#include "support/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[64], path[96];
static lt_memory memory;

/* What the replaced calls do. */
static struct {
    bool armed;
    long allow; /* calls that still succeed; negative: all */
    bool short_writes;
    void (*look)(void); /* called before and after files get or lose names; NULL: not */
} calls;

static bool fails(void)
{
    if (!calls.armed || calls.allow < 0 || --calls.allow >= 0) {
        return false;
    }
    calls.allow = 0; /* what is broken stays broken; removing still works */
    errno = ENOSPC;
    return true;
}

static void look(void)
{
    if (calls.armed && calls.look != NULL) {
        calls.armed = false;
        calls.look();
        calls.armed = true;
    }
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fails()) {
        return -1;
    }
    return syscall(SYS_write, fd, data,
                   calls.armed && calls.short_writes && bytes > 999 ? 999 : bytes);
}

int fsync(int fd)
{
    return fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

int mkostemp(char *name, int flags)
{
    (void)flags;
    return fails() ? -1 : mkstemp(name);
}

int rename(const char *from, const char *to)
{
    if (fails()) {
        return -1;
    }
    look();
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    look();
    return result;
}

int unlink(const char *name)
{
    look();
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    look();
    return result;
}

static int setup(void **state)
{
    (void)state;
    memset(&calls, 0, sizeof(calls));
    calls.allow = -1;
    strcpy(folder, "/tmp/leat-write-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/m.onnx", folder);
    lt_memory_init(&memory, NULL, 0);
    return 0;
}

/* Names of the files in the folder, "." and ".." not among them; returns how many. */
static size_t list(char names[][128], size_t capacity)
{
    size_t count = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.') {
            assert_true(count < capacity);
            snprintf(names[count++], 128, "%.100s", e->d_name);
        }
    }
    closedir(d);
    return count;
}

static int teardown(void **state)
{
    char names[16][128], name[256];
    (void)state;
    size_t count = list(names, 16);
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
        remove(name);
    }
    rmdir(folder);
    assert_int_equal(memory.live_blocks, 0);
    return 0;
}

#define W_COUNT 3000 /* more than two pages, not a multiple of one */

/* y = Op(a, w, b): w is W_COUNT times `generation`, a and b small; generation 0 has no w. */
static leat_status save(float generation, uint64_t threshold, leat_error *err)
{
    static float w[W_COUNT];
    float small[2] = {generation, -generation};
    lt_graph *graph;
    static lt_opset opset = {"", 18};
    uint32_t inputs[3], y;
    for (size_t i = 0; i < W_COUNT; i++) {
        w[i] = generation;
    }
    const leat_array a = {LEAT_DTYPE_F32, 1, {2}, small, 8}, b = a,
                     c = {LEAT_DTYPE_F32, 1, {W_COUNT}, w, sizeof(w)};
    assert_ok(lt_graph_create(&memory, NULL, &graph, err), err);
    graph->ir_version = 10;
    graph->opsets = &opset;
    graph->n_opsets = 1;
    assert_ok(lt_graph_add_constant(graph, "a", &a, true, &inputs[0], err), err);
    assert_ok(lt_graph_add_constant(graph, "b", &b, true, &inputs[1], err), err);
    assert_ok(lt_graph_add_constant(graph, "w", &c, true, &inputs[2], err), err);
    assert_ok(lt_graph_add_value(graph, "y", &y, err), err);
    const lt_node_desc desc = {"Sum", "", "", inputs, generation ? 3 : 2, &y, 1, NULL, 0};
    assert_ok(lt_graph_add_node(graph, &desc, 0, NULL, err), err);
    graph->outputs = &y;
    graph->n_outputs = 1;
    leat_status status = lt_onnx_write(graph, path, threshold, err);
    lt_graph_destroy(graph);
    return status;
}

static void save_ok(float generation, uint64_t threshold)
{
    leat_error err = {0};
    assert_ok(save(generation, threshold, &err), &err);
}

/* Reads the model as somebody else would: its generation, the same in all parts. */
static float generation_there(void)
{
    leat_error err = {0};
    lt_memory own;
    lt_external_files *files;
    lt_graph *graph;
    size_t bytes;
    lt_memory_init(&own, NULL, 0);
    uint8_t *data = test_read_file(path, &bytes);
    assert_ok(lt_external_files_create(&own, folder, &files, &err), &err);
    const lt_onnx_source source = {
        .data = data, .bytes = bytes, .directory = folder, .files = files};
    assert_ok(lt_onnx_read(&own, &source, &graph, &err), &err);
    const float *a = graph->values[lt_graph_find_value(graph, "a")].data;
    float generation = a[0];
    uint32_t w = lt_graph_find_value(graph, "w");
    assert_true(w != LEAT_NO_VALUE || generation == 0);
    for (size_t i = 0; w != LEAT_NO_VALUE && i < W_COUNT; i++) {
        float value;
        memcpy(&value, (const char *)graph->values[w].data + 4 * i, 4);
        assert_true(value == generation);
    }
    lt_graph_destroy(graph);
    lt_external_files_destroy(files);
    free(data);
    return generation;
}

static bool is_data(const char *name)
{
    return strlen(name) == 28 && memcmp(name, "m.onnx.", 7) == 0 &&
           strspn(name + 7, "0123456789abcdef") == 16 && strcmp(name + 23, ".data") == 0;
}

/* The folder has the model and `n_data` data files, nothing else. */
static void assert_files(size_t n_data)
{
    char names[16][128];
    size_t count = list(names, 16), data = 0;
    for (size_t i = 0; i < count; i++) {
        data += is_data(names[i]);
        if (!is_data(names[i]) && strcmp(names[i], "m.onnx") != 0) {
            fail_msg("'%s' was left behind", names[i]);
        }
    }
    assert_int_equal(data, n_data);
    assert_int_equal(count, n_data + 1);
}

/* --- what is written ----------------------------------------------------------------------------
 */

static void threshold_decides_what_is_outside(void **state)
{
    (void)state;
    save_ok(1, 0);
    assert_files(0);
    save_ok(2, sizeof(float) * W_COUNT + 1);
    assert_files(0);
    save_ok(3, sizeof(float) * W_COUNT);
    assert_files(1);
    assert_true(generation_there() == 3);
}

static void external_constants_begin_at_pages(void **state)
{
    (void)state;
    char names[16][128], name[256];
    save_ok(5, 1);
    size_t count = list(names, 16);
    for (size_t i = 0; i < count; i++) {
        if (is_data(names[i])) {
            snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
            size_t bytes;
            float *data = test_read_file(name, &bytes);
            assert_int_equal(bytes, 2 * 4096 + sizeof(float) * W_COUNT);
            assert_true(data[0] == 5 && data[1] == -5 && data[2] == 0);
            assert_true(data[1024] == 5 && data[1025] == -5 && data[2047] == 0);
            assert_true(data[2048] == 5 && data[2048 + W_COUNT - 1] == 5);
            free(data);
        }
    }
    assert_true(generation_there() == 5);
}

/* --- saving over a model ------------------------------------------------------------------------
 */

static void data_of_the_replaced_model_is_removed(void **state)
{
    (void)state;
    save_ok(1, 1000);
    assert_files(1);
    save_ok(2, 1000);
    assert_files(1);
    assert_true(generation_there() == 2);
    save_ok(2, 1000); /* the same content has the same name */
    assert_files(1);
    assert_true(generation_there() == 2);
    save_ok(0, 1000); /* no data file at all */
    assert_files(0);
}

/* A stranger's model names whatever it likes; only names that saving makes are removed. */
static void files_that_other_models_name_stay(void **state)
{
    static const char *const others[] = {"weights.bin", "n.onnx.0123456789abcdef.data",
                                         "m.onnx.0123456789abcdeX.data",
                                         "m.onnx.0123456789abcdef.dat", "m.onnx.data"};
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        char other[256];
        struct stat info;
        pb graph = pb_graph(), tensor = pb_tensor("w", LEAT_DTYPE_F32, "2"), entry = {0};
        pb_text(&entry, 1, "location");
        pb_text(&entry, 2, others[i]);
        pb_message(&tensor, 13, entry);
        pb_int(&tensor, 14, 1);
        pb_message(&graph, 5, tensor);
        pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
        pb model = pb_model(&graph);
        snprintf(other, sizeof(other), "%s/%s", folder, others[i]);
        test_write_file(path, model.data, model.bytes);
        test_write_file(other, "", 0);
        save_ok(1, 1000);
        assert_int_equal(stat(other, &info), 0);
        remove(other);
        assert_files(1);
        save_ok(0, 0);
    }
}

static long looked;

static void look_at_the_model(void)
{
    float there = generation_there();
    assert_true(there == 1 || there == 2);
    looked++;
}

static void readers_never_see_a_mixed_pair(void **state)
{
    (void)state;
    save_ok(1, 1000);
    calls.armed = true;
    calls.short_writes = true;
    calls.look = look_at_the_model;
    looked = 0;
    save_ok(2, 1000);
    save_ok(1, 1000);
    calls.armed = false;
    assert_int_equal(looked, 12); /* two renames and a removal each */
    assert_true(generation_there() == 1);
    assert_files(1);
}

/* Lets 0, 1, 2, ... calls succeed until saving does. */
static void walk_failures(float before, float after, uint64_t threshold_before,
                          uint64_t threshold_after, size_t data_before, size_t data_after)
{
    for (long allow = 0;; allow++) {
        leat_error err = {0};
        assert_true(allow < 200);
        save_ok(before, threshold_before);
        calls = (typeof(calls)){.armed = true, .allow = allow, .short_writes = true};
        leat_status status = save(after, threshold_after, &err);
        calls.armed = false;
        if (status == LEAT_OK) {
            assert_true(allow > 4);
            assert_true(generation_there() == after);
            assert_files(data_after);
            return;
        }
        assert_int_equal(status, LEAT_IO);
        assert_non_null(strstr(err.message, strerror(ENOSPC)));
        float there = generation_there();
        if (there == before && before != after) {
            assert_files(data_before);
        } else { /* only the sync after the last rename failed: the old data is still there */
            assert_true(there == after);
        }
        save_ok(0, 0);
        char names[16][128];
        size_t count = list(names, 16);
        for (size_t i = 0; i < count; i++) {
            char name[256];
            assert_true(is_data(names[i]) || strcmp(names[i], "m.onnx") == 0);
            snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
            remove(name);
        }
    }
}

static void failure_at_any_call_leaves_the_old_model(void **state)
{
    (void)state;
    walk_failures(1, 2, 1000, 1000, 1, 1);
    walk_failures(1, 2, 0, 1000, 0, 1);
    walk_failures(1, 2, 1000, 0, 1, 0);
}

/* The new data has the name of the old: failing must not remove it. */
static void failure_with_the_same_weights_keeps_the_data(void **state)
{
    (void)state;
    walk_failures(3, 3, 1000, 1000, 1, 1);
}

static void path_that_is_a_directory_returns_io(void **state)
{
    (void)state;
    leat_error err = {0};
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(save(1, 1000, &err), LEAT_IO);
    char names[16][128];
    assert_int_equal(list(names, 16), 1);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(threshold_decides_what_is_outside),
        TEST(external_constants_begin_at_pages),
        TEST(data_of_the_replaced_model_is_removed),
        TEST(files_that_other_models_name_stay),
        TEST(readers_never_see_a_mixed_pair),
        TEST(failure_at_any_call_leaves_the_old_model),
        TEST(failure_with_the_same_weights_keeps_the_data),
        TEST(path_that_is_a_directory_returns_io),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

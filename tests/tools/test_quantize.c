/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over everything that `leat quantize`, and the same call in C, may be given in error: a
 * clear message, the right exit code, and never a file that was begun. */
#include "support/test.h"

#include "base/npy.h"
#include "support/file.h"
#include "support/quantize.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 12
#define WIDTH 64

static char folder[64];
static float numbers[SAMPLES * WIDTH];

static const char *at(const char *name)
{
    static char path[4][160];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

/* Two products of x, Nx64; `two`: of x + z, 2x64 each; `quantized`: with a node of such models. */
static void write_model(const char *name, bool two, bool quantized)
{
    onnx_builder *b = onnx_builder_create(17);
    size_t bytes;
    const char *from = "x";
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, two ? "2x64" : "Nx64");
    if (two) {
        onnx_builder_input(b, "z", LEAT_DTYPE_F32, "2x64");
        onnx_builder_node(b, "Add", "x,z", "s", NULL, 0);
        from = "s";
    }
    if (quantized) {
        onnx_builder_node(b, "DynamicQuantizeLinear", "x", "q,qs,qz", NULL, 0);
    }
    test_random_constant(b, "w", "64x64", 0.3f, 0, 1);
    test_random_constant(b, "v", "64x8", 0.3f, 0, 2);
    char inputs[8];
    snprintf(inputs, sizeof(inputs), "%s,w", from);
    onnx_builder_node(b, "MatMul", inputs, "m", NULL, 0);
    onnx_builder_node(b, "MatMul", "m,v", "y", NULL, 0);
    if (two) { /* not rows of classes: the drop is that of the numbers */
        onnx_builder_ints(b, "last", "1", (const int64_t[]){2});
        onnx_builder_node(b, "Unsqueeze", "y,last", "u", NULL, 0);
        onnx_builder_output(b, "u", LEAT_DTYPE_F32, "2x8x1");
    } else {
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx8");
    }
    if (quantized) {
        onnx_builder_output(b, "q", LEAT_DTYPE_U8, "Nx64");
    }
    const void *data = onnx_builder_finish(b, &bytes);
    test_write_file(at(name), data, bytes);
    onnx_builder_destroy(b);
}

static void write_npy(const char *name, leat_array array)
{
    lt_memory memory;
    leat_error err;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_npy_write(&memory, at(name), &array, &err), &err);
}

/* One number of the data is another. */
static void write_spoiled(const char *name, float number)
{
    float kept = numbers[100];
    numbers[100] = number;
    write_npy(name, test_f32(numbers, "12x64"));
    numbers[100] = kept;
}

/* Files of the folder whose name begins so: the output, and what a writer leaves half done. */
static int count_files(const char *beginning)
{
    DIR *dir = opendir(folder);
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += strncmp(entry->d_name, beginning, strlen(beginning)) == 0;
    }
    closedir(dir);
    return count;
}

/* Runs `PREFIX leat quantize ARGUMENTS` in the folder; returns the exit code. */
static int leat(const char *prefix, const char *arguments, char *out, size_t capacity)
{
    char command[1024], *build = realpath(TEST_BUILD, NULL);
    assert_non_null(build);
    snprintf(command, sizeof(command), "cd %s && %s%s/leat quantize %s 2>&1", folder, prefix, build,
             arguments);
    free(build);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t used = fread(out, 1, capacity - 1, pipe);
    out[used] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void command_line_refuses_clearly(void **state)
{
    static const struct {
        const char *arguments; /* the output is out.onnx */
        int code;
        const char *part; /* of the message */
    } cases[] = {
        {"m.onnx out.onnx --data gone.npy", 1, "gone.npy"},
        {"m.onnx out.onnx --data empty", 1, "no .npy"},
        {"m.onnx out.onnx --data text.npy", 1, "text.npy"},
        {"m.onnx out.onnx --data cut.npy", 1, "cut.npy"},
        {"m.onnx out.onnx --data wide.npy", 1, "12x60"},
        {"m.onnx out.onnx --data ids.npy", 1, "i64[6x64]"},
        {"m.onnx out.onnx --data nan.npy", 1, "input 'x' holds NaN"},
        {"m.onnx out.onnx --data inf.npy", 1, "input 'x' holds NaN or infinity"},
        {"m.onnx out.onnx --data z=good.npy", 1, "no input 'z'; the inputs are 'x'\n"},
        {"m.onnx out.onnx --data good.npy --data good.npy", 1, "two files"},
        {"m.onnx out.onnx --data good.npy --labels few.npy", 1, "labels"},
        {"m.onnx out.onnx --data good.npy --labels far.npy", 1, "label 8"},
        {"m.onnx out.onnx --data good.npy --labels good.npy", 1, "labels in"},
        {"m.onnx out.onnx --method static", 1, "calibration data"},
        {"m.onnx out.onnx --max-drop 1%", 1, "needs data"},
        {"m.onnx out.onnx --keep nobody", 1, "'nobody'"},
        {"m.onnx out.onnx --data good.npy --bits 5", 3, "5 bits"},
        {"m.onnx out.onnx --bits 8 --method weights --block 17", 1, "blocks of 17"},
        {"two.onnx out.onnx --data good.npy", 1, "2 inputs ('x', 'z'): say"},
        {"two.onnx out.onnx --data x=good.npy", 1, "input 'z' is missing"},
        {"two.onnx out.onnx --data x=good.npy --data z=half.npy", 1, "3 batches"},
        {"two.onnx out.onnx --data x=odd.npy --data z=odd.npy", 1, "11 samples"},
        {"quantized.onnx out.onnx", 1, "quantized already"},
        {"gone.onnx out.onnx", 1, "gone.onnx"},
        {"text.npy out.onnx", 3, "text.npy"},
        {"two.onnx out.onnx --data x=good.npy --data z=good.npy --max-drop 0.0000001%", 3,
         "no layer can be quantized"},
        {"m.onnx out.onnx --data good.npy --cache text.npy", 1, "calibration cache"},
        {"m.onnx out.onnx --data good.npy --cache no/cache", 1, "no/cache"},
        {"m.onnx out.onnx --data good.npy --report no/r.json", 1, "no/r.json"},
        {"m.onnx no/out.onnx --data good.npy", 1, "no/out.onnx"},
        {"m.onnx empty --data good.npy", 1, "not a regular file"},
        {"m.onnx /dev/full --data good.npy", 1, "not a regular file"},
        {"m.onnx /dev/null --data good.npy", 1, "not a regular file"},
    };
    char out[16384];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool made = strstr(cases[i].arguments, "--report") != NULL; /* the model is good */
        unlink(at("out.onnx"));
        int code = leat("", cases[i].arguments, out, sizeof(out));
        if (code != cases[i].code || strstr(out, cases[i].part) == NULL) {
            fail_msg("leat quantize %s: exit code %d, '%s'", cases[i].arguments, code, out);
        }
        if (count_files("out.onnx") != made) {
            fail_msg("leat quantize %s: %d files", cases[i].arguments, count_files("out.onnx"));
        }
        struct stat info;
        assert_int_equal(stat("/dev/full", &info), 0);
        assert_true(S_ISCHR(info.st_mode));
    }
}

/* Files may have 2 KB: like a disk that is full. What was there stays. */
static void full_disk_leaves_what_was_there(void **state)
{
    char out[16384];
    size_t bytes;
    (void)state;
    test_write_file(at("out.onnx"), "before", 6);
    int code =
        leat("trap '' XFSZ; ulimit -f 4; ", "m.onnx out.onnx --data good.npy", out, sizeof(out));
    assert_int_equal(code, 1);
    assert_non_null(strstr(out, "out.onnx"));
    char *there = test_read_file(at("out.onnx"), &bytes);
    assert_string_equal(there, "before");
    free(there);
    assert_int_equal(count_files("out.onnx"), 1);
}

/* leat_quantize_file in a process of its own, as nobody when this one may do everything. Its exit
 * code is the status; the message goes to `errors`. */
static pid_t start(const char *output, bool as_nobody)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    leat_context *context = NULL;
    leat_error err = {.message = ""};
    if (as_nobody && geteuid() == 0 && setuid(65534) != 0) {
        _exit(99);
    }
    leat_status status = leat_context_create(NULL, &context, &err);
    status =
        status ? status
               : leat_quantize_file(context, at("m.onnx"), at(output), NULL, at("good.npy"), &err);
    leat_context_destroy(context);
    _exit(status == LEAT_OK || strstr(err.message, output) != NULL ? (int)status : 98);
}

static int end_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void directory_that_cannot_be_written_is_said(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("closed"), 0500), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(end_of(start("closed/out.onnx", true)), LEAT_IO);
    assert_int_equal(access(at("closed/out.onnx"), F_OK), -1);
    assert_int_equal(rmdir(at("closed")), 0); /* nothing in it */
}

/* Killed at any time, it leaves what was there before, or the whole result. */
static void killed_leaves_the_old_file_or_the_new(void **state)
{
    int whole = 0;
    (void)state;
    for (long us = 500; us < 200000 && whole < 2; us += us / 3) {
        const struct timespec wait = {0, us * 1000};
        size_t bytes;
        test_write_file(at("out.onnx"), "before", 6);
        pid_t pid = start("out.onnx", false);
        nanosleep(&wait, NULL);
        kill(pid, SIGKILL);
        (void)end_of(pid);
        char *there = test_read_file(at("out.onnx"), &bytes);
        if (bytes != 6) {
            leat_context *context;
            leat_model *model;
            leat_error err;
            assert_ok(leat_context_create(NULL, &context, &err), &err);
            assert_ok(leat_model_load(context, at("out.onnx"), NULL, &model, &err), &err);
            leat_model_destroy(model);
            leat_context_destroy(context);
            whole++;
        }
        free(there);
    }
}

static int setup(void **state)
{
    int64_t labels[SAMPLES * WIDTH] = {0};
    uint32_t seed = 3;
    (void)state;
    strcpy(folder, "/tmp/leat-quantize-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < SAMPLES * WIDTH; i++) {
        numbers[i] = test_seeded(&seed);
    }
    write_model("m.onnx", false, false);
    write_model("two.onnx", true, false);
    write_model("quantized.onnx", false, true);
    write_npy("good.npy", test_f32(numbers, "12x64"));
    write_npy("wide.npy", test_f32(numbers, "12x60"));
    write_npy("half.npy", test_f32(numbers, "6x64"));
    write_npy("odd.npy", test_f32(numbers, "11x64"));
    write_npy("ids.npy", test_i64(labels, "6x64"));
    write_npy("few.npy", test_i64(labels, "11"));
    labels[3] = 8;
    write_npy("far.npy", test_i64(labels, "12"));
    write_spoiled("nan.npy", NAN);
    write_spoiled("inf.npy", INFINITY);
    test_write_file(at("text.npy"), "no numbers", 10);
    size_t bytes;
    void *good = test_read_file(at("good.npy"), &bytes);
    test_write_file(at("cut.npy"), good, bytes - 40);
    free(good);
    return mkdir(at("empty"), 0700);
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_line_refuses_clearly),
        cmocka_unit_test(full_disk_leaves_what_was_there),
        cmocka_unit_test(directory_that_cannot_be_written_is_said),
        cmocka_unit_test(killed_leaves_the_old_file_or_the_new),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

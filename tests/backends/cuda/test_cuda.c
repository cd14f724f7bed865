/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA plugin with the fake driver (fake_driver.cpp), through the leat command: a process each,
 * for the loader reads LD_LIBRARY_PATH only when a program starts. */
#include "backends/cuda/fakes.h"
#include "support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[16384];

/* Runs `leat ARGUMENTS --plugins FAKES` with the driver behaving so; NULL: without any driver. Its
 * exit code; `output` holds what it printed. */
static int leat(const char *behaviour, const char *arguments)
{
    char line[4096];
    snprintf(line, sizeof(line),
             "LD_LIBRARY_PATH=%s LEAT_FAKE_CUDA=%s " TEST_BUILD "/leat %s --plugins " FAKES " 2>&1",
             behaviour ? FAKES : "/nowhere", behaviour ? behaviour : "", arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t n = fread(output, 1, sizeof(output) - 1, pipe);
    output[n] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *text)
{
    if (strstr(output, text) == NULL) {
        fail_msg("'%s' is not in: %s", text, output);
    }
}

/* A folder of ONNX's node cases. */
static const char *node_case(const char *name)
{
    static char path[1024];
    const char *data = getenv("LEAT_ONNX_DATA");
    if (data == NULL) {
        skip();
    }
    snprintf(path, sizeof(path), "%s/%s", data, name);
    return path;
}

static void no_driver_is_no_device_with_the_reason(void **state)
{
    (void)state;
    if (access("/usr/lib/x86_64-linux-gnu/libcuda.so.1", F_OK) == 0) {
        skip(); /* this machine has a driver */
    }
    assert_int_equal(leat(NULL, "devices --device cuda"), 4);
    expect("NVIDIA's driver is not installed");
}

static void a_driver_that_does_not_start_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *behaviour, *text;
    } cases[] = {
        {"stub", "the toolkit's stub (CUDA error 34)"},
        {"no_gpu", "finds no GPU (CUDA error 100)"},
        {"mismatch", "different versions (CUDA error 803)"},
        {"old", "a driver of CUDA 12 or newer"},
        {"lacking", "has no cuLaunchKernel"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(leat(cases[i].behaviour, "devices --device cuda"), 4);
        expect(cases[i].text);
    }
}

static void devices_are_listed(void **state)
{
    (void)state;
    assert_int_equal(leat("good", "devices --device cuda --json"), 0);
    expect("\"cuda:0\"");
    expect("Fibres 1");
    expect("sm_80, 3 multiprocessors, driver 12.8");
}

static void an_old_gpu_is_listed_but_not_opened(void **state)
{
    (void)state;
    char line[1200];
    assert_int_equal(leat("old_gpu", "devices --device cuda"), 0);
    expect("compute capability 7.5");
    snprintf(line, sizeof(line), "run %s/model.onnx --device cuda:0", node_case("test_relu"));
    assert_int_equal(leat("old_gpu", line), 4);
    expect("need 8.0 or newer");
    assert_int_equal(leat("no_binary", line), 4);
    expect("opening the device");
}

static void kernels_give_the_expected_results(void **state)
{
    (void)state;
    char line[1200];
    static const char *const cases[] = {"test_relu", "test_gather_0", "test_matmul_4d",
                                        "test_add_bcast"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(line, sizeof(line), "test %s --device cuda:1", node_case(cases[i]));
        assert_int_equal(leat("good", line), 0);
        expect("1 passed, 0 failed, 0 skipped");
    }
}

static void failures_of_the_driver_are_errors(void **state)
{
    (void)state;
    char line[1200];
    snprintf(line, sizeof(line), "run %s/model.onnx --device cuda:0", node_case("test_relu"));
    assert_int_equal(leat("no_memory", line), 1);
    expect("no memory for");
    assert_int_equal(leat("launch", line), 4);
    expect("launching a kernel");
    assert_int_equal(leat("lost", line), 4);
    expect("waiting for a stream");
}

/* Several runs of one session; test_graphs.c compares their results. */
static void a_driver_that_cannot_record_runs_plainly(void **state)
{
    (void)state;
    char line[1200];
    static const char *const behaviours[] = {"good",        "begin_capture", "end_capture",
                                             "instantiate", "upload",        "graph_launch",
                                             "no_pinned",   "slow"};
    snprintf(line, sizeof(line), "bench %s/model.onnx --device cuda:0 --seconds 0.01",
             node_case("test_matmul_4d"));
    for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
        assert_int_equal(leat(behaviours[i], line), 0);
    }
}

/* Writes a .npy of three i64. */
static void write_indices(const char *path, int64_t a, int64_t b, int64_t c)
{
    int64_t numbers[3] = {a, b, c};
    char header[128];
    int n = snprintf(header, sizeof(header),
                     "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file);
    fprintf(file, "%-117.*s\n", n, header);
    fwrite(numbers, sizeof(numbers), 1, file);
    fclose(file);
}

static void an_index_out_of_range_is_an_error(void **state)
{
    (void)state;
    char line[2048], path[256];
    snprintf(path, sizeof(path), FAKES "/indices-%d.npy", (int)getpid());
    snprintf(line, sizeof(line), "run %s/model.onnx --device cuda:0 -i indices=%s",
             node_case("test_gather_0"), path);
    write_indices(path, 0, 1, 3);
    assert_int_equal(leat("good", line), 0);
    write_indices(path, 0, 1, 99);
    int code = leat("good", line);
    unlink(path);
    assert_int_equal(code, 1);
    expect("an index is out of range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_driver_is_no_device_with_the_reason),
        cmocka_unit_test(a_driver_that_does_not_start_says_why),
        cmocka_unit_test(devices_are_listed),
        cmocka_unit_test(an_old_gpu_is_listed_but_not_opened),
        cmocka_unit_test(kernels_give_the_expected_results),
        cmocka_unit_test(failures_of_the_driver_are_errors),
        cmocka_unit_test(a_driver_that_cannot_record_runs_plainly),
        cmocka_unit_test(an_index_out_of_range_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

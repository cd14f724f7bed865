/* SPDX-License-Identifier: Apache-2.0 */
/* leat-bench: what is asked for runs in its place. */
#include "support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Returns the exit code, output in `out`. */
static int run(const char *arguments, char *out, size_t capacity)
{
    char command[512];
    snprintf(command, sizeof(command), "%s/bench/leat-bench %s 2>&1", TEST_BUILD, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t used = fread(out, 1, capacity - 1, pipe);
    out[used] = '\0';
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void subcommands_are_programs_with_their_options(void **state)
{
    char out[16384];
    (void)state;
    assert_int_equal(run("", out, sizeof(out)), 2);
    assert_non_null(strstr(out, "usage: leat-bench"));
    assert_int_equal(run("latency", out, sizeof(out)), 2);
    assert_int_equal(run("sequences", out, sizeof(out)), 2);
    assert_non_null(strstr(out, "usage: sequences"));
    assert_int_equal(run("sequences /nonexistent.onnx", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "/nonexistent.onnx"));
    /* Every trace, in simulated time. */
    assert_int_equal(run("sched --seconds 0.05 --seed 3", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\non/off bulk "));
    assert_non_null(strstr(out, "leat_scheduler_begin: median"));
}

/* In real time: the scheduler's own threads, and a device that waits. What is done in time is
 * something, and no more than the device has. */
static void policies_run_live(void **state)
{
    char out[16384];
    int traces = 0;
    (void)state;
    assert_int_equal(run("sched --live null --seconds 0.05 --seed 3", out, sizeof(out)), 0);
    for (const char *line = strstr(out, "live, goodput"); line != NULL;
         line = strchr(line + 1, '\n')) {
        double edf;
        if (sscanf(line, "\nburst %lf", &edf) == 1 || sscanf(line, "\nPoisson %lf", &edf) == 1) {
            assert_true(edf > 0 && edf < 101);
            traces++;
        }
    }
    assert_int_equal(traces, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subcommands_are_programs_with_their_options),
        cmocka_unit_test(policies_run_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

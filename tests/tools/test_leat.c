/* SPDX-License-Identifier: Apache-2.0 */
/* The `leat` command: exit codes, last lines, JSON fields, files. */
#include "support/test.h"

#include "support/file.h"
#include "support/onnx_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], model[128];

/* Runs leat in a directory with these arguments (%s is the model); returns the exit code, output in
 * `out`. */
static int leat_in(const char *directory, const char *arguments, char *out, size_t capacity)
{
    char command[1024], line[512], *build = realpath(TEST_BUILD, NULL);
    assert_non_null(build);
    snprintf(line, sizeof(line), arguments, model, model);
    snprintf(command, sizeof(command), "cd %s && %s/leat 2>&1 %s", directory, build, line);
    free(build);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t used = fread(out, 1, capacity - 1, pipe);
    out[used] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int leat(const char *arguments, char *out, size_t capacity)
{
    return leat_in(".", arguments, out, capacity);
}

static void write_in_folder(const char *name, const void *data, size_t bytes)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    test_write_file(path, data, bytes);
}

static void write_npy(const char *name, const char *type, const char *shape, const void *data,
                      size_t bytes)
{
    char file[256];
    memset(file, ' ', sizeof(file));
    memcpy(file, "\x93NUMPY\1\0\x76", 10);
    const int n = snprintf(file + 10, 100,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
    file[10 + n] = ' ';
    file[127] = '\n';
    memcpy(file + 128, data, bytes);
    write_in_folder(name, file, 128 + bytes);
}

static void write_text_model(const char *name, const char *text)
{
    size_t bytes;
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_import(b, "acme", 1);
    onnx_builder_text(b, text);
    const void *data = onnx_builder_finish(b, &bytes);
    write_in_folder(name, data, bytes);
    onnx_builder_destroy(b);
}

static int setup(void **state)
{
    static const float w[] = {1, 2, 3, 4};
    onnx_builder *b = onnx_builder_create(17);
    size_t bytes;
    (void)state;
    strcpy(folder, "/tmp/leat-tool-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(model, sizeof(model), "%s/model.onnx", folder);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx2");
    onnx_builder_floats(b, "w", "2x2", w);
    onnx_builder_node(b, "MatMul", "x,w", "m", NULL, 0);
    onnx_builder_node(b, "Relu", "m", "a/y", NULL, 0);
    onnx_builder_output(b, "a/y", LEAT_DTYPE_F32, "Nx2");
    const void *data = onnx_builder_finish(b, &bytes);
    test_write_file(model, data, bytes);
    onnx_builder_destroy(b);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void usage_errors_exit_2(void **state)
{
    static const struct {
        const char *line, *part; /* of what is printed */
    } cases[] = {
        {"", "leat run MODEL"},
        {"nonsense", "'nonsense' is not a command"},
        {"run", "A path is missing"},
        {"bench --json", "A path is missing"},
        {"run %s --threads x", "'x' is no value for --threads, which takes numbers from 0"},
        {"run %s --threads 1,", "'1,' is no value for --threads"},
        {"run %s --no-such-option 1", "no option '--no-such-option'"},
        {"run %s --no-such-option", "no option '--no-such-option'"},
        {"run %s --max-drop 1%%", "'--max-drop' is an option of 'leat quantize'"},
        {"run %s -i", "a value is missing after '-i'"},
        {"run %s other.onnx", "'other.onnx' is one path too many"},
        {"devices more", "'more' is one path too many"},
        {"run %s --seed 1.5", "'1.5' is no value for --seed"},
        {"run %s --precision f8", "one of: model f32 bf16 f16 auto tf32"},
        {"run %s --precision f3", "'f3' is no value"},
        {"bench %s --batch 0", "numbers from 1"},
        {"bench %s --seconds -1", "'-1' is no value for --seconds"},
        {"bench %s --seconds inf", "'inf' is no value for --seconds"},
        {"bench %s --rate nan", "'nan' is no value for --rate"},
        {"quantize %s", "give two paths"},
        {"quantize a b c", "give two paths"},
        {"quantize a b --method often", "one of: auto dynamic static weights"},
        {"quantize a b --max-drop much", "a share such as 1%"},
        {"quantize a b --bits 0", "8 or 4"},
        {"quantize a b --labels y.npy", "--labels belongs to --data"},
        {"quantize a b --cache c", "--cache belongs to --data"},
        {"bench %s --batch 9999999", "numbers from 1 to 1048576"},
    };
    char out[4096];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int code = leat(cases[i].line, out, sizeof(out));
        if (code != 2 || strstr(out, cases[i].part) == NULL) {
            fail_msg("leat %s: exit code %d, '%s'", cases[i].line, code, out);
        }
    }
}

/* Of one command, wherever it stands; the whole without one. */
static void help_is_that_of_the_command(void **state)
{
    static const char *const commands[] = {"run",     "bench",    "inspect",
                                           "devices", "quantize", "test"};
    char out[8192], arguments[64], first[32];
    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        snprintf(first, sizeof(first), "leat %s ", commands[i]);
        for (int short_form = 0; short_form < 2; short_form++) {
            snprintf(arguments, sizeof(arguments), "%s %s", commands[i],
                     short_form ? "a -h" : "--help");
            assert_int_equal(leat(arguments, out, sizeof(out)), 0);
            assert_memory_equal(out, first, strlen(first));
            assert_null(strstr(out + 1, "\nleat "));
            assert_non_null(strstr(out, "Exit codes"));
            assert_int_equal(strstr(out, "--plain:") != NULL, i < 3);
        }
        assert_int_equal(leat("--help", out, sizeof(out)), 0);
        assert_non_null(strstr(out, first));
        assert_memory_equal(out, "leat runs", 9);
    }
    assert_int_equal(leat("bench --threads x --help", out, sizeof(out)), 2);
}

static void refused_models_exit_3_and_devices_4(void **state)
{
    char out[4096];
    (void)state;
    assert_int_equal(leat("run /etc/passwd", out, sizeof(out)), 3);
    assert_non_null(strstr(out, "byte"));
    assert_int_equal(leat("run %s --device nowhere:3", out, sizeof(out)), 4);
    assert_non_null(strstr(out, "nowhere"));
    assert_int_equal(leat("run %s --precision bf16", out, sizeof(out)), 0);
    assert_int_equal(leat("run /no/such/file.onnx", out, sizeof(out)), 1);
    assert_int_equal(leat("run %s --shape x=1x2 --shape x=2x2", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "'x' is given twice"));
    assert_int_equal(leat("run %s --shape 1x2 --shape 2x2", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "'x' is given twice"));
    assert_int_equal(leat("run %s --shape y=1x2", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "no input 'y'; the inputs are 'x'\n"));
    assert_int_equal(leat("run %s -i x.npy --shape x=1x2", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "--shape 1x2 is refused"));
    assert_int_equal(leat("bench %s --seconds 0 --trace /no/such/file", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "'/no/such/file': No such file or directory\n"));
}

/* What is wrong, in which file, and what would be right; a refused model exits with 3. */
static void bad_inputs_are_named_with_what_is_wanted(void **state)
{
    static const struct {
        const char *arguments;
        int code;
        const char *parts[3];
    } cases[] = {
        {"run %s -i d.npy", 1, {"'d.npy' is f64[1x2]", "input 'x' takes f32[?x2]", "astype"}},
        {"run %s -i x=l.npy", 1, {"'l.npy' is f32[1x3], but input 'x' takes f32[?x2]", "", ""}},
        {"bench %s --shape 2", 1, {"'2' is f32[2], but input 'x' takes f32[?x2]", "", ""}},
        {"run %s -i s.npy", 1, {"'s.npy': ", "type '|O' is not supported", ""}},
        {"run %s --shape 1x2 -o x.npy", 1, {"cannot make 'x.npy': Not a directory", "", ""}},
        {"run own.onnx", 3, {"'own.onnx': node 'y' (Own)", "no kernel", "leat_context_add_op"}},
        {"run types.onnx", 3, {"'types.onnx': node 'y' (Not)", "input 0 is f32, not bool", ""}},
        {"quantize types.onnx q.onnx", 3, {"'types.onnx': node 'y' (Not)", "", ""}},
        {"inspect shapes.onnx", 3, {"'shapes.onnx': node 'y' (MatMul)", "3 rows", ""}},
        {"run .", 3, {"'.' is not a regular file", "", ""}},
        {"quantize %s q.onnx --data l.npy", 1, {"'l.npy' is f32[1x3]", "takes f32[?x2]", ""}},
        {"quantize %s q.onnx --data n.npy", 1, {"'n.npy': batch 0: input 'x' holds NaN", "", ""}},
        {"inspect %s >/dev/full", 1, {"could not be written: No space left", "", ""}},
        {"run %s --json >/dev/full", 1, {"could not be written: No space left", "", ""}},
        {"--help >/dev/full", 1, {"could not be written: No space left", "", ""}},
    };
    static float nan_data[2] = {NAN, 0}, data[3];
    char out[4096];
    (void)state;
    write_npy("x.npy", "<f4", "1, 2", data, 8);
    write_npy("n.npy", "<f4", "1, 2", nan_data, 8);
    write_npy("l.npy", "<f4", "1, 3", data, 12);
    write_npy("d.npy", "<f8", "1, 2", (double[]){0, 0}, 16);
    write_npy("s.npy", "|O", "1, 2", data, 8);
    write_text_model("own.onnx", "x: f32[Nx2]; y = acme.Own(x); -> y: f32");
    write_text_model("types.onnx", "x: f32[Nx2]; y = Not(x); -> y: bool");
    write_text_model("shapes.onnx", "x: f32[Nx2]; w: f32[3x2]; y = MatMul(x, w); -> y: f32");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int code = leat_in(folder, cases[i].arguments, out, sizeof(out));
        for (int p = 0; p < 3; p++) {
            if (code != cases[i].code || strstr(out, cases[i].parts[p]) == NULL) {
                fail_msg("leat %s: exit code %d, '%s'", cases[i].arguments, code, out);
            }
        }
    }
}

/* Names of a model are printed as JSON has it, whatever bytes they are. */
static void names_of_any_bytes_are_json(void **state)
{
    char out[4096];
    (void)state;
    write_text_model("names.onnx", "a\"\\\x01\xff\xed\xa0\x80\xc3\xa4: f32[1x2]; "
                                   "y = Relu(a\"\\\x01\xff\xed\xa0\x80\xc3\xa4); -> y: f32");
    assert_int_equal(leat_in(folder, "inspect names.onnx --json", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"name\": \"a\\\"\\\\\\u0001\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\""));
}

static void run_writes_outputs_and_json(void **state)
{
    char out[4096], arguments[256], path[160];
    struct stat info;
    (void)state;
    snprintf(arguments, sizeof(arguments), "run %%s --shape 3x2 --seed 5 --json -o %s/out", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"shape\": [3, 2]"));
    /* Slashes in names become underscores. */
    snprintf(path, sizeof(path), "%s/out/a_y.npy", folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 128 + 3 * 2 * 4);
    /* What was written can be read again. */
    snprintf(arguments, sizeof(arguments), "run %%s -i x=%s/out/a_y.npy", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "f32[3x2]"));
}

static void quantize_writes_a_model_and_a_report(void **state)
{
    char out[8192], arguments[512], path[160];
    struct stat info;
    (void)state;
    snprintf(arguments, sizeof(arguments), "run %%s --shape 6x2 -o %s/calib", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    /* its output has the shape of its input */
    snprintf(arguments, sizeof(arguments),
             "quantize %%s %s/q.onnx --any-speed --data x=%s/calib/a_y.npy --max-drop 0.5 --report "
             "%s/r.json",
             folder, folder, folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "static, 1 of 1 products quantized"));
    assert_non_null(strstr(out, "6 of 6 batches"));
    snprintf(path, sizeof(path), "%s/r.json", folder);
    assert_int_equal(stat(path, &info), 0);
    snprintf(arguments, sizeof(arguments), "run %s/q.onnx --shape 6x2", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    snprintf(arguments, sizeof(arguments),
             "quantize %%s %s/d.onnx --any-speed --method dynamic --json", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"method\": \"dynamic\""));
    assert_non_null(strstr(out, "\"sqnr_db\": null"));
    snprintf(arguments, sizeof(arguments), "quantize %%s %s/s.onnx --method static", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 1);
    assert_non_null(strstr(out, "calibration data"));
    snprintf(path, sizeof(path), "%s/s.onnx", folder);
    assert_int_not_equal(stat(path, &info), 0);
}

static void bench_prints_all_fields(void **state)
{
    static const char *const fields[] = {
        "model",       "device",          "precision",        "threads",  "shape",
        "batch",       "load_ms",         "compile_ms",       "first_ms", "min_ms",
        "median_ms",   "p90_ms",          "p95_ms",           "p99_ms",   "p999_ms",
        "items_per_s", "peak_host_bytes", "peak_device_bytes"};
    char out[8192], field[64];
    size_t lines = 0;
    (void)state;
    assert_int_equal(
        leat("bench %s --seconds 0.02 --batch 1,8 --threads 1,2 --json", out, sizeof(out)), 0);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        snprintf(field, sizeof(field), "\"%s\": ", fields[i]);
        assert_non_null(strstr(out, field));
    }
    for (const char *p = out; *p != '\0'; p++) {
        lines += *p == '\n';
    }
    assert_int_equal(lines, 4);
    assert_non_null(strstr(out, "\"shape\": \"8x2\""));
    assert_int_equal(leat("bench %s --seconds 0.01 --profile --plain", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "GFLOP/s"));
}

static void narrow_precision_tells_its_error_and_types(void **state)
{
    char out[8192];
    double error = -1;
    (void)state;
    assert_int_equal(leat("bench %s --seconds 0.01 --precision bf16 --json", out, sizeof(out)), 0);
    const char *at = strstr(out, "\"max_error\": ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"max_error\": %lf", &error), 1);
    assert_true(error > 0 && error < 0.02); /* that of rounding 0.1 and the like */
    assert_non_null(strstr(out, "\"mean_error\": "));
    assert_int_equal(leat("bench %s --seconds 0.01 --precision f32", out, sizeof(out)), 0);
    assert_null(strstr(out, "error"));
    assert_int_equal(leat("inspect %s --precision bf16 --json", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"types\": \"f32\""));
}

static void inspect_and_devices_say_where(void **state)
{
    char out[8192];
    (void)state;
    assert_int_equal(leat("inspect %s --json", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"device\": \"cpu\""));
    assert_non_null(strstr(out, "MatMul"));
    assert_non_null(strstr(out, "\"N\""));
    assert_int_equal(leat("devices --json", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"name\": \"cpu\""));
    assert_non_null(strstr(out, "\"available\": true"));
}

/* Puts a plugin of the tests into the folder. */
static void link_plugin(const char *name)
{
    char path[256], target[4096];
    snprintf(path, sizeof(path), "%s/tests/plugins/backend_%s.so", TEST_BUILD, name);
    assert_non_null(realpath(path, target));
    snprintf(path, sizeof(path), "%s/libleat_%s.so", folder, name);
    assert_int_equal(symlink(target, path), 0);
}

/* Every plugin of the directory: one that loads, one that is no plugin and one that refuses, with
 * the reasons. None is asked twice. */
static void devices_of_all_plugins_are_listed(void **state)
{
    char out[8192], plugin[256], arguments[256];
    (void)state;
    link_plugin("fake");
    link_plugin("refusing");
    snprintf(plugin, sizeof(plugin), "%s/libleat_broken.so", folder);
    test_write_file(plugin, "no library", 10);
    snprintf(arguments, sizeof(arguments), "devices --plugins %s", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\nfake:0 "));
    const char *broken = strstr(out, "\nbroken ");
    assert_non_null(broken);
    assert_non_null(strstr(broken, "not available: "));
    const char *refusing = strstr(out, "\nrefusing ");
    assert_non_null(refusing);
    assert_non_null(strstr(refusing, "cannot serve plugin ABI"));
    const char *asked = strstr(out, "refusing ABI ");
    assert_non_null(asked);
    assert_null(strstr(asked + 1, "refusing ABI "));
    strcat(arguments, " --json");
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "}, {\"name\": \"broken\""));
}

/* A window of 2 does not fit in sizes that are taken as 1. */
static void without_sizes_they_are_asked_for(void **state)
{
    char out[8192], path[128], arguments[256];
    onnx_builder *b = onnx_builder_create(17);
    static const int64_t two[] = {2, 2};
    const leat_attr window = {"kernel_shape", LEAT_ATTR_INTS, 2, {.ints = two}};
    size_t bytes;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1x1xHxW");
    onnx_builder_node(b, "MaxPool", "x", "y", &window, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x1xAxB");
    const void *data = onnx_builder_finish(b, &bytes);
    snprintf(path, sizeof(path), "%s/pool.onnx", folder);
    test_write_file(path, data, bytes);
    onnx_builder_destroy(b);

    snprintf(arguments, sizeof(arguments), "inspect %s", path);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "[1, 1, H, W]"));
    assert_non_null(strstr(out, "larger than padded axis"));
    assert_non_null(strstr(out, "--shape"));
    snprintf(arguments, sizeof(arguments), "inspect %s --json", path);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"nodes\": null, \"reason\": "));
    snprintf(arguments, sizeof(arguments), "inspect %s --shape x=1x1x4x4", path);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "MaxPool"));
    snprintf(arguments, sizeof(arguments), "inspect %s --shape x=1x1x1x1", path);
    assert_int_equal(leat(arguments, out, sizeof(out)), 1);
    for (int bench = 0; bench < 2; bench++) {
        snprintf(arguments, sizeof(arguments), "%s %s", bench ? "bench" : "run", path);
        assert_int_equal(leat(arguments, out, sizeof(out)), 1);
        assert_non_null(strstr(out, "'x' was made of 1x1x1x1, 1 for sizes"));
        strcat(arguments, " --shape x=1x1x1x1");
        assert_int_equal(leat(arguments, out, sizeof(out)), 1);
        assert_null(strstr(out, "was made of"));
    }
}

static void test_ends_with_the_summed_line(void **state)
{
    char out[4096], arguments[256];
    (void)state;
    /* No data sets: the model only has to load. */
    snprintf(arguments, sizeof(arguments), "test %s", folder);
    assert_int_equal(leat(arguments, out, sizeof(out)), 0);
    assert_string_equal(out, "1 passed, 0 failed, 0 skipped\n");
    assert_int_equal(leat("test /no/such/folder", out, sizeof(out)), 1);
    assert_non_null(strstr(out, "0 passed, 1 failed, 0 skipped\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_errors_exit_2),
        cmocka_unit_test(help_is_that_of_the_command),
        cmocka_unit_test(refused_models_exit_3_and_devices_4),
        cmocka_unit_test(bad_inputs_are_named_with_what_is_wanted),
        cmocka_unit_test(names_of_any_bytes_are_json),
        cmocka_unit_test(run_writes_outputs_and_json),
        cmocka_unit_test(quantize_writes_a_model_and_a_report),
        cmocka_unit_test(bench_prints_all_fields),
        cmocka_unit_test(narrow_precision_tells_its_error_and_types),
        cmocka_unit_test(inspect_and_devices_say_where),
        cmocka_unit_test(devices_of_all_plugins_are_listed),
        cmocka_unit_test(without_sizes_they_are_asked_for),
        cmocka_unit_test(test_ends_with_the_summed_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

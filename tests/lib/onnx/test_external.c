/* SPDX-License-Identifier: Apache-2.0 */
/* Weights beside the model, as leat_model_load meets them: what is read, and every way out of the
 * model's directory, the published advisories among them by name. */
#include "lib/onnx/model.h"
#include "support/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct fixture {
    char root[64];  /* holds secret.bin, and the model's directory */
    char model[64]; /* root/model */
    leat_context *context;
    test_allocator allocations;
    leat_allocator allocator;
} fixture;

static const float weights[4] = {1, 2, 3, 4};

static void write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    test_write_file(path, data, bytes);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->root, "/tmp/leat-external-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->model, sizeof(f->model), "%.40s/model", f->root);
    assert_int_equal(mkdir(f->model, 0700), 0);
    write_file(f->root, "secret.bin", weights, sizeof(weights));
    write_file(f->model, "w.bin", weights, sizeof(weights));
    f->allocator = test_allocator_init(&f->allocations);
    leat_error err = {0};
    /* A budget of 4 MB: what a file claims must not be allocated before it is checked. */
    leat_context_desc desc = {.struct_size = sizeof(desc),
                              .allocator = &f->allocator,
                              .threads = 1,
                              .memory_budget = 4u << 20};
    assert_ok(leat_context_create(&desc, &f->context, &err), &err);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    fixture *f = *state;
    leat_context_destroy(f->context);
    assert_int_equal(f->allocations.live, 0);
    nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void put_key(pb *tensor, const char *key, const char *value)
{
    pb entry = {0};
    pb_text(&entry, 1, key);
    pb_text(&entry, 2, value);
    pb_message(tensor, 13, entry);
}

/* y = Add(x, w): w is f32[count] at `location`; offset and length may be NULL. */
static pb external_tensor(const char *dims, const char *location, const char *offset,
                          const char *length)
{
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, dims);
    put_key(&tensor, "location", location);
    if (offset != NULL) {
        put_key(&tensor, "offset", offset);
    }
    if (length != NULL) {
        put_key(&tensor, "length", length);
    }
    pb_int(&tensor, 14, 1);
    return tensor;
}

static leat_status load(fixture *f, pb tensor, leat_model **out_model, leat_error *err)
{
    pb graph = pb_graph();
    pb_message(&graph, 5, tensor);
    pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
    pb model = pb_model(&graph);
    char path[160];
    write_file(f->model, "m.onnx", model.data, model.bytes);
    snprintf(path, sizeof(path), "%s/m.onnx", f->model);
    return leat_model_load(f->context, path, NULL, out_model, err);
}

static void assert_refused(fixture *f, pb tensor, leat_status expected, const char *text)
{
    leat_model *model = (leat_model *)f;
    leat_error err = {0};
    leat_status status = load(f, tensor, &model, &err);
    if (status != expected || strstr(err.message, text) == NULL) {
        fail_msg("%s \"%s\" instead of %s \"%s\"", leat_status_text(status), err.message,
                 leat_status_text(expected), text);
    }
    assert_null(model);
}

static void assert_location_refused(fixture *f, const char *location, leat_status expected,
                                    const char *text)
{
    assert_refused(f, external_tensor("2", location, NULL, NULL), expected, text);
}

/* Loads, runs on zeros and compares with two expected weights. */
static void assert_weights(fixture *f, pb tensor, float first, float second)
{
    leat_model *model;
    leat_session *session;
    leat_error err = {0};
    float x[2] = {0};
    leat_array in = {LEAT_DTYPE_F32, 1, {2}, x, sizeof(x)}, out = {0};
    assert_ok(load(f, tensor, &model, &err), &err);
    assert_ok(leat_session_create(model, NULL, &session, &err), &err);
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &err), &err);
    assert_int_equal(out.bytes, sizeof(x));
    const float expected[2] = {first, second};
    assert_memory_equal(out.data, expected, sizeof(expected));
    leat_session_destroy(session);
    leat_model_destroy(model);
}

/* --- what is read ------------------------------------------------------------------------------
 */

static void load_offset_reads_the_part(void **state)
{
    assert_weights(*state, external_tensor("2", "w.bin", NULL, NULL), 1, 2);
    assert_weights(*state, external_tensor("2", "w.bin", "8", NULL), 3, 4);
    assert_weights(*state, external_tensor("2", "w.bin", "4", "8"), 2, 3);
}

static void load_unaligned_offset_reads_the_part(void **state)
{
    fixture *f = *state;
    uint8_t shifted[9] = {0};
    memcpy(shifted + 1, weights + 2, 8);
    write_file(f->model, "shifted.bin", shifted, sizeof(shifted));
    assert_weights(f, external_tensor("2", "shifted.bin", "1", "8"), 3, 4);
}

static void load_file_in_subdirectory_reads_it(void **state)
{
    fixture *f = *state;
    char folder[80];
    snprintf(folder, sizeof(folder), "%.60s/data", f->model);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(folder, "w.bin", weights + 1, 8);
    assert_weights(f, external_tensor("2", "data/w.bin", NULL, NULL), 2, 3);
    assert_weights(f, external_tensor("2", "./data//w.bin", NULL, NULL), 2, 3);
}

static void load_two_tensors_of_one_file_maps_it_once(void **state)
{
    fixture *f = *state;
    leat_model *model;
    leat_error err = {0};
    pb graph = pb_graph();
    pb second = pb_tensor("v", LEAT_DTYPE_F32, "2");
    put_key(&second, "location", "w.bin");
    put_key(&second, "offset", "8");
    pb_int(&second, 14, 1);
    pb_message(&graph, 5, external_tensor("2", "w.bin", NULL, NULL));
    pb_message(&graph, 5, second);
    pb_message(&graph, 1, pb_node("Add", "x,w", "t"));
    pb_message(&graph, 1, pb_node("Add", "t,v", "y"));
    pb bytes = pb_model(&graph);
    char path[160];
    write_file(f->model, "two.onnx", bytes.data, bytes.bytes);
    snprintf(path, sizeof(path), "%s/two.onnx", f->model);
    assert_ok(leat_model_load(f->context, path, NULL, &model, &err), &err);
    leat_model_destroy(model);
}

/* --- parts that are not there -------------------------------------------------------------------
 */

static void load_part_outside_of_file_returns_corrupt(void **state)
{
    assert_refused(*state, external_tensor("2", "w.bin", "9", NULL), LEAT_CORRUPT,
                   "has 16 bytes; 8 at 9 are wanted");
    assert_refused(*state, external_tensor("5", "w.bin", NULL, NULL), LEAT_CORRUPT,
                   "has 16 bytes; 20 at 0 are wanted");
    assert_refused(*state, external_tensor("2", "w.bin", "18446744073709551615", NULL),
                   LEAT_CORRUPT, "w.bin");
}

static void load_bad_numbers_returns_corrupt(void **state)
{
    static const char *const bad[] = {"", "-1", "1e3", " 4", "0x8", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(*state, external_tensor("2", "w.bin", bad[i], NULL), LEAT_CORRUPT,
                       "is not a number");
        assert_refused(*state, external_tensor("2", "w.bin", NULL, bad[i]), LEAT_CORRUPT,
                       "is not a number");
    }
}

static void load_length_that_differs_from_shape_returns_corrupt(void **state)
{
    assert_refused(*state, external_tensor("2", "w.bin", "0", "4"), LEAT_CORRUPT,
                   "has 4 bytes where 8 belong");
    assert_refused(*state, external_tensor("2", "w.bin", "0", "16"), LEAT_CORRUPT,
                   "has 16 bytes where 8 belong");
}

static void load_missing_file_returns_not_found(void **state)
{
    assert_location_refused(*state, "absent.bin", LEAT_NOT_FOUND, "absent.bin");
    assert_location_refused(*state, "w.bin/inside", LEAT_NOT_FOUND, "w.bin/inside");
}

static void load_strings_as_external_data_returns_corrupt(void **state)
{
    pb tensor = pb_tensor("w", LEAT_DTYPE_STRING, "2");
    put_key(&tensor, "location", "w.bin");
    pb_int(&tensor, 14, 1);
    assert_refused(*state, tensor, LEAT_CORRUPT, "strings cannot be external data");
}

static void load_empty_file_serves_empty_tensors_only(void **state)
{
    fixture *f = *state;
    write_file(f->model, "empty.bin", "", 0);
    assert_location_refused(f, "empty.bin", LEAT_CORRUPT, "has 0 bytes");
}

/* --- advisories ---------------------------------------------------------------------------------
 */

/* Paths that climb out of the model's directory. */
static void load_parent_directory_is_refused_cve_2022_25882(void **state)
{
    assert_location_refused(*state, "../secret.bin", LEAT_INVALID, "leaves the model's directory");
    assert_location_refused(*state, "../../../../../../etc/passwd", LEAT_INVALID,
                            "leaves the model's directory");
    assert_location_refused(*state, "/etc/passwd", LEAT_INVALID, "is an absolute path");
}

/* The first fix looked at the path's beginning only, or after normalising it. */
static void load_disguised_parent_directory_is_refused_cve_2024_27318(void **state)
{
    fixture *f = *state;
    char folder[80];
    snprintf(folder, sizeof(folder), "%.60s/sub", f->model);
    assert_int_equal(mkdir(folder, 0700), 0);
    static const char *const climbing[] = {
        "sub/../../secret.bin",   "./../secret.bin", "sub/./../../secret.bin",
        "..//secret.bin",         "sub/..",          "..",
        "w.bin/../../secret.bin",
    };
    for (size_t i = 0; i < sizeof(climbing) / sizeof(climbing[0]); i++) {
        assert_location_refused(f, climbing[i], LEAT_INVALID, "leaves the model's directory");
    }
    assert_location_refused(f, "..\\secret.bin", LEAT_INVALID, "contains a backslash");
    assert_location_refused(f, "sub\\..\\..\\secret.bin", LEAT_INVALID, "contains a backslash");
    assert_location_refused(f, "", LEAT_INVALID, "is empty");
}

/* Saving wrote to whatever location the loaded model had named. */
static void save_ignores_the_locations_of_the_model_cve_2025_51480(void **state)
{
    fixture *f = *state;
    leat_model *model;
    leat_error err = {0};
    char path[160], other[160];
    struct stat before, after;
    snprintf(other, sizeof(other), "%s/w.bin", f->model);
    assert_int_equal(stat(other, &before), 0);
    assert_ok(load(f, external_tensor("2", "w.bin", NULL, NULL), &model, &err), &err);
    leat_model_save_desc desc = {.struct_size = sizeof(desc), .external_threshold = 1};
    snprintf(path, sizeof(path), "%s/out.onnx", f->model);
    assert_ok(leat_model_save(model, path, &desc, &err), &err);
    leat_model_destroy(model);
    assert_int_equal(stat(other, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, before.st_size);
    assert_ok(leat_model_load(f->context, path, NULL, &model, &err), &err);
    leat_model_destroy(model);
}

/* A symbolic link below the directory that points out of it, as a file and on the way to one. */
static void load_symbolic_link_is_refused_cve_2026_27489(void **state)
{
    fixture *f = *state;
    char link[96], target[96];
    snprintf(link, sizeof(link), "%.60s/link.bin", f->model);
    snprintf(target, sizeof(target), "%.60s/secret.bin", f->root);
    assert_int_equal(symlink(target, link), 0);
    assert_location_refused(f, "link.bin", LEAT_INVALID, "symbolic link");
    snprintf(link, sizeof(link), "%.60s/inner.bin", f->model);
    assert_int_equal(symlink("w.bin", link), 0);
    assert_location_refused(f, "inner.bin", LEAT_INVALID, "symbolic link");
    snprintf(link, sizeof(link), "%.60s/up", f->model);
    assert_int_equal(symlink("..", link), 0);
    assert_location_refused(f, "up/secret.bin", LEAT_INVALID, "symbolic link");
}

/* Keys of external_data became attributes of an object in the Python package; a length of 2^62
 * became an allocation. Here unknown keys have no effect and no size is believed. */
static void load_injected_keys_and_huge_lengths_are_harmless_cve_2026_34445(void **state)
{
    static const char *const keys[] = {"checksum", "basepath", "info",     "__class__",
                                       "dims",     "raw_data", "Location", ""};
    pb tensor = external_tensor("2", "w.bin", NULL, NULL);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        put_key(&tensor, keys[i], "/etc/passwd");
    }
    assert_weights(*state, tensor, 1, 2);
    assert_refused(*state, external_tensor("2", "w.bin", NULL, "4611686018427387904"), LEAT_CORRUPT,
                   "where 8 belong");
    assert_refused(*state, external_tensor("1152921504606846976", "w.bin", NULL, NULL),
                   LEAT_CORRUPT, "has 16 bytes");
}

/* A hard link gives a file of another directory a name in this one. */
static void load_hard_link_is_refused_cve_2026_34446(void **state)
{
    fixture *f = *state;
    char link_path[96], target[96];
    snprintf(link_path, sizeof(link_path), "%.60s/hard.bin", f->model);
    snprintf(target, sizeof(target), "%.60s/secret.bin", f->root);
    assert_int_equal(link(target, link_path), 0);
    assert_location_refused(f, "hard.bin", LEAT_INVALID, "has 2 hard links");
}

/* --- other kinds of file ------------------------------------------------------------------------
 */

static void load_what_is_no_regular_file_is_refused(void **state)
{
    fixture *f = *state;
    char path[96];
    snprintf(path, sizeof(path), "%.60s/folder", f->model);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_location_refused(f, "folder", LEAT_INVALID, "is not a regular file");
    snprintf(path, sizeof(path), "%.60s/pipe", f->model);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_location_refused(f, "pipe", LEAT_INVALID, "is not a regular file");
}

static void load_from_memory_opens_no_file(void **state)
{
    fixture *f = *state;
    leat_model *model;
    leat_error err = {0};
    pb graph = pb_graph();
    pb_message(&graph, 5, external_tensor("2", "w.bin", NULL, NULL));
    pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
    pb bytes = pb_model(&graph);
    assert_int_equal(
        leat_model_load_memory(f->context, bytes.data, bytes.bytes, NULL, &model, &err),
        LEAT_INVALID);
    assert_null(model);
    assert_non_null(strstr(err.message, "without an external_data callback"));
}

static leat_status give(void *user, const char *location, uint64_t offset, void *out, size_t bytes)
{
    const char *const wanted = user;
    if (strcmp(location, wanted) != 0 || offset + bytes > sizeof(weights)) {
        return LEAT_NOT_FOUND;
    }
    memcpy(out, (const char *)weights + offset, bytes);
    return LEAT_OK;
}

/* With a callback the location is the application's matter: it is passed on as it stands. */
static void load_from_memory_asks_the_callback(void **state)
{
    fixture *f = *state;
    leat_model *model;
    leat_error err = {0};
    char wanted[] = "../any name";
    leat_model_desc desc = {
        .struct_size = sizeof(desc), .external_data = give, .external_data_user = wanted};
    pb graph = pb_graph();
    pb_message(&graph, 5, external_tensor("2", wanted, "8", NULL));
    pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
    pb bytes = pb_model(&graph);
    assert_ok(leat_model_load_memory(f->context, bytes.data, bytes.bytes, &desc, &model, &err),
              &err);
    leat_model_destroy(model);
    wanted[3] = 'A';
    assert_int_equal(
        leat_model_load_memory(f->context, bytes.data, bytes.bytes, &desc, &model, &err),
        LEAT_NOT_FOUND);
    assert_null(model);
}

/* --- kernels without openat2 --------------------------------------------------------------------
 */

/* From here on openat2 fails as on Linux before 5.6. False where the system forbids the filter. */
static bool hide_openat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void without_openat2(void **state)
{
    (void)state;
    if (!hide_openat2()) {
        print_message("skipped: seccomp is not available here\n");
        skip();
    }
    struct open_how how = {.flags = O_RDONLY};
    errno = 0;
    assert_int_equal(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)), -1);
    assert_int_equal(errno, ENOSYS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(load_offset_reads_the_part),
        TEST(load_unaligned_offset_reads_the_part),
        TEST(load_file_in_subdirectory_reads_it),
        TEST(load_two_tensors_of_one_file_maps_it_once),
        TEST(load_part_outside_of_file_returns_corrupt),
        TEST(load_bad_numbers_returns_corrupt),
        TEST(load_length_that_differs_from_shape_returns_corrupt),
        TEST(load_missing_file_returns_not_found),
        TEST(load_strings_as_external_data_returns_corrupt),
        TEST(load_empty_file_serves_empty_tensors_only),
        TEST(load_parent_directory_is_refused_cve_2022_25882),
        TEST(load_disguised_parent_directory_is_refused_cve_2024_27318),
        TEST(save_ignores_the_locations_of_the_model_cve_2025_51480),
        TEST(load_symbolic_link_is_refused_cve_2026_27489),
        TEST(load_injected_keys_and_huge_lengths_are_harmless_cve_2026_34445),
        TEST(load_hard_link_is_refused_cve_2026_34446),
        TEST(load_what_is_no_regular_file_is_refused),
        TEST(load_from_memory_opens_no_file),
        TEST(load_from_memory_asks_the_callback),
    };
#undef TEST
    const struct CMUnitTest hide[] = {cmocka_unit_test(without_openat2)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += cmocka_run_group_tests(hide, NULL, NULL);
    return failed + cmocka_run_group_tests_name("without openat2", tests, NULL, NULL);
}

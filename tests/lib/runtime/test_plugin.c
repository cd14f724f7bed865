/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "runtime/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"
#define SKELETON TEST_BUILD "/examples/backend_skeleton.so"

static leat_context *context;

static int setup(void **state)
{
    (void)state;
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1};
    return leat_context_create(&desc, &context, NULL) != LEAT_OK;
}

static int teardown(void **state)
{
    (void)state;
    leat_context_destroy(context);
    return 0;
}

static void load_fake_adds_its_devices(void **state)
{
    (void)state;
    leat_error err = {0};
    assert_int_equal(leat_device_count(context), 1);
    assert_ok(leat_context_load_backend(context, FAKE, &err), &err);
    assert_int_equal(leat_device_count(context), 4);
    leat_device_properties info = {.struct_size = sizeof(info)};
    assert_ok(leat_device_info(context, 3, &info, &err), &err);
    assert_string_equal(info.name, "fake:2");
    assert_false(info.available);
    assert_true(strstr(info.reason, "cable") != NULL);
    assert_int_equal(leat_device_info(context, 4, &info, &err), LEAT_INVALID);
}

static void load_twice_does_nothing(void **state)
{
    (void)state;
    leat_error err = {0};
    assert_ok(leat_context_load_backend(context, FAKE, &err), &err);
    assert_ok(leat_context_load_backend(context, FAKE, &err), &err);
    assert_int_equal(leat_device_count(context), 4);
    /* The same file under another path. */
    char path[512];
    snprintf(path, sizeof(path), "%s/tests/../tests/plugins/backend_fake.so", TEST_BUILD);
    assert_ok(leat_context_load_backend(context, path, &err), &err);
    assert_int_equal(leat_device_count(context), 4);
}

static void load_missing_returns_not_found(void **state)
{
    (void)state;
    leat_error err = {0};
    assert_int_equal(leat_context_load_backend(context, "/nowhere/libleat_x.so", &err),
                     LEAT_NOT_FOUND);
    assert_true(strstr(err.message, "/nowhere/libleat_x.so") != NULL);
    assert_int_equal(leat_context_load_backend(context, "No Such", &err), LEAT_NOT_FOUND);
}

static void load_other_library_returns_invalid(void **state)
{
    (void)state;
    leat_error err = {0};
    assert_int_equal(leat_context_load_backend(context, "/lib/x86_64-linux-gnu/libm.so.6", &err),
                     access("/lib/x86_64-linux-gnu/libm.so.6", F_OK) ? LEAT_NOT_FOUND
                                                                     : LEAT_INVALID);
    assert_true(err.message[0] != '\0');
}

static void get_by_name_opens_the_first_device(void **state)
{
    (void)state;
    leat_error err = {0};
    lt_device *device = NULL, *same = NULL;
    assert_ok(leat_context_load_backend(context, FAKE, &err), &err);
    assert_ok(lt_device_get(context, "fake", &device, &err), &err);
    assert_ok(lt_device_get(context, "fake:0", &same, &err), &err);
    assert_ptr_equal(device, same);
    assert_non_null(device->handle);
    assert_ok(lt_device_get(context, "fake:1", &same, &err), &err);
    assert_ptr_not_equal(device, same);
}

static void get_bad_names_return_no_device(void **state)
{
    (void)state;
    static const char *const names[] = {"",       "cpu:",  "cpu:x", "cpu:1",
                                        "cpu:-1", "cuda9", ":0",    "cpu:99999999999"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        leat_error err = {0};
        lt_device *device = NULL;
        if (lt_device_get(context, names[i], &device, &err) != LEAT_NO_DEVICE) {
            fail_msg("'%s' was taken", names[i]);
        }
        assert_null(device);
        assert_true(err.message[0] != '\0');
    }
}

static void get_unavailable_says_why(void **state)
{
    (void)state;
    leat_error err = {0};
    lt_device *device = NULL;
    assert_ok(leat_context_load_backend(context, FAKE, &err), &err);
    assert_int_equal(lt_device_get(context, "fake:2", &device, &err), LEAT_NO_DEVICE);
    assert_true(strstr(err.message, "plug it in") != NULL);
}

static void get_looks_in_the_plugin_directory(void **state)
{
    (void)state;
    leat_error err = {0};
    char directory[] = "/tmp/leat_plugins_XXXXXX", link[64], target[512];
    assert_non_null(mkdtemp(directory));
    snprintf(link, sizeof(link), "%s/libleat_skeleton.so", directory);
    assert_non_null(realpath(SKELETON, target));
    assert_int_equal(symlink(target, link), 0);
    leat_context_desc desc = {
        .struct_size = sizeof(desc), .threads = 1, .plugin_directory = directory};
    leat_context *own;
    lt_device *device = NULL;
    assert_ok(leat_context_create(&desc, &own, &err), &err);
    assert_ok(lt_device_get(own, "skeleton", &device, &err), &err);
    assert_string_equal(device->info.name, "skeleton");
    leat_context_destroy(own);
    unlink(link);
    rmdir(directory);
}

/* ------------------------------------------------------------------------------------------------
 * Backends that must be refused before their code acts
 * --------------------------------------------------------------------------------------------- */

static int init_calls;

static leat_status counting_init(const leat_host *host, void **out_instance, leat_error *err)
{
    (void)host, (void)err;
    init_calls++;
    *out_instance = &init_calls;
    return LEAT_OK;
}

static void do_shutdown(void *instance)
{
    (void)instance;
}

static size_t no_devices(void *instance)
{
    (void)instance;
    return 0;
}

static leat_status no_info(void *instance, size_t index, leat_device_properties *out_info,
                           leat_error *err)
{
    (void)instance, (void)index, (void)out_info, (void)err;
    return LEAT_INVALID;
}

static leat_status no_open(void *instance, size_t index, void **out_device, leat_error *err)
{
    (void)instance, (void)index, (void)out_device, (void)err;
    return LEAT_NO_DEVICE;
}

static leat_status no_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                              leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)node, (void)device, (void)host, (void)plan, (void)out_kernel, (void)err;
    return LEAT_UNSUPPORTED;
}

static const leat_op_row one_row[] = {{.op = "X", .domain = "", .since = 1, .prepare = no_prepare}};

static leat_backend good_backend(void)
{
    return (leat_backend){.abi = LEAT_BACKEND_ABI,
                          .struct_size = sizeof(leat_backend),
                          .name = "good",
                          .version = "1",
                          .features = LEAT_BACKEND_HOST_MEMORY,
                          .sanitizer = LEAT_BACKEND_SANITIZER,
                          .init = counting_init,
                          .shutdown = do_shutdown,
                          .device_count = no_devices,
                          .device_info = no_info,
                          .device_open = no_open,
                          .device_close = do_shutdown,
                          .rows = one_row,
                          .n_rows = 1};
}

static leat_status try_register(const leat_backend *backend, leat_error *err)
{
    init_calls = 0;
    pthread_mutex_lock(&context->lock);
    leat_status status = lt_backend_register(context, backend, NULL, NULL, err);
    pthread_mutex_unlock(&context->lock);
    return status;
}

static void register_good_backend_works(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_backend backend = good_backend();
    assert_ok(try_register(&backend, &err), &err);
    assert_int_equal(init_calls, 1);
    assert_int_equal(try_register(&backend, &err), LEAT_INVALID); /* the name is taken */
    assert_int_equal(init_calls, 0);
    leat_context_destroy(context); /* before the backend on this stack goes */
    context = NULL;
}

static void assert_refused(const leat_backend *backend, leat_status expected, const char *word)
{
    leat_error err = {0};
    assert_int_equal(try_register(backend, &err), expected);
    if (strstr(err.message, word) == NULL) {
        fail_msg("the message lacks '%s': %s", word, err.message);
    }
    assert_int_equal(init_calls, 0);
    assert_int_equal(context->n_backends, 1);
}

static void register_bad_structures_are_refused_before_init(void **state)
{
    (void)state;
    leat_backend b = good_backend();
    assert_refused(NULL, LEAT_UNSUPPORTED, "ABI");
    b.abi = LEAT_BACKEND_ABI + 1;
    assert_refused(&b, LEAT_UNSUPPORTED, "ABI");
    b = good_backend();
    b.struct_size = 64;
    assert_refused(&b, LEAT_UNSUPPORTED, "64 bytes");
    b = good_backend();
    b.sanitizer = "other";
    assert_refused(&b, LEAT_UNSUPPORTED, "sanitizer");
    b = good_backend();
    b.name = "Bad/Name";
    assert_refused(&b, LEAT_INVALID, "name");
    b = good_backend();
    b.name = NULL;
    assert_refused(&b, LEAT_INVALID, "name");
    b = good_backend();
    b.init = NULL;
    assert_refused(&b, LEAT_INVALID, "init");
    b = good_backend();
    b.features = 0; /* own memory needs alloc, copy, streams */
    assert_refused(&b, LEAT_INVALID, "alloc");
    b = good_backend();
    b.rows = NULL;
    assert_refused(&b, LEAT_INVALID, "describe");
    const leat_op_row broken[] = {{.op = "X", .domain = ""}};
    b = good_backend();
    b.rows = broken;
    assert_refused(&b, LEAT_INVALID, "prepare");
}

static leat_status failing_init(const leat_host *host, void **out_instance, leat_error *err)
{
    (void)host;
    *out_instance = NULL;
    err->status = LEAT_NO_DEVICE;
    strcpy(err->message, "no driver: install it");
    return LEAT_NO_DEVICE;
}

static void register_failing_init_gives_its_reason(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_backend backend = good_backend();
    backend.init = failing_init;
    assert_int_equal(try_register(&backend, &err), LEAT_NO_DEVICE);
    assert_true(strstr(err.message, "install it") != NULL);
    assert_int_equal(context->n_backends, 1);
}

static leat_status create_and_load(void *argument, const leat_allocator *allocator, leat_error *err)
{
    (void)argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 2};
    leat_context *own;
    leat_status status = leat_context_create(&desc, &own, err);
    if (status != LEAT_OK) {
        assert_null(own);
        return status;
    }
    lt_device *device;
    status = leat_context_load_backend(own, FAKE, err);
    status = status ? status : lt_device_get(own, "fake:1", &device, err);
    leat_context_destroy(own);
    return status;
}

static void create_failing_allocations_return_no_memory(void **state)
{
    (void)state;
    test_walk_allocations(create_and_load, NULL);
}

static void create_bad_descriptors_return_invalid(void **state)
{
    (void)state;
    leat_context *own = context;
    leat_error err = {0};
    leat_context_desc desc = {.struct_size = 3};
    assert_int_equal(leat_context_create(&desc, &own, &err), LEAT_INVALID);
    assert_null(own);
    desc = (leat_context_desc){.struct_size = sizeof(desc), .threads = -1};
    assert_int_equal(leat_context_create(&desc, &own, &err), LEAT_INVALID);
    leat_allocator half = {0};
    desc = (leat_context_desc){.struct_size = sizeof(desc), .allocator = &half};
    assert_int_equal(leat_context_create(&desc, &own, &err), LEAT_INVALID);
    assert_int_equal(leat_context_create(NULL, NULL, &err), LEAT_INVALID);
}

static void memory_counts_what_is_live(void **state)
{
    (void)state;
    leat_memory_info info;
    leat_context_memory(context, &info);
    assert_true(info.live_bytes > 0 && info.live_blocks > 0);
    assert_true(info.peak_bytes >= info.live_bytes);
    assert_true(info.allocations >= info.live_blocks);
}

static void version_is_that_of_the_header(void **state)
{
    (void)state;
    assert_int_equal(leat_version(),
                     LEAT_VERSION_MAJOR * 10000 + LEAT_VERSION_MINOR * 100 + LEAT_VERSION_PATCH);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(load_fake_adds_its_devices),
        TEST(load_twice_does_nothing),
        TEST(load_missing_returns_not_found),
        TEST(load_other_library_returns_invalid),
        TEST(get_by_name_opens_the_first_device),
        TEST(get_bad_names_return_no_device),
        TEST(get_unavailable_says_why),
        TEST(get_looks_in_the_plugin_directory),
        TEST(register_good_backend_works),
        TEST(register_bad_structures_are_refused_before_init),
        TEST(register_failing_init_gives_its_reason),
        TEST(create_failing_allocations_return_no_memory),
        TEST(create_bad_descriptors_return_invalid),
        TEST(memory_counts_what_is_live),
        TEST(version_is_that_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

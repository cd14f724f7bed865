/* SPDX-License-Identifier: Apache-2.0 */
/* Failing allocations in every constructor of the runtime, and in a run that makes a plan. */
#include "support/test.h"

#include "support/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"

static char folder[32];

typedef struct model_bytes {
    const void *data;
    size_t bytes;
} model_bytes;

typedef leat_status (*stage)(leat_context *context, const model_bytes *model, leat_error *err);

typedef struct walk {
    stage run;
    bool fake;
    model_bytes model;
} walk;

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const walk *w = argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context;
    leat_status status = leat_context_create(&desc, &context, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (w->fake) {
        status = leat_context_load_backend(context, FAKE, err);
    }
    if (status == LEAT_OK) {
        status = w->run(context, &w->model, err);
    }
    leat_context_destroy(context);
    return status;
}

static void walk_all(stage run, bool fake)
{
    onnx_builder *b = test_build_mlp();
    walk w = {.run = run, .fake = fake};
    w.model.data = onnx_builder_finish(b, &w.model.bytes);
    test_walk_allocations(attempt, &w);
    onnx_builder_destroy(b);
}

static leat_status make_tensor(leat_context *context, const model_bytes *model, leat_error *err)
{
    (void)model;
    int64_t shape[2] = {3, 4};
    leat_tensor *tensor = (leat_tensor *)context;
    leat_status status =
        leat_tensor_create(context, "fake", LEAT_DTYPE_F32, 2, shape, &tensor, err);
    assert_true((status == LEAT_OK) == (tensor != NULL));
    leat_tensor_destroy(tensor);
    return status;
}

static leat_status make_stream(leat_context *context, const model_bytes *model, leat_error *err)
{
    (void)model;
    leat_stream *stream = (leat_stream *)context;
    leat_status status = leat_stream_create(context, "cpu", &stream, err);
    assert_true((status == LEAT_OK) == (stream != NULL));
    leat_stream_destroy(stream);
    return status;
}

static leat_status load(leat_context *context, const model_bytes *model, leat_error *err)
{
    leat_model *loaded = (leat_model *)context;
    leat_status status =
        leat_model_load_memory(context, model->data, model->bytes, NULL, &loaded, err);
    assert_true((status == LEAT_OK) == (loaded != NULL));
    leat_model_destroy(loaded);
    return status;
}

static leat_status run_session(leat_session *session, leat_error *err)
{
    float x[8] = {0};
    leat_array in = test_f32(x, "2x4"), out = {0};
    leat_plan_report report = {.struct_size = sizeof(report)};
    leat_status status = leat_session_run(session, &in, 1, &out, 1, err);
    return status ? status : leat_session_report(session, &report, err);
}

static leat_status run_on(leat_context *context, const model_bytes *model, const char *device,
                          leat_error *err)
{
    leat_model *loaded;
    leat_session *session;
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = &device,
                              .n_devices = 1,
                              .fallback = LEAT_FALLBACK_CPU};
    leat_status status =
        leat_model_load_memory(context, model->data, model->bytes, NULL, &loaded, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_session_create(loaded, &desc, &session, err);
    if (status == LEAT_OK) {
        status = run_session(session, err);
    }
    leat_session_destroy(session);
    leat_model_destroy(loaded);
    return status;
}

/* Saves with the weights in a file of their own, loads that, runs it in bf16 by ways that are
 * measured and kept. */
static leat_status run_from_files(leat_context *context, const model_bytes *model, leat_error *err)
{
    leat_model *loaded = NULL, *again = NULL;
    leat_session *session = NULL;
    const leat_model_save_desc save = {.struct_size = sizeof(save), .external_threshold = 1};
    const leat_session_desc desc = {
        .struct_size = sizeof(desc), .precision = LEAT_PRECISION_BF16, .cache_directory = folder};
    char path[96];
    snprintf(path, sizeof(path), "%s/m.onnx", folder);
    leat_status status =
        leat_model_load_memory(context, model->data, model->bytes, NULL, &loaded, err);
    status = status ? status : leat_model_save(loaded, path, &save, err);
    status = status ? status : leat_model_load(context, path, NULL, &again, err);
    status = status ? status : leat_session_create(again, &desc, &session, err);
    status = status ? status : run_session(session, err);
    leat_session_destroy(session);
    leat_model_destroy(again);
    leat_model_destroy(loaded);
    return status;
}

static leat_status run_on_cpu(leat_context *context, const model_bytes *model, leat_error *err)
{
    return run_on(context, model, "cpu", err);
}

static leat_status run_on_fake(leat_context *context, const model_bytes *model, leat_error *err)
{
    return run_on(context, model, "fake", err);
}

static leat_status submit(leat_context *context, const model_bytes *model, leat_error *err)
{
    leat_model *loaded;
    leat_session *session = NULL;
    leat_stream *stream = NULL;
    float x[8] = {0};
    leat_array in = test_f32(x, "2x4"), out = {0};
    leat_status status =
        leat_model_load_memory(context, model->data, model->bytes, NULL, &loaded, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_session_create(loaded, NULL, &session, err);
    status = status ? status : run_session(session, err);
    status = status ? status : leat_stream_create(context, "cpu", &stream, err);
    if (status == LEAT_OK) {
        status = leat_session_submit(session, stream, &in, 1, &out, 1, NULL, NULL, err);
    }
    leat_stream_destroy(stream);
    leat_session_destroy(session);
    leat_model_destroy(loaded);
    return status;
}

static void tensor_create_survives(void **state)
{
    (void)state;
    walk_all(make_tensor, true);
}

static void stream_create_survives(void **state)
{
    (void)state;
    walk_all(make_stream, false);
}

static void model_load_survives(void **state)
{
    (void)state;
    walk_all(load, false);
}

static void session_on_the_cpu_survives(void **state)
{
    (void)state;
    walk_all(run_on_cpu, false);
}

static void session_on_two_devices_survives(void **state)
{
    (void)state;
    walk_all(run_on_fake, true);
}

static void submit_survives(void **state)
{
    (void)state;
    walk_all(submit, false);
}

static void files_survive(void **state)
{
    char command[64];
    (void)state;
    strcpy(folder, "/tmp/leat-walks-XXXXXX");
    assert_non_null(mkdtemp(folder));
    walk_all(run_from_files, false);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_create_survives),
        cmocka_unit_test(stream_create_survives),
        cmocka_unit_test(model_load_survives),
        cmocka_unit_test(session_on_the_cpu_survives),
        cmocka_unit_test(session_on_two_devices_survives),
        cmocka_unit_test(submit_survives),
        cmocka_unit_test(files_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/run.h"

#include <stdio.h>

static test_run r;
static onnx_builder *builder;
static float x[8] = {1, 2, 3, 4, -1, 0, 2, -3};
static float expected[6];

static int setup(void **state)
{
    (void)state;
    builder = test_build_mlp();
    test_run_open(&r, builder);
    test_mlp_oracle(x, 2, expected);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_run_free(&r);
    onnx_builder_destroy(builder);
    return 0;
}

static leat_status run(leat_array *in, leat_array *out)
{
    return leat_session_run(r.session, in, 1, out, 1, &r.err);
}

static void run_own_buffer_gives_result(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "2x3", expected);
    /* The same array again, now pointing at the session's memory, with another shape. */
    in = test_f32(x, "1x4");
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "1x3", expected);
    in = test_f32(x, "2x4");
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "2x3", expected);
}

static void run_callers_buffer_is_written(void **state)
{
    (void)state;
    float y[8];
    leat_array in = test_f32(x, "2x4");
    leat_array out = {.data = y, .bytes = sizeof(y)};
    assert_ok(run(&in, &out), &r.err);
    assert_ptr_equal(out.data, y);
    test_assert_f32(&out, "2x3", expected);
    out = (leat_array){.data = y, .bytes = 23};
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    assert_true(strstr(r.err.message, "'y' needs 24 bytes") != NULL);
    assert_ptr_equal(out.data, y);
}

static void run_empty_batch_gives_empty_output(void **state)
{
    (void)state;
    leat_array in = test_f32(NULL, "0x4"), out = {0};
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "0x3", NULL);
}

static void run_wrong_arrays_return_invalid(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_int_equal(leat_session_run(r.session, &in, 2, &out, 1, &r.err), LEAT_INVALID);
    assert_int_equal(leat_session_run(r.session, NULL, 0, &out, 1, &r.err), LEAT_INVALID);
    assert_int_equal(leat_session_run(r.session, &in, 1, &out, 0, &r.err), LEAT_INVALID);
    assert_int_equal(leat_session_run(r.session, &in, 1, NULL, 1, &r.err), LEAT_INVALID);
    assert_int_equal(leat_session_run(NULL, &in, 1, &out, 1, &r.err), LEAT_INVALID);
    in = test_f32(x, "2x3");
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    assert_true(strstr(r.err.message, "2x3") != NULL);
    in = test_f32(x, "8");
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4");
    in.shape[0] = -2;
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4");
    in.rank = 99;
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4");
    in.dtype = LEAT_DTYPE_F64;
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4");
    in.bytes = 31;
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(NULL, "2x4");
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4");
    in.shape[0] = INT64_MAX / 2;
    assert_int_equal(run(&in, &out), LEAT_INVALID);
    in = test_f32(x, "2x4"); /* and it still works */
    assert_ok(run(&in, &out), &r.err);
    in.bytes = 31; /* also with the plan there */
    assert_int_equal(run(&in, &out), LEAT_INVALID);
}

static void run_many_shapes_keeps_few_plans(void **state)
{
    (void)state;
    leat_session_desc desc = {.struct_size = sizeof(desc), .max_plans = 3};
    leat_session *session;
    assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
    float many[40 * 4] = {0}, y[40 * 3];
    for (int64_t n = 1; n <= 40; n++) {
        leat_array in = test_f32(many, "1x4");
        in.shape[0] = n;
        in.bytes = (size_t)n * 16;
        leat_array out = {.data = y, .bytes = sizeof(y)};
        assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
        assert_int_equal(out.shape[0], n);
    }
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(session, &report, &r.err), &r.err);
    assert_int_equal(report.n_plans, 3);
    leat_session_destroy(session);
}

static void report_names_kernels_and_devices(void **state)
{
    (void)state;
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_int_equal(leat_session_report(r.session, &report, &r.err), LEAT_INVALID);
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(run(&in, &out), &r.err);
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    assert_true(report.n_nodes >= 1 && report.n_nodes <= 3);
    assert_int_equal(report.n_plans, 1);
    assert_int_equal(report.output_bytes, 24);
    for (size_t i = 0; i < report.n_nodes; i++) {
        const leat_node_report *node = &report.nodes[i];
        assert_string_equal(node->device, "cpu");
        assert_true(node->name[0] != '\0' && node->op[0] != '\0' && node->kernel[0] != '\0');
        assert_true(node->reason[0] != '\0');
        assert_true(node->bytes > 0);
        assert_int_equal(node->last_ns, 0);
    }
    report.struct_size = 1;
    assert_int_equal(leat_session_report(r.session, &report, &r.err), LEAT_INVALID);
}

static void report_profile_has_times(void **state)
{
    (void)state;
    leat_session_desc desc = {.struct_size = sizeof(desc), .profile = 1};
    leat_session *session;
    assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(session, &report, &r.err), &r.err);
    uint64_t sum = 0;
    for (size_t i = 0; i < report.n_nodes; i++) {
        sum += report.nodes[i].last_ns;
    }
    assert_true(sum > 0);
    leat_session_destroy(session);
}

static void warm_then_run_allocates_nothing(void **state)
{
    (void)state;
    leat_array in = test_f32(NULL, "2x4"), out = {0};
    assert_ok(leat_session_warm(r.session, &in, 1, &r.err), &r.err);
    leat_memory_info before, after;
    leat_context_memory(r.context, &before);
    in.data = x;
    assert_ok(run(&in, &out), &r.err);
    leat_context_memory(r.context, &after);
    assert_int_equal(before.allocations, after.allocations);
    test_assert_f32(&out, "2x3", expected);
}

static void sessions_share_packed_weights(void **state)
{
    (void)state;
    leat_session *second;
    leat_array in = test_f32(x, "2x4"), out = {0};
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(run(&in, &out), &r.err);
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    uint64_t bytes = report.weight_bytes;
    assert_ok(leat_session_create(r.model, NULL, &second, &r.err), &r.err);
    assert_ok(leat_session_run(second, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", expected);
    assert_ok(leat_session_report(second, &report, &r.err), &r.err);
    assert_int_equal(report.weight_bytes, bytes);
    leat_session_destroy(second);
}

static void trim_drops_plans_and_runs_go_on(void **state)
{
    (void)state;
    float y[6];
    leat_array in = test_f32(x, "2x4"), out = {.data = y, .bytes = sizeof(y)};
    assert_ok(run(&in, &out), &r.err);
    leat_memory_info before, after;
    leat_context_memory(r.context, &before);
    leat_context_trim(r.context);
    leat_context_memory(r.context, &after);
    assert_true(after.live_bytes < before.live_bytes);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_int_equal(leat_session_report(r.session, &report, &r.err), LEAT_INVALID);
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "2x3", expected);
}

static void trim_keeps_outputs_given_out(void **state)
{
    (void)state;
    leat_array in = test_f32(x, "1x4"), out = {0};
    assert_ok(run(&in, &out), &r.err);
    in = test_f32(x, "2x4");
    assert_ok(run(&in, &out), &r.err);
    leat_context_trim(r.context);
    test_assert_f32(&out, "2x3", expected);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    assert_int_equal(report.n_plans, 1);
    assert_ok(run(&in, &out), &r.err);
    test_assert_f32(&out, "2x3", expected);
}

/* ------------------------------------------------------------------------------------------------
 * Progress, busy, cancel
 * --------------------------------------------------------------------------------------------- */

static leat_session *nested;
static leat_status nested_status;

static int run_inside(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(stage[0] != '\0' && done <= total);
    if (nested != NULL) {
        leat_array in = test_f32(x, "2x4"), out = {0};
        nested_status = leat_session_run(nested, &in, 1, &out, 1, NULL);
    }
    return 0;
}

static void run_while_running_returns_busy(void **state)
{
    (void)state;
    leat_session_desc desc = {.struct_size = sizeof(desc), .progress = run_inside};
    leat_session *session;
    nested = NULL;
    assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
    nested = session;
    nested_status = LEAT_OK;
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
    assert_int_equal(nested_status, LEAT_BUSY);
    leat_session_destroy(session);
}

static int cancel_after(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage, (void)done, (void)total;
    return --*(int *)user < 0;
}

static void cancel_stops_creation_and_warming(void **state)
{
    (void)state;
    int allowed = 0;
    leat_session *session;
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .progress = cancel_after, .progress_user = &allowed};
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_CANCELLED);
    assert_null(session);
    allowed = 2;
    assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_int_equal(leat_session_warm(session, &in, 1, &r.err), LEAT_CANCELLED);
    allowed = 100;
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", expected);
    leat_session_destroy(session);
}

/* ------------------------------------------------------------------------------------------------
 * Creation
 * --------------------------------------------------------------------------------------------- */

static void create_bad_descriptors_fail(void **state)
{
    (void)state;
    leat_session *session = r.session;
    leat_session_desc desc = {.struct_size = 1};
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_INVALID);
    assert_null(session);
    desc = (leat_session_desc){.struct_size = sizeof(desc), .precision = (leat_precision)77};
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_INVALID);
    const char *names[] = {"warp:0", "cpu"};
    desc = (leat_session_desc){.struct_size = sizeof(desc), .devices = names, .n_devices = 2};
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_NO_DEVICE);
    assert_true(strstr(r.err.message, "warp") != NULL);
    names[0] = "cpu";
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_INVALID);
    desc.n_devices = 0;
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_INVALID);
}

static void create_f32_precision_runs(void **state)
{
    (void)state;
    leat_session *session;
    leat_session_desc desc = {.struct_size = sizeof(desc), .precision = LEAT_PRECISION_F32};
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", expected);
    leat_session_destroy(session);
}

/* Numbers of few bits: every precision gives them exactly. */
static void create_narrow_precisions_run(void **state)
{
    static const leat_precision precisions[] = {LEAT_PRECISION_BF16, LEAT_PRECISION_F16,
                                                LEAT_PRECISION_AUTO, LEAT_PRECISION_TF32};
    (void)state;
    for (size_t i = 0; i < sizeof(precisions) / sizeof(precisions[0]); i++) {
        leat_session *session;
        leat_session_desc desc = {.struct_size = sizeof(desc), .precision = precisions[i]};
        leat_array in = test_f32(x, "2x4"), out = {0};
        assert_ok(leat_session_create(r.model, &desc, &session, &r.err), &r.err);
        assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
        test_assert_f32(&out, "2x3", expected);
        leat_session_destroy(session);
    }
}

static void create_unknown_operator_names_it(void **state)
{
    (void)state;
    onnx_builder *odd = onnx_builder_create(17);
    onnx_builder_text(odd, "x: f32[2]; strange = NoSuchOperator(x); -> strange: f32[2]");
    test_run own;
    test_run_load(&own, odd);
    leat_session *session;
    assert_int_equal(leat_session_create(own.model, NULL, &session, &own.err), LEAT_UNSUPPORTED);
    assert_true(strstr(own.err.message, "strange") && strstr(own.err.message, "NoSuchOperator"));
    test_run_free(&own);
    onnx_builder_destroy(odd);
}

static void budget_too_small_returns_limit(void **state)
{
    (void)state;
    size_t bytes;
    const void *data = onnx_builder_finish(builder, &bytes);
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1, .memory_budget = 4u << 20};
    test_run own = {0};
    (void)data;
    assert_ok(leat_context_create(&desc, &own.context, &own.err), &own.err);
    leat_tensor *tensor;
    int64_t shape[1] = {2 << 20};
    assert_int_equal(
        leat_tensor_create(own.context, "cpu", LEAT_DTYPE_F32, 1, shape, &tensor, &own.err),
        LEAT_LIMIT);
    assert_null(tensor);
    test_run_free(&own);
}

static void io_describes_the_signature(void **state)
{
    (void)state;
    const leat_model_signature *io = leat_model_io(r.model);
    assert_int_equal(io->n_inputs, 1);
    assert_int_equal(io->n_outputs, 1);
    assert_string_equal(io->inputs[0].name, "x");
    assert_int_equal(io->inputs[0].dtype, LEAT_DTYPE_F32);
    assert_int_equal(io->inputs[0].rank, 2);
    assert_int_equal(io->inputs[0].shape[0], -1);
    assert_string_equal(io->inputs[0].dim_names[0], "N");
    assert_int_equal(io->inputs[0].shape[1], 4);
    assert_null(io->inputs[0].dim_names[1]);
    assert_string_equal(io->outputs[0].name, "y");
}

static void save_and_load_gives_the_same_results(void **state)
{
    (void)state;
    const char *path = TEST_BUILD "/test_session_saved.onnx";
    leat_session_destroy(r.session); /* a fused program must not reach the file */
    test_run_session(&r, NULL);
    assert_ok(leat_model_save(r.model, path, NULL, &r.err), &r.err);
    leat_model *model;
    leat_session *session;
    leat_array in = test_f32(x, "2x4"), out = {0};
    assert_ok(leat_model_load(r.context, path, NULL, &model, &r.err), &r.err);
    assert_ok(leat_session_create(model, NULL, &session, &r.err), &r.err);
    assert_ok(leat_session_run(session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", expected);
    leat_session_destroy(session);
    leat_model_destroy(model);
    remove(path);
}

static void load_missing_file_returns_not_found(void **state)
{
    (void)state;
    leat_model *model = r.model;
    assert_int_equal(leat_model_load(r.context, "/nowhere/model.onnx", NULL, &model, &r.err),
                     LEAT_NOT_FOUND);
    assert_null(model);
    assert_true(strstr(r.err.message, "/nowhere/model.onnx") != NULL);
}

/* ------------------------------------------------------------------------------------------------
 * Binding
 * --------------------------------------------------------------------------------------------- */

static void bind_tensors_are_used(void **state)
{
    (void)state;
    float y[6] = {0};
    leat_array in = test_f32(x, "2x4"), result = test_f32(y, "2x3");
    leat_tensor *source, *target;
    assert_ok(leat_tensor_wrap(r.context, "cpu", &in, &source, &r.err), &r.err);
    assert_ok(leat_tensor_wrap(r.context, "cpu", &result, &target, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "x", source, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "y", target, &r.err), &r.err);
    assert_ok(leat_session_run(r.session, NULL, 0, NULL, 0, &r.err), &r.err);
    result.data = y;
    test_assert_f32(&result, "2x3", expected);
    assert_int_equal(leat_session_bind(r.session, "nobody", source, &r.err), LEAT_NOT_FOUND);
    assert_non_null(strstr(r.err.message, "'nobody'; the inputs are 'x', the outputs 'y'"));
    assert_int_equal(leat_session_bind(r.session, "x", NULL, &r.err), LEAT_OK);
    assert_int_equal(leat_session_run(r.session, NULL, 0, NULL, 0, &r.err), LEAT_INVALID);
    leat_array empty = {0};
    assert_int_equal(leat_session_run(r.session, &empty, 1, NULL, 0, &r.err), LEAT_INVALID);
    assert_ok(leat_session_bind(r.session, "y", NULL, &r.err), &r.err);
    leat_tensor_destroy(source);
    leat_tensor_destroy(target);
}

static void bind_wrong_type_returns_invalid(void **state)
{
    (void)state;
    leat_tensor *tensor;
    int64_t shape[2] = {2, 4};
    assert_ok(leat_tensor_create(r.context, "cpu", LEAT_DTYPE_I32, 2, shape, &tensor, &r.err),
              &r.err);
    assert_int_equal(leat_session_bind(r.session, "x", tensor, &r.err), LEAT_INVALID);
    leat_tensor_destroy(tensor);
    assert_ok(leat_tensor_create(r.context, "cpu", LEAT_DTYPE_F32, 1, shape, &tensor, &r.err),
              &r.err);
    assert_int_equal(leat_session_bind(r.session, "x", tensor, &r.err), LEAT_INVALID);
    leat_tensor_destroy(tensor);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(run_own_buffer_gives_result),
        TEST(run_callers_buffer_is_written),
        TEST(run_empty_batch_gives_empty_output),
        TEST(run_wrong_arrays_return_invalid),
        TEST(run_many_shapes_keeps_few_plans),
        TEST(report_names_kernels_and_devices),
        TEST(report_profile_has_times),
        TEST(warm_then_run_allocates_nothing),
        TEST(sessions_share_packed_weights),
        TEST(trim_drops_plans_and_runs_go_on),
        TEST(trim_keeps_outputs_given_out),
        TEST(run_while_running_returns_busy),
        TEST(cancel_stops_creation_and_warming),
        TEST(create_bad_descriptors_fail),
        TEST(create_f32_precision_runs),
        TEST(create_narrow_precisions_run),
        TEST(create_unknown_operator_names_it),
        TEST(budget_too_small_returns_limit),
        TEST(io_describes_the_signature),
        TEST(save_and_load_gives_the_same_results),
        TEST(load_missing_file_returns_not_found),
        TEST(bind_tensors_are_used),
        TEST(bind_wrong_type_returns_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

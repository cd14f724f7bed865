/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: shapes that follow from shapes, from the content of inputs, and from computed values;
 * outputs that no node writes. */
#include "support/test.h"

#include "support/run.h"

#include <stdio.h>

static test_run r;
static onnx_builder *b;
static float x[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static int teardown(void **state)
{
    (void)state;
    test_run_free(&r);
    onnx_builder_destroy(b);
    return 0;
}

static uint64_t plans(void)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    return report.n_plans;
}

/* Reshape(x, Concat(Gather(Shape(x), 1), [-1])): every exporter's way to flatten. */
static void shape_computation_is_part_of_the_plan(void **state)
{
    (void)state;
    const leat_attr axis = test_attr_int("axis", 0);
    b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxM");
    onnx_builder_ints(b, "one", "1", (const int64_t[]){1});
    onnx_builder_ints(b, "rest", "1", (const int64_t[]){-1});
    onnx_builder_node(b, "Shape", "x", "s", NULL, 0);
    onnx_builder_node(b, "Gather", "s,one", "m", &axis, 1);
    onnx_builder_node(b, "Concat", "m,rest", "to", &axis, 1);
    onnx_builder_node(b, "Reshape", "x,to", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    test_run_open(&r, b);
    leat_array in = test_f32(x, "2x6"), out = {0};
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "6x2", x);
    in = test_f32(x, "4x3");
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "3x4", x);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    for (size_t i = 0; i < report.n_nodes; i++) {
        if (strcmp(report.nodes[i].op, "Reshape") != 0) {
            assert_true(strstr(report.nodes[i].reason, "when planned") != NULL);
        }
    }
}

static void build_reshape_to_input(void)
{
    b = onnx_builder_create(17);
    onnx_builder_text(b, "x: f32[N]; to: i64[2]; y = Reshape(x, to); -> y: f32");
    test_run_open(&r, b);
}

static void input_content_decides_the_plan(void **state)
{
    (void)state;
    build_reshape_to_input();
    int64_t to[2] = {3, 4};
    leat_array in[2] = {test_f32(x, "12"), test_i64(to, "2")}, out = {0};
    assert_ok(leat_session_run(r.session, in, 2, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "3x4", x);
    to[0] = 6; /* same shapes, other content */
    to[1] = -1;
    assert_ok(leat_session_run(r.session, in, 2, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "6x2", x);
    assert_int_equal(plans(), 2);
    to[0] = 3;
    to[1] = 4;
    assert_ok(leat_session_run(r.session, in, 2, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "3x4", x);
    assert_int_equal(plans(), 2);
    to[0] = 5; /* does not fit */
    assert_int_equal(leat_session_run(r.session, in, 2, &out, 1, &r.err), LEAT_INVALID);
}

static void warm_without_deciding_content_returns_invalid(void **state)
{
    (void)state;
    build_reshape_to_input();
    leat_array in[2] = {test_f32(NULL, "12"), test_i64(NULL, "2")};
    assert_int_equal(leat_session_warm(r.session, in, 2, &r.err), LEAT_INVALID);
    assert_true(strstr(r.err.message, "'to'") != NULL);
    int64_t to[2] = {3, 4};
    in[1].data = to;
    assert_ok(leat_session_warm(r.session, in, 2, &r.err), &r.err);
}

/* y = Transpose(Reshape(x, Gather(table, which))), z = x flattened: `to` is computed by a run. */
static void computed_shape_continues_in_another_stage(void **state)
{
    (void)state;
    const leat_attr axis = test_attr_int("axis", 0);
    b = onnx_builder_create(17);
    onnx_builder_text(b, "x: f32[2x6]; table: i64[3x2]; which: i64[]; "
                         "early = Flatten(x); kept = Transpose(x)");
    onnx_builder_node(b, "Gather", "table,which", "to", &axis, 1);
    onnx_builder_text(b, "v = Reshape(kept, to); y = Transpose(v); "
                         "-> y: f32; -> early: f32; -> to: i64[2]");
    test_run_open(&r, b);
    int64_t table[6] = {3, 4, 12, 1, 2, 6}, which = 0;
    float y0[12];
    float kept[12];
    for (int i = 0; i < 12; i++) { /* kept is x transposed; y0 is that, read as 3x4, transposed */
        kept[i] = x[i % 2 * 6 + i / 2];
    }
    for (int i = 0; i < 12; i++) {
        y0[i] = kept[i % 3 * 4 + i / 3];
    }
    leat_array in[3] = {test_f32(x, "2x6"), test_i64(table, "3x2"), test_i64(&which, "")};
    leat_array out[3] = {{0}};
    for (int round = 0; round < 2; round++) {
        which = 0;
        assert_ok(leat_session_run(r.session, in, 3, out, 3, &r.err), &r.err);
        test_assert_f32(&out[0], "4x3", y0);
        test_assert_f32(&out[1], "2x6", x);
        assert_int_equal(((int64_t *)out[2].data)[1], 4);
        which = 1;
        assert_ok(leat_session_run(r.session, in, 3, out, 3, &r.err), &r.err);
        test_assert_f32(&out[0], "1x12", kept);
        assert_int_equal(plans(), 1);
    }
    /* Warmed now: both ways are planned. */
    leat_memory_info before, after;
    leat_context_memory(r.context, &before);
    assert_ok(leat_session_run(r.session, in, 3, out, 3, &r.err), &r.err);
    leat_context_memory(r.context, &after);
    assert_int_equal(before.allocations, after.allocations);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    assert_int_equal(report.n_nodes, 5);
    which = 2;
    assert_ok(leat_session_run(r.session, in, 3, out, 3, &r.err), &r.err);
    assert_int_equal(out[0].shape[0], 6);
    which = 99; /* out of range: an error of the first stage or the kernel */
    assert_int_not_equal(leat_session_run(r.session, in, 3, out, 3, &r.err), LEAT_OK);
}

static void outputs_that_no_node_writes_are_copied(void **state)
{
    (void)state;
    const float c[2] = {7, 8};
    b = onnx_builder_create(17);
    onnx_builder_floats(b, "c", "2", c);
    onnx_builder_text(b, "x: f32[N]; s = Shape(x); -> x: f32[N]; -> c: f32[2]; -> s: i64[1]");
    test_run_open(&r, b);
    float y[3] = {0};
    leat_array in = test_f32(x, "3"), out[3] = {{.data = y, .bytes = sizeof(y)}};
    assert_ok(leat_session_run(r.session, &in, 1, out, 3, &r.err), &r.err);
    test_assert_f32(&out[0], "3", x);
    assert_ptr_equal(out[0].data, y);
    test_assert_f32(&out[1], "2", c);
    assert_ptr_not_equal(out[1].data, c);
    assert_int_equal(((int64_t *)out[2].data)[0], 3);
}

/* A view of an input, of a constant, and of another output need memory of their own. */
static void outputs_that_are_views_are_copied(void **state)
{
    (void)state;
    b = onnx_builder_create(17);
    onnx_builder_ints(b, "six", "1", (const int64_t[]){6});
    onnx_builder_ints(b, "by", "2", (const int64_t[]){3, 2});
    onnx_builder_text(b, "x: f32[2x3]; "
                         "flat = Reshape(x, six); t = Transpose(x); tflat = Reshape(t, six); "
                         "again = Reshape(tflat, by); "
                         "-> flat: f32[6]; -> t: f32[3x2]; -> tflat: f32[6]; -> again: f32[3x2]");
    test_run_open(&r, b);
    const float t[6] = {0, 3, 1, 4, 2, 5};
    leat_array in = test_f32(x, "2x3"), out[4] = {{0}};
    assert_ok(leat_session_run(r.session, &in, 1, out, 4, &r.err), &r.err);
    test_assert_f32(&out[0], "6", x);
    test_assert_f32(&out[1], "3x2", t);
    test_assert_f32(&out[2], "6", t);
    test_assert_f32(&out[3], "3x2", t);
    for (int i = 0; i < 4; i++) {
        assert_ptr_not_equal(out[i].data, x);
        assert_ptr_not_equal(out[i].data, out[(i + 1) % 4].data);
    }
}

static void symbols_must_agree_between_inputs(void **state)
{
    (void)state;
    const leat_attr axis = test_attr_int("axis", 1);
    b = onnx_builder_create(17);
    onnx_builder_input(b, "p", LEAT_DTYPE_F32, "Nx2");
    onnx_builder_input(b, "q", LEAT_DTYPE_F32, "NxM");
    onnx_builder_node(b, "Concat", "p,q", "y", &axis, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    test_run_open(&r, b);
    leat_array in[2] = {test_f32(x, "2x2"), test_f32(x, "2x3")}, out = {0};
    assert_ok(leat_session_run(r.session, in, 2, &out, 1, &r.err), &r.err);
    assert_int_equal(out.shape[1], 5);
    in[1] = test_f32(x, "3x3");
    assert_int_equal(leat_session_run(r.session, in, 2, &out, 1, &r.err), LEAT_INVALID);
    assert_true(strstr(r.err.message, "'N'") != NULL);
}

/* A long chain lives in few buffers. */
static void intermediate_values_share_memory(void **state)
{
    (void)state;
    b = onnx_builder_create(17);
    char in_name[16] = "x", out_name[16];
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxN");
    for (int i = 0; i < 20; i++) {
        snprintf(out_name, sizeof(out_name), i == 19 ? "y" : "t%d", i);
        char inputs[40];
        snprintf(inputs, sizeof(inputs), "%s,%s", in_name, in_name);
        onnx_builder_node(b, "MatMul", inputs, out_name, NULL, 0);
        strcpy(in_name, out_name);
    }
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxN");
    test_run_open(&r, b);
    static float zeros[64 * 64];
    leat_array in = test_f32(zeros, "64x64");
    assert_ok(leat_session_warm(r.session, &in, 1, &r.err), &r.err);
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    /* Two values at a time, and what a kernel asks for itself. */
    assert_true(report.workspace_bytes >= sizeof(zeros));
    assert_true(report.workspace_bytes <= 6 * sizeof(zeros));
}

/* Rows without columns: 2^40 of them must take no time, in folding and in a run. A session that
 * failed at this would not end. */
static void countless_empty_rows_are_not_walked(void **state)
{
    static const char *const ops[] = {"EyeLike", "Softmax", "Transpose", "ReduceSum"};
    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const leat_array none = {LEAT_DTYPE_F32, 2, {1ll << 40, 0}, x, 0};
        leat_array in = none, out[2] = {{0}};
        b = onnx_builder_create(17);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxM");
        onnx_builder_constant(b, "c", &none);
        onnx_builder_node(b, ops[i], "c", "folded", NULL, 0);
        onnx_builder_node(b, ops[i], "x", "y", NULL, 0);
        onnx_builder_output(b, "folded", LEAT_DTYPE_F32, NULL);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
        test_run_open(&r, b);
        assert_ok(leat_session_run(r.session, &in, 1, out, 2, &r.err), &r.err);
        bool is_sum = strcmp(ops[i], "ReduceSum") == 0;
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(out[k].bytes, is_sum ? sizeof(float) : 0);
            assert_true(!is_sum || *(const float *)out[k].data == 0);
        }
        teardown(NULL);
        memset(&r, 0, sizeof(r));
        b = NULL;
    }
}

/* A cache that grows by one row a run is planned once a length: the latest 16 lengths are there
 * when a conversation goes back to them, without one allocation. */
static void growing_caches_keep_the_latest_plans(void **state)
{
    enum {
        LENGTHS = 30,
        BACK = 10
    };
    static float past[LENGTHS + 1][2], present[LENGTHS + 1][2], row[2] = {1, 2};
    const leat_attr axis = test_attr_int("axis", 0);
    leat_memory_info before, after;
    (void)state;
    b = onnx_builder_create(17);
    onnx_builder_input(b, "past", LEAT_DTYPE_F32, "Px2");
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1x2");
    onnx_builder_node(b, "Concat", "past,x", "joined", &axis, 1);
    onnx_builder_node(b, "Neg", "joined", "present", NULL, 0);
    onnx_builder_output(b, "present", LEAT_DTYPE_F32, NULL);
    test_run_open(&r, b);
    leat_context_memory(r.context, &before);
    for (int64_t step = 0; step < LENGTHS + BACK; step++) {
        int64_t length = step < LENGTHS ? step : LENGTHS - 1 - (step - LENGTHS);
        leat_array in[2] = {test_f32(past[0], "0x2"), test_f32(row, "1x2")};
        leat_array out = {.data = present, .bytes = sizeof(present)};
        in[0].shape[0] = length;
        in[0].bytes = (size_t)length * sizeof(past[0]);
        if (step == LENGTHS) {
            leat_context_memory(r.context, &before);
        }
        assert_ok(leat_session_run(r.session, in, 2, &out, 1, &r.err), &r.err);
        assert_int_equal(out.shape[0], length + 1);
        assert_true(present[length][0] == -1 && present[length][1] == -2);
        assert_int_equal(plans(), step < 16 ? step + 1 : 16);
    }
    leat_context_memory(r.context, &after);
    assert_true(after.allocations - before.allocations <= BACK); /* those of the reports */
}

/* A cache of fixed capacity has one plan, however long what is in it. */
static void cache_of_fixed_capacity_has_one_plan(void **state)
{
    enum {
        CAPACITY = 20
    };
    static float cache[CAPACITY][2], row[2] = {1, 2};
    int64_t at;
    (void)state;
    b = onnx_builder_create(24);
    onnx_builder_text(b, "past: f32[1xCx2]; x: f32[1x1x2]; at: i64[1]; "
                         "present = TensorScatter(past, x, at); "
                         "-> present: f32[1xCx2]");
    test_run_open(&r, b);
    for (at = 0; at < CAPACITY; at++) {
        leat_array in[3] = {test_f32(cache[0], "1x20x2"), test_f32(row, "1x1x2"),
                            test_i64(&at, "1")};
        leat_array out = {.data = cache, .bytes = sizeof(cache)};
        assert_ok(leat_session_run(r.session, in, 3, &out, 1, &r.err), &r.err);
        assert_true(cache[at][0] == 1 && cache[at][1] == 2);
        assert_int_equal(plans(), 1);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(shape_computation_is_part_of_the_plan),
        TEST(input_content_decides_the_plan),
        TEST(warm_without_deciding_content_returns_invalid),
        TEST(computed_shape_continues_in_another_stage),
        TEST(outputs_that_no_node_writes_are_copied),
        TEST(outputs_that_are_views_are_copied),
        TEST(symbols_must_agree_between_inputs),
        TEST(intermediate_values_share_memory),
        TEST(countless_empty_rows_are_not_walked),
        TEST(growing_caches_keep_the_latest_plans),
        TEST(cache_of_fixed_capacity_has_one_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

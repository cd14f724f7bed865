/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES];

static int64_t itself(const void *argument, const int64_t *at)
{
    (void)argument;
    return at[0] * 4 + at[1];
}

static void reshape_is_a_view(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 3, 4}, out_shape[] = {6, 4};
    static const char *const ops[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    for (int i = 0; i < 4; i++) {
        for (int d = 0; d < MOVE_DTYPES; d++) {
            leat_error err = {0};
            const char *name = NULL;
            leat_array in = move_array(move_dtypes[d], 3, shape, in_bytes);
            leat_array out = move_array(move_dtypes[d], 2, out_shape, out_bytes);
            move_fill(&in, 1);
            test_kernel kernel = {
                .op = ops[i], .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
            move_check(&kernel, itself, NULL);
            assert_ok(test_kernel_run(&kernel, &name, &err), &err);
            assert_string_equal(name, "view");
            out.shape[0] = 5;
            move_check_fails(&kernel, LEAT_INVALID);
        }
    }
}

static void shape_start_and_end_are_clamped(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 3, 4};
    static const struct {
        int64_t start, end, count, first;
    } cases[] = {{0, 3, 3, 0}, {1, 99, 2, 1}, {-2, -1, 1, 1}, {-99, 1, 1, 0}, {2, 1, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        leat_error err = {0};
        int64_t dims[4] = {-7, -7, -7, -7};
        leat_attr attrs[2] = {test_attr_int("start", cases[i].start),
                              test_attr_int("end", cases[i].end)};
        leat_array in = move_array(LEAT_DTYPE_F16, 3, shape, in_bytes);
        leat_array out = move_list(dims, cases[i].count);
        test_kernel kernel = {.op = "Shape",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int64_t k = 0; k < 4; k++) {
            assert_int_equal(dims[k], k < cases[i].count ? shape[cases[i].first + k] : -7);
        }
    }
}

static void size_counts_elements(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 3, 4};
    leat_error err = {0};
    int64_t count = 0;
    leat_array in = move_array(LEAT_DTYPE_U8, 3, shape, in_bytes);
    leat_array out = move_array(LEAT_DTYPE_I64, 0, NULL, &count);
    test_kernel kernel = {
        .op = "Size", .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_int_equal(count, 24);
}

static int64_t first(const void *argument, const int64_t *at)
{
    (void)argument;
    (void)at;
    return 0;
}

static void constant_of_shape_repeats_its_value(void **state)
{
    (void)state;
    static const int64_t shape[] = {3, 37}, one[] = {1};
    int64_t list[] = {3, 37};
    for (int d = 0; d < MOVE_DTYPES; d++) {
        leat_array value = move_array(move_dtypes[d], 1, one, in_bytes);
        move_fill(&value, 77);
        leat_attr attr = {"value", LEAT_ATTR_TENSOR, 1, {.tensor = &value}};
        leat_array in = move_list(list, 2);
        leat_array out = move_array(move_dtypes[d], 2, shape, out_bytes);
        test_kernel kernel = {.op = "ConstantOfShape",
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        for (int isa = 0; isa < 3; isa++) {
            leat_error err = {0};
            kernel.isa = test_isas[isa];
            memset(out_bytes, 0xa5, out.bytes);
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            move_compare(&out, &value, first, NULL);
        }
    }
}

static void constant_of_shape_no_value_is_f32_zero(void **state)
{
    (void)state;
    static const int64_t shape[] = {3};
    int64_t list[] = {3};
    leat_error err = {0};
    leat_array in = move_list(list, 1), out = move_array(LEAT_DTYPE_F32, 1, shape, out_bytes);
    test_kernel kernel = {
        .op = "ConstantOfShape", .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
    memset(out_bytes, 0xa5, out.bytes);
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    for (size_t i = 0; i < out.bytes; i++) {
        assert_int_equal(out_bytes[i], 0);
    }
    out.dtype = LEAT_DTYPE_I32;
    move_check_fails(&kernel, LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_is_a_view),
        cmocka_unit_test(shape_start_and_end_are_clamped),
        cmocka_unit_test(size_counts_elements),
        cmocka_unit_test(constant_of_shape_repeats_its_value),
        cmocka_unit_test(constant_of_shape_no_value_is_f32_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

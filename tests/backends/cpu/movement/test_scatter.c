/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

static uint64_t in_bytes[64], update_bytes[64], out_bytes[64];

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16, LEAT_DTYPE_BF16,
                                    LEAT_DTYPE_I8,  LEAT_DTYPE_U8,  LEAT_DTYPE_I16, LEAT_DTYPE_U16,
                                    LEAT_DTYPE_I32, LEAT_DTYPE_U32, LEAT_DTYPE_I64, LEAT_DTYPE_U64};
static const char *const reductions[] = {"none", "add", "mul", "min", "max"};

static double combine(int reduction, double a, double b)
{
    switch (reduction) {
    case 0:
        return b;
    case 1:
        return a + b;
    case 2:
        return a * b;
    case 3:
        return fmin(a, b);
    default:
        return fmax(a, b);
    }
}

static leat_array make_array(leat_dtype dtype, int64_t a, int64_t b, void *data)
{
    leat_array array = {dtype, 2, {a, b}, data, 0};
    array.bytes = leat_dtype_bytes(dtype, (size_t)(a * b));
    return array;
}

/* Small numbers, exact in every type and in every sum and product of three. */
static void fill(leat_array *array, int start)
{
    for (size_t i = 0; i < oracle_count(array); i++) {
        oracle_set(array, i, (double)((start + 3 * (int)i) % 5));
    }
}

static void run(const char *op, leat_array *inputs, leat_array *out, leat_attr *attrs,
                uint32_t n_attrs, const double *expected)
{
    for (int isa = 0; isa < 3; isa++) {
        leat_error err = {0};
        test_kernel kernel = {.op = op,
                              .attrs = attrs,
                              .n_attrs = n_attrs,
                              .inputs = inputs,
                              .n_inputs = 3,
                              .outputs = out,
                              .n_outputs = 1,
                              .isa = test_isas[isa]};
        memset(out_bytes, 0xa5, sizeof(out_bytes));
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        oracle_assert_close(out, expected, 0, 0);
    }
}

static void scatter_elements_combines_in_order(void **state)
{
    (void)state;
    /* 3 x 4 data, 2 x 3 updates, along either axis; one position comes twice */
    int64_t by_row[] = {0, -1, 1, 0, 2, -2}, by_col[] = {3, 0, 3, -1, 1, -4};
    for (int run_number = 0; run_number < 12 * 5 * 2; run_number++) {
        leat_dtype dtype = dtypes[run_number % 12];
        int reduction = run_number / 12 % 5, axis = run_number / 60;
        int64_t *indices = axis ? by_col : by_row;
        leat_array inputs[3] = {make_array(dtype, 3, 4, in_bytes),
                                make_array(LEAT_DTYPE_I64, 2, 3, indices),
                                make_array(dtype, 2, 3, update_bytes)};
        leat_array out = make_array(dtype, 3, 4, out_bytes);
        leat_attr attrs[] = {test_attr_int("axis", axis),
                             test_attr_string("reduction", reductions[reduction])};
        double expected[12];
        fill(&inputs[0], 1);
        fill(&inputs[2], 2);
        for (size_t i = 0; i < 12; i++) {
            expected[i] = oracle_get(&inputs[0], i);
        }
        for (int64_t i = 0; i < 6; i++) {
            int64_t index = indices[i] < 0 ? indices[i] + (axis ? 4 : 3) : indices[i];
            int64_t at = axis ? i / 3 * 4 + index : index * 4 + i % 3;
            expected[at] = combine(reduction, expected[at], oracle_get(&inputs[2], (size_t)i));
        }
        run("ScatterElements", inputs, &out, attrs, 2, expected);
    }
}

static void scatter_nd_replaces_slices(void **state)
{
    (void)state;
    int64_t indices[] = {2, -3, 2}; /* rows of a 3 x 4 matrix; the last one comes twice */
    for (int reduction = 0; reduction < 5; reduction++) {
        leat_array inputs[3] = {make_array(LEAT_DTYPE_F32, 3, 4, in_bytes),
                                make_array(LEAT_DTYPE_I64, 3, 1, indices),
                                make_array(LEAT_DTYPE_F32, 3, 4, update_bytes)};
        leat_array out = make_array(LEAT_DTYPE_F32, 3, 4, out_bytes);
        leat_attr attr = test_attr_string("reduction", reductions[reduction]);
        double expected[12];
        fill(&inputs[0], 1);
        fill(&inputs[2], 2);
        for (size_t i = 0; i < 12; i++) {
            expected[i] = oracle_get(&inputs[0], i);
        }
        for (size_t i = 0; i < 12; i++) {
            size_t at = (size_t)((indices[i / 4] + 3) % 3) * 4 + i % 4;
            expected[at] = combine(reduction, expected[at], oracle_get(&inputs[2], i));
        }
        run("ScatterND", inputs, &out, &attr, 1, expected);
    }
}

static void scatter_index_out_of_range_is_invalid(void **state)
{
    (void)state;
    int64_t indices[] = {0, 3, 1};
    static const char *const ops[] = {"ScatterElements", "ScatterND"};
    for (int i = 0; i < 2; i++) {
        leat_error err = {0};
        leat_array inputs[3] = {make_array(LEAT_DTYPE_F32, 3, 1, in_bytes),
                                make_array(LEAT_DTYPE_I64, 3, 1, indices),
                                make_array(LEAT_DTYPE_F32, 3, 1, update_bytes)};
        leat_array out = make_array(LEAT_DTYPE_F32, 3, 1, out_bytes);
        test_kernel kernel = {
            .op = ops[i], .inputs = inputs, .n_inputs = 3, .outputs = &out, .n_outputs = 1};
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        assert_non_null(strstr(err.message, "index 3 at position 1"));
    }
}

static void scatter_updates_that_do_not_fit_are_invalid(void **state)
{
    (void)state;
    int64_t indices[] = {0, 1, 2, 0, 1};
    leat_error err = {0};
    leat_array inputs[3] = {make_array(LEAT_DTYPE_F32, 3, 2, in_bytes),
                            make_array(LEAT_DTYPE_I64, 1, 3, indices),
                            make_array(LEAT_DTYPE_F32, 1, 3, update_bytes)};
    leat_array out = make_array(LEAT_DTYPE_F32, 3, 2, out_bytes);
    test_kernel kernel = {
        .op = "ScatterElements", .inputs = inputs, .n_inputs = 3, .outputs = &out, .n_outputs = 1};
    /* three columns of indices for two of data */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    inputs[1] = make_array(LEAT_DTYPE_I64, 1, 2, indices);
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* 3 updates for 2 */
    kernel.op = "ScatterND";
    inputs[1] = make_array(LEAT_DTYPE_I64, 1, 3, indices); /* tuples longer than the rank */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scatter_elements_combines_in_order),
        cmocka_unit_test(scatter_nd_replaces_slices),
        cmocka_unit_test(scatter_index_out_of_range_is_invalid),
        cmocka_unit_test(scatter_updates_that_do_not_fit_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

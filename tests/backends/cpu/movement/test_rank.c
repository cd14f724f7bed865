/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 4096

static uint64_t in_bytes[MOST], value_bytes[MOST];
static int64_t index_list[MOST];

static leat_array make_array(leat_dtype dtype, const int64_t *shape, void *data)
{
    leat_array array = {dtype, 3, {shape[0], shape[1], shape[2]}, data, 0};
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    return array;
}

/* Place of element i of a line by counting what comes before it: NaN is the largest, ties go to the
 * lower index. */
static int64_t place(const leat_array *in, int64_t first, int64_t step, int64_t n, int64_t i,
                     bool largest)
{
    double x = oracle_get(in, (size_t)(first + i * step));
    int64_t before = 0;
    for (int64_t k = 0; k < n; k++) {
        double y = oracle_get(in, (size_t)(first + k * step));
        bool more = isnan(y) ? !isnan(x) : y > x, less = isnan(x) ? !isnan(y) : y < x;
        before += largest ? more : less;
        before += !more && !less && k < i;
    }
    return before;
}

static void check_top_k(leat_dtype dtype, int axis, int64_t k, bool largest, bool with_nan)
{
    static const int64_t shapes[3][3] = {{37, 2, 3}, {2, 37, 3}, {2, 3, 37}};
    const int64_t *shape = shapes[axis];
    int64_t out_shape[] = {shape[0], shape[1], shape[2]}, list = k, n = shape[axis], inner = 1;
    out_shape[axis] = k;
    for (int i = axis + 1; i < 3; i++) {
        inner *= shape[i];
    }
    leat_array inputs[2] = {make_array(dtype, shape, in_bytes), {LEAT_DTYPE_I64, 1, {1}, &list, 8}};
    leat_array outputs[2] = {make_array(dtype, out_shape, value_bytes),
                             make_array(LEAT_DTYPE_I64, out_shape, index_list)};
    leat_attr attrs[] = {test_attr_int("axis", axis - 3), test_attr_int("largest", largest)};
    oracle_fill(&inputs[0], 4);
    for (size_t i = 0; i < oracle_count(&inputs[0]); i += 5) {
        oracle_set(&inputs[0], i, with_nan && i % 2 ? NAN : 0); /* ties */
    }
    for (int run = 0; run < 4; run++) {
        leat_error err = {0};
        test_kernel kernel = {.op = "TopK",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = outputs,
                              .n_outputs = 2,
                              .constants = run % 2 ? ~1ull : 0,
                              .threads = run / 2 ? 3 : 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int64_t i = 0; i < (int64_t)oracle_count(&outputs[0]); i++) {
            int64_t at = i / inner % (k ? k : 1), line = i / inner / k * inner * n + i % inner;
            int64_t index = index_list[i];
            assert_true(index >= 0 && index < n);
            assert_int_equal(place(&inputs[0], line, inner, n, index, largest), at);
            double x = oracle_get(&inputs[0], (size_t)(line + index * inner));
            double y = oracle_get(&outputs[0], (size_t)i);
            assert_true(x == y || (isnan(x) && isnan(y)));
        }
    }
}

static void top_k_is_sorted_and_stable(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32,  LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16, LEAT_DTYPE_I8,  LEAT_DTYPE_U8,
                                        LEAT_DTYPE_I16,  LEAT_DTYPE_U16, LEAT_DTYPE_I32,
                                        LEAT_DTYPE_U32,  LEAT_DTYPE_I64, LEAT_DTYPE_U64};
    static const int64_t ks[] = {0, 1, 5, 36, 37};
    for (int d = 0; d < 12; d++) {
        for (int i = 0; i < 5; i++) {
            for (int axis = 0; axis < 3; axis++) {
                check_top_k(dtypes[d], axis, ks[i], true, d < 4);
                check_top_k(dtypes[d], axis, ks[i], false, d < 4);
            }
        }
    }
}

static void top_k_that_differs_from_plan_is_invalid(void **state)
{
    (void)state;
    static const int64_t shape[] = {1, 1, 4}, out_shape[] = {1, 1, 2}, longer[] = {1, 1, 5};
    for (int constant = 0; constant < 2; constant++) {
        leat_error err = {0};
        int64_t k = 3;
        leat_array inputs[2] = {make_array(LEAT_DTYPE_F32, shape, in_bytes),
                                {LEAT_DTYPE_I64, 1, {1}, &k, 8}};
        leat_array outputs[2] = {make_array(LEAT_DTYPE_F32, out_shape, value_bytes),
                                 make_array(LEAT_DTYPE_I64, out_shape, index_list)};
        test_kernel kernel = {.op = "TopK",
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = outputs,
                              .n_outputs = 2,
                              .constants = constant ? ~1ull : 0};
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        k = 5; /* more than there are */
        outputs[0] = make_array(LEAT_DTYPE_F32, longer, value_bytes);
        outputs[1] = make_array(LEAT_DTYPE_I64, longer, index_list);
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    }
}

static void one_hot_marks_the_index(void **state)
{
    (void)state;
    float indices[] = {1, -1, 7, 0, -4, 3.9f}, depth = 4;
    static const int64_t hot[] = {1, 3, -1, 0, 0, 3};
    int32_t values[] = {-5, 9}, y[24];
    for (int axis = 0; axis < 2; axis++) {
        leat_error err = {0};
        leat_array inputs[3] = {{LEAT_DTYPE_F32, 1, {6}, indices, sizeof(indices)},
                                {LEAT_DTYPE_F32, 0, {0}, &depth, 4},
                                {LEAT_DTYPE_I32, 1, {2}, values, sizeof(values)}};
        leat_array out = {LEAT_DTYPE_I32, 2, {axis ? 6 : 4, axis ? 4 : 6}, y, sizeof(y)};
        leat_attr attr = test_attr_int("axis", axis);
        test_kernel kernel = {.op = "OneHot",
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = inputs,
                              .n_inputs = 3,
                              .outputs = &out,
                              .n_outputs = 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int i = 0; i < 24; i++) {
            int index = axis ? i / 4 : i % 6, class = axis ? i % 4 : i / 6;
            assert_int_equal(y[i], hot[index] == class ? 9 : -5);
        }
        depth = 5;
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        depth = 4;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_k_is_sorted_and_stable),
        cmocka_unit_test(top_k_that_differs_from_plan_is_invalid),
        cmocka_unit_test(one_hot_marks_the_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* NonZero, Compress, Prefix, Unique in the two steps that they are run in. */
#include "support/op_check.h"

#define MOST 4096

static double x[MOST], out[MOST];
static int64_t numbers[4][MOST], count;
static uint8_t condition[64];

static int64_t run_count(const char *op, leat_array *in, uint32_t n_inputs, leat_attr *attr)
{
    const int64_t one = 1;
    leat_error err = {0};
    leat_array y = op_array(LEAT_DTYPE_I64, 1, &one, &count);
    test_kernel kernel = {.op = op,
                          .domain = "leat",
                          .attrs = attr,
                          .n_attrs = attr ? 1 : 0,
                          .inputs = in,
                          .n_inputs = n_inputs,
                          .outputs = &y,
                          .n_outputs = 1};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    return count;
}

static void non_zero_lists_coordinates(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_BOOL, LEAT_DTYPE_I64,
                                        LEAT_DTYPE_F16, LEAT_DTYPE_U8,   LEAT_DTYPE_F64};
    const int64_t shape[] = {3, 5, 7}, one = 1;
    for (int d = 0; d < 6; d++) {
        leat_array in[2] = {op_array(dtypes[d], 3, shape, x),
                            op_array(LEAT_DTYPE_I64, 1, &one, &count)};
        int64_t n = 0;
        for (size_t i = 0; i < 105; i++) {
            bool zero = i * 7 % 3 == 0;
            oracle_set(&in[0], i, zero ? -0.0 : 1);
            n += !zero;
        }
        assert_int_equal(run_count("NonZeroCount", in, 1, NULL), n);
        const int64_t y_shape[] = {3, n};
        leat_array y = op_array(LEAT_DTYPE_I64, 2, y_shape, out);
        test_kernel kernel = {.op = "NonZeroTo",
                              .domain = "leat",
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int64_t i = 0, at = 0; i < 105; i++) {
            if (oracle_get(&in[0], (size_t)i) != 0) {
                const int64_t *list = (const int64_t *)(const void *)out;
                assert_int_equal(list[at], i / 35);
                assert_int_equal(list[n + at], i / 7 % 5);
                assert_int_equal(list[2 * n + at++], i % 7);
            }
        }
        oracle_set(&in[0], 0, 1); /* one more than planned */
        op_check_invalid(&kernel, "planned");
    }
}

static void compress_takes_slices(void **state)
{
    (void)state;
    const int64_t shape[] = {4, 5, 6}, one = 1, five = 5;
    static const bool chosen[] = {true, false, false, true, true};
    for (size_t i = 0; i < 5; i++) {
        condition[i] = chosen[i];
    }
    for (int flat = 0; flat < 2; flat++) {
        leat_attr attr = test_attr_int("axis", -2);
        leat_array in[3] = {op_filled(LEAT_DTYPE_I16, 3, shape, x, 4),
                            op_array(LEAT_DTYPE_BOOL, 1, &five, condition),
                            op_array(LEAT_DTYPE_I64, 1, &one, &count)};
        assert_int_equal(run_count("CompressCount", in, 2, flat ? NULL : &attr), 3);
        const int64_t y_shape[] = {4, 3, 6}, y_flat[] = {3};
        leat_array y = op_array(LEAT_DTYPE_I16, flat ? 1 : 3, flat ? y_flat : y_shape, out);
        test_kernel kernel = {.op = "CompressTo",
                              .domain = "leat",
                              .attrs = &attr,
                              .n_attrs = flat ? 0 : 1,
                              .inputs = in,
                              .n_inputs = 3,
                              .outputs = &y,
                              .n_outputs = 1};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        static const size_t from[] = {0, 3, 4};
        for (size_t i = 0; i < oracle_count(&y); i++) {
            size_t at = flat ? from[i] : (i / 18 * 5 + from[i / 6 % 3]) * 6 + i % 6;
            assert_true(oracle_get(&y, i) == oracle_get(&in[0], at));
        }
        condition[1] = 1;
        op_check_invalid(&kernel, "planned");
        condition[1] = 0;
    }
}

/* Slices along axis 1 of 2 x n x 2. */
static bool equal_slices(const leat_array *in, int64_t n, int64_t i, int64_t j)
{
    bool same = true;
    for (int64_t k = 0; k < 4; k++) {
        same = same && oracle_get(in, (size_t)((k / 2 * n + i) * 2 + k % 2)) ==
                           oracle_get(in, (size_t)((k / 2 * n + j) * 2 + k % 2));
    }
    return same;
}

static void check_unique(leat_dtype dtype, int64_t n, bool sorted)
{
    const int64_t shape[] = {2, n, 2}, one = 1;
    leat_array in = op_array(dtype, 3, shape, x);
    leat_array outs[4] = {
        op_array(LEAT_DTYPE_I64, 1, &n, numbers[0]), op_array(LEAT_DTYPE_I64, 1, &n, numbers[1]),
        op_array(LEAT_DTYPE_I64, 1, &n, numbers[2]), op_array(LEAT_DTYPE_I64, 1, &one, numbers[3])};
    leat_attr attrs[] = {test_attr_int("axis", 1), test_attr_int("sorted", sorted)};
    for (int64_t i = 0; i < 4 * n; i++) {
        oracle_set(&in, (size_t)i, (double)(i * i % 7 % 2));
    }
    test_kernel kernel = {.op = "UniqueIndex",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = outs,
                          .n_outputs = 4};
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    int64_t found = numbers[3][0], groups = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t first = 0, same = 0, g = numbers[1][i];
        while (!equal_slices(&in, n, first, i)) {
            first++;
        }
        for (int64_t k = 0; k < n; k++) {
            same += equal_slices(&in, n, i, k);
        }
        groups += first == i;
        assert_true(g >= 0 && g < found);
        assert_int_equal(numbers[0][g], first);
        assert_int_equal(numbers[2][g], same);
        if (!sorted && first == i) {
            assert_int_equal(g, groups - 1); /* in order of appearance */
        }
    }
    assert_int_equal(found, groups);
    for (int64_t g = 1; g < found && sorted; g++) { /* the first slice that differs is larger */
        double a = 0, b = 0;
        for (int64_t k = 0; k < 4 && a == b; k++) {
            a = oracle_get(&in, (size_t)((k / 2 * n + numbers[0][g - 1]) * 2 + k % 2));
            b = oracle_get(&in, (size_t)((k / 2 * n + numbers[0][g]) * 2 + k % 2));
        }
        assert_true(a < b);
    }
}

static void unique_finds_first_ones_and_counts(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_I8, LEAT_DTYPE_U64,
                                        LEAT_DTYPE_BF16, LEAT_DTYPE_BOOL};
    for (int d = 0; d < 5; d++) {
        for (int64_t n = 0; n < 40; n += 3) {
            check_unique(dtypes[d], n, true);
            check_unique(dtypes[d], n, false);
        }
    }
}

static void unique_place_out_of_range_is_invalid(void **state)
{
    (void)state;
    const int64_t n = 3, one = 1, two = 2;
    leat_array in[3] = {op_filled(LEAT_DTYPE_F32, 1, &n, x, 1),
                        op_array(LEAT_DTYPE_I64, 1, &n, numbers[0]),
                        op_array(LEAT_DTYPE_I64, 1, &one, &count)};
    leat_array y = op_array(LEAT_DTYPE_F32, 1, &two, out);
    test_kernel kernel = {.op = "UniqueTo",
                          .domain = "leat",
                          .inputs = in,
                          .n_inputs = 3,
                          .outputs = &y,
                          .n_outputs = 1};
    numbers[0][0] = 0;
    numbers[0][1] = 3;
    op_check_invalid(&kernel, "place 3 of 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(non_zero_lists_coordinates),
        cmocka_unit_test(compress_takes_slices),
        cmocka_unit_test(unique_finds_first_ones_and_counts),
        cmocka_unit_test(unique_place_out_of_range_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

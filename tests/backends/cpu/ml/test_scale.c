/* SPDX-License-Identifier: Apache-2.0 */
/* Imputer: the value that stands for "missing" at the ends of its type, NaN among floats, one
 * value for all columns or one each. */
#include "support/test.h"

#include "support/kernel.h"

#include <math.h>

static leat_status impute(const leat_array *x, leat_array *y, const leat_attr *attrs,
                          uint32_t n_attrs, leat_error *err)
{
    test_kernel kernel = {.op = "Imputer",
                          .domain = "ai.onnx.ml",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = x,
                          .n_inputs = 1,
                          .outputs = y,
                          .n_outputs = 1};
    return test_kernel_run(&kernel, NULL, err);
}

static leat_status impute_ints(int64_t replaced, const int64_t *by, size_t n_by, int64_t *x,
                               int64_t *y, leat_error *err)
{
    const leat_attr attrs[] = {{"replaced_value_int64", LEAT_ATTR_INT, 1, {.i = replaced}},
                               {"imputed_value_int64s", LEAT_ATTR_INTS, n_by, {.ints = by}}};
    leat_array in = {LEAT_DTYPE_I64, 2, {2, 3}, x, 48}, out = {LEAT_DTYPE_I64, 2, {2, 3}, y, 48};
    return impute(&in, &out, attrs, 2, err);
}

/* 2^53 + 1 and 2^53 are one number in f64, INT64_MAX is none. */
static void imputer_tells_all_integers_apart(void **state)
{
    static const int64_t missing[] = {INT64_MAX, INT64_MIN, (INT64_C(1) << 53) + 1, 0};
    static const int64_t by[3] = {7, INT64_MIN + 1, INT64_MAX - 1};
    int64_t y[6];
    leat_error err = {0};
    (void)state;
    for (size_t k = 0; k < sizeof(missing) / sizeof(missing[0]); k++) {
        int64_t m = missing[k];
        int64_t x[6] = {m, m > 0 ? m - 1 : m + 1, m, 5, m, -5};
        for (size_t n_by = 1; n_by <= 3; n_by += 2) {
            assert_ok(impute_ints(m, by, n_by, x, y, &err), &err);
            for (int i = 0; i < 6; i++) {
                int64_t wanted = x[i] == m ? by[n_by == 1 ? 0 : i % 3] : x[i];
                assert_true(y[i] == wanted);
            }
        }
    }
}

static void imputer_replaces_nan(void **state)
{
    static const float by[3] = {1, 2, 3};
    float x[6] = {NAN, INFINITY, -1, 0, NAN, NAN}, y[6];
    const float wanted[6] = {1, INFINITY, -1, 0, 2, 3};
    const leat_attr attrs[] = {{"replaced_value_float", LEAT_ATTR_FLOAT, 1, {.f = NAN}},
                               {"imputed_value_floats", LEAT_ATTR_FLOATS, 3, {.floats = by}}};
    leat_array in = {LEAT_DTYPE_F32, 2, {2, 3}, x, 24}, out = {LEAT_DTYPE_F32, 2, {2, 3}, y, 24};
    leat_error err = {0};
    (void)state;
    assert_ok(impute(&in, &out, attrs, 2, &err), &err);
    assert_memory_equal(y, wanted, sizeof(wanted));
}

static void imputer_wrong_number_of_values_is_invalid(void **state)
{
    static const int64_t by[2] = {1, 2};
    int64_t x[6] = {0}, y[6];
    leat_error err = {0};
    (void)state;
    assert_int_equal(impute_ints(0, by, 2, x, y, &err), LEAT_INVALID);
    assert_int_equal(impute_ints(0, NULL, 0, x, y, &err), LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imputer_tells_all_integers_apart),
        cmocka_unit_test(imputer_replaces_nan),
        cmocka_unit_test(imputer_wrong_number_of_values_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

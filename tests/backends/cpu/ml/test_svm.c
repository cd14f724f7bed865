/* SPDX-License-Identifier: Apache-2.0 */
/* SVMRegressor and SVMClassifier: lists of lengths that do not fit are refused; what they compute
 * is compared with ONNX Runtime by scripts/ort_cases.sh. ZipMap gives its input. */
#include "support/op_check.h"

#include <math.h>

static float x[2 * 3] = {1, 2, 3, -1, 0, 2}, y[2 * 3 + 4];
static const float numbers[64] = {0.5f, -1, 2, 1.5f};
static int64_t labels_out[2 + 2];
static const int64_t classes[] = {4, 7, 9};

static leat_attr floats(const char *name, size_t n)
{
    return (leat_attr){name, LEAT_ATTR_FLOATS, n, {.floats = numbers}};
}

static leat_status classify(size_t n_classes, const int64_t *counts, size_t n_counts,
                            size_t n_coefficients, size_t n_vectors, size_t n_rho, size_t n_a,
                            leat_error *err)
{
    leat_attr attrs[] = {test_attr_ints("classlabels_ints", classes, n_classes),
                         test_attr_ints("vectors_per_class", counts, n_counts),
                         floats("coefficients", n_coefficients),
                         floats("support_vectors", n_vectors),
                         floats("rho", n_rho),
                         floats("prob_a", n_a),
                         floats("prob_b", n_a)};
    const int64_t in_shape[] = {2, 3}, rows = 2,
                  out_shape[] = {2, n_classes == 1 ? 1 : (int64_t)n_classes};
    leat_array in = op_array(LEAT_DTYPE_F32, 2, in_shape, x);
    leat_array outs[] = {op_array(LEAT_DTYPE_I64, 1, &rows, labels_out),
                         op_array(LEAT_DTYPE_F32, 2, out_shape, y)};
    test_kernel kernel = {.op = "SVMClassifier",
                          .domain = "ai.onnx.ml",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = 7,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = outs,
                          .n_outputs = 2};
    return test_kernel_run(&kernel, NULL, err);
}

static void classifier_of_lists_that_do_not_fit_is_invalid(void **state)
{
    static const int64_t good[] = {1, 2, 1}, negative[] = {1, -1, 4},
                         huge[] = {INT64_MAX, INT64_MAX, 2};
    leat_error err = {0};
    (void)state;
    assert_ok(classify(3, good, 3, 8, 12, 3, 0, &err), &err);
    assert_ok(classify(3, good, 3, 8, 12, 3, 3, &err), &err);
    assert_ok(classify(3, NULL, 0, 9, 0, 1, 0, &err), &err);
    assert_int_equal(classify(3, negative, 3, 8, 12, 3, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, huge, 3, 8, 12, 3, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, good, 2, 8, 12, 3, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, good, 3, 7, 12, 3, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, good, 3, 8, 11, 3, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, good, 3, 8, 12, 2, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, good, 3, 8, 12, 3, 2, &err), LEAT_INVALID);
    assert_int_equal(classify(1, good, 1, 0, 3, 1, 0, &err), LEAT_INVALID);
    assert_int_equal(classify(3, NULL, 0, 9, 0, 0, 0, &err), LEAT_INVALID);
}

static void regressor_sums_kernels(void **state)
{
    const int64_t in_shape[] = {2, 3}, out_shape[] = {2, 1};
    leat_array in = op_array(LEAT_DTYPE_F32, 2, in_shape, x),
               outs = op_array(LEAT_DTYPE_F32, 2, out_shape, y);
    leat_attr attrs[] = {floats("coefficients", 2), floats("support_vectors", 6), floats("rho", 1),
                         test_attr_int("n_supports", 2)};
    test_kernel kernel = {.op = "SVMRegressor",
                          .domain = "ai.onnx.ml",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = 4,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &outs,
                          .n_outputs = 1};
    double want[2];
    const double *expected[] = {want};
    (void)state;
    for (int r = 0; r < 2; r++) {
        want[r] = (double)numbers[0];
        for (int v = 0; v < 2; v++) {
            for (int i = 0; i < 3; i++) {
                want[r] += (double)numbers[v] * (double)numbers[3 * v + i] * (double)x[3 * r + i];
            }
        }
    }
    op_check(&kernel, expected, 1e-6, 0);
    attrs[3].u.i = 3;
    op_check_invalid(&kernel, "for 3 vectors");
    attrs[3].u.i = -1;
    op_check_invalid(&kernel, "n_supports is -1");
    attrs[3].u.i = INT64_MAX;
    op_check_invalid(&kernel, "n_supports is");
}

static void zip_map_gives_its_input(void **state)
{
    const int64_t shape[] = {2, 3};
    leat_array in = op_array(LEAT_DTYPE_F32, 2, shape, x),
               outs = op_array(LEAT_DTYPE_F32, 2, shape, y);
    leat_attr attr = test_attr_ints("classlabels_int64s", classes, 3);
    test_kernel kernel = {.op = "ZipMap",
                          .domain = "ai.onnx.ml",
                          .opset = 1,
                          .attrs = &attr,
                          .n_attrs = 1,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &outs,
                          .n_outputs = 1};
    double want[6];
    const double *expected[] = {want};
    (void)state;
    for (int i = 0; i < 6; i++) {
        want[i] = (double)x[i];
    }
    op_check(&kernel, expected, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classifier_of_lists_that_do_not_fit_is_invalid),
        cmocka_unit_test(regressor_sums_kernels),
        cmocka_unit_test(zip_map_gives_its_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

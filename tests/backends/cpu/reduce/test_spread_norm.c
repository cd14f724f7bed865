/* SPDX-License-Identifier: Apache-2.0 */
/* LRN, LpNormalization, MeanVarianceNormalization. */
#include "support/op_check.h"

#include <math.h>

#define MOST 8192

static double x[MOST], out[MOST], want[MOST];

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                    LEAT_DTYPE_BF16};

static void run(const char *op, leat_array *in, leat_attr *attrs, uint32_t n_attrs)
{
    leat_array y = op_array(in->dtype, in->rank, in->shape, out);
    test_kernel kernel = {.op = op,
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = in,
                          .n_inputs = 1,
                          .outputs = &y,
                          .n_outputs = 1};
    const double *expected[] = {want};
    op_check(&kernel, expected, oracle_rtol(in->dtype, 64), oracle_rtol(in->dtype, 64));
}

static void check_lrn(leat_dtype dtype, int64_t size, int64_t inner)
{
    const int64_t shape[] = {2, 7, inner};
    leat_array in = op_filled(dtype, 3, shape, x, 3);
    leat_attr attrs[] = {test_attr_int("size", size), test_attr_float("alpha", 0.5f),
                         test_attr_float("beta", 0.6f), test_attr_float("bias", 1.5f)};
    for (int64_t i = 0; i < 2 * 7 * inner; i++) {
        int64_t c = i / inner % 7;
        double sum = 0;
        for (int64_t k = c - (size - 1) / 2; k <= c + size / 2; k++) {
            double v = k < 0 || k >= 7 ? 0 : oracle_get(&in, (size_t)(i + (k - c) * inner));
            sum += v * v;
        }
        want[i] = oracle_get(&in, (size_t)i) / pow(1.5 + 0.5 / (double)size * sum, (double)0.6f);
    }
    run("LRN", &in, attrs, 4);
}

static void lrn_matches_definition(void **state)
{
    (void)state;
    for (int d = 0; d < 4; d++) {
        for (int64_t size = 1; size < 17; size += 3) {
            check_lrn(dtypes[d], size, 3);
            check_lrn(dtypes[d], size, 300);
        }
    }
}

static void check_lp(leat_dtype dtype, int axis, int64_t p)
{
    const int64_t shape[] = {5, 6, 7};
    static const int64_t strides[] = {42, 7, 1};
    leat_array in = op_filled(dtype, 3, shape, x, 3);
    for (size_t i = 0; i < 210; i++) { /* one line of zeros */
        if (i / (size_t)strides[axis] % (size_t)shape[axis] * (size_t)strides[axis] == i) {
            oracle_set(&in, i, 0);
        }
    }
    for (int64_t i = 0; i < 210; i++) {
        int64_t first = i - i / strides[axis] % shape[axis] * strides[axis];
        double sum = 0;
        for (int64_t k = 0; k < shape[axis]; k++) {
            sum += pow(fabs(oracle_get(&in, (size_t)(first + k * strides[axis]))), (double)p);
        }
        want[i] = sum == 0 ? 0 : oracle_get(&in, (size_t)i) / pow(sum, 1 / (double)p);
    }
    leat_attr attrs[] = {test_attr_int("axis", axis - 3), test_attr_int("p", p)};
    run("LpNormalization", &in, attrs, 2);
}

static void lp_normalization_matches_definition(void **state)
{
    (void)state;
    for (int d = 0; d < 4; d++) {
        for (int axis = 0; axis < 3; axis++) {
            check_lp(dtypes[d], axis, 1);
            check_lp(dtypes[d], axis, 2);
        }
    }
}

static void mean_variance_normalization_matches_definition(void **state)
{
    (void)state;
    const int64_t shape[] = {3, 4, 5, 7}, axes[] = {0, -1};
    for (int d = 0; d < 4; d++) {
        leat_array in = op_filled(dtypes[d], 4, shape, x, 9);
        for (size_t g = 0; g < 20; g++) { /* axes 1 and 2 are kept */
            double mean = 0, variance = 0;
            for (size_t k = 0; k < 21; k++) {
                mean += oracle_get(&in, k / 7 * 140 + g * 7 + k % 7) / 21;
            }
            for (size_t k = 0; k < 21; k++) {
                variance += pow(oracle_get(&in, k / 7 * 140 + g * 7 + k % 7) - mean, 2) / 21;
            }
            for (size_t k = 0; k < 21; k++) {
                size_t at = k / 7 * 140 + g * 7 + k % 7;
                want[at] = (oracle_get(&in, at) - mean) / (sqrt(variance) + 1e-9);
            }
        }
        leat_attr attr = test_attr_ints("axes", axes, 2);
        run("MeanVarianceNormalization", &in, &attr, 1);
    }
}

static void shrink_matches_definition(void **state)
{
    (void)state;
    const int64_t count = 403;
    leat_attr attrs[] = {test_attr_float("lambd", 0.25f), test_attr_float("bias", 0.125f)};
    for (int d = 0; d < 4; d++) {
        leat_array in = op_filled(dtypes[d], 1, &count, x, 2);
        for (size_t i = 0; i < 403; i++) {
            double v = oracle_get(&in, i);
            want[i] = v < -0.25 ? v + 0.125 : v > 0.25 ? v - 0.125 : 0;
        }
        run("Shrink", &in, attrs, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lrn_matches_definition),
        cmocka_unit_test(lp_normalization_matches_definition),
        cmocka_unit_test(mean_variance_normalization_matches_definition),
        cmocka_unit_test(shrink_matches_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

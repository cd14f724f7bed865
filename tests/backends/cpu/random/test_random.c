/* SPDX-License-Identifier: Apache-2.0 */
/* Random operators: moments, bounds, and that a seed repeats. */
#include "support/op_check.h"

#include <math.h>

#define COUNT 20000

static double x[COUNT], out[COUNT + 2], again[COUNT + 2];

static void draw(const char *op, leat_array *in, leat_attr *attrs, uint32_t n_attrs, leat_array *y)
{
    leat_error err = {0};
    test_kernel kernel = {.op = op,
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = in,
                          .n_inputs = in ? 1 : 0,
                          .outputs = y,
                          .n_outputs = 1,
                          .threads = 3};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
}

static void moments(const leat_array *y, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < COUNT; i++) {
        sum += oracle_get(y, i);
    }
    *mean = sum / COUNT;
    for (size_t i = 0; i < COUNT; i++) {
        squares += pow(oracle_get(y, i) - *mean, 2);
    }
    *deviation = sqrt(squares / COUNT);
}

static void random_numbers_have_their_moments(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16};
    const int64_t count = COUNT;
    for (int i = 0; i < 6; i++) {
        bool normal = i < 3;
        leat_array y = op_array(dtypes[i % 3], 1, &count, out);
        leat_attr attrs[] = {test_attr_float(normal ? "mean" : "low", 2),
                             test_attr_float(normal ? "scale" : "high", 3),
                             test_attr_float("seed", 7)};
        double mean, deviation;
        draw(normal ? "RandomNormal" : "RandomUniform", NULL, attrs, 3, &y);
        moments(&y, &mean, &deviation);
        double want = normal ? 3 : 1 / sqrt(12);
        assert_true(fabs(mean - (normal ? 2 : 2.5)) < 5 * want / sqrt(COUNT)); /* 5 sigma */
        assert_true(fabs(deviation - want) < 5 * want / sqrt(COUNT));
        for (size_t k = 0; k < COUNT && !normal; k++) {
            assert_true(oracle_get(&y, k) >= 2 && oracle_get(&y, k) <= 3);
        }
    }
}

static void random_seed_decides_the_numbers(void **state)
{
    (void)state;
    const int64_t count = 500;
    leat_array y = op_array(LEAT_DTYPE_F32, 1, &count, out);
    leat_array second = op_array(LEAT_DTYPE_F32, 1, &count, again);
    leat_attr attr = test_attr_float("seed", 1), other = test_attr_float("seed", 2);
    draw("RandomNormal", NULL, &attr, 1, &y);
    draw("RandomNormal", NULL, &attr, 1, &second);
    assert_memory_equal(out, again, y.bytes);
    draw("RandomNormal", NULL, &other, 1, &second);
    assert_memory_not_equal(out, again, y.bytes);
}

static void bernoulli_follows_its_chances(void **state)
{
    (void)state;
    const int64_t count = COUNT;
    leat_array in = op_array(LEAT_DTYPE_F32, 1, &count, x),
               y = op_array(LEAT_DTYPE_BOOL, 1, &count, out);
    leat_attr attr = test_attr_float("seed", 3);
    double hits[4] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        oracle_set(&in, i, (double)(i % 4) / 3);
    }
    draw("Bernoulli", &in, &attr, 1, &y);
    for (size_t i = 0; i < COUNT; i++) {
        hits[i % 4] += oracle_get(&y, i);
    }
    for (int k = 0; k < 4; k++) {
        double p = k / 3.0, n = COUNT / 4;
        assert_true(fabs(hits[k] / n - p) <= 5 * sqrt(p * (1 - p) / n)); /* 0 and 1 exactly */
    }
}

static void multinomial_follows_its_weights(void **state)
{
    (void)state;
    static const double weights[] = {0.1, 0, 0.6, 0.3};
    const int64_t shape[] = {1, 4}, y_shape[] = {1, COUNT};
    leat_array in = op_array(LEAT_DTYPE_F32, 2, shape, x),
               y = op_array(LEAT_DTYPE_I32, 2, y_shape, out);
    leat_attr attr = test_attr_float("seed", 3);
    double hits[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        oracle_set(&in, i, log(weights[i]) + 50); /* any factor */
    }
    draw("Multinomial", &in, &attr, 1, &y);
    for (size_t i = 0; i < COUNT; i++) {
        double k = oracle_get(&y, i);
        assert_true(k >= 0 && k < 4);
        hits[(int)k]++;
    }
    for (int k = 0; k < 4; k++) {
        double p = weights[k];
        assert_true(fabs(hits[k] / COUNT - p) <= 5 * sqrt(p * (1 - p) / COUNT));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_have_their_moments),
        cmocka_unit_test(random_seed_decides_the_numbers),
        cmocka_unit_test(bernoulli_follows_its_chances),
        cmocka_unit_test(multinomial_follows_its_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

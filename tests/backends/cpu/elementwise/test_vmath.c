/* SPDX-License-Identifier: Apache-2.0 */
/* vmath.h and the unary operators against the C library in double, on all instruction sets. */
#include "support/test.h"

#include "support/kernel.h"

#include <math.h>
#include <stdlib.h>

/* Runs a unary operator over n floats in place of y. */
static void run(const char *op, lt_cpu_isa isa, const float *x, float *y, int64_t n)
{
    leat_array in = {LEAT_DTYPE_F32, 1, {n}, (void *)x, (size_t)n * sizeof(*x)};
    leat_array out = {LEAT_DTYPE_F32, 1, {n}, y, (size_t)n * sizeof(*y)};
    test_kernel kernel = {.op = op,
                          .opset = 24,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static double relu(double v)
{
    return v < 0 ? 0 : v;
}

static double gelu(double v)
{
    return 0.5 * v * (1 + erf(v * M_SQRT1_2));
}

static double hard_swish(double v)
{
    return v * fmax(0, fmin(1, v / 6 + 0.5));
}

static double reciprocal(double v)
{
    return 1 / v;
}

static double negate(double v)
{
    return -v;
}

static double softplus(double v)
{
    return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
}

/* Over [low, high]: at most `ulps` units of the last place of the true value, or `absolute`. */
static const struct {
    const char *op;
    double (*f)(double);
    double low, high, ulps, absolute;
} functions[] = {
    {"Exp", exp, -87, 88.7, 2, 0},
    {"Exp", exp, -104, -87, 0, 3e-45}, /* subnormal results */
    {"Log", log, 1e-38, 3e38, 2, 6e-8},
    {"Log", log, 0.5, 2, 2, 6e-8},
    {"Tanh", tanh, -12, 12, 3, 0},
    {"Tanh", tanh, -1e-3, 1e-3, 2, 0},
    {"Erf", erf, -5, 5, 3, 0},
    {"Erf", erf, -1e-3, 1e-3, 2, 0},
    {"Sigmoid", sigmoid, -80, 80, 4, 0},
    {"Gelu", gelu, 0, 10, 2.5, 0},
    {"Gelu", gelu, -1, 0, 6, 0},
    {"Gelu", gelu, -20, 0, 0, 1.2e-7},
    {"HardSwish", hard_swish, -10, 10, 3, 4e-7},
    {"Softplus", softplus, -80, 80, 4, 0},
    {"Sqrt", sqrt, 0, 1e30, 1, 0},
    {"Reciprocal", reciprocal, 0.1, 100, 1, 0},
    {"Neg", negate, -10, 10, 0, 0},
    {"Abs", fabs, -10, 10, 0, 0},
    {"Relu", relu, -10, 10, 0, 0},
    {"Floor", floor, -10, 10, 0, 0},
    {"Ceil", ceil, -10, 10, 0, 0},
    {"Round", rint, -10, 10, 0, 0},
    {"Sin", sin, -10, 10, 2, 1e-7},
    {"Cos", cos, -10, 10, 2, 1e-7},
    {"Atan", atan, -10, 10, 2, 0},
};

#define POINTS 40003

static void functions_are_as_exact_as_stated(void **state)
{
    float *x = malloc(POINTS * sizeof(*x)), *y = malloc(POINTS * sizeof(*y));
    (void)state;
    for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
        for (size_t i = 0; i < POINTS; i++) {
            double at = (double)i / (POINTS - 1);
            /* Positive ranges over many powers of ten are walked by powers. */
            bool wide = functions[f].low > 0 && functions[f].high / functions[f].low > 1e6;
            x[i] = (float)(wide ? functions[f].low * pow(functions[f].high / functions[f].low, at)
                                : functions[f].low + (functions[f].high - functions[f].low) * at);
        }
        for (size_t s = 0; s < 3; s++) {
            run(functions[f].op, test_isas[s], x, y, POINTS);
            for (size_t i = 0; i < POINTS; i++) {
                double want = functions[f].f((double)x[i]);
                float near = fabsf((float)want);
                double unit = (double)(nextafterf(near, INFINITY) - near);
                double bound = functions[f].ulps * unit + functions[f].absolute;
                if (fabs((double)y[i] - want) > bound) {
                    fail_msg("%s(%.9g) on %zu: %.9g, not %.9g (%.2f units)", functions[f].op,
                             (double)x[i], s, (double)y[i], want, fabs((double)y[i] - want) / unit);
                }
            }
        }
    }
    free(x);
    free(y);
}

static void special_values_give_the_limits(void **state)
{
    const float x[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1000.0f, -1000.0f};
    float y[7];
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        run("Exp", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == INFINITY && y[2] == 0 && y[3] == 1 && y[5] == INFINITY &&
                    y[6] == 0);
        run("Log", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == INFINITY && isnan(y[2]) && y[3] == -INFINITY &&
                    isnan(y[6]));
        run("Tanh", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == 1 && y[2] == -1 && y[3] == 0 && signbit(y[4]));
        run("Erf", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == 1 && y[2] == -1 && y[5] == 1 && y[6] == -1);
        run("Sigmoid", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == 1 && y[2] == 0 && y[3] == 0.5f && y[5] == 1 &&
                    y[6] == 0);
        run("Relu", test_isas[s], x, y, 7);
        assert_true(isnan(y[0]) && y[1] == INFINITY && y[2] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_as_exact_as_stated),
        cmocka_unit_test(special_values_give_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

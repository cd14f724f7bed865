/* SPDX-License-Identifier: Apache-2.0 */
/* Every activation that leat's passes put into a product, against double, on all instruction sets:
 * y = f(x * ones) with whole and part tiles. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

static const lt_cpu_isa isas[] = {LT_CPU_PORTABLE, LT_CPU_AVX2, LT_CPU_AVX512};

static double f(const char *name, double v, double alpha, double beta)
{
    if (strcmp(name, "ScaledHardSwish") == 0) {
        return alpha * f("HardSwish", v, 0, 0) + beta;
    }
    switch (name[0]) {
    case 'R':
        return fmax(v, 0);
    case 'C':
        return fmin(fmax(v, alpha), beta);
    case 'L':
        return v < 0 ? alpha * v : v;
    case 'T':
        return tanh(v);
    case 'G':
        return strcmp(name, "Gelu") == 0
                   ? 0.5 * v * erfc(-v * M_SQRT1_2)
                   : v / (1 + exp(-2 * sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case 'S':
        return (strcmp(name, "Swish") == 0 ? v : 1) / (1 + exp(-(name[1] == 'w' ? alpha : 1) * v));
    default: /* HardSigmoid, HardSwish */
        return strcmp(name, "HardSwish") == 0 ? v * fmax(0, fmin(1, v / 6 + 0.5))
                                              : fmax(0, fmin(1, alpha * v + beta));
    }
}

#define ROWS 101
#define COLUMNS 43

static void check(const char *name, float alpha, float beta, lt_cpu_isa isa)
{
    float x[ROWS], ones[COLUMNS], y[ROWS * COLUMNS];
    double expected[ROWS * COLUMNS];
    for (int i = 0; i < ROWS; i++) {
        x[i] = -12.5f + 0.25f * (float)i;
        for (int j = 0; j < COLUMNS; j++) {
            ones[j] = 1;
            expected[i * COLUMNS + j] = f(name, (double)x[i], (double)alpha, (double)beta);
        }
    }
    leat_array in[] = {{LEAT_DTYPE_F32, 2, {ROWS, 1}, x, sizeof(x)},
                       {LEAT_DTYPE_F32, 2, {1, COLUMNS}, ones, sizeof(ones)}};
    leat_array out = {LEAT_DTYPE_F32, 2, {ROWS, COLUMNS}, y, sizeof(y)};
    leat_attr attrs[] = {test_attr_string("activation", name),
                         test_attr_float("activation_alpha", alpha),
                         test_attr_float("activation_beta", beta)};
    test_kernel kernel = {.op = "MatMul",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = 3,
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &out,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    oracle_assert_close(&out, expected, 1e-6, 2e-7);
}

static void activations_match_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        check("Relu", 0, 0, isas[i]);
        check("Clip", -1.5f, 2.25f, isas[i]);
        check("LeakyRelu", 0.125f, 0, isas[i]);
        check("Sigmoid", 0, 0, isas[i]);
        check("Tanh", 0, 0, isas[i]);
        check("HardSigmoid", 0.25f, 0.5f, isas[i]);
        check("HardSwish", 0, 0, isas[i]);
        check("ScaledHardSwish", -1.25f, 0.375f, isas[i]);
        check("Gelu", 0, 0, isas[i]);
        check("GeluTanh", 0, 0, isas[i]);
        check("Swish", 1, 0, isas[i]);
        check("Swish", 1.702f, 0, isas[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_match_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Every activation that leat's passes put into a product, against double, on all instruction sets:
 * y = f(x * ones) with whole and part tiles. */
#include "support/test.h"

#include "elementwise/activation.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

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
        check("Relu", 0, 0, test_isas[i]);
        check("Clip", -1.5f, 2.25f, test_isas[i]);
        check("LeakyRelu", 0.125f, 0, test_isas[i]);
        check("Sigmoid", 0, 0, test_isas[i]);
        check("Tanh", 0, 0, test_isas[i]);
        check("HardSigmoid", 0.25f, 0.5f, test_isas[i]);
        check("HardSwish", 0, 0, test_isas[i]);
        check("ScaledHardSwish", -1.25f, 0.375f, test_isas[i]);
        check("Gelu", 0, 0, test_isas[i]);
        check("GeluTanh", 0, 0, test_isas[i]);
        check("Swish", 1, 0, test_isas[i]);
        check("Swish", 1.702f, 0, test_isas[i]);
    }
}

#define POINTS 50021 /* odd: part vectors */

/* What gelu_avx512.h and vmath.h state, through the function that products call, in place and not;
 * rows of every length up to two panels. */
static void gelu_is_as_exact_as_stated(void **state)
{
    static float x[POINTS], y[POINTS];
    const lt_cpu_activation gelu = {LT_CPU_ACTIVATION_GELU, 0, 0};
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        lt_cpu_device device;
        lt_cpu_device_detect(&device, test_isas[s]);
        const bool tables = device.isa == LT_CPU_AVX512;
        for (int i = 0; i < POINTS; i++) {
            x[i] = y[i] = -9 + 18 * (float)i / (POINTS - 1);
        }
        lt_cpu_activate_for (&device)(y, POINTS, &gelu);
        for (int i = 0; i < POINTS; i++) {
            double v = (double)x[i], want = f("Gelu", v, 0, 0), error = fabs((double)y[i] - want);
            double unit = (double)(nextafterf(fabsf((float)want), INFINITY) - fabsf((float)want));
            double bound = v > 0 ? 2.5 * unit : tables ? 2.5e-8 : 1.2e-7;
            if (tables && v < 0 && v > -5.8) {
                double relative = (v > -3.5 ? 4e-7 : 4e-5) * fabs(want);
                bound = relative < bound ? relative : bound;
            }
            if (!(error <= bound)) {
                fail_msg("isa %zu: Gelu(%.9g) is off by %g", s, v, error);
            }
        }
        for (int64_t n = 1; n <= 64; n++) {
            float out[3 * 67];
            memset(out, 0x7f, sizeof(out));
            const lt_cpu_activation_tile tile = {x + 25000, out, 3, n, 70, 67};
            lt_cpu_activate_tile_for (&device)(&tile, &gelu);
            for (int64_t r = 0; r < 3; r++) {
                for (int64_t i = 0; i < 67; i++) {
                    float want = y[25000 + r * 70 + i], got = out[r * 67 + i];
                    assert_true(i < n ? fabsf(got - want) <= 1e-7f : got > 1e38f);
                }
            }
        }
        float special[] = {NAN, INFINITY, -INFINITY, 0, -1000};
        lt_cpu_activate_for (&device)(special, 5, &gelu);
        assert_true(isnan(special[0]) && special[1] == INFINITY && fabsf(special[2]) < 2e-8f &&
                    special[3] == 0 && fabsf(special[4]) < 2e-8f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_match_double),
        cmocka_unit_test(gelu_is_as_exact_as_stated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 40000

static float x[MOST];
static uint8_t y[MOST];

static void check(int64_t count)
{
    float low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    float wanted = high > low ? (high - low) / 255.0f : 1.0f;
    float wanted_zero = nearbyintf(fminf(fmaxf(0.0f - low / wanted, 0), 255));
    for (int run = 0; run < 6; run++) {
        leat_error err = {0};
        float scale = 0;
        uint8_t zero = 99;
        leat_array in = {LEAT_DTYPE_F32, 1, {count}, x, (size_t)count * 4};
        leat_array out[3] = {{LEAT_DTYPE_U8, 1, {count}, y, (size_t)count},
                             {LEAT_DTYPE_F32, 0, {0}, &scale, 4},
                             {LEAT_DTYPE_U8, 0, {0}, &zero, 1}};
        test_kernel kernel = {.op = "DynamicQuantizeLinear",
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = out,
                              .n_outputs = 3,
                              .isa = test_isas[run % 3],
                              .threads = run / 3 ? 3 : 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_true(scale == wanted);
        assert_int_equal(zero, (int)wanted_zero);
        for (int64_t i = 0; i < count; i++) {
            float q = nearbyintf(x[i] / wanted) + wanted_zero;
            assert_int_equal(y[i], (int)fminf(fmaxf(q, 0), 255));
        }
    }
}

static void dynamic_range_includes_zero(void **state)
{
    (void)state;
    static const float shift[] = {0, -3, 3}, counts[] = {1, 63, 64, 65, 1000, MOST};
    for (int s = 0; s < 3; s++) {
        for (int c = 0; c < 6; c++) {
            uint64_t seed = (uint64_t)c;
            for (int64_t i = 0; i < MOST; i++) {
                x[i] = (float)(oracle_random(&seed) * 4 - 2) + shift[s];
            }
            check((int64_t)counts[c]);
        }
    }
}

static void dynamic_all_zero_has_scale_one(void **state)
{
    (void)state;
    memset(x, 0, sizeof(x));
    check(70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dynamic_range_includes_zero),
        cmocka_unit_test(dynamic_all_zero_has_scale_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

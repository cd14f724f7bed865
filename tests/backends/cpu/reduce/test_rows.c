/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of rows_kernel.h against double loops, on all instruction sets, at every length of a tail.
 */
#include "support/test.h"

#include "support/kernel.h"

#include "reduce/rows_kernel.h"

#include <math.h>

#define MOST 9000

static float numbers[MOST + 1];

static void fill(void)
{
    uint32_t state = 1;
    for (int i = 0; i <= MOST; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (float)(state >> 8) * 0x1p-23f + 2; /* [2, 4): a mean that squares feel */
    }
}

static const lt_row_kernels *table(lt_cpu_isa limit)
{
    lt_cpu_device device;
    lt_cpu_device_detect(&device, limit);
    return lt_row_kernels_for(&device);
}

static void check(const lt_row_kernels *kernels, const float *x, int64_t n)
{
    double sum = 0, squares = 0, magnitude = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += ((double)x[i] - 3) * ((double)x[i] - 3);
        magnitude += fabs((double)x[i]);
    }
    assert_true(fabs(kernels->reduce(LT_ROW_SUM, x, n) - sum) <= 0x1p-16 * magnitude);
    assert_true(fabs(kernels->squares(x, n, 3) - squares) <= 0x1p-16 * squares);
}

static void sums_match_double_loops(void **state)
{
    static const int64_t large[] = {383, 768, 1000, 4095, 4096, 4097, 8191, MOST};
    (void)state;
    fill();
    for (int isa = 0; isa < 3; isa++) {
        const lt_row_kernels *kernels = table(test_isas[isa]);
        for (int64_t n = 0; n <= 200; n++) {
            check(kernels, numbers, n);
            check(kernels, numbers + 1, n); /* not aligned to a vector */
        }
        for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
            check(kernels, numbers + i % 2, large[i]);
        }
    }
}

/* Each element counts, wherever it lies. */
static void nan_and_infinity_come_out_of_sums(void **state)
{
    (void)state;
    for (int isa = 0; isa < 3; isa++) {
        const lt_row_kernels *kernels = table(test_isas[isa]);
        for (int64_t at = 0; at < 101; at++) {
            fill();
            numbers[at] = NAN;
            assert_true(isnan(kernels->reduce(LT_ROW_SUM, numbers, 101)));
            assert_true(isnan(kernels->squares(numbers, 101, 3)));
            numbers[at] = INFINITY;
            assert_true(isinf(kernels->reduce(LT_ROW_SUM, numbers, 101)));
            assert_true(isinf(kernels->squares(numbers, 101, 3)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_match_double_loops),
        cmocka_unit_test(nan_and_infinity_come_out_of_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

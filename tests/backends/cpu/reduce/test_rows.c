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

static double row_wanted(lt_row_op op, const float *x, int64_t n)
{
    double sum = op == LT_ROW_MAX ? -INFINITY : op == LT_ROW_MIN ? INFINITY : 0;
    for (int64_t k = 0; k < n; k++) {
        double v = (double)x[k];
        sum = op == LT_ROW_SUM      ? sum + v
              : op == LT_ROW_L1     ? sum + fabs(v)
              : op == LT_ROW_SQUARE ? sum + v * v
              : op == LT_ROW_MAX    ? fmax(sum, v)
                                    : fmin(sum, v);
    }
    return sum;
}

static void check_short_rows(const lt_row_kernels *kernels, const float *x, int64_t n, int64_t rows)
{
    float y[102];
    for (int op = LT_ROW_SUM; op <= LT_ROW_MIN; op++) {
        y[rows] = 77;
        kernels->short_rows((lt_row_op)op, x, n, y, rows);
        for (int64_t i = 0; i < rows; i++) {
            double want = row_wanted((lt_row_op)op, x + i * n, n);
            double magnitude =
                row_wanted(op == LT_ROW_SUM ? LT_ROW_L1 : (lt_row_op)op, x + i * n, n);
            assert_true(fabs((double)y[i] - want) <= 0x1p-19 * fabs(magnitude));
        }
        assert_true(y[rows] == 77);
    }
}

static void short_rows_match_double_loops(void **state)
{
    (void)state;
    fill();
    for (int i = 0; i <= MOST; i += 3) {
        numbers[i] = -numbers[i];
    }
    for (int isa = 0; isa < 3; isa++) {
        const lt_row_kernels *kernels = table(test_isas[isa]);
        for (int64_t n = 1; n <= LT_ROW_SHORT; n++) {
            for (int64_t rows = 1; rows <= 101; rows += n == 2 ? 1 : 7) {
                check_short_rows(kernels, numbers + rows % 2, n, rows);
            }
        }
        numbers[9] = NAN;
        for (int op = LT_ROW_SUM; op <= LT_ROW_MIN; op++) {
            float y[40];
            kernels->short_rows((lt_row_op)op, numbers, 2, y, 40);
            for (int i = 0; i < 40; i++) {
                assert_true(isnan(y[i]) == (i == 4));
            }
        }
        numbers[9] = -2.5f;
    }
}

static void reduce_of_short_rows_ends_like_double_loops(void **state)
{
    static const char *const ops[] = {"ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceMax"};
    static float y[5 * 131];
    (void)state;
    fill();
    for (int op = 0; op < 4; op++) {
        leat_array x = {LEAT_DTYPE_F32, 3, {5, 131, 3}, numbers, 5 * 131 * 3 * sizeof(float)};
        leat_array out = {LEAT_DTYPE_F32, 2, {5, 131}, y, sizeof(y)};
        const int64_t axis = 2;
        leat_attr attrs[] = {test_attr_ints("axes", &axis, 1), test_attr_int("keepdims", 0)};
        test_kernel kernel = {.op = ops[op],
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = &x,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1,
                              .threads = 3};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int i = 0; i < 5 * 131; i++) {
            const float *row = numbers + 3 * i;
            double sum = row_wanted(LT_ROW_SUM, row, 3);
            double want = op == 0   ? sum / 3
                          : op == 1 ? sqrt(row_wanted(LT_ROW_SQUARE, row, 3))
                          : op == 2 ? log(sum)
                                    : row_wanted(LT_ROW_MAX, row, 3);
            assert_true(fabs((double)y[i] - want) <= 0x1p-21 * fabs(want));
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
        cmocka_unit_test(short_rows_match_double_loops),
        cmocka_unit_test(reduce_of_short_rows_ends_like_double_loops),
        cmocka_unit_test(nan_and_infinity_come_out_of_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Binary operators, Where, Clip and Cast against double loops: broadcasting, types, integer edges.
 */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

typedef struct shapes {
    int32_t ra, rb, ry;
    int64_t a[4], b[4], y[4];
} shapes;

static const shapes broadcasts[] = {
    {1, 1, 1, {67}, {67}, {67}},
    {2, 0, 2, {5, 33}, {0}, {5, 33}},
    {0, 2, 2, {0}, {5, 33}, {5, 33}},
    {2, 1, 2, {5, 33}, {33}, {5, 33}},
    {2, 2, 2, {5, 1}, {1, 33}, {5, 33}},
    {3, 3, 3, {2, 1, 7}, {1, 3, 1}, {2, 3, 7}},
    {4, 3, 4, {2, 3, 4, 5}, {3, 1, 1}, {2, 3, 4, 5}},
    {4, 4, 4, {1, 3, 1, 5}, {2, 1, 4, 1}, {2, 3, 4, 5}},
    {3, 3, 3, {0, 3, 2}, {1, 3, 2}, {0, 3, 2}},
    {3, 2, 3, {3, 700, 2}, {700, 1}, {3, 700, 2}}, /* short lines in several tiles */
    {3, 3, 3, {3, 1, 8}, {3, 131, 8}, {3, 131, 8}},
    {4, 4, 4, {2, 1, 90, 15}, {2, 3, 90, 1}, {2, 3, 90, 15}},
    {3, 3, 3, {2, 9, 1}, {2, 1, 3}, {2, 9, 3}},
    {4, 3, 4, {2, 3, 11, 5}, {3, 1, 1}, {2, 3, 11, 5}},
};

/* Index into an operand of element i of the output. */
static size_t operand_index(const leat_array *y, const leat_array *x, size_t i)
{
    size_t index = 0, stride = 1;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
        size_t at = i % (size_t)y->shape[d];
        i /= (size_t)y->shape[d];
        int32_t own = d - (y->rank - x->rank);
        if (own >= 0) {
            index += x->shape[own] == 1 ? 0 : at * stride;
            stride *= (size_t)x->shape[own];
        }
    }
    return index;
}

static double apply(const char *op, double a, double b)
{
    switch (op[0] * 256 + op[1]) {
    case 'A' * 256 + 'd':
        return a + b;
    case 'S' * 256 + 'u':
        return a - b;
    case 'M' * 256 + 'u':
        return a * b;
    case 'D' * 256 + 'i':
        return a / b;
    case 'M' * 256 + 'i':
        return fmin(a, b);
    case 'M' * 256 + 'a':
        return fmax(a, b);
    case 'P' * 256 + 'R':
        return a < 0 ? a * b : a;
    case 'E' * 256 + 'q':
        return a == b;
    case 'L' * 256 + 'e':
        return a < b;
    default:
        return a > b;
    }
}

static void check(const char *op, const shapes *s, leat_dtype dtype, leat_dtype out, lt_cpu_isa isa)
{
    leat_array in[2] = {oracle_array(dtype, s->ra, s->a), oracle_array(dtype, s->rb, s->b)};
    leat_array y = oracle_array(out, s->ry, s->y);
    leat_error err = {0};
    oracle_fill(&in[0], 11);
    oracle_fill(&in[1], 12);
    test_kernel kernel = {.op = op,
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 3};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    size_t n = oracle_count(&y);
    double *want = calloc(n + 1, sizeof(*want));
    for (size_t i = 0; i < n; i++) {
        want[i] = apply(op, oracle_get(&in[0], operand_index(&y, &in[0], i)),
                        oracle_get(&in[1], operand_index(&y, &in[1], i)));
    }
    double rtol = oracle_rtol(out, 1);
    /* Below 2^-14 f16 has steps of 2^-24. */
    oracle_assert_close(&y, want, rtol, out == LEAT_DTYPE_F16 ? 0x1p-25 : 0);
    free(want);
    free(y.data);
    free(in[0].data);
    free(in[1].data);
}

static void floats_broadcast_like_double_loops(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"};
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16};
    (void)state;
    for (size_t b = 0; b < sizeof(broadcasts) / sizeof(broadcasts[0]); b++) {
        for (size_t o = 0; o < 7; o++) {
            for (size_t d = 0; d < 4; d++) {
                for (size_t i = 0; i < 3; i++) {
                    check(ops[o], &broadcasts[b], dtypes[d], dtypes[d], test_isas[i]);
                }
            }
        }
    }
}

static void comparisons_and_integers_are_exact(void **state)
{
    static const char *const compare[] = {"Equal", "Less", "Greater"};
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_I32, LEAT_DTYPE_I64,
                                        LEAT_DTYPE_U8, LEAT_DTYPE_I8};
    (void)state;
    for (size_t b = 0; b < sizeof(broadcasts) / sizeof(broadcasts[0]); b++) {
        for (size_t d = 0; d < 5; d++) {
            for (size_t o = 0; o < 3; o++) {
                check(compare[o], &broadcasts[b], dtypes[d], LEAT_DTYPE_BOOL, LT_CPU_AVX512);
            }
        }
        check("Add", &broadcasts[b], LEAT_DTYPE_I32, LEAT_DTYPE_I32, LT_CPU_AVX512);
        check("Mul", &broadcasts[b], LEAT_DTYPE_I64, LEAT_DTYPE_I64, LT_CPU_AVX512);
        check("Max", &broadcasts[b], LEAT_DTYPE_U8, LEAT_DTYPE_U8, LT_CPU_AVX512);
    }
}

static void integer_division_never_traps(void **state)
{
    int32_t a[] = {7, -7, 5, INT32_MIN, 1}, b[] = {2, 2, 0, -1, -1}, y[5];
    int32_t want[] = {3, -3, 0, INT32_MIN, -1};
    leat_array in[2] = {{LEAT_DTYPE_I32, 1, {5}, a, sizeof(a)},
                        {LEAT_DTYPE_I32, 1, {5}, b, sizeof(b)}};
    leat_array out = {LEAT_DTYPE_I32, 1, {5}, y, sizeof(y)};
    leat_error err = {0};
    test_kernel kernel = {
        .op = "Div", .inputs = in, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
    (void)state;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_memory_equal(y, want, sizeof(want));
    kernel.op = "Mod";
    int32_t remainder[] = {1, 1, 0, 0, 0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_memory_equal(y, remainder, sizeof(remainder));
}

static void where_and_clip_select(void **state)
{
    uint8_t c[] = {1, 0, 1};
    float a[] = {1, 2, 3}, b[] = {-1}, y[3], low[] = {-0.5f}, high[] = {2.5f};
    leat_array in[3] = {{LEAT_DTYPE_BOOL, 1, {3}, c, 3},
                        {LEAT_DTYPE_F32, 1, {3}, a, sizeof(a)},
                        {LEAT_DTYPE_F32, 0, {0}, b, sizeof(b)}};
    leat_array out = {LEAT_DTYPE_F32, 1, {3}, y, sizeof(y)};
    leat_error err = {0};
    test_kernel kernel = {
        .op = "Where", .inputs = in, .n_inputs = 3, .outputs = &out, .n_outputs = 1};
    (void)state;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_true(y[0] == 1 && y[1] == -1 && y[2] == 3);
    float x[] = {NAN, -3, 9};
    leat_array clip[3] = {{LEAT_DTYPE_F32, 1, {3}, x, sizeof(x)},
                          {LEAT_DTYPE_F32, 0, {0}, low, sizeof(low)},
                          {LEAT_DTYPE_F32, 0, {0}, high, sizeof(high)}};
    kernel.op = "Clip";
    kernel.inputs = clip;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_true(isnan(y[0]) && y[1] == -0.5f && y[2] == 2.5f);
}

static void cast_rounds_and_truncates(void **state)
{
    float x[] = {1.9f, -1.9f, 65504.0f, 1e-8f, NAN};
    int32_t whole[5];
    uint16_t halves[5];
    leat_array in = {LEAT_DTYPE_F32, 1, {5}, x, sizeof(x)};
    leat_array out = {LEAT_DTYPE_I32, 1, {5}, whole, sizeof(whole)};
    leat_error err = {0};
    test_kernel kernel = {
        .op = "Cast", .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
    (void)state;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_true(whole[0] == 1 && whole[1] == -1 && whole[2] == 65504 && whole[3] == 0);
    leat_array half = {LEAT_DTYPE_F16, 1, {5}, halves, sizeof(halves)};
    kernel.outputs = &half;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_int_equal(halves[2], 0x7bff);
    assert_int_equal(halves[3], 0);
    assert_true((halves[4] & 0x7fff) > 0x7c00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_broadcast_like_double_loops),
        cmocka_unit_test(comparisons_and_integers_are_exact),
        cmocka_unit_test(integer_division_never_traps),
        cmocka_unit_test(where_and_clip_select),
        cmocka_unit_test(cast_rounds_and_truncates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

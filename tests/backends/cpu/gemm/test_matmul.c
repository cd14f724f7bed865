/* SPDX-License-Identifier: Apache-2.0 */
/* MatMul, Gemm and MatMulInteger against double loops, on all instruction sets, with odd sizes. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

/* Product sizes that leave tails of rows, columns and half panels on every tile. */
static const struct {
    int64_t m, n, k;
} sizes[] = {{1, 1, 1},   {1, 33, 7},  {2, 16, 64},  {3, 31, 5},   {14, 32, 9},  {15, 17, 31},
             {29, 48, 8}, {7, 100, 3}, {64, 70, 33}, {13, 8, 512}, {100, 130, 1}};

/* Gemm as ONNX defines it, in double. c of c_rows x c_columns. */
static void gemm_oracle(const leat_array *a, const leat_array *b, const leat_array *c, bool trans_a,
                        bool trans_b, double alpha, double beta, double *out, int64_t m, int64_t n,
                        int64_t k)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++) {
                sum += oracle_get(a, (size_t)(trans_a ? l * m + i : i * k + l)) *
                       oracle_get(b, (size_t)(trans_b ? j * k + l : l * n + j));
            }
            sum *= alpha;
            if (c != NULL) {
                int64_t columns = c->rank ? c->shape[c->rank - 1] : 1;
                int64_t rows = c->rank > 1 ? c->shape[c->rank - 2] : 1;
                sum +=
                    beta *
                    oracle_get(c, (size_t)((rows == 1 ? 0 : i) * columns + (columns == 1 ? 0 : j)));
            }
            out[i * n + j] = sum;
        }
    }
}

typedef struct gemm_case {
    leat_dtype dtype;
    bool trans_a, trans_b;
    float alpha, beta;
    int c_form; /* 0 none, 1 [n], 2 [m,n], 3 [m,1], 4 scalar, 5 [1,n] */
    uint64_t constants;
} gemm_case;

static void check_gemm(const gemm_case *t, lt_cpu_isa isa, int64_t m, int64_t n, int64_t k)
{
    int64_t shape_a[] = {t->trans_a ? k : m, t->trans_a ? m : k};
    int64_t shape_b[] = {t->trans_b ? n : k, t->trans_b ? k : n};
    int64_t shape_c[5][2] = {{n, 0}, {m, n}, {m, 1}, {0, 0}, {1, n}};
    int32_t rank_c[] = {1, 2, 2, 0, 2};
    leat_array in[3] = {
        oracle_array(t->dtype, 2, shape_a), oracle_array(t->dtype, 2, shape_b), {0}};
    if (t->c_form) {
        in[2] = oracle_array(t->dtype, rank_c[t->c_form - 1], shape_c[t->c_form - 1]);
    }
    for (int i = 0; i < 3; i++) {
        if (in[i].data != NULL) {
            oracle_fill(&in[i], (uint64_t)(m * 31 + n * 7 + k + i));
        }
    }
    int64_t shape_y[] = {m, n};
    leat_array y = oracle_array(t->dtype, 2, shape_y);
    leat_attr attrs[] = {test_attr_int("transA", t->trans_a), test_attr_int("transB", t->trans_b),
                         test_attr_float("alpha", t->alpha), test_attr_float("beta", t->beta)};
    test_kernel kernel = {.op = "Gemm",
                          .attrs = attrs,
                          .n_attrs = 4,
                          .inputs = in,
                          .n_inputs = t->c_form ? 3 : 2,
                          .constants = t->constants,
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 3,
                          .options.plain_algorithms = 1}; /* others: test_strassen.c */
    test_kernel_must_run(&kernel);
    double *expected = calloc((size_t)(m * n), sizeof(*expected));
    gemm_oracle(&in[0], &in[1], t->c_form ? &in[2] : NULL, t->trans_a, t->trans_b, (double)t->alpha,
                (double)t->beta, expected, m, n, k);
    oracle_assert_close(&y, expected, oracle_rtol(t->dtype, (size_t)k + 1),
                        oracle_atol(t->dtype, (size_t)k + 1));
    free(expected);
    oracle_free(&y, 1);
    oracle_free(in, 3);
}

static void gemm_all_forms_match_double_loops(void **state)
{
    static const gemm_case cases[] = {
        {LEAT_DTYPE_F32, false, false, 1, 1, 1, 0x6},   {LEAT_DTYPE_F32, false, true, 1, 1, 1, 0x6},
        {LEAT_DTYPE_F32, true, false, 1, 1, 0, 0},      {LEAT_DTYPE_F32, true, true, 0.5f, 2, 2, 0},
        {LEAT_DTYPE_F32, false, true, 2, 0.5f, 3, 0x2}, {LEAT_DTYPE_F32, false, false, 1, 3, 4, 0},
        {LEAT_DTYPE_F32, false, false, 1, 1, 5, 0x4},   {LEAT_DTYPE_F64, false, true, 2, 1, 1, 0x6},
        {LEAT_DTYPE_F64, true, false, 1, 0.5f, 2, 0},   {LEAT_DTYPE_F16, false, true, 1, 1, 1, 0x6},
        {LEAT_DTYPE_F16, true, false, 1, 1, 2, 0},      {LEAT_DTYPE_BF16, false, false, 1, 1, 1, 0},
    };
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (size_t i = 0; i < 3; i++) {
            for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
                check_gemm(&cases[c], test_isas[i], sizes[s].m, sizes[s].n, sizes[s].k);
            }
        }
    }
}

/* Rows 4 KiB apart take the copy; enough tiles and panels for several tasks. */
static void gemm_colliding_rows_match_double_loops(void **state)
{
    gemm_case plain = {LEAT_DTYPE_F32, false, false, 1, 1, 1, 0x6};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        check_gemm(&plain, test_isas[i], 61, 150, 512);
    }
}

/* Long rows are cut: the later pieces add to C, the epilogue comes once. */
static void gemm_long_rows_match_double_loops(void **state)
{
    gemm_case plain = {LEAT_DTYPE_F32, false, false, 1, 1, 1, 0x6};
    gemm_case rows = {LEAT_DTYPE_F32, false, true, 0.5f, 2, 2, 0};
    gemm_case wide = {LEAT_DTYPE_F64, false, false, 1, 1, 1, 0x6};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        check_gemm(&plain, test_isas[i], 50, 97, 3001);
        check_gemm(&rows, test_isas[i], 33, 70, 4096);
        check_gemm(&wide, test_isas[i], 31, 40, 2500);
    }
}

/* --- MatMul: batches, vectors, broadcasting -----------------------------------------------------
 */

typedef struct matmul_case {
    int32_t rank_a, rank_b, rank_y;
    int64_t a[4], b[4], y[4];
} matmul_case;

/* numpy.matmul by index arithmetic. */
static void matmul_oracle(const matmul_case *t, const leat_array *a, const leat_array *b,
                          double *out, size_t n_out)
{
    int64_t k = t->a[t->rank_a - 1];
    bool va = t->rank_a == 1, vb = t->rank_b == 1;
    int64_t n = vb ? 1 : t->b[t->rank_b - 1], m = va ? 1 : t->a[t->rank_a - 2];
    int32_t ba = va ? 0 : t->rank_a - 2, bb = vb ? 0 : t->rank_b - 2;
    for (size_t i = 0; i < n_out; i++) {
        int64_t at = (int64_t)i, col = at % n, row = at / n % m, rest = at / (n * m);
        int64_t off_a = 0, off_b = 0, stride_a = m * k, stride_b = k * n;
        for (int32_t d = 1; d <= (ba > bb ? ba : bb); d++) {
            int64_t da = d <= ba ? t->a[ba - d] : 1, db = d <= bb ? t->b[bb - d] : 1;
            int64_t dim = da > db ? da : db, pos = rest % dim;
            rest /= dim;
            off_a += da == 1 ? 0 : pos * stride_a;
            off_b += db == 1 ? 0 : pos * stride_b;
            stride_a *= da;
            stride_b *= db;
        }
        double sum = 0;
        for (int64_t l = 0; l < k; l++) {
            sum += oracle_get(a, (size_t)(off_a + row * k + l)) *
                   oracle_get(b, (size_t)(off_b + l * n + col));
        }
        out[i] = sum;
    }
}

static const matmul_case matmuls[] = {
    {1, 1, 0, {5}, {5}, {0}},
    {2, 1, 1, {3, 5}, {5}, {3}},
    {1, 2, 1, {5}, {5, 7}, {7}},
    {3, 2, 3, {4, 3, 5}, {5, 40}, {4, 3, 40}},
    {3, 3, 3, {4, 15, 6}, {4, 6, 33}, {4, 15, 33}},
    {4, 4, 4, {2, 1, 9, 6}, {1, 3, 6, 17}, {2, 3, 9, 17}},
    {2, 3, 3, {9, 6}, {3, 6, 17}, {3, 9, 17}},
    {4, 3, 4, {2, 3, 4, 6}, {3, 6, 2}, {2, 3, 4, 2}},
};

static void check_matmul(const matmul_case *t, leat_dtype dtype, lt_cpu_isa isa, uint64_t constants)
{
    leat_array in[2] = {oracle_array(dtype, t->rank_a, t->a), oracle_array(dtype, t->rank_b, t->b)};
    leat_array y = oracle_array(dtype, t->rank_y, t->y);
    oracle_fill(&in[0], 1);
    oracle_fill(&in[1], 2);
    test_kernel kernel = {.op = "MatMul",
                          .inputs = in,
                          .n_inputs = 2,
                          .constants = constants,
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    test_kernel_must_run(&kernel);
    size_t n = oracle_count(&y);
    double *expected = calloc(n, sizeof(*expected));
    matmul_oracle(t, &in[0], &in[1], expected, n);
    double rtol = oracle_rtol(dtype, (size_t)t->a[t->rank_a - 1]);
    oracle_assert_close(&y, expected, rtol, rtol);
    free(expected);
    oracle_free(&y, 1);
    oracle_free(in, 2);
}

static void matmul_batches_and_vectors_match_double_loops(void **state)
{
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16};
    (void)state;
    for (size_t c = 0; c < sizeof(matmuls) / sizeof(matmuls[0]); c++) {
        for (size_t i = 0; i < 3; i++) {
            for (size_t d = 0; d < 3; d++) {
                check_matmul(&matmuls[c], dtypes[d], test_isas[i], 0);
                check_matmul(&matmuls[c], dtypes[d], test_isas[i], 2);
            }
        }
    }
}

static void matmul_integers_are_exact(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof(matmuls) / sizeof(matmuls[0]); c++) {
        check_matmul(&matmuls[c], LEAT_DTYPE_I32, LT_CPU_AVX512, 0);
        check_matmul(&matmuls[c], LEAT_DTYPE_I64, LT_CPU_PORTABLE, 0);
    }
}

static void matmul_with_bias_residual_and_relu_matches(void **state)
{
    int64_t shape_a[] = {2, 15, 20}, shape_b[] = {20, 50}, shape_y[] = {2, 15, 50}, n = 50;
    leat_attr attrs[] = {test_attr_int("residual", 1), test_attr_string("activation", "Relu")};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        leat_array in[4] = {
            oracle_array(LEAT_DTYPE_F32, 3, shape_a), oracle_array(LEAT_DTYPE_F32, 2, shape_b),
            oracle_array(LEAT_DTYPE_F32, 1, &n), oracle_array(LEAT_DTYPE_F32, 3, shape_y)};
        leat_array y = oracle_array(LEAT_DTYPE_F32, 3, shape_y);
        for (int j = 0; j < 4; j++) {
            oracle_fill(&in[j], (uint64_t)j + 5);
        }
        test_kernel kernel = {.op = "MatMul",
                              .domain = "leat",
                              .opset = 1,
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = in,
                              .n_inputs = 4,
                              .constants = 0x6,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[i]};
        test_kernel_must_run(&kernel);
        double expected[2 * 15 * 50];
        matmul_case t = {3, 2, 3, {2, 15, 20}, {20, 50}, {2, 15, 50}};
        matmul_oracle(&t, &in[0], &in[1], expected, 1500);
        for (size_t j = 0; j < 1500; j++) {
            expected[j] += oracle_get(&in[2], j % 50) + oracle_get(&in[3], j);
            expected[j] = expected[j] > 0 ? expected[j] : 0;
        }
        double rtol = oracle_rtol(LEAT_DTYPE_F32, 22);
        oracle_assert_close(&y, expected, rtol, rtol);
        oracle_free(&y, 1);
        oracle_free(in, 4);
    }
}

/* --- one row ------------------------------------------------------------------------------------
 */

/* 0 none; a residual; Relu behind it; Gelu behind it, which no clamp is. */
enum {
    ROW_PLAIN,
    ROW_RESIDUAL,
    ROW_RELU,
    ROW_GELU,
    ROW_FORMS
};

static void check_row(leat_dtype dtype, lt_cpu_isa isa, int64_t n, int64_t k, int form, bool bias)
{
    int64_t shape_a[] = {1, k}, shape_b[] = {k, n}, shape_y[] = {1, n};
    leat_array in[4] = {oracle_array(dtype, 2, shape_a), oracle_array(dtype, 2, shape_b),
                        bias ? oracle_array(dtype, 1, &n) : (leat_array){0},
                        form != ROW_PLAIN ? oracle_array(dtype, 2, shape_y) : (leat_array){0}};
    leat_array y = oracle_array(dtype, 2, shape_y);
    for (int j = 0; j < 4; j++) {
        if (in[j].data != NULL) {
            oracle_fill(&in[j], (uint64_t)(n * 3 + k + j));
        }
    }
    leat_attr attrs[] = {test_attr_int("residual", form != ROW_PLAIN),
                         test_attr_string("activation", form == ROW_GELU ? "Gelu" : "Relu")};
    test_kernel kernel = {.op = "Gemm",
                          .domain = "leat",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = form >= ROW_RELU ? 2 : 1,
                          .inputs = in,
                          .n_inputs = form != ROW_PLAIN ? 4
                                      : bias            ? 3
                                                        : 2,
                          .constants = 0x6,
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    test_kernel_must_run(&kernel);
    double *expected = calloc((size_t)n, sizeof(*expected));
    gemm_oracle(&in[0], &in[1], bias ? &in[2] : NULL, false, false, 1, 1, expected, 1, n, k);
    for (int64_t j = 0; j < n; j++) {
        double v = expected[j] + (form != ROW_PLAIN ? oracle_get(&in[3], (size_t)j) : 0);
        expected[j] = form == ROW_RELU   ? fmax(v, 0)
                      : form == ROW_GELU ? v * 0.5 * (1 + erf(v * sqrt(0.5)))
                                         : v;
    }
    oracle_assert_close(&y, expected, oracle_rtol(dtype, (size_t)k + 2),
                        oracle_atol(dtype, (size_t)k + 2));
    free(expected);
    oracle_free(&y, 1);
    oracle_free(in, 4);
}

/* Whole and half panels, with and without a last one; k around the steps that go together; sizes
 * that threads share and sizes that they do not. */
static void one_row_matches_double_loops(void **state)
{
    static const int64_t ns[] = {1, 15, 16, 17, 31, 32, 33, 64, 95, 100, 256, 700},
                         ks[] = {1, 3, 15, 16, 17, 64, 77, 256};
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16};
    (void)state;
    for (size_t c = 0; c < 3 * 4 * ROW_FORMS * 2; c++) {
        const leat_dtype dtype = dtypes[c / 3 % 4];
        const int form = (int)(c / 12 % ROW_FORMS);
        if (form == ROW_GELU && dtype == LEAT_DTYPE_F64) {
            continue; /* passes make none */
        }
        for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]) * sizeof(ks) / sizeof(ks[0]); i++) {
            check_row(dtype, test_isas[c % 3], ns[i % 12], ks[i / 12], form, c / 48 != 0);
        }
    }
}

/* --- MatMulInteger ------------------------------------------------------------------------------
 */

static void check_matmul_integer(leat_dtype ta, leat_dtype tb, int64_t a_zeros, int64_t b_zeros)
{
    int64_t m = 5, n = 600, k = 9;
    int64_t shape_a[] = {m, k}, shape_b[] = {k, n}, shape_y[] = {m, n};
    leat_array in[4] = {oracle_array(ta, 2, shape_a), oracle_array(tb, 2, shape_b),
                        oracle_array(ta, a_zeros > 1, &a_zeros),
                        oracle_array(tb, b_zeros > 1, &b_zeros)};
    leat_array y = oracle_array(LEAT_DTYPE_I32, 2, shape_y);
    for (int i = 0; i < 4; i++) {
        oracle_fill(&in[i], (uint64_t)i + 40);
    }
    test_kernel kernel = {.op = "MatMulInteger",
                          .inputs = in,
                          .n_inputs = 4,
                          .outputs = &y,
                          .n_outputs = 1,
                          .threads = 2};
    test_kernel_must_run(&kernel);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            double za = oracle_get(&in[2], a_zeros > 1 ? (size_t)i : 0);
            double zb = oracle_get(&in[3], b_zeros > 1 ? (size_t)j : 0);
            for (int64_t l = 0; l < k; l++) {
                sum += (oracle_get(&in[0], (size_t)(i * k + l)) - za) *
                       (oracle_get(&in[1], (size_t)(l * n + j)) - zb);
            }
            assert_true(oracle_get(&y, (size_t)(i * n + j)) == sum);
        }
    }
    oracle_free(&y, 1);
    oracle_free(in, 4);
}

static void matmul_integer_zero_points_are_exact(void **state)
{
    (void)state;
    check_matmul_integer(LEAT_DTYPE_U8, LEAT_DTYPE_U8, 1, 1);
    check_matmul_integer(LEAT_DTYPE_U8, LEAT_DTYPE_I8, 5, 600);
    check_matmul_integer(LEAT_DTYPE_I8, LEAT_DTYPE_I8, 1, 600);
    check_matmul_integer(LEAT_DTYPE_I8, LEAT_DTYPE_U8, 5, 1);
}

static void gemm_nan_and_infinity_pass_through(void **state)
{
    int64_t shape_a[] = {2, 2}, shape_b[] = {2, 3}, shape_y[] = {2, 3};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        leat_array in[2] = {oracle_array(LEAT_DTYPE_F32, 2, shape_a),
                            oracle_array(LEAT_DTYPE_F32, 2, shape_b)};
        leat_array y = oracle_array(LEAT_DTYPE_F32, 2, shape_y);
        const float a[] = {NAN, 1, 1, INFINITY}, b[] = {1, 2, 3, 4, 5, 6};
        memcpy(in[0].data, a, sizeof(a));
        memcpy(in[1].data, b, sizeof(b));
        leat_attr attr = test_attr_string("activation", "Relu");
        test_kernel kernel = {.op = "Gemm",
                              .domain = "leat",
                              .opset = 1,
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = in,
                              .n_inputs = 2,
                              .constants = 2,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[i]};
        test_kernel_must_run(&kernel);
        for (size_t j = 0; j < 3; j++) {
            assert_true(isnan(oracle_get(&y, j)));
            assert_true(isinf(oracle_get(&y, 3 + j)));
        }
        oracle_free(&y, 1);
        oracle_free(in, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_all_forms_match_double_loops),
        cmocka_unit_test(gemm_colliding_rows_match_double_loops),
        cmocka_unit_test(gemm_long_rows_match_double_loops),
        cmocka_unit_test(gemm_nan_and_infinity_pass_through),
        cmocka_unit_test(matmul_batches_and_vectors_match_double_loops),
        cmocka_unit_test(matmul_integers_are_exact),
        cmocka_unit_test(matmul_with_bias_residual_and_relu_matches),
        cmocka_unit_test(one_row_matches_double_loops),
        cmocka_unit_test(matmul_integer_zero_points_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Strassen's product against double loops on all instruction sets: sizes with odd rows, tails of
 * columns, lines and chunks; epilogues; the stated error; what is not finite. */
#include "support/test.h"

#include "gemm/strassen.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

typedef enum form {
    FORM_PLAIN,
    FORM_RELU,         /* bias and Relu */
    FORM_GELU,         /* bias and Gelu */
    FORM_RESIDUAL,     /* bias and residual */
    FORM_RESIDUAL_ONLY /* without a bias */
} form;

typedef struct problem {
    int64_t m, n, k;
    form form;
    leat_array in[4]; /* A, B, bias, residual */
    uint32_t n_inputs;
    leat_array y;
    double *exact; /* the product alone */
} problem;

static leat_array new_array(int32_t rank, int64_t rows, int64_t columns)
{
    leat_array a = {.dtype = LEAT_DTYPE_F32, .rank = rank};
    a.shape[0] = rank == 1 ? columns : rows;
    a.shape[1] = columns;
    a.bytes = (size_t)(rank == 1 ? columns : rows * columns) * sizeof(float);
    a.data = calloc(1, a.bytes);
    return a;
}

static problem make_problem(int64_t m, int64_t n, int64_t k, form form)
{
    problem p = {.m = m, .n = n, .k = k, .form = form};
    bool residual = form == FORM_RESIDUAL || form == FORM_RESIDUAL_ONLY;
    p.in[p.n_inputs++] = new_array(2, m, k);
    p.in[p.n_inputs++] = new_array(2, k, n);
    if (form != FORM_PLAIN && form != FORM_RESIDUAL_ONLY) {
        p.in[p.n_inputs++] = new_array(1, 1, n);
    }
    if (residual) {
        p.in[p.n_inputs++] = new_array(2, m, n);
    }
    for (uint32_t i = 0; i < p.n_inputs; i++) {
        oracle_fill(&p.in[i], (uint64_t)(m * 31 + n * 7 + k + i));
    }
    p.y = new_array(2, m, n);
    p.exact = calloc((size_t)(m * n), sizeof(*p.exact));
    return p;
}

static void free_problem(problem *p)
{
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        free(p->in[i].data);
    }
    free(p->y.data);
    free(p->exact);
}

static void multiply(problem *p)
{
    const float *a = p->in[0].data, *b = p->in[1].data;
    for (int64_t i = 0; i < p->m; i++) {
        double *row = p->exact + i * p->n;
        memset(row, 0, (size_t)p->n * sizeof(*row));
        for (int64_t l = 0; l < p->k; l++) {
            for (int64_t j = 0; j < p->n; j++) {
                row[j] += (double)a[i * p->k + l] * (double)b[l * p->n + j];
            }
        }
    }
}

static const char *run(problem *p, const char *way, lt_cpu_isa isa, int32_t threads)
{
    const char *activation = p->form == FORM_RELU ? "Relu" : p->form == FORM_GELU ? "Gelu" : NULL;
    bool residual = p->form == FORM_RESIDUAL || p->form == FORM_RESIDUAL_ONLY;
    leat_attr attrs[2];
    uint32_t n_attrs = 0;
    if (activation != NULL) {
        attrs[n_attrs++] = test_attr_string("activation", activation);
    }
    if (residual) {
        attrs[n_attrs++] = test_attr_int("residual", 1);
    }
    test_kernel kernel = {.op = "MatMul",
                          .domain = "leat",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = p->in,
                          .n_inputs = p->n_inputs,
                          .constants = p->form == FORM_RESIDUAL_ONLY ? 0x2 : 0x6,
                          .outputs = &p->y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = threads,
                          .way = way};
    const char *name = "";
    leat_error err = {0};
    memset(p->y.data, 0xff, p->y.bytes);
    assert_ok(test_kernel_run(&kernel, &name, &err), &err);
    return name;
}

static double epilogue(const problem *p, int64_t i, int64_t j)
{
    double v = p->exact[i * p->n + j];
    if (p->form != FORM_PLAIN && p->form != FORM_RESIDUAL_ONLY) {
        v += oracle_get(&p->in[2], (size_t)j);
    }
    if (p->form == FORM_RESIDUAL || p->form == FORM_RESIDUAL_ONLY) {
        v += oracle_get(&p->in[p->n_inputs - 1], (size_t)(i * p->n + j));
    }
    return p->form == FORM_RELU   ? fmax(v, 0)
           : p->form == FORM_GELU ? v * (1 + erf(v / sqrt(2))) / 2
                                  : v;
}

/* The largest |error| / scale[row], NaN counting as infinity; *out_rms: its root mean square. */
static double largest_error(const problem *p, const double *scale, double *out_rms)
{
    double most = 0, squares = 0;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double e = fabs(oracle_get(&p->y, (size_t)(i * p->n + j)) - epilogue(p, i, j));
            e = isnan(e) ? INFINITY : e / (scale ? scale[i] : 1);
            most = e > most ? e : most;
            squares += e * e;
        }
    }
    *out_rms = sqrt(squares / (double)(p->m * p->n));
    return most;
}

/* Factors are random in [-1, 1), so that partial sums are below 2 sqrt(k) and their roundings add
 * up like a random walk: the largest seen is k + 36 units. A wrong term is of the order of 1. */
static void check(int64_t m, int64_t n, int64_t k, form form)
{
    problem p = make_problem(m, n, k, form);
    multiply(&p);
    for (size_t i = 0; i < 3; i++) {
        for (int32_t threads = 1; threads <= 3; threads++) {
            double rms;
            assert_int_equal(strncmp(run(&p, "strassen", test_isas[i], threads), "strassen", 8), 0);
            double most = largest_error(&p, NULL, &rms);
            if (most > (double)(2 * k + 32) * 0x1p-24) {
                fail_msg("%lldx%lldx%lld, isa %zu, %d threads: error %g", (long long)m,
                         (long long)n, (long long)k, i, threads, most);
            }
        }
    }
    free_problem(&p);
}

static void strassen_any_size_matches_double_loops(void **state)
{
    const int64_t sizes[][3] = {
        {19, 64, 2},     {20, 70, 34},   {55, 96, 250},   {56, 130, 48},
        {57, 200, 66},   {56, 64, 1030}, {131, 128, 16},  {300, 72, 18},
        {141, 64, 2102}, {64, 320, 98},  {90, 650, 1042}, /* shares of several parts, in several
                                                             stages */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        check(sizes[i][0], sizes[i][1], sizes[i][2], (form)(i % 5));
        check(sizes[i][0], sizes[i][1], sizes[i][2], (form)((i + 2) % 5));
    }
}

/* The bound of strassen.h, and how far below it the error lies for numbers of one sign, whose
 * partial sums are largest, with rows of very different size. */
static void strassen_error_is_within_the_bound(void **state)
{
    (void)state;
    for (int64_t k = 64; k <= 1024; k *= 4) {
        problem p = make_problem(64, 64, k, FORM_PLAIN);
        double scale[64];
        float *a = p.in[0].data, *b = p.in[1].data;
        for (int64_t i = 0; i < 64 * k; i++) {
            a[i] = (1.5f + a[i] / 2) * (i / k % 5 == 0 ? 1000.0f : 1.0f);
            b[i] = 1.5f + b[i] / 2;
        }
        for (int64_t i = 0; i < 64; i++) { /* the pair's larger row */
            bool large = i % 5 == 0 || (i + 32) % 64 % 5 == 0;
            scale[i] = (large ? 1000 : 1) * 2.0 * 2.0 * (double)k * 0x1p-24;
        }
        multiply(&p);
        for (size_t i = 0; i < 3; i++) {
            double rms, plain;
            run(&p, "gemm", test_isas[i], 1);
            double least = largest_error(&p, scale, &plain);
            run(&p, "strassen", test_isas[i], 1);
            double most = largest_error(&p, scale, &rms);
            print_message("k %lld, isa %zu: %.3f k, the plain sum %.3f k, of at most 3 and 1\n",
                          (long long)k, i, most / (double)k, least / (double)k);
            assert_true(most <= (double)(3 * k + 30));
        }
        free_problem(&p);
    }
}

static void strassen_rms_error_is_near_the_plain_products(void **state)
{
    (void)state;
    for (int64_t k = 128; k <= 3072; k = k * 5 / 2 / 2 * 2) {
        problem p = make_problem(128, 64, k, FORM_PLAIN);
        multiply(&p);
        for (size_t i = 0; i < 3; i++) {
            double plain, rms;
            run(&p, "gemm", test_isas[i], 1);
            largest_error(&p, NULL, &plain);
            run(&p, "strassen", test_isas[i], 1);
            largest_error(&p, NULL, &rms);
            print_message("k %lld, isa %zu: %.2f times the plain product's, %.2g\n", (long long)k,
                          i, rms / plain, plain);
            assert_true(rms <= LT_STRASSEN_RMS * plain);
        }
        free_problem(&p);
    }
}

static bool by_strassen(int64_t m, int64_t n, int64_t k, uint64_t constants, int32_t plain)
{
    problem p = make_problem(m, n, k, FORM_PLAIN);
    test_kernel kernel = {.op = "MatMul",
                          .inputs = p.in,
                          .n_inputs = 2,
                          .constants = constants,
                          .outputs = &p.y,
                          .n_outputs = 1,
                          .isa = LT_CPU_AVX512,
                          .options.plain_algorithms = plain};
    const char *name = "";
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, &name, &err), &err);
    free_problem(&p);
    return strncmp(name, "strassen", 8) == 0;
}

static void large_products_are_by_strassen_unless_plain(void **state)
{
    (void)state;
    assert_true(by_strassen(128, 768, 768, 2, 0));
    assert_false(by_strassen(128, 768, 768, 2, 1));
    assert_false(by_strassen(128, 768, 768, 0, 0)); /* B is packed at every run */
    assert_false(by_strassen(128, 768, 767, 2, 0));
    assert_false(by_strassen(128, 768, 64, 2, 0)); /* 12 updates of C for little arithmetic */
    assert_false(by_strassen(14, 768, 768, 2, 0));
    assert_false(by_strassen(0, 768, 768, 2, 0));
    assert_false(by_strassen(128, 0, 768, 2, 0));
    assert_false(by_strassen(128, 768, 0, 2, 0));
}

/* One row that is not finite, or so large that a sum of two is not, changes no other. */
static void strassen_leaves_other_rows_finite(void **state)
{
    const float values[] = {NAN, INFINITY, -INFINITY, 3e38f};
    problem p = make_problem(64, 70, 66, FORM_RELU);
    float *a = p.in[0].data, kept = a[40 * 66 + 65], other = a[40 * 66 + 32];
    (void)state;
    multiply(&p);
    for (size_t v = 0; v < 4; v++) {
        a[40 * 66 + 65] = values[v];
        a[40 * 66 + 32] = v == 3 ? values[v] : other;
        for (size_t i = 0; i < 3; i++) {
            run(&p, "strassen", test_isas[i], 2);
            for (int64_t r = 0; r < 64; r++) {
                for (int64_t c = 0; c < 70 && r != 40; c++) {
                    double got = oracle_get(&p.y, (size_t)(r * 70 + c));
                    assert_true(fabs(got - epilogue(&p, r, c)) < 1e-5);
                }
            }
            const float *row = (const float *)p.y.data + 40 * 70;
            for (int64_t c = 0; c < 70 && v == 0; c++) {
                assert_true(isnan(row[c]));
            }
        }
        a[40 * 66 + 65] = kept;
        a[40 * 66 + 32] = other;
    }
    free_problem(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strassen_any_size_matches_double_loops),
        cmocka_unit_test(strassen_error_is_within_the_bound),
        cmocka_unit_test(strassen_rms_error_is_near_the_plain_products),
        cmocka_unit_test(large_products_are_by_strassen_unless_plain),
        cmocka_unit_test(strassen_leaves_other_rows_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Products of f16 and bf16 with f32 sums: every kernel of mixed.h by itself, then Gemm, MatMul and
 * Conv with the types that passes give them, against double loops. Factors are numbers that the
 * narrow type holds exactly, so that a kernel may round them or not and only sums and results
 * differ. */
#include "support/test.h"

#include "gemm/mixed.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

/* An array of `dtype` whose numbers `narrow` holds exactly. */
static leat_array rounded(leat_dtype dtype, leat_dtype narrow, int32_t rank, const int64_t *shape,
                          uint64_t seed)
{
    leat_array a = oracle_array(dtype, rank, shape);
    leat_array exact = oracle_filled(narrow, rank, shape, seed);
    for (size_t i = 0; i < oracle_count(&a); i++) { /* what both types hold */
        oracle_set(&a, i, oracle_get(&exact, i));
        oracle_set(&exact, i, oracle_get(&a, i));
        oracle_set(&a, i, oracle_get(&exact, i));
    }
    oracle_free(&exact, 1);
    return a;
}

static double activated(double x, lt_cpu_activation_kind kind)
{
    return kind == LT_CPU_ACTIVATION_RELU   ? (x > 0 ? x : 0)
           : kind == LT_CPU_ACTIVATION_GELU ? x * 0.5 * (1 + erf(x * sqrt(0.5)))
                                            : x;
}

/* --- every kernel -------------------------------------------------------------------------------
 */

typedef struct table {
    const lt_gemm_kernels *kernels;
    leat_dtype compute;
    lt_cpu_isa isa;
    bool native; /* needs dot products of bf16 */
} table;

static const table tables[] = {
    {&lt_cpu_gemm_f32bf16_4x8_portable, LEAT_DTYPE_BF16, LT_CPU_PORTABLE, false},
    {&lt_cpu_gemm_f32f16_4x8_portable, LEAT_DTYPE_F16, LT_CPU_PORTABLE, false},
#if defined(__x86_64__)
    {&lt_cpu_gemm_f32bf16_6x16_avx2, LEAT_DTYPE_BF16, LT_CPU_AVX2, false},
    {&lt_cpu_gemm_f32f16_6x16_avx2, LEAT_DTYPE_F16, LT_CPU_AVX2, false},
    {&lt_cpu_gemm_f32bf16_14x32_avx512, LEAT_DTYPE_BF16, LT_CPU_AVX512, false},
    {&lt_cpu_gemm_f32f16_14x32_avx512, LEAT_DTYPE_F16, LT_CPU_AVX512, false},
    {&lt_cpu_gemm_bf16_14x32_avx512bf16, LEAT_DTYPE_BF16, LT_CPU_AVX512, true},
    {&lt_cpu_gemm_bf16_14x32_avx512bf16_to_f32, LEAT_DTYPE_BF16, LT_CPU_AVX512, true},
#endif
};

typedef struct product {
    int64_t m, n, k;
    leat_dtype a, b, c, residual; /* residual UNDEFINED: none */
    lt_cpu_activation_kind activation;
} product;

static void check_table(const table *t, const product *p, const lt_half_kernels *half)
{
    const int64_t shape_a[] = {p->m, p->k}, shape_b[] = {p->k, p->n}, shape_c[] = {p->m, p->n};
    leat_array a = rounded(p->a, t->compute, 2, shape_a, 1);
    leat_array b = rounded(p->b, t->compute, 2, shape_b, 2);
    leat_array c = rounded(p->c, t->compute, 2, shape_c, 3);
    bool adds = p->residual != LEAT_DTYPE_UNDEFINED;
    leat_array r = rounded(adds ? p->residual : LEAT_DTYPE_F32, t->compute, 2, shape_c, 4);
    float *bias = calloc((size_t)p->n + 64, sizeof(*bias));
    for (int64_t i = 0; i < p->n; i++) {
        bias[i] = (float)i / 16 - 1;
    }
    const lt_gemm_source source = {.data = b.data,
                                   .dtype = p->b,
                                   .k = (size_t)p->k,
                                   .n = (size_t)p->n,
                                   .row_stride = (size_t)p->n,
                                   .column_stride = 1,
                                   .scale = 0.5f};
    size_t packed_bytes = lt_gemm_packed_bytes(t->kernels, 1, (size_t)p->k, (size_t)p->n);
    void *packed = aligned_alloc(64, (packed_bytes + 63) & ~(size_t)63);
    memset(packed, 0xff, packed_bytes);
    lt_gemm_pack(t->kernels, &source, packed, 0, lt_gemm_panels(t->kernels, (size_t)p->n));
    const lt_gemm_mixed types = {p->c, r.dtype};
    const lt_gemm_mixed_copy copy = {half, p->a, t->kernels->dtype};
    const lt_gemm_job job = {.kernels = t->kernels,
                             .m = (size_t)p->m,
                             .n = (size_t)p->n,
                             .k = (size_t)p->k,
                             .taps = 1,
                             .a = a.data,
                             .lda = (size_t)p->k,
                             .copy = p->a != t->kernels->dtype ? lt_gemm_mixed_copy_row : NULL,
                             .copy_argument = &copy,
                             .copy_bytes = (uint32_t)lt_cpu_element_bytes(p->a),
                             .b = packed,
                             .bias = bias,
                             .c = c.data,
                             .ldc = (size_t)p->n,
                             .residual = adds ? r.data : NULL,
                             .ldr = (size_t)p->n,
                             .activation = {.kind = p->activation},
                             .epilogue = &types};
    size_t workspace_bytes = (lt_gemm_workspace(&job, 1) + 63) & ~(size_t)63;
    void *workspace = aligned_alloc(64, workspace_bytes);
    memset(workspace, 0xff, workspace_bytes);
    lt_gemm_run_serial(&job, workspace, 0);
    double *expected = calloc((size_t)(p->m * p->n), sizeof(*expected));
    double *exact_a = oracle_doubles(&a), *exact_b = oracle_doubles(&b);
    for (int64_t i = 0; i < p->m * p->n; i++) {
        double sum = (double)bias[i % p->n] + (adds ? oracle_get(&r, (size_t)i) : 0);
        for (int64_t l = 0; l < p->k; l++) {
            sum += exact_a[i / p->n * p->k + l] * 0.5 * exact_b[l * p->n + i % p->n];
        }
        expected[i] = activated(sum, p->activation);
    }
    size_t length = (size_t)p->k + 2;
    oracle_assert_close(&c, expected, oracle_rtol(p->c, length), oracle_atol(p->c, length));
    free(expected);
    free(exact_a);
    free(exact_b);
    free(workspace);
    free(packed);
    free(bias);
    free(a.data);
    free(b.data);
    free(c.data);
    free(r.data);
}

static void kernels_match_double_loops(void **state)
{
    static const int64_t sizes[][3] = {{1, 33, 7},   {2, 16, 64},  {3, 31, 5},
                                       {14, 32, 9},  {15, 17, 31}, {28, 64, 8},
                                       {13, 100, 1}, {5, 8, 77},   {40, 40, 8200}};
    static const leat_dtype floats[] = {LEAT_DTYPE_F32, LEAT_DTYPE_BF16, LEAT_DTYPE_F16};
    static const lt_cpu_activation_kind kinds[] = {LT_CPU_ACTIVATION_NONE, LT_CPU_ACTIVATION_RELU,
                                                   LT_CPU_ACTIVATION_GELU};
    lt_cpu_device device;
    (void)state;
    lt_cpu_device_detect(&device, LT_CPU_AVX512);
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        if (tables[t].isa > device.isa || (tables[t].native && !device.avx512_bf16)) {
            print_message("%s: not on this machine\n", tables[t].kernels->name);
            continue;
        }
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            for (size_t i = 0; i < 27; i++) {
                if (tables[t].kernels->accumulates && i / 3 % 3 != 0) {
                    continue; /* for C of f32 only */
                }
                const product p = {sizes[s][0],
                                   sizes[s][1],
                                   sizes[s][2],
                                   floats[i % 3],
                                   floats[(i + s) % 3],
                                   floats[i / 3 % 3],
                                   i % 4 == 3 ? LEAT_DTYPE_UNDEFINED : floats[(i + i / 9) % 3],
                                   kinds[i / 9]};
                check_table(&tables[t], &p, lt_half_for(&device));
            }
        }
    }
}

/* Only the pairs of odd k have a partner that is not there: what lies behind a row must not count,
 * even when zero times it is NaN. */
static void odd_k_reads_nothing_behind_the_row(void **state)
{
    const int64_t shape_a[] = {16, 5}, shape_b[] = {5, 32}, shape_y[] = {16, 32};
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        leat_array in[] = {rounded(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, 2, shape_a, 1),
                           rounded(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, 2, shape_b, 2)};
        leat_array y = rounded(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, 2, shape_y, 3);
        for (size_t row = 1; row < 16; row += 2) {
            ((uint16_t *)in[0].data)[row * 5] = 0x7f80; /* infinity */
        }
        test_kernel kernel = {.op = "MatMul",
                              .inputs = in,
                              .n_inputs = 2,
                              .constants = 2,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[s]};
        test_kernel_must_run(&kernel);
        for (size_t i = 0; i < 16 * 32; i++) {
            assert_int_equal(isfinite(oracle_get(&y, i)) != 0, i / 32 % 2 == 0);
        }
        oracle_free(in, 2);
        oracle_free(&y, 1);
    }
}

static void nan_and_infinity_pass(void **state)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, 1};
    const int64_t shape_a[] = {4, 2}, shape_b[] = {2, 32}, shape_y[] = {4, 32};
    const leat_attr attrs[] = {test_attr_int("compute", LEAT_DTYPE_BF16),
                               test_attr_string("activation", "Relu")};
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        leat_array in[] = {rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape_a, 1),
                           rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape_b, 2)};
        leat_array y = rounded(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, 2, shape_y, 3);
        for (size_t i = 0; i < 64; i++) {
            oracle_set(&in[1], i, 1);
        }
        for (size_t i = 0; i < 4; i++) {
            oracle_set(&in[0], 2 * i, (double)values[i]);
        }
        test_kernel kernel = {.op = "MatMul",
                              .domain = "leat",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = in,
                              .n_inputs = 2,
                              .constants = 2,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[s]};
        test_kernel_must_run(&kernel);
        assert_true(isnan(oracle_get(&y, 0)));
        assert_true(oracle_get(&y, 32) == INFINITY);
        assert_true(oracle_get(&y, 64) == 0);
        assert_true(isfinite(oracle_get(&y, 96)));
        oracle_free(in, 2);
        oracle_free(&y, 1);
    }
}

/* --- nodes --------------------------------------------------------------------------------------
 */

/* leat.Gemm: A [m,k] or transposed, B constant or not, bias, residual, of types that differ. */
static void check_gemm(leat_dtype compute, const leat_dtype types[5], bool transposed,
                       uint64_t constants, lt_cpu_isa isa)
{
    const int64_t m = 37, n = 70, k = 45;
    const int64_t shape_a[] = {transposed ? k : m, transposed ? m : k}, shape_b[] = {n, k},
                  shape_y[] = {m, n};
    leat_array in[] = {
        rounded(types[0], compute, 2, shape_a, 1), rounded(types[1], compute, 2, shape_b, 2),
        rounded(types[2], compute, 1, &n, 3), rounded(types[3], compute, 2, shape_y, 4)};
    leat_array y = rounded(types[4], compute, 2, shape_y, 5);
    const leat_attr attrs[] = {test_attr_int("compute", compute), test_attr_int("residual", 1),
                               test_attr_int("storage", types[4]), test_attr_int("transB", 1),
                               test_attr_int("transA", transposed)};
    test_kernel kernel = {.op = "Gemm",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = 5,
                          .inputs = in,
                          .n_inputs = 4,
                          .constants = constants,
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 3};
    test_kernel_must_run(&kernel);
    double *expected = calloc((size_t)(m * n), sizeof(*expected));
    for (int64_t i = 0; i < m * n; i++) {
        double sum = oracle_get(&in[2], (size_t)(i % n)) + oracle_get(&in[3], (size_t)i);
        for (int64_t l = 0; l < k; l++) {
            sum += oracle_get(&in[0], (size_t)(transposed ? l * m + i / n : i / n * k + l)) *
                   oracle_get(&in[1], (size_t)(i % n * k + l));
        }
        expected[i] = sum;
    }
    double rtol = oracle_rtol(types[4], (size_t)k + 2);
    oracle_assert_close(&y, expected, rtol, rtol);
    free(expected);
    oracle_free(&y, 1);
    oracle_free(in, 4);
}

static void gemm_of_any_types_matches_double_loops(void **state)
{
    static const leat_dtype types[][5] = {
        {LEAT_DTYPE_F32, LEAT_DTYPE_F32, LEAT_DTYPE_F32, LEAT_DTYPE_F32, LEAT_DTYPE_F32},
        {LEAT_DTYPE_BF16, LEAT_DTYPE_F32, LEAT_DTYPE_F32, LEAT_DTYPE_BF16, LEAT_DTYPE_BF16},
        {LEAT_DTYPE_F16, LEAT_DTYPE_BF16, LEAT_DTYPE_F16, LEAT_DTYPE_F32, LEAT_DTYPE_BF16},
        {LEAT_DTYPE_F32, LEAT_DTYPE_F16, LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, LEAT_DTYPE_F16},
    };
    (void)state;
    for (size_t t = 0; t < 4; t++) {
        for (size_t s = 0; s < 3; s++) {
            for (int form = 0; form < 4; form++) {
                uint64_t constants = form & 2 ? 0x6 : 0;
                check_gemm(LEAT_DTYPE_BF16, types[t], form & 1, constants, test_isas[s]);
                check_gemm(LEAT_DTYPE_F16, types[t], form & 1, constants, test_isas[s]);
            }
        }
    }
}

/* Numbers that bf16 does not hold: each factor may be off by one unit. */
static void rounding_of_factors_stays_within_a_unit(void **state)
{
    const int64_t m = 20, n = 40, k = 300;
    const int64_t shape_a[] = {m, k}, shape_b[] = {k, n}, shape_y[] = {m, n};
    const leat_attr attr = test_attr_int("compute", LEAT_DTYPE_BF16);
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        leat_array in[] = {rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape_a, 1),
                           rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape_b, 2)};
        leat_array y = rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape_y, 3);
        oracle_fill(&in[0], 7);
        oracle_fill(&in[1], 8);
        test_kernel kernel = {.op = "MatMul",
                              .domain = "leat",
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = in,
                              .n_inputs = 2,
                              .constants = 2,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[s]};
        test_kernel_must_run(&kernel);
        for (int64_t i = 0; i < m * n; i++) {
            double sum = 0, size = 0;
            for (int64_t l = 0; l < k; l++) {
                double term = oracle_get(&in[0], (size_t)(i / n * k + l)) *
                              oracle_get(&in[1], (size_t)(l * n + i % n));
                sum += term;
                size += fabs(term);
            }
            assert_true(fabs(oracle_get(&y, (size_t)i) - sum) <= size * 0x1.01p-7);
        }
        oracle_free(in, 2);
        oracle_free(&y, 1);
    }
}

static void types_without_compute_are_refused(void **state)
{
    const int64_t shape[] = {2, 2};
    (void)state;
    leat_array in[] = {rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape, 1),
                       rounded(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16, 2, shape, 2)};
    leat_array y = rounded(LEAT_DTYPE_F32, LEAT_DTYPE_BF16, 2, shape, 3);
    test_kernel kernel = {.op = "MatMul",
                          .domain = "leat",
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &y,
                          .n_outputs = 1};
    leat_error err = {0};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    oracle_free(in, 2);
    oracle_free(&y, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_match_double_loops),
        cmocka_unit_test(odd_k_reads_nothing_behind_the_row),
        cmocka_unit_test(nan_and_infinity_pass),
        cmocka_unit_test(gemm_of_any_types_matches_double_loops),
        cmocka_unit_test(rounding_of_factors_stays_within_a_unit),
        cmocka_unit_test(types_without_compute_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

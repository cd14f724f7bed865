/* SPDX-License-Identifier: Apache-2.0 */
/* Products with LayerNormalization on a Hopper device against double-precision loops: sizes, tails,
 * strides, both orders of B, more rounds than one, runs after each other. Skipped, with the reason,
 * where there is no device. */
#include "products.h"

#define EPSILON 1e-5f

static const leat_dtype types[2] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};

/* Rows' mean and 1 / deviation of a product with a residual, x its elements. */
static void product_row(const lt_cuda_gemm_desc *d, const operand *o, const double *a,
                        const double *b, int64_t r, double *x, double out[2])
{
    double mean = 0, squares = 0;
    for (int64_t c = 0; c < d->n; c++) {
        x[c] = product_at(d, a, b, 0, r, c);
        x[c] += d->bias_dtype ? oracle_get(&o[2].array, (size_t)c) : 0;
        x[c] += oracle_get(&o[3].array, (size_t)(r * d->ldr + c));
        mean += x[c] / (double)d->n;
    }
    for (int64_t c = 0; c < d->n; c++) {
        squares += (x[c] - mean) * (x[c] - mean);
    }
    out[0] = mean;
    out[1] = 1 / sqrt(squares / (double)d->n + EPSILON);
}

static void check_norm(const lt_cuda_gemm_desc *d, const operand *o, const char *what)
{
    double *a = factors(&o[0]), *b = factors(&o[1]);
    double *x = malloc(sizeof *x * (size_t)d->n), row[2];
    assert_non_null(x);
    for (int64_t r = 0; r<d->m; r += d->m> 2000 ? 37 : 1) {
        product_row(d, o, a, b, r, x, row);
        for (int64_t c = 0; c < d->n; c++) {
            double scale = oracle_get(&o[5].array, (size_t)c);
            double y = (x[c] - row[0]) * row[1] * scale + oracle_get(&o[6].array, (size_t)c);
            /* Sums are off as in `tolerance`, the mean as much at the most, by the deviation. */
            double error = tolerance(LEAT_DTYPE_F32, x[c], d->k) * 2 * row[1] * fabs(scale);
            double actual = oracle_get(&o[4].array, (size_t)(r * d->ldd + c));
            if (!(fabs(actual - y) <= tolerance(d->dtype, y, 0) + error)) {
                fail_msg("%s: element %lld, %lld is %.9g, not %.9g", what, (long long)r,
                         (long long)c, actual, y);
            }
        }
    }
    check_untouched(&o[4], d->m * d->ldd, d->m * d->ldd + MARGIN / 2, what);
    free(a);
    free(b);
    free(x);
}

/* Twice: the words that blocks meet by are zeros again. */
static void run_norm(const test_device *device, const lt_cuda_gemm_desc *d)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    assert_ok(lt_cuda_gemm_plan_norm(&device->gemm, d, EPSILON, &plan, &err), &err);
    char what[120];
    snprintf(what, sizeof what, "%s with norms, %lld x %lld x %lld",
             lt_cuda_gemm_kernel_name(plan.kernel), (long long)d->m, (long long)d->n,
             (long long)d->k);
    const int64_t moments = (int64_t)lt_cuda_gemm_norm_moments(&plan) / 4;
    const int64_t meetings = (int64_t)lt_cuda_gemm_norm_meetings(&plan) / 4;
    operand o[9] = {
        operand_make(device, d->dtype, d->m * d->lda, 1),
        operand_make(device, d->dtype, (d->b_transposed ? d->n : d->k) * d->ldb, 2),
        operand_make(device, d->bias_dtype, d->n, 3),
        operand_make(device, d->dtype, d->m * d->ldr, 4),
        operand_make(device, d->dtype, d->m * d->ldd, 0),
        operand_make(device, d->dtype, d->n, 5),
        operand_make(device, d->dtype, d->n, 6),
        operand_make(device, LEAT_DTYPE_F32, moments, 0),
        operand_make(device, LEAT_DTYPE_F32, meetings, 0),
    };
    lt_cuda_gemm_operands operands = {.a = device_pointer(&o[0]),
                                      .b = device_pointer(&o[1]),
                                      .bias = device_pointer(&o[2]),
                                      .residual = device_pointer(&o[3]),
                                      .d = (void *)(uintptr_t)o[4].address,
                                      .norm_scale = device_pointer(&o[5]),
                                      .norm_bias = device_pointer(&o[6]),
                                      .moments = (void *)(uintptr_t)o[7].address,
                                      .meetings = (void *)(uintptr_t)o[8].address};
    memset(o[8].array.data, 0, (size_t)o[8].array.bytes);
    assert_int_equal(device->to_device(o[8].address, o[8].array.data, o[8].array.bytes), 0);
    for (int i = 0; i < 2; i++) {
        assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &operands, NULL, &err), &err);
    }
    fetch(device, &o[4]);
    check_norm(d, o, what);
    for (int i = 0; i < 9; i++) {
        operand_free(device, &o[i]);
    }
}

static void product_with_norm_matches(void **state)
{
    test_device *device = require_device(state);
    static const int64_t sizes[][3] = {
        {40, 128, 64}, {700, 1024, 136}, {1025, 768, 520}, {513, 2048, 24}, {12200, 1024, 64}};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t *s = sizes[i / 2];
        lt_cuda_gemm_desc d = dense(types[i % 2], i / 2 % 2 == 0, s[0], s[1], s[2]);
        d.residual_dtype = d.dtype;
        d.bias_dtype = i % 3 ? d.dtype : LEAT_DTYPE_UNDEFINED;
        d.ldr += 8 * (i % 2 == 0);
        d.ldd += 8 * (i % 4 == 1);
        d.tile = s[0] < 10000; /* else by the plan's own choice */
        run_norm(device, &d);
    }
}

int main(void)
{
    static test_device device;
    void *state = test_device_state(&device, TEST_KERNELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(product_with_norm_matches, state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* DFT and STFT against the sums that define them. */
#include "support/op_check.h"

#include <math.h>

#define MOST 16384

static double x[MOST], window[256], out[MOST], want[MOST];

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16};

/* Bin k of `n` numbers, 0 behind those given. */
static void bin(const double (*line)[2], int64_t n, int64_t k, bool inverse, double *re, double *im)
{
    *re = *im = 0;
    for (int64_t j = 0; j < n; j++) {
        double angle = (inverse ? 2 : -2) * M_PI * (double)(j * k % n) / (double)n;
        *re += line[j][0] * cos(angle) - line[j][1] * sin(angle);
        *im += line[j][0] * sin(angle) + line[j][1] * cos(angle);
    }
    *re /= inverse ? (double)n : 1;
    *im /= inverse ? (double)n : 1;
}

static void check_dft(leat_dtype dtype, int64_t in, int64_t n, int64_t parts, bool inverse,
                      bool onesided)
{
    static double line[512][2];
    int64_t bins = onesided ? n / 2 + 1 : n, axis = 1;
    const int64_t shape[] = {2, in, 3, parts}, y_shape[] = {2, bins, 3, 2};
    leat_array inputs[3] = {op_filled(dtype, 4, shape, x, 11),
                            op_array(LEAT_DTYPE_I64, 0, NULL, &n),
                            op_array(LEAT_DTYPE_I64, 0, NULL, &axis)};
    leat_array y = op_array(dtype, 4, y_shape, out);
    leat_attr attrs[] = {test_attr_int("inverse", inverse), test_attr_int("onesided", onesided)};
    for (int64_t l = 0; l < 6; l++) {
        for (int64_t j = 0; j < n; j++) {
            int64_t at = ((l / 3 * in + j) * 3 + l % 3) * parts;
            line[j][0] = j < in ? oracle_get(&inputs[0], (size_t)at) : 0;
            line[j][1] = j < in && parts == 2 ? oracle_get(&inputs[0], (size_t)at + 1) : 0;
        }
        for (int64_t k = 0; k < bins; k++) {
            double *to = &want[((l / 3 * bins + k) * 3 + l % 3) * 2];
            bin((const double(*)[2])line, n, k, inverse, &to[0], &to[1]);
        }
    }
    test_kernel kernel = {.op = "DFT",
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = inputs,
                          .n_inputs = 3,
                          .outputs = &y,
                          .n_outputs = 1};
    const double *expected[] = {want};
    for (int threads = 1; threads < 4; threads += 2) { /* length and axis must be known */
        leat_error err = {0};
        kernel.constants = 6;
        kernel.threads = threads;
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        double tolerance = dtype == LEAT_DTYPE_F64 ? 1e-12 : oracle_rtol(dtype, 1);
        oracle_assert_close(&y, expected[0], tolerance, tolerance * sqrt((double)n));
    }
}

static void dft_matches_definition(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 2, 3, 4, 7, 8, 12, 31, 64, 100, 257};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (int64_t parts = 1; parts < 3; parts++) {
            check_dft(dtypes[i % 3], lengths[i], lengths[i], parts, false, parts == 1);
            check_dft(dtypes[(i + 1) % 3], lengths[i], lengths[i], parts, true, false);
            check_dft(dtypes[i % 2], 5, lengths[i], parts, false, false); /* cut or filled up */
        }
    }
}

/* Half a spectrum back to real numbers: the transform of what they were is that half. */
static void dft_of_half_a_spectrum_is_real(void **state)
{
    (void)state;
    static double line[64][2];
    for (int64_t n = 2; n < 20; n++) {
        int64_t bins = n / 2 + 1;
        const int64_t shape[] = {1, bins, 2}, y_shape[] = {1, n, 1};
        leat_array inputs[2] = {op_array(LEAT_DTYPE_F64, 3, shape, x),
                                op_array(LEAT_DTYPE_I64, 0, NULL, &n)};
        leat_array y = op_array(LEAT_DTYPE_F64, 3, y_shape, out);
        leat_attr attrs[] = {test_attr_int("inverse", 1), test_attr_int("onesided", 1)};
        for (int64_t j = 0; j < n; j++) {
            want[j] = line[j][0] = sin((double)(j * j + n));
            line[j][1] = 0;
        }
        for (int64_t k = 0; k < bins; k++) {
            bin((const double(*)[2])line, n, k, false, &x[2 * k], &x[2 * k + 1]);
        }
        test_kernel kernel = {.op = "DFT",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1,
                              .constants = 2};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        oracle_assert_close(&y, want, 1e-12, 1e-12);
    }
}

static void stft_matches_definition(void **state)
{
    (void)state;
    static double line[64][2];
    int64_t step = 7, length = 20, frames = 1 + (90 - 20) / 7, bins = 11;
    const int64_t shape[] = {2, 90, 1}, y_shape[] = {2, frames, bins, 2};
    for (int d = 0; d < 3; d++) {
        leat_array inputs[4] = {op_filled(dtypes[d], 3, shape, x, 5),
                                op_array(LEAT_DTYPE_I64, 0, NULL, &step),
                                op_filled(dtypes[d], 1, &length, window, 6),
                                op_array(LEAT_DTYPE_I64, 0, NULL, &length)};
        leat_array y = op_array(dtypes[d], 4, y_shape, out);
        for (int64_t f = 0; f < 2 * frames; f++) {
            for (int64_t j = 0; j < length; j++) {
                size_t at = (size_t)(f / frames * 90 + f % frames * step + j);
                line[j][0] = oracle_get(&inputs[0], at) * oracle_get(&inputs[2], (size_t)j);
                line[j][1] = 0;
            }
            for (int64_t k = 0; k < bins; k++) {
                double *to = &want[(f * bins + k) * 2];
                bin((const double(*)[2])line, length, k, false, &to[0], &to[1]);
            }
        }
        test_kernel kernel = {.op = "STFT",
                              .inputs = inputs,
                              .n_inputs = 4,
                              .outputs = &y,
                              .n_outputs = 1,
                              .constants = 10,
                              .threads = 3};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        double tolerance = dtypes[d] == LEAT_DTYPE_F64 ? 1e-12 : oracle_rtol(dtypes[d], 1);
        oracle_assert_close(&y, want, tolerance, 5 * tolerance);
        kernel.constants = 0; /* the step is not known */
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dft_matches_definition),
        cmocka_unit_test(dft_of_half_a_spectrum_is_real),
        cmocka_unit_test(stft_matches_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

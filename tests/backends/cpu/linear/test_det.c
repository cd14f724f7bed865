/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_check.h"

#include <math.h>

static double x[1024], out[32], want[16];

/* By the first row, recursively. */
static double expand(const double *m, int64_t n)
{
    double minor[36], sum = 0;
    if (n == 0) {
        return 1;
    }
    for (int64_t c = 0; c < n; c++) {
        for (int64_t r = 1; r < n; r++) {
            for (int64_t k = 0, to = 0; k < n; k++) {
                if (k != c) {
                    minor[(r - 1) * (n - 1) + to++] = m[r * n + k];
                }
            }
        }
        sum += (c % 2 ? -1 : 1) * m[c] * expand(minor, n - 1);
    }
    return sum;
}

static void det_matches_expansion(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16};
    for (int d = 0; d < 4; d++) {
        for (int64_t n = 0; n < 7; n++) {
            const int64_t shape[] = {2, 5, n, n};
            leat_array in = op_filled(dtypes[d], 4, shape, x, (uint64_t)n);
            leat_array y = op_array(dtypes[d], 2, shape, out);
            for (size_t b = 0; b < 10; b++) {
                double m[36];
                for (int64_t i = 0; i < n * n; i++) {
                    if (b == 3 && i < n) { /* singular */
                        oracle_set(&in, b * (size_t)(n * n) + (size_t)i, 0);
                    }
                    m[i] = oracle_get(&in, b * (size_t)(n * n) + (size_t)i);
                }
                want[b] = expand(m, n);
            }
            test_kernel kernel = {
                .op = "Det", .inputs = &in, .n_inputs = 1, .outputs = &y, .n_outputs = 1};
            const double *expected[] = {want};
            op_check(&kernel, expected, oracle_rtol(dtypes[d], 8), oracle_rtol(dtypes[d], 1));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(det_matches_expansion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

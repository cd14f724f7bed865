/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_check.h"

#include <math.h>

#define MOST 4096

static double x[MOST], weight[64], out[MOST], log_prob[MOST], want[MOST], want_log[MOST];
static int64_t target[MOST];

typedef struct loss_case {
    bool softmax, weighted, ignore;
    const char *reduction;
    int64_t batch, classes, inner;
    leat_dtype dtype;
} loss_case;

static void expect(const loss_case *c, const leat_array *in)
{
    double sum = 0, weights = 0;
    for (int64_t p = 0; p < c->batch * c->inner; p++) {
        int64_t first = p / c->inner * c->classes * c->inner + p % c->inner;
        double total = 0;
        for (int64_t k = 0; k < c->classes; k++) {
            total += exp(oracle_get(&in[0], (size_t)(first + k * c->inner)));
        }
        for (int64_t k = 0; k < c->classes; k++) {
            want_log[first + k * c->inner] =
                oracle_get(&in[0], (size_t)(first + k * c->inner)) - log(total);
        }
        int64_t t = target[p];
        bool ignored = c->ignore && t == -3;
        double w = ignored ? 0 : c->weighted ? oracle_get(&in[2], (size_t)t) : 1;
        double v = ignored      ? 0
                   : c->softmax ? want_log[first + t * c->inner]
                                : oracle_get(&in[0], (size_t)(first + t * c->inner));
        want[p] = -w * v;
        sum += want[p];
        weights += w;
    }
    if (strcmp(c->reduction, "none") != 0) {
        want[0] = strcmp(c->reduction, "sum") == 0 ? sum : sum / weights;
    }
}

static void check(const loss_case *c)
{
    bool none = strcmp(c->reduction, "none") == 0;
    const int64_t shape[] = {c->batch, c->classes, c->inner}, places[] = {c->batch, c->inner};
    leat_array in[3] = {op_filled(c->dtype, 3, shape, x, 5),
                        op_array(LEAT_DTYPE_I64, 2, places, target),
                        op_filled(c->dtype, 1, &c->classes, weight, 6)};
    leat_array outs[2] = {op_array(c->dtype, none ? 2 : 0, places, out),
                          op_array(c->dtype, 3, shape, log_prob)};
    leat_attr attrs[] = {test_attr_string("reduction", c->reduction),
                         test_attr_int("ignore_index", -3)};
    for (int64_t p = 0; p < c->batch * c->inner; p++) {
        target[p] = c->ignore && p % 5 == 1 ? -3 : (p * 7 + 2) % c->classes;
    }
    expect(c, in);
    test_kernel kernel = {.op =
                              c->softmax ? "SoftmaxCrossEntropyLoss" : "NegativeLogLikelihoodLoss",
                          .attrs = attrs,
                          .n_attrs = c->ignore ? 2 : 1,
                          .inputs = in,
                          .n_inputs = c->weighted ? 3 : 2,
                          .outputs = outs,
                          .n_outputs = c->softmax ? 2 : 1};
    const double *expected[] = {want, want_log};
    double rtol = oracle_rtol(c->dtype, 16);
    op_check(&kernel, expected, rtol, rtol);
}

static void loss_matches_definition(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16};
    static const char *const reductions[] = {"none", "sum", "mean"};
    for (int i = 0; i < 4 * 3 * 8; i++) {
        loss_case c = {i & 1, i & 2, i & 4, reductions[i / 8 % 3], 7, 5, 13, dtypes[i / 24]};
        check(&c);
    }
}

static void loss_target_out_of_range_is_invalid(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3}, places[] = {2};
    leat_array in[2] = {op_filled(LEAT_DTYPE_F32, 2, shape, x, 1),
                        op_array(LEAT_DTYPE_I64, 1, places, target)};
    leat_array y = op_array(LEAT_DTYPE_F32, 0, NULL, out);
    test_kernel kernel = {.op = "NegativeLogLikelihoodLoss",
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &y,
                          .n_outputs = 1};
    target[0] = 0;
    target[1] = 3;
    op_check_invalid(&kernel, "target 3 at position 1");
    target[1] = -1;
    op_check_invalid(&kernel, "target -1 at position 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_matches_definition),
        cmocka_unit_test(loss_target_out_of_range_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

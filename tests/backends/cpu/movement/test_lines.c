/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

#include "support/oracle.h"

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES];

typedef struct triangle {
    int64_t k;
    bool upper;
} triangle;

static int64_t triangular(const void *argument, const int64_t *at)
{
    const triangle *t = argument;
    bool kept = t->upper ? at[2] - at[1] >= t->k : at[2] - at[1] <= t->k;
    return kept ? (at[0] * 5 + at[1]) * 7 + at[2] : -1;
}

static void trilu_keeps_one_side(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 5, 7};
    for (int64_t k = -9; k <= 9; k++) {
        for (int upper = 0; upper < 2; upper++) {
            for (int d = 0; d < MOVE_WHOLE_DTYPES; d++) {
                triangle t = {k, upper};
                int64_t list = k;
                leat_attr attr = test_attr_int("upper", upper);
                leat_array inputs[2] = {move_array(move_dtypes[d], 3, shape, in_bytes),
                                        move_array(LEAT_DTYPE_I64, 0, NULL, &list)};
                leat_array out = move_array(move_dtypes[d], 3, shape, out_bytes);
                move_fill(&inputs[0], 8);
                test_kernel kernel = {.op = "Trilu",
                                      .attrs = &attr,
                                      .n_attrs = 1,
                                      .inputs = inputs,
                                      .n_inputs = 2,
                                      .outputs = &out,
                                      .n_outputs = 1};
                move_check(&kernel, triangular, &t);
            }
        }
    }
}

static void trilu_far_diagonal_keeps_all_or_nothing(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 5, 7};
    static const int64_t far[] = {INT64_MIN, INT64_MAX};
    for (int i = 0; i < 2; i++) {
        triangle t = {i ? 100 : -100, true};
        int64_t list = far[i];
        leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 3, shape, in_bytes),
                                move_array(LEAT_DTYPE_I64, 0, NULL, &list)};
        leat_array out = move_array(LEAT_DTYPE_F32, 3, shape, out_bytes);
        move_fill(&inputs[0], 8);
        test_kernel kernel = {
            .op = "Trilu", .inputs = inputs, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
        move_check(&kernel, triangular, &t);
    }
}

static void eye_like_has_ones_on_its_diagonal(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32,  LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16, LEAT_DTYPE_I64, LEAT_DTYPE_U8};
    static const int64_t shape[] = {4, 6};
    for (int d = 0; d < 6; d++) {
        for (int64_t k = -5; k < 8; k++) {
            leat_error err = {0};
            leat_attr attr = test_attr_int("k", k);
            leat_array in = move_array(LEAT_DTYPE_I32, 2, shape, in_bytes);
            leat_array out = move_array(dtypes[d], 2, shape, out_bytes);
            test_kernel kernel = {.op = "EyeLike",
                                  .attrs = &attr,
                                  .n_attrs = 1,
                                  .inputs = &in,
                                  .n_inputs = 1,
                                  .outputs = &out,
                                  .n_outputs = 1};
            memset(out_bytes, 0xa5, out.bytes);
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            for (int64_t i = 0; i < 24; i++) {
                assert_true(oracle_get(&out, (size_t)i) == (i % 6 - i / 6 == k));
            }
        }
    }
}

static const int64_t lengths[] = {3, 0, 5, 1};

static int64_t reversed(const void *argument, const int64_t *at)
{
    bool batch_first = *(const bool *)argument;
    int64_t b = at[batch_first ? 0 : 1], t = at[batch_first ? 1 : 0];
    t = t < lengths[b] ? lengths[b] - 1 - t : t;
    return (batch_first ? b * 5 + t : t * 4 + b) * 3 + at[2];
}

static void reverse_sequence_turns_the_first_steps(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        bool batch_first = first;
        int64_t shape[] = {first ? 4 : 5, first ? 5 : 4, 3}, list[4];
        memcpy(list, lengths, sizeof(list));
        leat_attr attrs[] = {test_attr_int("batch_axis", !first),
                             test_attr_int("time_axis", first)};
        leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 3, shape, in_bytes), move_list(list, 4)};
        leat_array out = move_array(LEAT_DTYPE_F32, 3, shape, out_bytes);
        move_fill(&inputs[0], 6);
        test_kernel kernel = {.op = "ReverseSequence",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = &out,
                              .n_outputs = 1};
        move_check(&kernel, reversed, &batch_first);
        list[1] = 6;
        move_check_fails(&kernel, LEAT_INVALID);
        list[1] = -1;
        move_check_fails(&kernel, LEAT_INVALID);
    }
}

/* 3 x 4 x 5, along any axis, both ends, with and without the element itself */
static void check_cumulate(const char *op, leat_dtype dtype, int axis, bool exclusive, bool reverse)
{
    static const int64_t shape[] = {3, 4, 5};
    double expected[60];
    int64_t list = axis - 3, dim = shape[axis], inner = axis == 2 ? 1 : axis == 1 ? 5 : 20;
    leat_attr attrs[] = {test_attr_int("exclusive", exclusive), test_attr_int("reverse", reverse)};
    leat_array inputs[2] = {move_array(dtype, 3, shape, in_bytes),
                            move_array(LEAT_DTYPE_I64, 0, NULL, &list)};
    leat_array out = move_array(dtype, 3, shape, out_bytes);
    bool product = strcmp(op, "CumProd") == 0;
    for (size_t i = 0; i < 60; i++) {
        oracle_set(&inputs[0], i, (double)(i * 7 % 4 + 1));
    }
    for (int64_t i = 0; i < 60; i++) {
        int64_t at = i / inner % dim;
        expected[i] = product;
        for (int64_t k = 0; k < dim; k++) {
            bool taken = reverse ? k > at : k < at;
            if (taken || (k == at && !exclusive)) {
                double x = oracle_get(&inputs[0], (size_t)(i + (k - at) * inner));
                expected[i] = product ? expected[i] * x : expected[i] + x;
            }
        }
    }
    for (int threads = 1; threads < 3; threads++) {
        leat_error err = {0};
        test_kernel kernel = {.op = op,
                              .opset = 26,
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = &out,
                              .n_outputs = 1,
                              .threads = threads};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        oracle_assert_close(&out, expected, 0, 0);
        list = 3;
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        list = axis - 3;
    }
}

static void cumulate_every_axis_and_direction(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_I32, LEAT_DTYPE_I64, LEAT_DTYPE_U32};
    for (int run = 0; run < 12; run++) {
        for (int d = 0; d < 6; d++) {
            check_cumulate("CumSum", dtypes[d], run % 3, run / 3 % 2, run / 6);
            check_cumulate("CumProd", dtypes[d], run % 3, run / 3 % 2, run / 6);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trilu_keeps_one_side),
        cmocka_unit_test(trilu_far_diagonal_keeps_all_or_nothing),
        cmocka_unit_test(eye_like_has_ones_on_its_diagonal),
        cmocka_unit_test(reverse_sequence_turns_the_first_steps),
        cmocka_unit_test(cumulate_every_axis_and_direction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

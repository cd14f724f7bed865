/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

static uint8_t in_bytes[3][MOVE_BYTES], out_bytes[MOVE_BYTES];

/* outer x n_i x inner, joined along the middle */
static void check_parts(leat_dtype dtype, int64_t outer, const int64_t *counts, int64_t inner)
{
    leat_array inputs[3], out;
    int64_t sum = counts[0] + counts[1] + counts[2], shape[] = {outer, sum, inner};
    leat_attr axis = test_attr_int("axis", -2);
    for (int i = 0; i < 3; i++) {
        int64_t part[] = {outer, counts[i], inner};
        inputs[i] = move_array(dtype, 3, part, in_bytes[i]);
        move_fill(&inputs[i], (uint32_t)i);
    }
    out = move_array(dtype, 3, shape, out_bytes);
    test_kernel kernel = {.op = "Concat",
                          .attrs = &axis,
                          .n_attrs = 1,
                          .inputs = inputs,
                          .n_inputs = 3,
                          .outputs = &out,
                          .n_outputs = 1};
    for (int threads = 1; threads < 4; threads++) {
        leat_error err = {0};
        kernel.threads = threads;
        memset(out.data, 0xa5, out.bytes);
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int64_t i = 0; i < move_count(&out); i++) {
            int64_t at = i / inner % sum, row = i / inner / sum, k = 0;
            while (at >= counts[k]) {
                at -= counts[k++];
            }
            assert_true(move_same(&out, i, &inputs[k], (row * counts[k] + at) * inner + i % inner));
        }
    }
}

static void concat_parts_stand_side_by_side(void **state)
{
    (void)state;
    static const int64_t counts[][3] = {{1, 2, 3}, {4, 0, 1}, {64, 32, 96},
                                        {0, 0, 2}, {1, 1, 1}, {2, 1, 4}};
    for (int d = 0; d < MOVE_DTYPES; d++) {
        for (int c = 0; c < 6; c++) {
            check_parts(move_dtypes[d], 3, counts[c], 5);
            check_parts(move_dtypes[d], 1, counts[c], 1);
            check_parts(move_dtypes[d], 29, counts[c], 8);
            check_parts(move_dtypes[d], 37, counts[c], 1);
        }
    }
}

static void concat_parts_that_do_not_fit_are_invalid(void **state)
{
    (void)state;
    static const int64_t a[] = {2, 3}, b[] = {3, 3}, joined[] = {2, 6};
    leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 2, a, in_bytes[0]),
                            move_array(LEAT_DTYPE_F32, 2, b, in_bytes[1])};
    leat_array out = move_array(LEAT_DTYPE_F32, 2, joined, out_bytes);
    leat_attr axis = test_attr_int("axis", 1);
    test_kernel kernel = {.op = "Concat",
                          .attrs = &axis,
                          .n_attrs = 1,
                          .inputs = inputs,
                          .n_inputs = 2,
                          .outputs = &out,
                          .n_outputs = 1};
    move_check_fails(&kernel, LEAT_INVALID);
    inputs[1] = inputs[0];
    out.shape[1] = 7;
    move_check_fails(&kernel, LEAT_INVALID);
    out.shape[1] = 6;
    axis = test_attr_int("axis", 2);
    move_check_fails(&kernel, LEAT_INVALID);
    kernel.n_attrs = 0;
    move_check_fails(&kernel, LEAT_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concat_parts_stand_side_by_side),
        cmocka_unit_test(concat_parts_that_do_not_fit_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

#include <stdio.h>

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES];

typedef struct gather_case {
    int64_t shape[3]; /* of the data; gathered along axis 1 */
    int64_t n;
    int64_t indices[40];
} gather_case;

static int64_t gathered(const void *argument, const int64_t *at)
{
    const gather_case *c = argument;
    int64_t index = c->indices[at[1]];
    index += index < 0 ? c->shape[1] : 0;
    return (at[0] * c->shape[1] + index) * c->shape[2] + at[2];
}

static const gather_case gather_cases[] = {
    {{2, 5, 3}, 4, {0, -1, 4, -5}},
    {{1, 9, 1}, 6, {8, 7, 0, 0, -9, 3}},
    {{3, 2, 64}, 1, {-2}},
    {{40, 6, 40}, 7, {5, 4, 3, 2, 1, 0, -1}},
    {{2, 3, 4}, 0, {0}},
};

static void gather_takes_rows_from_either_end(void **state)
{
    (void)state;
    leat_attr axis = test_attr_int("axis", -2);
    for (size_t k = 0; k < sizeof(gather_cases) / sizeof(*gather_cases); k++) {
        gather_case c = gather_cases[k];
        int64_t out_shape[] = {c.shape[0], c.n, c.shape[2]};
        int32_t narrow[40];
        for (int64_t i = 0; i < c.n; i++) {
            narrow[i] = (int32_t)c.indices[i];
        }
        for (int d = 0; d < 2 * MOVE_DTYPES; d++) {
            leat_dtype dtype = move_dtypes[d / 2];
            leat_array inputs[2] = {move_array(dtype, 3, c.shape, in_bytes),
                                    d % 2 ? move_list(c.indices, c.n)
                                          : move_array(LEAT_DTYPE_I32, 1, &c.n, narrow)};
            leat_array out = move_array(dtype, 3, out_shape, out_bytes);
            move_fill(&inputs[0], (uint32_t)k);
            test_kernel kernel = {.op = "Gather",
                                  .attrs = &axis,
                                  .n_attrs = 1,
                                  .inputs = inputs,
                                  .n_inputs = 2,
                                  .outputs = &out,
                                  .n_outputs = 1};
            move_check(&kernel, gathered, &gather_cases[k]);
        }
    }
}

static void gather_index_out_of_range_names_it(void **state)
{
    (void)state;
    static const int64_t shape[] = {3, 2}, out_shape[] = {2, 2};
    static const int64_t bad[] = {3, -4, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        leat_error err = {0};
        int64_t indices[] = {0, bad[i]};
        char text[32];
        leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 2, shape, in_bytes),
                                move_list(indices, 2)};
        leat_array out = move_array(LEAT_DTYPE_F32, 2, out_shape, out_bytes);
        test_kernel kernel = {
            .op = "Gather", .inputs = inputs, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        snprintf(text, sizeof(text), "index %lld", (long long)bad[i]);
        assert_non_null(strstr(err.message, text));
        assert_non_null(strstr(err.message, "[-3, 3)"));
    }
}

typedef struct elements_case {
    int64_t shape[2], index_shape[2];
    int axis;
    int64_t indices[12];
} elements_case;

static int64_t element_source(const void *argument, const int64_t *at)
{
    const elements_case *c = argument;
    int64_t index = c->indices[at[0] * c->index_shape[1] + at[1]];
    index += index < 0 ? c->shape[c->axis] : 0;
    return c->axis == 0 ? index * c->shape[1] + at[1] : at[0] * c->shape[1] + index;
}

static void gather_elements_takes_one_by_one(void **state)
{
    (void)state;
    static const elements_case cases[] = {
        {{3, 4}, {2, 4}, 0, {0, 1, 2, -1, -3, 2, 1, 0}},
        {{3, 4}, {2, 5}, 1, {0, 3, -4, 1, 1, -1, 2, 0, 3, -2}},
    };
    for (size_t k = 0; k < 2; k++) {
        elements_case c = cases[k];
        leat_attr axis = test_attr_int("axis", c.axis);
        for (int d = 0; d < MOVE_WHOLE_DTYPES; d++) {
            leat_array inputs[2] = {
                move_array(move_dtypes[d], 2, c.shape, in_bytes),
                move_array(LEAT_DTYPE_I64, 2, c.index_shape, c.indices),
            };
            leat_array out = move_array(move_dtypes[d], 2, c.index_shape, out_bytes);
            move_fill(&inputs[0], 2);
            test_kernel kernel = {.op = "GatherElements",
                                  .attrs = &axis,
                                  .n_attrs = 1,
                                  .inputs = inputs,
                                  .n_inputs = 2,
                                  .outputs = &out,
                                  .n_outputs = 1};
            move_check(&kernel, element_source, &cases[k]);
            c.indices[0] = 4;
            move_check_fails(&kernel, LEAT_INVALID);
            c.indices[0] = cases[k].indices[0];
        }
    }
}

static int64_t nd_source(const void *argument, const int64_t *at)
{
    const int64_t *tuples = argument; /* data 2 x 3 x 4, one batch axis, tuples of 1 */
    int64_t index = tuples[at[0] * 2 + at[1]];
    return (at[0] * 3 + (index < 0 ? index + 3 : index)) * 4 + at[2];
}

static void gather_nd_takes_slices_by_tuple(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 3, 4}, index_shape[] = {2, 2, 1}, out_shape[] = {2, 2, 4};
    int64_t tuples[] = {2, -3, 0, 1};
    leat_attr batch = test_attr_int("batch_dims", 1);
    leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 3, shape, in_bytes),
                            move_array(LEAT_DTYPE_I64, 3, index_shape, tuples)};
    leat_array out = move_array(LEAT_DTYPE_F32, 3, out_shape, out_bytes);
    move_fill(&inputs[0], 2);
    test_kernel kernel = {.op = "GatherND",
                          .attrs = &batch,
                          .n_attrs = 1,
                          .inputs = inputs,
                          .n_inputs = 2,
                          .outputs = &out,
                          .n_outputs = 1};
    move_check(&kernel, nd_source, tuples);
    tuples[3] = 3;
    move_check_fails(&kernel, LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_takes_rows_from_either_end),
        cmocka_unit_test(gather_index_out_of_range_names_it),
        cmocka_unit_test(gather_elements_takes_one_by_one),
        cmocka_unit_test(gather_nd_takes_slices_by_tuple),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

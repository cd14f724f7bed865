/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES], more_bytes[MOVE_BYTES];

typedef struct slice_case {
    int32_t rank;
    int64_t shape[3];
    int64_t out[3];
    int64_t n; /* entries of the lists */
    int64_t starts[3], ends[3], axes[3], steps[3];
    int64_t first[3], step[3]; /* per axis, what they mean */
} slice_case;

#define FAR (INT64_MAX)

static const slice_case cases[] = {
    {2, {20, 10}, {3, 10}, 1, {0}, {3}, {0}, {1}, {0, 0}, {1, 1}},
    {2, {20, 10}, {20, 4}, 1, {-5}, {-1}, {-1}, {1}, {0, 5}, {1, 1}},
    {2, {5, 10}, {2, 3}, 2, {1, -2}, {1000, 1}, {0, 1}, {2, -3}, {1, 8}, {2, -3}},
    {1, {7}, {7}, 1, {-1}, {-FAR}, {0}, {-1}, {6}, {-1}},
    {1, {7}, {1}, 1, {FAR}, {-FAR}, {0}, {-FAR}, {6}, {-1}},
    {1, {7}, {0}, 1, {5}, {5}, {0}, {1}, {0}, {1}},
    {3, {4, 6, 8}, {4, 2, 8}, 1, {2}, {4}, {1}, {1}, {0, 2, 0}, {1, 1, 1}},
    {3, {3, 4, 129}, {3, 4, 128}, 1, {1}, {FAR}, {2}, {1}, {0, 0, 1}, {1, 1, 1}},
};

static int64_t sliced(const void *argument, const int64_t *at)
{
    const slice_case *c = argument;
    int64_t flat = 0;
    for (int32_t i = 0; i < c->rank; i++) {
        flat = flat * c->shape[i] + c->first[i] + at[i] * c->step[i];
    }
    return flat;
}

static void slice_ranges_and_steps_take_the_right_elements(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        slice_case c = cases[k];
        for (int d = 0; d < MOVE_DTYPES; d++) {
            leat_array inputs[5] = {move_array(move_dtypes[d], c.rank, c.shape, in_bytes),
                                    move_list(c.starts, c.n), move_list(c.ends, c.n),
                                    move_list(c.axes, c.n), move_list(c.steps, c.n)};
            leat_array out = move_array(move_dtypes[d], c.rank, c.out, out_bytes);
            move_fill(&inputs[0], (uint32_t)k);
            test_kernel kernel = {
                .op = "Slice", .inputs = inputs, .n_inputs = 5, .outputs = &out, .n_outputs = 1};
            move_check(&kernel, sliced, &cases[k]);
        }
    }
}

static void slice_i32_lists_and_defaults(void **state)
{
    (void)state;
    static const slice_case c = {2, {5, 6}, {3, 5}, 2, {1, 0}, {4, -1}, {0}, {0}, {1, 0}, {1, 1}};
    int32_t starts[2] = {1, 0}, ends[2] = {4, -1};
    static const int64_t two = 2;
    leat_array inputs[3] = {move_array(LEAT_DTYPE_F32, 2, c.shape, in_bytes),
                            move_array(LEAT_DTYPE_I32, 1, &two, starts),
                            move_array(LEAT_DTYPE_I32, 1, &two, ends)};
    leat_array out = move_array(LEAT_DTYPE_F32, 2, c.out, out_bytes);
    move_fill(&inputs[0], 9);
    test_kernel kernel = {
        .op = "Slice", .inputs = inputs, .n_inputs = 3, .outputs = &out, .n_outputs = 1};
    move_check(&kernel, sliced, &c);
}

static void slice_attributes_of_opset_9(void **state)
{
    (void)state;
    const slice_case *c = &cases[1];
    leat_attr attrs[3] = {test_attr_ints("starts", c->starts, 1),
                          test_attr_ints("ends", c->ends, 1), test_attr_ints("axes", c->axes, 1)};
    leat_array in = move_array(LEAT_DTYPE_F32, 2, c->shape, in_bytes);
    leat_array out = move_array(LEAT_DTYPE_F32, 2, c->out, out_bytes);
    move_fill(&in, 9);
    test_kernel kernel = {.op = "Slice",
                          .opset = 9,
                          .attrs = attrs,
                          .n_attrs = 3,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1};
    move_check(&kernel, sliced, c);
}

static void slice_lists_that_differ_from_plan_are_invalid(void **state)
{
    (void)state;
    static const int64_t shape[] = {4, 4}, out_shape[] = {2, 4};
    static const int64_t bad[][4] = {/* start, end, axis, step */
                                     {0, 3, 0, 1},
                                     {0, 2, 2, 1},
                                     {0, 2, -3, 1},
                                     {0, 2, 0, 0},
                                     {0, 2, 1, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int64_t start = bad[i][0], end = bad[i][1], axis = bad[i][2], step = bad[i][3];
        leat_array inputs[5] = {move_array(LEAT_DTYPE_F32, 2, shape, in_bytes),
                                move_list(&start, 1), move_list(&end, 1), move_list(&axis, 1),
                                move_list(&step, 1)};
        leat_array out = move_array(LEAT_DTYPE_F32, 2, out_shape, out_bytes);
        test_kernel kernel = {
            .op = "Slice", .inputs = inputs, .n_inputs = 5, .outputs = &out, .n_outputs = 1};
        move_check_fails(&kernel, LEAT_INVALID);
    }
}

typedef struct split_part {
    int64_t in[3];
    int64_t at; /* first index along axis 1 */
} split_part;

static int64_t split_source(const void *argument, const int64_t *at)
{
    const split_part *p = argument;
    return (at[0] * p->in[1] + p->at + at[1]) * p->in[2] + at[2];
}

static void split_parts_hold_their_share(void **state)
{
    (void)state;
    split_part first = {{3, 7, 5}, 0}, second = {{3, 7, 5}, 3};
    int64_t first_shape[] = {3, 3, 5}, second_shape[] = {3, 4, 5}, sizes[] = {3, 4};
    leat_attr axis = test_attr_int("axis", -2);
    for (int d = 0; d < MOVE_DTYPES; d++) {
        for (int n_inputs = 1; n_inputs < 3; n_inputs++) {
            leat_array inputs[2] = {move_array(move_dtypes[d], 3, first.in, in_bytes),
                                    move_list(sizes, 2)};
            leat_array outputs[2] = {move_array(move_dtypes[d], 3, first_shape, out_bytes),
                                     move_array(move_dtypes[d], 3, second_shape, more_bytes)};
            move_fill(&inputs[0], 5);
            test_kernel kernel = {.op = "Split",
                                  .attrs = &axis,
                                  .n_attrs = 1,
                                  .inputs = inputs,
                                  .n_inputs = (uint32_t)n_inputs,
                                  .outputs = outputs,
                                  .n_outputs = 2};
            move_check(&kernel, split_source, &first);
            move_compare(&outputs[1], &inputs[0], split_source, &second);
        }
    }
}

static void split_sizes_that_differ_from_plan_are_invalid(void **state)
{
    (void)state;
    int64_t shape[] = {7}, first_shape[] = {3}, second_shape[] = {4}, sizes[] = {4, 3};
    leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 1, shape, in_bytes), move_list(sizes, 2)};
    leat_array outputs[2] = {move_array(LEAT_DTYPE_F32, 1, first_shape, out_bytes),
                             move_array(LEAT_DTYPE_F32, 1, second_shape, more_bytes)};
    test_kernel kernel = {
        .op = "Split", .inputs = inputs, .n_inputs = 2, .outputs = outputs, .n_outputs = 2};
    move_check_fails(&kernel, LEAT_INVALID);
    second_shape[0] = 5; /* more than there is */
    outputs[1] = move_array(LEAT_DTYPE_F32, 1, second_shape, more_bytes);
    kernel.n_inputs = 1;
    move_check_fails(&kernel, LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice_ranges_and_steps_take_the_right_elements),
        cmocka_unit_test(slice_i32_lists_and_defaults),
        cmocka_unit_test(slice_attributes_of_opset_9),
        cmocka_unit_test(slice_lists_that_differ_from_plan_are_invalid),
        cmocka_unit_test(split_parts_hold_their_share),
        cmocka_unit_test(split_sizes_that_differ_from_plan_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

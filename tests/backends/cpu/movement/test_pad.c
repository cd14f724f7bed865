/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES];

static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};

typedef struct pad_case {
    int64_t shape[3];
    int64_t before[3], after[3];
    int mode;
} pad_case;

/* Steps from `at` into [0, dim), one at a time. */
static int64_t walk(int64_t at, int64_t dim, int mode)
{
    while (at < 0 || at >= dim) {
        if (mode == 0) {
            return -1;
        }
        if (mode == 1) {
            at = at < 0 ? -at : 2 * (dim - 1) - at;
        } else if (mode == 2) {
            at += at < 0 ? 1 : -1;
        } else {
            at += at < 0 ? dim : -dim;
        }
    }
    return at;
}

static int64_t padded(const void *argument, const int64_t *at)
{
    const pad_case *c = argument;
    int64_t flat = 0;
    for (int i = 0; i < 3; i++) {
        int64_t index = walk(at[i] - c->before[i], c->shape[i], c->mode);
        if (index < 0) {
            return -1;
        }
        flat = flat * c->shape[i] + index;
    }
    return flat;
}

static const pad_case cases[] = {
    {{3, 4, 5}, {0, 1, 2}, {2, 0, 3}, 0},
    {{3, 4, 16}, {1, 1, 0}, {1, 1, 0}, 0}, /* channels last */
    {{2, 30, 40}, {0, 3, 1}, {0, 2, 4}, 0},
    {{3, 4, 5}, {2, 0, 4}, {1, 3, 4}, 1},
    {{2, 3, 2}, {0, 7, 5}, {0, 9, 3}, 1}, /* reflected more than once */
    {{3, 4, 5}, {2, 0, 9}, {1, 3, 0}, 2},
    {{3, 4, 5}, {4, 0, 9}, {1, 13, 0}, 3},
    {{5, 6, 7}, {-1, 2, -2}, {1, -3, -1}, 0}, /* cut */
    {{5, 6, 7}, {-1, 2, -2}, {1, -3, -1}, 2},
};

static void pad_modes_and_cuts_match_walk(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        const pad_case *c = &cases[k];
        int64_t shape[3], pads[6];
        for (int i = 0; i < 3; i++) {
            shape[i] = c->shape[i] + c->before[i] + c->after[i];
            pads[i] = c->before[i];
            pads[3 + i] = c->after[i];
        }
        leat_attr mode = test_attr_string("mode", modes[c->mode]);
        for (int d = 0; d < MOVE_WHOLE_DTYPES; d++) {
            leat_array inputs[2] = {move_array(move_dtypes[d], 3, c->shape, in_bytes),
                                    move_list(pads, 6)};
            leat_array out = move_array(move_dtypes[d], 3, shape, out_bytes);
            move_fill(&inputs[0], (uint32_t)k);
            test_kernel kernel = {.op = "Pad",
                                  .attrs = &mode,
                                  .n_attrs = 1,
                                  .inputs = inputs,
                                  .n_inputs = 2,
                                  .outputs = &out,
                                  .n_outputs = 1};
            move_check(&kernel, padded, c);
        }
    }
}

static void pad_axes_and_value_are_used(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 2}, out_shape[] = {2, 5};
    int64_t pads[] = {1, 2}, axis = -1;
    float x[] = {1, 2, 3, 4}, value = 9, y[10];
    static const float expected[] = {9, 1, 2, 9, 9, 9, 3, 4, 9, 9};
    leat_array inputs[4] = {move_array(LEAT_DTYPE_F32, 2, shape, x), move_list(pads, 2),
                            move_array(LEAT_DTYPE_F32, 0, NULL, &value), move_list(&axis, 1)};
    leat_array out = move_array(LEAT_DTYPE_F32, 2, out_shape, y);
    test_kernel kernel = {
        .op = "Pad", .inputs = inputs, .n_inputs = 4, .outputs = &out, .n_outputs = 1};
    for (int run = 0; run < 2; run++) {
        leat_error err = {0};
        kernel.constants = run ? ~1ull : 0;
        memset(y, 0, sizeof(y));
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_memory_equal(y, expected, sizeof(y));
    }
}

static void pad_attributes_of_opset_10(void **state)
{
    (void)state;
    static const int64_t shape[] = {2}, out_shape[] = {4}, pads[] = {1, 1};
    float x[] = {1, 2}, y[4];
    static const float expected[] = {-1.5f, 1, 2, -1.5f};
    leat_attr attrs[2] = {test_attr_ints("pads", pads, 2), test_attr_float("value", -1.5f)};
    leat_array in = move_array(LEAT_DTYPE_F32, 1, shape, x);
    leat_array out = move_array(LEAT_DTYPE_F32, 1, out_shape, y);
    leat_error err = {0};
    test_kernel kernel = {.op = "Pad",
                          .opset = 10,
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    assert_memory_equal(y, expected, sizeof(y));
}

static void pad_that_differs_from_plan_is_invalid(void **state)
{
    (void)state;
    static const int64_t shape[] = {4}, out_shape[] = {6};
    int64_t bad[][2] = {{1, 2}, {INT64_MAX, INT64_MAX}, {INT64_MIN, 2}, {-9, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 1, shape, in_bytes),
                                move_list(bad[i], 2)};
        leat_array out = move_array(LEAT_DTYPE_F32, 1, out_shape, out_bytes);
        test_kernel kernel = {
            .op = "Pad", .inputs = inputs, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
        move_check_fails(&kernel, LEAT_INVALID);
    }
    leat_attr mode = test_attr_string("mode", "circular");
    leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 1, shape, in_bytes), move_list(bad[0], 2)};
    leat_array out = move_array(LEAT_DTYPE_F32, 1, out_shape, out_bytes);
    test_kernel kernel = {.op = "Pad",
                          .attrs = &mode,
                          .n_attrs = 1,
                          .inputs = inputs,
                          .n_inputs = 2,
                          .outputs = &out,
                          .n_outputs = 1};
    move_check_fails(&kernel, LEAT_UNSUPPORTED);
}

static void pad_empty_axis_by_edge_is_invalid(void **state)
{
    (void)state;
    static const int64_t shape[] = {0}, out_shape[] = {2};
    int64_t pads[] = {1, 1};
    leat_attr mode = test_attr_string("mode", "edge");
    leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 1, shape, in_bytes), move_list(pads, 2)};
    leat_array out = move_array(LEAT_DTYPE_F32, 1, out_shape, out_bytes);
    test_kernel kernel = {.op = "Pad",
                          .attrs = &mode,
                          .n_attrs = 1,
                          .inputs = inputs,
                          .n_inputs = 2,
                          .outputs = &out,
                          .n_outputs = 1};
    move_check_fails(&kernel, LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pad_modes_and_cuts_match_walk),
        cmocka_unit_test(pad_axes_and_value_are_used),
        cmocka_unit_test(pad_attributes_of_opset_10),
        cmocka_unit_test(pad_that_differs_from_plan_is_invalid),
        cmocka_unit_test(pad_empty_axis_by_edge_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_depthwise.c, behind the passes that it follows. */
#include "support/passes_case.h"

static const float numbers[512] = {1, 2, 3};

static void depthwise(onnx_builder *b, const char *inputs, const char *out, int64_t group)
{
    static const int64_t pads[] = {1, 1, 1, 1}, strides[] = {2, 2};
    leat_attr attrs[] = {{"pads", LEAT_ATTR_INTS, 4, {.ints = pads}},
                         {"strides", LEAT_ATTR_INTS, 2, {.ints = strides}},
                         {"group", LEAT_ATTR_INT, 1, {.i = group}}};
    onnx_builder_node(b, "Conv", inputs, out, attrs, 3);
}

/* x -> first convolution of `filter` -> Relu -> depthwise -> y; the value between is `middle`. */
static onnx_builder *block(const char *filter, const char *middle)
{
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_floats(b, "w", filter, numbers);
    onnx_builder_floats(b, "b", "6", numbers);
    onnx_builder_floats(b, "f", "6x1x3x3", numbers);
    onnx_builder_text(b, "x: f32[Nx3x8x8]; c = Conv(x, w, b); e = Relu(c)");
    depthwise(b, "e,f", middle, 6);
    return b;
}

static uint32_t fused(passes_case *c)
{
    passes_case_run_device(c);
    return passes_case_count(c, "ConvDepthwise");
}

static void pair_becomes_one_node(void **state)
{
    passes_case c;
    onnx_builder *b = block("6x3x1x1", "d");
    (void)state;
    onnx_builder_node(b, "Sigmoid", "d", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x4x4");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 1);
    assert_int_equal(passes_case_count(&c, "Conv"), 0);
    const leat_node *node = passes_case_node(&c, "ConvDepthwise", 0);
    const leat_value *y = &c.graph->values[node->outputs[0]];
    assert_true(leat_node_string_is(node, "first_activation", "Relu"));
    assert_true(leat_node_string_is(node, "activation", "Sigmoid"));
    assert_int_equal(node->inputs[4], LEAT_NO_VALUE);
    assert_int_equal(leat_node_int(node, "group", 0), 6);
    assert_int_equal(y->shape[1], 4);
    assert_int_equal(y->shape[3], 6);
    passes_case_end(&c);
}

static void value_between_with_two_readers_stays(void **state)
{
    passes_case c;
    onnx_builder *b = block("6x3x1x1", "y");
    (void)state;
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x4x4");
    onnx_builder_output(b, "e", LEAT_DTYPE_F32, "Nx6x8x8");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 0);
    assert_int_equal(passes_case_count(&c, "Conv"), 2);
    passes_case_end(&c);
}

static void first_filter_of_many_positions_stays(void **state)
{
    passes_case c;
    onnx_builder *b = block("6x3x2x2", "y");
    (void)state;
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x4x4");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
}

static void residual_between_stays(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "6x6x1x1", numbers);
    onnx_builder_floats(b, "f", "6x1x3x3", numbers);
    onnx_builder_text(b, "x: f32[Nx6x8x8]; c = Conv(x, w); e = Add(c, x)");
    depthwise(b, "e,f", "y", 6);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x4x4");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
}

static void device_that_refuses_keeps_both(void **state)
{
    passes_case c;
    onnx_builder *b = block("6x3x1x1", "y");
    (void)state;
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x4x4");
    passes_case_start(&c, b);
    c.refuse_leat = true;
    assert_int_equal(fused(&c), 0);
    assert_int_equal(passes_case_count(&c, "Conv"), 2);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_becomes_one_node),
        cmocka_unit_test(value_between_with_two_readers_stays),
        cmocka_unit_test(first_filter_of_many_positions_stays),
        cmocka_unit_test(residual_between_stays),
        cmocka_unit_test(device_that_refuses_keeps_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

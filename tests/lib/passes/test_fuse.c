/* SPDX-License-Identifier: Apache-2.0 */
/* matmul_add.c, fuse_residual.c, fuse_activation.c, fuse_hardswish.c. */
#include "support/passes_case.h"

static const float numbers[64] = {1, 2, 3, 4, 5, 6};

static void matmul_add_takes_a_constant_row(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "2x3", numbers);
    onnx_builder_floats(b, "b", "3", numbers);
    onnx_builder_text(b, "x: f32[Nx2]; m = MatMul(x, w); y = Add(b, m); -> y: f32[Nx3]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_matmul_add, true);
    passes_case_expect(&c, "y = leat.MatMul(x, w, b) : f32[N,3]\n");
    passes_case_end(&c);
}

/* A bias of [2] would be broadcast along rows only by accident of the shape; [2,1] is no row. */
static void matmul_add_leaves_other_shapes(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "2x3", numbers);
    onnx_builder_floats(b, "b", "2x1", numbers);
    onnx_builder_text(b, "x: f32[2x2]; m = MatMul(x, w); y = Add(m, b); -> y: f32[2x3]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_matmul_add, false);
    passes_case_end(&c);
}

static void fuse_activation_moves_clip_into_conv(void **state)
{
    static const float zero[] = {0}, six[] = {6};
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_floats(b, "lo", "", zero);
    onnx_builder_floats(b, "hi", "", six);
    onnx_builder_text(b, "x: f32[1x1x4x4]; c = Conv(x, w); y = Clip(c, lo, hi); "
                         "-> y: f32[1x1x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_activation, true);
    passes_case_expect(&c, "y = leat.Conv(x, w) {activation=\"Clip\", activation_alpha=0, "
                           "activation_beta=6} : f32[1,1,4,4]\n");
    passes_case_end(&c);
}

static void fuse_activation_recognises_swish(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_text(b, "x: f32[1x1x4x4]; "
                         "c = Conv(x, w); s = Sigmoid(c); y = Mul(c, s); "
                         "-> y: f32[1x1x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_activation, true);
    passes_case_expect(&c, "y = leat.Conv(x, w) {activation=\"Swish\", activation_alpha=1, "
                           "activation_beta=0} : f32[1,1,4,4]\n");
    passes_case_end(&c);
}

static void fuse_activation_leaves_a_value_that_others_read(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_text(b, "x: f32[1x1x4x4]; "
                         "c = Conv(x, w); y = Relu(c); "
                         "-> y: f32[1x1x4x4]; -> c: f32[1x1x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_activation, false);
    passes_case_end(&c);
}

static void fuse_activation_asks_the_device(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_text(b, "x: f32[1x1x4x4]; c = Conv(x, w); y = Relu(c); -> y: f32[1x1x4x4]");
    passes_case_start(&c, b);
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_activation, false);
    passes_case_expect(&c, "c = Conv(x, w) : f32[1,1,4,4]\n"
                           "y = Relu(c) : f32[1,1,4,4]\n");
    passes_case_end(&c);
}

/* Of two convolutions that are added the later one takes the other's result. */
static void fuse_residual_takes_the_other_operand(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_floats(b, "b", "1", numbers);
    onnx_builder_text(b, "x: f32[Nx1x4x4]; "
                         "p = Conv(x, w); q = Conv(x, w, b); a = Add(q, p); y = Relu(a); "
                         "-> y: f32[Nx1x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_residual, true);
    passes_case_run(&c, lt_pass_fuse_activation, true);
    passes_case_expect(&c, "p = Conv(x, w) : f32[N,1,4,4]\n"
                           "y = leat.Conv(x, w, b, p) {residual=1, activation=\"Relu\"} : "
                           "f32[N,1,4,4]\n");
    passes_case_end(&c);
}

static void fuse_residual_leaves_broadcasting(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_text(b, "x: f32[1x1x4x4]; r: f32[1x1x1x4]; "
                         "c = Conv(x, w); y = Add(c, r); "
                         "-> y: f32[1x1x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_residual, false);
    passes_case_end(&c);
}

/* Conv - x * Clip(x + bias, 0, 6) / 6, the product read by a factor and an addend. */
static void hardswish_case(passes_case *c, const float *bias)
{
    static const float zero[] = {0}, six[] = {6};
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_floats(b, "w", "1x1x1x1", numbers);
    onnx_builder_floats(b, "three", "1", bias);
    onnx_builder_floats(b, "lo", "", zero);
    onnx_builder_floats(b, "hi", "", six);
    onnx_builder_floats(b, "two", "1", numbers + 1);
    onnx_builder_text(b, "x: f32[1x1x4x4]; "
                         "c = Conv(x, w); a = Add(c, three); g = Clip(a, lo, hi); m = Mul(c, g); "
                         "h = Div(m, hi); s = Mul(two, h); y = Add(s, three); "
                         "-> y: f32[1x1x4x4]");
    passes_case_start(c, b);
}

static void fuse_hardswish_reads_clip_and_takes_a_scale(void **state)
{
    static const float three[] = {3};
    passes_case c;
    (void)state;
    hardswish_case(&c, three);
    passes_case_run(&c, lt_pass_fuse_hardswish, true);
    passes_case_run(&c, lt_pass_fuse_hardswish, false);
    assert_int_equal(passes_case_count(&c, "HardSwish"), 1);
    for (int i = 0; i < 3; i++) {
        passes_case_run(&c, lt_pass_fuse_activation, true);
    }
    passes_case_expect(&c, "y = leat.Conv(x, w) {activation=\"ScaledHardSwish\", "
                           "activation_alpha=2, activation_beta=3} : f32[1,1,4,4]\n");
    passes_case_end(&c);
}

static void fuse_hardswish_leaves_other_numbers(void **state)
{
    static const float two[] = {2};
    passes_case c;
    (void)state;
    hardswish_case(&c, two);
    passes_case_run(&c, lt_pass_fuse_hardswish, false);
    passes_case_end(&c);
}

/* x + x * s, s one number a channel; the other way round; and an s of the data's size. */
static void fuse_hardswish_adds_one_to_a_gate(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_text(b, "x: f32[Nx3x4x4]; s: f32[Nx3x1x1]; t: f32[Nx3x4x4]; "
                         "m = Mul(s, x); y = Add(x, m); n = Mul(y, t); z = Add(n, y); "
                         "-> z: f32[Nx3x4x4]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_hardswish, true);
    assert_int_equal(c.graph->n_nodes, 4);
    assert_string_equal(c.graph->nodes[0]->op, "Add");
    assert_string_equal(c.graph->nodes[1]->op, "Mul");
    assert_int_equal(c.graph->nodes[1]->inputs[1], c.graph->nodes[0]->outputs[0]);
    assert_string_equal(c.graph->values[c.graph->nodes[1]->outputs[0]].name, "y");
    assert_string_equal(c.graph->nodes[3]->op, "Add");
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_add_takes_a_constant_row),
        cmocka_unit_test(matmul_add_leaves_other_shapes),
        cmocka_unit_test(fuse_activation_moves_clip_into_conv),
        cmocka_unit_test(fuse_activation_recognises_swish),
        cmocka_unit_test(fuse_activation_leaves_a_value_that_others_read),
        cmocka_unit_test(fuse_activation_asks_the_device),
        cmocka_unit_test(fuse_residual_takes_the_other_operand),
        cmocka_unit_test(fuse_residual_leaves_broadcasting),
        cmocka_unit_test(fuse_hardswish_reads_clip_and_takes_a_scale),
        cmocka_unit_test(fuse_hardswish_leaves_other_numbers),
        cmocka_unit_test(fuse_hardswish_adds_one_to_a_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fold_constants.c and fold_affine.c. */
#include "support/passes_case.h"

#include <math.h>

static void fold_constants_computes_what_constants_decide(void **state)
{
    static const float two[] = {1, 2}, three[] = {10, 20};
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "p", "2", two);
    onnx_builder_floats(b, "q", "2", three);
    onnx_builder_text(b, "x: f32[2]; s = Add(p, q); n = Neg(s); y = Mul(x, n); -> y: f32[2]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_constants, true);
    passes_case_expect(&c, "y = Mul(x, n) : f32[2]\n");
    assert_true(passes_case_floats(&c, 0, 1)[0] == -11);
    assert_true(passes_case_floats(&c, 0, 1)[1] == -22);
    passes_case_run(&c, lt_pass_fold_constants, false);
    passes_case_end(&c);
}

static void fold_constants_knows_shapes(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_text(b, "x: f32[2x3]; v: f32[Nx3]; "
                         "s = Shape(x); t = Shape(v); y = Add(s, t); "
                         "-> y: i64[2]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_constants, true);
    passes_case_expect(&c, "t = Shape(v) : i64[2]\n"
                           "y = Add(s, t) : i64[2]\n");
    passes_case_end(&c);
}

/* A few bytes that ask for 4 GB stay a node. */
static void fold_constants_leaves_bombs_alone(void **state)
{
    static const int64_t shape[] = {1 << 15, 1 << 15};
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_ints(b, "s", "2", shape);
    onnx_builder_node(b, "ConstantOfShape", "s", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "32768x32768");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_constants, false);
    assert_true(c.memory.peak_bytes < 1 << 20);
    passes_case_end(&c);
}

static void fold_constants_keeps_quantized_weights(void **state)
{
    static const float scale[] = {0.5f};
    leat_array q = {LEAT_DTYPE_I8, 1, {2}, (int8_t[]){3, -4}, 2};
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_constant(b, "q", &q);
    onnx_builder_floats(b, "s", "", scale);
    onnx_builder_node(b, "DequantizeLinear", "q,s", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "2");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_constants, false);
    passes_case_end(&c);
}

static void fold_batchnorm_scales_weights_and_bias(void **state)
{
    static const float w[] = {1, 2, 3, 4}, bias[] = {0.5f, -1}, scale[] = {2, 3},
                       shift[] = {10, 20}, mean[] = {1, 2}, variance[] = {4, 9};
    leat_attr epsilon = test_attr_float("epsilon", 0.25f);
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx2x5x5");
    onnx_builder_floats(b, "w", "2x2x1x1", w);
    onnx_builder_floats(b, "b", "2", bias);
    onnx_builder_floats(b, "scale", "2", scale);
    onnx_builder_floats(b, "shift", "2", shift);
    onnx_builder_floats(b, "mean", "2", mean);
    onnx_builder_floats(b, "var", "2", variance);
    onnx_builder_node(b, "Conv", "x,w,b", "c", NULL, 0);
    onnx_builder_node(b, "BatchNormalization", "c,scale,shift,mean,var", "y", &epsilon, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx2x5x5");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_affine, true);
    assert_int_equal(c.graph->n_nodes, 1);
    assert_string_equal(c.graph->values[c.graph->nodes[0]->outputs[0]].name, "y");
    for (int m = 0; m < 2; m++) {
        double s = (double)scale[m] / sqrt((double)variance[m] + 0.25);
        double want = ((double)bias[m] - (double)mean[m]) * s + (double)shift[m];
        assert_true(fabs((double)passes_case_floats(&c, 0, 2)[m] - want) < 1e-6 * fabs(want));
        for (int i = 0; i < 2; i++) {
            double weight = (double)w[2 * m + i] * s;
            assert_true(fabs((double)passes_case_floats(&c, 0, 1)[2 * m + i] - weight) <
                        1e-6 * weight);
        }
    }
    passes_case_end(&c);
}

/* Two readers of the convolution: folding would change what the other one sees. */
static void fold_batchnorm_leaves_a_shared_convolution(void **state)
{
    static const float one[] = {1};
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", one);
    onnx_builder_floats(b, "p", "1", one);
    onnx_builder_text(b, "x: f32[1x1x2x2]; "
                         "c = Conv(x, w); y = BatchNormalization(c, p, p, p, p); z = Relu(c); "
                         "-> y: f32[1x1x2x2]; -> z: f32[1x1x2x2]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_affine, false);
    passes_case_end(&c);
}

/* A factor of all channels, then an addend a channel, behind a transposed convolution of two
 * groups. */
static void fold_affine_scales_a_transposed_convolution(void **state)
{
    static const float w[] = {1, 2, 3, 4, 5, 6, 7, 8}, half[] = {0.5f}, add[] = {1, 2, 3, 4};
    leat_attr group = test_attr_int("group", 2);
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx4x5x5");
    onnx_builder_floats(b, "w", "4x2x1x1", w);
    onnx_builder_floats(b, "half", "1", half);
    onnx_builder_floats(b, "add", "1x4x1x1", add);
    onnx_builder_node(b, "ConvTranspose", "x,w", "c", &group, 1);
    onnx_builder_text(b, "m = Mul(half, c); y = Sub(m, add); -> y: f32[Nx4x5x5]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_affine, true);
    passes_case_run(&c, lt_pass_fold_affine, true);
    assert_int_equal(c.graph->n_nodes, 1);
    assert_string_equal(c.graph->values[c.graph->nodes[0]->outputs[0]].name, "y");
    for (int i = 0; i < 8; i++) {
        assert_true(passes_case_floats(&c, 0, 1)[i] == w[i] * 0.5f);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(passes_case_floats(&c, 0, 2)[i] == -add[i]);
    }
    passes_case_end(&c);
}

/* Each channel its factor; of a transposed convolution's groups too. */
static void fold_affine_finds_the_channel(void **state)
{
    static const float w[] = {1, 2, 3, 4, 5, 6, 7, 8}, by[] = {10, 20, 30, 40};
    static const float want[] = {10, 40, 30, 80, 150, 240, 210, 320};
    leat_attr group = test_attr_int("group", 2);
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx4x5x5");
    onnx_builder_floats(b, "w", "4x2x1x1", w);
    onnx_builder_floats(b, "by", "4x1x1", by);
    onnx_builder_node(b, "ConvTranspose", "x,w", "c", &group, 1);
    onnx_builder_node(b, "Mul", "c,by", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx4x5x5");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_affine, true);
    assert_int_equal(c.graph->n_nodes, 1);
    for (int i = 0; i < 8; i++) {
        assert_true(passes_case_floats(&c, 0, 1)[i] == want[i]);
    }
    passes_case_end(&c);
}

/* A constant that is no number a channel: of the last axis. */
static void fold_affine_leaves_other_axes(void **state)
{
    static const float one[] = {1}, row[] = {1, 2};
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "1x1x1x1", one);
    onnx_builder_floats(b, "row", "2", row);
    onnx_builder_text(b, "x: f32[1x1x2x2]; c = Conv(x, w); y = Add(c, row); -> y: f32[1x1x2x2]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_affine, false);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fold_constants_computes_what_constants_decide),
        cmocka_unit_test(fold_constants_knows_shapes),
        cmocka_unit_test(fold_constants_leaves_bombs_alone),
        cmocka_unit_test(fold_constants_keeps_quantized_weights),
        cmocka_unit_test(fold_batchnorm_scales_weights_and_bias),
        cmocka_unit_test(fold_batchnorm_leaves_a_shared_convolution),
        cmocka_unit_test(fold_affine_scales_a_transposed_convolution),
        cmocka_unit_test(fold_affine_finds_the_channel),
        cmocka_unit_test(fold_affine_leaves_other_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

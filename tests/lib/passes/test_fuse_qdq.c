/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_qdq.c, fuse_qdq_residual.c, qdq_move.c, fuse_dynamic_quantize.c. */
#include "support/passes_case.h"

static const float scales[8] = {0.5f, 0.25f, 0.125f, 0.5f};
static const int8_t bytes[64] = {1, -2, 3};
static const uint8_t zeros[4] = {7, 9, 0, 0};
static const int32_t biases[4] = {100, -100, 5, 7};

static void constant(onnx_builder *b, const char *name, leat_dtype dtype, int32_t rank, int64_t d0,
                     int64_t d1, const void *data)
{
    leat_array a = {.dtype = dtype, .rank = rank, .shape = {d0, d1}, .data = (void *)data};
    size_t count = (size_t)((rank > 0 ? d0 : 1) * (rank > 1 ? d1 : 1));
    a.shape[2] = a.shape[3] = 1;
    a.bytes = leat_dtype_bytes(dtype, count);
    onnx_builder_constant(b, name, &a);
}

/* Grids sx (0.5, 7), sy (0.25, 9); weights w of 4 x 2 (x 1 x 1 when rank is 4) with a scale each.
 */
static onnx_builder *start(int32_t rank)
{
    onnx_builder *b = onnx_builder_create(13);
    static const float bias_scales[4] = {0.25f, 0.125f, 0.0625f, 0.25f};
    constant(b, "sx", LEAT_DTYPE_F32, 0, 0, 0, &scales[0]);
    constant(b, "zx", LEAT_DTYPE_U8, 0, 0, 0, &zeros[0]);
    constant(b, "sy", LEAT_DTYPE_F32, 0, 0, 0, &scales[1]);
    constant(b, "zy", LEAT_DTYPE_U8, 0, 0, 0, &zeros[1]);
    constant(b, "w", LEAT_DTYPE_I8, rank, 4, 2, bytes);
    constant(b, "sw", LEAT_DTYPE_F32, 1, 4, 0, scales);
    constant(b, "bias", LEAT_DTYPE_I32, 1, 4, 0, biases);
    constant(b, "sb", LEAT_DTYPE_F32, 1, 4, 0, bias_scales);
    return b;
}

static void dequantize(onnx_builder *b, const char *inputs, const char *output, int64_t axis)
{
    leat_attr attr = test_attr_int("axis", axis);
    onnx_builder_node(b, "DequantizeLinear", inputs, output, &attr, 1);
}

/* Quantized convolution c of x, from the dequantized fx to the float c. */
static void add_conv(onnx_builder *b)
{
    dequantize(b, "x,sx,zx", "fx", 0);
    dequantize(b, "w,sw", "fw", 0);
    dequantize(b, "bias,sb", "fb", 0);
    onnx_builder_node(b, "Conv", "fx,fw,fb", "c", NULL, 0);
}

static void run_all(passes_case *c, bool changed)
{
    bool did = false, round = true;
    leat_error err = {0};
    static const lt_pass_fn passes[] = {lt_pass_fuse_qdq,          lt_pass_fuse_dynamic_quantize,
                                        lt_pass_qdq_move,          lt_pass_fuse_quantize,
                                        lt_pass_fuse_qdq_residual, lt_pass_fuse_activation,
                                        lt_pass_fuse_quantize,     lt_pass_remove_dead};
    while (round) {
        round = false;
        for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++) {
            assert_ok(passes[i](c->graph, &c->context, &round, &err), &err);
            assert_ok(lt_graph_check(c->graph, &err), &err);
            did |= i + 1 < sizeof(passes) / sizeof(passes[0]) && round;
        }
    }
    assert_int_equal(did, changed);
}

static void conv_relu_quantize_becomes_one_node(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    add_conv(b);
    onnx_builder_text(b, "r = Relu(c); y = QuantizeLinear(r, sy, zy); -> y: u8[1x4x4x4]");
    passes_case_start(&c, b);
    run_all(&c, true);
    passes_case_expect(&c, "y = leat.QConv(x, sx, zx, w, sw, , sy, zy, bias) "
                           "{activation=\"Relu\"} : u8[1,4,4,4]\n");
    passes_case_end(&c);
}

static void conv_of_a_device_without_the_node_stays(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    add_conv(b);
    onnx_builder_output(b, "c", LEAT_DTYPE_F32, "1x4x4x4");
    passes_case_start(&c, b);
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_qdq, false);
    assert_int_equal(passes_case_count(&c, "Conv"), 1);
    passes_case_end(&c);
}

/* The bias' scales must be those of the products: others cannot be added to integers. */
static void conv_with_a_bias_on_another_grid_stays(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    dequantize(b, "x,sx,zx", "fx", 0);
    dequantize(b, "w,sw", "fw", 0);
    dequantize(b, "bias,sw", "fb", 0);
    onnx_builder_node(b, "Conv", "fx,fw,fb", "c", NULL, 0);
    onnx_builder_output(b, "c", LEAT_DTYPE_F32, "1x4x4x4");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_qdq, false);
    passes_case_end(&c);
}

/* Scales along the input channels belong to no column of the product. */
static void conv_with_scales_of_another_axis_stays(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    static const float two[2] = {1, 2};
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    constant(b, "s2", LEAT_DTYPE_F32, 1, 2, 0, two);
    dequantize(b, "x,sx,zx", "fx", 0);
    dequantize(b, "w,s2", "fw", 1);
    onnx_builder_node(b, "Conv", "fx,fw", "c", NULL, 0);
    onnx_builder_output(b, "c", LEAT_DTYPE_F32, "1x4x4x4");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_qdq, false);
    passes_case_end(&c);
}

/* y: the mean m of x, all quantized but m. */
static void add_mean(onnx_builder *b)
{
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    dequantize(b, "x,sx,zx", "fx", 0);
    onnx_builder_text(b, "m = GlobalAveragePool(fx); y = QuantizeLinear(m, sy, zy); "
                         "-> y: u8[1x2x1x1]");
}

static void mean_of_quantized_data_sums_bytes(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    add_mean(b);
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_qdq_mean, true);
    passes_case_run(&c, lt_pass_fuse_qdq_mean, true);
    passes_case_run(&c, lt_pass_remove_dead, true);
    passes_case_expect(&c, "y = leat.QGlobalAveragePool(x, sx, zx, sy, zy) : u8[1,2,1,1]\n");
    passes_case_end(&c);
}

static void only_a_mean_that_the_device_refuses_stays_in_floats(void **state)
{
    for (int i = 0; i < 2; i++) {
        passes_case c;
        onnx_builder *b = start(4);
        (void)state;
        add_mean(b);
        onnx_builder_output(b, "m", LEAT_DTYPE_F32, "1x2x1x1");
        passes_case_start(&c, b);
        c.refuse_leat = i == 1;
        passes_case_run(&c, lt_pass_fuse_qdq_mean, i == 0);
        assert_int_equal(passes_case_count(&c, "QGlobalAveragePool"), i == 0);
        assert_int_equal(passes_case_count(&c, "QuantizeLinear"), 1);
        passes_case_end(&c);
    }
}

/* An image of floats for a convolution that wants channels last; `shared`: its bytes are a result,
 * too. */
static void check_image(bool shared)
{
    passes_case c;
    onnx_builder *b = start(4);
    onnx_builder_input(b, "f", LEAT_DTYPE_F32, "1x2x4x4");
    onnx_builder_node(b, "QuantizeLinear", "f,sx,zx", "x", NULL, 0);
    add_conv(b);
    onnx_builder_node(b, "QuantizeLinear", "c,sy,zy", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_U8, "1x4x4x4");
    if (shared) {
        onnx_builder_output(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    }
    passes_case_start(&c, b);
    passes_case_run_device(&c);
    const leat_node *conv = passes_case_node(&c, "QConv", 0);
    const leat_value *x = &c.graph->values[conv->inputs[0]];
    assert_int_equal(leat_node_int(conv, "channels_last", 0), 1);
    assert_int_equal(x->dtype, shared ? LEAT_DTYPE_U8 : LEAT_DTYPE_F32);
    assert_int_equal(x->shape[1], shared ? 4 : 2);
    assert_int_equal(passes_case_count(&c, "QuantizeLinear"), shared);
    assert_int_equal(passes_case_count(&c, "Transpose"), shared ? 2 : 1);
    passes_case_end(&c);
}

static void image_is_quantized_by_its_convolution(void **state)
{
    (void)state;
    check_image(false);
    check_image(true);
}

static void residual_joins_the_convolution_with_both_roundings(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    onnx_builder_input(b, "q", LEAT_DTYPE_U8, "1x4x4x4");
    add_conv(b);
    onnx_builder_node(b, "QuantizeLinear", "c,sy,zy", "cq", NULL, 0);
    dequantize(b, "cq,sy,zy", "cf", 1);
    dequantize(b, "q,sx,zx", "qf", 1);
    onnx_builder_text(b, "s = Add(qf, cf); r = Relu(s); y = QuantizeLinear(r, sx, zx); "
                         "-> y: u8[1x4x4x4]");
    passes_case_start(&c, b);
    run_all(&c, true);
    passes_case_expect(&c, "y = leat.QConv(x, sx, zx, w, sw, , sy, zy, bias, sx, zx, sx, zx, q) "
                           "{residual=1, activation=\"Relu\"} : u8[1,4,4,4]\n");
    passes_case_end(&c);
}

/* Read by another node as well, the quantized result must be made. */
static void residual_leaves_a_result_that_others_read(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    onnx_builder_input(b, "q", LEAT_DTYPE_U8, "1x4x4x4");
    add_conv(b);
    onnx_builder_node(b, "QuantizeLinear", "c,sy,zy", "cq", NULL, 0);
    dequantize(b, "cq,sy,zy", "cf", 1);
    dequantize(b, "q,sx,zx", "qf", 1);
    onnx_builder_text(b, "s = Add(qf, cf); -> s: f32[1x4x4x4]; -> cq: u8[1x4x4x4]");
    passes_case_start(&c, b);
    run_all(&c, true);
    assert_int_equal(passes_case_count(&c, "Add"), 1);
    passes_case_end(&c);
}

static void gemm_takes_a_transposed_matrix(void **state)
{
    passes_case c;
    onnx_builder *b = start(2);
    leat_attr trans = test_attr_int("transB", 1);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "Nx2");
    dequantize(b, "x,sx,zx", "fx", 0);
    dequantize(b, "w,sw", "fw", 0);
    dequantize(b, "bias,sb", "fb", 0);
    onnx_builder_node(b, "Gemm", "fx,fw,fb", "g", &trans, 1);
    onnx_builder_node(b, "QuantizeLinear", "g,sy,zy", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_U8, "Nx4");
    passes_case_start(&c, b);
    run_all(&c, true);
    passes_case_expect(&c,
                       "y = leat.QMatMul(x, sx, zx, w, sw, , sy, zy, bias) {transB=1} : u8[N,4]\n");
    passes_case_end(&c);
}

static void pooling_and_reshape_move_to_bytes(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    static const int64_t kernel[2] = {2, 2};
    leat_attr attr = test_attr_ints("kernel_shape", kernel, 2);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x4x4");
    dequantize(b, "x,sx,zx", "fx", 0);
    onnx_builder_node(b, "MaxPool", "fx", "p", &attr, 1);
    onnx_builder_node(b, "QuantizeLinear", "p,sx,zx", "pq", NULL, 0);
    dequantize(b, "pq,sx,zx", "pf", 0);
    onnx_builder_node(b, "Flatten", "pf", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x18");
    passes_case_start(&c, b);
    run_all(&c, true);
    assert_int_equal(passes_case_count(&c, "QuantizeLinear"), 0);
    assert_int_equal(passes_case_count(&c, "DequantizeLinear"), 1);
    assert_string_equal(c.graph->nodes[0]->op, "MaxPool");
    assert_int_equal(c.graph->values[c.graph->nodes[0]->inputs[0]].dtype, LEAT_DTYPE_U8);
    passes_case_end(&c);
}

/* Operands on different grids cannot be joined as bytes. */
static void concat_of_different_scales_stays_float(void **state)
{
    passes_case c;
    onnx_builder *b = start(4);
    leat_attr axis = test_attr_int("axis", 1);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2");
    onnx_builder_input(b, "q", LEAT_DTYPE_U8, "1x2");
    dequantize(b, "x,sx,zx", "fx", 0);
    dequantize(b, "q,sy,zy", "fq", 0);
    onnx_builder_node(b, "Concat", "fx,fq", "y", &axis, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x4");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_qdq_move, false);
    passes_case_end(&c);
}

static void dynamic_product_takes_scales_bias_and_residual(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx2");
    onnx_builder_input(b, "r", LEAT_DTYPE_F32, "Nx4");
    constant(b, "w", LEAT_DTYPE_I8, 2, 2, 4, bytes);
    constant(b, "zw", LEAT_DTYPE_I8, 1, 4, 0, bytes);
    onnx_builder_floats(b, "sw", "4", scales);
    onnx_builder_floats(b, "b", "4", scales);
    onnx_builder_text(b, "xq, xs, xz = DynamicQuantizeLinear(x); s = Mul(xs, sw); "
                         "i = MatMulInteger(xq, w, xz, zw)");
    onnx_builder_node(b, "Cast", "i", "f", &to, 1);
    onnx_builder_text(b, "m = Mul(f, s); a = Add(b, m); y = Add(a, r); -> y: f32[Nx4]");
    passes_case_start(&c, b);
    run_all(&c, true);
    passes_case_expect(
        &c, "xq, xs, xz = DynamicQuantizeLinear(x) : u8[N,2] f32[] u8[]\n"
            "y = leat.QMatMul(xq, xs, xz, w, sw, zw, , , b, , , , , r) {residual=1} : f32[N,4]\n");
    passes_case_end(&c);
}

/* A factor that is no scale of data and weights. */
/* Mul, DynamicQuantizeLinear and columns that come again; `shared`: the bytes are a result, too. */
static void start_smooth(passes_case *c, bool shared)
{
    static const int64_t again[2] = {3, 0};
    const leat_attr last = test_attr_int("axis", -1);
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_floats(b, "f", "4", scales);
    onnx_builder_ints(b, "k", "2", again);
    onnx_builder_text(b, "x: f32[Nx4]; m = Mul(x, f); q, s, z = DynamicQuantizeLinear(m)");
    onnx_builder_node(b, "Gather", "q,k", "g", &last, 1);
    onnx_builder_node(b, "Concat", "q,g", "y", &last, 1);
    onnx_builder_text(b, "-> y: u8[Nx6]; -> s: f32[]; -> z: u8[]");
    if (shared) {
        onnx_builder_output(b, "q", LEAT_DTYPE_U8, "Nx4");
    }
    passes_case_start(c, b);
}

static void smoothed_data_is_quantized_by_one_node(void **state)
{
    passes_case c;
    (void)state;
    start_smooth(&c, false);
    passes_case_run(&c, lt_pass_fuse_smooth, true);
    assert_int_equal(c.graph->n_nodes, 1);
    passes_case_expect(&c, "y, s, z = leat.SmoothQuantize(x, f, k) : u8[N,6] f32[] u8[]\n");
    passes_case_end(&c);
    start_smooth(&c, true);
    passes_case_run(&c, lt_pass_fuse_smooth, true);
    assert_int_equal(passes_case_count(&c, "SmoothQuantize"), 1);
    assert_int_equal(passes_case_count(&c, "Concat"), 1); /* q has to be there */
    passes_case_end(&c);
    start_smooth(&c, false);
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_smooth, false);
    assert_int_equal(passes_case_count(&c, "Mul"), 1);
    passes_case_end(&c);
}

static void dynamic_product_with_other_factors_stays(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "3x2");
    onnx_builder_input(b, "s", LEAT_DTYPE_F32, "3x4");
    constant(b, "w", LEAT_DTYPE_I8, 2, 2, 4, bytes);
    onnx_builder_node(b, "MatMulInteger", "x,w", "i", NULL, 0);
    onnx_builder_node(b, "Cast", "i", "f", &to, 1);
    onnx_builder_node(b, "Mul", "f,s", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "3x4");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_dynamic_quantize, false);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_relu_quantize_becomes_one_node),
        cmocka_unit_test(conv_of_a_device_without_the_node_stays),
        cmocka_unit_test(conv_with_a_bias_on_another_grid_stays),
        cmocka_unit_test(conv_with_scales_of_another_axis_stays),
        cmocka_unit_test(mean_of_quantized_data_sums_bytes),
        cmocka_unit_test(only_a_mean_that_the_device_refuses_stays_in_floats),
        cmocka_unit_test(image_is_quantized_by_its_convolution),
        cmocka_unit_test(residual_joins_the_convolution_with_both_roundings),
        cmocka_unit_test(residual_leaves_a_result_that_others_read),
        cmocka_unit_test(gemm_takes_a_transposed_matrix),
        cmocka_unit_test(pooling_and_reshape_move_to_bytes),
        cmocka_unit_test(concat_of_different_scales_stays_float),
        cmocka_unit_test(dynamic_product_takes_scales_bias_and_residual),
        cmocka_unit_test(smoothed_data_is_quantized_by_one_node),
        cmocka_unit_test(dynamic_product_with_other_factors_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

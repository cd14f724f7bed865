/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c, transposes.c and transposes_region.c: whole nets end with one Transpose at the input.
 */
#include "support/passes_case.h"

static const float numbers[512] = {1, 2, 3};

static void conv(onnx_builder *b, const char *inputs, const char *out)
{
    static const int64_t pads[] = {1, 1, 1, 1};
    leat_attr attr = test_attr_ints("pads", pads, 4);
    onnx_builder_node(b, "Conv", inputs, out, &attr, 1);
}

static void layout_wraps_one_convolution(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx2x5x6");
    onnx_builder_floats(b, "w", "3x2x3x3", numbers);
    conv(b, "x,w", "y");
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx3x5x6");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_layout, true);
    assert_int_equal(c.graph->n_nodes, 3);
    assert_string_equal(c.graph->nodes[0]->op, "Transpose");
    assert_string_equal(c.graph->nodes[1]->domain, "leat");
    assert_int_equal(leat_node_int(c.graph->nodes[1], "channels_last", 0), 1);
    const leat_value *made = &c.graph->values[c.graph->nodes[1]->outputs[0]];
    assert_int_equal(made->shape[1], 5);
    assert_int_equal(made->shape[2], 6);
    assert_int_equal(made->shape[3], 3);
    passes_case_run(&c, lt_pass_transposes, false);
    passes_case_end(&c);
}

/* conv - relu - (conv + shortcut) - relu - pool - flatten - gemm, as in ResNet. */
static void residual_net_keeps_one_transpose(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x8x8");
    onnx_builder_floats(b, "w0", "4x3x3x3", numbers);
    onnx_builder_floats(b, "w1", "4x4x3x3", numbers);
    onnx_builder_floats(b, "fc", "4x5", numbers);
    conv(b, "x,w0", "c0");
    onnx_builder_node(b, "Relu", "c0", "r0", NULL, 0);
    conv(b, "r0,w1", "c1");
    onnx_builder_text(b, "s = Add(c1, r0); r1 = Relu(s); p = GlobalAveragePool(r1); "
                         "f = Flatten(p); y = MatMul(f, fc); "
                         "-> y: f32[Nx5]");
    passes_case_start(&c, b);
    passes_case_run_device(&c);
    assert_int_equal(passes_case_count(&c, "Transpose"), 1);
    assert_int_equal(passes_case_count(&c, "Relu"), 0);
    assert_int_equal(passes_case_count(&c, "Add"), 0);
    assert_string_equal(c.graph->nodes[0]->op, "Transpose");
    passes_case_end(&c);
}

/* Two branches that a Concat joins on channels, with elementwise nodes and constants between. */
static void concat_net_keeps_one_transpose(void **state)
{
    leat_attr axis = test_attr_int("axis", 1);
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1x3x8x8");
    onnx_builder_floats(b, "w0", "4x3x3x3", numbers);
    onnx_builder_floats(b, "w1", "2x8x3x3", numbers);
    onnx_builder_floats(b, "k", "4x1x1", numbers);
    conv(b, "x,w0", "p");
    conv(b, "x,w0", "q");
    onnx_builder_node(b, "Exp", "p", "e", NULL, 0);
    onnx_builder_node(b, "Mul", "q,k", "m", NULL, 0);
    onnx_builder_node(b, "Concat", "e,m", "j", &axis, 1);
    conv(b, "j,w1", "c");
    onnx_builder_node(b, "GlobalAveragePool", "c", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x2x1x1");
    passes_case_start(&c, b);
    passes_case_run_device(&c);
    /* Both convolutions transpose the input on their own; no Transpose is left behind them. */
    assert_true(passes_case_count(&c, "Transpose") <= 2);
    for (uint32_t i = 0; i < c.graph->n_nodes; i++) {
        const leat_node *node = c.graph->nodes[i];
        if (strcmp(node->op, "Concat") == 0) {
            assert_int_equal(leat_node_int(node, "axis", 0), 3);
        }
        if (strcmp(node->op, "Transpose") == 0) {
            assert_string_equal(c.graph->values[node->inputs[0]].name, "x");
        }
    }
    passes_case_end(&c);
}

static void transposes_cancel_and_merge(void **state)
{
    static const int64_t a[] = {0, 2, 1}, back[] = {0, 2, 1}, roll[] = {1, 2, 0};
    leat_attr first = test_attr_ints("perm", a, 3);
    leat_attr second = test_attr_ints("perm", back, 3);
    leat_attr third = test_attr_ints("perm", roll, 3);
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3x4");
    onnx_builder_node(b, "Transpose", "x", "p", &first, 1);
    onnx_builder_node(b, "Relu", "p", "q", NULL, 0);
    onnx_builder_node(b, "Transpose", "q", "r", &second, 1);
    onnx_builder_node(b, "Transpose", "r", "s", &third, 1);
    onnx_builder_node(b, "Neg", "s", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "3x4x2");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_transposes, true);
    leat_error err = {0};
    bool changed;
    assert_ok(lt_pass_remove_dead(c.graph, &c.context, &changed, &err), &err);
    assert_int_equal(passes_case_count(&c, "Transpose"), 1);
    assert_int_equal(c.graph->n_nodes, 3);
    const leat_value *y = &c.graph->values[c.graph->outputs[0]];
    assert_string_equal(y->name, "y");
    passes_case_end(&c);
}

static void transposes_of_single_elements_become_reshapes(void **state)
{
    static const int64_t perm[] = {0, 3, 1, 2};
    leat_attr attr = test_attr_ints("perm", perm, 4);
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx1x1x4");
    onnx_builder_node(b, "Transpose", "x", "y", &attr, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx4x1x1");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_transposes, true);
    assert_int_equal(passes_case_count(&c, "Transpose"), 0);
    assert_int_equal(passes_case_count(&c, "Reshape"), 1);
    passes_case_end(&c);
}

/* conv - gate of squeezed channels - sum with another conv's result - concat - conv. Node by node
 * no Transpose could pass the product: its other operand is not there yet. */
static void region_turns_a_gate_and_a_sum(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x8x8");
    onnx_builder_floats(b, "w0", "4x3x3x3", numbers);
    onnx_builder_floats(b, "w1", "4x4x1x1", numbers);
    onnx_builder_floats(b, "w2", "4x8x3x3", numbers);
    conv(b, "x,w0", "a");
    onnx_builder_text(b, "p = GlobalAveragePool(a); q = Conv(p, w1); s = Sigmoid(q); "
                         "m = Mul(a, s); n = Max(m, a)");
    leat_attr axis = test_attr_int("axis", 1);
    onnx_builder_node(b, "Concat", "n,m", "k", &axis, 1);
    conv(b, "k,w2", "y");
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx4x8x8");
    passes_case_start(&c, b);
    passes_case_run_device(&c);
    assert_int_equal(passes_case_count(&c, "Transpose"), 2); /* of x and y */
    for (uint32_t i = 0; i < c.graph->n_nodes; i++) {
        if (strcmp(c.graph->nodes[i]->op, "Concat") == 0) {
            assert_int_equal(leat_node_int(c.graph->nodes[i], "axis", 0), 3);
        }
    }
    passes_case_end(&c);
}

/* One Transpose would go, two would come: another layout is wanted outside, twice. */
static void region_stays_where_nothing_is_gained(void **state)
{
    static const int64_t perm[] = {0, 3, 1, 2};
    leat_attr attr = test_attr_ints("perm", perm, 4);
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x6x4");
    onnx_builder_node(b, "Transpose", "x", "t", &attr, 1);
    onnx_builder_text(b, "y = Exp(t); z = Mul(t, y); -> y: f32[Nx4x5x6]; -> z: f32[Nx4x5x6]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_transposes_region, false);
    passes_case_end(&c);
}

/* A node whose one output is not there has no rank and nothing to turn. Inference refuses such
 * nodes, but passes also run on graphs that could not be inferred. */
static void nodes_without_output_are_no_part_of_it(void **state)
{
    static const int64_t perm[] = {0, 3, 1, 2}, back[] = {0, 2, 3, 1};
    static const char *const ops[] = {"Exp", "Mul", "Concat", "Softmax"};
    const leat_attr to = test_attr_ints("perm", perm, 4), from = test_attr_ints("perm", back, 4);
    const leat_attr axis = test_attr_int("axis", 1);
    static const lt_pass_fn passes[] = {lt_pass_transposes_region, lt_pass_transposes};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(ops) / sizeof(ops[0]); i++) {
        const char *op = ops[i / 2];
        bool binary = strcmp(op, "Mul") == 0, has_axis = i / 2 > 1, changed;
        leat_error err = {0};
        passes_case c;
        onnx_builder *b = onnx_builder_create(13);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x6x4");
        onnx_builder_node(b, "Transpose", "x", "t", &to, 1);
        onnx_builder_node(b, op, binary ? "t,t" : "t", "none", &axis, has_axis);
        onnx_builder_node(b, "Mul", "t,t", "m", NULL, 0);
        onnx_builder_node(b, "Transpose", "m", "y", &from, 1);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x6x4");
        passes_case_start(&c, b);
        leat_node *node = c.graph->nodes[1];
        lt_node_set_output(node, 0, LEAT_NO_VALUE);
        assert_ok(passes[i % 2](c.graph, &c.context, &changed, &err), &err);
        assert_string_equal(node->op, op);
        assert_int_equal(node->outputs[0], LEAT_NO_VALUE);
        assert_string_equal(c.graph->values[node->inputs[0]].name, "t"); /* not x: it stays */
        passes_case_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_wraps_one_convolution),
        cmocka_unit_test(residual_net_keeps_one_transpose),
        cmocka_unit_test(concat_net_keeps_one_transpose),
        cmocka_unit_test(transposes_cancel_and_merge),
        cmocka_unit_test(transposes_of_single_elements_become_reshapes),
        cmocka_unit_test(region_turns_a_gate_and_a_sum),
        cmocka_unit_test(region_stays_where_nothing_is_gained),
        cmocka_unit_test(nodes_without_output_are_no_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_product_norm.c, behind the passes that it follows. */
#include "support/passes_case.h"

#include <stdio.h>

static const float numbers[64] = {1, 2, 3};

/* y = LayerNormalization over `axis` of x w + b + r, [N, 5, 8]; with_bias: there is b. */
static onnx_builder *block(int64_t axis, bool with_bias, const char *residual)
{
    const leat_attr attrs[] = {{"axis", LEAT_ATTR_INT, 1, {.i = axis}},
                               {"epsilon", LEAT_ATTR_FLOAT, 1, {.f = 0.25f}}};
    char sum[64];
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x6");
    onnx_builder_input(b, "r", LEAT_DTYPE_F32, "Nx5x8");
    onnx_builder_floats(b, "w", "6x8", numbers);
    onnx_builder_floats(b, "b", "8", numbers);
    onnx_builder_floats(b, "g", axis == 1 ? "5x8" : "8", numbers);
    onnx_builder_floats(b, "h", axis == 1 ? "5x8" : "8", numbers + 1);
    onnx_builder_node(b, "MatMul", "x,w", "p", NULL, 0);
    onnx_builder_node(b, "Add", "p,b", "q", NULL, 0);
    snprintf(sum, sizeof sum, "%s,%s", with_bias ? "q" : "p", residual);
    onnx_builder_node(b, "Add", sum, "s", NULL, 0);
    onnx_builder_node(b, "LayerNormalization", "s,g,h", "y", attrs, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x8");
    return b;
}

static uint32_t fused(passes_case *c)
{
    leat_error err = {0};
    assert_ok(lt_passes_run_device(c->graph, &c->context, &err), &err);
    assert_ok(lt_graph_check(c->graph, &err), &err);
    return passes_case_count(c, "MatMulNorm");
}

static void product_and_norm_become_one_node(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        passes_case c;
        passes_case_start(&c, block(i ? 2 : -1, i == 0, "r"));
        assert_int_equal(fused(&c), 1);
        assert_int_equal(passes_case_count(&c, "MatMul"), 0);
        assert_int_equal(passes_case_count(&c, "LayerNormalization"), 0);
        const leat_node *node = passes_case_node(&c, "MatMulNorm", 0);
        assert_int_equal(node->n_inputs, 6);
        assert_true((node->inputs[2] == LEAT_NO_VALUE) == (i == 1));
        assert_string_equal(c.graph->values[node->inputs[0]].name, "x");
        assert_string_equal(c.graph->values[node->inputs[1]].name, "w");
        assert_string_equal(c.graph->values[node->inputs[3]].name, "g");
        assert_string_equal(c.graph->values[node->inputs[4]].name, "h");
        assert_string_equal(c.graph->values[node->inputs[5]].name, "r");
        assert_true(leat_node_float(node, "epsilon", 0) == 0.25f);
        assert_int_equal(leat_node_int(node, "residual", 0), 1);
        const leat_value *y = &c.graph->values[node->outputs[0]];
        assert_true(y->rank == 3 && y->shape[1] == 5 && y->shape[2] == 8);
        passes_case_end(&c);
    }
}

static void other_forms_stay(void **state)
{
    (void)state;
    passes_case c;
    passes_case_start(&c, block(1, true, "r")); /* over two dimensions */
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
    onnx_builder *b = block(-1, true, "r"); /* somebody else wants the sum */
    onnx_builder_output(b, "s", LEAT_DTYPE_F32, "Nx5x8");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
    passes_case_start(&c, block(-1, true, "b")); /* no residual: a row */
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
    passes_case_start(&c, block(-1, true, "r"));
    c.refuse_leat = true;
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_and_norm_become_one_node),
        cmocka_unit_test(other_forms_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

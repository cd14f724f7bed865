/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_conv_pair.c, behind the passes that it follows. */
#include "support/passes_case.h"

#include <stdio.h>

static const float numbers[512] = {1, 2, 3};

/* The end of a stage: x (6 channels, 8 x 8) by a convolution of one tap and a stride of 2, plus m
 * (3 channels, 4 x 4) by `filter`, through Relu. The second convolution's result is `middle`. */
static onnx_builder *block(const char *filter, int64_t pad, const char *middle)
{
    const int64_t pads[] = {pad, pad, pad, pad}, two[] = {2, 2};
    const leat_attr padded = {"pads", LEAT_ATTR_INTS, 4, {.ints = pads}};
    const leat_attr strides = {"strides", LEAT_ATTR_INTS, 2, {.ints = two}};
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx6x8x8");
    onnx_builder_input(b, "m", LEAT_DTYPE_F32, "Nx3x4x4");
    onnx_builder_floats(b, "w", "8x6x1x1", numbers);
    onnx_builder_floats(b, "b", "8", numbers);
    onnx_builder_floats(b, "f", filter, numbers);
    onnx_builder_node(b, "Conv", "m,f", middle, &padded, 1);
    onnx_builder_node(b, "Conv", "x,w,b", "c", &strides, 1);
    char sum[64];
    snprintf(sum, sizeof sum, "c,%s", middle);
    onnx_builder_node(b, "Add", sum, "s", NULL, 0);
    onnx_builder_node(b, "Relu", "s", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx8x4x4");
    return b;
}

static uint32_t fused(passes_case *c)
{
    leat_error err = {0};
    assert_ok(lt_passes_run_device(c->graph, &c->context, &err), &err);
    assert_ok(lt_graph_check(c->graph, &err), &err);
    return passes_case_count(c, "ConvPair");
}

static void pair_becomes_one_node(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, block("8x3x1x1", 0, "d"));
    assert_int_equal(fused(&c), 1);
    assert_int_equal(passes_case_count(&c, "Conv"), 0);
    assert_int_equal(passes_case_count(&c, "Add"), 0);
    for (uint32_t i = 0; i < c.graph->n_nodes; i++) {
        const leat_node *node = c.graph->nodes[i];
        if (strcmp(node->op, "ConvPair") != 0) {
            continue;
        }
        const leat_value *y = &c.graph->values[node->outputs[0]];
        const leat_value *first = &c.graph->values[node->inputs[0]];
        const leat_value *second = &c.graph->values[node->inputs[3]];
        size_t count;
        const int64_t *strides = leat_node_ints(node, "strides", &count);
        assert_true(leat_node_string_is(node, "activation", "Relu"));
        assert_null(leat_node_attr(node, "residual"));
        assert_true(node->inputs[2] != LEAT_NO_VALUE && node->inputs[5] == LEAT_NO_VALUE);
        assert_true(first->shape[3] == 6 && second->shape[3] == 3);
        assert_true(strides != NULL && count == 2 && strides[0] == 2);
        assert_true(y->shape[1] == 4 && y->shape[3] == 8);
    }
    passes_case_end(&c);
}

static void other_forms_stay(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, block("8x3x3x3", 1, "d")); /* more than one tap */
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
    onnx_builder *b = block("8x3x1x1", 0, "d"); /* somebody else wants the residual */
    onnx_builder_output(b, "d", LEAT_DTYPE_F32, "Nx8x4x4");
    passes_case_start(&c, b);
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
    passes_case_start(&c, block("8x3x1x1", 0, "d"));
    c.refuse_leat = true;
    assert_int_equal(fused(&c), 0);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_becomes_one_node),
        cmocka_unit_test(other_forms_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fold_shapes.c */
#include "support/passes_case.h"

#include <stdio.h>
#include <string.h>

static const int64_t zero[] = {0}, one[] = {1}, two[] = {2}, many[] = {1000}, twelve[] = {3, 4};

/* x of [N, S, 12]; its shape and single dimensions as lists d0 and d1. */
static onnx_builder *start(void)
{
    onnx_builder *b = onnx_builder_create(17);
    leat_attr axis = test_attr_int("axis", 0);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxSx12");
    onnx_builder_ints(b, "i0", "", zero);
    onnx_builder_ints(b, "i1", "", one);
    onnx_builder_ints(b, "l0", "1", zero);
    onnx_builder_ints(b, "l1", "1", one);
    onnx_builder_ints(b, "l2", "1", two);
    onnx_builder_ints(b, "l1000", "1", many);
    onnx_builder_ints(b, "tail", "2", twelve);
    onnx_builder_node(b, "Shape", "x", "s", NULL, 0);
    onnx_builder_node(b, "Gather", "s,i0", "g0", &axis, 1);
    onnx_builder_node(b, "Unsqueeze", "g0,l0", "d0", NULL, 0);
    onnx_builder_node(b, "Slice", "s,l1,l2", "d1", NULL, 0);
    return b;
}

static void check(const char *parts, bool changed, const char *expected)
{
    leat_attr axis = test_attr_int("axis", 0);
    passes_case c;
    onnx_builder *b = start();
    bool ignored = false;
    leat_error err = {0};
    onnx_builder_node(b, "Concat", parts, "t", &axis, 1);
    onnx_builder_node(b, "Reshape", "x,t", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_shapes, changed);
    assert_ok(lt_pass_remove_dead(c.graph, &c.context, &ignored, &err), &err);
    if (expected != NULL) {
        const leat_node *node = c.graph->nodes[c.graph->n_nodes - 1];
        int64_t target[4];
        char text[64];
        assert_int_equal(c.graph->n_nodes, 1);
        memcpy(target, c.graph->values[node->inputs[1]].data, sizeof(target));
        snprintf(text, sizeof(text), "%d,%d,%d,%d", (int)target[0], (int)target[1], (int)target[2],
                 (int)target[3]);
        assert_string_equal(text, expected);
    }
    passes_case_end(&c);
}

static void dimensions_at_their_place_become_zero(void **state)
{
    (void)state;
    check("d0,d1,tail", true, "0,0,3,4");
}

/* What is left over can be told from numbers only, and only once. */
static void a_symbol_elsewhere_stays_or_is_left_over(void **state)
{
    (void)state;
    check("d1,d0,tail", false, NULL);
    check("d0,tail,d1", false, NULL);
}

static void a_lone_symbol_elsewhere_is_left_over(void **state)
{
    leat_attr axis = test_attr_int("axis", 0);
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_ints(b, "l1", "1", one);
    onnx_builder_ints(b, "l1000", "1", many);
    onnx_builder_ints(b, "l2", "1", two);
    onnx_builder_text(b, "x: f32[6xS]; s = Shape(x); d = Slice(s, l1, l1000)");
    onnx_builder_node(b, "Concat", "d,l2,tail", "t", &axis, 1);
    static const int64_t three[] = {3, 1};
    onnx_builder_ints(b, "tail", "2", three);
    onnx_builder_node(b, "Reshape", "x,t", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_shapes, true);
    char text[2048];
    lt_graph_text(c.graph, text, sizeof(text));
    assert_non_null(strstr(text, "f32[S,2,3,1]"));
    passes_case_end(&c);
}

/* Numbers among symbols: the known dimension becomes a constant, the unknown one does not. */
static void known_dimensions_become_constants(void **state)
{
    leat_attr axis = test_attr_int("axis", 0);
    passes_case c;
    onnx_builder *b = start();
    (void)state;
    onnx_builder_ints(b, "last", "", two);
    onnx_builder_node(b, "Gather", "s,last", "k", &axis, 1);
    onnx_builder_node(b, "Mul", "k,g0", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_I64, "");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fold_shapes, true);
    assert_int_equal(passes_case_count(&c, "Gather"), 1);
    uint32_t k = lt_graph_find_value(c.graph, "k");
    int64_t value;
    memcpy(&value, c.graph->values[k].data, sizeof(value));
    assert_int_equal(value, 12);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dimensions_at_their_place_become_zero),
        cmocka_unit_test(a_symbol_elsewhere_stays_or_is_left_over),
        cmocka_unit_test(a_lone_symbol_elsewhere_is_left_over),
        cmocka_unit_test(known_dimensions_become_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

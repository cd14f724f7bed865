/* SPDX-License-Identifier: Apache-2.0 */
/* captures.c and inline_if.c. */
#include "support/passes_case.h"

static lt_graph *body_of(const passes_case *c, uint32_t node, const char *name)
{
    const leat_attr *attr = leat_node_attr(c->graph->nodes[node], name);
    assert_non_null(attr);
    return (lt_graph *)attr->u.graph;
}

/* y = If(cond): then k + k + x and, beside it, an inner If on cond2; else x. `known` makes cond a
 * constant. */
static void start(passes_case *c, const uint8_t *known)
{
    static const float k[3] = {1, 2, 3};
    onnx_builder *b = onnx_builder_create(17), *yes = onnx_builder_create(17),
                 *no = onnx_builder_create(17), *inner_yes = onnx_builder_create(17),
                 *inner_no = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "3");
    onnx_builder_input(b, "cond2", LEAT_DTYPE_BOOL, "");
    onnx_builder_floats(b, "k", "3", k);
    if (known != NULL) {
        const leat_array cond = {.dtype = LEAT_DTYPE_BOOL, .data = (void *)known, .bytes = 1};
        onnx_builder_constant(b, "cond", &cond);
    } else {
        onnx_builder_input(b, "cond", LEAT_DTYPE_BOOL, "");
    }
    onnx_builder_node(inner_yes, "Neg", "t", "n", NULL, 0);
    onnx_builder_output(inner_yes, "n", LEAT_DTYPE_F32, "3");
    onnx_builder_node(inner_no, "Exp", "x", "e", NULL, 0);
    onnx_builder_output(inner_no, "e", LEAT_DTYPE_F32, "3");
    const leat_attr inner[] = {test_attr_graph("then_branch", inner_yes),
                               test_attr_graph("else_branch", inner_no)};
    onnx_builder_text(yes, "kk = Add(k, k); t = Add(kk, x); unused = Abs(x)");
    onnx_builder_node(yes, "If", "cond2", "i", inner, 2);
    onnx_builder_output(yes, "t", LEAT_DTYPE_F32, "3");
    onnx_builder_output(yes, "i", LEAT_DTYPE_F32, "3");
    onnx_builder_output(no, "x", LEAT_DTYPE_F32, "3");
    onnx_builder_output(no, "k", LEAT_DTYPE_F32, "3");
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_node(b, "If", "cond", "y,z", branches, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "3");
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, "3");
    passes_case_start(c, b);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
    onnx_builder_destroy(inner_yes);
    onnx_builder_destroy(inner_no);
}

static void captures_brings_constants_in_for_folding(void **state)
{
    passes_case c;
    (void)state;
    start(&c, NULL);
    lt_graph *yes = body_of(&c, 0, "then_branch");
    assert_int_equal(yes->n_nodes, 4);
    passes_case_run(&c, lt_pass_captures, true);
    passes_case_run(&c, lt_pass_fold_constants, true);
    assert_int_equal(yes->n_nodes, 3); /* k + k is computed */
    const leat_value *kk = &yes->values[yes->nodes[0]->inputs[0]];
    assert_non_null(kk->data);
    assert_true(((const float *)kk->data)[2] == 6);
    passes_case_run(&c, lt_pass_captures, true); /* k is read no more */
    for (uint32_t i = 0; i < yes->n_captures; i++) {
        assert_string_not_equal(yes->values[yes->captures[i].inner].name, "k");
    }
    passes_case_run(&c, lt_pass_captures, false);
    passes_case_end(&c);
}

static void captures_drops_what_only_dead_nodes_read(void **state)
{
    passes_case c;
    (void)state;
    start(&c, NULL);
    lt_graph *yes = body_of(&c, 0, "then_branch");
    uint32_t before = yes->n_captures;
    passes_case_run(&c, lt_pass_remove_dead, true); /* Abs */
    assert_int_equal(yes->n_nodes, 3);
    passes_case_run(&c, lt_pass_captures, true); /* the constant k comes in */
    assert_int_equal(yes->n_captures, before);   /* x is read by others too */
    passes_case_end(&c);
}

static void inline_if_takes_the_branch_with_its_bodies(void **state)
{
    passes_case c;
    static const uint8_t yes = 1;
    (void)state;
    start(&c, &yes);
    passes_case_run(&c, lt_pass_inline_if, true);
    assert_int_equal(c.graph->n_nodes, 4);
    assert_int_equal(passes_case_count(&c, "If"), 1); /* the inner one, on cond2 */
    assert_string_equal(c.graph->nodes[1]->op, "Add");
    assert_int_equal(c.graph->nodes[1]->outputs[0], c.graph->outputs[0]);
    assert_string_equal(c.graph->values[c.graph->outputs[0]].name, "y");
    lt_graph *inner = body_of(&c, 3, "then_branch");
    assert_ptr_equal(inner->parent, c.graph);
    assert_int_equal(inner->n_captures, 1);
    assert_int_equal(inner->captures[0].outer, c.graph->outputs[0]); /* t is y now */
    passes_case_run(&c, lt_pass_inline_if, false);
    passes_case_end(&c);
}

static void inline_if_copies_outputs_that_are_captured(void **state)
{
    passes_case c;
    static const uint8_t no = 0;
    (void)state;
    start(&c, &no);
    passes_case_run(&c, lt_pass_inline_if, true);
    passes_case_expect(&c, "y = Identity(x) : f32[3]\n"
                           "z = Identity(k) : f32[3]\n");
    passes_case_end(&c);
}

static void inline_if_leaves_an_open_condition(void **state)
{
    passes_case c;
    (void)state;
    start(&c, NULL);
    passes_case_run(&c, lt_pass_inline_if, false);
    assert_int_equal(passes_case_count(&c, "If"), 1);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures_brings_constants_in_for_folding),
        cmocka_unit_test(captures_drops_what_only_dead_nodes_read),
        cmocka_unit_test(inline_if_takes_the_branch_with_its_bodies),
        cmocka_unit_test(inline_if_copies_outputs_that_are_captured),
        cmocka_unit_test(inline_if_leaves_an_open_condition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

/* y = Mul(Add(x, w), x), and a node with a body. */
static int setup(void **state)
{
    static small s;
    small_create(&s);
    small_inputs(&s, s.graph, "x");
    float w = 1;
    leat_array array = {LEAT_DTYPE_F32, 1, {1}, &w, sizeof(w)};
    uint32_t constant;
    assert_ok(lt_graph_add_constant(s.graph, "w", &array, true, &constant, &s.err), &s.err);
    small_node(&s, s.graph, "a", "Add", "x w");
    small_node(&s, s.graph, "y", "Mul", "a x");
    small_body(&s, small_node(&s, s.graph, "z", "If", "x"), "then_branch", "a");
    small_outputs(&s, s.graph, "y z");
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    small_destroy(*state);
    return 0;
}

static void assert_breach(small *s, const char *text)
{
    assert_int_equal(lt_graph_check(s->graph, &s->err), LEAT_INTERNAL);
    if (strstr(s->err.message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", s->err.message, text);
    }
}

static void check_good_graph_returns_ok(void **state)
{
    small *s = *state;
    assert_ok(lt_graph_check(s->graph, &s->err), &s->err);
}

static void check_bad_input_returns_internal(void **state)
{
    small *s = *state;
    leat_node *mul = s->graph->nodes[1];
    lt_node_set_input(mul, 0, mul->outputs[0]);
    assert_breach(s, "node 'y' (Mul) reads input 0 before it is made");
    lt_node_set_input(mul, 0, 99);
    assert_breach(s, "reads input 0");
    lt_node_set_input(mul, 0, LEAT_NO_VALUE); /* omitted */
    assert_ok(lt_graph_check(s->graph, &s->err), &s->err);
}

static void check_two_producers_returns_internal(void **state)
{
    small *s = *state;
    lt_node_set_output(s->graph->nodes[1], 0, s->graph->nodes[0]->outputs[0]);
    assert_breach(s, "makes output 0 a second time");
    lt_node_set_output(s->graph->nodes[1], 0, s->graph->inputs[0]);
    assert_breach(s, "makes output 0 a second time");
    lt_node_set_output(s->graph->nodes[1], 0, lt_graph_find_value(s->graph, "w"));
    assert_breach(s, "makes output 0 a second time");
}

static void check_bad_outputs_and_inputs_return_internal(void **state)
{
    small *s = *state;
    s->graph->outputs[1] = 1000;
    assert_breach(s, "graph output 1");
    s->graph->outputs[1] = s->graph->outputs[0];
    s->graph->inputs[0] = 1000;
    assert_breach(s, "graph input 0");
}

static void check_bad_value_returns_internal(void **state)
{
    small *s = *state;
    leat_value *w = &s->graph->values[lt_graph_find_value(s->graph, "w")];
    w->bytes = 3;
    assert_breach(s, "constant 'w' has 3 bytes");
    w->bytes = 4;
    w->rank = -1;
    assert_breach(s, "constant 'w'");
    w->rank = 9;
    assert_breach(s, "rank 9");
    w->rank = 1;
    leat_value *x = &s->graph->values[s->graph->inputs[0]];
    x->rank = 1;
    x->shape[0] = -1;
    assert_breach(s, "value 'x': dimension 0 is no known symbol");
    assert_ok(lt_graph_symbol(s->graph, "N", &x->shape[0], &s->err), &s->err);
    assert_ok(lt_graph_check(s->graph, &s->err), &s->err);
    x->shape[0] = INT64_MIN;
    assert_breach(s, "no known symbol");
}

static void check_looks_into_bodies(void **state)
{
    small *s = *state;
    lt_graph *body = (lt_graph *)(uintptr_t)s->graph->nodes[2]->attrs[0].u.graph;
    body->captures[0].outer = s->graph->nodes[2]->outputs[0];
    assert_breach(s, "node 'z' (If): then_branch captures what is not made");
    body->captures[0].outer = 0;
    lt_node_set_input(body->nodes[0], 0, 77);
    assert_breach(s, "node 'inner_out' (Add)");
    lt_node_set_input(body->nodes[0], 0, body->captures[0].inner);
    body->captures[0].inner = 77;
    assert_breach(s, "capture 0");
    body->parent = NULL;
    assert_breach(s, "belongs to another graph");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(check_good_graph_returns_ok),
        TEST(check_bad_input_returns_internal),
        TEST(check_two_producers_returns_internal),
        TEST(check_bad_outputs_and_inputs_return_internal),
        TEST(check_bad_value_returns_internal),
        TEST(check_looks_into_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

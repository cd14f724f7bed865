/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

/* The operators in order, one letter each. */
static void assert_order(const small *s, const char *order)
{
    char have[32] = {0};
    for (uint32_t i = 0; i < s->graph->n_nodes; i++) {
        have[i] = s->graph->nodes[i]->op[0];
    }
    assert_string_equal(have, order);
}

static void sort_wrong_order_puts_producers_first(void **state)
{
    (void)state;
    small s;
    small_create(&s);
    small_inputs(&s, s.graph, "x");
    small_node(&s, s.graph, "z", "C", "y w");
    small_node(&s, s.graph, "y", "B", "x");
    small_node(&s, s.graph, "w", "A", "y");
    small_node(&s, s.graph, "v", "D", "x");
    assert_ok(lt_graph_sort(s.graph, &s.err), &s.err);
    assert_order(&s, "BACD");
    small_outputs(&s, s.graph, "z v");
    assert_ok(lt_graph_check(s.graph, &s.err), &s.err);
    small_destroy(&s);
}

static void sort_right_order_changes_nothing(void **state)
{
    (void)state;
    small s;
    small_create(&s);
    small_node(&s, s.graph, "a", "A", "x");
    small_node(&s, s.graph, "b", "B", "x");
    small_node(&s, s.graph, "c", "C", "b -");
    small_node(&s, s.graph, "d", "D", "a c");
    assert_ok(lt_graph_sort(s.graph, &s.err), &s.err);
    assert_order(&s, "ABCD");
    small_destroy(&s);
}

static void sort_cycle_returns_corrupt(void **state)
{
    (void)state;
    small s;
    small_create(&s);
    small_node(&s, s.graph, "a", "Alpha", "x c");
    small_node(&s, s.graph, "b", "Beta", "a");
    small_node(&s, s.graph, "c", "Gamma", "b");
    assert_int_equal(lt_graph_sort(s.graph, &s.err), LEAT_CORRUPT);
    assert_non_null(strstr(s.err.message, "depends on its own output"));
    assert_order(&s, "ABG");
    small_destroy(&s);
}

static void sort_self_loop_returns_corrupt(void **state)
{
    (void)state;
    small s;
    small_create(&s);
    small_node(&s, s.graph, "a", "Alpha", "a");
    assert_int_equal(lt_graph_sort(s.graph, &s.err), LEAT_CORRUPT);
    assert_non_null(strstr(s.err.message, "'a' (Alpha)"));
    small_destroy(&s);
}

static void sort_follows_captures(void **state)
{
    (void)state;
    small s;
    small_create(&s);
    leat_node *node = small_node(&s, s.graph, "y", "If", "x");
    small_body(&s, node, "then_branch", "a");
    small_node(&s, s.graph, "a", "A", "x");
    assert_ok(lt_graph_sort(s.graph, &s.err), &s.err);
    assert_order(&s, "AI");
    small_destroy(&s);
}

/* A chain in reverse, deeper than a stack of calls could be. */
static void sort_deep_chain_does_not_recurse(void **state)
{
    (void)state;
    enum {
        LENGTH = 200000
    };
    small s;
    small_create(&s);
    uint32_t v[2];
    lt_node_desc desc = {.op = "R", .domain = "", .name = "n", .n_inputs = 1, .n_outputs = 1};
    for (uint32_t i = 0; i <= LENGTH; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%u", i);
        assert_ok(lt_graph_add_value(s.graph, name, v, &s.err), &s.err);
    }
    for (uint32_t i = LENGTH; i > 0; i--) {
        v[0] = i - 1;
        v[1] = i;
        desc.inputs = &v[0];
        desc.outputs = &v[1];
        assert_ok(lt_graph_add_node(s.graph, &desc, UINT32_MAX, NULL, &s.err), &s.err);
    }
    assert_ok(lt_graph_sort(s.graph, &s.err), &s.err);
    assert_int_equal(s.graph->nodes[0]->inputs[0], 0);
    assert_int_equal(s.graph->nodes[LENGTH - 1]->outputs[0], LENGTH);
    small_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sort_wrong_order_puts_producers_first),
        cmocka_unit_test(sort_right_order_changes_nothing),
        cmocka_unit_test(sort_cycle_returns_corrupt),
        cmocka_unit_test(sort_self_loop_returns_corrupt),
        cmocka_unit_test(sort_follows_captures),
        cmocka_unit_test(sort_deep_chain_does_not_recurse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

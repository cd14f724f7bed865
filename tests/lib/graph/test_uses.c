/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

/* a = Add(x, x), y = Mul(a, x), z = If(x) whose body captures a; outputs y. */
static void build(small *s)
{
    small_create(s);
    small_inputs(s, s->graph, "x");
    small_node(s, s->graph, "a", "Add", "x x");
    small_node(s, s->graph, "y", "Mul", "a x -");
    small_body(s, small_node(s, s->graph, "z", "If", "x"), "then_branch", "a");
    small_outputs(s, s->graph, "y");
}

static void uses_counts_readers_outputs_and_captures(void **state)
{
    (void)state;
    small s;
    lt_uses uses;
    build(&s);
    assert_ok(lt_uses_build(s.graph, &s.graph->arena, &uses, &s.err), &s.err);
    uint32_t x = lt_graph_find_value(s.graph, "x"), a = lt_graph_find_value(s.graph, "a");
    uint32_t y = lt_graph_find_value(s.graph, "y"), z = lt_graph_find_value(s.graph, "z");
    assert_int_equal(uses.count[x], 4);
    assert_int_equal(uses.count[a], 2);
    assert_int_equal(uses.count[y], 1);
    assert_int_equal(uses.count[z], 0);
    assert_null(uses.producer[x]);
    assert_ptr_equal(uses.producer[a], s.graph->nodes[0]);
    assert_ptr_equal(uses.producer[y], s.graph->nodes[1]);
    assert_ptr_equal(uses.reader[a], s.graph->nodes[1]);
    assert_null(uses.reader[y]);
    assert_true(uses.is_output[a]); /* captured */
    assert_true(uses.is_output[y]);
    assert_false(uses.is_output[x]);
    assert_false(uses.is_output[z]);
    small_destroy(&s);
}

static void replace_uses_changes_all_readers(void **state)
{
    (void)state;
    small s;
    build(&s);
    uint32_t x = lt_graph_find_value(s.graph, "x"), a = lt_graph_find_value(s.graph, "a");
    uint32_t y = lt_graph_find_value(s.graph, "y");
    lt_graph_replace_uses(s.graph, a, x);
    const lt_graph *body = s.graph->nodes[2]->attrs[0].u.graph;
    assert_int_equal(s.graph->nodes[1]->inputs[0], x);
    assert_int_equal(body->captures[0].outer, x);
    assert_int_equal(s.graph->nodes[0]->outputs[0], a); /* producers stay */
    lt_graph_replace_uses(s.graph, y, a);
    assert_int_equal(s.graph->outputs[0], a);
    assert_ok(lt_graph_check(s.graph, &s.err), &s.err);
    small_destroy(&s);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const small *s = argument;
    lt_memory memory;
    lt_arena arena;
    lt_uses uses;
    lt_memory_init(&memory, allocator, 0);
    lt_arena_init(&arena, &memory, 1);
    leat_status status = lt_uses_build(s->graph, &arena, &uses, err);
    lt_arena_destroy(&arena);
    return status;
}

static void uses_failing_allocations_returns_no_memory(void **state)
{
    (void)state;
    small s;
    build(&s);
    test_walk_allocations(attempt, &s);
    small_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_counts_readers_outputs_and_captures),
        cmocka_unit_test(replace_uses_changes_all_readers),
        cmocka_unit_test(uses_failing_allocations_returns_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

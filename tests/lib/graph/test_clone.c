/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

static const float weights[2] = {1, 2};

static void build(small *s)
{
    small_create(s);
    lt_graph *g = s->graph;
    static lt_opset opsets[] = {{"", 17}, {"com.microsoft", 1}};
    g->opsets = opsets;
    g->n_opsets = 2;
    g->ir_version = 8;
    g->producer = "test";
    g->name = "small";
    small_inputs(s, g, "x");
    leat_value *x = &g->values[g->inputs[0]];
    x->dtype = LEAT_DTYPE_F32;
    x->rank = 2;
    assert_ok(lt_graph_symbol(g, NULL, &x->shape[1], &s->err), &s->err);
    assert_ok(lt_graph_symbol(g, "N", &x->shape[0], &s->err), &s->err);
    leat_array array = {LEAT_DTYPE_F32, 1, {2}, (void *)(uintptr_t)weights, sizeof(weights)};
    uint32_t w;
    assert_ok(lt_graph_add_constant(g, "w", &array, false, &w, &s->err), &s->err);
    leat_node *add = small_node(s, g, "a", "Add", "x w");
    assert_ok(lt_node_set_string(g, add, "note", "text", &s->err), &s->err);
    add->opset = 13;
    small_body(s, small_node(s, g, "y", "If", "x"), "then_branch", "a");
    small_outputs(s, g, "y");
}

static void clone_equals_and_is_independent(void **state)
{
    (void)state;
    small s;
    lt_graph *twin;
    char before[512], after[512];
    build(&s);
    lt_graph_text(s.graph, before, sizeof(before));
    assert_ok(lt_graph_clone(s.graph, &twin, &s.err), &s.err);
    lt_graph_text(twin, after, sizeof(after));
    assert_string_equal(before, after);
    assert_ok(lt_graph_check(twin, &s.err), &s.err);
    assert_string_equal(twin->name, "small");
    assert_string_equal(twin->producer, "test");
    assert_int_equal(twin->ir_version, 8);
    assert_int_equal(lt_graph_opset(twin, "com.microsoft"), 1);
    assert_int_equal(twin->nodes[0]->opset, 13);
    assert_string_equal(lt_graph_symbol_name(twin, twin->values[twin->inputs[0]].shape[0]), "N");
    assert_ptr_equal(twin->values[lt_graph_find_value(twin, "w")].data, weights);
    const lt_graph *body = twin->nodes[1]->attrs[0].u.graph;
    assert_ptr_equal(body->parent, twin);
    assert_ptr_equal(body->root, twin);
    assert_ptr_not_equal(body, s.graph->nodes[1]->attrs[0].u.graph);
    /* What changes in the copy stays there. */
    assert_ok(lt_node_set_string(twin, twin->nodes[0], "note", "other", &s.err), &s.err);
    lt_node_set_input(twin->nodes[0], 0, 1);
    lt_graph_replace_uses(twin, lt_graph_find_value(twin, "a"), 0);
    lt_graph_remove_node(twin, twin->nodes[0]);
    lt_graph_text(s.graph, after, sizeof(after));
    assert_string_equal(before, after);
    assert_ok(lt_graph_check(s.graph, &s.err), &s.err);
    lt_graph_destroy(twin);
    small_destroy(&s);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    small *s = argument;
    lt_graph *twin = s->graph; /* must be NULL after a failure */
    lt_memory *own = s->graph->arena.memory, memory;
    lt_memory_init(&memory, allocator, 0);
    s->graph->arena.memory = &memory; /* where the copy takes its memory from */
    leat_status status = lt_graph_clone(s->graph, &twin, err);
    s->graph->arena.memory = own;
    assert_true((status == LEAT_OK) == (twin != NULL));
    lt_graph_destroy(twin);
    return status;
}

static void clone_failing_allocations_returns_no_memory(void **state)
{
    (void)state;
    small s;
    build(&s);
    for (int i = 0; i < 3000; i++) { /* more than one chunk of the arena */
        uint32_t v;
        char name[64];
        snprintf(name, sizeof(name), "a value with a long name, so that chunks fill up: %d", i);
        assert_ok(lt_graph_add_value(s.graph, name, &v, &s.err), &s.err);
    }
    test_walk_allocations(attempt, &s);
    small_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clone_equals_and_is_independent),
        cmocka_unit_test(clone_failing_allocations_returns_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct fixture {
    lt_memory memory;
    lt_graph *graph;
    leat_error err;
} fixture;

static uint32_t value(fixture *f, const char *name)
{
    uint32_t v;
    assert_ok(lt_graph_add_value(f->graph, name, &v, &f->err), &f->err);
    return v;
}

static leat_node *node(fixture *f, const char *op, const char *name, uint32_t a, uint32_t b,
                       uint32_t out)
{
    uint32_t inputs[] = {a, b};
    lt_node_desc desc = {.op = op, .name = name, .inputs = inputs, .n_inputs = 2};
    desc.outputs = &out;
    desc.n_outputs = 1;
    leat_node *made;
    assert_ok(lt_graph_add_node(f->graph, &desc, f->graph->n_nodes, &made, &f->err), &f->err);
    return made;
}

/* x -> Add(x, x) = a -> Mul(a, x) = y, output y */
static int setup(void **state)
{
    static fixture f;
    static uint32_t inputs[1], outputs[1];
    memset(&f, 0, sizeof(f));
    lt_memory_init(&f.memory, NULL, 0);
    assert_ok(lt_graph_create(&f.memory, NULL, &f.graph, &f.err), &f.err);
    inputs[0] = value(&f, "x");
    uint32_t a = value(&f, "a");
    outputs[0] = value(&f, "y");
    f.graph->inputs = inputs;
    f.graph->outputs = outputs;
    f.graph->n_inputs = f.graph->n_outputs = 1;
    node(&f, "Add", "add", inputs[0], inputs[0], a);
    node(&f, "Mul", "", a, inputs[0], outputs[0]);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    lt_graph_destroy(f->graph);
    assert_int_equal(f->memory.live_blocks, 0);
    return 0;
}

static void label_and_find_use_names(void **state)
{
    fixture *f = *state;
    assert_string_equal(lt_node_label(f->graph, f->graph->nodes[0]), "add");
    assert_string_equal(lt_node_label(f->graph, f->graph->nodes[1]), "y");
    assert_int_equal(lt_graph_find_value(f->graph, "a"), 1);
    assert_int_equal(lt_graph_find_value(f->graph, "b"), LEAT_NO_VALUE);
}

static void add_value_without_name_makes_unique_ones(void **state)
{
    fixture *f = *state;
    for (uint32_t i = 0; i < 4; i++) { /* a model may hold the name that would be made next */
        char taken[32];
        snprintf(taken, sizeof(taken), "_leat_%u", f->graph->n_values + 1);
        value(f, taken);
        uint32_t fresh = value(f, NULL);
        assert_int_equal(lt_graph_find_value(f->graph, f->graph->values[fresh].name), fresh);
        assert_int_equal(f->graph->values[fresh].rank, -1);
    }
}

static void add_many_values_keeps_all(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%d", i);
        value(f, name);
    }
    assert_string_equal(f->graph->values[0].name, "x");
    assert_string_equal(f->graph->values[1002].name, "v999");
}

static void add_constant_checks_bytes_and_copies(void **state)
{
    fixture *f = *state;
    float data[6] = {1, 2, 3, 4, 5, 6};
    leat_array array = {LEAT_DTYPE_F32, 2, {2, 3}, data, sizeof(data)};
    uint32_t borrowed, copied, empty;
    assert_ok(lt_graph_add_constant(f->graph, "w", &array, false, &borrowed, &f->err), &f->err);
    assert_ok(lt_graph_add_constant(f->graph, "v", &array, true, &copied, &f->err), &f->err);
    assert_ptr_equal(f->graph->values[borrowed].data, data);
    assert_ptr_not_equal(f->graph->values[copied].data, data);
    assert_memory_equal(f->graph->values[copied].data, data, sizeof(data));
    array.bytes = 20;
    assert_int_equal(lt_graph_add_constant(f->graph, "u", &array, true, &empty, &f->err),
                     LEAT_INVALID);
    leat_array nothing = {LEAT_DTYPE_I64, 1, {0}, NULL, 0};
    assert_ok(lt_graph_add_constant(f->graph, "n", &nothing, false, &empty, &f->err), &f->err);
    assert_non_null(f->graph->values[empty].data);
    assert_ok(lt_graph_check(f->graph, &f->err), &f->err);
}

static void add_constant_copies_strings(void **state)
{
    fixture *f = *state;
    char text[] = "word";
    leat_string strings[] = {{text, 4}, {NULL, 0}};
    leat_array array = {LEAT_DTYPE_STRING, 1, {2}, strings, sizeof(strings)};
    uint32_t v;
    assert_ok(lt_graph_add_constant(f->graph, "s", &array, true, &v, &f->err), &f->err);
    const leat_string *copy = f->graph->values[v].data;
    text[0] = 'f';
    assert_int_equal(copy[0].bytes, 4);
    assert_memory_equal(copy[0].data, "word", 4);
    assert_int_equal(copy[1].bytes, 0);
}

static void set_attr_adds_and_replaces(void **state)
{
    fixture *f = *state;
    leat_node *n = f->graph->nodes[0];
    int64_t pads[] = {1, 2};
    char word[] = "same";
    assert_ok(lt_node_set_ints(f->graph, n, "pads", pads, 2, &f->err), &f->err);
    assert_ok(lt_node_set_string(f->graph, n, "auto_pad", word, &f->err), &f->err);
    assert_ok(lt_node_set_int(f->graph, n, "group", 1, &f->err), &f->err);
    assert_ok(lt_node_set_int(f->graph, n, "group", 4, &f->err), &f->err);
    assert_ok(lt_node_set_float(f->graph, n, "alpha", 0.5f, &f->err), &f->err);
    pads[0] = word[0] = 9; /* copies were made */
    size_t count;
    const int64_t *ints = leat_node_ints(n, "pads", &count);
    assert_int_equal(count, 2);
    assert_int_equal(ints[0], 1);
    assert_int_equal(n->n_attrs, 4);
    assert_int_equal(leat_node_int(n, "group", 0), 4);
    assert_true(leat_node_string_is(n, "auto_pad", "same"));
    assert_true(leat_node_float(n, "alpha", 0) == 0.5f);
}

static void symbol_same_name_returns_same_dim(void **state)
{
    fixture *f = *state;
    int64_t n1, n2, other, fresh;
    assert_ok(lt_graph_symbol(f->graph, "N", &n1, &f->err), &f->err);
    assert_ok(lt_graph_symbol(f->graph, "M", &other, &f->err), &f->err);
    assert_ok(lt_graph_symbol(f->graph, NULL, &fresh, &f->err), &f->err);
    assert_ok(lt_graph_symbol(f->graph, "N", &n2, &f->err), &f->err);
    assert_int_equal(n1, -1);
    assert_int_equal(n2, -1);
    assert_int_equal(other, -2);
    assert_int_equal(fresh, -3);
    assert_string_equal(lt_graph_symbol_name(f->graph, other), "M");
    assert_null(lt_graph_symbol_name(f->graph, fresh));
    assert_null(lt_graph_symbol_name(f->graph, -4));
    assert_null(lt_graph_symbol_name(f->graph, INT64_MIN));
    assert_null(lt_graph_symbol_name(f->graph, 3));
}

static void opset_of_domain_returns_version(void **state)
{
    fixture *f = *state;
    lt_opset opsets[] = {{"ai.onnx", 17}, {"com.microsoft", 1}};
    f->graph->opsets = opsets;
    f->graph->n_opsets = 2;
    assert_int_equal(lt_graph_opset(f->graph, ""), 17);
    assert_int_equal(lt_graph_opset(f->graph, "ai.onnx"), 17);
    assert_int_equal(lt_graph_opset(f->graph, "com.microsoft"), 1);
    assert_int_equal(lt_graph_opset(f->graph, "ai.onnx.ml"), 0);
    leat_node *moved = node(f, "Relu", "r", 0, LEAT_NO_VALUE, value(f, "r"));
    assert_int_equal(moved->opset, 17);
    moved->opset = 13; /* as a node of an inlined function would have */
    assert_ok(lt_node_set_op(f->graph, moved, "Conv", "leat", &f->err), &f->err);
    assert_int_equal(moved->opset, 13);
    assert_ok(lt_node_set_op(f->graph, moved, "Gelu", "com.microsoft", &f->err), &f->err);
    assert_int_equal(moved->opset, 1);
}

static void remove_node_takes_it_out(void **state)
{
    fixture *f = *state;
    lt_graph_replace_uses(f->graph, 1, 0);
    lt_graph_remove_node(f->graph, f->graph->nodes[0]);
    assert_int_equal(f->graph->n_nodes, 1);
    assert_string_equal(f->graph->nodes[0]->op, "Mul");
    assert_ok(lt_graph_check(f->graph, &f->err), &f->err);
}

static leat_status build(void *argument, const leat_allocator *allocator, leat_error *err)
{
    (void)argument;
    lt_memory memory;
    lt_graph *graph, *twin = NULL;
    uint32_t v[40] = {0};
    leat_string words[] = {{"one", 3}, {"two", 3}};
    leat_array array = {LEAT_DTYPE_STRING, 1, {2}, words, sizeof(words)};
    leat_attr attr = {.name = "l", .type = LEAT_ATTR_STRINGS, .count = 2, .u.strings = words};
    lt_memory_init(&memory, allocator, 0);
    leat_status status = lt_graph_create(&memory, NULL, &graph, err);
    for (int i = 0; status == LEAT_OK && i < 40; i++) {
        status = lt_graph_add_value(graph, NULL, &v[i], err);
    }
    uint32_t constant;
    if (status == LEAT_OK) {
        status = lt_graph_add_constant(graph, "s", &array, true, &constant, err);
    }
    lt_node_desc desc = {.op = "Foo", .inputs = v, .n_inputs = 1, .outputs = v + 1, .n_outputs = 1};
    desc.attrs = &attr;
    desc.n_attrs = 1;
    if (status == LEAT_OK) {
        status = lt_graph_add_node(graph, &desc, 0, NULL, err);
    }
    if (status == LEAT_OK) {
        status = lt_graph_sort(graph, err);
    }
    if (status == LEAT_OK) {
        status = lt_graph_clone(graph, &twin, err);
        assert_true((status == LEAT_OK) == (twin != NULL));
    }
    lt_graph_destroy(twin);
    lt_graph_destroy(graph);
    return status;
}

static void build_failing_allocations_returns_no_memory(void **state)
{
    (void)state;
    test_walk_allocations(build, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(label_and_find_use_names),
        TEST(add_value_without_name_makes_unique_ones),
        TEST(add_many_values_keeps_all),
        TEST(add_constant_checks_bytes_and_copies),
        TEST(add_constant_copies_strings),
        TEST(set_attr_adds_and_replaces),
        TEST(symbol_same_name_returns_same_dim),
        TEST(opset_of_domain_returns_version),
        TEST(remove_node_takes_it_out),
        cmocka_unit_test(build_failing_allocations_returns_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

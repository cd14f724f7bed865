/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

static void build(small *s)
{
    small_create(s);
    leat_node *conv = small_node(s, s->graph, "y", "Conv", "x - b");
    int64_t pads[] = {1, 1};
    assert_ok(lt_node_set_int(s->graph, conv, "group", 1, &s->err), &s->err);
    assert_ok(lt_node_set_ints(s->graph, conv, "pads", pads, 2, &s->err), &s->err);
    assert_ok(lt_node_set_float(s->graph, conv, "alpha", 0.1f, &s->err), &s->err);
    assert_ok(lt_node_set_string(s->graph, conv, "auto_pad", "SAME", &s->err), &s->err);
    leat_value *y = &s->graph->values[conv->outputs[0]];
    y->dtype = LEAT_DTYPE_F32;
    y->rank = 3;
    y->shape[1] = 64;
    assert_ok(lt_graph_symbol(s->graph, "N", &y->shape[0], &s->err), &s->err);
    assert_ok(lt_graph_symbol(s->graph, NULL, &y->shape[2], &s->err), &s->err);
    leat_node *split = small_node(s, s->graph, "p q", "Split", "y");
    assert_ok(lt_node_set_op(s->graph, split, "Split", "leat", &s->err), &s->err);
}

static const char wanted[] = "y = Conv(x, , b) {group=1, pads=[1,1], alpha=0.1, auto_pad=\"SAME\"} "
                             ": f32[N,64,?]\n"
                             "p, q = leat.Split(y) : undefined? undefined?\n";

static void text_prints_a_node_a_line(void **state)
{
    (void)state;
    small s;
    char text[512];
    build(&s);
    assert_int_equal(lt_graph_text(s.graph, text, sizeof(text)), strlen(wanted));
    assert_string_equal(text, wanted);
    small_destroy(&s);
}

static void text_short_buffer_is_cut_and_terminated(void **state)
{
    (void)state;
    small s;
    char text[512];
    build(&s);
    for (size_t capacity = 1; capacity <= sizeof(wanted); capacity++) {
        memset(text, 'z', sizeof(text));
        assert_int_equal(lt_graph_text(s.graph, text, capacity), strlen(wanted));
        assert_int_equal(strlen(text), capacity - 1);
        assert_memory_equal(text, wanted, capacity - 1);
        assert_int_equal(text[capacity], 'z');
    }
    assert_int_equal(lt_graph_text(s.graph, NULL, 0), strlen(wanted));
    small_destroy(&s);
}

static void text_of_body_is_indented(void **state)
{
    (void)state;
    small s;
    char text[512];
    small_create(&s);
    small_body(&s, small_node(&s, s.graph, "y", "If", "x"), "then_branch", "x");
    lt_graph_text(s.graph, text, sizeof(text));
    assert_string_equal(text, "y = If(x) {then_branch={\n"
                              "  inner_out = Add(inner, inner) : undefined?\n"
                              "}} : undefined?\n");
    small_destroy(&s);
}

static void text_of_empty_graph_is_empty(void **state)
{
    (void)state;
    small s;
    char text[4] = "abc";
    small_create(&s);
    assert_int_equal(lt_graph_text(s.graph, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    small_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_prints_a_node_a_line),
        cmocka_unit_test(text_short_buffer_is_cut_and_terminated),
        cmocka_unit_test(text_of_body_is_indented),
        cmocka_unit_test(text_of_empty_graph_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

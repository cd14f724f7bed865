/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/graph/small.h"

#include "graph/infer.h"
#include "support/infer_case.h"

static void op_find_honours_domain_and_version(void **state)
{
    (void)state;
    assert_non_null(lt_op_find("", "Conv", 7));
    assert_null(lt_op_find("", "Conv", 0));
    assert_null(lt_op_find("", "LayerNormalization", 16));
    assert_non_null(lt_op_find("", "LayerNormalization", 17));
    assert_null(lt_op_find("", "NoSuchOperator", 22));
    assert_null(lt_op_find("com.microsoft", "Conv", 22));
    const lt_op *own = lt_op_find("leat", "Conv", 1);
    assert_non_null(own);
    assert_ptr_equal(own->infer, lt_op_find("", "Conv", 22)->infer);
}

static void infer_unknown_operator_returns_unsupported(void **state)
{
    (void)state;
    infer_concrete("Frobnicate(f32[1])",
                   "unsupported: node 'n': operator Frobnicate (opset 22) is not supported");
}

static void infer_unknown_rank_at_plan_time_returns_invalid(void **state)
{
    (void)state;
    infer_concrete("Relu(f32[...])", "!rank of an input is not known");
}

/* x[N,4] -> Foo -> f -> Relu -> y, x -> Relu -> z */
static void build(small *s)
{
    small_create(s);
    static lt_opset opsets[] = {{"", 17}};
    s->graph->opsets = opsets;
    s->graph->n_opsets = 1;
    small_inputs(s, s->graph, "x");
    leat_value *x = &s->graph->values[0];
    x->dtype = LEAT_DTYPE_F32;
    x->rank = 2;
    x->shape[1] = 4;
    assert_ok(lt_graph_symbol(s->graph, "N", &x->shape[0], &s->err), &s->err);
    small_node(s, s->graph, "f", "Foo", "x");
    small_node(s, s->graph, "y", "Relu", "f");
    small_node(s, s->graph, "z", "Relu", "x");
    small_outputs(s, s->graph, "y z");
}

static void infer_graph_passes_over_unknown_operators(void **state)
{
    (void)state;
    small s;
    build(&s);
    leat_value *f = &s.graph->values[lt_graph_find_value(s.graph, "f")];
    f->dtype = LEAT_DTYPE_F16; /* as the file declares */
    f->rank = 1;
    f->shape[0] = 7;
    assert_ok(lt_infer_graph(s.graph, false, &s.err), &s.err);
    const leat_value *y = &s.graph->values[lt_graph_find_value(s.graph, "y")];
    const leat_value *z = &s.graph->values[lt_graph_find_value(s.graph, "z")];
    assert_int_equal(y->dtype, LEAT_DTYPE_F16);
    assert_int_equal(y->rank, 1);
    assert_int_equal(y->bytes, 14);
    assert_int_equal(z->rank, 2);
    assert_string_equal(lt_graph_symbol_name(s.graph, z->shape[0]), "N");
    small_destroy(&s);
}

static void infer_graph_strict_returns_unsupported(void **state)
{
    (void)state;
    small s;
    build(&s);
    assert_int_equal(lt_infer_graph(s.graph, true, &s.err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(s.err.message, "Foo"));
    small_destroy(&s);
}

static void infer_graph_invalid_node_is_named(void **state)
{
    (void)state;
    small s;
    build(&s);
    small_node(&s, s.graph, "w", "MatMul", "x x");
    s.graph->values[0].shape[0] = 3;
    assert_int_equal(lt_infer_graph(s.graph, false, &s.err), LEAT_INVALID);
    assert_non_null(strstr(s.err.message, "node 'w' (MatMul)"));
    small_destroy(&s);
}

/* Types that follow without knowing any rank. */
static void infer_unknown_rank_gives_types(void **state)
{
    (void)state;
    infer_symbolic("Relu(f16[...])", "f16[...]");
    infer_symbolic("Shape(f16[...])", "i64[?]");
    infer_symbolic("Less(f16[...], f16[1])", "bool[...]");
    infer_symbolic("Where(bool[...], f16[1], f16[1])", "f16[...]");
    infer_symbolic("MaxPool(f16[...]) {kernel_shape=[2]} #2", "f16[...] i64[...]");
    infer_symbolic("Dropout(f16[...]) #2", "f16[...] bool[...]");
    infer_symbolic("TopK(f16[...], i64[1]<1>) #2", "f16[...] i64[...]");
    infer_symbolic("Split(f16[...]) #2", "f16[...] f16[...]");
    infer_symbolic("ConvInteger(u8[...], u8[1,1,1,1])", "i32[...]");
    infer_symbolic("QuantizeLinear(f16[...], f16[])", "undefined[...]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(op_find_honours_domain_and_version),
        cmocka_unit_test(infer_unknown_operator_returns_unsupported),
        cmocka_unit_test(infer_unknown_rank_at_plan_time_returns_invalid),
        cmocka_unit_test(infer_graph_passes_over_unknown_operators),
        cmocka_unit_test(infer_graph_strict_returns_unsupported),
        cmocka_unit_test(infer_graph_invalid_node_is_named),
        cmocka_unit_test(infer_unknown_rank_gives_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

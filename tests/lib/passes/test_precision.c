/* SPDX-License-Identifier: Apache-2.0 */
/* precision.c: which values become narrow, and what is left alone. */
#include "support/passes_case.h"

#include "graph/infer.h"

#include <stdlib.h>

static const float numbers[512] = {1, 0.1f, 3};

static leat_plan_options options(leat_precision precision)
{
    leat_plan_options o = {.struct_size = sizeof(o), .precision = precision};
    return o;
}

static void start_bf16(passes_case *c, onnx_builder *builder)
{
    static const leat_plan_options bf16 = {.struct_size = sizeof(bf16),
                                           .precision = LEAT_PRECISION_BF16};
    passes_case_start(c, builder);
    c->context.options = &bf16;
}

static void finish(passes_case *c)
{
    leat_error err = {0};
    /* What inference says of the new graph is what the pass has written. */
    uint32_t n = c->graph->n_values;
    leat_dtype *types = malloc(n * sizeof(*types));
    for (uint32_t v = 0; v < n; v++) {
        types[v] = c->graph->values[v].dtype;
    }
    assert_ok(lt_infer_graph(c->graph, true, &err), &err);
    for (uint32_t v = 0; v < n; v++) {
        assert_int_equal(types[v], c->graph->values[v].dtype);
    }
    free(types);
    passes_case_end(c);
}

/* conv - pool - conv - gather into rows - gemm: all between is narrow, both ends are f32. */
static onnx_builder *build_net(void)
{
    onnx_builder *b = onnx_builder_create(13);
    const int64_t two[] = {2, 2};
    const leat_attr kernel = test_attr_ints("kernel_shape", two, 2);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx2x5x6");
    onnx_builder_floats(b, "w0", "3x2x2x2", numbers);
    onnx_builder_floats(b, "w1", "4x3x1x1", numbers);
    onnx_builder_floats(b, "fc", "48x5", numbers);
    onnx_builder_node(b, "Conv", "x,w0", "a", NULL, 0);
    onnx_builder_node(b, "MaxPool", "a", "b", &kernel, 1);
    onnx_builder_text(b, "c = Conv(b, w1); d = Flatten(c); y = MatMul(d, fc); -> y: f32[Nx5]");
    return b;
}

static void what_products_read_becomes_narrow(void **state)
{
    static const leat_precision wanted[] = {LEAT_PRECISION_BF16, LEAT_PRECISION_F16};
    static const leat_dtype types[] = {LEAT_DTYPE_BF16, LEAT_DTYPE_F16};
    (void)state;
    for (int i = 0; i < 2; i++) {
        passes_case c;
        leat_plan_options o = options(wanted[i]);
        passes_case_start(&c, build_net());
        c.context.options = &o;
        passes_case_run(&c, lt_pass_precision, true);
        assert_int_equal(passes_case_value(&c, "x")->dtype, LEAT_DTYPE_F32);
        assert_int_equal(passes_case_value(&c, "y")->dtype, LEAT_DTYPE_F32);
        assert_int_equal(passes_case_value(&c, "w0")->dtype, LEAT_DTYPE_F32);
        assert_int_equal(passes_case_value(&c, "a")->dtype, types[i]);
        assert_int_equal(passes_case_value(&c, "b")->dtype, types[i]);
        assert_int_equal(passes_case_value(&c, "c")->dtype, types[i]);
        assert_int_equal(passes_case_value(&c, "d")->dtype, types[i]);
        for (uint32_t n = 0; n < 2; n++) {
            const leat_node *conv = passes_case_node(&c, "Conv", n);
            assert_string_equal(conv->domain, "leat");
            assert_int_equal(leat_node_int(conv, "compute", 0), types[i]);
        }
        assert_int_equal(leat_node_int(passes_case_node(&c, "Conv", 0), "storage", 0), types[i]);
        assert_null(leat_node_attr(passes_case_node(&c, "Conv", 1), "storage"));
        assert_int_equal(leat_node_int(passes_case_node(&c, "MatMul", 0), "storage", 0),
                         LEAT_DTYPE_F32);
        finish(&c);
    }
}

static void other_precisions_change_nothing(void **state)
{
    static const leat_precision wanted[] = {LEAT_PRECISION_MODEL, LEAT_PRECISION_F32};
    (void)state;
    for (int i = 0; i < 2; i++) {
        passes_case c;
        leat_plan_options o = options(wanted[i]);
        passes_case_start(&c, build_net());
        passes_case_run(&c, lt_pass_precision, false);
        c.context.options = &o;
        passes_case_run(&c, lt_pass_precision, false);
        finish(&c);
    }
}

static void devices_without_the_types_change_nothing(void **state)
{
    passes_case c;
    (void)state;
    start_bf16(&c, build_net());
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_precision, false);
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_F32);
    finish(&c);
}

/* matmul - softmax - matmul: the function between keeps f32, and so do its neighbours. */
static void functions_keep_f32(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_text(b, "x: f32[Nx8]; "
                         "a = MatMul(x, w); s = Softmax(a); y = MatMul(s, w); "
                         "-> y: f32[Nx8]");
    start_bf16(&c, b);
    passes_case_run(&c, lt_pass_precision, true);
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "s")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(leat_node_int(passes_case_node(&c, "MatMul", 1), "compute", 0),
                     LEAT_DTYPE_BF16);
    finish(&c);
}

/* A sum that only normalisations and further sums read stays f32. */
static void residual_stream_keeps_f32(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_floats(b, "scale", "8", numbers);
    onnx_builder_text(b, "x: f32[Nx8]; "
                         "a = MatMul(x, w); n = LayerNormalization(a, scale); p = MatMul(n, w); "
                         "r = Add(p, a); y = LayerNormalization(r, scale); "
                         "-> y: f32[Nx8]");
    start_bf16(&c, b);
    passes_case_run(&c, lt_pass_precision, true);
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "p")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "r")->dtype, LEAT_DTYPE_F32);
    finish(&c);
}

/* Constants that a narrow value is added to are rounded once, and shared; their f32 form stays for
 * other readers. */
static void constants_of_carriers_are_rounded(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_floats(b, "k", "8", numbers);
    onnx_builder_text(b, "x: f32[Nx8]; "
                         "a = MatMul(x, w); b = Mul(a, k); c = Sub(b, k); d = MatMul(c, w); "
                         "y = Add(d, k); "
                         "-> y: f32[Nx8]");
    start_bf16(&c, b);
    passes_case_run(&c, lt_pass_precision, true);
    uint32_t rounded = passes_case_node(&c, "Mul", 0)->inputs[1];
    const leat_value *value = &c.graph->values[rounded];
    assert_int_equal(passes_case_node(&c, "Sub", 0)->inputs[1], rounded);
    assert_int_equal(value->dtype, LEAT_DTYPE_BF16);
    assert_int_equal(value->bytes, 16);
    assert_int_equal(((const uint16_t *)value->data)[0], 0x3f80);
    assert_int_equal(((const uint16_t *)value->data)[1], 0x3dcd); /* 0.1, to nearest */
    assert_int_equal(passes_case_node(&c, "Add", 0)->inputs[1], lt_graph_find_value(c.graph, "k"));
    finish(&c);
}

/* What a user sees, and what is not f32, stays. */
static void outputs_and_other_types_stay(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(13);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_text(b, "x: f32[Nx8]; wide: f64[8x8]; "
                         "a = MatMul(x, w); seen = Relu(a); y = MatMul(seen, w); "
                         "z = MatMul(wide, wide); "
                         "-> y: f32[Nx8]; -> seen: f32[Nx8]; -> z: f64[8x8]");
    start_bf16(&c, b);
    passes_case_run(&c, lt_pass_precision, true);
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "seen")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "z")->dtype, LEAT_DTYPE_F64);
    assert_string_equal(passes_case_node(&c, "MatMul", 2)->domain, "");
    finish(&c);
}

/* Projections, attention, projection: what attention reads and gives is narrow, its mask is not. */
static void attention_passes_the_narrow_type_on(void **state)
{
    const leat_attr heads[] = {{"q_num_heads", LEAT_ATTR_INT, 1, {.i = 2}},
                               {"kv_num_heads", LEAT_ATTR_INT, 1, {.i = 2}}};
    onnx_builder *b = onnx_builder_create(23);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_text(b, "x: f32[Nx5x8]; m: f32[Nx1x1x5]; "
                         "q = MatMul(x, w); k = MatMul(x, w); v = MatMul(x, w); mask = Neg(m)");
    onnx_builder_node(b, "Attention", "q,k,v,mask", "a", heads, 2);
    onnx_builder_node(b, "MatMul", "a,w", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x8");
    passes_case c;
    start_bf16(&c, b);
    passes_case_run(&c, lt_pass_precision, true);
    assert_int_equal(passes_case_value(&c, "q")->dtype, LEAT_DTYPE_BF16);
    assert_int_equal(passes_case_value(&c, "k")->dtype, LEAT_DTYPE_BF16);
    assert_int_equal(passes_case_value(&c, "v")->dtype, LEAT_DTYPE_BF16);
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_BF16);
    assert_int_equal(passes_case_value(&c, "mask")->dtype, LEAT_DTYPE_F32);
    assert_int_equal(passes_case_value(&c, "y")->dtype, LEAT_DTYPE_F32);
    finish(&c);
}

/* A device whose products want narrow factors: one Cast serves all readers of a value, constants
 * are rounded, the results' types stay as on other devices. */
static void factors_are_cast_once_where_they_must_be_narrow(void **state)
{
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_floats(b, "w", "8x8", numbers);
    onnx_builder_text(b, "x: f32[Nx8]; "
                         "a = MatMul(x, w); b = MatMul(x, w); s = Softmax(b); y = MatMul(s, a); "
                         "-> y: f32[Nx8]");
    passes_case c;
    leat_plan_options o = options(LEAT_PRECISION_F16);
    passes_case_start(&c, b);
    c.context.options = &o;
    c.narrow_factors = true;
    passes_case_run(&c, lt_pass_precision, true);
    assert_int_equal(passes_case_count(&c, "Cast"), 2); /* of x and of s */
    assert_int_equal(passes_case_value(&c, "a")->dtype, LEAT_DTYPE_F16);
    assert_int_equal(passes_case_value(&c, "b")->dtype, LEAT_DTYPE_F32);
    for (uint32_t n = 0; n < 3; n++) {
        const leat_node *product = passes_case_node(&c, "MatMul", n);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(c.graph->values[product->inputs[i]].dtype, LEAT_DTYPE_F16);
        }
    }
    const leat_node *first = passes_case_node(&c, "MatMul", 0),
                    *second = passes_case_node(&c, "MatMul", 1);
    assert_int_equal(first->inputs[0], second->inputs[0]);
    assert_int_equal(first->inputs[1], second->inputs[1]);
    const uint16_t *w = c.graph->values[first->inputs[1]].data;
    assert_int_equal(w[0], 0x3c00); /* 1 */
    assert_int_equal(w[1], 0x2e66); /* 0.1 */
    assert_int_equal(leat_node_int(first, "storage", 0), 0);
    assert_int_equal(leat_node_int(second, "storage", 0), LEAT_DTYPE_F32);
    finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_passes_the_narrow_type_on),
        cmocka_unit_test(what_products_read_becomes_narrow),
        cmocka_unit_test(other_precisions_change_nothing),
        cmocka_unit_test(devices_without_the_types_change_nothing),
        cmocka_unit_test(functions_keep_f32),
        cmocka_unit_test(residual_stream_keeps_f32),
        cmocka_unit_test(constants_of_carriers_are_rounded),
        cmocka_unit_test(outputs_and_other_types_stay),
        cmocka_unit_test(factors_are_cast_once_where_they_must_be_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

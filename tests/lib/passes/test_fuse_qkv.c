/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_qkv.c: three products of one value become one; what must stay. */
#include "support/passes_case.h"

#include <stdio.h>
#include <string.h>

typedef struct spec {
    const char *inputs[3]; /* of the products */
    bool bias[3];
    const char *mask, *extra; /* NULL: none */
    const char *heads;        /* of Q and of K and V: "22" */
} spec;

/* x is [N,S,2]; Wq, Wk, Wv are [2,4], of K and V [2,2] where they have one head. */
static onnx_builder *build(const spec *s)
{
    static const float numbers[24] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                      13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    static const char *const letters[] = {"q", "k", "v"};
    onnx_builder *b = onnx_builder_create(23);
    char inputs[32];
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxSx2");
    onnx_builder_input(b, "z", LEAT_DTYPE_F32, "NxSx2");
    for (int i = 0; i < 3; i++) {
        char w[4], c[4];
        bool narrow = i > 0 && s->heads[1] == '1';
        snprintf(w, sizeof(w), "W%s", letters[i]);
        snprintf(c, sizeof(c), "b%s", letters[i]);
        onnx_builder_floats(b, w, narrow ? "2x2" : "2x4", numbers + 8 * i);
        onnx_builder_floats(b, c, narrow ? "2" : "4", numbers + 4 * i);
        snprintf(inputs, sizeof(inputs), s->bias[i] ? "%s,%s,%s" : "%s,%s", s->inputs[i], w, c);
        onnx_builder_node(b, s->bias[i] ? "leat.MatMul" : "MatMul", inputs, letters[i], NULL, 0);
    }
    if (s->mask != NULL) {
        onnx_builder_input(b, "m", LEAT_DTYPE_F32, s->mask);
    }
    leat_attr attrs[3] = {{"scale", LEAT_ATTR_FLOAT, 1, {.f = 0.5f}},
                          test_attr_int("q_num_heads", s->heads[0] - '0'),
                          test_attr_int("kv_num_heads", s->heads[1] - '0')};
    onnx_builder_node(b, "leat.Attention", s->mask ? "q,k,v,m" : "q,k,v", "y", attrs, 3);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxSx4");
    if (s->extra != NULL) {
        onnx_builder_output(b, s->extra, LEAT_DTYPE_F32, NULL);
    }
    return b;
}

static void start(passes_case *c, const spec *s)
{
    onnx_builder *b = build(s);
    onnx_builder_import(b, "leat", 1);
    passes_case_start(c, b);
}

static void check_stays(const spec *s)
{
    passes_case c;
    start(&c, s);
    passes_case_run(&c, lt_pass_fuse_qkv, false);
    passes_case_end(&c);
}

static void qkv_becomes_one_product(void **state)
{
    static const spec s = {{"x", "x", "x"}, {true, true, true}, "Nx1x1xS", NULL, "22"};
    static const float weights[] = {1, 2, 3, 4, 9,  10, 11, 12, 17, 18, 19, 20,
                                    5, 6, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24};
    static const float biases[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    passes_case c;
    (void)state;
    start(&c, &s);
    passes_case_run(&c, lt_pass_fuse_qkv, true);
    assert_int_equal(c.graph->n_nodes, 2);
    assert_int_equal(passes_case_count(&c, "MatMul"), 1);
    assert_int_equal(passes_case_count(&c, "PackedAttention"), 1);
    assert_memory_equal(passes_case_floats(&c, 0, 1), weights, sizeof(weights));
    assert_memory_equal(passes_case_floats(&c, 0, 2), biases, sizeof(biases));
    const leat_value *qkv = &c.graph->values[c.graph->nodes[0]->outputs[0]];
    assert_int_equal(qkv->shape[2], 12);
    assert_int_equal(c.graph->nodes[1]->n_inputs, 2);
    passes_case_end(&c);
}

static void qkv_of_shared_heads_and_no_bias(void **state)
{
    static const spec s = {{"x", "x", "x"}, {false, false, false}, NULL, NULL, "21"};
    static const float weights[] = {1, 2, 3, 4, 9, 10, 17, 18, 5, 6, 7, 8, 11, 12, 19, 20};
    passes_case c;
    (void)state;
    start(&c, &s);
    passes_case_run(&c, lt_pass_fuse_qkv, true);
    assert_memory_equal(passes_case_floats(&c, 0, 1), weights, sizeof(weights));
    assert_int_equal(c.graph->nodes[0]->n_inputs, 2);
    assert_int_equal(c.graph->nodes[1]->n_inputs, 1);
    passes_case_end(&c);
}

static void qkv_leaves_what_is_not_alike(void **state)
{
    static const spec specs[] = {
        {{"x", "z", "x"}, {true, true, true}, NULL, NULL, "22"},  /* cross attention */
        {{"x", "x", "x"}, {true, false, true}, NULL, NULL, "22"}, /* one bias is missing */
        {{"x", "x", "x"}, {true, true, true}, NULL, "k", "22"},   /* K is needed elsewhere */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        check_stays(&specs[i]);
    }
}

static void qkv_asks_the_device(void **state)
{
    static const spec s = {{"x", "x", "x"}, {true, true, true}, NULL, NULL, "22"};
    passes_case c;
    (void)state;
    start(&c, &s);
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_qkv, false);
    assert_int_equal(passes_case_count(&c, "MatMul"), 3);
    passes_case_end(&c);
}

/* The same of quantized products: scales of one number or one a column, `other`: Q has a grid of
 * its own. */
static void start_quantized(passes_case *c, bool other)
{
    static const float scales[4] = {1, 2, 3, 4};
    static const int8_t numbers[24] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const int8_t zero = 0;
    onnx_builder *b = onnx_builder_create(23);
    onnx_builder_import(b, "leat", 1);
    onnx_builder_text(b, "x: u8[NxSx2]; s: f32[]; t: f32[]; z: u8[]");
    for (int i = 0; i < 3; i++) {
        char name[4][8], inputs[64];
        const char letter = "qkv"[i];
        const leat_array w = {LEAT_DTYPE_I8, 2, {2, 4}, (void *)(uintptr_t)(numbers + 8 * i), 8};
        const leat_array z = {LEAT_DTYPE_I8, 0, {0}, (void *)(uintptr_t)&zero, 1};
        for (int k = 0; k < 4; k++) {
            snprintf(name[k], sizeof(name[k]), "%c%c", "wczb"[k], letter);
        }
        onnx_builder_constant(b, name[0], &w);
        onnx_builder_floats(b, name[1], i == 1 ? "4" : "", scales);
        onnx_builder_constant(b, name[2], &z);
        onnx_builder_floats(b, name[3], "4", scales);
        snprintf(inputs, sizeof(inputs), "x,%s,z,%s,%s,%s,,,%s", i == 0 && other ? "t" : "s",
                 name[0], name[1], name[2], name[3]);
        const char output[2] = {letter, '\0'};
        onnx_builder_node(b, "leat.QMatMul", inputs, output, NULL, 0);
    }
    leat_attr attrs[3] = {{"scale", LEAT_ATTR_FLOAT, 1, {.f = 0.5f}},
                          test_attr_int("q_num_heads", 2),
                          test_attr_int("kv_num_heads", 2)};
    onnx_builder_node(b, "leat.Attention", "q,k,v", "y", attrs, 3);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxSx4");
    passes_case_start(c, b);
}

static void quantized_qkv_becomes_one_product(void **state)
{
    static const float scales[12] = {1, 1, 1, 1, 1, 2, 3, 4, 1, 1, 1, 1};
    passes_case c;
    (void)state;
    start_quantized(&c, false);
    passes_case_run(&c, lt_pass_fuse_qkv, true);
    assert_int_equal(c.graph->n_nodes, 2);
    const leat_node *product = passes_case_node(&c, "QMatMul", 0);
    const leat_value *values = c.graph->values;
    assert_int_equal(values[product->inputs[3]].shape[1], 12);
    assert_memory_equal(values[product->inputs[4]].data, scales, sizeof(scales));
    assert_int_equal(values[product->inputs[5]].shape[0], 12);
    assert_int_equal(values[product->inputs[8]].shape[0], 12);
    assert_int_equal(values[product->outputs[0]].shape[2], 12);
    passes_case_end(&c);
    start_quantized(&c, true);
    passes_case_run(&c, lt_pass_fuse_qkv, false);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantized_qkv_becomes_one_product),
        cmocka_unit_test(qkv_becomes_one_product),
        cmocka_unit_test(qkv_of_shared_heads_and_no_bias),
        cmocka_unit_test(qkv_leaves_what_is_not_alike),
        cmocka_unit_test(qkv_asks_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

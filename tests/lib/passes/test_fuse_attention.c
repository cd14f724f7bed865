/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_attention.c: as PyTorch and HF export it, variants, and what must stay. */
#include "support/passes_case.h"

#include <stdio.h>
#include <string.h>

static const float eight[] = {8}, half[] = {0.5f};
static const int64_t split[] = {0, 0, 2, 4}, joined[] = {0, 0, 8};
static const int64_t swap[] = {0, 2, 1, 3}, keys[] = {0, 2, 3, 1}, last_two[] = {0, 1, 3, 2};

static void transpose(onnx_builder *b, const char *in, const char *out, const int64_t *perm)
{
    leat_attr attr = test_attr_ints("perm", perm, 4);
    onnx_builder_node(b, "Transpose", in, out, &attr, 1);
}

static void softmax(onnx_builder *b, const char *in, const char *out, int64_t axis)
{
    leat_attr attr = test_attr_int("axis", axis);
    onnx_builder_node(b, "Softmax", in, out, &attr, 1);
}

static onnx_builder *constants(void)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_floats(b, "eight", "", eight);
    onnx_builder_floats(b, "half", "", half);
    onnx_builder_ints(b, "split", "4", split);
    onnx_builder_ints(b, "joined", "3", joined);
    return b;
}

/* q, k and v of [N, S, 8] to y of [N, S, 8]; `tail` after the softmax. */
static onnx_builder *whole(const char *mask_shape, const char *extra)
{
    onnx_builder *b = constants();
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        char rows[8], heads[8], in[16];
        snprintf(rows, sizeof(rows), "%sr", names[i]);
        snprintf(heads, sizeof(heads), "%sh", names[i]);
        snprintf(in, sizeof(in), "%s,split", names[i]);
        onnx_builder_input(b, names[i], LEAT_DTYPE_F32, "NxSx8");
        onnx_builder_node(b, "Reshape", in, rows, NULL, 0);
        transpose(b, rows, heads, i == 1 ? keys : swap);
    }
    onnx_builder_node(b, "MatMul", "qh,kh", "p", NULL, 0);
    onnx_builder_node(b, "Div", "p,eight", "s", NULL, 0);
    if (mask_shape != NULL) {
        onnx_builder_input(b, "m", LEAT_DTYPE_F32, mask_shape);
        onnx_builder_node(b, "Add", "m,s", "a", NULL, 0);
    }
    softmax(b, mask_shape ? "a" : "s", "w", -1);
    onnx_builder_node(b, "MatMul", "w,vh", "o", NULL, 0);
    transpose(b, "o", "t", swap);
    onnx_builder_node(b, "Reshape", "t,joined", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxSx8");
    if (extra != NULL) {
        onnx_builder_output(b, extra, LEAT_DTYPE_F32, NULL);
    }
    return b;
}

static void check(onnx_builder *b, const char *expected)
{
    passes_case c;
    bool ignored = false;
    leat_error err = {0};
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_fuse_attention, expected != NULL);
    assert_ok(lt_pass_remove_dead(c.graph, &c.context, &ignored, &err), &err);
    if (expected != NULL) {
        passes_case_expect(&c, expected);
    } else {
        assert_int_equal(passes_case_count(&c, "Attention"), 0);
    }
    passes_case_end(&c);
}

static void attention_reads_and_writes_merged_heads(void **state)
{
    (void)state;
    check(whole(NULL, NULL), "y = leat.Attention(q, k, v) {scale=0.125, q_num_heads=2, "
                             "kv_num_heads=2} : f32[N,S,8]\n");
    check(whole("Nx1x1xS", NULL), "y = leat.Attention(q, k, v, m) {scale=0.125, q_num_heads=2, "
                                  "kv_num_heads=2} : f32[N,S,8]\n");
    check(whole("Nx1xSxS", NULL), "y = leat.Attention(q, k, v, m) {scale=0.125, q_num_heads=2, "
                                  "kv_num_heads=2} : f32[N,S,8]\n");
    check(whole("SxS", NULL), "y = leat.Attention(q, k, v, m) {scale=0.125, q_num_heads=2, "
                              "kv_num_heads=2} : f32[N,S,8]\n");
}

/* A symbol that is S only if the model is to run at all. */
static void attention_takes_a_mask_whose_length_must_fit(void **state)
{
    (void)state;
    check(whole("Nx1x1xT", NULL), "y = leat.Attention(q, k, v, m) {scale=0.125, q_num_heads=2, "
                                  "kv_num_heads=2} : f32[N,S,8]\n");
    check(whole("Nx1xTxT", NULL), "y = leat.Attention(q, k, v, m) {scale=0.125, q_num_heads=2, "
                                  "kv_num_heads=2} : f32[N,S,8]\n");
}

/* The mask could be larger than the scores. */
static void attention_leaves_a_mask_that_may_not_fit(void **state)
{
    (void)state;
    check(whole("Mx1x1xS", NULL), NULL);
    check(whole("Nx1xTxS", NULL), NULL);
}

static void attention_leaves_what_others_read(void **state)
{
    static const char *const inner[] = {"p", "s", "a", "w"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check(whole("Nx1x1xS", inner[i]), NULL);
    }
}

/* The heads stay apart when their way back is not the usual one; K is brought to [N, heads, S, D].
 */
static void attention_of_separate_heads(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, whole(NULL, "o"));
    passes_case_run(&c, lt_pass_fuse_attention, true);
    assert_int_equal(passes_case_count(&c, "Attention"), 1);
    assert_int_equal(passes_case_count(&c, "Softmax"), 0);
    char text[4096];
    lt_graph_text(c.graph, text, sizeof(text));
    assert_non_null(strstr(text, "o = leat.Attention(qh, "));
    assert_non_null(strstr(text, ", vh) {scale=0.125} : f32[N,2,S,4]\n"));
    passes_case_end(&c);
}

/* q, k, v of [N, 2, S, 4]. */
static onnx_builder *separate(const char *q_scale, const char *k_scale, const char *k_shape,
                              const char *v_shape, int64_t axis)
{
    onnx_builder *b = constants();
    onnx_builder_input(b, "q", LEAT_DTYPE_F32, "Nx2xSx4");
    onnx_builder_input(b, "k", LEAT_DTYPE_F32, k_shape);
    onnx_builder_input(b, "v", LEAT_DTYPE_F32, v_shape);
    onnx_builder_node(b, "Mul", q_scale, "qs", NULL, 0);
    transpose(b, "k", "kt", last_two);
    onnx_builder_node(b, "Mul", k_scale, "ks", NULL, 0);
    onnx_builder_node(b, "MatMul", "qs,ks", "p", NULL, 0);
    softmax(b, "p", "w", axis);
    onnx_builder_node(b, "MatMul", "w,v", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx2xSx4");
    return b;
}

static void attention_collects_factors(void **state)
{
    (void)state;
    check(separate("q,half", "half,kt", "Nx2xTx4", "Nx2xTx4", 3),
          "y = leat.Attention(q, k, v) {scale=0.25} : f32[N,2,S,4]\n");
}

static void attention_leaves_other_shapes(void **state)
{
    (void)state;
    check(separate("q,half", "half,kt", "Nx2xTx4", "Nx2xTx4", 2), NULL);  /* another axis */
    check(separate("q,half", "half,kt", "1x2xTx4", "Nx2xTx4", -1), NULL); /* repeated over N */
    check(separate("q,half", "half,kt", "Nx1xTx4", "Nx1xTx4", -1), NULL); /* over heads */
    check(separate("q,half", "half,kt", "Nx2xTx4", "Nx2xUx4", -1), NULL); /* rows of V */
}

static void attention_asks_the_device(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, whole("Nx1x1xS", NULL));
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_attention, false);
    assert_int_equal(passes_case_count(&c, "Softmax"), 1);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_reads_and_writes_merged_heads),
        cmocka_unit_test(attention_takes_a_mask_whose_length_must_fit),
        cmocka_unit_test(attention_leaves_a_mask_that_may_not_fit),
        cmocka_unit_test(attention_leaves_what_others_read),
        cmocka_unit_test(attention_of_separate_heads),
        cmocka_unit_test(attention_collects_factors),
        cmocka_unit_test(attention_leaves_other_shapes),
        cmocka_unit_test(attention_asks_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

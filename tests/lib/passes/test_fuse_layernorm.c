/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_layernorm.c: spellings, and what must stay. */
#include "support/passes_case.h"

#include <stdio.h>
#include <string.h>

static const float numbers[] = {1, 2, 3, 4};
static const int64_t last = -1, first = 0;

/* Nodes as "Op in,in out", separated by ';'; ReduceMean is over the last axis, "ReduceMean0" over
 * the first. x is [N,3]; g and b are rows of 3. */
static onnx_builder *build(const char *nodes, const char *extra_output)
{
    static const struct {
        const char *name;
        float value;
    } constants[] = {{"e", 1e-5f}, {"one", 1}, {"two", 2}, {"three", 3}};
    onnx_builder *b = onnx_builder_create(13);
    char text[512], *rest = text, *node;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3");
    onnx_builder_input(b, "z", LEAT_DTYPE_F32, "Nx3");
    onnx_builder_floats(b, "g", "3", numbers);
    onnx_builder_floats(b, "b", "3", numbers + 1);
    onnx_builder_floats(b, "column", "1x1", numbers);
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        onnx_builder_floats(b, constants[i].name, "", &constants[i].value);
    }
    snprintf(text, sizeof(text), "%s", nodes);
    while ((node = strsep(&rest, ";")) != NULL) {
        char *op = strsep(&node, " "), *inputs = strsep(&node, " ");
        bool mean = strncmp(op, "ReduceMean", 10) == 0;
        leat_attr axes = {
            "axes", LEAT_ATTR_INTS, 1, {.ints = op[10 * mean] == '0' ? &first : &last}};
        onnx_builder_node(b, mean ? "ReduceMean" : op, inputs, node, &axes, mean);
    }
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx3");
    if (extra_output != NULL) {
        onnx_builder_output(b, extra_output, LEAT_DTYPE_F32, NULL);
    }
    return b;
}

static void check(const char *nodes, const char *expected)
{
    passes_case c;
    bool ignored = false;
    leat_error err = {0};
    passes_case_start(&c, build(nodes, NULL));
    passes_case_run(&c, lt_pass_fuse_layernorm, true);
    assert_ok(lt_pass_remove_dead(c.graph, &c.context, &ignored, &err), &err);
    passes_case_expect(&c, expected);
    passes_case_end(&c);
}

static void check_stays(const char *nodes, const char *extra_output)
{
    passes_case c;
    passes_case_start(&c, build(nodes, extra_output));
    passes_case_run(&c, lt_pass_fuse_layernorm, false);
    passes_case_end(&c);
}

#define HEAD "ReduceMean x m;Sub x,m d;"
#define TAIL "ReduceMean q v;Add v,e a;Sqrt a s;Div d,s n;Mul n,g w;Add w,b y"

static void layernorm_in_its_spellings(void **state)
{
    static const char expected[] =
        "y = leat.LayerNormalization(x, g, b) {axis=-1, epsilon=1e-05} : f32[N,3]\n";
    (void)state;
    check(HEAD "Pow d,two q;" TAIL, expected);
    check(HEAD "Mul d,d q;" TAIL, expected);
    check(HEAD "Pow d,two q;ReduceMean q v;Add e,v a;Sqrt a s;Reciprocal s r;Mul r,d n;Mul g,n w;"
               "Add b,w y",
          expected);
    check(HEAD "Pow d,two q;ReduceMean q v;Add e,v a;Sqrt a s;Div one,s r;Mul d,r n;Mul n,g w;"
               "Add w,b y",
          expected);
    /* the difference twice */
    check(HEAD "ReduceMean x m2;Sub x,m2 d2;Pow d2,two q;" TAIL, expected);
    check(HEAD "Pow d,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div d,s n;Mul n,g y",
          "y = leat.LayerNormalization(x, g) {axis=-1, epsilon=1e-05} : f32[N,3]\n");
}

static void rms_norm_in_its_spellings(void **state)
{
    static const char expected[] =
        "y = leat.RMSNormalization(x, g) {axis=-1, epsilon=1e-05} : f32[N,3]\n";
    (void)state;
    check("Pow x,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div x,s n;Mul n,g y", expected);
    check("Mul x,x q;ReduceMean q v;Add v,e a;Sqrt a s;Reciprocal s r;Mul x,r n;Mul g,n y",
          expected);
    check("Pow x,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div one,s r;Mul r,x n;Mul n,g y",
          expected);
}

/* d is not x less its own mean, but what comes of it is an RMS norm of d. */
static void rms_norm_of_another_difference(void **state)
{
    (void)state;
    check("ReduceMean z m;Sub x,m d;Pow d,two q;" TAIL,
          "m = ReduceMean(z) {axes=[-1]} : f32[N,1]\nd = Sub(x, m) : f32[N,3]\n"
          "w = leat.RMSNormalization(d, g) {axis=-1, epsilon=1e-05} : f32[N,3]\n"
          "y = Add(w, b) : f32[N,3]\n");
    check("ReduceMean0 x m;Sub x,m d;Pow d,two q;" TAIL,
          "m = ReduceMean(x) {axes=[0]} : f32[1,3]\nd = Sub(x, m) : f32[N,3]\n"
          "w = leat.RMSNormalization(d, g) {axis=-1, epsilon=1e-05} : f32[N,3]\n"
          "y = Add(w, b) : f32[N,3]\n");
}

static void layernorm_leaves_other_formulas(void **state)
{
    (void)state;
    check_stays(HEAD "Pow d,two q;ReduceMean0 q v;Add v,e a;Sqrt a s;Div d,s n;Mul n,g w;Add w,b y",
                NULL);
    check_stays(HEAD "Pow d,three q;" TAIL, NULL);
    check_stays("ReduceMean x m;Sub m,x d;Pow d,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div x,s n;"
                "Mul n,g y",
                NULL);
    check_stays(HEAD "Pow d,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div s,d n;Mul n,g y", NULL);
    check_stays(HEAD "Pow d,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div d,s n;Mul n,z y", NULL);
    check_stays(HEAD "Pow d,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div d,s n;Mul n,column y",
                NULL);
    check_stays("Pow z,two q;ReduceMean q v;Add v,e a;Sqrt a s;Div x,s n;Mul n,g y", NULL);
}

static void layernorm_leaves_what_others_read(void **state)
{
    static const char *const inner[] = {"q", "v", "a", "s", "n"};
    (void)state;
    for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
        check_stays(HEAD "Pow d,two q;" TAIL, inner[i]);
    }
}

/* What others read in front of the formula, or between scale and bias, is no obstacle. */
static void layernorm_keeps_what_others_read(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, build(HEAD "Pow d,two q;" TAIL, "d"));
    passes_case_run(&c, lt_pass_fuse_layernorm, true);
    assert_int_equal(passes_case_count(&c, "Sub"), 1);
    passes_case_end(&c);
    passes_case_start(&c, build(HEAD "Pow d,two q;" TAIL, "w"));
    passes_case_run(&c, lt_pass_fuse_layernorm, true);
    assert_int_equal(passes_case_count(&c, "Add"), 1);
    passes_case_end(&c);
}

static void layernorm_asks_the_device(void **state)
{
    passes_case c;
    (void)state;
    passes_case_start(&c, build(HEAD "Pow d,two q;" TAIL, NULL));
    c.refuse_leat = true;
    passes_case_run(&c, lt_pass_fuse_layernorm, false);
    assert_int_equal(passes_case_count(&c, "Sqrt"), 1);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_in_its_spellings),
        cmocka_unit_test(rms_norm_in_its_spellings),
        cmocka_unit_test(rms_norm_of_another_difference),
        cmocka_unit_test(layernorm_leaves_other_formulas),
        cmocka_unit_test(layernorm_leaves_what_others_read),
        cmocka_unit_test(layernorm_keeps_what_others_read),
        cmocka_unit_test(layernorm_asks_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_gelu.c: every spelling, and what must stay. */
#include "support/passes_case.h"

#include <stdio.h>
#include <string.h>

/* Rounds to the nearest; for numbers of normal size. */
static uint16_t half_of(float value, leat_dtype dtype)
{
    uint32_t bits, drop = dtype == LEAT_DTYPE_F16 ? 13 : 16;
    memcpy(&bits, &value, sizeof(bits));
    bits += (1u << (drop - 1)) - 1 + (bits >> drop & 1);
    return (uint16_t)(dtype == LEAT_DTYPE_F16 ? (bits - (112u << 23)) >> 13 : bits >> 16);
}

static void number(onnx_builder *b, const char *name, leat_dtype dtype, float value)
{
    uint16_t half = half_of(value, dtype);
    leat_array array = {dtype, 0, {0}, &half, sizeof(half)};
    if (dtype == LEAT_DTYPE_F32) {
        onnx_builder_floats(b, name, "", &value);
    } else {
        onnx_builder_constant(b, name, &array);
    }
}

/* Nodes as "Op in,in out", separated by ';', and constants by name, all of one type. */
static onnx_builder *build_of(leat_dtype dtype, const char *nodes, const char *extra_output)
{
    onnx_builder *b = onnx_builder_create(17);
    static const struct {
        const char *name;
        float value;
    } numbers[] = {{"half", 0.5f},
                   {"one", 1},
                   {"two", 2},
                   {"three", 3},
                   {"root2", 1.4142135f},
                   {"rroot2", 0.70710677f},
                   {"c", 0.044715f},
                   {"k", 0.7978845608f},
                   {"q", 1.702f},
                   {"wrong", 0.81f}};
    char text[512], *rest = text, *node;
    onnx_builder_input(b, "x", dtype, "Nx3");
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        number(b, numbers[i].name, dtype, numbers[i].value);
    }
    snprintf(text, sizeof(text), "%s", nodes);
    while ((node = strsep(&rest, ";")) != NULL) {
        char *op = strsep(&node, " "), *inputs = strsep(&node, " ");
        onnx_builder_node(b, op, inputs, node, NULL, 0);
    }
    onnx_builder_output(b, "y", dtype, "Nx3");
    if (extra_output != NULL) {
        onnx_builder_output(b, extra_output, dtype, "Nx3");
    }
    return b;
}

static onnx_builder *build(const char *nodes, const char *extra_output)
{
    return build_of(LEAT_DTYPE_F32, nodes, extra_output);
}

static void check(const char *nodes, const char *expected)
{
    passes_case c;
    passes_case_start(&c, build(nodes, NULL));
    passes_case_run(&c, lt_pass_fuse_gelu, true);
    passes_case_expect(&c, expected);
    passes_case_end(&c);
}

static void check_stays_of(leat_dtype dtype, const char *nodes, const char *extra_output)
{
    passes_case c;
    passes_case_start(&c, build_of(dtype, nodes, extra_output));
    passes_case_run(&c, lt_pass_fuse_gelu, false);
    passes_case_end(&c);
}

static void check_stays(const char *nodes, const char *extra_output)
{
    check_stays_of(LEAT_DTYPE_F32, nodes, extra_output);
}

static void fuse_gelu_knows_the_forms_with_erf(void **state)
{
    static const char expected[] = "y = Gelu(x) : f32[N,3]\n";
    (void)state;
    check("Div x,root2 d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y", expected);
    check("Div x,root2 d;Erf d e;Add one,e a;Mul x,half h;Mul h,a y", expected);
    check("Mul rroot2,x d;Erf d e;Add one,e a;Mul a,half h;Mul x,h y", expected);
    check("Mul x,rroot2 d;Erf d e;Add e,one a;Mul a,x m;Div m,two y", expected);
}

static void fuse_gelu_knows_the_forms_with_tanh(void **state)
{
    static const char expected[] = "y = Gelu(x) {approximate=\"tanh\"} : f32[N,3]\n";
    (void)state;
    check("Pow x,three p;Mul p,c t;Add x,t s;Mul s,k w;Tanh w h;Add h,one a;Mul x,half b;Mul b,a y",
          expected);
    check("Mul x,x p;Mul x,p r;Mul c,r t;Add t,x s;Mul k,s w;Tanh w h;Add one,h a;Mul x,a b;"
          "Mul half,b y",
          expected);
    check("Mul x,k u;Mul x,c v;Mul v,x t;Add t,one s;Mul u,s w;Tanh w h;Add one,h a;Mul x,half b;"
          "Mul b,a y",
          expected);
    check("Pow x,two p;Mul p,c t;Add one,t s;Mul x,s r;Mul r,k w;Tanh w h;Add one,h a;"
          "Mul half,a b;Mul x,b y",
          expected);
}

static void fuse_gelu_knows_a_scaled_sigmoid(void **state)
{
    (void)state;
    check("Mul x,q m;Sigmoid m s;Mul x,s y", "y = Swish(x) {alpha=1.702} : f32[N,3]\n");
    check("Sigmoid x s;Mul s,x y", "y = Swish(x) {alpha=1} : f32[N,3]\n");
}

static void fuse_gelu_leaves_other_numbers(void **state)
{
    (void)state;
    check_stays("Div x,root2 d;Erf d e;Add e,one a;Mul x,a y", NULL);
    check_stays("Div x,root2 d;Erf d e;Add e,half a;Mul x,a m;Mul m,half y", NULL);
    check_stays("Div x,wrong d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y", NULL);
    check_stays("Erf x e;Add e,one a;Mul x,a m;Mul m,half y", NULL);
    check_stays("Pow x,two p;Mul p,c t;Add x,t s;Mul s,k w;Tanh w h;Add h,one a;Mul x,half b;"
                "Mul b,a y",
                NULL);
    check_stays("Pow x,three p;Mul p,c t;Add x,t s;Mul s,wrong w;Tanh w h;Add h,one a;"
                "Mul x,half b;Mul b,a y",
                NULL);
}

/* The gate is of another value than the one it multiplies. */
static void fuse_gelu_leaves_two_values(void **state)
{
    (void)state;
    check_stays("Neg x z;Div z,root2 d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y", "z");
    check_stays("Exp x z;Sigmoid z s;Mul x,s y", NULL);
}

static void fuse_gelu_leaves_values_that_others_read(void **state)
{
    static const char nodes[] = "Div x,root2 d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y";
    static const char *const inner[] = {"d", "e", "a", "m"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_stays(nodes, inner[i]);
    }
}

/* Its result goes on as a factor. */
static void fuse_gelu_finds_a_formula_inside_a_product(void **state)
{
    (void)state;
    check("Div x,root2 d;Erf d e;Add e,one a;Mul x,a m;Mul m,half g;Mul g,two y",
          "g = Gelu(x) : f32[N,3]\ny = Mul(g, two) : f32[N,3]\n");
}

/* Numbers rounded to halves. */
static void fuse_gelu_knows_halves(void **state)
{
    static const leat_dtype types[] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    static const char *const names[] = {"f16", "bf16"};
    static const struct {
        const char *nodes, *expected;
    } cases[] = {
        {"Div x,root2 d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y", "Gelu(x)"},
        {"Mul rroot2,x d;Erf d e;Add one,e a;Mul a,half h;Mul x,h y", "Gelu(x)"},
        {"Pow x,three p;Mul p,c t;Add x,t s;Mul s,k w;Tanh w h;Add h,one a;Mul x,half b;Mul b,a y",
         "Gelu(x) {approximate=\"tanh\"}"},
    };
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char expected[96];
            passes_case c;
            snprintf(expected, sizeof(expected), "y = %s : %s[N,3]\n", cases[i].expected, names[t]);
            passes_case_start(&c, build_of(types[t], cases[i].nodes, NULL));
            passes_case_run(&c, lt_pass_fuse_gelu, true);
            passes_case_expect(&c, expected);
            passes_case_end(&c);
        }
        check_stays_of(types[t], "Div x,wrong d;Erf d e;Add e,one a;Mul x,a m;Mul m,half y", NULL);
        check_stays_of(types[t], "Div x,root2 d;Erf d e;Add e,c a;Mul x,a m;Mul m,half y", NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fuse_gelu_knows_the_forms_with_erf),
        cmocka_unit_test(fuse_gelu_knows_the_forms_with_tanh),
        cmocka_unit_test(fuse_gelu_knows_a_scaled_sigmoid),
        cmocka_unit_test(fuse_gelu_leaves_other_numbers),
        cmocka_unit_test(fuse_gelu_leaves_two_values),
        cmocka_unit_test(fuse_gelu_leaves_values_that_others_read),
        cmocka_unit_test(fuse_gelu_finds_a_formula_inside_a_product),
        cmocka_unit_test(fuse_gelu_knows_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* remove_dead.c and remove_identity.c. */
#include "support/passes_case.h"

static void remove_dead_drops_chains_that_nothing_reads(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_text(b, "x: f32[2x3]; y = Relu(x); p = Exp(x); q = Neg(p); -> y: f32[2x3]");
    passes_case_start(&c, b);
    passes_case_expect(&c, "y = Relu(x) : f32[2,3]\n"
                           "p = Exp(x) : f32[2,3]\n"
                           "q = Neg(p) : f32[2,3]\n");
    passes_case_run(&c, lt_pass_remove_dead, true);
    passes_case_expect(&c, "y = Relu(x) : f32[2,3]\n");
    passes_case_run(&c, lt_pass_remove_dead, false);
    passes_case_end(&c);
}

static void remove_identity_joins_neighbours(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3");
    onnx_builder_node(b, "Identity", "x", "a", NULL, 0);
    onnx_builder_node(b, "Cast", "a", "b", &to, 1);
    onnx_builder_text(b, "c = Dropout(b); y = Relu(c); -> y: f32[2x3]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_remove_identity, true);
    passes_case_expect(&c, "y = Relu(x) : f32[2,3]\n");
    passes_case_end(&c);
}

static void remove_identity_keeps_names_of_graph_outputs(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_text(b, "x: f32[2x3]; "
                         "a = Relu(x); z = Neg(a); y = Identity(a); same = Identity(x); "
                         "-> y: f32[2x3]; -> z: f32[2x3]; -> same: f32[2x3]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_remove_identity, true);
    /* A graph input cannot be renamed: that Identity stays. */
    passes_case_expect(&c, "y = Relu(x) : f32[2,3]\n"
                           "z = Neg(y) : f32[2,3]\n"
                           "same = Identity(x) : f32[2,3]\n");
    passes_case_end(&c);
}

static void remove_identity_keeps_a_dropout_whose_mask_is_read(void **state)
{
    passes_case c;
    onnx_builder *b = onnx_builder_create(17);
    (void)state;
    onnx_builder_text(b, "x: f32[2x3]; y, mask = Dropout(x); -> y: f32[2x3]; -> mask: bool[2x3]");
    passes_case_start(&c, b);
    passes_case_run(&c, lt_pass_remove_identity, false);
    passes_case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remove_dead_drops_chains_that_nothing_reads),
        cmocka_unit_test(remove_identity_joins_neighbours),
        cmocka_unit_test(remove_identity_keeps_names_of_graph_outputs),
        cmocka_unit_test(remove_identity_keeps_a_dropout_whose_mask_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Failing allocations in load, plan and run of ONNX's own cases of what the runtime carries out
 * itself: bodies, sequences, optionals, caches, quantized products. */
#include "support/test.h"

#include "onnx/reader.h"
#include "support/file.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST 16

typedef struct node_case {
    char model[512];
    lt_memory memory; /* of the inputs: not walked */
    lt_arena arena;
    leat_array inputs[MOST];
    size_t n_inputs;
    size_t n_outputs;
} node_case;

static leat_status run_once(const node_case *c, leat_session *session, leat_error *err)
{
    leat_array outputs[MOST] = {{0}};
    return leat_session_run(session, c->inputs, c->n_inputs, outputs, c->n_outputs, err);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    node_case *c = argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    leat_status status = leat_context_create(&desc, &context, err);
    status = status ? status : leat_model_load(context, c->model, NULL, &model, err);
    status = status ? status : leat_session_create(model, NULL, &session, err);
    if (session != NULL) {
        status = run_once(c, session, err);
    }
    if (session != NULL && status != LEAT_OK) { /* with memory again a later run succeeds */
        leat_error later = {0};
        ((test_allocator *)allocator->user)->allow = -1;
        assert_ok(run_once(c, session, &later), &later);
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

static void read_inputs(node_case *c, const char *directory)
{
    leat_context *context;
    leat_model *model;
    leat_error err = {0};
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    assert_ok(leat_model_load(context, c->model, NULL, &model, &err), &err);
    const leat_model_signature *io = leat_model_io(model);
    assert_true(io->n_inputs <= MOST && io->n_outputs <= MOST);
    c->n_inputs = io->n_inputs;
    c->n_outputs = io->n_outputs;
    for (size_t i = 0; i < io->n_inputs; i++) {
        char path[600];
        size_t bytes;
        snprintf(path, sizeof(path), "%s/test_data_set_0/input_%zu.pb", directory, i);
        void *data = test_read_file(path, &bytes);
        void *kept = lt_arena_copy(&c->arena, data, bytes);
        free(data);
        assert_ok(
            lt_onnx_read_value(&c->arena, io->inputs[i].dtype, kept, bytes, &c->inputs[i], &err),
            &err);
    }
    leat_model_destroy(model);
    leat_context_destroy(context);
}

static void walk(const char *name)
{
    const char *root = getenv("LEAT_ONNX_DATA");
    node_case c = {.n_inputs = 0};
    char directory[400];
    if (root == NULL) {
        print_message("LEAT_ONNX_DATA is not set: make check sets it\n");
        skip();
        return;
    }
    print_message("%s\n", name);
    snprintf(directory, sizeof(directory), "%s/%s", root, name);
    snprintf(c.model, sizeof(c.model), "%s/model.onnx", directory);
    lt_memory_init(&c.memory, NULL, 0);
    lt_arena_init(&c.arena, &c.memory, 0);
    read_inputs(&c, directory);
    test_walk_allocations(attempt, &c);
    lt_arena_destroy(&c.arena);
}

static void node_cases_survive(void **state)
{
    static const char *const names[] = {
        "test_if",
        "test_if_seq",
        "test_if_opt",
        "test_loop11",
        "test_loop13_seq",
        "test_loop16_seq_none",
        "test_scan_sum",
        "test_scan9_sum",
        "test_sequence_map_add_1_sequence_1_tensor",
        "test_sequence_map_add_1_sequence_1_tensor_expanded",
        "test_split_to_sequence_1",
        "test_split_to_sequence_nokeepdims",
        "test_optional_get_element_sequence",
        "test_optional_has_element_optional_input",
        "test_sequence_insert_at_front",
        "test_string_concat",
        "test_nonzero_example",
        "test_unique_sorted_with_axis",
        "test_tensorscatter",
        "test_attention_4d_with_past_and_present",
        "test_qlinearconv",
        "test_qlinearmatmul_2D_uint8_float32",
        "test_qlinearmatmul_2D_uint8_float16",
        "test_flexattention_soft_cap",
        "test_dynamicquantizelinear_expanded",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        walk(names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(node_cases_survive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

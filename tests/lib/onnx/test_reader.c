/* SPDX-License-Identifier: Apache-2.0 */
/* Models and graphs; test_read_node.c and test_read_tensor.c have the rest. */
#include "lib/onnx/model.h"

/* y = Relu(x). */
static pb relu_graph(void)
{
    pb graph = pb_graph();
    pb_message(&graph, 1, pb_node("Relu", "x", "y"));
    return graph;
}

static void read_empty_file_returns_corrupt(void **state)
{
    (void)state;
    pb model = {0};
    assert_model_refused(&model, LEAT_CORRUPT, "the file is empty");
}

static void read_other_file_returns_corrupt(void **state)
{
    (void)state;
    pb model = {0};
    const char text[] = "<!DOCTYPE html>";
    pb_raw(&model, text, sizeof(text) - 1);
    assert_model_refused(&model, LEAT_CORRUPT, "byte ");
}

static void read_model_without_graph_returns_corrupt(void **state)
{
    (void)state;
    pb model = {0};
    pb_int(&model, 1, 10);
    pb_message(&model, 8, pb_opset("", 22));
    assert_model_refused(&model, LEAT_CORRUPT, "the model has no graph");
    pb_int(&model, 7, 1);
    assert_model_refused(&model, LEAT_CORRUPT, "a graph or function has wire type 0");
}

static void read_ir_version_out_of_range_is_refused(void **state)
{
    (void)state;
    pb model = {0};
    pb_message(&model, 7, relu_graph());
    pb_message(&model, 8, pb_opset("", 22));
    assert_model_refused(&model, LEAT_CORRUPT, "IR version 0; 3 to 20 are read");
    pb_int(&model, 1, 21);
    assert_model_refused(&model, LEAT_UNSUPPORTED, "IR version 21");
    pb_int(&model, 1, -1);
    assert_model_refused(&model, LEAT_UNSUPPORTED, "IR version -1");
}

static void read_opset_out_of_range_returns_unsupported(void **state)
{
    (void)state;
    static const int64_t bad[] = {99, 0, -1, INT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        pb model = {0};
        pb_int(&model, 1, 10);
        pb_message(&model, 7, relu_graph());
        pb_message(&model, 8, pb_opset("ai.onnx", bad[i]));
        assert_model_refused(&model, LEAT_UNSUPPORTED, "of ai.onnx; 1 to 30 are read");
    }
}

static void read_duplicate_value_returns_corrupt(void **state)
{
    (void)state;
    pb graph = relu_graph(), tensor = pb_tensor("w", LEAT_DTYPE_U8, "1");
    pb_message(&graph, 1, pb_node("Abs", "x", "y"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "value 'y' is made twice");
    graph = relu_graph();
    pb_message(&graph, 11, pb_value("x", LEAT_DTYPE_F32, "2"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "value 'x' is made twice");
    graph = relu_graph();
    pb_message(&graph, 1, pb_node("Abs", "x", "x"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "value 'x' is made twice");
    graph = relu_graph();
    pb_bytes(&tensor, 9, "a", 1);
    pb_message(&graph, 5, tensor);
    pb_message(&graph, 5, tensor);
    assert_graph_refused(&graph, LEAT_CORRUPT, "value 'w' is made twice");
}

static void read_unknown_value_returns_corrupt(void **state)
{
    (void)state;
    pb graph = pb_graph();
    pb_message(&graph, 1, pb_node("Add", "x,nobody", "y"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "reads value 'nobody', which nothing makes");
    graph = pb_graph();
    assert_graph_refused(&graph, LEAT_CORRUPT, "graph output 0: reads value 'y'");
}

static void read_cycle_returns_corrupt(void **state)
{
    (void)state;
    pb graph = pb_graph();
    pb_message(&graph, 1, pb_node("Add", "x,b", "y"));
    pb_message(&graph, 1, pb_node("Relu", "y", "b"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "depends on its own output");
    graph = pb_graph();
    pb_message(&graph, 1, pb_node("Relu", "y", "y"));
    assert_graph_refused(&graph, LEAT_CORRUPT, "depends on its own output");
}

static void read_nodes_out_of_order_are_sorted(void **state)
{
    (void)state;
    reading r;
    pb graph = pb_graph();
    pb_message(&graph, 1, pb_node("Relu", "b", "y"));
    pb_message(&graph, 1, pb_node("Abs", "x", "b"));
    read_graph(&r, &graph);
    assert_string_equal(r.graph->nodes[0]->op, "Abs");
    assert_string_equal(r.graph->nodes[1]->op, "Relu");
    reading_free(&r);
}

static void read_sparse_initializer_returns_unsupported(void **state)
{
    (void)state;
    pb graph = relu_graph(), sparse = {0};
    pb_message(&graph, 15, sparse);
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "sparse initializers are not supported");
}

/* A ValueInfoProto of that name whose type has `inner` in field `kind`. */
static pb value_of_kind(const char *name, uint32_t kind, pb inner)
{
    pb value = {0}, type = {0};
    pb_message(&type, kind, inner);
    pb_text(&value, 1, name);
    pb_message(&value, 2, type);
    return value;
}

static pb tensor_type(void)
{
    pb type = {0}, tensor = {0};
    pb_int(&tensor, 1, LEAT_DTYPE_F32);
    pb_message(&type, 1, tensor);
    return type;
}

static void read_input_of_other_kind_returns_unsupported(void **state)
{
    (void)state;
    pb map = {0}, graph = relu_graph(), sequence = {0}, empty = {0};
    pb_int(&map, 1, LEAT_DTYPE_F32); /* no type of keys; no values */
    pb_message(&graph, 11, value_of_kind("m", 5, map));
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "input 'm' is a");
    graph = relu_graph();
    pb_message(&map, 2, tensor_type());
    pb_message(&graph, 11, value_of_kind("m", 5, map));
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "input 'm' is a");
    graph = relu_graph();
    pb_message(&graph, 11, value_of_kind("m", 8, empty));
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "input 'm' is a sparse tensor");
    graph = relu_graph();
    pb map_type = {0};
    pb_message(&map_type, 5, map);
    pb_message(&sequence, 1, map_type);
    pb_message(&graph, 11, value_of_kind("m", 4, sequence));
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "input 'm' is a ");
}

static void read_maps_sequences_and_optionals_as_arrays_of_arrays(void **state)
{
    (void)state;
    reading r;
    pb graph = relu_graph(), sequence = {0}, optional = {0}, nested = {0}, map = {0};
    pb_message(&map, 2, tensor_type());
    pb_int(&map, 1, LEAT_DTYPE_STRING);
    pb_message(&graph, 11, value_of_kind("m", 5, map));
    pb_message(&sequence, 1, tensor_type());
    pb_message(&graph, 11, value_of_kind("s", 4, sequence));
    pb_message(&optional, 1, tensor_type());
    pb_message(&graph, 11, value_of_kind("o", 9, optional));
    pb sequence_type = {0};
    pb_message(&sequence_type, 4, sequence);
    pb_message(&nested, 1, sequence_type);
    pb_message(&graph, 11, value_of_kind("n", 9, nested));
    read_graph(&r, &graph);
    assert_int_equal(read_value(&r, "m")->dtype, LEAT_DTYPE_MAP);
    assert_int_equal(read_value(&r, "m")->rank, 1);
    assert_int_equal(read_value(&r, "m")->shape[0], 2);
    assert_int_equal(lt_element_dtype(read_value(&r, "m")), LEAT_DTYPE_F32);
    assert_int_equal(read_value(&r, "s")->dtype, LEAT_DTYPE_SEQUENCE);
    assert_int_equal(read_value(&r, "o")->dtype, LEAT_DTYPE_OPTIONAL);
    assert_int_equal(read_value(&r, "n")->dtype, LEAT_DTYPE_OPTIONAL);
    assert_int_equal(read_value(&r, "n")->rank, 1);
    reading_free(&r);
}

/* Writes the message around what lies at data[at] to the end; returns where it begins. */
static size_t wrap(uint8_t *data, size_t at, size_t end, uint32_t field)
{
    uint8_t head[16];
    size_t n = 0, length = end - at;
    head[n++] = (uint8_t)(field << 3 | 2);
    for (; length > 0x7f; length >>= 7) {
        head[n++] = (uint8_t)((length & 0x7f) | 0x80);
    }
    head[n++] = (uint8_t)length;
    memcpy(data + at - n, head, n);
    return at - n;
}

/* Optionals of optionals, far deeper than a stack would bear. */
static void read_nested_optionals_does_not_recurse(void **state)
{
    (void)state;
    const size_t depth = 200000, bytes = depth * 10 + 100;
    uint8_t *data = calloc(1, bytes);
    reading r = {0};
    assert_non_null(data);
    size_t at = bytes;
    for (size_t i = 0; i < depth; i++) {
        at = wrap(data, at, bytes, 1); /* elem_type */
        at = wrap(data, at, bytes, 9); /* optional_type */
    }
    at = wrap(data, at, bytes, 2);  /* ValueInfoProto.type */
    at = wrap(data, at, bytes, 11); /* GraphProto.input */
    at = wrap(data, at, bytes, 7);  /* ModelProto.graph */
    data[--at] = 10;                /* ir_version */
    data[--at] = 8;
    read_bytes_refused(&r, data + at, bytes - at, LEAT_UNSUPPORTED, "input '' is a");
    free(data);
}

static void read_too_many_dimensions_returns_unsupported(void **state)
{
    (void)state;
    pb graph = relu_graph();
    pb_message(&graph, 11, pb_value("z", LEAT_DTYPE_F32, "1x1x1x1x1x1x1x1x1"));
    assert_graph_refused(&graph, LEAT_UNSUPPORTED, "more than 8 dimensions");
}

static void read_negative_input_dimension_is_unknown(void **state)
{
    (void)state;
    reading r;
    pb graph = relu_graph();
    pb_message(&graph, 11, pb_value("z", LEAT_DTYPE_F32, "-1x3"));
    read_graph(&r, &graph);
    assert_true(read_value(&r, "z")->shape[0] < 0);
    assert_null(lt_graph_symbol_name(r.graph, read_value(&r, "z")->shape[0]));
    assert_int_equal(read_value(&r, "z")->shape[1], 3);
    reading_free(&r);
}

static void read_initializer_listed_as_input_is_a_constant(void **state)
{
    (void)state;
    reading r;
    pb graph = pb_graph(), tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_message(&graph, 11, pb_value("w", LEAT_DTYPE_F32, "2"));
    pb_bytes(&tensor, 9, "abcdefgh", 8);
    pb_message(&graph, 5, tensor);
    pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
    read_graph(&r, &graph);
    assert_int_equal(r.graph->n_inputs, 1);
    assert_string_equal(r.graph->values[r.graph->inputs[0]].name, "x");
    assert_memory_equal(read_value(&r, "w")->data, "abcdefgh", 8);
    reading_free(&r);
}

static void read_fields_in_any_order_gives_the_same_graph(void **state)
{
    (void)state;
    static char first[1024], second[1024];
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "2"), info = {0};
    pb_bytes(&tensor, 9, "abcdefgh", 8);
    pb output = pb_value("y", LEAT_DTYPE_F32, "2"), input = pb_value("x", LEAT_DTYPE_F32, "2");
    pb node = pb_node("Add", "x,w", "y");
    pb forward = {0}, backward = {0}, model = {0};
    pb_text(&info, 1, "nobody"); /* a declared value that nothing makes has no effect */

    pb_message(&forward, 1, node);
    pb_text(&forward, 2, "g");
    pb_message(&forward, 5, tensor);
    pb_message(&forward, 11, input);
    pb_message(&forward, 12, output);
    pb_message(&forward, 13, info);

    pb_message(&backward, 13, info);
    pb_message(&backward, 12, output);
    pb_message(&backward, 11, input);
    pb_message(&backward, 5, tensor);
    pb_text(&backward, 2, "g");
    pb_message(&backward, 1, node);

    reading r;
    read_graph(&r, &forward);
    lt_graph_text(r.graph, first, sizeof(first));
    reading_free(&r);
    pb_message(&model, 7, backward);
    pb_message(&model, 8, pb_opset("", 22));
    pb_int(&model, 1, 10);
    read_model(&r, &model);
    lt_graph_text(r.graph, second, sizeof(second));
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "y = Add(x, w)"));
    reading_free(&r);
}

static void read_unknown_fields_are_skipped(void **state)
{
    (void)state;
    reading r;
    pb graph = relu_graph();
    pb_text(&graph, 10, "a doc string");
    pb_int(&graph, 1000, 5);
    pb_float(&graph, 1001, 5);
    pb model = pb_model(&graph);
    pb_text(&model, 14, "metadata");
    read_model(&r, &model);
    assert_int_equal(r.graph->n_nodes, 1);
    assert_int_equal(r.graph->nodes[0]->opset, 22);
    reading_free(&r);
}

/* Every prefix of a model is refused or, where it ends between two fields, read. */
static void read_truncated_model_returns_corrupt(void **state)
{
    (void)state;
    pb graph = relu_graph(), model = pb_model(&graph);
    for (size_t bytes = 0; bytes < model.bytes; bytes++) {
        reading r = {0};
        leat_status status = reading_try(&r, model.data, bytes);
        if (status != LEAT_CORRUPT) {
            fail_msg("%zu of %zu bytes: %s", bytes, model.bytes, leat_status_text(status));
        }
        assert_true(r.err.message[0] != '\0');
        reading_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_empty_file_returns_corrupt),
        cmocka_unit_test(read_other_file_returns_corrupt),
        cmocka_unit_test(read_model_without_graph_returns_corrupt),
        cmocka_unit_test(read_ir_version_out_of_range_is_refused),
        cmocka_unit_test(read_opset_out_of_range_returns_unsupported),
        cmocka_unit_test(read_duplicate_value_returns_corrupt),
        cmocka_unit_test(read_unknown_value_returns_corrupt),
        cmocka_unit_test(read_cycle_returns_corrupt),
        cmocka_unit_test(read_nodes_out_of_order_are_sorted),
        cmocka_unit_test(read_sparse_initializer_returns_unsupported),
        cmocka_unit_test(read_input_of_other_kind_returns_unsupported),
        cmocka_unit_test(read_maps_sequences_and_optionals_as_arrays_of_arrays),
        cmocka_unit_test(read_nested_optionals_does_not_recurse),
        cmocka_unit_test(read_too_many_dimensions_returns_unsupported),
        cmocka_unit_test(read_negative_input_dimension_is_unknown),
        cmocka_unit_test(read_initializer_listed_as_input_is_a_constant),
        cmocka_unit_test(read_fields_in_any_order_gives_the_same_graph),
        cmocka_unit_test(read_unknown_fields_are_skipped),
        cmocka_unit_test(read_truncated_model_returns_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

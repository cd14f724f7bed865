/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/onnx/model.h"

/* A graph y = Add(x, w) with the given initializer w. */
static pb graph_with(pb tensor)
{
    pb graph = pb_graph();
    pb_message(&graph, 5, tensor);
    pb_message(&graph, 1, pb_node("Add", "x,w", "y"));
    return graph;
}

static void assert_tensor_refused(pb tensor, leat_status expected, const char *text)
{
    pb graph = graph_with(tensor);
    assert_graph_refused(&graph, expected, text);
}

/* Reads the tensor and compares dtype and data. */
static void assert_tensor_is(pb tensor, leat_dtype dtype, const void *data, size_t bytes)
{
    reading r;
    pb graph = graph_with(tensor);
    read_graph(&r, &graph);
    const leat_value *w = read_value(&r, "w");
    assert_int_equal(w->dtype, dtype);
    assert_int_equal(w->bytes, bytes);
    assert_memory_equal(w->data, data, bytes);
    assert_int_equal(r.graph->n_inputs, 1);
    reading_free(&r);
}

static const float two[2] = {1.5f, -2};

static void read_raw_data_too_short_returns_corrupt_cve_2024_27319(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&tensor, 9, two, 7);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 7 bytes where 8 belong");
    tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&tensor, 9, "", 0);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 0 bytes where 8 belong");
}

static void read_raw_data_too_long_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "1");
    pb_bytes(&tensor, 9, two, 8);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 8 bytes where 4 belong");
}

static void read_dims_that_overflow_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "4294967296x4294967296");
    pb_bytes(&tensor, 9, "", 0);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "overflows");
    tensor = pb_tensor("w", LEAT_DTYPE_F64, "2305843009213693952x2");
    assert_tensor_refused(tensor, LEAT_CORRUPT, "overflows");
}

static void read_negative_dim_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "-1");
    pb_bytes(&tensor, 9, two, 4);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a negative dimension");
}

static void read_too_many_dims_returns_unsupported(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "1x1x1x1x1x1x1x1x1");
    pb_bytes(&tensor, 9, two, 4);
    assert_tensor_refused(tensor, LEAT_UNSUPPORTED, "more than 8 dimensions");
}

/* The budget of 1 MB is the test: anything that followed the dims would be out of memory. */
static void read_huge_dims_in_tiny_file_returns_corrupt(void **state)
{
    (void)state;
    assert_tensor_refused(pb_tensor("w", LEAT_DTYPE_F32, "1000000000000"), LEAT_CORRUPT,
                          "a tensor of 4000000000000 bytes in a message of");
    assert_tensor_refused(pb_tensor("w", LEAT_DTYPE_STRING, "1000000000"), LEAT_CORRUPT,
                          "1000000000 strings in a message of");
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "1000000000000");
    pb_bytes(&tensor, 9, two, 8);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "8 bytes where 4000000000000 belong");
}

static void read_typed_data_count_mismatch_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "3");
    pb_bytes(&tensor, 4, two, 8);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 2 elements where 3 belong");
    tensor = pb_tensor("w", LEAT_DTYPE_F32, "1");
    pb_bytes(&tensor, 4, two, 8);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 2 elements where 1 belong");
    tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&tensor, 4, two, 7);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "packed numbers of 4 bytes in 7 bytes");
    tensor = pb_tensor("w", LEAT_DTYPE_F32, "2"); /* the field of another type */
    pb_bytes(&tensor, 7, "\1\2", 2);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 0 elements where 2 belong");
    tensor = pb_tensor("w", LEAT_DTYPE_STRING, "2");
    pb_text(&tensor, 6, "one");
    assert_tensor_refused(tensor, LEAT_CORRUPT, "a tensor has 1 strings where 2 belong");
}

static void read_segment_returns_unsupported(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "2"), segment = {0};
    pb_int(&segment, 1, 0);
    pb_int(&segment, 2, 8);
    pb_message(&tensor, 3, segment);
    pb_bytes(&tensor, 9, two, 8);
    assert_tensor_refused(tensor, LEAT_UNSUPPORTED, "tensors in segments are not supported");
}

static void read_unknown_dtype_returns_unsupported(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", 99, "2");
    pb_bytes(&tensor, 9, two, 8);
    assert_tensor_refused(tensor, LEAT_UNSUPPORTED, "tensor 'w' is of an unknown type");
    assert_tensor_refused(pb_tensor("w", 0, "2"), LEAT_UNSUPPORTED, "unknown type");
}

static void read_raw_strings_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_STRING, "1");
    pb_bytes(&tensor, 9, "0123456789abcdef", 16); /* would be a pointer and a length */
    assert_tensor_refused(tensor, LEAT_CORRUPT, "strings cannot be raw data");
}

static void read_name_with_zero_byte_returns_corrupt(void **state)
{
    (void)state;
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&tensor, 8, "a\0b", 3);
    assert_tensor_refused(tensor, LEAT_CORRUPT, "contains a zero byte");
}

static void read_packed_and_unpacked_numbers_agree(void **state)
{
    (void)state;
    const int64_t ints[3] = {1, -2, INT64_MIN};
    pb packed = pb_tensor("w", LEAT_DTYPE_I64, "3"), loose = packed, run = {0};
    for (int i = 0; i < 3; i++) {
        pb_varint(&run, (uint64_t)ints[i]);
        pb_int(&loose, 7, ints[i]);
    }
    pb_message(&packed, 7, run);
    assert_tensor_is(packed, LEAT_DTYPE_I64, ints, sizeof(ints));
    assert_tensor_is(loose, LEAT_DTYPE_I64, ints, sizeof(ints));

    packed = loose = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&packed, 4, two, sizeof(two));
    pb_float(&loose, 4, two[0]);
    pb_float(&loose, 4, two[1]);
    assert_tensor_is(packed, LEAT_DTYPE_F32, two, sizeof(two));
    assert_tensor_is(loose, LEAT_DTYPE_F32, two, sizeof(two));

    pb dims = {0}; /* packed dims */
    pb_bytes(&dims, 1, "\1\2", 2);
    pb_int(&dims, 2, LEAT_DTYPE_F32);
    pb_text(&dims, 8, "w");
    pb_bytes(&dims, 9, two, sizeof(two));
    reading r;
    pb graph = graph_with(dims);
    read_graph(&r, &graph);
    assert_int_equal(read_value(&r, "w")->rank, 2);
    assert_int_equal(read_value(&r, "w")->shape[1], 2);
    reading_free(&r);
}

static void read_narrow_types_take_the_low_bytes(void **state)
{
    (void)state;
    const uint16_t half[2] = {0x3c00, 0xfc00};
    pb tensor = pb_tensor("w", LEAT_DTYPE_F16, "2");
    pb_int(&tensor, 5, half[0]);
    pb_int(&tensor, 5, half[1]);
    assert_tensor_is(tensor, LEAT_DTYPE_F16, half, sizeof(half));

    const int8_t bytes[2] = {-1, 127};
    tensor = pb_tensor("w", LEAT_DTYPE_I8, "2");
    pb_int(&tensor, 5, -1);
    pb_int(&tensor, 5, 127);
    assert_tensor_is(tensor, LEAT_DTYPE_I8, bytes, sizeof(bytes));

    const uint32_t words[1] = {0xfffffffeu};
    tensor = pb_tensor("w", LEAT_DTYPE_U32, "1");
    pb_int(&tensor, 11, 0xfffffffe);
    assert_tensor_is(tensor, LEAT_DTYPE_U32, words, sizeof(words));

    const float complex[2] = {1, 2};
    tensor = pb_tensor("w", LEAT_DTYPE_C64, "1");
    pb_bytes(&tensor, 4, complex, sizeof(complex));
    assert_tensor_is(tensor, LEAT_DTYPE_C64, complex, sizeof(complex));
}

/* Two elements a byte; three elements take two bytes, in raw_data as in int32_data. */
static void read_int4_tensors(void **state)
{
    (void)state;
    pb raw = pb_tensor("w", LEAT_DTYPE_I4, "3"), typed = raw;
    pb_bytes(&raw, 9, "\x21\x03", 2);
    assert_tensor_is(raw, LEAT_DTYPE_I4, "\x21\x03", 2);
    pb_int(&typed, 5, 0x21);
    pb_int(&typed, 5, 0x03);
    assert_tensor_is(typed, LEAT_DTYPE_I4, "\x21\x03", 2);
    pb bad = pb_tensor("w", LEAT_DTYPE_I4, "3");
    pb_bytes(&bad, 9, "\x21\x03\x04", 3);
    assert_tensor_refused(bad, LEAT_CORRUPT, "a tensor has 3 bytes where 2 belong");
}

static void read_string_tensor_returns_the_strings(void **state)
{
    (void)state;
    reading r;
    pb tensor = pb_tensor("w", LEAT_DTYPE_STRING, "2");
    pb_text(&tensor, 6, "");
    pb_bytes(&tensor, 6, "a\0b", 3);
    pb graph = graph_with(tensor);
    read_graph(&r, &graph);
    const leat_string *strings = read_value(&r, "w")->data;
    assert_int_equal(strings[0].bytes, 0);
    assert_int_equal(strings[1].bytes, 3);
    assert_memory_equal(strings[1].data, "a\0b", 3);
    reading_free(&r);
}

static void read_empty_tensor_is_a_constant(void **state)
{
    (void)state;
    reading r;
    pb graph = graph_with(pb_tensor("w", LEAT_DTYPE_F32, "0x3"));
    read_graph(&r, &graph);
    assert_non_null(read_value(&r, "w")->data);
    assert_int_equal(read_value(&r, "w")->bytes, 0);
    reading_free(&r);
}

static void read_tensor_keeps_large_data_in_the_file(void **state)
{
    (void)state;
    static uint8_t data[4096];
    reading r;
    pb tensor = pb_tensor("w", LEAT_DTYPE_U8, "4096");
    pb_bytes(&tensor, 9, data, sizeof(data));
    pb graph = graph_with(tensor);
    read_graph(&r, &graph);
    const uint8_t *at = read_value(&r, "w")->data;
    assert_true(at > r.data && at + sizeof(data) <= r.data + r.source.bytes);
    reading_free(&r);
}

static void read_lone_tensor_returns_name_and_data(void **state)
{
    (void)state;
    lt_memory memory;
    lt_arena arena;
    leat_array array;
    const char *name = NULL;
    leat_error err = {0};
    pb tensor = pb_tensor("w", LEAT_DTYPE_F32, "2");
    pb_bytes(&tensor, 9, two, sizeof(two));
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    assert_ok(lt_onnx_read_tensor(&arena, tensor.data, tensor.bytes, &array, &name, &err), &err);
    assert_string_equal(name, "w");
    assert_memory_equal(array.data, two, sizeof(two));
    assert_int_equal(
        lt_onnx_read_tensor(&arena, tensor.data, tensor.bytes - 1, &array, &name, &err),
        LEAT_CORRUPT);
    lt_arena_destroy(&arena);
    assert_int_equal(memory.live_blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_raw_data_too_short_returns_corrupt_cve_2024_27319),
        cmocka_unit_test(read_raw_data_too_long_returns_corrupt),
        cmocka_unit_test(read_dims_that_overflow_returns_corrupt),
        cmocka_unit_test(read_negative_dim_returns_corrupt),
        cmocka_unit_test(read_too_many_dims_returns_unsupported),
        cmocka_unit_test(read_huge_dims_in_tiny_file_returns_corrupt),
        cmocka_unit_test(read_typed_data_count_mismatch_returns_corrupt),
        cmocka_unit_test(read_segment_returns_unsupported),
        cmocka_unit_test(read_unknown_dtype_returns_unsupported),
        cmocka_unit_test(read_raw_strings_returns_corrupt),
        cmocka_unit_test(read_name_with_zero_byte_returns_corrupt),
        cmocka_unit_test(read_packed_and_unpacked_numbers_agree),
        cmocka_unit_test(read_narrow_types_take_the_low_bytes),
        cmocka_unit_test(read_int4_tensors),
        cmocka_unit_test(read_string_tensor_returns_the_strings),
        cmocka_unit_test(read_empty_tensor_is_a_constant),
        cmocka_unit_test(read_tensor_keeps_large_data_in_the_file),
        cmocka_unit_test(read_lone_tensor_returns_name_and_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* CastMap and DictVectorizer: maps as inputs, in any order and through branches; unsound maps. What
 * they give is what ONNX Runtime 1.32 gives for the same maps. */
#include "support/test.h"

#include "support/run.h"
#include "support/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static test_run r;
static onnx_builder *b;
static leat_array parts[2];

static leat_array map_of(leat_array keys, leat_array values)
{
    parts[0] = keys;
    parts[1] = values;
    return (leat_array){LEAT_DTYPE_MAP, 1, {2}, parts, sizeof(parts)};
}

static void open_op(const char *op, leat_dtype key, leat_dtype value, leat_dtype out,
                    const leat_attr *attrs, size_t n_attrs)
{
    char name[40];
    snprintf(name, sizeof(name), "ai.onnx.ml.%s", op);
    b = onnx_builder_create(17);
    onnx_builder_import(b, "ai.onnx.ml", 1);
    onnx_builder_map(b, false, "x", key, value);
    onnx_builder_node(b, name, "x", "y", attrs, n_attrs);
    onnx_builder_output(b, "y", out, NULL);
    memset(&r, 0, sizeof(r));
    test_run_open(&r, b);
}

static void close_op(void)
{
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void open_cast_map(leat_dtype value, const char *to, bool sparse, int64_t most)
{
    const leat_attr attrs[] = {test_attr_string("cast_to", to),
                               test_attr_string("map_form", sparse ? "SPARSE" : "DENSE"),
                               test_attr_int("max_map", most)};
    leat_dtype out = strcmp(to, "TO_STRING") == 0  ? LEAT_DTYPE_STRING
                     : strcmp(to, "TO_INT64") == 0 ? LEAT_DTYPE_I64
                                                   : LEAT_DTYPE_F32;
    open_op("CastMap", LEAT_DTYPE_I64, value, out, attrs, 3);
}

static void cast_map_of_floats_in_the_order_of_keys(void **state)
{
    int64_t keys[] = {3, 1, 7};
    float values[] = {1.5f, -2.75f, 9.9f};
    leat_array in, out;
    (void)state;
    for (int sparse = 0; sparse < 2; sparse++) {
        in = map_of(test_vector(LEAT_DTYPE_I64, keys, 3), test_vector(LEAT_DTYPE_F32, values, 3));
        open_cast_map(LEAT_DTYPE_F32, "TO_FLOAT", sparse, 5);
        test_run_ok(&r, &in, 1, &out, 1);
        if (sparse) {
            test_assert_f32(&out, "1x5", (const float[]){0, -2.75f, 0, 1.5f, 0});
        } else {
            test_assert_f32(&out, "1x3", (const float[]){-2.75f, 1.5f, 9.9f});
        }
        close_op();
        open_cast_map(LEAT_DTYPE_F32, "TO_STRING", sparse, 5);
        for (int round = 0; round < 2; round++) {
            test_run_ok(&r, &in, 1, &out, 1);
            test_assert_texts(
                &out,
                sparse ? (const char *const[]){"0.f", "-2.750000", "0.f", "1.500000", "0.f"}
                       : (const char *const[]){"-2.750000", "1.500000", "9.900000", "", ""},
                sparse ? 5 : 3);
        }
        close_op();
        open_cast_map(LEAT_DTYPE_F32, "TO_INT64", sparse, 5);
        test_run_ok(&r, &in, 1, &out, 1);
        const int64_t filled[] = {0, -2, 0, 1, 0}, packed[] = {-2, 1, 9};
        assert_memory_equal(out.data, sparse ? filled : packed, sparse ? 40 : 24);
        close_op();
    }
}

static void cast_map_rounds_and_saturates_as_onnx_runtime(void **state)
{
    int64_t keys[] = {1, 2, 3, 4};
    float values[] = {NAN, INFINITY, 1e30f, -2.9f};
    leat_array in = map_of(test_vector(LEAT_DTYPE_I64, keys, 4),
                           test_vector(LEAT_DTYPE_F32, values, 4)),
               out;
    (void)state;
    open_cast_map(LEAT_DTYPE_F32, "TO_INT64", false, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    const int64_t wanted[] = {INT64_MIN, INT64_MIN, INT64_MIN, -2};
    assert_memory_equal(out.data, wanted, sizeof(wanted));
    close_op();
    open_cast_map(LEAT_DTYPE_F32, "TO_STRING", false, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_texts(
        &out,
        (const char *const[]){"nan", "inf", "1000000015047466219876688855040.000000", "-2.900000"},
        4);
    close_op();
}

static void cast_map_of_texts(void **state)
{
    int64_t keys[] = {2, 0};
    leat_string values[] = {{"-3", 2}, {"12", 2}};
    leat_array in =
        map_of(test_vector(LEAT_DTYPE_I64, keys, 2), test_vector(LEAT_DTYPE_STRING, values, 2));
    leat_array out;
    (void)state;
    open_cast_map(LEAT_DTYPE_STRING, "TO_FLOAT", true, 4);
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_f32(&out, "1x4", (const float[]){12, 0, -3, 0});
    close_op();
    open_cast_map(LEAT_DTYPE_STRING, "TO_INT64", false, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    assert_memory_equal(out.data, ((const int64_t[]){12, -3}), 16);
    values[0] = (leat_string){"three", 5};
    assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err), LEAT_INVALID);
    assert_non_null(strstr(r.err.message, "no number"));
    close_op();
    open_cast_map(LEAT_DTYPE_STRING, "TO_STRING", false, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_texts(&out, (const char *const[]){"12", "three"}, 2);
    close_op();
}

static void empty_map_is_no_column_or_filling(void **state)
{
    leat_array in = map_of(test_vector(LEAT_DTYPE_I64, NULL, 0),
                           test_vector(LEAT_DTYPE_F32, NULL, 0)),
               out;
    (void)state;
    open_cast_map(LEAT_DTYPE_F32, "TO_FLOAT", false, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    assert_int_equal(out.shape[1], 0);
    close_op();
    open_cast_map(LEAT_DTYPE_F32, "TO_FLOAT", true, 2);
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_f32(&out, "1x2", (const float[]){0, 0});
    close_op();
}

/* Keys below 0 are no columns; a key twice, keys of another type, and shapes that do not fit are
 * refused before anything reads them. */
static void unsound_maps_are_invalid(void **state)
{
    int64_t keys[] = {1, 0};
    float values[] = {1, 2};
    (void)state;
    open_cast_map(LEAT_DTYPE_F32, "TO_FLOAT", true, 4);
    for (int k = 0; k < 10; k++) {
        leat_array in, out = {0};
        keys[0] = k == 0 ? -1 : k == 1 ? 0 : 1;
        in = map_of(test_vector(LEAT_DTYPE_I64, keys, 2), test_vector(LEAT_DTYPE_F32, values, 2));
        parts[0].dtype = k == 2 ? LEAT_DTYPE_F64 : LEAT_DTYPE_I64;
        parts[1].shape[0] -= k == 3;
        parts[0].bytes -= k == 4;
        parts[1].data = k == 5 ? NULL : values;
        in.shape[0] -= k == 6;
        in.bytes -= k == 7;
        parts[1].rank -= k == 8;
        if (k == 9) {
            parts[1] = in;
        }
        assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err), LEAT_INVALID);
        assert_non_null(strstr(r.err.message, k == 0   ? "least key"
                                              : k == 1 ? "twice"
                                                       : "no sound map"));
    }
    leat_array tensor = test_f32(values, "2"), out = {0};
    assert_int_equal(leat_session_run(r.session, &tensor, 1, &out, 1, &r.err), LEAT_INVALID);
    assert_non_null(strstr(r.err.message, "of type map, not f32"));
    close_op();
}

static const leat_string words[] = {{"a", 1}, {"bb", 2}, {"c", 1}, {"bb", 2}};
static const int64_t whole_words[] = {1, 2, -9, 2};

static leat_attr vocabulary(bool texts)
{
    return texts ? (leat_attr){"string_vocabulary", LEAT_ATTR_STRINGS, 4, {.strings = words}}
                 : (leat_attr){"int64_vocabulary", LEAT_ATTR_INTS, 4, {.ints = whole_words}};
}

static void dict_vectorizer_finds_words(void **state)
{
    leat_string keys[] = {{"zz", 2}, {"bb", 2}, {"b", 1}};
    int64_t numbers[] = {2, -9, 100};
    float f[] = {2.5f, 1.5f, 9};
    double d[] = {2.5, 1.5, 9};
    int64_t i[] = {3, 4, 5};
    leat_string s[] = {{"u", 1}, {"vvv", 3}, {"w", 1}};
    leat_attr attr = vocabulary(true);
    leat_array out, by_text = test_vector(LEAT_DTYPE_STRING, keys, 3);
    (void)state;
    leat_array in = map_of(by_text, test_vector(LEAT_DTYPE_F32, f, 3));
    open_op("DictVectorizer", LEAT_DTYPE_STRING, LEAT_DTYPE_F32, LEAT_DTYPE_F32, &attr, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_f32(&out, "1x4", (const float[]){0, 1.5f, 0, 1.5f});
    close_op();
    in = map_of(by_text, test_vector(LEAT_DTYPE_I64, i, 3));
    open_op("DictVectorizer", LEAT_DTYPE_STRING, LEAT_DTYPE_I64, LEAT_DTYPE_I64, &attr, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    assert_memory_equal(out.data, ((const int64_t[]){0, 4, 0, 4}), 32);
    close_op();
    attr = vocabulary(false);
    in = map_of(test_vector(LEAT_DTYPE_I64, numbers, 3), test_vector(LEAT_DTYPE_F64, d, 3));
    open_op("DictVectorizer", LEAT_DTYPE_I64, LEAT_DTYPE_F64, LEAT_DTYPE_F64, &attr, 1);
    test_run_ok(&r, &in, 1, &out, 1);
    assert_memory_equal(out.data, ((const double[]){0, 2.5, 1.5, 2.5}), 32);
    close_op();
    in = map_of(test_vector(LEAT_DTYPE_I64, numbers, 3), test_vector(LEAT_DTYPE_STRING, s, 3));
    open_op("DictVectorizer", LEAT_DTYPE_I64, LEAT_DTYPE_STRING, LEAT_DTYPE_STRING, &attr, 1);
    for (int round = 0; round < 2; round++) {
        test_run_ok(&r, &in, 1, &out, 1);
        test_assert_texts(&out, (const char *const[]){"", "u", "vvv", "u"}, 4);
    }
    in = map_of(by_text, test_vector(LEAT_DTYPE_STRING, s, 3));
    assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err), LEAT_INVALID);
    assert_non_null(strstr(r.err.message, "vocabulary"));
    close_op();
}

/* A warmed run of numbers allocates nothing. */
static void warmed_run_allocates_nothing(void **state)
{
    int64_t keys[] = {2, 1};
    float values[] = {1, 2};
    leat_array in = map_of(test_vector(LEAT_DTYPE_I64, keys, 2),
                           test_vector(LEAT_DTYPE_F32, values, 2)),
               out;
    leat_memory_info before, after;
    (void)state;
    open_cast_map(LEAT_DTYPE_F32, "TO_FLOAT", true, 4);
    test_run_ok(&r, &in, 1, &out, 1);
    leat_context_memory(r.context, &before);
    test_run_ok(&r, &in, 1, &out, 1);
    leat_context_memory(r.context, &after);
    assert_int_equal(before.allocations, after.allocations);
    close_op();
}

/* A map that a branch captures and an Identity hands on. */
static void branches_and_identities_hand_maps_on(void **state)
{
    const leat_attr attr = test_attr_string("cast_to", "TO_FLOAT");
    onnx_builder *yes = onnx_builder_create(17), *no = onnx_builder_create(17);
    int64_t keys[] = {2, 1};
    float values[] = {1, 2}, zero[] = {0};
    uint8_t condition;
    (void)state;
    onnx_builder_node(yes, "ai.onnx.ml.CastMap", "same", "a", &attr, 1);
    onnx_builder_output(yes, "a", LEAT_DTYPE_F32, NULL);
    onnx_builder_floats(no, "b", "1x1", zero);
    onnx_builder_output(no, "b", LEAT_DTYPE_F32, NULL);
    const leat_attr branches[] = {{"then_branch", LEAT_ATTR_GRAPH, 1, {.graph = yes}},
                                  {"else_branch", LEAT_ATTR_GRAPH, 1, {.graph = no}}};
    b = onnx_builder_create(17);
    onnx_builder_import(b, "ai.onnx.ml", 1);
    onnx_builder_map(b, false, "x", LEAT_DTYPE_I64, LEAT_DTYPE_F32);
    onnx_builder_input(b, "c", LEAT_DTYPE_BOOL, "");
    onnx_builder_node(b, "Identity", "x", "same", NULL, 0);
    onnx_builder_node(b, "If", "c", "y", branches, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    onnx_builder_map(b, true, "same", LEAT_DTYPE_I64, LEAT_DTYPE_F32);
    memset(&r, 0, sizeof(r));
    test_run_open(&r, b);
    for (condition = 0; condition < 2; condition++) {
        leat_array in[2] = {
            map_of(test_vector(LEAT_DTYPE_I64, keys, 2), test_vector(LEAT_DTYPE_F32, values, 2)),
            test_bool(&condition)};
        leat_array out[2];
        test_run_ok(&r, in, 2, out, 2);
        test_assert_f32(&out[0], condition ? "1x2" : "1x1",
                        condition ? (const float[]){2, 1} : zero);
        assert_int_equal(out[1].dtype, LEAT_DTYPE_MAP);
        assert_ptr_equal(((const leat_array *)out[1].data)[1].data, values);
    }
    close_op();
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
}

/* CastMap to text, DictVectorizer of numbers and a Cast to and from text, in one model. */
static leat_status run_once(void *model, const leat_allocator *allocator, leat_error *err)
{
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    int64_t keys[] = {2, 1};
    float values[] = {1, 2};
    leat_array in =
        map_of(test_vector(LEAT_DTYPE_I64, keys, 2), test_vector(LEAT_DTYPE_F32, values, 2));
    leat_array out[2] = {{0}};
    test_run run = {0};
    size_t bytes;
    const void *data = onnx_builder_finish(model, &bytes);
    leat_status status = leat_context_create(&desc, &run.context, err);
    status =
        status ? status : leat_model_load_memory(run.context, data, bytes, NULL, &run.model, err);
    status = status ? status : leat_session_create(run.model, NULL, &run.session, err);
    status = status ? status : leat_session_run(run.session, &in, 1, out, 2, err);
    if (status == LEAT_OK) {
        test_assert_f32(&out[0], "1x2", (const float[]){2, 1});
        test_assert_f32(&out[1], "1x4", (const float[]){2, 1, 0, 1});
    }
    test_run_free(&run);
    return status;
}

static void maps_and_casts_without_memory(void **state)
{
    const leat_attr text = test_attr_string("cast_to", "TO_STRING");
    const leat_attr number = test_attr_int("to", LEAT_DTYPE_F32), words_of = vocabulary(false);
    (void)state;
    b = onnx_builder_create(17);
    onnx_builder_import(b, "ai.onnx.ml", 1);
    onnx_builder_map(b, false, "x", LEAT_DTYPE_I64, LEAT_DTYPE_F32);
    onnx_builder_node(b, "ai.onnx.ml.CastMap", "x", "t", &text, 1);
    onnx_builder_node(b, "Cast", "t", "y", &number, 1);
    onnx_builder_node(b, "ai.onnx.ml.DictVectorizer", "x", "z", &words_of, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, NULL);
    test_walk_allocations(run_once, b);
    onnx_builder_destroy(b);
}

static void refuse_load(const char *op, const leat_attr *attrs, size_t n, bool map,
                        const char *reason)
{
    size_t bytes;
    leat_error err;
    leat_context *context = NULL;
    leat_model *model = NULL;
    b = onnx_builder_create(17);
    onnx_builder_import(b, "ai.onnx.ml", 1);
    if (map) {
        onnx_builder_map(b, false, "x", LEAT_DTYPE_I64, LEAT_DTYPE_F32);
    } else {
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2");
    }
    onnx_builder_node(b, op, "x", "y", attrs, n);
    onnx_builder_output(b, "y", LEAT_DTYPE_UNDEFINED, NULL);
    const void *data = onnx_builder_finish(b, &bytes);
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    leat_status status = leat_model_load_memory(context, data, bytes, NULL, &model, &err);
    if (status != LEAT_INVALID || strstr(err.message, reason) == NULL) {
        fail_msg("%s: %s, %s", op, leat_status_text(status), err.message);
    }
    leat_context_destroy(context);
    onnx_builder_destroy(b);
}

static void wrong_attributes_and_types_are_refused_at_load(void **state)
{
    const leat_attr both[] = {vocabulary(true), vocabulary(false)};
    const leat_attr form = test_attr_string("map_form", "LOOSE");
    const leat_attr none[] = {test_attr_string("map_form", "SPARSE"), test_attr_int("max_map", 0)};
    const leat_attr cast = test_attr_string("cast_to", "TO_BOOL");
    (void)state;
    refuse_load("ai.onnx.ml.DictVectorizer", NULL, 0, true, "vocabulary");
    refuse_load("ai.onnx.ml.DictVectorizer", both, 2, true, "vocabulary");
    refuse_load("ai.onnx.ml.DictVectorizer", both, 1, false, "not a map");
    refuse_load("ai.onnx.ml.CastMap", NULL, 0, false, "not a map");
    refuse_load("ai.onnx.ml.CastMap", &form, 1, true, "map_form");
    refuse_load("ai.onnx.ml.CastMap", none, 2, true, "max_map (0)");
    refuse_load("ai.onnx.ml.CastMap", &cast, 1, true, "cast_to");
    refuse_load("Optional", NULL, 0, true, "optional of a map");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cast_map_of_floats_in_the_order_of_keys),
        cmocka_unit_test(cast_map_rounds_and_saturates_as_onnx_runtime),
        cmocka_unit_test(cast_map_of_texts),
        cmocka_unit_test(empty_map_is_no_column_or_filling),
        cmocka_unit_test(unsound_maps_are_invalid),
        cmocka_unit_test(dict_vectorizer_finds_words),
        cmocka_unit_test(warmed_run_allocates_nothing),
        cmocka_unit_test(branches_and_identities_hand_maps_on),
        cmocka_unit_test(maps_and_casts_without_memory),
        cmocka_unit_test(wrong_attributes_and_types_are_refused_at_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* StringConcat and StringNormalizer: broadcasting, letters of several alphabets, text that loops
 * carry on and stack up, inputs that do not fit. */
#include "support/test.h"

#include "support/run.h"
#include "support/text.h"

static void concat_broadcasts_both_inputs(void **state)
{
    leat_string a[] = {test_text("x"), test_text(""), test_text("long")},
                b[] = {test_text("-"), test_text("\xc3\xa9")};
    leat_array in[2] = {test_vector(LEAT_DTYPE_STRING, a, 3), test_vector(LEAT_DTYPE_STRING, b, 2)},
               out;
    onnx_builder *builder = onnx_builder_create(20);
    test_run r = {0};
    (void)state;
    in[0].rank = 2, in[0].shape[0] = 3, in[0].shape[1] = 1;
    onnx_builder_text(builder, "a: string[Nx1]; b: string[M]; y = StringConcat(a, b); "
                               "-> y: string");
    test_run_open(&r, builder);
    for (int again = 0; again < 2; again++) {
        test_run_ok(&r, in, 2, &out, 1);
        assert_int_equal(out.rank, 2);
        assert_int_equal(out.shape[0], 3);
        assert_int_equal(out.shape[1], 2);
        test_assert_text(&out, 0, "x-");
        test_assert_text(&out, 1, "x\xc3\xa9");
        test_assert_text(&out, 2, "-");
        test_assert_text(&out, 5, "long\xc3\xa9");
    }
    in[1].shape[0] = 0, in[1].bytes = 0;
    test_run_ok(&r, in, 2, &out, 1);
    assert_int_equal(out.shape[1], 0);
    in[0] = test_vector(LEAT_DTYPE_STRING, a, 3), in[0].rank = 1;
    assert_int_equal(leat_session_run(r.session, in, 2, &out, 1, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* A Loop over strings: carried y begins as x, `n` times longer by x; with `stack` the output is
 * what was in y at each iteration, twice. */
typedef struct text_loop {
    onnx_builder *builder, *body;
} text_loop;

static text_loop build_loop(bool stack)
{
    text_loop l = {onnx_builder_create(20), onnx_builder_create(20)};
    const leat_attr attr = test_attr_graph("body", l.body);
    onnx_builder_input(l.body, "i", LEAT_DTYPE_I64, "");
    onnx_builder_input(l.body, "go", LEAT_DTYPE_BOOL, "");
    onnx_builder_input(l.body, "y", LEAT_DTYPE_STRING, "N");
    onnx_builder_node(l.body, "Identity", "go", "on", NULL, 0);
    onnx_builder_node(l.body, "StringConcat", "y,x", "longer", NULL, 0);
    onnx_builder_output(l.body, "on", LEAT_DTYPE_BOOL, NULL);
    onnx_builder_output(l.body, "longer", LEAT_DTYPE_STRING, NULL);
    if (stack) {
        onnx_builder_node(l.body, "StringConcat", "y,y", "twice", NULL, 0);
        onnx_builder_output(l.body, "twice", LEAT_DTYPE_STRING, NULL);
    }
    onnx_builder_input(l.builder, "n", LEAT_DTYPE_I64, "");
    onnx_builder_input(l.builder, "x", LEAT_DTYPE_STRING, "N");
    onnx_builder_node(l.builder, "Loop", "n,,x", stack ? "last,y" : "y", &attr, 1);
    onnx_builder_output(l.builder, "y", LEAT_DTYPE_STRING, NULL);
    return l;
}

static void free_loop(text_loop *l, test_run *r)
{
    test_run_free(r);
    onnx_builder_destroy(l->builder);
    onnx_builder_destroy(l->body);
}

/* y = y + x, three times: each round reads the text that the last one made. */
static void concat_in_a_loop_carries_text(void **state)
{
    text_loop l = build_loop(false);
    leat_string x[] = {test_text("ab"), test_text("c")};
    int64_t trips = 3;
    leat_array in[2] = {{LEAT_DTYPE_I64, 0, {0}, &trips, 8}, test_vector(LEAT_DTYPE_STRING, x, 2)},
               out;
    test_run r = {0};
    (void)state;
    test_run_open(&r, l.builder);
    test_run_ok(&r, in, 2, &out, 1);
    test_assert_text(&out, 0, "abababab");
    test_assert_text(&out, 1, "cccc");
    free_loop(&l, &r);
}

/* Text that a body makes is gone in its next iteration; what is stacked up stays. A second run is
 * longer, a third shorter, the last has no iteration. */
static void loop_stacks_text_up(void **state)
{
    static const int64_t all_trips[] = {3, 40, 2, 0};
    text_loop l = build_loop(true);
    leat_string x[] = {test_text("ab"), test_text("")};
    int64_t trips;
    leat_array in[2] = {{LEAT_DTYPE_I64, 0, {0}, &trips, 8}, test_vector(LEAT_DTYPE_STRING, x, 2)},
               out;
    test_run r = {0};
    (void)state;
    test_run_open(&r, l.builder);
    for (size_t t = 0; t < sizeof(all_trips) / sizeof(all_trips[0]); t++) {
        trips = all_trips[t];
        test_run_ok(&r, in, 2, &out, 1);
        assert_int_equal(out.rank, 2);
        assert_int_equal(out.shape[0], trips);
        assert_int_equal(out.shape[1], 2);
        for (int64_t i = 0; i < trips; i++) {
            char wanted[200] = "";
            for (int64_t k = 0; k < 2 * i + 2; k++) {
                strcat(wanted, "ab");
            }
            test_assert_text(&out, 2 * i, wanted);
            test_assert_text(&out, 2 * i + 1, "");
        }
    }
    free_loop(&l, &r);
}

static leat_status stack_text_once(void *argument, const leat_allocator *allocator, leat_error *err)
{
    text_loop *l = argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    test_run r = {0};
    leat_string x[] = {test_text("ab"), test_text("c")};
    int64_t trips = 3;
    size_t bytes;
    const void *model = onnx_builder_finish(l->builder, &bytes);
    leat_array in[2] = {{LEAT_DTYPE_I64, 0, {0}, &trips, 8}, test_vector(LEAT_DTYPE_STRING, x, 2)},
               out = {0};
    leat_status status = leat_context_create(&desc, &r.context, err);
    status = status ? status : leat_model_load_memory(r.context, model, bytes, NULL, &r.model, err);
    status = status ? status : leat_session_create(r.model, NULL, &r.session, err);
    status = status ? status : leat_session_run(r.session, in, 2, &out, 1, err);
    if (status == LEAT_OK) {
        test_assert_text(&out, 5, "cccccc");
    }
    test_run_free(&r);
    return status;
}

static void loop_stacks_text_up_without_memory(void **state)
{
    text_loop l = build_loop(true);
    (void)state;
    test_walk_allocations(stack_text_once, &l);
    onnx_builder_destroy(l.builder);
    onnx_builder_destroy(l.body);
}

/* A Scan over the columns of x, from behind: its state is all of them so far, what is stacked up
 * is each with a mark, in columns, in their own order. */
static void scan_carries_and_stacks_text(void **state)
{
    onnx_builder *builder = onnx_builder_create(20), *body = onnx_builder_create(20);
    const int64_t one[] = {1};
    const leat_attr attrs[] = {{"body", LEAT_ATTR_GRAPH, 1, {.graph = body}},
                               {"num_scan_inputs", LEAT_ATTR_INT, 1, {.i = 1}},
                               {"scan_input_axes", LEAT_ATTR_INTS, 1, {.ints = one}},
                               {"scan_output_axes", LEAT_ATTR_INTS, 1, {.ints = one}},
                               {"scan_input_directions", LEAT_ATTR_INTS, 1, {.ints = one}},
                               {"scan_output_directions", LEAT_ATTR_INTS, 1, {.ints = one}}};
    leat_string begin[] = {test_text("<"), test_text("")}, mark[] = {test_text("!")};
    leat_string x[] = {test_text("a"), test_text("b"), test_text("cc"),
                       test_text("d"), test_text(""),  test_text("f")};
    leat_array in[3] = {test_vector(LEAT_DTYPE_STRING, begin, 2),
                        test_vector(LEAT_DTYPE_STRING, mark, 1),
                        test_vector(LEAT_DTYPE_STRING, x, 6)},
               out[2];
    test_run r = {0};
    (void)state;
    in[2].rank = 2, in[2].shape[0] = 2, in[2].shape[1] = 3;
    onnx_builder_text(body, "so_far: string[R]; column: string[R]; "
                            "longer = StringConcat(so_far, column); "
                            "marked = StringConcat(column, mark); "
                            "-> longer: string; -> marked: string");
    onnx_builder_text(builder, "begin: string[R]; mark: string[1]; x: string[RxC]");
    onnx_builder_node(builder, "Scan", "begin,x", "all,columns", attrs, 6);
    onnx_builder_output(builder, "all", LEAT_DTYPE_STRING, NULL);
    onnx_builder_output(builder, "columns", LEAT_DTYPE_STRING, NULL);
    test_run_open(&r, builder);
    for (int again = 0; again < 2; again++) {
        static const char *const wanted[] = {"a!", "b!", "cc!", "d!", "!", "f!"};
        test_run_ok(&r, in, 3, out, 2);
        test_assert_text(&out[0], 0, "<ccba");
        test_assert_text(&out[0], 1, "fd");
        assert_int_equal(out[1].shape[0], 2);
        assert_int_equal(out[1].shape[1], 3);
        for (int64_t i = 0; i < 6; i++) {
            test_assert_text(&out[1], i, wanted[i]);
        }
    }
    test_run_free(&r);
    onnx_builder_destroy(builder);
    onnx_builder_destroy(body);
}

static void normalize(const leat_attr *attrs, uint32_t n_attrs, leat_string *in, int64_t n,
                      const char *const *wanted, int64_t n_wanted)
{
    onnx_builder *builder = onnx_builder_create(20);
    leat_array x = test_vector(LEAT_DTYPE_STRING, in, n), out;
    test_run r = {0};
    onnx_builder_input(builder, "x", LEAT_DTYPE_STRING, "N");
    onnx_builder_node(builder, "StringNormalizer", "x", "y", attrs, n_attrs);
    onnx_builder_output(builder, "y", LEAT_DTYPE_STRING, NULL);
    test_run_open(&r, builder);
    test_run_ok(&r, &x, 1, &out, 1);
    assert_int_equal(out.rank, 1);
    assert_int_equal(out.shape[0], n_wanted);
    for (int64_t i = 0; i < n_wanted; i++) {
        test_assert_text(&out, i, wanted[i]);
    }
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* Latin, Greek and Cyrillic; what has no case, cut-off and wrong bytes stay. (Both sigmas have one
 * upper case.) */
static void normalizer_changes_case(void **state)
{
    leat_string in[] = {test_text("aZ9 \xc3\xa9\xc3\x89\xc3\x9f\xc3\xb7"),
                        test_text("\xce\xb1\xce\xa9\xcf\x82"),
                        test_text("\xd0\xb6\xd0\x96\xd1\x91\xd0\x81"),
                        test_text("\xc4\x8d\xc4\x8c\xc5\x82\xc5\x81"),
                        test_text("\xe2\x82\xac"
                                  "a\xc3"),
                        test_text("\xff"
                                  "b\xa9")};
    static const char *const upper[] = {"AZ9 \xc3\x89\xc3\x89\xc3\x9f\xc3\xb7",
                                        "\xce\x91\xce\xa9\xce\xa3",
                                        "\xd0\x96\xd0\x96\xd0\x81\xd0\x81",
                                        "\xc4\x8c\xc4\x8c\xc5\x81\xc5\x81",
                                        "\xe2\x82\xac"
                                        "A\xc3",
                                        "\xff"
                                        "B\xa9"};
    static const char *const lower[] = {"az9 \xc3\xa9\xc3\xa9\xc3\x9f\xc3\xb7",
                                        "\xce\xb1\xcf\x89\xcf\x82",
                                        "\xd0\xb6\xd0\xb6\xd1\x91\xd1\x91",
                                        "\xc4\x8d\xc4\x8d\xc5\x82\xc5\x82",
                                        "\xe2\x82\xac"
                                        "a\xc3",
                                        "\xff"
                                        "b\xa9"};
    leat_attr attr = {"case_change_action", LEAT_ATTR_STRING, 1, {.s = test_text("UPPER")}};
    (void)state;
    normalize(&attr, 1, in, 6, upper, 6);
    attr.u.s = test_text("LOWER");
    normalize(&attr, 1, in, 6, lower, 6);
}

/* Letters of three and four bytes, and such whose other case is shorter or longer: Armenian,
 * Georgian, Cherokee, Deseret; U+0250, the signs of Kelvin and of Angstrom, a dotless i. */
static void normalizer_changes_length(void **state)
{
    leat_string in[] = {test_text("\xd5\xa1"),          test_text("\xe1\x83\x90x"),
                        test_text("\xea\xad\xb0"),      test_text("\xf0\x90\x90\xa8y"),
                        test_text("\xc9\x90z\xc9\x90"), test_text("\xe2\x84\xaa\xe2\x84\xab"),
                        test_text("\xc4\xb1")};
    static const char *const upper[] = {"\xd4\xb1",
                                        "\xe1\xb2\x90X",
                                        "\xe1\x8e\xa0",
                                        "\xf0\x90\x90\x80Y",
                                        "\xe2\xb1\xafZ\xe2\xb1\xaf",
                                        "\xe2\x84\xaa\xe2\x84\xab",
                                        "I"};
    static const char *const lower[] = {"\xd5\xa1",          "\xe1\x83\x90x",     "\xea\xad\xb0",
                                        "\xf0\x90\x90\xa8y", "\xc9\x90z\xc9\x90", "k\xc3\xa5",
                                        "\xc4\xb1"};
    static const char *const left[] = {"Y"};
    leat_attr attr = {"case_change_action", LEAT_ATTR_STRING, 1, {.s = test_text("UPPER")}};
    (void)state;
    normalize(&attr, 1, in, 7, upper, 7);
    attr.u.s = test_text("LOWER");
    normalize(&attr, 1, in, 7, lower, 7);
    /* Stop words of another length than what they match. */
    leat_string words[] = {test_text("\xe2\x84\xaa"), test_text("Y"), test_text("\xe2\xb1\xaf")};
    const leat_string stop[] = {test_text("K"), test_text("\xc9\x90"), test_text("yy")};
    attr = (leat_attr){"stopwords", LEAT_ATTR_STRINGS, 3, {.strings = stop}};
    normalize(&attr, 1, words, 3, left, 1);
}

static void normalizer_drops_stopwords(void **state)
{
    leat_string in[] = {test_text("The"), test_text("cat"), test_text("the"),
                        test_text("\xc3\x89t\xc3\xa9")};
    const leat_string stop[] = {test_text("the"), test_text("\xc3\xa9t\xc3\xa9")};
    static const char *const exact[] = {"The", "cat", "\xc3\x89t\xc3\xa9"}, *const loose[] = {
                                                                                "cat"};
    static const char *const none[] = {""};
    leat_attr attrs[] = {{"stopwords", LEAT_ATTR_STRINGS, 2, {.strings = stop}},
                         {"is_case_sensitive", LEAT_ATTR_INT, 1, {.i = 1}}};
    (void)state;
    normalize(attrs, 2, in, 4, exact, 3);
    attrs[1].u.i = 0;
    normalize(attrs, 2, in, 4, loose, 1);
    in[1] = test_text("THE");
    normalize(attrs, 2, in, 4, none, 1);
    normalize(attrs, 2, in, 0, none, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concat_broadcasts_both_inputs),
        cmocka_unit_test(concat_in_a_loop_carries_text),
        cmocka_unit_test(loop_stacks_text_up),
        cmocka_unit_test(loop_stacks_text_up_without_memory),
        cmocka_unit_test(scan_carries_and_stacks_text),
        cmocka_unit_test(normalizer_changes_case),
        cmocka_unit_test(normalizer_changes_length),
        cmocka_unit_test(normalizer_drops_stopwords),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions, StringSplit, TfIdfVectorizer. */
#include "support/op_check.h"
#include "support/text.h"

#include "text/regex.h"

#include <stdlib.h>

/* ---- RegexFullMatch ------------------------------------------------------------------------- */

static const struct {
    const char *pattern, *text;
    bool matches;
} matches[] = {
    {"", "", true},
    {"", "a", false},
    {"abc", "abc", true},
    {"abc", "ab", false},
    {"abc", "abcd", false},
    {"a|bc|d", "a", true},
    {"a|bc|d", "bc", true},
    {"a|bc|d", "d", true},
    {"a|bc|d", "b", false},
    {"a|bc|d", "ad", false},
    {"(a|b)*c", "c", true},
    {"(a|b)*c", "ababc", true},
    {"(a|b)*c", "abab", false},
    {"a+", "", false},
    {"a+", "a", true},
    {"a+", "aaa", true},
    {"a+", "aab", false},
    {"a?b", "b", true},
    {"a?b", "ab", true},
    {"a?b", "aab", false},
    {"a{3}", "aaa", true},
    {"a{3}", "aa", false},
    {"a{3}", "aaaa", false},
    {"a{2,4}", "a", false},
    {"a{2,4}", "aa", true},
    {"a{2,4}", "aaaa", true},
    {"a{2,4}", "aaaaa", false},
    {"a{2,}", "a", false},
    {"a{2,}", "aa", true},
    {"a{2,}", "aaaaaa", true},
    {"(ab){0,2}", "", true},
    {"(ab){0,2}", "ab", true},
    {"(ab){0,2}", "abab", true},
    {"(ab){0,2}", "ababab", false},
    {"a{0}b", "b", true},
    {"a{0}b", "ab", false},
    {"[a-c]x", "ax", true},
    {"[a-c]x", "dx", false},
    {"[^a-c]x", "ax", false},
    {"[^a-c]x", "dx", true},
    {"[]a]+", "]a", true},
    {"[]a]+", "b", false},
    {"[a\\-z]+", "a-z", true},
    {"[a\\-z]+", "b", false},
    {"[\\d_]+", "12_", true},
    {"[\\d_]+", "1a", false},
    {"\\D+", "ab", true},
    {"\\D+", "a1", false},
    {"\\w+\\s\\W", "ab !", true},
    {"\\w+\\s\\W", "ab!!", false},
    {".", "a", true},
    {".", "\n", false},
    {".", "é", true},
    {".", "ab", false},
    {"a.c", "abc", true},
    {"a.c", "aéc", true},
    {"a.c", "ac", false},
    {"^a$", "a", true},
    {"^a$", "ba", false},
    {"\\ba\\b", "a", true},
    {"a\\b.b", "a b", true},
    {"a\\b.b", "aab", false},
    {"a\\Bb", "ab", true},
    {"(a*)*", "", true},
    {"(a*)*", "aaa", true},
    {"(a*)*", "b", false},
    {"(a|aa)+b", "aaaab", true},
    {"(a|aa)+b", "aaaa", false},
    {"(?:x|y)z", "xz", true},
    {"(?:x|y)z", "zz", false},
    {"\\x41\\t", "A\t", true},
    {"\\x41\\t", "A", false},
    {"a*?b+?", "b", true},
    {"a*?b+?", "aabb", true},
    {"a*?b+?", "aa", false},
    {"(a{2}){3}", "aaaaaa", true},
    {"(a{2}){3}", "aaaaa", false},
    {"((a|b){2,3}c)?", "", true},
    {"((a|b){2,3}c)?", "abc", true},
    {"((a|b){2,3}c)?", "abbc", true},
    {"((a|b){2,3}c)?", "ac", false},
    {"é+", "éé", true},
    {"é+", "e", false},
    {"[à-ü]", "é", true},
    {"[à-ü]", "z", false},
    {"\\.\\*\\[", ".*[", true},
    {"\\.\\*\\[", "xyz", false},
    {"x|", "x", true},
    {"x|", "", true},
    {"x|", "y", false},
};

static void regex_matches_whole_texts(void **state)
{
    (void)state;
    lt_regex *regex = malloc(sizeof(*regex));
    for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
        bool unsupported;
        const char *wrong = lt_regex_compile(regex, test_text(matches[i].pattern), &unsupported);
        if (wrong != NULL) {
            fail_msg("'%s': %s", matches[i].pattern, wrong);
        }
        uint32_t *workspace = malloc(lt_regex_workspace(regex));
        if (lt_regex_match(regex, test_text(matches[i].text), workspace) != matches[i].matches) {
            fail_msg("'%s' and '%s'", matches[i].pattern, matches[i].text);
        }
        free(workspace);
    }
    free(regex);
}

static void regex_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "(",   "a)",    "[a",    "*a",          "a{2",  "a{3,2}",  "\\",
        "a{}", "[b-a]", "(?i)a", "[[:alpha:]]", "\\pL", "a{1001}", "((a{1000}){1000})"};
    lt_regex *regex = malloc(sizeof(*regex));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        bool unsupported;
        assert_non_null(lt_regex_compile(regex, test_text(bad[i]), &unsupported));
        assert_int_equal(unsupported, i >= 9);
    }
    char deep[2001];
    memset(deep, '(', 1000);
    memset(deep + 1000, ')', 1000);
    deep[2000] = '\0';
    bool unsupported;
    assert_non_null(lt_regex_compile(regex, test_text(deep), &unsupported));
    free(regex);
}

/* Exponential for a matcher that tries one way after the other. */
static void regex_time_is_linear(void **state)
{
    (void)state;
    char subject[20001];
    bool unsupported;
    lt_regex *regex = malloc(sizeof(*regex));
    assert_null(lt_regex_compile(regex, test_text("(a|a)*(a|aa)*b"), &unsupported));
    uint32_t *workspace = malloc(lt_regex_workspace(regex));
    memset(subject, 'a', 20000);
    subject[20000] = '\0';
    assert_false(lt_regex_match(regex, test_text(subject), workspace));
    subject[19999] = 'b';
    assert_true(lt_regex_match(regex, test_text(subject), workspace));
    free(workspace);
    free(regex);
}

static void regex_full_match_answers_each_string(void **state)
{
    (void)state;
    leat_string strings[] = {test_text("www.onnx.ai"), test_text("onnx.ai"), test_text("www.x.ai")};
    uint8_t out[32];
    const int64_t n = 3;
    leat_array in = op_array(LEAT_DTYPE_STRING, 1, &n, strings);
    leat_array y = op_array(LEAT_DTYPE_BOOL, 1, &n, out);
    leat_attr attr = test_attr_string("pattern", "www\\..+\\.ai");
    test_kernel kernel = {.op = "RegexFullMatch",
                          .attrs = &attr,
                          .n_attrs = 1,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &y,
                          .n_outputs = 1};
    static const double want[] = {1, 0, 1};
    const double *expected[] = {want};
    op_check(&kernel, expected, 0, 0);
}

/* ---- StringSplit ---------------------------------------------------------------------------- */

typedef struct split_case {
    const char *text, *delimiter;
    int64_t most; /* -1: any number */
    const char *pieces[6];
} split_case;

static const split_case splits[] = {
    {"a b  c", "", -1, {"a", "b", "c"}},
    {"  a \t b\n", "", -1, {"a", "b"}},
    {"a b  c ", "", 1, {"a", "b  c "}},
    {"", "", -1, {NULL}},
    {"   ", "", 1, {NULL}},
    {"a.b.c", ".", -1, {"a", "b", "c"}},
    {"a..b.", ".", -1, {"a", "", "b", ""}},
    {"", ".", -1, {""}},
    {"a--b--c", "--", 1, {"a", "b--c"}},
    {"a.b", ".", 0, {"a.b"}},
    {"abc", "bcd", -1, {"abc"}},
    {"é|ü", "|", -1, {"é", "ü"}},
};

static void string_split_gives_pieces(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(splits) / sizeof(splits[0]); k++) {
        const split_case *c = &splits[k];
        leat_string in_text = test_text(c->text), pieces[8];
        int64_t most = -1, count = -1, wanted = 0;
        const int64_t one = 1;
        leat_array in[2] = {op_array(LEAT_DTYPE_STRING, 1, &one, &in_text),
                            op_array(LEAT_DTYPE_I64, 1, &one, &most)};
        leat_array counted = op_array(LEAT_DTYPE_I64, 1, &one, &most);
        leat_attr attrs[] = {test_attr_string("delimiter", c->delimiter),
                             test_attr_int("maxsplit", c->most)};
        leat_error err = {0};
        test_kernel kernel = {.op = "StringSplitCount",
                              .domain = "leat",
                              .attrs = attrs,
                              .n_attrs = c->most < 0 ? 1 : 2,
                              .inputs = in,
                              .n_inputs = 1,
                              .outputs = &counted,
                              .n_outputs = 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        while (wanted < 6 && c->pieces[wanted]) {
            wanted++;
        }
        assert_int_equal(most, wanted);
        const int64_t shape[] = {1, wanted + 1}; /* one more: an empty string */
        leat_array outs[2] = {op_array(LEAT_DTYPE_STRING, 2, shape, pieces),
                              op_array(LEAT_DTYPE_I64, 1, &one, &count)};
        kernel.op = "StringSplitTo";
        kernel.n_inputs = 2;
        kernel.outputs = outs;
        kernel.n_outputs = 2;
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_int_equal(count, wanted);
        for (int64_t i = 0; i <= wanted; i++) {
            leat_string expected = test_text(i < wanted ? c->pieces[i] : "");
            assert_int_equal(pieces[i].bytes, expected.bytes);
            assert_memory_equal(pieces[i].data, expected.data, expected.bytes);
        }
        if (wanted > 0) { /* fewer than there are */
            const int64_t less[] = {1, wanted - 1};
            outs[0] = op_array(LEAT_DTYPE_STRING, 2, less, pieces);
            assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        }
    }
}

/* ---- TfIdfVectorizer ------------------------------------------------------------------------ */

static const int64_t pool[] = {2, 3, 5, 4, 5, 6, 7, 8, 6, 7, 5, 6, 7};
static const int64_t starts[] = {0, 4, 10}, columns[] = {0, 1, 2, 3, 4, 5, 6, 7};
static const int64_t lengths[] = {1, 1, 1, 1, 2, 2, 2, 3}, firsts[] = {0, 1, 2, 3, 4, 6, 8, 10};

static void tf_idf_counts_grams(void **state)
{
    (void)state;
    static const char *const modes[] = {"TF", "IDF", "TFIDF"};
    static const float weights[] = {2, 3, 1, 0.5f, 4, 0.25f, 1, 2};
    int32_t items[2 * 14];
    float out[32];
    double want[16];
    const int64_t shape[] = {2, 14}, y_shape[] = {2, 8};
    for (int i = 0; i < 28; i++) {
        items[i] = (i * i * 3 + i) % 8 + 1;
    }
    for (int64_t run = 0; run < 3 * 3 * 3 * 3; run++) {
        int64_t shortest = 1 + run % 3, longest = 1 + run / 3 % 3, skips = run / 9 % 3;
        const char *mode = modes[run / 27];
        if (longest < shortest) {
            continue;
        }
        memset(want, 0, sizeof(want));
        for (int64_t row = 0; row < 2; row++) {
            for (int64_t g = 0; g < 8; g++) {
                int64_t n = lengths[g];
                for (int64_t step = 1; step <= skips + 1 && n >= shortest && n <= longest; step++) {
                    for (int64_t i = 0; i + (n - 1) * step < 14 && (n > 1 || step == 1); i++) {
                        bool same = true;
                        for (int64_t k = 0; k < n; k++) {
                            same = same && items[row * 14 + i + k * step] == pool[firsts[g] + k];
                        }
                        want[row * 8 + g] += same;
                    }
                }
                double *w = &want[row * 8 + g];
                *w = mode[0] == 'I' ? *w > 0 : *w;
                *w *= mode[1] == 'F' && mode[2] == '\0' ? 1 : (double)weights[g];
            }
        }
        leat_array in = op_array(LEAT_DTYPE_I32, 2, shape, items);
        leat_array y = op_array(LEAT_DTYPE_F32, 2, y_shape, out);
        leat_attr attrs[] = {test_attr_string("mode", mode),
                             test_attr_int("min_gram_length", shortest),
                             test_attr_int("max_gram_length", longest),
                             test_attr_int("max_skip_count", skips),
                             test_attr_ints("ngram_counts", starts, 3),
                             test_attr_ints("ngram_indexes", columns, 8),
                             test_attr_ints("pool_int64s", pool, 13),
                             {"weights", LEAT_ATTR_FLOATS, 8, {.floats = weights}}};
        test_kernel kernel = {.op = "TfIdfVectorizer",
                              .attrs = attrs,
                              .n_attrs = 8,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &y,
                              .n_outputs = 1};
        const double *expected[] = {want};
        op_check(&kernel, expected, 0, 0);
    }
}

static void tf_idf_pool_that_does_not_fit_is_invalid(void **state)
{
    (void)state;
    static const int64_t bad_starts[][3] = {{0, 4, 14}, {0, 5, 10}, {-1, 4, 10}, {4, 0, 10}};
    int32_t items[4] = {1, 2, 3, 4};
    float out[32];
    const int64_t four = 4, eight = 8;
    for (int i = 0; i < 4; i++) {
        leat_array in = op_array(LEAT_DTYPE_I32, 1, &four, items);
        leat_array y = op_array(LEAT_DTYPE_F32, 1, &eight, out);
        leat_attr attrs[] = {
            test_attr_int("max_gram_length", 3), test_attr_ints("ngram_counts", bad_starts[i], 3),
            test_attr_ints("ngram_indexes", columns, 8), test_attr_ints("pool_int64s", pool, 13)};
        test_kernel kernel = {.op = "TfIdfVectorizer",
                              .attrs = attrs,
                              .n_attrs = 4,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &y,
                              .n_outputs = 1};
        op_check_invalid(&kernel, "TfIdfVectorizer");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regex_matches_whole_texts),
        cmocka_unit_test(regex_that_is_none_is_refused),
        cmocka_unit_test(regex_time_is_linear),
        cmocka_unit_test(regex_full_match_answers_each_string),
        cmocka_unit_test(string_split_gives_pieces),
        cmocka_unit_test(tf_idf_counts_grams),
        cmocka_unit_test(tf_idf_pool_that_does_not_fit_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

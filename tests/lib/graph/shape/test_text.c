/* SPDX-License-Identifier: Apache-2.0 */
/* Strings and random numbers. */
#include "support/infer_case.h"

static void strings_give_pieces_and_counts(void **state)
{
    (void)state;
    infer_concrete("RegexFullMatch(string[2,3])", "bool[2,3]");
    infer_concrete("RegexFullMatch(f32[2])", "!f32, not string");
    infer_concrete("TfIdfVectorizer(i32[2,6]) {ngram_indexes=[0,4,2]}", "f32[2,5]");
    infer_concrete("TfIdfVectorizer(i32[2,6]) {ngram_indexes=[0,-4]}", "!ngram_indexes[1] is -4");
    infer_concrete("TfIdfVectorizer(i32[2,6])", "!0 n-grams");
    infer_symbolic("StringSplit(string[2]) #2", "string[2,?] i64[2]");
    infer_concrete("leat.StringSplitTo(string[2], i64[1]<3>) #2", "string[2,3] i64[2]");
    infer_concrete("leat.StringSplitTo(string[2], i64[1]<-3>)", "!a count of -3");
}

static void random_numbers_have_the_shape_asked_for(void **state)
{
    (void)state;
    infer_concrete("RandomNormal() {shape=[2,3]}", "f32[2,3]");
    infer_concrete("RandomUniform() {shape=[2,3], dtype=11}", "f64[2,3]");
    infer_concrete("RandomUniform() {shape=[2,-3]}", "!shape[1] is -3");
    infer_concrete("RandomUniform()", "!a shape of 0 numbers");
    infer_concrete("RandomNormalLike(f16[4])", "f16[4]");
    infer_concrete("Bernoulli(f32[4]) {dtype=9}", "bool[4]");
    infer_concrete("Multinomial(f32[4,5]) {sample_size=3, dtype=7}", "i64[4,3]");
    infer_concrete("Multinomial(f32[4])", "!scores of rank 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_give_pieces_and_counts),
        cmocka_unit_test(random_numbers_have_the_shape_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

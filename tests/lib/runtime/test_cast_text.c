/* SPDX-License-Identifier: Apache-2.0 */
/* Cast and CastLike to and from text: every type, what is no number, constants, bodies. The texts
 * of floats are those that ONNX Runtime 1.32 writes. */
#include "support/test.h"

#include "base/number.h"
#include "support/run.h"
#include "support/text.h"

#include <math.h>

static test_run r;
static onnx_builder *b;

static void open_cast(leat_dtype from, leat_dtype to)
{
    const leat_attr attr = test_attr_int("to", to);
    b = onnx_builder_create(19);
    memset(&r, 0, sizeof(r));
    onnx_builder_input(b, "x", from, "N");
    onnx_builder_node(b, "Cast", "x", "y", &attr, 1);
    onnx_builder_output(b, "y", to, "N");
    test_run_open(&r, b);
}

static void close_cast(void)
{
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void check_to_text(leat_dtype from, void *data, const char *const *wanted, int64_t n)
{
    open_cast(from, LEAT_DTYPE_STRING);
    for (int round = 0; round < 2; round++) {
        leat_array in = test_vector(from, data, n), out;
        test_run_ok(&r, &in, 1, &out, 1);
        test_assert_texts(&out, wanted, n);
    }
    close_cast();
}

static void numbers_become_the_text_of_onnx_runtime(void **state)
{
    static const char *const floats[] = {"1.5",           "-2.75", "1e+20", "1e-10",
                                         "1.2345679e+08", "0.1",   "NaN",   "INF",
                                         "-INF",          "-0",    "3",     "1.2345679"};
    float f[] = {1.5f, -2.75f,   1e20f,     1e-10f, 123456792, 0.1f,
                 NAN,  INFINITY, -INFINITY, -0.0f,  3,         1.23456789f};
    double d[] = {1.5,
                  -2.75,
                  1e20,
                  1e-10,
                  123456789,
                  0.1,
                  (double)NAN,
                  (double)INFINITY,
                  (double)-INFINITY,
                  -0.0,
                  3,
                  1.23456789};
    uint16_t half[] = {0x2e66, 0x3e00, 0xfc00}, brain[] = {0x3fc0, 0xc000, 0x7fc0};
    int64_t i64[] = {INT64_MIN, -1, INT64_MAX};
    uint64_t u64[] = {0, UINT64_MAX};
    int32_t i32[] = {INT32_MIN, 7};
    uint32_t u32[] = {UINT32_MAX, 7};
    int16_t i16[] = {INT16_MIN, 7};
    uint16_t u16[] = {UINT16_MAX, 7};
    int8_t i8[] = {-128, 127};
    uint8_t u8[] = {200, 1}, flag[] = {1, 0};
    (void)state;
    check_to_text(LEAT_DTYPE_F32, f, floats, 12);
    check_to_text(LEAT_DTYPE_F64, d, floats, 12);
    check_to_text(LEAT_DTYPE_F16, half, (const char *const[]){"0.099975586", "1.5", "-INF"}, 3);
    check_to_text(LEAT_DTYPE_BF16, brain, (const char *const[]){"1.5", "-2", "NaN"}, 3);
    check_to_text(LEAT_DTYPE_I64, i64,
                  (const char *const[]){"-9223372036854775808", "-1", "9223372036854775807"}, 3);
    check_to_text(LEAT_DTYPE_U64, u64, (const char *const[]){"0", "18446744073709551615"}, 2);
    check_to_text(LEAT_DTYPE_I32, i32, (const char *const[]){"-2147483648", "7"}, 2);
    check_to_text(LEAT_DTYPE_U32, u32, (const char *const[]){"4294967295", "7"}, 2);
    check_to_text(LEAT_DTYPE_I16, i16, (const char *const[]){"-32768", "7"}, 2);
    check_to_text(LEAT_DTYPE_U16, u16, (const char *const[]){"65535", "7"}, 2);
    check_to_text(LEAT_DTYPE_I8, i8, (const char *const[]){"-128", "127"}, 2);
    check_to_text(LEAT_DTYPE_U8, u8, (const char *const[]){"200", "1"}, 2);
    check_to_text(LEAT_DTYPE_BOOL, flag, (const char *const[]){"1", "0"}, 2);
}

/* The texts, `wanted` being the numbers as doubles. */
static void check_from_text(leat_dtype to, const char *const *texts, const double *wanted,
                            int64_t n)
{
    leat_string strings[8];
    size_t element = leat_dtype_bytes(to, 1);
    for (int64_t i = 0; i < n; i++) {
        strings[i] = (leat_string){texts[i], strlen(texts[i])};
    }
    open_cast(LEAT_DTYPE_STRING, to);
    leat_array in = test_vector(LEAT_DTYPE_STRING, strings, n), out;
    test_run_ok(&r, &in, 1, &out, 1);
    assert_int_equal(out.dtype, to);
    assert_int_equal(out.shape[0], n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = 0, want = 0;
        int64_t whole = (int64_t)wanted[i];
        memcpy(&bits, (const char *)out.data + (size_t)i * element, element);
        if (to == LEAT_DTYPE_F32) {
            float f = (float)wanted[i];
            memcpy(&want, &f, 4);
        } else if (to == LEAT_DTYPE_F64) {
            memcpy(&want, &wanted[i], 8);
        } else if (to == LEAT_DTYPE_F16 || to == LEAT_DTYPE_BF16) {
            want = lt_half_write(to, wanted[i]);
        } else {
            memcpy(&want, &whole, element);
        }
        assert_int_equal(bits, want);
    }
    close_cast();
}

static void text_becomes_numbers(void **state)
{
    static const char *const floats[] = {"1.5", " 2", "1e3", "-INF", "+3", "0.1", "1e-50"};
    static const double values[] = {1.5, 2, 1e3, (double)-INFINITY, 3, 0.1, 1e-50};
    static const char *const least[] = {"-128", "127", " 5 "};
    static const char *const whole[] = {"255", "0"};
    static const leat_dtype floating[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                          LEAT_DTYPE_BF16};
    static const leat_dtype signed_types[] = {LEAT_DTYPE_I8, LEAT_DTYPE_I16, LEAT_DTYPE_I32,
                                              LEAT_DTYPE_I64};
    static const leat_dtype unsigned_types[] = {LEAT_DTYPE_U8, LEAT_DTYPE_U16, LEAT_DTYPE_U32,
                                                LEAT_DTYPE_U64};
    (void)state;
    for (int t = 0; t < 4; t++) {
        check_from_text(floating[t], floats, values, 7);
        check_from_text(signed_types[t], least, (const double[]){-128, 127, 5}, 3);
        check_from_text(unsigned_types[t], whole, (const double[]){255, 0}, 2);
    }
    check_from_text(LEAT_DTYPE_BOOL, (const char *const[]){"1", "0", "-0.5"},
                    (const double[]){1, 0, 1}, 3);
}

static void text_that_is_no_number_is_invalid(void **state)
{
    static const struct {
        leat_dtype to;
        const char *text;
    } bad[] = {{LEAT_DTYPE_F32, "1.5x"}, {LEAT_DTYPE_F32, ""},          {LEAT_DTYPE_F64, "abc"},
               {LEAT_DTYPE_I64, "1.5"},  {LEAT_DTYPE_U8, "256"},        {LEAT_DTYPE_U8, "-1"},
               {LEAT_DTYPE_I8, "128"},   {LEAT_DTYPE_I8, "-129"},       {LEAT_DTYPE_BOOL, "True"},
               {LEAT_DTYPE_F16, "1,5"},  {LEAT_DTYPE_I32, "3000000000"}};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        leat_string s = {bad[i].text, strlen(bad[i].text)};
        leat_array in = test_vector(LEAT_DTYPE_STRING, &s, 1), out = {0};
        open_cast(LEAT_DTYPE_STRING, bad[i].to);
        assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err), LEAT_INVALID);
        assert_non_null(strstr(r.err.message, "is no number of type"));
        assert_non_null(strstr(r.err.message, "'y'"));
        close_cast();
    }
}

static void types_without_text_are_unsupported(void **state)
{
    uint8_t byte = 0;
    leat_string s = {"1", 1};
    leat_array from = test_vector(LEAT_DTYPE_F8E5M2, &byte, 1),
               text = test_vector(LEAT_DTYPE_STRING, &s, 1);
    leat_array out = {0};
    (void)state;
    open_cast(LEAT_DTYPE_F8E5M2, LEAT_DTYPE_STRING);
    assert_int_equal(leat_session_run(r.session, &from, 1, &out, 1, &r.err), LEAT_UNSUPPORTED);
    close_cast();
    open_cast(LEAT_DTYPE_STRING, LEAT_DTYPE_I4);
    assert_int_equal(leat_session_run(r.session, &text, 1, &out, 1, &r.err), LEAT_UNSUPPORTED);
    close_cast();
}

/* A text of the input and one of a constant become numbers that others compute with, and those
 * become text like another text. */
static void casts_stand_among_other_nodes(void **state)
{
    const leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    leat_string two = {"2.5", 3}, x[2] = {{"1", 1}, {"-4", 2}};
    leat_array constant = test_vector(LEAT_DTYPE_F32, (float[]){2.5f}, 1);
    (void)state;
    (void)two;
    b = onnx_builder_create(19);
    onnx_builder_input(b, "x", LEAT_DTYPE_STRING, "N");
    onnx_builder_constant(b, "c", &constant);
    onnx_builder_node(b, "Cast", "x", "number", &to, 1);
    onnx_builder_text(b, "product = Mul(number, c); y = CastLike(product, x); "
                         "z = CastLike(y, number); same = CastLike(y, x); "
                         "-> y: string[N]; -> z: f32[N]; -> same: string[N]");
    memset(&r, 0, sizeof(r));
    test_run_open(&r, b);
    leat_array in = test_vector(LEAT_DTYPE_STRING, x, 2), out[3];
    test_run_ok(&r, &in, 1, out, 3);
    test_assert_texts(&out[0], (const char *const[]){"2.5", "-10"}, 2);
    test_assert_f32(&out[1], "2", (const float[]){2.5f, -10});
    test_assert_texts(&out[2], (const char *const[]){"2.5", "-10"}, 2);
    in = test_vector(LEAT_DTYPE_STRING, x, 0);
    test_run_ok(&r, &in, 1, out, 3);
    assert_int_equal(out[0].shape[0], 0);
    close_cast();
}

/* A constant that becomes text, whose length a Gather's output shows. */
static void cast_of_a_constant_is_text(void **state)
{
    const leat_attr to = test_attr_int("to", LEAT_DTYPE_STRING);
    int64_t which = 1;
    (void)state;
    b = onnx_builder_create(19);
    onnx_builder_input(b, "i", LEAT_DTYPE_I64, "1");
    onnx_builder_floats(b, "c", "2", (const float[]){1, 0.25f});
    onnx_builder_node(b, "Cast", "c", "text", &to, 1);
    onnx_builder_node(b, "Gather", "text,i", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_STRING, NULL);
    memset(&r, 0, sizeof(r));
    test_run_open(&r, b);
    leat_array in = test_i64(&which, "1"), out;
    test_run_ok(&r, &in, 1, &out, 1);
    test_assert_texts(&out, (const char *const[]){"0.25"}, 1);
    close_cast();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_become_the_text_of_onnx_runtime),
        cmocka_unit_test(text_becomes_numbers),
        cmocka_unit_test(text_that_is_no_number_is_invalid),
        cmocka_unit_test(types_without_text_are_unsupported),
        cmocka_unit_test(casts_stand_among_other_nodes),
        cmocka_unit_test(cast_of_a_constant_is_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

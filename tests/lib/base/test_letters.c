/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/letters.h"

#include <string.h>

#define CHARACTERS 0x110000u

/* What the Unicode database says of all letters together, and of some alone. */
static void letters_are_those_of_unicode(void **state)
{
    static const struct {
        uint32_t letter, lower, upper;
    } some[] = {{'a', 'a', 'A'},
                {'Z', 'z', 'Z'},
                {'@', '@', '@'},
                {'[', '[', '['},
                {0xb5, 0xb5, 0x39c},
                {0xd7, 0xd7, 0xd7},
                {0xdf, 0xdf, 0xdf},
                {0xff, 0xff, 0x178},
                {0x130, 'i', 0x130},
                {0x131, 0x131, 'I'},
                {0x1c5, 0x1c6, 0x1c4},
                {0x3c2, 0x3c2, 0x3a3},
                {0x1e9e, 0xdf, 0x1e9e},
                {0x1fb3, 0x1fb3, 0x1fbc},
                {0x2c6f, 0x250, 0x2c6f},
                {0x10427, 0x1044f, 0x10427},
                {0x1e943, 0x1e943, 0x1e921},
                {0x10ffff, 0x10ffff, 0x10ffff}};
    uint32_t lowered = 0, raised = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        assert_int_equal(lt_letter_lower(some[i].letter), some[i].lower);
        assert_int_equal(lt_letter_upper(some[i].letter), some[i].upper);
    }
    for (uint32_t c = 0; c < CHARACTERS; c++) {
        uint32_t lower = lt_letter_lower(c), upper = lt_letter_upper(c);
        lowered += lower != c;
        raised += upper != c;
        /* A case does not change again. */
        assert_int_equal(lt_letter_lower(lower), lower);
        assert_int_equal(lt_letter_upper(upper), upper);
    }
    assert_int_equal(lowered, 1433);
    assert_int_equal(raised, 1450);
}

static void utf8_goes_there_and_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < CHARACTERS; c++) {
        char to[LT_UTF8_MOST_BYTES];
        leat_string text = {to, lt_utf8_put(c, to)};
        size_t bytes, all = text.bytes;
        assert_int_equal(lt_utf8_take(&text, &bytes), c);
        assert_int_equal(bytes, all);
        assert_int_equal(text.bytes, 0);
    }
}

/* A byte that begins no character, one cut off, too long or too large a number: bytes of their own,
 * which have no case. */
static void wrong_bytes_stand_for_themselves(void **state)
{
    static const char *const wrong[] = {
        "\xff",    "\x80", "\xc3", "\xe2\x82", "\xc1\x81", "\xf0\x80\x80\x80", "\xf5\x80\x80\x80",
        "\xc3\x61"};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        leat_string text = {wrong[i], strlen(wrong[i])};
        size_t bytes;
        uint32_t c = lt_utf8_take(&text, &bytes);
        assert_true(c >= CHARACTERS);
        assert_int_equal(bytes, 1);
        assert_int_equal(text.bytes, strlen(wrong[i]) - 1);
        assert_int_equal(lt_letter_upper(c), c);
        assert_int_equal(lt_letter_lower(c), c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_are_those_of_unicode),
        cmocka_unit_test(utf8_goes_there_and_back),
        cmocka_unit_test(wrong_bytes_stand_for_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

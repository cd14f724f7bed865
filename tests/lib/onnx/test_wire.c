/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "onnx/wire.h"

#include <string.h>

/* Where the bytes under test begin in the "file": offsets in messages count from its start. */
#define BEFORE 3

static uint8_t file[64];

static lt_wire wire_of(const char *bytes, size_t n)
{
    memset(file, 0xff, sizeof(file));
    memcpy(file + BEFORE, bytes, n);
    return (lt_wire){file, file + BEFORE, file + BEFORE + n};
}

#define WIRE(literal) wire_of(literal, sizeof(literal) - 1)

static void assert_says(const leat_error *err, const char *text)
{
    if (strstr(err->message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err->message, text);
    }
}

static void assert_corrupt(lt_wire wire, const char *text)
{
    leat_error err = {0};
    lt_field field;
    bool more;
    assert_int_equal(lt_wire_next(&wire, &field, &more, &err), LEAT_CORRUPT);
    assert_says(&err, text);
}

static void next_truncated_varint_returns_corrupt(void **state)
{
    (void)state;
    assert_corrupt(WIRE("\x80"), "byte 4: a number is cut off");             /* key */
    assert_corrupt(WIRE("\x08"), "byte 4: a number is cut off");             /* value missing */
    assert_corrupt(WIRE("\x08\x80\x80"), "byte 6: a number is cut off");     /* value */
    assert_corrupt(WIRE("\x0a\x80"), "byte 5: a number is cut off");         /* length */
    assert_corrupt(WIRE("\x0d\x01\x02\x03"), "byte 4: a number is cut off"); /* fixed32 */
    assert_corrupt(WIRE("\x09\x01\x02\x03\x04\x05\x06\x07"), "byte 4: a number is cut off");
}

static void next_over_long_varint_returns_corrupt(void **state)
{
    (void)state;
    assert_corrupt(WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                   "byte 14: a number is longer than 10 bytes");
    assert_corrupt(WIRE("\x88\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
                   "byte 13: a number is longer than 10 bytes");
}

static void next_ten_byte_varint_returns_all_bits(void **state)
{
    (void)state;
    lt_wire wire = WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    leat_error err = {0};
    lt_field field;
    bool more;
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_true(field.value == UINT64_MAX);
    assert_int_equal(field.number, 1);
    assert_int_equal(field.type, LT_WIRE_VARINT);
}

static void next_length_beyond_message_returns_corrupt(void **state)
{
    (void)state;
    assert_corrupt(WIRE("\x0a\x03"
                        "ab"),
                   "byte 3: field 1 wants 3 bytes where 2 are left");
    /* A length that would wrap a pointer. */
    assert_corrupt(WIRE("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                   "byte 3: field 1 wants 18446744073709551615 bytes where 0 are left");
}

static void next_length_is_bounded_by_the_inner_message(void **state)
{
    (void)state;
    lt_wire wire = WIRE("\x0a\x02\x0a\x05zzzzz");
    leat_error err = {0};
    lt_field field;
    bool more;
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_int_equal(lt_wire_left(&field.bytes), 2);
    assert_corrupt(field.bytes, "byte 5: field 1 wants 5 bytes where 0 are left");
}

static void next_field_zero_returns_corrupt(void **state)
{
    (void)state;
    assert_corrupt(WIRE("\x00\x01"), "byte 3: field number 0 is not possible");
    assert_corrupt(WIRE("\x02\x00"), "byte 3: field number 0 is not possible");
    /* One more than the largest field number. */
    assert_corrupt(WIRE("\x80\x80\x80\x80\x10\x00"), "byte 3: field number 536870912");
}

static void next_group_returns_corrupt(void **state)
{
    (void)state;
    assert_corrupt(WIRE("\x0b\x00"), "byte 3: field 1 has wire type 3");
    assert_corrupt(WIRE("\x0c\x00"), "byte 3: field 1 has wire type 4");
    assert_corrupt(WIRE("\x0e\x00"), "byte 3: field 1 has wire type 6");
    assert_corrupt(WIRE("\x0f\x00"), "byte 3: field 1 has wire type 7");
}

static void next_reads_every_type_up_to_the_end(void **state)
{
    (void)state;
    lt_wire wire = WIRE("\x08\x96\x01"
                        "\x15\x01\x02\x03\x04"
                        "\x19\x01\x00\x00\x00\x00\x00\x00\x80"
                        "\x22\x02hi");
    leat_error err = {0};
    lt_field field;
    bool more;
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_true(more && field.number == 1 && field.value == 150);
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_true(more && field.number == 2 && field.type == LT_WIRE_FIXED32);
    assert_int_equal(field.value, 0x04030201);
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_true(more && field.number == 3 && field.value == 0x8000000000000001u);
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_true(more && field.number == 4 && lt_wire_left(&field.bytes) == 2);
    assert_memory_equal(field.bytes.at, "hi", 2);
    assert_int_equal(lt_wire_offset(&field.bytes), BEFORE + 19);
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_false(more);
}

static void expect_other_type_returns_corrupt(void **state)
{
    (void)state;
    lt_wire wire = WIRE("\x08\x01");
    leat_error err = {0};
    lt_field field;
    bool more;
    assert_ok(lt_wire_next(&wire, &field, &more, &err), &err);
    assert_ok(lt_wire_expect(&field, &wire, LT_WIRE_VARINT, "a thing", &err), &err);
    assert_int_equal(lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a thing", &err), LEAT_CORRUPT);
    assert_says(&err, "byte 5: a thing has wire type 0 instead of 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_truncated_varint_returns_corrupt),
        cmocka_unit_test(next_over_long_varint_returns_corrupt),
        cmocka_unit_test(next_ten_byte_varint_returns_all_bits),
        cmocka_unit_test(next_length_beyond_message_returns_corrupt),
        cmocka_unit_test(next_length_is_bounded_by_the_inner_message),
        cmocka_unit_test(next_field_zero_returns_corrupt),
        cmocka_unit_test(next_group_returns_corrupt),
        cmocka_unit_test(next_reads_every_type_up_to_the_end),
        cmocka_unit_test(expect_other_type_returns_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

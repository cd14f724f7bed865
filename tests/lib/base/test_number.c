/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/number.h"
#include "support/text.h"

#include <locale.h>
#include <math.h>
#include <string.h>

static double read_one(const char *s)
{
    leat_string t = test_text(s);
    double v = 0;
    if (!lt_number_read(&t, &v)) {
        fail_msg("'%s' was not read", s);
    }
    return v;
}

static void read_takes_what_strtod_takes(void **state)
{
    (void)state;
    assert_true(read_one("1.5") == 1.5);
    assert_true(read_one("\t -2e3 \n") == -2000);
    assert_true(read_one("0x1p3") == 8);
    assert_true(read_one("1e-400") == 0);
    assert_true(isnan(read_one("NaN")));
    assert_true(read_one("-INF") == (double)-INFINITY);
    assert_true(read_one("0.1") == 0.1);
}

static void read_refuses_what_is_no_number(void **state)
{
    static const char *const bad[] = {"", " ", "x", "1.5x", "1 2", "1,5", "--1", "1e"};
    char zeros[1002];
    double v;
    int64_t i;
    uint64_t u;
    (void)state;
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        leat_string t = test_text(bad[k]);
        assert_false(lt_number_read(&t, &v));
        assert_false(lt_number_read_i64(&t, &i));
        assert_false(lt_number_read_u64(&t, &u));
    }
    memset(zeros, '0', sizeof(zeros));
    leat_string within = {zeros, 1000}, beyond = {zeros, 1001}, cut = {"1\0002", 3};
    assert_true(lt_number_read(&within, &v));
    assert_false(lt_number_read(&beyond, &v));
    assert_false(lt_number_read(&cut, &v));
    leat_string inside = {"123", 2}; /* not terminated there */
    assert_true(lt_number_read_i64(&inside, &i));
    assert_int_equal(i, 12);
}

static void read_integers_keeps_to_their_range(void **state)
{
    int64_t i = 0;
    uint64_t u = 0;
    (void)state;
    leat_string least = test_text("-9223372036854775808"),
                below = test_text("-9223372036854775809");
    leat_string most = test_text(" 18446744073709551615"),
                above = test_text("18446744073709551616");
    leat_string minus = test_text("-1"), point = test_text("1.0");
    assert_true(lt_number_read_i64(&least, &i) && i == INT64_MIN);
    assert_false(lt_number_read_i64(&below, &i));
    assert_true(lt_number_read_u64(&most, &u) && u == UINT64_MAX);
    assert_false(lt_number_read_u64(&above, &u));
    assert_false(lt_number_read_u64(&minus, &u));
    assert_false(lt_number_read_i64(&point, &i));
}

static void assert_written(double value, int digits, const char *wanted)
{
    char room[LT_NUMBER_TEXT];
    assert_int_equal(lt_number_text(value, digits, room), strlen(wanted));
    assert_string_equal(room, wanted);
}

static void text_is_that_of_printf(void **state)
{
    (void)state;
    assert_written(1.5, -1, "1.5");
    assert_written(1e20, -1, "1e+20");
    assert_written(123456792, -1, "1.2345679e+08");
    assert_written(-2.75, 6, "-2.750000");
    assert_written(1e20f, 6, "100000002004087734272.000000");
    assert_written(-3.4028234663852886e38, 6, "-340282346638528859811704183484516925440.000000");
}

/* A locale whose decimal point is a comma changes nothing. */
static void locale_of_the_process_does_not_matter(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
    const char *set = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && set == NULL; i++) {
        set = setlocale(LC_NUMERIC, names[i]);
    }
    if (set == NULL) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    assert_written(1.5, -1, "1.5");
    assert_true(read_one("2.25") == 2.25);
    setlocale(LC_NUMERIC, "C");
}

/* Every f16 and bf16 reads and writes back; halves between two go to the even one. */
static void halves_round_to_nearest_even(void **state)
{
    static const leat_dtype types[] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    (void)state;
    for (int t = 0; t < 2; t++) {
        uint32_t infinity = t ? 0x7f80 : 0x7c00;
        for (uint32_t bits = 0; bits <= infinity; bits++) {
            double v = lt_half_read(types[t], (uint16_t)bits);
            assert_int_equal(lt_half_write(types[t], v), bits);
            assert_int_equal(lt_half_write(types[t], -v), bits | 0x8000);
            if (bits + 1 < infinity) {
                double next = lt_half_read(types[t], (uint16_t)(bits + 1)), mid = (v + next) / 2;
                assert_true(next > v);
                assert_int_equal(lt_half_write(types[t], mid), bits + (bits & 1));
                assert_int_equal(lt_half_write(types[t], nextafter(mid, 0)), bits);
                assert_int_equal(lt_half_write(types[t], nextafter(mid, next)), bits + 1);
            }
        }
        assert_true(isnan(lt_half_read(types[t], lt_half_write(types[t], (double)NAN))));
        assert_int_equal(lt_half_write(types[t], 1e300), infinity);
    }
    assert_int_equal(lt_half_write(LEAT_DTYPE_F16, 65519.99), 0x7bff);
    assert_int_equal(lt_half_write(LEAT_DTYPE_F16, 65520), 0x7c00);
    assert_true(lt_half_read(LEAT_DTYPE_F16, 0x3555) == 0.333251953125);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_takes_what_strtod_takes),
        cmocka_unit_test(read_refuses_what_is_no_number),
        cmocka_unit_test(read_integers_keeps_to_their_range),
        cmocka_unit_test(text_is_that_of_printf),
        cmocka_unit_test(locale_of_the_process_does_not_matter),
        cmocka_unit_test(halves_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

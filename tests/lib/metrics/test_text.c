/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "metrics/text.h"

#include <stdio.h>
#include <string.h>

typedef struct sink {
    char text[16384];
    size_t used;
    int calls, fail_at;
} sink;

static leat_status take(void *user, const char *text, size_t bytes)
{
    sink *s = user;
    if (++s->calls == s->fail_at) {
        return LEAT_IO;
    }
    assert_true(bytes <= 4096 && s->used + bytes < sizeof(s->text));
    memcpy(s->text + s->used, text, bytes);
    s->used += bytes;
    s->text[s->used] = '\0';
    return LEAT_OK;
}

static const lt_label none[2];

static void samples_have_their_labels_escaped(void **state)
{
    (void)state;
    static sink s;
    lt_text t = {.write = take, .user = &s};
    const lt_label odd[2] = {{"model", "a\"b\\c\nd\xc3\xa9\xff"}, {"outcome", ""}};
    memset(&s, 0, sizeof(s));
    lt_text_family(&t, "leat_x_total", "counter", "What it is.");
    lt_text_sample(&t, "leat_x_total", odd, UINT64_MAX, LT_UNIT_ONE);
    lt_text_sample(&t, "leat_y", none, 7, LT_UNIT_ONE);
    lt_text_sample_real(&t, "leat_z", none, 0.25);
    assert_int_equal(lt_text_flush(&t), LEAT_OK);
    assert_string_equal(s.text,
                        "# HELP leat_x_total What it is.\n# TYPE leat_x_total counter\n"
                        "leat_x_total{model=\"a\\\"b\\\\c\\nd\xc3\xa9\xef\xbf\xbd\",outcome=\"\"} "
                        "18446744073709551615\nleat_y 7\nleat_z 0.25\n");
}

static void nanoseconds_are_written_as_seconds(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {{0, "s 0\n"},
                 {1, "s 0.000000001\n"},
                 {1500000000, "s 1.5\n"},
                 {20000000000, "s 20\n"},
                 {UINT64_MAX, "s 18446744073.709551615\n"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static sink s;
        lt_text t = {.write = take, .user = &s};
        memset(&s, 0, sizeof(s));
        lt_text_sample(&t, "s", none, cases[i].ns, LT_UNIT_NANOSECONDS);
        assert_int_equal(lt_text_flush(&t), LEAT_OK);
        assert_string_equal(s.text, cases[i].text);
    }
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    static sink s;
    lt_text t = {.write = take, .user = &s};
    const lt_label labels[2] = {{"model", "m"}, {NULL, NULL}};
    const lt_histogram_view h = {.bounds = (const uint64_t[]){1000000, 2500000},
                                 .counts = (const uint64_t[]){3, 0, 2},
                                 .n = 2,
                                 .sum = 12000000,
                                 .unit = LT_UNIT_NANOSECONDS};
    memset(&s, 0, sizeof(s));
    lt_text_histogram(&t, "d_seconds", labels, &h);
    assert_int_equal(lt_text_flush(&t), LEAT_OK);
    assert_string_equal(s.text, "d_seconds_bucket{model=\"m\",le=\"0.001\"} 3\n"
                                "d_seconds_bucket{model=\"m\",le=\"0.0025\"} 3\n"
                                "d_seconds_bucket{model=\"m\",le=\"+Inf\"} 5\n"
                                "d_seconds_sum{model=\"m\"} 0.012\n"
                                "d_seconds_count{model=\"m\"} 5\n");
}

static void a_failing_writer_is_not_called_again(void **state)
{
    (void)state;
    static sink s;
    lt_text t = {.write = take, .user = &s};
    memset(&s, 0, sizeof(s));
    s.fail_at = 2;
    for (int i = 0; i < 5000; i++) {
        lt_text_sample(&t, "leat_x", none, 1, LT_UNIT_ONE);
    }
    assert_int_equal(lt_text_flush(&t), LEAT_IO);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.used, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_have_their_labels_escaped),
        cmocka_unit_test(nanoseconds_are_written_as_seconds),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(a_failing_writer_is_not_called_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

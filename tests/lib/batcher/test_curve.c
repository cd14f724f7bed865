/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "batcher/curve.h"

#include <math.h>

enum {
    MOST = 8
};

static float times[MOST + 1];

static lt_curve clear(void)
{
    lt_curve curve = {.run_ns = times, .max_rows = MOST};
    lt_curve_clear(&curve);
    return curve;
}

static void assert_near(double got, double expected)
{
    if (fabs(got - expected) > 1e-3 * fabs(expected)) {
        fail_msg("%g, expected %g", got, expected);
    }
}

static void estimates_lie_between_what_was_measured(void **state)
{
    (void)state;
    lt_curve curve = clear();
    assert_near(lt_curve_estimate(&curve, 3), 0);
    lt_curve_run(&curve, 2, 1000);
    assert_near(lt_curve_estimate(&curve, 1), 1000);
    assert_near(lt_curve_estimate(&curve, 2), 1000);
    assert_near(lt_curve_estimate(&curve, 8), 4000);
    lt_curve_run(&curve, 6, 2000);
    assert_near(lt_curve_estimate(&curve, 3), 1250);
    assert_near(lt_curve_estimate(&curve, 5), 1750);
    assert_near(lt_curve_estimate(&curve, 0), 0);
    lt_curve_run(&curve, 9, 77); /* out of range: nothing */
    assert_near(lt_curve_estimate(&curve, 8), 2000.0 * 8 / 6);
}

static void measurements_are_moving_means(void **state)
{
    (void)state;
    lt_curve curve = clear();
    double expected = 1000;
    lt_curve_run(&curve, 1, 1000);
    for (int i = 0; i < 5; i++) {
        lt_curve_run(&curve, 1, 2000);
        expected += (2000 - expected) / 8;
    }
    assert_near(lt_curve_estimate(&curve, 1), expected);
}

static void gaps_are_those_between_rows(void **state)
{
    (void)state;
    lt_curve curve = clear();
    lt_curve_arrival(&curve, 1000, 1);
    assert_near(curve.gap_ns, 0);
    lt_curve_arrival(&curve, 1400, 4);
    assert_near(curve.gap_ns, 100);
    lt_curve_arrival(&curve, 1400, 1); /* at the same time */
    assert_true(curve.gap_ns > 0 && curve.gap_ns < 100);
}

/* Mean latencies by counting who waits for whom, over gaps and costs. */
static void holding_pays_when_the_sum_of_latencies_falls(void **state)
{
    (void)state;
    int held = 0, begun = 0;
    for (int gap = 50; gap <= 2000; gap += 50) {
        for (int slope = 0; slope <= 400; slope += 100) {
            for (uint32_t n = 1; n <= MOST; n++) {
                lt_curve curve = clear();
                double l[MOST + 2];
                for (uint32_t b = 1; b <= MOST; b++) {
                    l[b] = 1000 + slope * b;
                    lt_curve_run(&curve, b, (uint64_t)l[b]);
                }
                lt_curve_arrival(&curve, 5000, 1);
                lt_curve_arrival(&curve, 5000 + (uint64_t)gap, 1);
                bool expected = false;
                if (n < MOST && gap < l[n]) {
                    double now = 0, later = 0;
                    for (uint32_t i = 0; i < n; i++) {
                        now += l[n];
                        later += gap + l[n + 1];
                    }
                    now += (l[n] - gap) + l[1];
                    later += l[n + 1];
                    expected = later < now;
                }
                assert_int_equal(lt_curve_holding_pays(&curve, n), expected);
                held += expected;
                begun += !expected;
            }
        }
    }
    assert_true(held > 20 && begun > 100);
}

static void nothing_known_is_no_reason_to_hold(void **state)
{
    (void)state;
    lt_curve curve = clear();
    assert_false(lt_curve_holding_pays(&curve, 1));
    lt_curve_run(&curve, 1, 1000);
    assert_false(lt_curve_holding_pays(&curve, 1));
    assert_false(lt_curve_holding_pays(&curve, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_lie_between_what_was_measured),
        cmocka_unit_test(measurements_are_moving_means),
        cmocka_unit_test(gaps_are_those_between_rows),
        cmocka_unit_test(holding_pays_when_the_sum_of_latencies_falls),
        cmocka_unit_test(nothing_known_is_no_reason_to_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The search for the highest rate, on a server that is a number. */
#include "serve/load.h"

#include "support/test.h"

#include <math.h>

enum {
    MOST_TRIES = 200
};

static struct {
    double bears;      /* requests a second */
    int n_tries;       /* of rates */
    int disturbed[2];  /* tries whose times are beyond whatever the rate */
    double last_tried; /* the highest rate that was within */
} server;

result open_loop(load *l, const settings *s, double rate)
{
    const int at = server.n_tries++;
    const bool beyond =
        rate > server.bears || at == server.disturbed[0] || at == server.disturbed[1];
    assert_true(server.n_tries < MOST_TRIES);
    assert_int_equal(l->bound, (uint64_t)(s->p99_ms * 1e6));
    server.last_tried = !beyond && rate > server.last_tried ? rate : server.last_tried;
    return (result){.asked = rate, .p99 = beyond ? 2 * s->p99_ms : s->p99_ms / 2};
}

double times_quantile(const times *t, double part)
{
    (void)t;
    return part;
}

static double found(double from, double bears, int first, int second)
{
    static load l;
    const settings s = {.p99_ms = 15, .from = from, .json = 1};
    l.mean_rows = 1;
    server.bears = bears;
    server.n_tries = 0;
    server.last_tried = 0;
    server.disturbed[0] = first;
    server.disturbed[1] = second;
    const double highest = search(&l, &s, 100);
    assert_true(highest == server.last_tried); /* none that was not tried */
    return highest;
}

static void the_highest_rate_is_found_from_below_and_from_above(void **state)
{
    (void)state;
    static const double from[] = {1, 100, 900, 999, 1001, 40000, 0};
    for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
        const double highest = found(from[i], 1000, -1, -1);
        assert_true(highest <= 1000 && highest > 1000 / 1.026);
    }
    assert_true(found(100, 0.001, -1, -1) == 0);
}

/* Whatever two tries of one rate are disturbed. */
static void a_rate_that_was_disturbed_twice_does_not_end_the_search(void **state)
{
    (void)state;
    (void)found(100, 1000, -1, -1);
    const int n = server.n_tries;
    assert_true(n > 5);
    for (int at = 0; at < n - 2; at++) {
        const double highest = found(100, 1000, at, at + 1);
        assert_true(highest <= 1000 && highest > 1000 / 1.026);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_highest_rate_is_found_from_below_and_from_above),
        cmocka_unit_test(a_rate_that_was_disturbed_twice_does_not_end_the_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

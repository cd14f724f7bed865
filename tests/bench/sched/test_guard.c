/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that were wrecked do not cost what EDF with admission does, on the bench's traces in its
 * simulated time. */
#include "sched/sched.h"

#include "support/test.h"

static world bench_world(leat_context *context, double seconds)
{
    world w = {.n_devices = 1, .seconds = seconds, .load = 1, .only = -1, .context = context};
    make_streams(&w, NULL);
    return w;
}

static double goodput(const world *w, int trace, uint64_t seed, const leat_policy_weights *weights)
{
    const leat_scheduler_desc edf = {.policy = LEAT_POLICY_EDF, .admit = 1},
                              guarded = {.policy = LEAT_POLICY_LEARNED, .weights = weights};
    return simulate(w, trace, seed, weights ? guarded : edf).goodput;
}

static void wrecked_weights_stay_near_edf_on_every_trace(void **state)
{
    (void)state;
    leat_error err;
    leat_context *context;
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    const world w = bench_world(context, 5);
    const leat_policy_weights bad = wrecked(leat_policy_default());
    for (int trace = 0; trace < N_TRACES; trace++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            const double edf = goodput(&w, trace, seed, NULL);
            const double kept = goodput(&w, trace, seed, &bad);
            print_message("%s, seed %d: EDF %.4f, wrecked %.4f\n", trace_names[trace], (int)seed,
                          edf, kept);
            assert_true(kept > 0.99 * edf);
        }
    }
    leat_context_destroy(context);
}

/* What is guarded so is not only safe: the weights that come with leat are worth it. */
static void own_weights_beat_the_rules_on_every_trace(void **state)
{
    (void)state;
    leat_error err;
    leat_context *context;
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    const world w = bench_world(context, 3);
    for (int trace = 0; trace < N_TRACES; trace++) {
        const double edf = goodput(&w, trace, 1, NULL);
        assert_true(goodput(&w, trace, 1, leat_policy_default()) > 1.1 * edf);
    }
    leat_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrecked_weights_stay_near_edf_on_every_trace),
        cmocka_unit_test(own_weights_beat_the_rules_on_every_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

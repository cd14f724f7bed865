/* SPDX-License-Identifier: Apache-2.0 */
/* The learned policy: what guards it, how it learns, its weights in files. */
#include "load.h"

#include "scheduler/scheduler.h"

#include <unistd.h>

static void the_same_calls_give_the_same_decisions(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int i = 0; i < 2; i++) {
        open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED});
        run_load(20000);
        hash[i] = b.hash;
        assert_true(b.n_decisions > 1000);
        close_bench();
    }
    assert_int_equal(hash[0], hash[1]);
}

static void a_wrecked_policy_stays_near_edf(void **state)
{
    (void)state;
    leat_policy_weights wrecked = *leat_policy_default();
    uint64_t done[3];
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        wrecked.weights[i] *= -1;
    }
    wrecked.weights[20] = 100; /* never begins if it may wait */
    const leat_scheduler_desc descs[3] = {
        {.policy = LEAT_POLICY_EDF, .admit = 1},
        {.policy = LEAT_POLICY_LEARNED, .weights = &wrecked},
        {.policy = LEAT_POLICY_LEARNED, .weights = &wrecked, .guard_loss = 1}};
    for (int i = 0; i < 3; i++) {
        open_bench(descs[i]);
        run_load(100000);
        const leat_scheduler_stats s = stats();
        done[i] = s.work_on_time_ns;
        assert_in_range(s.takeovers, 0, 2); /* of 11 s: it hardly ever gets as far */
        assert_int_equal(s.guarded, i == 1);
        close_bench();
    }
    assert_true((double)done[1] > 0.99 * (double)done[0]);
    assert_true((double)done[2] < 0.99 * (double)done[0]); /* so it was bad indeed */
}

/* Work in time of requests that come so often, on average half of that apart. */
static uint64_t done_at(leat_scheduler_desc desc, uint64_t most_gap, leat_scheduler_stats *out)
{
    load l;
    open_bench(desc);
    open_load(&l);
    l.most_gap = most_gap;
    go_on(&l, 100000);
    *out = stats();
    close_bench();
    return out->work_on_time_ns;
}

/* With a policy that never shows itself the best of the rules decides, whichever that is. */
static void the_rule_that_does_best_stands_in(void **state)
{
    (void)state;
    leat_policy_weights wrecked = {{0}};
    uint64_t changes = 0;
    wrecked.weights[20] = 100; /* never begins if it may wait */
    const leat_scheduler_desc descs[] = {{.policy = LEAT_POLICY_EDF, .admit = 1},
                                         {.policy = LEAT_POLICY_EDF, .hold_ns = MS},
                                         {.policy = LEAT_POLICY_EDF},
                                         {.policy = LEAT_POLICY_LEARNED, .weights = &wrecked}};
    for (uint64_t gap = 200000; gap <= 900000; gap = gap * 3 / 2) {
        uint64_t done[4], best = 0;
        leat_scheduler_stats s;
        for (int i = 0; i < 4; i++) {
            done[i] = done_at(descs[i], gap, &s);
            best = i < 3 && done[i] > best ? done[i] : best;
        }
        print_message("gaps to %.2f ms: admission %.4f s, holding %.4f s, EDF %.4f s; guarded "
                      "%.4f s, by rule %d\n",
                      (double)gap / 1e6, (double)done[0] / 1e9, (double)done[1] / 1e9,
                      (double)done[2] / 1e9, (double)done[3] / 1e9, s.stand_in);
        assert_true((double)done[3] > 0.98 * (double)best);
        changes += s.stand_in_changes;
    }
    assert_true(changes > 0);
}

/* What would be late behind all that waits is not refused before anything is known. */
static void at_first_nothing_is_refused(void **state)
{
    (void)state;
    const leat_policy policies[] = {LEAT_POLICY_FIFO, LEAT_POLICY_LEARNED};
    for (int i = 0; i < 2; i++) {
        open_bench((leat_scheduler_desc){.policy = policies[i], .admit = i == 0});
        const uint32_t bulk = add(1, 16, bulk_cost(1), MS / 4);
        for (uint64_t k = 0; k < 50; k++) {
            submit(bulk, k, 60 * MS);
        }
        const leat_status status =
            leat_scheduler_submit(b.scheduler, bulk, (void *)99, 10 * MS, &b.err);
        assert_int_equal(status, i == 0 ? LEAT_EXPIRED : LEAT_OK);
        if (i == 1) {
            assert_int_equal(stats().stand_in, 1);
            const leat_dispatch d = begin(); /* more than a chunk of them waits: none is held */
            assert_true(d.rows > 1);
            assert_ptr_equal(b.items[0], (void *)99);
        }
        close_bench();
    }
}

/* A batch that is not full is held for half a chunk from the beginning. */
static void at_first_batches_are_held(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .chunk_ns = 4 * MS});
    const uint32_t small = add(0, 16, small_cost(1), MS / 20);
    const uint64_t came = b.now;
    submit(small, 1, 60 * MS);
    const leat_dispatch d = begin();
    assert_int_equal(d.rows, 0);
    assert_int_equal(d.until_ns, came + 2 * MS);
    b.now = d.until_ns;
    assert_next(small, 1, 1);
    close_bench();
}

/* For the next request, a quarter of a chunk at most, and half of what the first one has left. */
static void the_policy_waits_for_a_bounded_time(void **state)
{
    (void)state;
    leat_policy_weights waits = {{0}};
    waits.weights[20] = 100;
    for (int i = 0; i < 2; i++) {
        open_bench((leat_scheduler_desc){
            .policy = LEAT_POLICY_LEARNED, .weights = &waits, .guard_loss = 1});
        const uint32_t small = add(0, 16, small_cost(1), MS / 20);
        submit(small, 1, i == 0 ? 0 : small_cost(1) + MS / 4);
        const leat_dispatch d = begin();
        assert_int_equal(d.rows, 0);
        assert_in_range(d.until_ns - b.now, i == 0 ? MS / 2 : MS / 8 - 100,
                        i == 0 ? MS / 2 : MS / 8);
        close_bench();
    }
}

static void every_request_has_one_end(void **state)
{
    (void)state;
    static const leat_policy policies[] = {LEAT_POLICY_EDF, LEAT_POLICY_FIFO, LEAT_POLICY_SJF,
                                           LEAT_POLICY_FAIR, LEAT_POLICY_LEARNED};
    for (int i = 0; i < 10; i++) {
        open_bench((leat_scheduler_desc){.policy = policies[i % 5], .admit = i >= 5});
        run_load(20000);
        const leat_scheduler_stats s = stats();
        uint64_t submitted = 0, ended = s.waiting;
        for (int c = 0; c < 2; c++) {
            submitted += s.submitted[c];
            ended += s.on_time[c] + s.late[c] + s.expired[c] + s.refused[c];
        }
        assert_int_equal(submitted, 20000);
        assert_in_range(submitted - ended, 0, 16); /* what runs */
        close_bench();
    }
}

/* ---- learning -------------------------------------------------------------------------------- */

/* Work in time of so many requests of the load, by weights that nobody watches. */
static uint64_t worth(const leat_policy_weights *weights)
{
    open_bench(
        (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .weights = weights, .guard_loss = 1});
    run_load(50000);
    const uint64_t done = stats().work_on_time_ns;
    close_bench();
    return done;
}

/* Weights after so many requests of the load, from none at all. */
static leat_policy_weights learn(int n, uint64_t seed)
{
    const leat_policy_weights none = {{0}};
    leat_policy_weights learned;
    open_bench((leat_scheduler_desc){
        .policy = LEAT_POLICY_LEARNED, .weights = &none, .learn_step = 0.125f, .seed = seed});
    run_load(n);
    leat_scheduler_read_weights(b.scheduler, &learned);
    const leat_scheduler_stats s = stats();
    assert_true(s.steps > 0 && s.steps <= s.trials);
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) { /* each step by as much */
        const float steps = learned.weights[i] / 0.125f;
        assert_true(steps == (float)(int)steps && steps * steps <= (float)(s.steps * s.steps));
    }
    close_bench();
    return learned;
}

static void weights_that_know_nothing_are_learned(void **state)
{
    (void)state;
    const leat_policy_weights none = {{0}}, learned = learn(200000, 1);
    const uint64_t before = worth(&none), after = worth(&learned);
    print_message("work in time %.4f s, learned %.4f s, as they come %.4f s\n",
                  (double)before / 1e9, (double)after / 1e9,
                  (double)worth(leat_policy_default()) / 1e9);
    assert_true((double)after > 1.02 * (double)before);
}

static void the_same_calls_and_seed_learn_the_same(void **state)
{
    (void)state;
    const leat_policy_weights first = learn(60000, 5), again = learn(60000, 5),
                              other = learn(60000, 6);
    assert_memory_equal(&first, &again, sizeof(first));
    assert_memory_not_equal(&first, &other, sizeof(first));
}

/* The next trial goes the same way again, from where that step ended. */
static void a_step_that_helped_is_tried_again(void **state)
{
    (void)state;
    const leat_policy_weights none = {{0}};
    load l;
    open_bench((leat_scheduler_desc){
        .policy = LEAT_POLICY_LEARNED, .weights = &none, .learn_step = 0.125f, .seed = 1});
    const lt_learning *own = &b.scheduler->learning;
    open_load(&l);
    for (int n_steps = 0; n_steps < 3; n_steps++) {
        const uint64_t steps = own->steps;
        uint32_t direction = 0;
        while (own->steps == steps) {
            direction = own->direction;
            go_on(&l, 1);
        }
        const leat_policy_weights taken = own->tried;
        while (!own->active) {
            go_on(&l, 1);
        }
        assert_int_equal(own->direction, direction);
        for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
            const float step = direction >> i & 1 ? 0.125f : -0.125f;
            assert_true(own->tried.weights[i] == taken.weights[i] + step);
        }
    }
    close_bench();
}

/* Work in time that the last requests had, after the device has changed and so many decisions. */
static uint64_t after_drift(leat_scheduler_desc desc, uint64_t n_decisions)
{
    load l;
    open_bench(desc);
    open_load(&l);
    go_on(&l, 30000);
    l.drifted = true;
    l.most_gap *= 4;
    const uint64_t begun = b.n_decisions;
    while (b.n_decisions < begun + n_decisions) {
        go_on(&l, 1);
    }
    assert_true(l.arrives < 14000 * MS);
    /* The requests that are counted are the same ones, whoever decides. */
    while (l.arrives < 14000 * MS) {
        go_on(&l, 1);
    }
    const uint64_t before = stats().work_on_time_ns;
    go_on(&l, 60000);
    const uint64_t done = stats().work_on_time_ns - before;
    close_bench();
    return done;
}

static void a_device_that_changed_is_learned(void **state)
{
    (void)state;
    const double edf = (double)after_drift((leat_scheduler_desc){.admit = 1}, 2000);
    const double own =
        (double)after_drift((leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED}, 2000);
    const double learning = (double)after_drift(
        (leat_scheduler_desc){.policy = LEAT_POLICY_LEARNED, .learn_step = 0.125f}, 2000);
    print_message("EDF %.4f s, the policy %.4f s, learning %.4f s\n", edf / 1e9, own / 1e9,
                  learning / 1e9);
    assert_true(own > 0.99 * edf);
    assert_true(learning > 0.99 * edf);
}

/* ---- weights --------------------------------------------------------------------------------- */

static void weights_come_back_as_they_were_written(void **state)
{
    (void)state;
    const char *path = TEST_BUILD "/tests/policy.txt";
    leat_policy_weights weights, read;
    char text[512] = {0};
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        weights.weights[i] = (float)(i - 7) / 3;
    }
    assert_ok(leat_policy_save(b.context, path, &weights, &b.err), &b.err);
    assert_ok(leat_policy_load(b.context, path, &read, &b.err), &b.err);
    assert_memory_equal(&weights, &read, sizeof(read));
    FILE *file = fopen(path, "r");
    const size_t bytes = fread(text, 1, sizeof(text), file);
    fclose(file);
    for (size_t i = 0; i <= bytes + 1; i++) { /* every letter wrong; and one more, and one less */
        file = fopen(path, "w");
        const char kept = text[i];
        text[i] = kept == 'f' ? 'e' : 'f';
        fwrite(text, 1, i < bytes ? bytes : i == bytes ? bytes + 1 : bytes - 1, file);
        text[i] = kept;
        fclose(file);
        assert_int_equal(leat_policy_load(b.context, path, &read, &b.err), LEAT_CORRUPT);
    }
    assert_int_equal(leat_policy_load(b.context, "/no/where", &read, &b.err), LEAT_NOT_FOUND);
    weights.weights[5] = 1.f / (float)b.n_expired; /* infinity, with its checksum right */
    assert_ok(leat_policy_save(b.context, path, &weights, &b.err), &b.err);
    assert_int_equal(leat_policy_load(b.context, path, &read, &b.err), LEAT_CORRUPT);
    close_bench();
}

static leat_status save_and_load(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const char *path = argument;
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_policy_weights read;
    leat_context *context;
    leat_status status = leat_context_create(&desc, &context, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_policy_save(context, path, leat_policy_default(), err);
    status = status ? status : leat_policy_load(context, path, &read, err);
    leat_context_destroy(context);
    return status;
}

static void weights_in_files_survive_failing_allocations(void **state)
{
    char path[] = "/tmp/leat-policy-XXXXXX";
    (void)state;
    close(mkstemp(path));
    test_walk_allocations(save_and_load, path);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_calls_give_the_same_decisions),
        cmocka_unit_test(a_wrecked_policy_stays_near_edf),
        cmocka_unit_test(the_rule_that_does_best_stands_in),
        cmocka_unit_test(at_first_nothing_is_refused),
        cmocka_unit_test(at_first_batches_are_held),
        cmocka_unit_test(the_policy_waits_for_a_bounded_time),
        cmocka_unit_test(every_request_has_one_end),
        cmocka_unit_test(weights_that_know_nothing_are_learned),
        cmocka_unit_test(the_same_calls_and_seed_learn_the_same),
        cmocka_unit_test(a_step_that_helped_is_tried_again),
        cmocka_unit_test(a_device_that_changed_is_learned),
        cmocka_unit_test(weights_come_back_as_they_were_written),
        cmocka_unit_test(weights_in_files_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

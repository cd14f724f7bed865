/* SPDX-License-Identifier: Apache-2.0 */
/* Who is next by each rule, and what is given back. */
#include "bench.h"

static void the_earliest_deadline_is_first(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    const uint32_t slow = add(0, 1, 10 * MS, 0), fast = add(0, 1, MS, 0);
    submit(slow, 1, 100 * MS);
    submit(slow, 2, 50 * MS);
    submit(fast, 3, 70 * MS);
    assert_next(slow, 1, 2);
    end_after(10 * MS);
    assert_next(fast, 1, 3);
    end_after(MS);
    assert_next(slow, 1, 1);
    end_after(10 * MS);
    assert_int_equal(begin().rows, 0);
    assert_int_equal(stats().on_time[0], 3);
    assert_int_equal(stats().busy_ns[0], 21 * MS);
    close_bench();
}

static void rules_choose_by_what_they_are_named_for(void **state)
{
    (void)state;
    static const struct {
        leat_policy policy;
        uint64_t first, second;
    } cases[] = {{LEAT_POLICY_FIFO, 1, 2}, {LEAT_POLICY_SJF, 2, 1}, {LEAT_POLICY_EDF, 2, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_bench((leat_scheduler_desc){.policy = cases[i].policy});
        const uint32_t slow = add(0, 1, 10 * MS, 0), fast = add(0, 1, MS, 0);
        submit(slow, 1, 200 * MS);
        b.now += MS;
        submit(fast, 2, 100 * MS);
        (void)begin();
        assert_int_equal((uintptr_t)b.items[0], cases[i].first);
        end_after(10 * MS);
        (void)begin();
        assert_int_equal((uintptr_t)b.items[0], cases[i].second);
        end_after(10 * MS);
        close_bench();
    }
}

static void fair_queues_get_time_by_their_weights(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_FAIR});
    const leat_cost_point cost = {0, 1, MS};
    leat_queue_desc desc = {
        .struct_size = sizeof(desc), .max_batch = 1, .capacity = 64, .costs = &cost, .n_costs = 1};
    uint32_t light, heavy;
    int got = 0;
    desc.weight = 1;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &light, &b.err), &b.err);
    desc.weight = 3;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &heavy, &b.err), &b.err);
    for (uint64_t i = 0; i < 60; i++) {
        submit(light, i, 0);
        submit(heavy, i, 0);
    }
    for (int i = 0; i < 40; i++) {
        got += begin().queue == heavy;
        end_after(MS);
    }
    assert_in_range(got, 29, 31);
    close_bench();
}

static void lower_classes_run_in_chunks_and_not_before_strict_ones(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.strict_classes = 1});
    const uint32_t bulk = add(1, 32, MS / 2, MS / 4), urgent = add(0, 32, MS / 2, MS / 4);
    for (uint64_t i = 1; i <= 20; i++) {
        submit(bulk, i, 0);
    }
    assert_next(bulk, 7, 1); /* 0.5 + 6 x 0.25 = 2 ms */
    submit(urgent, 50, 0);
    end_after(2 * MS);
    assert_next(urgent, 1, 50);
    end_after(MS);
    b.now += 4001 * MS; /* the bulk's max_wait: it is next whatever else waits */
    submit(urgent, 51, 10 * MS);
    assert_int_equal(begin().queue, bulk);
    close_bench();
}

static void batches_are_cut_for_their_first_deadline(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    const uint32_t queue = add(0, 8, 2 * MS, MS);
    submit(queue, 1, 53 * MS / 10); /* a twentieth more than the 5 ms that 4 rows take */
    for (uint64_t i = 2; i < 10; i++) {
        submit(queue, i, 100 * MS);
    }
    assert_next(queue, 4, 1); /* 2 + 3 x 1 = 5 ms */
    end_after(5 * MS);
    assert_int_equal(stats().on_time[0], 4);
    close_bench();
}

static void what_cannot_be_in_time_is_given_back(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_FIFO});
    const uint32_t queue = add(0, 1, 10 * MS, 0);
    submit(queue, 1, 25 * MS);
    submit(queue, 2, 26 * MS);
    submit(queue, 3, 27 * MS);
    assert_next(queue, 1, 1);
    end_after(10 * MS);
    assert_next(queue, 1, 2);
    end_after(10 * MS);
    assert_int_equal(begin().rows, 0);
    assert_int_equal(b.n_expired, 1);
    assert_int_equal((uintptr_t)b.last_expired, 3);
    assert_int_equal(stats().expired[0], 1);
    assert_int_equal(stats().waiting, 0);
    close_bench();
}

static void admission_refuses_by_the_predicted_finish(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.admit = 1});
    const uint32_t queue = add(0, 1, 10 * MS, 0);
    submit(queue, 1, 15 * MS);
    (void)begin(); /* 10 ms left of it */
    submit(queue, 2, 20 * MS);
    assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 29 * MS, &b.err),
                     LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "30.000 ms"));
    submit(queue, 3, 30 * MS);
    submit(queue, 4, 0); /* without a deadline: always */
    assert_int_equal(stats().refused[0], 1);
    close_bench();
}

/* Four of bulk take 10 ms each, of which the urgent request waits for none but what runs. */
static void admission_counts_what_is_due_before(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.admit = 1});
    const uint32_t bulk = add(1, 1, 10 * MS, 0), urgent = add(0, 4, MS, MS / 2);
    for (uint64_t i = 1; i <= 4; i++) {
        submit(bulk, i, 50 * MS);
    }
    assert_next(bulk, 1, 1);
    /* 10 ms that run, its own 1; not the 30 that are due later */
    assert_int_equal(leat_scheduler_submit(b.scheduler, urgent, NULL, 109 * MS / 10, &b.err),
                     LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "11.000 ms"));
    submit(urgent, 10, 11 * MS);
    submit(urgent, 11, 20 * MS);
    /* One of its queue is due before it: they are a batch of 1.5 ms. */
    assert_int_equal(leat_scheduler_submit(b.scheduler, urgent, NULL, 114 * MS / 10, &b.err),
                     LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "11.500 ms"));
    /* Of another queue both, in a batch of 1.5 ms; its own 10. */
    assert_int_equal(leat_scheduler_submit(b.scheduler, bulk, NULL, 21 * MS, &b.err), LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "21.500 ms"));
    /* Behind all: 10 that run, 30, the batch of two and its own 10. */
    assert_int_equal(leat_scheduler_submit(b.scheduler, bulk, NULL, 51 * MS, &b.err), LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "51.500 ms"));
    submit(bulk, 5, 52 * MS);
    close_bench();
}

static void admission_counts_on_the_quicker_device(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.admit = 1, .n_devices = 2});
    const leat_cost_point costs[] = {{0, 1, 10 * MS}, {1, 1, 2 * MS}};
    const leat_queue_desc desc = {
        .struct_size = sizeof(desc), .max_batch = 1, .capacity = 8, .costs = costs, .n_costs = 2};
    uint32_t queue;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &queue, &b.err), &b.err);
    submit(queue, 1, 2 * MS);
    /* One of 2 ms waits for two devices. */
    assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 29 * MS / 10, &b.err),
                     LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "3.000 ms"));
    assert_ok(leat_scheduler_lose(b.scheduler, 1, &b.err), &b.err);
    assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 19 * MS, &b.err),
                     LEAT_EXPIRED);
    assert_non_null(strstr(b.err.message, "20.000 ms"));
    close_bench();
}

static void other_rules_admit_by_all_that_waits(void **state)
{
    (void)state;
    static const leat_policy policies[] = {LEAT_POLICY_FIFO, LEAT_POLICY_SJF, LEAT_POLICY_FAIR};
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        open_bench((leat_scheduler_desc){.policy = policies[i], .admit = 1});
        const uint32_t queue = add(0, 1, 10 * MS, 0);
        submit(queue, 1, 100 * MS);
        submit(queue, 2, 100 * MS);
        assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 29 * MS, &b.err),
                         LEAT_EXPIRED);
        submit(queue, 3, 30 * MS);
        close_bench();
    }
}

/* In how many microseconds a request of 10 ms is said to be complete, behind another. */
static long predicted_us(uint32_t queue)
{
    double ms = 0;
    submit(queue, 1, 15 * MS);
    assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 20 * MS - 1, &b.err),
                     LEAT_EXPIRED);
    assert_int_equal(sscanf(strstr(b.err.message, "after "), "after %lf ms", &ms), 1);
    assert_int_equal(begin().rows, 1);
    end_after(10 * MS);
    return (long)(1000 * ms + 0.5);
}

static void run_each(uint32_t queue, int n, uint64_t deadline_ns, uint64_t takes_ns)
{
    for (int i = 0; i < n; i++) {
        submit(queue, 1, deadline_ns);
        assert_int_equal(begin().rows, 1);
        end_after(takes_ns);
    }
}

/* They were admitted, and no device was there in time. */
static void miss(uint32_t queue, int n)
{
    for (int i = 0; i < n; i++) {
        submit(queue, 1, 10 * MS);
        b.now++;
        assert_int_equal(begin().rows, 0);
    }
}

static void admission_keeps_a_margin_by_what_was_late(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.admit = 1});
    const uint32_t queue = add(0, 1, 10 * MS, 0);
    assert_int_equal(predicted_us(queue), 20000);
    miss(queue, 1);
    assert_int_equal(predicted_us(queue), 20010); /* 1.001 of the first, and its own time */
    run_each(queue, 1, 10 * MS, 10 * MS + 1);     /* complete, but late */
    assert_int_equal(predicted_us(queue), 20020);
    run_each(queue, 100, 15 * MS, 10 * MS); /* as many in time as one late is worth */
    assert_int_equal(predicted_us(queue), 20010);
    run_each(queue, 1000, 0, 10 * MS); /* without a deadline none is in time or late */
    assert_int_equal(predicted_us(queue), 20010);
    miss(queue, 3000);
    assert_int_equal(predicted_us(queue), 30000); /* twice at most; alone it is still admitted */
    run_each(queue, 50000, 10 * MS, 10 * MS);
    assert_int_equal(predicted_us(queue), 25000);
    run_each(queue, 60000, 10 * MS, 10 * MS);
    assert_int_equal(predicted_us(queue), 20000); /* and no less than once */
    miss(queue, 1);
    assert_int_equal(predicted_us(queue), 20010);
    close_bench();
}

static void costs_recover_from_runs_that_were_held_up(void **state)
{
    (void)state;
    for (int admit = 0; admit < 2; admit++) {
        open_bench((leat_scheduler_desc){.admit = admit});
        const uint32_t queue = add(0, 1, MS, 0);
        for (uint64_t i = 0; i < 40; i++) { /* half a second, each, for what takes a millisecond */
            submit(queue, i, 0);
            (void)begin();
            end_after(500 * MS);
        }
        uint64_t done = 0;
        for (int i = 0; i < 5000; i++) { /* nothing could be in time, it seems */
            (void)!leat_scheduler_submit(b.scheduler, queue, NULL, 3 * MS, &b.err);
            if (begin().rows > 0) {
                end_after(MS);
                done++;
            }
            b.now += MS;
        }
        assert_true(done > 2500);
        close_bench();
    }
}

static void held_batches_wait_but_not_beyond_their_deadline(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.hold_ns = 5 * MS});
    const uint32_t queue = add(0, 8, MS, MS / 10);
    const uint64_t begun = b.now;
    submit(queue, 1, 0);
    leat_dispatch d = begin();
    assert_int_equal(d.rows, 0);
    assert_int_equal(d.until_ns, begun + 5 * MS);
    submit(queue, 2, 4 * MS); /* it is first now; twice L(2) ahead of its deadline */
    d = begin();
    assert_int_equal(d.rows, 0);
    assert_in_range(d.until_ns, begun + 17 * MS / 10, begun + 19 * MS / 10);
    b.now = d.until_ns;
    assert_int_equal(begin().rows, 2);
    close_bench();
}

static void a_full_queue_is_busy(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    const uint32_t queue = add(0, 8, MS, MS / 10);
    for (uint64_t i = 0; i < 64; i++) {
        submit(queue, i, 0);
    }
    assert_int_equal(leat_scheduler_submit(b.scheduler, queue, NULL, 0, &b.err), LEAT_BUSY);
    assert_int_equal(leat_scheduler_submit(b.scheduler, 7, NULL, 0, &b.err), LEAT_INVALID);
    assert_int_equal(leat_scheduler_end(b.scheduler, 0, &b.err), LEAT_INVALID);
    (void)begin();
    leat_dispatch d = {.items = b.items};
    assert_int_equal(leat_scheduler_begin(b.scheduler, 0, &d, &b.err), LEAT_INVALID);
    close_bench();
    assert_int_equal(b.n_expired, 56); /* dropped at the end */
}

/* ---- descriptors and memory ------------------------------------------------------------------ */

static void run_nothing(void *user, uint32_t device, uint32_t queue, void *const *items, size_t n)
{
    (void)user, (void)device, (void)queue, (void)items, (void)n;
}

static void bad_descriptors_are_refused(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    leat_scheduler_desc desc = {.struct_size = sizeof(desc), .context = b.context};
    leat_scheduler *s;
    leat_policy_weights weights = *leat_policy_default();
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    desc.n_devices = LEAT_MAX_DEVICES + 1;
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    desc.n_devices = 1;
    desc.policy = (leat_policy)9;
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    desc.policy = LEAT_POLICY_LEARNED;
    desc.learn_step = 1.5f;
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    desc.learn_step = 0.1f;
    desc.guard_loss = 1; /* there is no shadow to learn in */
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    desc.learn_step = 0;
    weights.weights[3] = 0.f / (float)(b.n_expired);
    desc.weights = &weights;
    assert_int_equal(leat_scheduler_create(&desc, &s, &b.err), LEAT_INVALID);
    leat_cost_point cost = {1, 1, 1000}; /* there is no device 1 */
    leat_queue_desc queue = {
        .struct_size = sizeof(queue), .max_batch = 4, .costs = &cost, .n_costs = 1};
    uint32_t number;
    assert_int_equal(leat_scheduler_add(b.scheduler, &queue, &number, &b.err), LEAT_INVALID);
    cost = (leat_cost_point){0, 1, 0};
    assert_int_equal(leat_scheduler_add(b.scheduler, &queue, &number, &b.err), LEAT_INVALID);
    cost.ns = 1;
    for (int i = 0; i < LEAT_MAX_QUEUES; i++) {
        assert_ok(leat_scheduler_add(b.scheduler, &queue, &number, &b.err), &b.err);
    }
    assert_int_equal(leat_scheduler_add(b.scheduler, &queue, &number, &b.err), LEAT_LIMIT);
    close_bench();
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    (void)argument;
    const leat_context_desc context_desc = {
        .struct_size = sizeof(context_desc), .allocator = allocator, .threads = 1};
    leat_context *context = NULL;
    leat_scheduler *s = NULL;
    uint32_t number;
    leat_status status = leat_context_create(&context_desc, &context, err);
    const leat_scheduler_desc desc = {.struct_size = sizeof(desc),
                                      .context = context,
                                      .n_devices = 2,
                                      .policy = LEAT_POLICY_LEARNED,
                                      .learn_step = 0.1f,
                                      .run = run_nothing};
    const leat_cost_point cost = {0, 1, 1000};
    const leat_queue_desc queue = {
        .struct_size = sizeof(queue), .max_batch = 4, .costs = &cost, .n_costs = 1};
    status = status ? status : leat_scheduler_create(&desc, &s, err);
    status = status ? status : leat_scheduler_add(s, &queue, &number, err);
    leat_scheduler_destroy(s);
    leat_context_destroy(context);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    test_walk_allocations(attempt, NULL);
}

/* What batches really take makes them shorter: eight were said to take half a chunk. */
static void rows_of_a_chunk_follow_what_is_measured(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF});
    const uint32_t bulk = add(1, 8, MS / 2, MS / 14);
    uint32_t rows = 8;
    for (int run = 0; run < 160 && rows == 8; run++) {
        while (stats().waiting < 8) {
            submit(bulk, 1, 0);
        }
        rows = begin().rows;
        assert_true(run > 0 || rows == 8);
        end_after(rows * MS / 2);
    }
    assert_in_range(rows, 1, 7);
    close_bench();
}

/* A run that the machine held up counts as one of twice the time. */
static void one_run_held_up_changes_costs_little(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_EDF, .admit = 1});
    const uint32_t queue = add(0, 1, MS, 0);
    submit(queue, 1, 0);
    assert_int_equal(begin().rows, 1);
    end_after(1000 * MS);
    submit(queue, 2, 3 * MS); /* it would be complete after 1.125 ms */
    close_bench();
}

/* It has no time to catch up on that it did not ask for. */
static void fair_queue_that_comes_late_shares_from_then_on(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.policy = LEAT_POLICY_FAIR});
    const uint32_t old = add(0, 1, MS, 0), late = add(0, 1, MS, 0);
    uint32_t n_old = 0;
    for (int i = 0; i < 20; i++) {
        submit(old, 1, 0);
        assert_int_equal(begin().queue, old);
        end_after(MS);
    }
    for (int i = 0; i < 8; i++) {
        submit(old, 1, 0);
        submit(late, 2, 0);
    }
    for (int i = 0; i < 8; i++) {
        n_old += begin().queue == old;
        end_after(MS);
    }
    assert_in_range(n_old, 3, 5);
    close_bench();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_deadline_is_first),
        cmocka_unit_test(rules_choose_by_what_they_are_named_for),
        cmocka_unit_test(fair_queues_get_time_by_their_weights),
        cmocka_unit_test(lower_classes_run_in_chunks_and_not_before_strict_ones),
        cmocka_unit_test(batches_are_cut_for_their_first_deadline),
        cmocka_unit_test(what_cannot_be_in_time_is_given_back),
        cmocka_unit_test(admission_refuses_by_the_predicted_finish),
        cmocka_unit_test(admission_counts_what_is_due_before),
        cmocka_unit_test(admission_counts_on_the_quicker_device),
        cmocka_unit_test(other_rules_admit_by_all_that_waits),
        cmocka_unit_test(admission_keeps_a_margin_by_what_was_late),
        cmocka_unit_test(costs_recover_from_runs_that_were_held_up),
        cmocka_unit_test(held_batches_wait_but_not_beyond_their_deadline),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(bad_descriptors_are_refused),
        cmocka_unit_test(failing_allocations_leave_nothing),
        cmocka_unit_test(rows_of_a_chunk_follow_what_is_measured),
        cmocka_unit_test(one_run_held_up_changes_costs_little),
        cmocka_unit_test(fair_queue_that_comes_late_shares_from_then_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler by a clock that the test sets: who is next by each policy, what is given back, what
 * the guard does; and with threads. */
#include "support/test.h"

#include <leat/scheduler.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

typedef struct bench {
    leat_context *context;
    leat_scheduler *scheduler;
    leat_error err;
    uint64_t now;
    void *items[1024];
    size_t n_expired;
    void *last_expired;
    uint64_t hash; /* of all decisions */
    uint64_t n_decisions;
    uint32_t n_devices; /* 1 or 2 */
} bench;

static bench b;

static uint64_t clock_now(void *user)
{
    return ((bench *)user)->now;
}

static void note_expired(void *user, uint32_t queue, void *item)
{
    (void)queue;
    ((bench *)user)->n_expired++;
    ((bench *)user)->last_expired = item;
}

static void note_decision(void *user, const leat_decision *d)
{
    bench *x = user;
    const uint64_t words[] = {d->time_ns, d->device, d->queue, d->rows, (uint64_t)d->policy};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        x->hash = (x->hash ^ words[i]) * 0x100000001b3u;
    }
    x->n_decisions++;
}

static void open_bench(leat_scheduler_desc desc)
{
    memset(&b, 0, sizeof(b));
    b.now = 1000 * MS;
    assert_ok(leat_context_create(NULL, &b.context, &b.err), &b.err);
    desc.struct_size = sizeof(desc);
    desc.context = b.context;
    b.n_devices = desc.n_devices = desc.n_devices ? desc.n_devices : 1;
    desc.expired = note_expired;
    desc.decided = note_decision;
    desc.user = &b;
    desc.clock = clock_now;
    desc.clock_user = &b;
    assert_ok(leat_scheduler_create(&desc, &b.scheduler, &b.err), &b.err);
}

static void close_bench(void)
{
    leat_scheduler_destroy(b.scheduler);
    leat_context_destroy(b.context);
}

/* One request takes `one`, more than that `step` each. */
static uint32_t add(uint32_t class_index, uint32_t max_batch, uint64_t one, uint64_t step)
{
    const uint64_t most = one + (max_batch - 1) * step;
    const leat_cost_point costs[] = {
        {0, 1, one}, {0, max_batch, most}, {1, 1, one}, {1, max_batch, most}};
    const leat_queue_desc desc = {.struct_size = sizeof(desc),
                                  .class_index = class_index,
                                  .max_batch = max_batch,
                                  .capacity = 64,
                                  .costs = costs,
                                  .n_costs = 2 * b.n_devices};
    uint32_t queue = 99;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &queue, &b.err), &b.err);
    return queue;
}

static void submit(uint32_t queue, uint64_t item, uint64_t deadline_ns)
{
    assert_ok(
        leat_scheduler_submit(b.scheduler, queue, (void *)(uintptr_t)item, deadline_ns, &b.err),
        &b.err);
}

static leat_dispatch begin(void)
{
    leat_dispatch d = {.items = b.items};
    assert_ok(leat_scheduler_begin(b.scheduler, 0, &d, &b.err), &b.err);
    return d;
}

static void end_after(uint64_t ns)
{
    b.now += ns;
    assert_ok(leat_scheduler_end(b.scheduler, 0, &b.err), &b.err);
}

static void assert_next(uint32_t queue, uint32_t rows, uint64_t first)
{
    const leat_dispatch d = begin();
    assert_int_equal(d.queue, queue);
    assert_int_equal(d.rows, rows);
    assert_int_equal((uintptr_t)b.items[0], first);
}

static leat_scheduler_stats stats(void)
{
    leat_scheduler_stats s = {.struct_size = sizeof(s)};
    leat_scheduler_read_stats(b.scheduler, &s);
    return s;
}

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

/* ---- a load ---------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static uint64_t small_cost(uint32_t rows)
{
    return MS / 2 + (rows - 1) * (MS / 20);
}

static uint64_t bulk_cost(uint32_t rows)
{
    return MS + (rows - 1) * (MS / 4);
}

/* What the device has become: half as fast, and batches gain nothing. */
static uint64_t drifted_cost(uint64_t one, uint32_t rows)
{
    return 2 * one * rows;
}

typedef struct load {
    uint32_t small, bulk;
    uint64_t seed, arrives;
    uint64_t ends[2], until[2]; /* of each device */
    uint64_t most_gap;          /* between requests */
    bool busy[2], drifted;
} load;

static void open_load(load *l)
{
    *l = (load){.small = add(0, 16, small_cost(1), MS / 20),
                .bulk = add(1, 16, bulk_cost(1), MS / 4),
                .seed = 9,
                .arrives = b.now,
                .until = {UINT64_MAX, UINT64_MAX},
                .most_gap = 230000 / b.n_devices};
}

static void begin_idle(load *l)
{
    for (uint32_t d = 0; d < b.n_devices; d++) {
        leat_dispatch next = {.items = b.items};
        if (l->busy[d]) {
            continue;
        }
        assert_ok(leat_scheduler_begin(b.scheduler, d, &next, &b.err), &b.err);
        const bool small = next.queue == l->small;
        l->busy[d] = next.rows > 0;
        l->until[d] = next.until_ns;
        l->ends[d] = b.now + (l->drifted ? drifted_cost(small ? MS / 2 : MS, next.rows)
                              : small    ? small_cost(next.rows)
                                         : bulk_cost(next.rows));
    }
}

/* So many requests, an event at a time. */
static void go_on(load *l, int n)
{
    while (n > 0) {
        uint64_t event = UINT64_MAX;
        uint32_t device = 0;
        for (uint32_t d = 0; d < b.n_devices; d++) {
            const uint64_t of_device = l->busy[d] ? l->ends[d] : l->until[d];
            if (of_device < event) {
                event = of_device;
                device = d;
            }
        }
        b.now = l->arrives < event ? l->arrives : event > b.now ? event : b.now;
        if (l->arrives <= event) {
            const bool small = next_random(&l->seed) % 10 < 7;
            (void)!leat_scheduler_submit(b.scheduler, small ? l->small : l->bulk, NULL,
                                         small ? 8 * MS : 60 * MS, NULL);
            l->arrives += next_random(&l->seed) % l->most_gap;
            n--;
        } else if (l->busy[device]) {
            assert_ok(leat_scheduler_end(b.scheduler, device, &b.err), &b.err);
            l->busy[device] = false;
        }
        begin_idle(l);
    }
}

/* So many requests of two queues, 1.3 times what can be done. */
static void run_load(int n)
{
    load l;
    open_load(&l);
    go_on(&l, n);
}

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

/* ---- devices that are lost ------------------------------------------------------------------- */

/* The same load for each device, in the same time. */
static void two_devices_do_twice_the_work(void **state)
{
    (void)state;
    static const leat_policy policies[] = {LEAT_POLICY_EDF, LEAT_POLICY_FAIR, LEAT_POLICY_LEARNED};
    for (int i = 0; i < 3; i++) {
        double done[2];
        for (uint32_t n = 1; n <= 2; n++) {
            open_bench(
                (leat_scheduler_desc){.policy = policies[i], .n_devices = n, .admit = i == 0});
            run_load(20000 * (int)n);
            done[n - 1] = (double)stats().work_on_time_ns / (double)(b.now - 1000 * MS);
            close_bench();
        }
        print_message("work in time of one device: %.3f, of two %.3f\n", done[0], done[1]);
        assert_true(done[1] > 1.8 * done[0]);
    }
}

static void what_a_lost_device_ran_waits_again(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.n_devices = 2});
    const leat_cost_point costs[] = {{0, 1, MS}, {0, 8, 4 * MS}, {1, 1, MS}, {1, 8, 4 * MS}};
    const leat_queue_desc desc = {
        .struct_size = sizeof(desc), .max_batch = 8, .capacity = 8, .costs = costs, .n_costs = 4};
    uint32_t queue;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &queue, &b.err), &b.err);
    for (uint64_t i = 1; i <= 8; i++) {
        submit(queue, i, (100 + i) * MS);
    }
    assert_next(queue, 8, 1);
    for (uint64_t i = 9; i <= 16; i++) {
        submit(queue, i, (90 + i) * MS); /* the queue is full, and some are due before */
    }
    b.now += MS;
    assert_ok(leat_scheduler_lose(b.scheduler, 0, &b.err), &b.err);
    assert_int_equal(leat_scheduler_end(b.scheduler, 0, &b.err), LEAT_NO_DEVICE);
    assert_int_equal(stats().waiting, 16);
    assert_int_equal(begin().rows, 0);
    uint64_t before = 0, sum = 0;
    for (int i = 0; i < 2; i++) {
        leat_dispatch d = {.items = b.items};
        assert_ok(leat_scheduler_begin(b.scheduler, 1, &d, &b.err), &b.err);
        assert_int_equal(d.rows, 8);
        for (int k = 0; k < 8; k++) {
            const uint64_t item = (uintptr_t)b.items[k];
            const uint64_t due = item <= 8 ? 100 + item : 90 + item;
            assert_true(due >= before);
            before = due;
            sum += item;
        }
        b.now += 4 * MS;
        assert_ok(leat_scheduler_end(b.scheduler, 1, &b.err), &b.err);
    }
    assert_int_equal(sum, 16 * 17 / 2);
    assert_int_equal(stats().on_time[0], 16);
    assert_int_equal(b.n_expired, 0);
    assert_ok(leat_scheduler_restore(b.scheduler, 0, &b.err), &b.err);
    submit(queue, 17, 0);
    assert_next(queue, 1, 17);
    assert_int_equal(leat_scheduler_lose(b.scheduler, 2, &b.err), LEAT_INVALID);
    close_bench();
}

static void a_preemptible_device_runs_chunks(void **state)
{
    (void)state;
    open_bench((leat_scheduler_desc){.n_devices = 2, .preemptible = 2});
    const leat_cost_point costs[] = {{0, 1, MS}, {0, 8, 8 * MS}, {1, 1, MS}, {1, 8, 8 * MS}};
    const leat_queue_desc desc = {
        .struct_size = sizeof(desc), .max_batch = 8, .costs = costs, .n_costs = 4};
    uint32_t queue;
    assert_ok(leat_scheduler_add(b.scheduler, &desc, &queue, &b.err), &b.err);
    for (uint64_t i = 0; i < 32; i++) {
        submit(queue, i, 0);
    }
    assert_next(queue, 8, 0);
    leat_dispatch d = {.items = b.items};
    assert_ok(leat_scheduler_begin(b.scheduler, 1, &d, &b.err), &b.err);
    assert_int_equal(d.rows, 2);
    close_bench();
}

/* ---- threads --------------------------------------------------------------------------------- */

typedef struct live {
    _Atomic int done[2];
    _Atomic int wrong;
} live;

static void run_live(void *user, uint32_t device, uint32_t queue, void *const *items,
                     size_t n_items)
{
    live *l = user;
    for (size_t i = 0; i < n_items; i++) {
        l->wrong += (uintptr_t)items[i] % 2 != queue || device > 1;
        atomic_fetch_add(&l->done[queue], 1);
    }
}

static void threads_run_everything(void **state)
{
    (void)state;
    live l = {{0}, 0};
    leat_context *context;
    leat_scheduler *s;
    leat_error err;
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    const leat_scheduler_desc desc = {.struct_size = sizeof(desc),
                                      .context = context,
                                      .n_devices = 2,
                                      .policy = LEAT_POLICY_LEARNED,
                                      .run = run_live,
                                      .user = &l};
    assert_ok(leat_scheduler_create(&desc, &s, &err), &err);
    for (uint32_t q = 0; q < 2; q++) {
        const leat_cost_point costs[] = {{0, 1, 1000}, {1, 1, 1000}, {0, 8, 3000}, {1, 8, 3000}};
        const leat_queue_desc queue = {.struct_size = sizeof(queue),
                                       .class_index = q,
                                       .max_batch = 8,
                                       .costs = costs,
                                       .n_costs = 4};
        uint32_t number;
        assert_ok(leat_scheduler_add(s, &queue, &number, &err), &err);
    }
    for (uintptr_t i = 0; i < 10000; i++) {
        while (leat_scheduler_submit(s, i % 2, (void *)i, 0, &err) == LEAT_BUSY) {
            sched_yield();
        }
    }
    while (atomic_load(&l.done[0]) + atomic_load(&l.done[1]) < 10000) {
        sched_yield();
    }
    leat_scheduler_destroy(s);
    leat_context_destroy(context);
    assert_int_equal(l.done[0], 5000);
    assert_int_equal(l.wrong, 0);
}

enum {
    N_LOST = 4000
};

typedef struct losing {
    _Atomic(leat_scheduler *) scheduler;
    _Atomic int done[N_LOST];
    _Atomic int n_done;
    _Atomic int runs;
    _Atomic int lost;
} losing;

/* Every 50th batch of device 1 is lost while it runs. */
static void run_and_lose(void *user, uint32_t device, uint32_t queue, void *const *items,
                         size_t n_items)
{
    losing *l = user;
    leat_scheduler *s;
    (void)queue;
    while ((s = atomic_load(&l->scheduler)) == NULL) {
        sched_yield();
    }
    if (device == 1 && atomic_fetch_add(&l->runs, 1) % 50 == 0) {
        l->lost += leat_scheduler_lose(s, 1, NULL) == LEAT_OK;
        return;
    }
    for (size_t i = 0; i < n_items; i++) {
        atomic_fetch_add(&l->done[(uintptr_t)items[i]], 1);
    }
    atomic_fetch_add(&l->n_done, (int)n_items);
}

static void a_lost_device_loses_no_request(void **state)
{
    (void)state;
    static losing l;
    leat_context *context;
    leat_scheduler *s;
    leat_error err;
    memset(&l, 0, sizeof(l));
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    const leat_scheduler_desc desc = {.struct_size = sizeof(desc),
                                      .context = context,
                                      .n_devices = 2,
                                      .policy = LEAT_POLICY_LEARNED,
                                      .run = run_and_lose,
                                      .user = &l};
    assert_ok(leat_scheduler_create(&desc, &s, &err), &err);
    const leat_cost_point costs[] = {{0, 1, 1000}, {1, 1, 1000}, {0, 4, 3000}, {1, 4, 3000}};
    const leat_queue_desc queue = {
        .struct_size = sizeof(queue), .max_batch = 4, .costs = costs, .n_costs = 4};
    uint32_t number;
    assert_ok(leat_scheduler_add(s, &queue, &number, &err), &err);
    atomic_store(&l.scheduler, s);
    for (uintptr_t i = 0; i < N_LOST; i++) {
        while (leat_scheduler_submit(s, 0, (void *)i, 0, &err) == LEAT_BUSY) {
            sched_yield();
        }
        if (i % 16 == 0) {
            assert_ok(leat_scheduler_restore(s, 1, &err), &err);
        }
    }
    while (atomic_load(&l.runs) == 0) { /* device 0 may have been faster */
        assert_int_equal(leat_scheduler_submit(s, 0, (void *)(uintptr_t)0, 0, &err), LEAT_OK);
        sched_yield();
    }
    leat_scheduler_stats now = {.struct_size = sizeof(now)};
    uint64_t submitted = 0, on_time = 1;
    while (submitted != on_time) {
        leat_scheduler_read_stats(s, &now);
        submitted = now.submitted[0] - now.refused[0];
        on_time = now.on_time[0];
        sched_yield();
    }
    leat_scheduler_destroy(s);
    leat_context_destroy(context);
    assert_true(l.lost > 0);
    assert_int_equal((uint64_t)l.n_done, submitted);
    for (int i = 1; i < N_LOST; i++) {
        assert_int_equal(l.done[i], 1);
    }
}

/* ---- descriptors and memory ------------------------------------------------------------------ */

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
                                      .run = run_live};
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

/* ---- weights --------------------------------------------------------------------------------- */

static void weights_come_back_as_they_were_written(void **state)
{
    (void)state;
    const char *path = TEST_BUILD "/tests/policy.txt";
    leat_policy_weights weights, read;
    char text[512];
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
    for (size_t i = 0; i <= bytes; i++) { /* every letter wrong; and one more, and one less */
        file = fopen(path, "w");
        const char kept = text[i];
        text[i] = kept == 'f' ? 'e' : 'f';
        fwrite(text, 1, i < bytes ? bytes : bytes + 1, file);
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
        cmocka_unit_test(costs_recover_from_runs_that_were_held_up),
        cmocka_unit_test(held_batches_wait_but_not_beyond_their_deadline),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(the_same_calls_give_the_same_decisions),
        cmocka_unit_test(a_wrecked_policy_stays_near_edf),
        cmocka_unit_test(every_request_has_one_end),
        cmocka_unit_test(weights_that_know_nothing_are_learned),
        cmocka_unit_test(the_same_calls_and_seed_learn_the_same),
        cmocka_unit_test(a_device_that_changed_is_learned),
        cmocka_unit_test(two_devices_do_twice_the_work),
        cmocka_unit_test(what_a_lost_device_ran_waits_again),
        cmocka_unit_test(a_preemptible_device_runs_chunks),
        cmocka_unit_test(threads_run_everything),
        cmocka_unit_test(a_lost_device_loses_no_request),
        cmocka_unit_test(bad_descriptors_are_refused),
        cmocka_unit_test(failing_allocations_leave_nothing),
        cmocka_unit_test(weights_come_back_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Several devices, lost and preemptible ones; and the threads that run them. */
#include "load.h"

#include <time.h>

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
    leat_context *context;
    leat_scheduler *scheduler; /* with threads for two devices */
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

static leat_scheduler *open_live(live *l, leat_policy policy)
{
    leat_error err;
    assert_ok(leat_context_create(NULL, &l->context, &err), &err);
    const leat_scheduler_desc desc = {.struct_size = sizeof(desc),
                                      .context = l->context,
                                      .n_devices = 2,
                                      .policy = policy,
                                      .run = run_live,
                                      .user = l};
    assert_ok(leat_scheduler_create(&desc, &l->scheduler, &err), &err);
    return l->scheduler;
}

static void close_live(live *l)
{
    leat_scheduler_destroy(l->scheduler);
    leat_context_destroy(l->context);
}

static void threads_run_everything(void **state)
{
    (void)state;
    live l = {.wrong = 0};
    leat_error err;
    leat_scheduler *s = open_live(&l, LEAT_POLICY_LEARNED);
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
    close_live(&l);
    assert_int_equal(l.done[0], 5000);
    assert_int_equal(l.wrong, 0);
}

/* Each comes while both threads sleep: the one whose device cannot run it is not to be woken alone.
 */
static void a_queue_of_one_device_is_not_left_to_another(void **state)
{
    (void)state;
    live l = {.wrong = 0};
    leat_error err;
    leat_scheduler *s = open_live(&l, LEAT_POLICY_EDF);
    for (uint32_t q = 0; q < 2; q++) { /* queue 0 is device 0's alone, queue 1 is device 1's */
        const leat_cost_point cost = {q, 1, 1000};
        const leat_queue_desc queue = {
            .struct_size = sizeof(queue), .max_batch = 1, .costs = &cost, .n_costs = 1};
        uint32_t number;
        assert_ok(leat_scheduler_add(s, &queue, &number, &err), &err);
    }
    const struct timespec pause = {0, 2 * MS};
    for (uintptr_t i = 0; i < 16; i++) {
        const uintptr_t q = i / 4 % 2;
        const int before = atomic_load(&l.done[q]);
        nanosleep(&pause, NULL); /* both are asleep again */
        assert_ok(leat_scheduler_submit(s, (uint32_t)q, (void *)q, 0, &err), &err);
        for (int k = 0; k < 5000 && atomic_load(&l.done[q]) == before; k++) {
            nanosleep(&pause, NULL);
        }
        assert_int_equal(atomic_load(&l.done[q]), before + 1);
    }
    close_live(&l);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_devices_do_twice_the_work),
        cmocka_unit_test(what_a_lost_device_ran_waits_again),
        cmocka_unit_test(a_preemptible_device_runs_chunks),
        cmocka_unit_test(threads_run_everything),
        cmocka_unit_test(a_queue_of_one_device_is_not_left_to_another),
        cmocka_unit_test(a_lost_device_loses_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

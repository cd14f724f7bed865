/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define TASKS 1000

typedef struct job {
    _Atomic uint32_t runs[TASKS];
    _Atomic uint32_t busy[8]; /* per thread index: 1 while a task of that index runs */
    _Atomic uint32_t clashes;
    uint32_t threads;
} job;

static void task(void *argument, uint32_t i, uint32_t thread)
{
    job *j = argument;
    if (thread >= j->threads || atomic_exchange(&j->busy[thread], 1) != 0) {
        atomic_fetch_add(&j->clashes, 1);
    }
    atomic_fetch_add(&j->runs[i], 1);
    atomic_store(&j->busy[thread], 0);
}

static leat_pool *make_pool(lt_memory *memory, int32_t threads, uint32_t spin_us)
{
    leat_error err = {0};
    leat_pool *pool;
    lt_memory_init(memory, NULL, 0);
    assert_ok(lt_pool_create(memory, threads, spin_us, &pool, &err), &err);
    return pool;
}

static void check_job(leat_pool *pool, uint32_t n_tasks)
{
    static job j;
    memset(&j, 0, sizeof(j));
    j.threads = lt_pool_threads(pool);
    lt_pool_parallel(pool, n_tasks, task, &j);
    for (uint32_t i = 0; i < TASKS; i++) {
        assert_int_equal(j.runs[i], i < n_tasks);
    }
    assert_int_equal(j.clashes, 0);
}

static void parallel_runs_every_task_once(void **state)
{
    static const int32_t threads[] = {1, 2, 3, 8};
    static const uint32_t spins[] = {0, 50};
    (void)state;
    for (size_t t = 0; t < 4; t++) {
        for (size_t s = 0; s < 2; s++) {
            lt_memory memory;
            leat_pool *pool = make_pool(&memory, threads[t], spins[s]);
            assert_int_equal(lt_pool_threads(pool), threads[t]);
            for (uint32_t n = 0; n <= TASKS; n = n * 3 + 1) {
                check_job(pool, n);
            }
            for (int i = 0; i < 300; i++) {
                check_job(pool, 5);
            }
            lt_pool_destroy(pool);
            assert_int_equal(memory.live_blocks, 0);
        }
    }
}

/* Plain memory that each job's tasks write and the caller reads behind it: what thread sanitizer
 * must find nothing to say about. */
typedef struct written {
    uint32_t job;
    uint32_t by[TASKS];
} written;

static void write_job(void *argument, uint32_t i, uint32_t thread)
{
    written *w = argument;
    (void)thread;
    w->by[i] = w->job;
}

static void parallel_shows_the_caller_what_tasks_wrote(void **state)
{
    static const uint32_t spins[] = {0, 20};
    (void)state;
    for (size_t s = 0; s < 2; s++) {
        lt_memory memory;
        leat_pool *pool = make_pool(&memory, 3, spins[s]);
        for (uint32_t k = 1; k < 1500; k++) {
            written w = {.job = k};
            uint32_t n = 2 + k % 37;
            lt_pool_parallel(pool, n, write_job, &w);
            for (uint32_t i = 0; i < n; i++) {
                assert_int_equal(w.by[i], k);
            }
        }
        lt_pool_destroy(pool);
    }
}

/* The task that starts first waits, up to 20 s, for all the others. */
typedef struct held {
    _Atomic uint32_t started;
    _Atomic uint32_t ended;
    _Atomic uint32_t seen; /* ended, when the wait was over */
    uint32_t n_tasks;
} held;

static void hold_first(void *argument, uint32_t i, uint32_t thread)
{
    held *h = argument;
    (void)i;
    (void)thread;
    if (atomic_fetch_add(&h->started, 1) == 0) {
        const struct timespec rest = {0, 1000000};
        for (int ms = 0; ms < 20000 && atomic_load(&h->ended) + 1 < h->n_tasks; ms++) {
            nanosleep(&rest, NULL);
        }
        atomic_store(&h->seen, atomic_load(&h->ended));
    }
    atomic_fetch_add(&h->ended, 1);
}

static void parallel_held_thread_holds_up_one_task(void **state)
{
    lt_memory memory;
    leat_pool *pool = make_pool(&memory, 2, 50);
    held h = {.n_tasks = 16};
    (void)state;
    lt_pool_parallel(pool, h.n_tasks, hold_first, &h);
    assert_int_equal(h.ended, 16);
    assert_int_equal(h.seen, 15);
    lt_pool_destroy(pool);
}

typedef struct caller {
    leat_pool *pool;
    _Atomic uint64_t *sum;
} caller;

static void add(void *argument, uint32_t i, uint32_t thread)
{
    (void)thread;
    atomic_fetch_add(((caller *)argument)->sum, i);
}

static void *call_often(void *argument)
{
    for (int i = 0; i < 200; i++) {
        lt_pool_parallel(((caller *)argument)->pool, 10, add, argument);
    }
    return NULL;
}

static void parallel_serves_several_callers(void **state)
{
    lt_memory memory;
    leat_pool *pool = make_pool(&memory, 3, 20);
    _Atomic uint64_t sum = 0;
    caller c = {pool, &sum};
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &c), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sum, 4 * 200 * 45);
    lt_pool_destroy(pool);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Four workers that polled would burn 1.2 s; a tenth of that is far above what sleeping costs. */
static void note_thread(void *argument, uint32_t i, uint32_t thread)
{
    _Atomic uint32_t *others = argument;
    (void)i;
    atomic_fetch_add(others, thread != 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL); /* time for others to take some */
}

/* While as many callers are within as there are threads, each runs its tasks alone. */
static void parallel_with_all_threads_entered_runs_alone(void **state)
{
    (void)state;
    lt_memory memory;
    leat_pool *pool = make_pool(&memory, 2, 50);
    for (int entered = 0; entered < 4; entered++) {
        _Atomic uint32_t others = 0;
        for (int tries = 0; tries < 50 && others == 0; tries++) { /* a worker may come late */
            lt_pool_parallel(pool, 64, note_thread, &others);
        }
        assert_int_equal(others > 0, entered < 2);
        lt_pool_enter(pool);
    }
    for (int entered = 4; entered > 0; entered--) {
        lt_pool_leave(pool);
    }
    check_job(pool, TASKS);
    lt_pool_destroy(pool);
}

static void idle_pool_uses_no_cpu(void **state)
{
    lt_memory memory;
    leat_pool *pool = make_pool(&memory, 5, 200);
    struct timespec rest = {0, 300000000};
    (void)state;
    check_job(pool, 100);
    double before = cpu_seconds();
    nanosleep(&rest, NULL);
    assert_true(cpu_seconds() - before < 0.12);
    lt_pool_destroy(pool);
}

static void create_bad_count_is_invalid(void **state)
{
    lt_memory memory;
    leat_error err = {0};
    leat_pool *pool;
    (void)state;
    lt_memory_init(&memory, NULL, 0);
    assert_int_equal(lt_pool_create(&memory, -1, 0, &pool, &err), LEAT_INVALID);
    assert_int_equal(lt_pool_create(&memory, 100000, 0, &pool, &err), LEAT_INVALID);
    assert_null(pool);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    lt_memory memory;
    leat_pool *pool;
    (void)argument;
    lt_memory_init(&memory, allocator, 0);
    leat_status status = lt_pool_create(&memory, 3, 0, &pool, err);
    lt_pool_destroy(pool);
    return status;
}

static void create_survives_failing_allocations(void **state)
{
    (void)state;
    test_walk_allocations(attempt, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parallel_runs_every_task_once),
        cmocka_unit_test(parallel_shows_the_caller_what_tasks_wrote),
        cmocka_unit_test(parallel_held_thread_holds_up_one_task),
        cmocka_unit_test(parallel_serves_several_callers),
        cmocka_unit_test(parallel_with_all_threads_entered_runs_alone),
        cmocka_unit_test(idle_pool_uses_no_cpu),
        cmocka_unit_test(create_bad_count_is_invalid),
        cmocka_unit_test(create_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

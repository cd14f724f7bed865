/* SPDX-License-Identifier: Apache-2.0 */
/* A pool whose idle threads cost nothing.
 *
 * One job at a time. Its tasks are dealt out as one range a thread, so that a thread gets the same
 * part of the data in one job after the other and finds it in its cache; who has done all of its
 * range takes tasks from the others' ranges, so that a thread which comes late, or whose core is
 * taken away, holds nobody up for longer than one task.
 *
 * The caller publishes a job by raising `generation`; workers that see a new generation take part.
 * `inside` counts the workers that may still touch the job; the caller leaves when all tasks are
 * done and `inside` is 0, so the job's argument may live on its stack.
 *
 * Waiting is on a futex after polling for spin_us at most (see futex(2) and U. Drepper, Futexes Are
 * Tricky). */
#include "base/thread.h"

#include "base/clock.h"
#include "base/error.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_THREADS 256u

/* The tasks of one thread's range that are left. */
typedef struct share {
    _Alignas(64) _Atomic uint32_t next;
    uint32_t end;
} share;

struct leat_pool {
    lt_memory *memory;
    uint32_t threads; /* the caller among them */
    uint64_t spin_ns;
    atomic_flag busy; /* a caller has the pool */
    _Atomic uint32_t entered;
    pthread_t *workers;
    _Atomic uint32_t started; /* workers; written by who has busy */

    /* The job, valid while inside != 0 or tasks are left. */
    leat_task_fn fn;
    void *argument;
    uint32_t n_shares; /* ranges that are not empty, at most one a thread */
    share *shares;
    _Alignas(64) _Atomic uint32_t inside;     /* workers that look at the job */
    _Alignas(64) _Atomic uint32_t generation; /* futex; odd while a job is open; 0 at the start */
    _Atomic uint32_t sleepers;                /* workers asleep on generation */
    _Atomic uint32_t waiting;                 /* the caller sleeps on inside */
    _Atomic bool stop;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, (uint32_t *)(void *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, (uint32_t *)(void *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static uint32_t count_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

/* Takes tasks of the thread's own range, then of the others'. */
static void run_tasks(leat_pool *pool, uint32_t thread)
{
    for (uint32_t i = 0; i < pool->n_shares; i++) {
        share *from = &pool->shares[(thread + i) % pool->n_shares];
        while (atomic_load_explicit(&from->next, memory_order_relaxed) < from->end) {
            uint32_t task = atomic_fetch_add_explicit(&from->next, 1, memory_order_relaxed);
            if (task >= from->end) {
                break;
            }
            pool->fn(pool->argument, task, thread);
        }
    }
}

static void deal_tasks(leat_pool *pool, uint32_t n_tasks)
{
    uint32_t n = n_tasks < pool->threads ? n_tasks : pool->threads;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t begin = (uint32_t)((uint64_t)n_tasks * i / n);
        atomic_store_explicit(&pool->shares[i].next, begin, memory_order_relaxed);
        pool->shares[i].end = (uint32_t)((uint64_t)n_tasks * (i + 1) / n);
    }
    pool->n_shares = n;
}

/* Polls, then sleeps, until the generation differs from `seen`. */
static uint32_t wait_generation(leat_pool *pool, uint32_t seen)
{
    uint64_t until = 0;
    for (uint32_t i = 0;; i++) {
        uint32_t now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) {
            return now;
        }
        if (pool->spin_ns != 0 && (i & 63) == 0) {
            uint64_t clock = lt_clock_ns();
            until = until ? until : clock + pool->spin_ns;
            if (clock < until) {
                continue;
            }
        } else if (pool->spin_ns != 0) {
            lt_pause();
            continue;
        }
        atomic_fetch_add(&pool->sleepers, 1);
        futex_wait(&pool->generation, seen);
        atomic_fetch_sub(&pool->sleepers, 1);
        until = 0;
    }
}

typedef struct worker_start {
    leat_pool *pool;
    uint32_t thread;
} worker_start;

static void *worker_main(void *argument)
{
    leat_pool *pool = ((worker_start *)argument)->pool;
    uint32_t thread = ((worker_start *)argument)->thread;
    uint32_t seen = 0;
    for (;;) {
        seen = wait_generation(pool, seen);
        if (atomic_load(&pool->stop)) {
            return NULL;
        }
        if ((seen & 1) == 0) {
            continue;
        }
        /* Enter only while this very job is open: the caller closes it before it waits. */
        atomic_fetch_add(&pool->inside, 1);
        if (atomic_load(&pool->generation) == seen) {
            run_tasks(pool, thread);
        }
        if (atomic_fetch_sub(&pool->inside, 1) == 1 && atomic_load(&pool->waiting)) {
            futex_wake(&pool->inside, 1);
        }
    }
}

static size_t workers_bytes(uint32_t threads)
{
    return threads * (sizeof(pthread_t) + sizeof(worker_start));
}

/* Room for the workers' starting arguments lies behind their handles. */
static worker_start *starts(leat_pool *pool)
{
    return (worker_start *)(pool->workers + pool->threads);
}

static void free_pool(lt_memory *memory, leat_pool *pool, uint32_t threads)
{
    lt_free(memory, pool->shares, threads * sizeof(*pool->shares));
    lt_free(memory, pool->workers, workers_bytes(threads));
    lt_free(memory, pool, sizeof(*pool));
}

leat_status lt_pool_create(lt_memory *memory, int32_t threads, uint32_t spin_us,
                           leat_pool **out_pool, leat_error *err)
{
    *out_pool = NULL;
    if (threads < 0 || threads > (int32_t)MAX_THREADS) {
        return lt_fail(err, LEAT_INVALID, "threads is %d; it must be 0 (one a core) to %u", threads,
                       MAX_THREADS);
    }
    uint32_t n = threads ? (uint32_t)threads : count_cores();
    n = n > MAX_THREADS ? MAX_THREADS : n;
    leat_pool *pool = lt_alloc_zeroed(memory, sizeof(*pool), 64);
    if (pool != NULL) {
        pool->workers = lt_alloc_zeroed(memory, workers_bytes(n), 16);
        pool->shares = lt_alloc_zeroed(memory, n * sizeof(*pool->shares), 64);
    }
    if (pool == NULL || pool->workers == NULL || pool->shares == NULL) {
        if (pool != NULL) {
            free_pool(memory, pool, n);
        }
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for %u threads", n);
    }
    pool->memory = memory;
    pool->threads = n;
    pool->spin_ns = (uint64_t)spin_us * 1000;
    atomic_flag_clear(&pool->busy);
    *out_pool = pool;
    return LEAT_OK;
}

void lt_pool_destroy(leat_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->generation, 2);
    futex_wake(&pool->generation, INT_MAX);
    for (uint32_t i = 0; i < pool->started; i++) {
        pthread_join(pool->workers[i], NULL);
    }
    free_pool(pool->memory, pool, pool->threads);
}

bool lt_pool_worker_ns(const leat_pool *pool, uint32_t i, uint64_t *out_ns)
{
    clockid_t clock;
    struct timespec time;
    if (i >= atomic_load(&pool->started) || pthread_getcpuclockid(pool->workers[i], &clock) != 0 ||
        clock_gettime(clock, &time) != 0) {
        return false;
    }
    *out_ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
    return true;
}

uint32_t lt_pool_threads(const leat_pool *pool)
{
    return pool->threads;
}

static void start_workers(leat_pool *pool)
{
    while (pool->started + 1 < pool->threads) {
        worker_start *start = &starts(pool)[pool->started];
        start->pool = pool;
        start->thread = pool->started + 1;
        if (pthread_create(&pool->workers[pool->started], NULL, worker_main, start) != 0) {
            return; /* those that run, and the caller, do the work */
        }
        pool->started++;
    }
}

/* Waits until no worker looks at the job. */
static void wait_outside(leat_pool *pool)
{
    uint64_t until = 0;
    for (uint32_t i = 0;; i++) {
        uint32_t inside = atomic_load(&pool->inside);
        if (inside == 0) {
            return;
        }
        if (pool->spin_ns != 0 && (i & 63) != 0) {
            lt_pause();
            continue;
        }
        uint64_t clock = pool->spin_ns ? lt_clock_ns() : 0;
        until = until ? until : clock + pool->spin_ns;
        if (clock < until) {
            continue;
        }
        atomic_store(&pool->waiting, 1);
        inside = atomic_load(&pool->inside);
        if (inside != 0) {
            futex_wait(&pool->inside, inside);
        }
        atomic_store(&pool->waiting, 0);
    }
}

static void run_alone(uint32_t n_tasks, leat_task_fn fn, void *argument)
{
    for (uint32_t i = 0; i < n_tasks; i++) {
        fn(argument, i, 0);
    }
}

void lt_pool_enter(leat_pool *pool)
{
    atomic_fetch_add(&pool->entered, 1);
}

void lt_pool_leave(leat_pool *pool)
{
    atomic_fetch_sub(&pool->entered, 1);
}

void lt_pool_parallel(leat_pool *pool, uint32_t n_tasks, leat_task_fn fn, void *argument)
{
    if (n_tasks <= 1 || pool->threads == 1 ||
        atomic_load_explicit(&pool->entered, memory_order_relaxed) >= pool->threads ||
        atomic_flag_test_and_set(&pool->busy)) {
        run_alone(n_tasks, fn, argument);
        return;
    }
    start_workers(pool);
    pool->fn = fn;
    pool->argument = argument;
    deal_tasks(pool, n_tasks);
    atomic_fetch_add(&pool->generation, 1); /* open */
    uint32_t wanted = n_tasks - 1 < pool->started ? n_tasks - 1 : pool->started;
    if (atomic_load(&pool->sleepers) != 0) {
        futex_wake(&pool->generation, (int)wanted);
    }
    run_tasks(pool, 0);
    atomic_fetch_add(&pool->generation, 1); /* closed: no worker enters any more */
    wait_outside(pool);
    atomic_flag_clear(&pool->busy);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A pool whose idle threads cost nothing.
 *
 * One job at a time. Its tasks are dealt out as one range a thread, so that a thread gets the same
 * part of the data in one job after the other and finds it in its cache; who has done all of its
 * range takes tasks from the others' ranges, so that a thread which comes late, or whose core is
 * taken away, holds nobody up for longer than one task.
 *
 * What a handover costs is the times that a line of memory goes from core to core (30 to 190 ns
 * each), so these are few:
 *
 *   caller   writes the job and, in the same line, its number        -> workers read one line
 *   worker   takes tasks by a word of its own, which holds the number of the job that it is about
 *            and the next task: nobody has to set it back
 *   worker   adds the tasks that it has done to `done`               -> the caller reads one line
 *
 * The number is even while the job can be read, odd while the caller changes it (a sequence lock:
 * Boehm, Can Seqlocks Get Along with Programming Language Memory Models?, 2012). A worker that
 * comes late finds all tasks of its job taken: words of later jobs refuse it. So the caller may
 * leave as soon as `done` says that all tasks are, and the job's argument may live on its stack.
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

/* Jobs after which words of threads that had no tasks since are set anew, so that the difference of
 * two numbers has a sign. */
#define RENEW_AFTER (1u << 28)

/* Whose range it is: the job's number in the upper half, the next task in the lower. */
typedef struct share {
    _Alignas(64) _Atomic uint64_t next;
} share;

/* A job as one thread has read it. */
typedef struct job {
    uint32_t number;
    uint32_t n_tasks;
    leat_task_fn fn;
    void *argument;
} job;

struct leat_pool {
    lt_memory *memory;
    uint32_t threads; /* the caller among them */
    uint64_t spin_ns;
    pthread_t *workers;
    share *shares;

    _Alignas(64) atomic_flag busy; /* a caller has the pool */
    _Atomic uint32_t entered;
    _Atomic uint32_t started; /* workers; written by who has busy */
    uint32_t finished;        /* of done, when the last job had ended */

    _Alignas(64) _Atomic uint32_t number; /* futex; of the job; 0 at the start */
    _Atomic uint32_t n_tasks;
    _Atomic(leat_task_fn) fn;
    _Atomic(void *) argument;

    _Alignas(64) _Atomic uint32_t done; /* futex; tasks that workers have done, of all jobs */

    _Alignas(64) _Atomic uint32_t sleepers; /* workers asleep on number */
    _Atomic uint32_t waiting;               /* the caller sleeps on done */
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

static uint64_t word(uint32_t number, uint32_t task)
{
    return (uint64_t)number << 32 | task;
}

/* The next task of a range [begin, end) of the job; false: none is left. */
static bool take_task(share *from, uint32_t number, uint32_t begin, uint32_t end,
                      uint32_t *out_task)
{
    uint64_t seen = atomic_load_explicit(&from->next, memory_order_relaxed);
    do {
        int32_t newer = (int32_t)((uint32_t)(seen >> 32) - number);
        *out_task = newer == 0 ? (uint32_t)seen : begin;
        if (newer > 0 || *out_task >= end) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&from->next, &seen, word(number, *out_task + 1),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Takes tasks of the thread's own range, then of the others'; returns how many. */
static uint32_t run_tasks(leat_pool *pool, const job *j, uint32_t thread)
{
    uint32_t n_shares = j->n_tasks < pool->threads ? j->n_tasks : pool->threads;
    uint32_t count = 0;
    for (uint32_t i = 0; i < n_shares; i++) {
        uint64_t of = (thread + i) % n_shares;
        uint32_t begin = (uint32_t)(j->n_tasks * of / n_shares);
        uint32_t end = (uint32_t)(j->n_tasks * (of + 1) / n_shares);
        for (uint32_t task; take_task(&pool->shares[of], j->number, begin, end, &task); count++) {
            j->fn(j->argument, task, thread);
        }
    }
    return count;
}

/* Polls, then sleeps, until there is a job that is not `seen`. */
static uint32_t wait_number(leat_pool *pool, uint32_t seen)
{
    uint64_t until = 0;
    for (uint32_t i = 0;; i++) {
        uint32_t now = atomic_load_explicit(&pool->number, memory_order_acquire);
        if (now != seen && (now & 1) == 0) {
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
        futex_wait(&pool->number, now);
        atomic_fetch_sub(&pool->sleepers, 1);
        until = 0;
    }
}

/* False: the job has changed meanwhile. */
static bool read_job(leat_pool *pool, uint32_t number, job *out)
{
    out->number = number;
    out->n_tasks = atomic_load_explicit(&pool->n_tasks, memory_order_acquire);
    out->fn = atomic_load_explicit(&pool->fn, memory_order_acquire);
    out->argument = atomic_load_explicit(&pool->argument, memory_order_acquire);
    return atomic_load_explicit(&pool->number, memory_order_relaxed) == number;
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
        uint32_t number = wait_number(pool, seen);
        job j;
        if (atomic_load(&pool->stop)) {
            return NULL;
        }
        if (!read_job(pool, number, &j)) {
            continue;
        }
        seen = number;
        uint32_t count = run_tasks(pool, &j, thread);
        if (count != 0) {
            atomic_fetch_add(&pool->done, count);
            if (atomic_load(&pool->waiting)) {
                futex_wake(&pool->done, 1);
            }
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
    atomic_fetch_add(&pool->number, 2);
    futex_wake(&pool->number, INT_MAX);
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

/* Waits until workers have done `target` tasks, counted over all jobs. */
static void wait_done(leat_pool *pool, uint32_t target)
{
    uint64_t until = 0;
    for (uint32_t i = 0;; i++) {
        uint32_t done = atomic_load_explicit(&pool->done, memory_order_acquire);
        if (done == target) {
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
        done = atomic_load(&pool->done);
        if (done != target) {
            futex_wait(&pool->done, done);
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

/* All tasks of the last job are done; late workers may still be reading it. */
static void open_job(leat_pool *pool, job *j)
{
    uint32_t last = atomic_load_explicit(&pool->number, memory_order_relaxed);
    j->number = last + 2;
    if (last / 2 % RENEW_AFTER == RENEW_AFTER - 1) {
        for (uint32_t i = 0; i < pool->threads; i++) {
            atomic_store_explicit(&pool->shares[i].next, word(last, UINT32_MAX),
                                  memory_order_relaxed);
        }
    }
    atomic_store_explicit(&pool->number, last + 1, memory_order_relaxed);
    atomic_store_explicit(&pool->n_tasks, j->n_tasks, memory_order_release);
    atomic_store_explicit(&pool->fn, j->fn, memory_order_release);
    atomic_store_explicit(&pool->argument, j->argument, memory_order_release);
    atomic_fetch_add(&pool->number, 1); /* before sleepers is read */
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
    job j = {0, n_tasks, fn, argument};
    open_job(pool, &j);
    uint32_t wanted = n_tasks - 1 < pool->started ? n_tasks - 1 : pool->started;
    if (atomic_load(&pool->sleepers) != 0) {
        futex_wake(&pool->number, (int)wanted);
    }
    pool->finished += n_tasks - run_tasks(pool, &j, 0);
    wait_done(pool, pool->finished);
    atomic_flag_clear(&pool->busy);
}

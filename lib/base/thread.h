/* SPDX-License-Identifier: Apache-2.0 */
/* The worker threads of a context: leat_pool of the plugin ABI. */
#ifndef LT_BASE_THREAD_H
#define LT_BASE_THREAD_H

#include "base/memory.h"

#include <leat/backend.h>

/* Makes threads - 1 workers (0 threads: one thread per core of this process's affinity mask). They
 * start at the first lt_pool_parallel that needs them.
 * Units:    spin_us: how long an idle worker, or a caller that waits for workers, polls before it
 *           sleeps on a futex. An idle pool uses no CPU.
 * Errors:   NO_MEMORY. */
leat_status lt_pool_create(lt_memory *memory, int32_t threads, uint32_t spin_us,
                           leat_pool **out_pool, leat_error *err) LEAT_MUST_CHECK;
/* Ends and joins the workers. No call may be under way. */
void lt_pool_destroy(leat_pool *pool);

/* Threads that may compute, the caller's among them; at least 1. */
uint32_t lt_pool_threads(const leat_pool *pool);

/* Nanoseconds of processor time that worker `i` has had, polling among it; false: it was not
 * started (the workers are those below lt_pool_threads - 1). Threads:  any. */
bool lt_pool_worker_ns(const leat_pool *pool, uint32_t i, uint64_t *out_ns);

/* Runs fn(argument, 0..n_tasks) and waits. Each thread takes tasks of its own range, one by one,
 * then of the others': with the same n_tasks a thread gets the same tasks again, and uneven ones
 * balance. When another caller has the pool, or a worker cannot be started, the caller runs all
 * itself. Allocates nothing. Threads: any. */
void lt_pool_parallel(leat_pool *pool, uint32_t n_tasks, leat_task_fn fn, void *argument);

/* Says that the calling thread begins, or ends, work with many calls of lt_pool_parallel. While as
 * many threads are within as the pool has, each runs its tasks alone: all cores have work, and
 * nobody waits for another. */
void lt_pool_enter(leat_pool *pool);
void lt_pool_leave(leat_pool *pool);

/* Between two looks of a thread that polls. */
static inline void lt_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif

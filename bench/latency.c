/* SPDX-License-Identifier: Apache-2.0 */
/* What leat costs besides computing: latency [MODEL.onnx].
 *
 * call:      one leat_session_run of MODEL (make_small.py add: one addition of one number), the
 *            whole call, on one thread
 * dispatch:  lt_pool_parallel of empty tasks: back to back, where workers that poll are awake;
 * after a pause longer than they poll, where they sleep; and when they never poll idle: processor
 * time that a pool uses while nobody calls it
 *
 * Medians of many calls; single calls are timed in batches where the clock would show. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#include <leat/leat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 2001

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, double *us, size_t count)
{
    qsort(us, count, sizeof(*us), by_value);
    printf("%-46s median %8.3f us   90 %% %8.3f   99 %% %8.3f\n", what, us[count / 2],
           us[count * 9 / 10], us[count * 99 / 100]);
}

static void sleep_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static void nothing(void *argument, uint32_t task, uint32_t thread)
{
    (void)argument;
    (void)task;
    (void)thread;
}

/* A task that takes a few us, so that a worker has time to join. */
static void little(void *argument, uint32_t task, uint32_t thread)
{
    (void)argument;
    (void)task;
    (void)thread;
    uint64_t until = lt_clock_ns() + 20000;
    while (lt_clock_ns() < until) {
    }
}

static void dispatch(const char *what, lt_memory *memory, uint32_t spin_us, long pause_us,
                     leat_task_fn fn)
{
    static double us[SAMPLES];
    leat_error err;
    leat_pool *pool;
    if (lt_pool_create(memory, 0, spin_us, &pool, &err) != LEAT_OK) {
        printf("%s: %s\n", what, err.message);
        return;
    }
    uint32_t n_tasks = lt_pool_threads(pool);
    lt_pool_parallel(pool, n_tasks, fn, NULL);
    size_t count = pause_us ? 301 : SAMPLES;
    for (size_t i = 0; i < count; i++) {
        if (pause_us != 0) {
            sleep_us(pause_us);
        }
        uint64_t start = lt_clock_ns();
        lt_pool_parallel(pool, n_tasks, fn, NULL);
        us[i] = (double)(lt_clock_ns() - start) / 1e3;
    }
    print_times(what, us, count);
    lt_pool_destroy(pool);
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void idle(lt_memory *memory)
{
    leat_error err;
    leat_pool *pool;
    if (lt_pool_create(memory, 0, 200, &pool, &err) != LEAT_OK) {
        printf("idle: %s\n", err.message);
        return;
    }
    lt_pool_parallel(pool, 64, nothing, NULL);
    sleep_us(20000);
    double before = cpu_ms();
    sleep_us(500000);
    printf("%-46s %.3f ms of processor time in 500 ms\n", "idle pool", cpu_ms() - before);
    lt_pool_destroy(pool);
}

static leat_status call(const char *path, leat_error *err)
{
    static double us[SAMPLES];
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    const leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1};
    leat_status status = leat_context_create(&desc, &context, err);
    status = status ? status : leat_model_load(context, path, NULL, &model, err);
    status = status ? status : leat_session_create(model, NULL, &session, err);
    float x = 1;
    leat_array in = {LEAT_DTYPE_F32, 1, {1}, &x, sizeof(x)}, out;
    memset(&out, 0, sizeof(out));
    for (size_t i = 0; i < SAMPLES && status == LEAT_OK; i++) {
        enum {
            BATCH = 100
        };
        uint64_t start = lt_clock_ns();
        for (int k = 0; k < BATCH && status == LEAT_OK; k++) {
            status = leat_session_run(session, &in, 1, &out, 1, err);
        }
        us[i] = (double)(lt_clock_ns() - start) / 1e3 / BATCH;
    }
    if (status == LEAT_OK) {
        print_times("call", us, SAMPLES);
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

int main(int argc, char **argv)
{
    leat_error err = {0};
    if (argc > 1 && call(argv[1], &err) != LEAT_OK) {
        fprintf(stderr, "latency: %s: %s\n", argv[1], err.message);
        return 1;
    }
    lt_memory memory;
    lt_memory_init(&memory, NULL, 0);
    dispatch("dispatch, workers awake", &memory, 200, 0, nothing);
    dispatch("dispatch, workers asleep", &memory, 200, 1000, nothing);
    dispatch("dispatch, workers never poll", &memory, 0, 0, nothing);
    dispatch("dispatch of 20 us tasks, awake", &memory, 200, 0, little);
    dispatch("dispatch of 20 us tasks, asleep", &memory, 200, 1000, little);
    dispatch("dispatch of 20 us tasks, never poll", &memory, 0, 0, little);
    idle(&memory);
    return 0;
}

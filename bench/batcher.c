/* SPDX-License-Identifier: Apache-2.0 */
/* What the batcher costs besides computing: batcher [MODEL.onnx]
 *
 * MODEL's input (make_small.py mlp: rows of 256 f32) is what requests have; in place of the model
 * runs a function that does nothing, so that all the time is submitting, choosing, putting rows
 * together (1 KB each), completing. For 1 and more submitters with 1 and 64 requests under way
 * each: requests a second, processor time of all threads a request, rows a batch, and how often
 * memory was asked for meanwhile. With 1 under way a request runs on the thread that asks. The same
 * where answers are kept (4 MB of them), of which 0, 50, 90 or 100 of a hundred requests ask for
 * one that is there.
 *
 * Then requests every 2 ms or so to a device that takes 100 us: medians of a direct call, of
 * leat_batcher_run, and of leat_batcher_submit to the callback: while who submits waits in
 * leat_batcher_drain (and may run it), and while it does something else, so that a thread of the
 * batcher's must wake up. */
#include <leat/batcher.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    WIDTH = 256,
    MOST_SUBMITTERS = 8,
    MOST_WINDOW = 64,
    MILLISECONDS = 500
};

typedef struct submitter {
    leat_batcher *batcher;
    pthread_t thread;
    int window;
    uint64_t requests;
    leat_status status;
    leat_request *handles[MOST_WINDOW];
    int again; /* of a hundred requests, those that were asked before; -1: answers are not kept */
    float rows[MOST_WINDOW][WIDTH];
    float results[MOST_WINDOW][WIDTH];
    leat_array outputs[MOST_WINDOW];
} submitter;

static _Atomic int stop;
static _Atomic uint64_t allocations;

static void *count_alloc(void *user, size_t bytes, size_t alignment)
{
    (void)user;
    atomic_fetch_add(&allocations, 1);
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void free_block(void *user, void *block, size_t bytes)
{
    (void)user;
    (void)bytes;
    free(block);
}

static leat_status null_model(void *user, int32_t instance, const leat_array *inputs,
                              size_t n_inputs, leat_array *outputs, size_t n_outputs,
                              leat_error *err)
{
    (void)instance;
    (void)n_inputs;
    (void)n_outputs;
    (void)err;
    void *data = outputs[0].data ? outputs[0].data : user;
    outputs[0] = inputs[0];
    outputs[0].data = data;
    return LEAT_OK;
}

static void *submit_all(void *argument)
{
    static _Atomic uint64_t numbers;
    submitter *s = argument;
    uint64_t i = 0;
    for (; !atomic_load(&stop) && s->status == LEAT_OK; i++) {
        const uint64_t slot = i % (uint64_t)s->window;
        float *row = s->rows[slot];
        const leat_array x = {.dtype = LEAT_DTYPE_F32,
                              .rank = 2,
                              .shape = {1, WIDTH},
                              .data = row,
                              .bytes = sizeof(s->rows[0])};
        if (s->window > 1 && i >= (uint64_t)s->window) {
            s->status = leat_request_wait(s->handles[slot], 0, NULL);
            leat_request_release(s->handles[slot]);
        }
        if (s->again >= 0) {
            const bool known = (int)(i * 37 % 100) < s->again;
            const uint64_t number = known ? 0 : atomic_fetch_add(&numbers, 1) + 1;
            memcpy(row, &number, sizeof(number));
        }
        s->outputs[slot] = (leat_array){.data = s->results[slot], .bytes = sizeof(s->results[0])};
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = &x,
                                        .n_inputs = 1,
                                        .outputs = &s->outputs[slot],
                                        .n_outputs = 1};
        leat_status status = s->window == 1
                                 ? leat_batcher_run(s->batcher, &desc, NULL)
                                 : leat_batcher_submit(s->batcher, &desc, &s->handles[slot], NULL);
        s->status = s->status ? s->status : status;
    }
    s->requests = i;
    return NULL;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static double processor_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* again: as in submitter. */
static leat_status measure(leat_model *model, int n, int window, int again, leat_error *err)
{
    static submitter s[MOST_SUBMITTERS];
    static float memory[32 * WIDTH];
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .run = null_model,
                                    .run_user = memory,
                                    .answer_bytes = again < 0 ? 0 : 4 << 20};
    leat_batcher *batcher;
    leat_status status = leat_batcher_create(model, &desc, &batcher, err);
    if (status != LEAT_OK) {
        return status;
    }
    static const float row[WIDTH];
    const leat_array x = {.dtype = LEAT_DTYPE_F32,
                          .rank = 2,
                          .shape = {1, WIDTH},
                          .data = (void *)row,
                          .bytes = sizeof(row)};
    status = leat_batcher_warm(batcher, &x, 1, 0, err);
    memset(s, 0, sizeof(s));
    atomic_store(&stop, 0);
    const double begin = now(), used = processor_seconds();
    const uint64_t before = atomic_load(&allocations);
    for (int i = 0; i < n; i++) {
        s[i].batcher = batcher;
        s[i].window = window;
        s[i].again = again;
        if (pthread_create(&s[i].thread, NULL, submit_all, &s[i]) != 0) {
            exit(1);
        }
    }
    nanosleep(&(struct timespec){.tv_nsec = MILLISECONDS * 1000000L}, NULL);
    atomic_store(&stop, 1);
    uint64_t requests = 0;
    for (int i = 0; i < n; i++) {
        pthread_join(s[i].thread, NULL);
        requests += s[i].requests;
        status = status ? status : s[i].status;
    }
    const double took = now() - begin, cpu = processor_seconds() - used;
    const uint64_t asked = atomic_load(&allocations) - before;
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(batcher, &stats);
    leat_batcher_destroy(batcher);
    printf("%d submitters, %2d under way each: %9.0f requests/s, %5.2f us of processor a request, "
           "%4.1f rows a batch, %llu allocations",
           n, window, (double)requests / took, cpu / (double)requests * 1e6,
           (double)stats.rows / (double)(stats.batches + !stats.batches),
           (unsigned long long)asked);
    if (again >= 0) {
        printf("; %.1f %% answered by what is kept, %.1f %% by an equal one",
               100 * (double)stats.answer_hits / (double)stats.accepted,
               100 * (double)stats.answer_joins / (double)stats.accepted);
    }
    printf("\n");
    return status;
}

/* ---- one request at a time on an idle device --------------------------------------------------
 */

static leat_status slow_model(void *user, int32_t instance, const leat_array *inputs,
                              size_t n_inputs, leat_array *outputs, size_t n_outputs,
                              leat_error *err)
{
    const double end = now() + 100e-6;
    while (now() < end) {
    }
    return null_model(user, instance, inputs, n_inputs, outputs, n_outputs, err);
}

static void note_end(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                     const leat_error *error)
{
    (void)status;
    (void)outputs;
    (void)n_outputs;
    (void)error;
    atomic_store((_Atomic double *)user, now());
}

typedef enum way {
    DIRECTLY,
    RUN,
    SUBMITTED,
    CALLED_BACK,
    WAYS
} way;

/* Seconds of one request. */
static double ask(leat_batcher *batcher, way w, leat_status *status)
{
    static float row[WIDTH], result[WIDTH];
    static _Atomic double end;
    const leat_array x = {
        .dtype = LEAT_DTYPE_F32, .rank = 2, .shape = {1, WIDTH}, .data = row, .bytes = sizeof(row)};
    leat_array y = {.data = result, .bytes = sizeof(result)};
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = &x,
                                    .n_inputs = 1,
                                    .outputs = &y,
                                    .n_outputs = 1,
                                    .done = note_end,
                                    .done_user = &end};
    atomic_store(&end, 0);
    const double begin = now();
    if (w == DIRECTLY) {
        *status = slow_model(NULL, 0, &x, 1, &y, 1, NULL);
        return now() - begin;
    }
    *status = w == RUN ? leat_batcher_run(batcher, &desc, NULL)
                       : leat_batcher_submit(batcher, &desc, NULL, NULL);
    const double returned = now();
    while (w == CALLED_BACK && *status == LEAT_OK && atomic_load(&end) == 0) {
    }
    if (*status == LEAT_OK) {
        *status = leat_batcher_drain(batcher, 0, NULL);
    }
    return (w == RUN ? returned : atomic_load(&end)) - begin;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static leat_status measure_idle(leat_model *model, uint32_t poll_us, leat_error *err)
{
    enum {
        N = 400
    };
    static double seconds[WAYS][N];
    static float memory[32 * WIDTH];
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .run = slow_model, .run_user = memory, .poll_us = poll_us};
    leat_batcher *batcher;
    leat_status status = leat_batcher_create(model, &desc, &batcher, err);
    for (int i = 0; i < N && status == LEAT_OK; i++) {
        for (int w = 0; w < WAYS && status == LEAT_OK; w++) {
            nanosleep(&(struct timespec){.tv_nsec = 600000}, NULL);
            const double until = now() + 50e-6; /* awake, as a thread that had work is */
            while (now() < until) {
            }
            seconds[w][i] = ask(batcher, (way)w, &status);
        }
    }
    for (int w = 0; w < WAYS; w++) {
        qsort(seconds[w], N, sizeof(double), by_value);
    }
    leat_batcher_destroy(batcher);
    printf("idle device, polling %u us: directly %.1f us, leat_batcher_run %+.1f, submitted and "
           "waited "
           "for %+.1f, submitted alone %+.1f\n",
           poll_us, seconds[DIRECTLY][N / 2] * 1e6,
           (seconds[RUN][N / 2] - seconds[DIRECTLY][N / 2]) * 1e6,
           (seconds[SUBMITTED][N / 2] - seconds[DIRECTLY][N / 2]) * 1e6,
           (seconds[CALLED_BACK][N / 2] - seconds[DIRECTLY][N / 2]) * 1e6);
    return status;
}

int main(int argc, char **argv)
{
    static const int cases[][2] = {{1, 1}, {1, 64}, {2, 64}, {8, 1}, {8, 64}};
    leat_error err = {0};
    leat_context *context = NULL;
    leat_model *model = NULL;
    const leat_allocator allocator = {.alloc = count_alloc, .free = free_block};
    const leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = &allocator};
    leat_status status = leat_context_create(&desc, &context, &err);
    if (status == LEAT_OK) {
        status = leat_model_load(context, argc > 1 ? argv[1] : "build/models/mlp.onnx", NULL,
                                 &model, &err);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && status == LEAT_OK; i++) {
        status = measure(model, cases[i][0], cases[i][1], -1, &err);
    }
    static const int again[] = {0, 50, 90, 100};
    for (size_t i = 0; i < 8 && status == LEAT_OK; i++) {
        status = measure(model, i < 4 ? 1 : 8, i < 4 ? 1 : 64, again[i % 4], &err);
    }
    for (uint32_t poll_us = 0; poll_us <= 5000 && status == LEAT_OK; poll_us += 5000) {
        status = measure_idle(model, poll_us, &err);
    }
    if (status != LEAT_OK) {
        fprintf(stderr, "batcher: %s: %s\n", leat_status_text(status), err.message);
    }
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status != LEAT_OK;
}

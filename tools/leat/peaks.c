/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring the machine's peaks; see peaks.h. Every thread runs the same short loops at the same
 * time; a rate is the best of its repetitions, for a loop can be disturbed but never too fast. */
#include "leat/peaks.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARITHMETIC_NS 6000000u /* time given to each kind of arithmetic */
#define READ_NS 4000000u       /* and to each level of memory */
#define N_KINDS 3

const char *const level_names[N_LEVELS] = {"L1", "L2", "L3", "DRAM"};

typedef float four_floats __attribute__((vector_size(16)));

#define NAME peak_f32_portable
#define VECTOR four_floats
#define INIT ((four_floats){0.5f, 0.5f, 0.5f, 0.5f})
#define STEP(sum) sum = a * b + sum
#define OPERATIONS 2 * 4
#include "leat/peaks.inc"

uint64_t peak_read_portable(const void *data, size_t bytes)
{
    const uint64_t *p = data;
    uint64_t sum[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < bytes / sizeof(*p); i += 4) {
        sum[0] ^= p[i];
        sum[1] ^= p[i + 1];
        sum[2] ^= p[i + 2];
        sum[3] ^= p[i + 3];
    }
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
}

/* What all threads share. */
typedef struct plan {
    peak_arithmetic_fn kinds[N_KINDS]; /* f32, bf16, u8s8; NULL: none */
    peak_read_fn read;
    size_t buffer_bytes[N_LEVELS]; /* read by one thread */
    pthread_barrier_t start;
} plan;

typedef struct meter {
    plan *plan;
    pthread_t thread;
    unsigned char *buffer; /* of the largest level */
    double kinds[N_KINDS];
    double read_gbs[N_LEVELS];
    uint64_t sink;
} meter;

static void choose_kernels(plan *p, const char *features)
{
    p->kinds[0] = peak_f32_portable;
    p->read = peak_read_portable;
#if defined(__x86_64__)
    bool avx512 = strstr(features, "avx512") != NULL;
    if (avx512 || strstr(features, "avx2") != NULL) {
        p->kinds[0] = avx512 ? peak_f32_avx512 : peak_f32_avx2;
        p->kinds[2] = peak_u8s8_avx2;
        p->read = avx512 ? peak_read_avx512 : peak_read_avx2;
    }
    if (strstr(features, "avxvnni") != NULL) {
        p->kinds[2] = peak_u8s8_avxvnni;
    }
    if (strstr(features, "avx512bf16") != NULL) {
        p->kinds[1] = peak_bf16_avx512bf16;
    }
    if (strstr(features, "avx512vnni") != NULL) {
        p->kinds[2] = peak_u8s8_avx512vnni;
    }
#else
    (void)features;
#endif
}

static double best_arithmetic(peak_arithmetic_fn fn)
{
    double best = 0;
    uint64_t begin = lt_clock_ns(), start = begin, now;
    do {
        double operations = fn();
        now = lt_clock_ns();
        double rate = operations / (double)(now - start + 1);
        best = rate > best ? rate : best;
        start = now;
    } while (now - begin < ARITHMETIC_NS);
    return best;
}

/* The first pass brings the buffer into its level and does not count. */
static double best_read(meter *m, size_t bytes)
{
    size_t passes = bytes < (1u << 20) ? (1u << 20) / bytes : 1;
    double best = 0;
    m->sink += m->plan->read(m->buffer, bytes);
    uint64_t begin = lt_clock_ns(), start = begin, now;
    do {
        for (size_t i = 0; i < passes; i++) {
            m->sink += m->plan->read(m->buffer, bytes);
        }
        now = lt_clock_ns();
        double rate = (double)bytes * (double)passes / (double)(now - start + 1);
        best = rate > best ? rate : best;
        start = now;
    } while (now - begin < READ_NS);
    return best;
}

static void *run_meter(void *argument)
{
    meter *m = argument;
    memset(m->buffer, 1, m->plan->buffer_bytes[LEVEL_DRAM]); /* real pages, not the zero page */
    for (int k = 0; k < N_KINDS; k++) {
        pthread_barrier_wait(&m->plan->start);
        m->kinds[k] = m->plan->kinds[k] ? best_arithmetic(m->plan->kinds[k]) : 0;
    }
    for (int level = 0; level < N_LEVELS; level++) {
        pthread_barrier_wait(&m->plan->start);
        m->read_gbs[level] = best_read(m, m->plan->buffer_bytes[level]);
    }
    return NULL;
}

/* Of the cache of that level which the first core uses: the kernel knows how a cache is shared, the
 * C library may give the sum over a package. 0 when it does not say. */
static size_t cache_bytes(int level)
{
    for (int index = 0; index < 8; index++) {
        char path[96], type[32] = "";
        int found = 0;
        size_t kb = 0;
        static const char *const names[3] = {"level", "type", "size"};
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index,
                     names[k]);
            FILE *f = fopen(path, "r");
            if (f == NULL) {
                return 0;
            }
            int read = k == 0   ? fscanf(f, "%d", &found)
                       : k == 1 ? fscanf(f, "%31s", type)
                                : fscanf(f, "%zuK", &kb);
            fclose(f);
            if (read != 1) {
                return 0;
            }
        }
        if (found == level && strcmp(type, "Instruction") != 0) {
            return kb << 10;
        }
    }
    return 0;
}

static size_t or_else(size_t bytes, size_t otherwise)
{
    return bytes ? bytes : otherwise;
}

/* Half a cache, so that nothing else pushes it out (of a large last cache 4 MB: it may be shared
 * with other machines); from memory twice the last cache, at most 128 MB, shared by the threads. */
static void choose_sizes(plan *p, peaks *out)
{
    size_t *level = out->level_bytes;
    level[LEVEL_L1] = or_else(cache_bytes(1), 32u << 10);
    level[LEVEL_L2] = or_else(cache_bytes(2), 512u << 10);
    level[LEVEL_L3] = or_else(cache_bytes(3), 8u << 20);
    level[LEVEL_DRAM] = SIZE_MAX;
    size_t threads = (size_t)out->threads;
    size_t far = 2 * level[LEVEL_L3] < (128u << 20) ? 2 * level[LEVEL_L3] : 128u << 20;
    p->buffer_bytes[LEVEL_L1] = level[LEVEL_L1] / 2;
    p->buffer_bytes[LEVEL_L2] = level[LEVEL_L2] / 2;
    size_t last = level[LEVEL_L3] < (8u << 20) ? level[LEVEL_L3] / 2 : 4u << 20;
    last = last > 2 * level[LEVEL_L2] ? last : 2 * level[LEVEL_L2];
    p->buffer_bytes[LEVEL_L3] = last;
    p->buffer_bytes[LEVEL_DRAM] = far / threads;
    for (int i = 0; i < N_LEVELS; i++) {
        p->buffer_bytes[i] = (p->buffer_bytes[i] + 4095) / 4096 * 4096;
        if (p->buffer_bytes[LEVEL_DRAM] < p->buffer_bytes[i]) {
            p->buffer_bytes[LEVEL_DRAM] = p->buffer_bytes[i];
        }
    }
}

static void add_up(const meter *meters, peaks *out)
{
    for (int t = 0; t < out->threads; t++) {
        out->f32_gflops += meters[t].kinds[0];
        out->bf16_gflops += meters[t].kinds[1];
        out->u8s8_gops += meters[t].kinds[2];
        for (int level = 0; level < N_LEVELS; level++) {
            out->read_gbs[level] += meters[t].read_gbs[level];
        }
    }
}

/* Runs `threads` meters, the first on this thread. A thread that cannot be made ends it all: the
 * others would wait at the barrier. */
static bool run_meters(meter *meters, int threads)
{
    for (int t = 1; t < threads; t++) {
        if (pthread_create(&meters[t].thread, NULL, run_meter, &meters[t]) != 0) {
            for (int k = 1; k < t; k++) {
                pthread_cancel(meters[k].thread);
                pthread_join(meters[k].thread, NULL);
            }
            return false;
        }
    }
    run_meter(&meters[0]);
    for (int t = 1; t < threads; t++) {
        pthread_join(meters[t].thread, NULL);
    }
    return true;
}

bool peaks_measure(int threads, const char *features, peaks *out)
{
    memset(out, 0, sizeof(*out));
    out->threads = threads;
    plan p = {.read = NULL};
    choose_kernels(&p, features);
    choose_sizes(&p, out);
    size_t each = p.buffer_bytes[LEVEL_DRAM], bytes = each * (size_t)threads;
    meter *meters = calloc((size_t)threads, sizeof(*meters));
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (meters == NULL || map == MAP_FAILED) {
        free(meters);
        return false;
    }
    madvise(map, bytes, MADV_HUGEPAGE); /* quick to make; without it all still works */
    for (int t = 0; t < threads; t++) {
        meters[t].plan = &p;
        meters[t].buffer = (unsigned char *)map + (size_t)t * each;
    }
    pthread_barrier_init(&p.start, NULL, (unsigned)threads);
    bool done = run_meters(meters, threads);
    pthread_barrier_destroy(&p.start);
    if (done) {
        add_up(meters, out);
    }
    munmap(map, bytes);
    free(meters);
    return done;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fibres behind emulate.hpp: for tests, no part of the library. Between two waits a fibre runs
 * alone; when none can run, warps whose lanes all wait at one shuffle go on, then a block whose
 * threads all wait at one barrier; when nobody can, the waits differ and the launch is faulty. */
#include "emulate.hpp"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

#define MAX_THREADS 1024
#define STACK_BYTES (64u << 10)
#define CANARY 0x5aa5c33c0ff0aa55ull

namespace gpu
{

machine running;

enum wait {
    RUNS,
    AT_SHUFFLE,
    AT_BARRIER,
    RETURNED
};

#if defined(__x86_64__)
/* A context is a stack pointer: what a call must preserve lies on the stack. */
typedef void *context;

extern "C" void lt_gpu_switch(context *save, context load);
asm(".text\n"
    ".globl lt_gpu_switch\n"
    ".hidden lt_gpu_switch\n"
    ".type lt_gpu_switch, @function\n"
    "lt_gpu_switch:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size lt_gpu_switch, . - lt_gpu_switch\n");

static void context_switch(context *save, context *load)
{
    lt_gpu_switch(save, *load);
}

static void context_make(context *out, char *stack, void (*entry)())
{
    /* The stack is as after a call of entry: 8 below a multiple of 16, once `ret` has taken it. */
    void **top = reinterpret_cast<void **>(stack + STACK_BYTES);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void *>(entry);
    memset(&top[-8], 0, 6 * sizeof *top);
    *out = &top[-8];
}
#else
#include <ucontext.h>
typedef ucontext_t context;

static void context_switch(context *save, context *load)
{
    swapcontext(save, load);
}

static void context_make(context *out, char *stack, void (*entry)())
{
    getcontext(out);
    out->uc_stack.ss_sp = stack;
    out->uc_stack.ss_size = STACK_BYTES;
    out->uc_link = nullptr;
    makecontext(out, entry, 0);
}
#endif

struct fibre {
    context at;
    wait state;
    const char *file; /* where it waits */
    int line;
    uint32_t bits; /* given to, later got from a shuffle */
    unsigned lane; /* asked */
};

static struct {
    fibre fibres[MAX_THREADS];
    unsigned order[MAX_THREADS];
    char *stacks;
    context scheduler;
    void (*kernel)(const void *);
    const void *params;
    uint64_t random;
    char message[512];
} emu;

static void leave(wait state, const char *file, int line)
{
    fibre *f = &emu.fibres[running.thread];
    f->state = state;
    f->file = file;
    f->line = line;
    context_switch(&f->at, &emu.scheduler);
}

void wait_barrier(const char *file, int line)
{
    leave(AT_BARRIER, file, line);
}

uint32_t wait_shuffle(uint32_t bits, unsigned lane, const char *file, int line)
{
    if (lane >= running.launch.warp) {
        fault("%s:%d: thread %u asks lane %u of %u", file, line, running.thread, lane,
              running.launch.warp);
    }
    fibre *f = &emu.fibres[running.thread];
    f->bits = bits;
    f->lane = lane;
    leave(AT_SHUFFLE, file, line);
    return f->bits;
}

static void complain(const char *format, va_list args)
{
    int n = snprintf(emu.message, sizeof emu.message, "block %u %u %u: ", running.block[0],
                     running.block[1], running.block[2]);
    vsnprintf(emu.message + n, sizeof emu.message - (size_t)n, format, args);
}

void fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    leave(RETURNED, "", 0);
    __builtin_unreachable();
}

__attribute__((format(printf, 1, 2))) static void complain_here(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
}

__attribute__((no_sanitize("address"))) static void fibre_main()
{
    emu.kernel(emu.params);
    leave(RETURNED, "", 0);
}

static uint64_t next_random()
{
    uint64_t z = emu.random += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void shuffle_order()
{
    for (unsigned i = running.launch.threads - 1; i > 0; i--) {
        unsigned j = (unsigned)(next_random() % (i + 1));
        unsigned other = emu.order[j];
        emu.order[j] = emu.order[i];
        emu.order[i] = other;
    }
}

/* True when threads [begin, end) all wait in the same place. */
static bool all_wait(unsigned begin, unsigned end, wait state)
{
    const fibre *first = &emu.fibres[begin];
    for (unsigned i = begin; i < end; i++) {
        const fibre *f = &emu.fibres[i];
        if (f->state != state || f->line != first->line || strcmp(f->file, first->file) != 0) {
            return false;
        }
    }
    return true;
}

static bool release_shuffles()
{
    const unsigned warp = running.launch.warp;
    bool any = false;
    for (unsigned w = 0; w < running.launch.threads; w += warp) {
        if (!all_wait(w, w + warp, AT_SHUFFLE)) {
            continue;
        }
        uint32_t got[64];
        for (unsigned i = 0; i < warp; i++) {
            got[i] = emu.fibres[w + emu.fibres[w + i].lane].bits;
        }
        for (unsigned i = 0; i < warp; i++) {
            emu.fibres[w + i].bits = got[i];
            emu.fibres[w + i].state = RUNS;
        }
        any = true;
    }
    return any;
}

static bool release_barrier()
{
    if (!all_wait(0, running.launch.threads, AT_BARRIER)) {
        return false;
    }
    for (unsigned i = 0; i < running.launch.threads; i++) {
        emu.fibres[i].state = RUNS;
    }
    return true;
}

/* Two threads that wait for different things. */
static void complain_divergence()
{
    static const char *const doing[] = {"runs", "waits at a shuffle", "waits at a barrier",
                                        "has returned"};
    unsigned a = 0;
    while (emu.fibres[a].state == RETURNED) {
        a++;
    }
    const fibre *f = &emu.fibres[a];
    for (unsigned i = 0; i < running.launch.threads; i++) {
        const fibre *g = &emu.fibres[i];
        if (g->state != f->state || g->line != f->line || strcmp(f->file, g->file) != 0) {
            complain_here("thread %u %s (%s:%d), thread %u %s (%s:%d)", a, doing[f->state], f->file,
                          f->line, i, doing[g->state], g->file, g->line);
            return;
        }
    }
}

static void run_ready()
{
    for (unsigned k = 0; k < running.launch.threads && emu.message[0] == 0; k++) {
        unsigned i = emu.order[k];
        if (emu.fibres[i].state != RUNS) {
            continue;
        }
        running.thread = i;
        context_switch(&emu.scheduler, &emu.fibres[i].at);
        uint64_t canary;
        memcpy(&canary, emu.stacks + (size_t)i * STACK_BYTES, sizeof canary);
        if (canary != CANARY) {
            complain_here("thread %u needs more than %u bytes of stack", i, STACK_BYTES);
        }
    }
}

static void run_block()
{
    const unsigned threads = running.launch.threads;
    running.serial++;
    for (unsigned i = 0; i < threads; i++) {
        char *stack = emu.stacks + (size_t)i * STACK_BYTES;
        const uint64_t canary = CANARY;
        memcpy(stack, &canary, sizeof canary);
        context_make(&emu.fibres[i].at, stack, fibre_main);
        emu.fibres[i].state = RUNS;
        emu.order[i] = running.launch.seed == 1 ? threads - 1 - i : i;
    }
    while (emu.message[0] == 0) {
        if (running.launch.seed > 1) {
            shuffle_order();
        }
        run_ready();
        if (emu.message[0] != 0 || all_wait(0, threads, RETURNED)) {
            return;
        }
        if (!release_shuffles() && !release_barrier()) {
            complain_divergence();
        }
    }
}

const char *launch_bytes(void (*kernel)(const void *), const void *params,
                         const launch_options &options)
{
    running.launch = options;
    emu.kernel = kernel;
    emu.params = params;
    emu.random = options.seed;
    emu.message[0] = 0;
    if (options.threads == 0 || options.threads > MAX_THREADS ||
        (options.warp != 32 && options.warp != 64) || options.threads % options.warp != 0) {
        return "a block must be 1 to 1024 threads, whole warps of 32 or 64";
    }
    const size_t bytes = (size_t)MAX_THREADS * STACK_BYTES;
    if (emu.stacks == nullptr) {
        void *stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) {
            return "no memory for stacks";
        }
        emu.stacks = static_cast<char *>(stacks);
    }
    for (unsigned z = 0; z < options.grid[2]; z++) {
        for (unsigned y = 0; y < options.grid[1]; y++) {
            for (unsigned x = 0; x < options.grid[0]; x++) {
                running.block[0] = x;
                running.block[1] = y;
                running.block[2] = z;
                run_block();
                if (emu.message[0] != 0) {
                    /* The threads' frames are left as they are. */
                    ASAN_UNPOISON_MEMORY_REGION(emu.stacks, bytes);
                    return emu.message;
                }
            }
        }
    }
    return nullptr;
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 0) {
        float v = (float)mantissa * 0x1p-24f;
        return sign ? -v : v;
    }
    uint32_t u = exponent == 31 ? sign | 0x7f800000u | (mantissa << 13)
                                : sign | ((exponent + 112) << 23) | (mantissa << 13);
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint16_t f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) {
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) {
        /* Adding 2^-14 * 2^10 aligns the last bit of a subnormal with that of the sum. */
        float v;
        memcpy(&v, &magnitude, 4);
        v += 0.5f;
        memcpy(&magnitude, &v, 4);
        return (uint16_t)(sign | (magnitude - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

} // namespace gpu

/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.hpp's words for a plain C++ compiler, and how tests launch a kernel: one block at a time,
 * each thread a fibre that runs until it waits at a barrier or a shuffle. Reported as faults:
 * threads of a block that wait at different barriers or have returned, shuffles not reached by all
 * lanes of a warp or asking a lane that is not there, indices outside of a shared array, a stack
 * too small. Shared memory is NaN (all ones) when a block begins. */
#ifndef LT_GPU_EMULATE_HPP
#define LT_GPU_EMULATE_HPP

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GPU_FN inline
#define GPU_KERNEL(name, params) extern "C" void name(const params &p)
#define GPU_KERNEL_OF(name, params, threads, blocks) GPU_KERNEL(name, params)
#define GPU_UNROLL
#define GPU_SHARED(type, name, count) static gpu::shared_array<type, (count)> name

namespace gpu
{

struct launch_options {
    unsigned grid[3];
    unsigned threads; /* of a block: a multiple of warp */
    unsigned warp;    /* 32 or 64 */
    /* In which order the threads between two waits run. 0: by number; 1: the last first; others: at
     * random, the same for the same seed. A kernel without races gives the same bits with all. */
    uint64_t seed;
};

/* Who is running. Read only outside of emulate.cpp. */
struct machine {
    unsigned thread;
    unsigned block[3];
    uint64_t serial; /* number of the block since the program began */
    launch_options launch;
};
extern machine running;

/* Runs kernel(p) on a grid.
 * Returns:  NULL, or what was wrong, in a buffer that the next launch overwrites.
 * Threads:  one launch at a time. */
const char *launch_bytes(void (*kernel)(const void *params), const void *params,
                         const launch_options &options);

template <class P>
const char *launch(void (*kernel)(const P &), const P &params, const launch_options &options)
{
    return launch_bytes(reinterpret_cast<void (*)(const void *)>(reinterpret_cast<void *>(kernel)),
                        &params, options);
}

/* Ends the launch with a message; does not return. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

void wait_barrier(const char *file, int line);
uint32_t wait_shuffle(uint32_t bits, unsigned lane, const char *file, int line);

template <class T, int N> struct shared_array {
    alignas(16) T data[N];
    uint64_t serial; /* of the block that owns the contents */

    T *span(long i, long n)
    {
        if (serial != running.serial) {
            serial = running.serial;
            memset(static_cast<void *>(data), 0xff, sizeof data);
        }
        if (i < 0 || n < 0 || i > N - n) {
            fault("elements %ld to %ld of a shared array of %d", i, i + n - 1, N);
        }
        return data + i;
    }
    T &operator[](long i)
    {
        return *span(i, 1);
    }
};

inline int thread_x()
{
    return (int)running.thread;
}
inline int block_x()
{
    return (int)running.block[0];
}
inline int block_y()
{
    return (int)running.block[1];
}
inline int block_z()
{
    return (int)running.block[2];
}
inline int grid_x()
{
    return (int)running.launch.grid[0];
}
inline int warp_width()
{
    return (int)running.launch.warp;
}
inline void barrier(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    wait_barrier(file, line);
}
template <class T>
T shuffle(T v, int lane, const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
    uint32_t bits;
    memcpy(&bits, &v, 4);
    bits = wait_shuffle(bits, (unsigned)lane, file, line);
    memcpy(&v, &bits, 4);
    return v;
}
template <class T>
T shuffle_xor(T v, int mask, const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    return shuffle(v, (int)((running.thread % running.launch.warp) ^ (unsigned)mask), file, line);
}
inline void atomic_or(uint32_t *address, uint32_t bits)
{
    *address |= bits;
}

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
inline float bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
inline uint16_t f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)(f != f ? (u >> 16) | 0x40u : rounded);
}

template <class A, class B> int32_t dot4(uint32_t a, uint32_t b, int32_t c)
{
    for (int i = 0; i < 32; i += 8) {
        c += (int32_t)(A)(a >> i) * (int32_t)(B)(b >> i);
    }
    return c;
}

template <class T> uint32_t max2(uint32_t a, uint32_t b)
{
    const T low = (T)a > (T)b ? (T)a : (T)b;
    const T high = (T)(a >> 16) > (T)(b >> 16) ? (T)(a >> 16) : (T)(b >> 16);
    return (uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

#define LT_GPU_MATH(name, function)                                                                \
    inline float name(float x)                                                                     \
    {                                                                                              \
        return function(x);                                                                        \
    }
LT_GPU_MATH(f_exp, __builtin_expf)
LT_GPU_MATH(f_log, __builtin_logf)
LT_GPU_MATH(f_log1p, __builtin_log1pf)
LT_GPU_MATH(f_expm1, __builtin_expm1f)
LT_GPU_MATH(f_tanh, __builtin_tanhf)
LT_GPU_MATH(f_erf, __builtin_erff)
LT_GPU_MATH(f_sqrt, __builtin_sqrtf)
LT_GPU_MATH(f_floor, __builtin_floorf)
LT_GPU_MATH(f_ceil, __builtin_ceilf)
LT_GPU_MATH(f_rint, __builtin_rintf)
LT_GPU_MATH(f_sin, __builtin_sinf)
LT_GPU_MATH(f_cos, __builtin_cosf)
LT_GPU_MATH(f_abs, __builtin_fabsf)
#undef LT_GPU_MATH
inline float f_pow(float a, float b)
{
    return __builtin_powf(a, b);
}
inline float f_mod(float a, float b)
{
    return __builtin_fmodf(a, b);
}
inline float f_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

} // namespace gpu

#endif

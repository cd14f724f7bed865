/* SPDX-License-Identifier: Apache-2.0 */
/* The words in which the kernels of backends/gpu are written. The same text is compiled
 *
 *   by nvcc (gpu_cuda.hpp), by clang for AMD (gpu_hip.hpp), and by any C++17 compiler
 *   (emulate.hpp), where every thread of a block is a fibre: the form that tests run.
 *
 * Each gives, in namespace gpu:
 *
 *   GPU_FN                          mark of a device function
 *   GPU_KERNEL(name, params)        head of a kernel; its body sees the struct as `p`
 *   GPU_KERNEL_OF(name, params, threads, blocks)    for blocks of as many threads, that many at a
 *                                   time on a multiprocessor (tensor cores: mma.hpp)
 *   GPU_SHARED(type, name, count)   array of a block: name[i], name.span(i, n) -> pointer
 *   GPU_UNROLL                      before a loop of few, known steps: registers stay registers
 *   thread_x, block_x, block_y, block_z, grid_x     who am I
 *   barrier()                       every thread of the block, none has returned
 *   warp_width()                    32 or 64; blocks are whole warps
 *   shuffle_xor(v, mask), shuffle(v, lane)          every lane of the warp; 4-byte types
 *   atomic_or(address, bits)
 *   f16_to_f32, f32_to_f16, bf16_to_f32, f32_to_bf16, bits of halves
 *   dot4<A, B>(a, b, c)             c + sum of four products of bytes, A, B: int8_t or uint8_t
 *   max2<T>(a, b)                   the larger of each half of a word, T: int16_t or uint16_t
 *   f_exp, f_log, ...               f32 mathematics
 *
 * Text must not rely on lanes running in step: what one thread writes another sees after barrier()
 * only. */
#ifndef LT_GPU_GPU_HPP
#define LT_GPU_GPU_HPP

#include "params/common.h"

#if defined(__CUDACC__)
#include "gpu_cuda.hpp"
#elif defined(__HIP__)
#include "gpu_hip.hpp"
#else
#include "emulate.hpp"
#endif

namespace gpu
{

struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};

GPU_FN float to_f32(float v)
{
    return v;
}
GPU_FN float to_f32(f16 v)
{
    return f16_to_f32(v.bits);
}
GPU_FN float to_f32(bf16 v)
{
    return bf16_to_f32(v.bits);
}

template <class T> GPU_FN T from_f32(float v);
template <> GPU_FN float from_f32<float>(float v)
{
    return v;
}
template <> GPU_FN f16 from_f32<f16>(float v)
{
    return {f32_to_f16(v)};
}
template <> GPU_FN bf16 from_f32<bf16>(float v)
{
    return {f32_to_bf16(v)};
}

/* Bytes hold what is one already, the largest of some, or -infinity for the largest of none. */
template <> GPU_FN uint8_t from_f32<uint8_t>(float v)
{
    return (uint8_t)(int)(v > 0.0f ? v : 0.0f);
}
template <> GPU_FN int8_t from_f32<int8_t>(float v)
{
    return (int8_t)(int)(v > -128.0f ? v : -128.0f);
}

/* V elements that move in one access. */
template <class T, int V> struct alignas(sizeof(T) * V) pack {
    T v[V];
};

/* Elements of T in 16 bytes. */
template <class T> constexpr int per_16_bytes = 16 / (int)sizeof(T);

GPU_FN bool aligned_16(const void *p)
{
    return ((uintptr_t)p & 15u) == 0;
}

template <int V, class T> GPU_FN pack<T, V> load_pack(const T *p)
{
    return *(const pack<T, V> *)p;
}
template <int V, class T> GPU_FN void store_pack(T *p, const pack<T, V> &v)
{
    *(pack<T, V> *)p = v;
}

GPU_FN uint32_t divide(uint32_t n, const lt_gpu_divisor &d)
{
    return ((uint32_t)(((uint64_t)n * d.multiplier) >> 32) + n) >> d.shift;
}

/* Splits n: the remainder; n becomes the quotient. */
GPU_FN uint32_t split(uint32_t &n, const lt_gpu_divisor &d)
{
    uint32_t q = divide(n, d);
    uint32_t r = n - q * d.value;
    n = q;
    return r;
}

/* This thread's number in the grid, and how many there are. */
GPU_FN int64_t global_thread()
{
    return (int64_t)block_x() * LT_GPU_THREADS + thread_x();
}
GPU_FN int64_t grid_threads()
{
    return (int64_t)grid_x() * LT_GPU_THREADS;
}

GPU_FN float f_max(float a, float b)
{
    return a > b ? a : b;
}
GPU_FN float f_min(float a, float b)
{
    return a < b ? a : b;
}

/* Sum, largest or smallest over a warp or a block: what to do with two numbers and where to begin.
 */
struct add_op {
    static constexpr float start = 0.0f;
    GPU_FN static float apply(float a, float b)
    {
        return a + b;
    }
};
struct max_op {
    static constexpr float start = -__builtin_huge_valf();
    GPU_FN static float apply(float a, float b)
    {
        return a > b || a != a ? a : b;
    }
};
struct min_op {
    static constexpr float start = __builtin_huge_valf();
    GPU_FN static float apply(float a, float b)
    {
        return a < b || a != a ? a : b;
    }
};
struct mul_op {
    static constexpr float start = 1.0f;
    GPU_FN static float apply(float a, float b)
    {
        return a * b;
    }
};

template <class Op> GPU_FN float warp_reduce(float v)
{
    for (int mask = warp_width() / 2; mask > 0; mask /= 2) {
        v = Op::apply(v, shuffle_xor(v, mask));
    }
    return v;
}

/* Every thread of a block of LT_GPU_THREADS gets the result. */
template <class Op> GPU_FN float block_reduce(float v)
{
    GPU_SHARED(float, parts, LT_GPU_THREADS / 32);
    const int width = warp_width();
    v = warp_reduce<Op>(v);
    barrier(); /* those who still read the parts of the reduction before */
    if (thread_x() % width == 0) {
        parts[thread_x() / width] = v;
    }
    barrier();
    v = parts[0];
    for (int i = 1; i < LT_GPU_THREADS / width; i++) {
        v = Op::apply(v, parts[i]);
    }
    return v;
}

} // namespace gpu

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.hpp's words for nvcc. No header of the toolkit is needed. */
#ifndef LT_GPU_GPU_CUDA_HPP
#define LT_GPU_GPU_CUDA_HPP

#define GPU_FN __device__ __forceinline__
#define GPU_KERNEL(name, params) GPU_KERNEL_BOUND(name, params, (LT_GPU_THREADS))
#define GPU_KERNEL_OF(name, params, threads, blocks)                                               \
    GPU_KERNEL_BOUND(name, params, (threads, blocks))
#define GPU_KERNEL_BOUND(name, params, bounds)                                                     \
    static GPU_FN void name##_body(const params &p);                                               \
    extern "C" __global__ void __launch_bounds__ bounds name(const __grid_constant__ params p)     \
    {                                                                                              \
        gpu::let_successor_start();                                                                \
        name##_body(p);                                                                            \
    }                                                                                              \
    static GPU_FN void name##_body(const params &p)
#define GPU_UNROLL _Pragma("unroll")
#define GPU_SHARED(type, name, count) __shared__ gpu::shared_array<type, (count)> name

namespace gpu
{

/* Whole kilobytes begin on one: tiles that wgmma reads. */
template <class T, int N> struct shared_array {
    alignas(sizeof(T) * N % 1024 == 0 ? 1024 : 16) T data[N];
    __device__ __forceinline__ T &operator[](int i)
    {
        return data[i];
    }
    __device__ __forceinline__ T *span(int i, int)
    {
        return data + i;
    }
};

/* A kernel behind this one that asked for it (backends/cuda/gemm) may be placed now and fetch its
 * weights; it waits for this one's end itself. (These kernels do not ask: placed early they crowd
 * the multiprocessors that are idle, which cost BERT-large b1 more than launches do.) */
#if __CUDA_ARCH__ >= 900
GPU_FN void let_successor_start()
{
    asm volatile("griddepcontrol.launch_dependents;");
}
#else
GPU_FN void let_successor_start()
{
}
#endif

GPU_FN int thread_x()
{
    return (int)threadIdx.x;
}
GPU_FN int block_x()
{
    return (int)blockIdx.x;
}
GPU_FN int block_y()
{
    return (int)blockIdx.y;
}
GPU_FN int block_z()
{
    return (int)blockIdx.z;
}
GPU_FN int grid_x()
{
    return (int)gridDim.x;
}
GPU_FN constexpr int warp_width()
{
    return 32;
}
GPU_FN void barrier()
{
    __syncthreads();
}
template <class T> GPU_FN T shuffle_xor(T v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
template <class T> GPU_FN T shuffle(T v, int lane)
{
    return __shfl_sync(0xffffffffu, v, lane);
}
GPU_FN void atomic_or(uint32_t *address, uint32_t bits)
{
    atomicOr(address, bits);
}

GPU_FN float f16_to_f32(uint16_t h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
GPU_FN uint16_t f32_to_f16(float f)
{
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}
GPU_FN float bf16_to_f32(uint16_t h)
{
    return __uint_as_float((uint32_t)h << 16);
}
GPU_FN uint16_t f32_to_bf16(float f)
{
    uint16_t h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

template <class A, class B> GPU_FN int32_t dot4(uint32_t a, uint32_t b, int32_t c);
template <> GPU_FN int32_t dot4<int8_t, int8_t>(uint32_t a, uint32_t b, int32_t c)
{
    asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
    return c;
}
template <> GPU_FN int32_t dot4<uint8_t, int8_t>(uint32_t a, uint32_t b, int32_t c)
{
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
    return c;
}
template <> GPU_FN int32_t dot4<int8_t, uint8_t>(uint32_t a, uint32_t b, int32_t c)
{
    asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
    return c;
}
template <> GPU_FN int32_t dot4<uint8_t, uint8_t>(uint32_t a, uint32_t b, int32_t c)
{
    asm("dp4a.u32.u32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
    return c;
}

#if __CUDA_ARCH__ >= 900
template <class T> GPU_FN uint32_t max2(uint32_t a, uint32_t b);
template <> GPU_FN uint32_t max2<int16_t>(uint32_t a, uint32_t b)
{
    asm("max.s16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}
template <> GPU_FN uint32_t max2<uint16_t>(uint32_t a, uint32_t b)
{
    asm("max.u16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}
#else
template <class T> GPU_FN uint32_t max2(uint32_t a, uint32_t b)
{
    const T low = (T)a > (T)b ? (T)a : (T)b;
    const T high = (T)(a >> 16) > (T)(b >> 16) ? (T)(a >> 16) : (T)(b >> 16);
    return (uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16;
}
#endif

#define LT_GPU_MATH(name, function)                                                                \
    GPU_FN float name(float x)                                                                     \
    {                                                                                              \
        return function(x);                                                                        \
    }
LT_GPU_MATH(f_exp, expf)
LT_GPU_MATH(f_log, logf)
LT_GPU_MATH(f_log1p, log1pf)
LT_GPU_MATH(f_expm1, expm1f)
LT_GPU_MATH(f_tanh, tanhf)
LT_GPU_MATH(f_erf, erff)
LT_GPU_MATH(f_sqrt, sqrtf)
LT_GPU_MATH(f_floor, floorf)
LT_GPU_MATH(f_ceil, ceilf)
LT_GPU_MATH(f_rint, rintf)
LT_GPU_MATH(f_sin, sinf)
LT_GPU_MATH(f_cos, cosf)
LT_GPU_MATH(f_abs, fabsf)
#undef LT_GPU_MATH
GPU_FN float f_pow(float a, float b)
{
    return powf(a, b);
}
GPU_FN float f_mod(float a, float b)
{
    return fmodf(a, b);
}
GPU_FN float f_fma(float a, float b, float c)
{
    return fmaf(a, b, c);
}

} // namespace gpu

#endif

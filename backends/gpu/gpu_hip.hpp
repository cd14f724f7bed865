/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.hpp's words for clang's AMD target. No header of ROCm is needed. Compiled, not yet run. */
#ifndef LT_GPU_GPU_HIP_HPP
#define LT_GPU_GPU_HIP_HPP

#define GPU_FN __attribute__((device)) inline
#define GPU_KERNEL(name, params) GPU_KERNEL_OF(name, params, LT_GPU_THREADS, 1)
#define GPU_KERNEL_OF(name, params, threads, blocks) /* the compiler chooses how many blocks */    \
    extern "C" __attribute__((global, amdgpu_flat_work_group_size(1, threads))) void name(         \
        const params p)
#define GPU_UNROLL _Pragma("unroll")
#define GPU_SHARED(type, name, count)                                                              \
    static __attribute__((shared)) gpu::shared_array<type, (count)> name

namespace gpu
{

template <class T, int N> struct shared_array {
    alignas(16) T data[N];
    GPU_FN T &operator[](int i)
    {
        return data[i];
    }
    GPU_FN T *span(int i, int)
    {
        return data + i;
    }
};

GPU_FN int thread_x()
{
    return (int)__builtin_amdgcn_workitem_id_x();
}
GPU_FN int block_x()
{
    return (int)__builtin_amdgcn_workgroup_id_x();
}
GPU_FN int block_y()
{
    return (int)__builtin_amdgcn_workgroup_id_y();
}
GPU_FN int block_z()
{
    return (int)__builtin_amdgcn_workgroup_id_z();
}
GPU_FN int grid_x()
{
    return (int)(__builtin_amdgcn_grid_size_x() / __builtin_amdgcn_workgroup_size_x());
}
GPU_FN int warp_width()
{
    return __AMDGCN_WAVEFRONT_SIZE;
}
GPU_FN void barrier()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
template <class T> GPU_FN T shuffle(T v, int lane)
{
    static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
    int bits = __builtin_amdgcn_ds_bpermute(lane * 4, __builtin_bit_cast(int, v));
    return __builtin_bit_cast(T, bits);
}
template <class T> GPU_FN T shuffle_xor(T v, int mask)
{
    return shuffle(v, (thread_x() & (warp_width() - 1)) ^ mask);
}
GPU_FN void atomic_or(uint32_t *address, uint32_t bits)
{
    __atomic_fetch_or(address, bits, __ATOMIC_RELAXED);
}

GPU_FN float f16_to_f32(uint16_t h)
{
    return (float)__builtin_bit_cast(_Float16, h);
}
GPU_FN uint16_t f32_to_f16(float f)
{
    return __builtin_bit_cast(uint16_t, (_Float16)f);
}
GPU_FN float bf16_to_f32(uint16_t h)
{
    return __builtin_bit_cast(float, (uint32_t)h << 16);
}
GPU_FN uint16_t f32_to_bf16(float f)
{
    uint32_t u = __builtin_bit_cast(uint32_t, f);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)(f != f ? (u >> 16) | 0x40u : rounded);
}

/* Plain sums: the dot instructions belong to a few of AMD's chips, and clang finds them. */
template <class A, class B> GPU_FN int32_t dot4(uint32_t a, uint32_t b, int32_t c)
{
    for (int i = 0; i < 32; i += 8) {
        c += (int32_t)(A)(a >> i) * (int32_t)(B)(b >> i);
    }
    return c;
}

template <class T> GPU_FN uint32_t max2(uint32_t a, uint32_t b)
{
    const T low = (T)a > (T)b ? (T)a : (T)b;
    const T high = (T)(a >> 16) > (T)(b >> 16) ? (T)(a >> 16) : (T)(b >> 16);
    return (uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

#define LT_GPU_MATH(name, function)                                                                \
    GPU_FN float name(float x)                                                                     \
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
GPU_FN float f_pow(float a, float b)
{
    return __builtin_powf(a, b);
}
GPU_FN float f_mod(float a, float b)
{
    return __builtin_fmodf(a, b);
}
GPU_FN float f_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

} // namespace gpu

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* mma.hpp's words for nvcc; sm_80 and newer. */
#ifndef LT_GPU_MMA_CUDA_HPP
#define LT_GPU_MMA_CUDA_HPP

namespace gpu
{

template <class T> GPU_FN void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
#define LT_GPU_MMA(type, name)                                                                     \
    template <>                                                                                    \
    GPU_FN void mma<type>(float(&c)[4], const uint32_t(&a)[4], uint32_t b0, uint32_t b1)           \
    {                                                                                              \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, "       \
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                        \
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                       \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                       \
    }
LT_GPU_MMA(f16, "f16")
LT_GPU_MMA(bf16, "bf16")
#undef LT_GPU_MMA

GPU_FN uint32_t to_tf32(float x)
{
    uint32_t v;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(v) : "f"(x));
    return v;
}
GPU_FN void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

GPU_FN uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

template <int N> GPU_FN void load_matrices(uint32_t (&v)[4], shared_array<uint16_t, N> &s, int at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(shared_address(&s[at]))
                 : "memory");
}
template <int N> GPU_FN void load_transposed(uint32_t (&v)[4], shared_array<uint16_t, N> &s, int at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(shared_address(&s[at]))
                 : "memory");
}

template <int N>
GPU_FN void copy_8(shared_array<uint16_t, N> &s, int at, const void *source, bool take)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(&s[at])),
                 "l"(source), "r"(take ? 16 : 0)
                 : "memory");
}
GPU_FN void copies_wait()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

template <class T> GPU_FN uint32_t pair(float low, float high);
template <> GPU_FN uint32_t pair<f16>(float low, float high)
{
    uint32_t v;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
    return v;
}
template <> GPU_FN uint32_t pair<bf16>(float low, float high)
{
    uint32_t v;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
    return v;
}

GPU_FN float f_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

GPU_FN float f_larger(float a, float b)
{
    return fmaxf(a, b);
}

} // namespace gpu

#endif

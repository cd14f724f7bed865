/* SPDX-License-Identifier: Apache-2.0 */
/* mma.hpp's runs of products where four warps multiply together (wgmma, sm_90a): A and the sums in
 * registers, as mma<T> has them, B in shared memory. Rows of 64 halves, exchanged as mma.hpp says,
 * are the 128-byte swizzle; other rows go by products of a warp. PTX ISA 8, "wgmma". */
#ifndef LT_GPU_MMA_GROUP_HPP
#define LT_GPU_MMA_GROUP_HPP

namespace gpu
{

/* Rows that are the swizzle's. */
template <int D> GPU_FN constexpr bool is_swizzled()
{
    return D == 64;
}

/* Descriptor of rows of 128 bytes, swizzled, eight of them an atom of 1024 bytes. */
GPU_FN uint64_t group_descriptor(uint32_t address)
{
    return (uint64_t)((address & 0x3ffff) >> 4) | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

#define LT_GPU_FOUR(n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define LT_GPU_SIXTEEN(n) LT_GPU_FOUR(n), LT_GPU_FOUR(n + 1), LT_GPU_FOUR(n + 2), LT_GPU_FOUR(n + 3)
#define LT_GPU_NAMES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define LT_GPU_NAMES_32                                                                            \
    LT_GPU_NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"

/* c += A B of 64 x 8 COLUMNS x 16; B: 1 where its columns are neighbours, 0 where its rows are. */
template <class T, int B> struct group_product;
#define LT_GPU_GROUP_PRODUCT(type, name, b_columns)                                                \
    template <> struct group_product<type, b_columns> {                                            \
        static GPU_FN void run(float (&c)[4][4], const uint32_t (&a)[4], uint64_t b)               \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32." name "." name               \
                         " {" LT_GPU_NAMES_16 "}, {%16,%17,%18,%19}, %20, 1, 1, 1, " #b_columns    \
                         ";"                                                                       \
                         : LT_GPU_SIXTEEN(0)                                                       \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                    \
        }                                                                                          \
        static GPU_FN void run(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b)               \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name               \
                         " {" LT_GPU_NAMES_32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, " #b_columns    \
                         ";"                                                                       \
                         : LT_GPU_SIXTEEN(0), LT_GPU_SIXTEEN(4)                                    \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                    \
        }                                                                                          \
    };
LT_GPU_GROUP_PRODUCT(f16, "f16", 0)
LT_GPU_GROUP_PRODUCT(f16, "f16", 1)
LT_GPU_GROUP_PRODUCT(bf16, "bf16", 0)
LT_GPU_GROUP_PRODUCT(bf16, "bf16", 1)
#undef LT_GPU_GROUP_PRODUCT
#undef LT_GPU_NAMES_32
#undef LT_GPU_NAMES_16
#undef LT_GPU_SIXTEEN
#undef LT_GPU_FOUR

template <class T, int D, int N, class Tile>
GPU_FN void mma_rows(float (&c)[N][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    if constexpr (is_swizzled<D>()) {
        group_product<T, 0>::run(c, a, group_descriptor(shared_address(&s[at]) + k * 32));
    } else {
        warp_mma_rows<T, D>(c, a, s, at, k);
    }
}

template <class T, int D, class Tile>
GPU_FN void mma_columns(float (&c)[D / 8][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    if constexpr (is_swizzled<D>()) {
        group_product<T, 1>::run(c, a, group_descriptor(shared_address(&s[at]) + k * 2048));
    } else {
        warp_mma_columns<T, D>(c, a, s, at, k);
    }
}

GPU_FN void mma_visible()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Keeps the compiler's accesses to sums on their side of the products. */
template <int N> GPU_FN void group_hold(float (&c)[N][4])
{
    GPU_UNROLL
    for (int n = 0; n < N; n++) {
        asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
    }
}

template <int D, int N> GPU_FN void mma_begin(float (&c)[N][4])
{
    if constexpr (is_swizzled<D>()) {
        group_hold(c);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    }
}

template <int D, int N> GPU_FN void mma_end(float (&c)[N][4])
{
    if constexpr (is_swizzled<D>()) {
        asm volatile("wgmma.commit_group.sync.aligned;\n"
                     "wgmma.wait_group.sync.aligned 0;" ::
                         : "memory");
        group_hold(c);
    }
}

} // namespace gpu

#endif

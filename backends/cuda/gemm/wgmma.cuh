/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a warpgroup as functions of the type of their operands. PTX ISA 8, "wgmma". */
#ifndef LEAT_CUDA_GEMM_WGMMA_H
#define LEAT_CUDA_GEMM_WGMMA_H

#include "ptx.cuh"

namespace ptx
{

#define LT_SUMS_4(r, i) r(d[i]), r(d[i + 1]), r(d[i + 2]), r(d[i + 3])
#define LT_SUMS_16(r, i)                                                                           \
    LT_SUMS_4(r, i), LT_SUMS_4(r, i + 4), LT_SUMS_4(r, i + 8), LT_SUMS_4(r, i + 12)
#define LT_SUMS_32(r, i) LT_SUMS_16(r, i), LT_SUMS_16(r, i + 16)
#define LT_NAMES_0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define LT_NAMES_16 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define LT_NAMES_32                                                                                \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54," \
    "%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define LT_NAMES_64                                                                                \
    "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86," \
    "%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107," \
    "%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,"   \
    "%126,%127"

/* One product of 64 x N x 32 bytes of k. kind: what follows the shape; tail: what follows whether to
 * add to the sums; a, b, add: numbers of the operands behind the sums: descriptors of A and B,
 * whether to add. */
#define LT_PRODUCT(n, kind, names, a, b, add, tail, ...)                                           \
    asm volatile("{\n"                                                                             \
                 ".reg .pred add;\n"                                                               \
                 "setp.ne.b32 add, " add ", 0;\n"                                                  \
                 "wgmma.mma_async.sync.aligned.m64n" #n kind " {" names "}, " a ", " b             \
                 ", add" tail ";\n"                                                                \
                 "}\n"                                                                             \
                 : __VA_ARGS__                                                                     \
                 : "l"(a_descriptor), "l"(b_descriptor), "r"(accumulate), "n"(B_MN))

#define LT_PRODUCTS(r, kind, tail)                                                                 \
    if constexpr (N == 64) {                                                                       \
        LT_PRODUCT(64, kind, LT_NAMES_0 "," LT_NAMES_16, "%32", "%33", "%34", tail("%35"),         \
                   LT_SUMS_32(r, 0));                                                              \
    } else if constexpr (N == 128) {                                                               \
        LT_PRODUCT(128, kind, LT_NAMES_0 "," LT_NAMES_16 "," LT_NAMES_32, "%64", "%65", "%66",     \
                   tail("%67"), LT_SUMS_32(r, 0), LT_SUMS_32(r, 32));                              \
    } else {                                                                                       \
        LT_PRODUCT(256, kind, LT_NAMES_0 "," LT_NAMES_16 "," LT_NAMES_32 "," LT_NAMES_64, "%128",  \
                   "%129", "%130", tail("%131"), LT_SUMS_32(r, 0), LT_SUMS_32(r, 32),              \
                   LT_SUMS_32(r, 64), LT_SUMS_32(r, 96));                                          \
    }

/* Behind the sums: signs of A and B, whether A and B are MN-major, which TF32 cannot be. Bytes have
 * none of these. */
#define LT_TAIL_HALVES(b_mn) ", 1, 1, 0, " b_mn
#define LT_TAIL_TF32(b_mn) ", 1, 1"
#define LT_TAIL_BYTES(b_mn)
#define LT_REAL(x) "+f"(x)
#define LT_INTEGER(x) "+r"(x)

/* Sums of 64 x N, += or (accumulate 0) = A B. Thread t holds rows t / 4 % 8 + 16 (t / 32) and
 * eight further; of each 8 columns those at 2 (t % 4): sums[4 j + {0, 1}] in the upper row,
 * {2, 3} in the lower. T is the type of A; of bytes B is int8_t. */
template <class T, int N, int B_MN>
__device__ __forceinline__ void product(float (&d)[N / 2], uint64_t a_descriptor,
                                        uint64_t b_descriptor, uint32_t accumulate)
{
    static_assert(N == 64 || N == 128 || N == 256, "no such product");
    if constexpr (__is_same(T, float)) {
        static_assert(B_MN == 0, "TF32 lies along k");
        LT_PRODUCTS(LT_REAL, "k8.f32.tf32.tf32", LT_TAIL_TF32)
    } else if constexpr (__is_same(T, __half)) {
        LT_PRODUCTS(LT_REAL, "k16.f32.f16.f16", LT_TAIL_HALVES)
    } else {
        LT_PRODUCTS(LT_REAL, "k16.f32.bf16.bf16", LT_TAIL_HALVES)
    }
}

template <class T, int N, int B_MN>
__device__ __forceinline__ void product(int32_t (&d)[N / 2], uint64_t a_descriptor,
                                        uint64_t b_descriptor, uint32_t accumulate)
{
    static_assert(B_MN == 0, "bytes lie along k");
    if constexpr (__is_same(T, int8_t)) {
        LT_PRODUCTS(LT_INTEGER, "k32.s32.s8.s8", LT_TAIL_BYTES)
    } else {
        LT_PRODUCTS(LT_INTEGER, "k32.s32.u8.s8", LT_TAIL_BYTES)
    }
}

} // namespace ptx

#endif

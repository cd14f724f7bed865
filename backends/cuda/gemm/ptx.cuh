/* SPDX-License-Identifier: Apache-2.0 */
/* Hopper's instructions as functions: barriers in shared memory, bulk tensor copies, products of a
 * warpgroup. Addresses of shared memory are 32-bit. PTX ISA 8, sections "mbarrier",
 * "cp.async.bulk.tensor", "wgmma". */
#ifndef LEAT_CUDA_GEMM_PTX_H
#define LEAT_CUDA_GEMM_PTX_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

namespace ptx
{

__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* --- barriers ----------------------------------------------------------------------------------
 */

__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

/* Makes initialised barriers visible to the copy engine. */
__device__ __forceinline__ void barrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* Arrives and announces bytes that copies will bring. */
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra out;\n"
                 "bra again;\n"
                 "out:\n"
                 "}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

/* At the same barrier of a block of the cluster. */
__device__ __forceinline__ void barrier_arrive_at(uint32_t barrier, uint32_t block)
{
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(barrier),
                 "r"(block)
                 : "memory");
}

/* A barrier of `threads` threads of the block; id 1 to 15. */
__device__ __forceinline__ void group_sync(uint32_t id, uint32_t threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* At the same without waiting. */
__device__ __forceinline__ void group_arrive(uint32_t id, uint32_t threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* --- clusters ----------------------------------------------------------------------------------
 */

__device__ __forceinline__ uint32_t cluster_rank()
{
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* Address of the same place in another block's shared memory. */
__device__ __forceinline__ uint32_t cluster_address(uint32_t address, uint32_t block)
{
    uint32_t remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(block));
    return remote;
}

/* Four sums, into any block's shared memory. */
__device__ __forceinline__ void store_cluster(uint32_t address, const float *s)
{
    asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(s[0]),
                 "f"(s[1]), "f"(s[2]), "f"(s[3])
                 : "memory");
}

__device__ __forceinline__ void store_cluster(uint32_t address, const int32_t *s)
{
    asm volatile("st.shared::cluster.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(s[0]),
                 "r"(s[1]), "r"(s[2]), "r"(s[3])
                 : "memory");
}

/* Waits for the kernel before this one in the stream, and lets the next one be placed. */
__device__ __forceinline__ void wait_for_predecessor()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

__device__ __forceinline__ void let_successor_start()
{
    asm volatile("griddepcontrol.launch_dependents;");
}

/* --- blocks that wait for each other ------------------------------------------------------------
 */

/* Adds to a word of global memory, behind what this thread, and whom it has met, wrote before. */
__device__ __forceinline__ uint32_t add_release(uint64_t address, uint32_t x)
{
    uint32_t before;
    asm volatile("atom.add.release.gpu.global.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(address), "r"(x)
                 : "memory");
    return before;
}

__device__ __forceinline__ uint32_t load_acquire(uint64_t address)
{
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(address) : "memory");
    return v;
}

/* Two numbers that another block wrote. */
__device__ __forceinline__ float2 load_shared_pair(uint64_t address)
{
    float2 v;
    asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];"
                 : "=f"(v.x), "=f"(v.y)
                 : "l"(address)
                 : "memory");
    return v;
}

/* --- tensor copies -----------------------------------------------------------------------------
 */

__device__ __forceinline__ void prefetch_map(const void *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ __forceinline__ void copy_3d(uint32_t target, const void *map, uint32_t barrier,
                                        int32_t x, int32_t y, int32_t z)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(target),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
                 : "memory");
}

__device__ __forceinline__ void copy_4d(uint32_t target, const void *map, uint32_t barrier,
                                        int32_t x, int32_t y, int32_t z, int32_t w)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(target),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}

/* The same as copy_3d to that place of all blocks of the cluster whose bits are set, and to the barrier of
 * each. */
__device__ __forceinline__ void copy_3d_to(uint16_t blocks, uint32_t target, const void *map,
                                           uint32_t barrier, int32_t x, int32_t y, int32_t z)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(target),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"(blocks)
                 : "memory");
}

/* Consecutive base pixels from (w, h, image) on, at the filter's tap (tap_w, tap_h). */
__device__ __forceinline__ void copy_im2col(uint32_t target, const void *map, uint32_t barrier,
                                            int32_t c, int32_t w, int32_t h, int32_t image,
                                            uint16_t tap_w, uint16_t tap_h)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col"
                 ".mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(target),
                 "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(image), "h"(tap_w), "h"(tap_h)
                 : "memory");
}

/* From shared memory to a tensor in memory; what lies outside of it is not written. */
__device__ __forceinline__ void store_3d(const void *map, uint32_t source, int32_t x, int32_t y,
                                         int32_t z)
{
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group "
                 "[%0, {%2, %3, %4}], [%1];" ::"l"(map),
                 "r"(source), "r"(x), "r"(y), "r"(z)
                 : "memory");
}

__device__ __forceinline__ void store_4d(const void *map, uint32_t source, int32_t x, int32_t y,
                                         int32_t z, int32_t w)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group "
                 "[%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(source), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}

__device__ __forceinline__ void store_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* Until all but the last PENDING committed groups of this thread have read shared memory. */
template <int PENDING> __device__ __forceinline__ void store_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

/* Makes what this thread wrote to shared memory visible to the copy engine. */
__device__ __forceinline__ void copy_fence()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* --- products of a warpgroup -------------------------------------------------------------------
 */

/* Descriptor of an operand in shared memory with the 128-byte swizzle. Rows of 128 bytes, eight of
 * them (1024 bytes) an atom.
 * K-major (a row is 64 elements of k): atoms follow each other along m or n.
 * MN-major (a row is 64 elements of m or n): atoms follow each other along k; the next 64 elements
 * of m or n are `next_bytes` further. */
__device__ __forceinline__ uint64_t descriptor(uint32_t address, uint32_t next_bytes)
{
    const uint64_t atom_bytes = 1024;
    const uint64_t swizzle_128 = 1;
    return (uint64_t)((address & 0x3ffff) >> 4) | (uint64_t)(next_bytes >> 4) << 16 |
           (atom_bytes >> 4) << 32 | swizzle_128 << 62;
}

__device__ __forceinline__ void product_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void product_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING> __device__ __forceinline__ void product_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* Keeps the compiler from moving accesses to sums across products that are under way. */
template <int COUNT> __device__ __forceinline__ void product_hold(float (&sums)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+f"(sums[i])::"memory");
    }
}

template <int COUNT> __device__ __forceinline__ void product_hold(int32_t (&sums)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+r"(sums[i])::"memory");
    }
}

/* Four matrices of 8 x 8 elements to shared memory; lane l gives the address of row l % 8 of matrix
 * l / 8. */
__device__ __forceinline__ void store_matrices(uint32_t address, const uint32_t (&v)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
                 : "memory");
}

/* The reverse of store_matrices. */
__device__ __forceinline__ void load_matrices(uint32_t (&v)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void store_16(uint32_t address, uint4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
}

__device__ __forceinline__ uint4 load_16(uint32_t address)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

__device__ __forceinline__ void store_4(uint32_t address, uint32_t v)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(v) : "memory");
}

__device__ __forceinline__ uint32_t load_4(uint32_t address)
{
    uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return v;
}

__device__ __forceinline__ uint2 load_8(uint32_t address)
{
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(address)
                 : "memory");
    return v;
}

__device__ __forceinline__ void store_2(uint32_t address, uint32_t v)
{
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(address), "h"((uint16_t)v) : "memory");
}

__device__ __forceinline__ uint32_t load_2(uint32_t address)
{
    uint16_t v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(address) : "memory");
    return v;
}

template <int COUNT> __device__ __forceinline__ void registers_more()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT> __device__ __forceinline__ void registers_less()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

} // namespace ptx

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* D[m][n] = act(scale * sum over k of A[m][k] B[k][n] + bias[n] + residual[m][n]) on wgmma and TMA.
 *
 * Storage F16 or BF16, sums F32, results F16, BF16 or F32.
 * A block has a warpgroup that copies and two that compute. Its tile of ROWS x COLUMNS is cut by
 * rows (ROWS 128) or by columns (ROWS 64) between the two; each keeps its sums in registers. A
 * stage holds 64 elements of k: A as ROWS rows of 128 bytes, B as COLUMNS rows of 128 bytes (NK,
 * CONV) or as COLUMNS / 64 panels of 64 rows of k (KN), with the 128-byte swizzle in both.
 *
 *     producer:  wait empty[s]   announce bytes, copy A and B -> full[s]
 *     consumer:  wait full[s]    4 products of 16 elements of k; the stage before is given back
 *
 * splits > 1: a cluster shares one tile's steps of k. Sums meet in shared memory: block r adds and
 * finishes every splits-th group of 16 columns, always in the same order.
 * Otherwise blocks are persistent: block b takes tiles b, b + blocks, ...
 *
 * Tails: copies fill with zeros beyond m, n, k; stores are guarded.
 * Bounds: 2048 multiply-adds a cycle and multiprocessor (128 x 256: 85 FLOP a byte of L2 cache);
 * bench/ladder/gemm shows the rate. After the PTX ISA's chapters on wgmma and on tensor copies. */
#ifndef LEAT_CUDA_GEMM_MAINLOOP_H
#define LEAT_CUDA_GEMM_MAINLOOP_H

#include "epilogue.cuh"

namespace gemm
{

template <class T_, int SOURCE_, int ROWS_, int COLUMNS_, int STAGES_> struct config {
    using T = T_;
    static constexpr int SOURCE = SOURCE_;
    static constexpr uint32_t ROWS = ROWS_, COLUMNS = COLUMNS_;
    static constexpr uint32_t STAGES = STAGES_;
    static constexpr bool BY_ROWS = ROWS == 128;
    static constexpr uint32_t N = BY_ROWS ? COLUMNS : COLUMNS / 2; /* of a warpgroup */
    static constexpr uint32_t A_BYTES = ROWS * 128, B_BYTES = COLUMNS * 128;
    static constexpr uint32_t STAGE_BYTES = A_BYTES + B_BYTES;
};

/* Addresses in shared memory. */
struct shared_map {
    uint32_t stages, staging, full, empty;
};

template <class C> __device__ __forceinline__ shared_map map_shared()
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.stages = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.staging = s.stages + C::STAGES * C::STAGE_BYTES;
    s.full = s.staging + LT_GEMM_STAGING_BYTES;
    s.empty = s.full + C::STAGES * 8;
    return s;
}

/* A position in the ring of stages; parity flips with each turn. */
template <uint32_t STAGES> struct ring {
    uint32_t stage = 0, parity = 0;
    __device__ __forceinline__ void next()
    {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

struct tile {
    uint32_t row, column, batch;
};

/* The order of tiles: see lt_cuda_gemm_params. */
template <class C> __device__ __forceinline__ tile locate(const lt_cuda_gemm_params &p, uint32_t t)
{
    uint32_t product_tiles = p.tiles_m * p.tiles_n;
    uint32_t batch = t / product_tiles;
    uint32_t local = t - batch * product_tiles;
    uint32_t swath_tiles = p.swath * p.tiles_n;
    uint32_t first = local / swath_tiles * p.swath;
    uint32_t height = min(p.swath, p.tiles_m - first);
    local %= swath_tiles;
    return {(first + local % height) * C::ROWS, local / height * C::COLUMNS, batch};
}

/* Where a tile's A comes from in a convolution: base pixel, tap, channel. */
struct gather {
    int32_t image, h, w;
    uint32_t tap_h, tap_w, c;

    __device__ __forceinline__ gather(const lt_cuda_gemm_params &p, uint32_t row, uint32_t step)
    {
        uint32_t pixels = p.out_h * p.out_w;
        uint32_t i = row / pixels;
        uint32_t y = (row - i * pixels) / p.out_w;
        uint32_t x = row - i * pixels - y * p.out_w;
        image = (int32_t)i;
        h = (int32_t)(y * p.stride_h) + p.corner_h;
        w = (int32_t)(x * p.stride_w) + p.corner_w;
        uint32_t tap = step / p.c_steps;
        c = step - tap * p.c_steps;
        tap_h = tap / p.kw;
        tap_w = tap - tap_h * p.kw;
    }
    __device__ __forceinline__ void next(const lt_cuda_gemm_params &p)
    {
        if (++c == p.c_steps) {
            c = 0;
            if (++tap_w == p.kw) {
                tap_w = 0;
                tap_h++;
            }
        }
    }
};

template <class C>
__device__ __forceinline__ void copy_b(const lt_cuda_gemm_params &p, uint32_t target,
                                       uint32_t barrier, int32_t k, uint32_t column, int32_t z)
{
    if (C::SOURCE == LT_GEMM_KN) {
#pragma unroll
        for (uint32_t i = 0; i < C::COLUMNS; i += 64) {
            ptx::copy_3d(target + i * 128, &p.b, barrier, (int32_t)(column + i), k, z);
        }
    } else {
        ptx::copy_3d(target, &p.b, barrier, k, (int32_t)column, z);
    }
}

struct steps {
    uint32_t begin, end;
};

__device__ __forceinline__ steps share(const lt_cuda_gemm_params &p, uint32_t rank)
{
    if (p.splits == 1) {
        return {0, p.steps};
    }
    return {p.steps * rank / p.splits, p.steps * (rank + 1) / p.splits};
}

/* One thread: copies all stages of all tiles of the block. */
template <class C>
__device__ __forceinline__ void produce(const lt_cuda_gemm_params &p, const shared_map &s,
                                        uint32_t rank, uint32_t first, uint32_t stride)
{
    const uint32_t bytes = p.a_box_rows * 128 + C::B_BYTES;
    const steps k = share(p, rank);
    ring<C::STAGES> at;
    for (uint32_t t = first; t < p.n_tiles; t += stride) {
        const tile to = locate<C>(p, t);
        gather from(p, C::SOURCE == LT_GEMM_CONV ? to.row : 0, k.begin);
        for (uint32_t step = k.begin; step < k.end; step++) {
            uint32_t a = s.stages + at.stage * C::STAGE_BYTES;
            uint32_t full = s.full + at.stage * 8;
            ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
            ptx::barrier_expect(full, bytes);
            if (C::SOURCE == LT_GEMM_CONV) {
                int32_t c = (int32_t)(from.c * LT_GEMM_STEP);
                ptx::copy_im2col(a, &p.a, full, c, from.w, from.h, from.image,
                                 (uint16_t)(from.tap_w * p.dilation_w),
                                 (uint16_t)(from.tap_h * p.dilation_h));
                copy_b<C>(p, a + C::A_BYTES, full, c, to.column,
                          (int32_t)(from.tap_h * p.kw + from.tap_w));
                from.next(p);
            } else {
                int32_t c = (int32_t)(step * LT_GEMM_STEP);
                ptx::copy_3d(a, &p.a, full, c, (int32_t)to.row,
                             p.a_batched ? (int32_t)to.batch : 0);
                copy_b<C>(p, a + C::A_BYTES, full, c, to.column,
                          p.b_batched ? (int32_t)to.batch : 0);
            }
            at.next();
        }
    }
}

/* Each warp gives a stage back to the producer. */
__device__ __forceinline__ void release(const shared_map &s, uint32_t stage)
{
    if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(s.empty + stage * 8);
    }
}

/* Sums of one tile over steps; leaves the ring behind the last. */
template <class C>
__device__ __forceinline__ void accumulate(float (&sums)[C::N / 2], const shared_map &s,
                                           ring<C::STAGES> &at, uint32_t count, uint32_t group)
{
    constexpr bool KN = C::SOURCE == LT_GEMM_KN;
    const uint32_t a_offset = C::BY_ROWS ? group * 64 * 128 : 0;
    const uint32_t column = C::BY_ROWS ? 0 : group * C::N;
    const uint32_t b_offset =
        C::A_BYTES + (KN ? column / 64 * 8192 + column % 64 * 2 : column * 128);
    uint32_t previous = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t stage = s.stages + at.stage * C::STAGE_BYTES;
        ptx::barrier_wait(s.full + at.stage * 8, at.parity);
        ptx::product_hold(sums);
        ptx::product_fence();
#pragma unroll
        for (uint32_t k = 0; k < LT_GEMM_STEP / 16; k++) {
            uint64_t a = ptx::descriptor(stage + a_offset + k * 32, 16);
            uint64_t b = KN ? ptx::descriptor(stage + b_offset + k * 2048, 8192)
                            : ptx::descriptor(stage + b_offset + k * 32, 16);
            ptx::product<typename C::T, C::N, KN>(sums, a, b, i + k > 0);
        }
        ptx::product_commit();
        if (i > 0) {
            ptx::product_wait<1>();
            release(s, previous);
        }
        previous = at.stage;
        at.next();
    }
    ptx::product_wait<0>();
    ptx::product_hold(sums);
    release(s, previous);
}

/* Bytes from a cluster's tile of sums to the piece of 4 that thread t of a warpgroup holds. */
template <class C>
__device__ __forceinline__ uint32_t partial(uint32_t group, uint32_t columns16, uint32_t half)
{
    return (((group * (C::N / 16) + columns16) * 2 + half) * 128 + threadIdx.x % 128) * 16;
}

/* Sums of 16 columns over a cluster's blocks; all loads are under way before the first addition. */
template <class C>
__device__ __forceinline__ void add_partials(float (&total)[8], const shared_map &s,
                                             uint32_t splits, uint32_t group, uint32_t columns16)
{
    float4 v[LT_GEMM_MAX_SPLIT][2];
#pragma unroll
    for (uint32_t block = 0; block < LT_GEMM_MAX_SPLIT; block++) {
        if (block < splits) {
            uint32_t stages = ptx::cluster_address(s.stages, block);
            v[block][0] = ptx::load_cluster(stages + partial<C>(group, columns16, 0));
            v[block][1] = ptx::load_cluster(stages + partial<C>(group, columns16, 1));
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        total[i] = 0;
    }
#pragma unroll
    for (uint32_t block = 0; block < LT_GEMM_MAX_SPLIT; block++) {
        if (block < splits) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                total[4 * half] += v[block][half].x;
                total[4 * half + 1] += v[block][half].y;
                total[4 * half + 2] += v[block][half].z;
                total[4 * half + 3] += v[block][half].w;
            }
        }
    }
}

/* Adds the sums of a cluster's blocks and finishes this block's share. */
template <class C>
__device__ __forceinline__ void finish_split(const lt_cuda_gemm_params &p, float (&sums)[C::N / 2],
                                             const shared_map &s, place at, uint32_t group,
                                             uint32_t rank)
{
    ptx::group_sync(1, 256); /* the stages have been read */
#pragma unroll
    for (uint32_t i = 0; i < C::N / 8; i++) {
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(
                         s.stages + partial<C>(group, i / 2, i % 2)),
                     "f"(sums[4 * i]), "f"(sums[4 * i + 1]), "f"(sums[4 * i + 2]),
                     "f"(sums[4 * i + 3])
                     : "memory");
    }
    ptx::cluster_sync();
    const uint32_t column = at.column;
    for (uint32_t g = rank; g < C::N / 16; g += p.splits) {
        float total[8];
        add_partials<C>(total, s, p.splits, group, g);
        at.column = column + g * 16;
        finish(p, total, at);
    }
    ptx::cluster_sync(); /* others may still read this block's sums */
}

/* A warpgroup: computes all tiles of the block. */
template <class C>
__device__ __forceinline__ void consume(const lt_cuda_gemm_params &p, const shared_map &s,
                                        uint32_t rank, uint32_t first, uint32_t stride)
{
    constexpr int CHUNK = C::N < 64 ? C::N : 64;
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1; /* uniform, as seen */
    const uint32_t warp = threadIdx.x / 32 - 4;
    const steps k = share(p, rank);
    ring<C::STAGES> at;
    for (uint32_t t = first; t < p.n_tiles; t += stride) {
        const tile to = locate<C>(p, t);
        float sums[C::N / 2];
        accumulate<C>(sums, s, at, k.end - k.begin, group);
        place where;
        where.row = to.row + (C::BY_ROWS ? group * 64 : 0) + warp % 4 * 16;
        where.column = to.column + (C::BY_ROWS ? 0 : group * C::N);
        where.batch = to.batch;
        where.staging = s.staging + warp * 2048;
        if (p.splits > 1) {
            finish_split<C>(p, sums, s, where, group, rank);
            continue;
        }
        const uint32_t column = where.column;
#pragma unroll
        for (uint32_t c = 0; c < C::N; c += CHUNK) {
            where.column = column + c;
            finish(p, reinterpret_cast<float(&)[CHUNK / 2]>(sums[c / 2]), where);
        }
    }
}

template <class C> __device__ __forceinline__ void run(const lt_cuda_gemm_params &p)
{
    const shared_map s = map_shared<C>();
    const uint32_t rank = p.splits > 1 ? ptx::cluster_rank() : 0;
    const uint32_t first = blockIdx.x / p.splits, stride = gridDim.x / p.splits;
    if (threadIdx.x == 0) {
        ptx::prefetch_map(&p.a);
        ptx::prefetch_map(&p.b);
        for (uint32_t i = 0; i < C::STAGES; i++) {
            ptx::barrier_init(s.full + i * 8, 1);
            ptx::barrier_init(s.empty + i * 8, 8);
        }
        ptx::barrier_init_fence();
    }
    __syncthreads();
    ptx::let_successor_start();
    ptx::wait_for_predecessor();
    if (threadIdx.x < 128) {
        ptx::registers_less<40>();
        if (threadIdx.x == 0) {
            produce<C>(p, s, rank, first, stride);
        }
        __syncwarp();
        if (p.splits > 1) { /* those of finish_split */
            ptx::cluster_sync();
            ptx::cluster_sync();
        }
    } else {
        ptx::registers_more<232>();
        consume<C>(p, s, rank, first, stride);
    }
}

} // namespace gemm

/* All kernels of one type. */
#define LT_GEMM_KERNEL(type, name, source, source_name, rows, columns, stages)                     \
    extern "C" __global__ void __launch_bounds__(LT_GEMM_THREADS, 1)                               \
        lt_cuda_gemm_##name##_##source_name##_##rows##x##columns##x64_sm90(                        \
            const __grid_constant__ lt_cuda_gemm_params p)                                         \
    {                                                                                              \
        gemm::run<gemm::config<type, source, rows, columns, stages>>(p);                           \
    }

#endif

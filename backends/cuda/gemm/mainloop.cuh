/* SPDX-License-Identifier: Apache-2.0 */
/* D[m][n] = act(scale * sum over k of A[m][k] B[k][n] + bias[n] + residual[m][n]) on wgmma and TMA.
 *
 * Storage F16, BF16 or F32 (TF32), sums F32, results F16, BF16 or F32; or bytes, sums S32,
 * requantized.
 * A block has one or two warpgroups that compute, each 64 rows of its tile of ROWS x COLUMNS, whose
 * sums stay in registers, and a warp or warpgroup that copies. A stage holds 128 bytes of k: A as
 * ROWS rows of 128 bytes, B as COLUMNS rows of 128 bytes (NK, CONV) or as COLUMNS / 64 panels of 64
 * rows of k (KN), with the 128-byte swizzle in both.
 *
 *     producer:  wait empty[s]   announce bytes, copy A and B -> full[s]
 *     consumer:  wait full[s]    4 products of 32 bytes of k; the stage before is given back
 *
 * splits > 1: a cluster shares one tile's steps of k. Block r finishes every splits-th group of 16
 * columns: the others push their sums into its shared memory, and it adds them in their order.
 * Otherwise blocks are persistent: block b takes tiles b, b + blocks, ...
 * Tiles of 256 and 512 rows: warpgroup g computes rows 128 g and on of its block's 256 alone, and
 * the copies bring all of k for the first before they do for the second. So one finishes its rows
 * while the other multiplies. Of 512 rows a cluster's blocks copy half of B each, to both; a stage
 * is free when the warps of both have given it back.
 * A residual of the operands' type comes through the ring, too, in a stage or two behind a tile's
 * steps, so that nobody waits for memory at a tile's end.
 * A kernel that may start before the one ahead has ended waits for it before it reads A or the
 * residual or writes D; with b_early it fills its stages' B before.
 *
 * Tails: copies fill with zeros beyond m, n, k; stores are guarded.
 * Bounds: 2048 multiply-adds of halves a cycle and multiprocessor, 4096 of bytes (128 x 256: 85 FLOP a byte of L2 cache);
 * bench/ladder/gemm shows the rate. After the PTX ISA's chapters on wgmma and on tensor copies. */
#ifndef LEAT_CUDA_GEMM_MAINLOOP_H
#define LEAT_CUDA_GEMM_MAINLOOP_H

#include "norm_end.cuh"
#include "wgmma.cuh"

namespace gemm
{

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
    if (C::SHARERS > 1) {
        const uint32_t first = ptx::cluster_rank() * (C::COLUMNS / C::SHARERS);
        const int32_t c = (int32_t)(column + first);
        const bool kn = C::SOURCE == LT_GEMM_KN;
        ptx::copy_3d_to((1 << C::SHARERS) - 1, target + first * 128, &p.b, barrier, kn ? c : k,
                        kn ? k : c, z);
    } else if (C::SOURCE == LT_GEMM_KN) {
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

/* Fills the first stages' B, of the block's first tile, and announces their A. Returns how many. */
template <class C>
__device__ __forceinline__ uint32_t produce_early(const lt_cuda_gemm_params &p, const shared_map &s,
                                                  uint32_t bytes, steps k, const tile &to)
{
    const uint32_t count = min(k.end - k.begin, p.stages);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t step = k.begin + i, full = s.full + i * 8;
        int32_t c = (int32_t)(step * C::STEP), z = p.b_batched ? (int32_t)to.batch : 0;
        if (C::SOURCE == LT_GEMM_CONV) {
            z = (int32_t)(step / p.c_steps);
            c = (int32_t)(step % p.c_steps * C::STEP);
        }
        ptx::barrier_expect(full, bytes);
        copy_b<C>(p, s.stages + i * C::STAGE_BYTES + C::A_BYTES, full, c, to.column, z);
    }
    return count;
}

/* The first of a block's rows of a tile that come one stage after the other. */
template <class C>
__device__ __forceinline__ uint32_t turn_row(const tile &to, uint32_t turn)
{
    return to.row + (C::SHARERS > 1 ? ptx::cluster_rank() * 256 : 0) + turn * 128;
}

/* A tile's residual into the next stages: panels of 64 columns, as large as a stage's A. */
template <class C>
__device__ __forceinline__ void produce_residual(const lt_cuda_gemm_params &p, const shared_map &s,
                                                 ring &at, const tile &to)
{
    for (uint32_t panel = 0; panel < C::COLUMNS / 64;) {
        const uint32_t full = s.full + at.stage * 8;
        const uint32_t count = min(C::COLUMNS / 64 - panel, C::STAGE_PANELS);
        ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
        ptx::barrier_expect(full, count * C::A_BYTES);
        for (uint32_t i = 0; i < count; i++, panel++) {
            ptx::copy_3d(s.stages + at.stage * C::STAGE_BYTES + i * C::A_BYTES, &p.r, full,
                         (int32_t)(to.column + panel * 64), (int32_t)to.row, (int32_t)to.batch);
        }
        at.next(p.stages);
    }
}

/* One thread: copies all stages of all tiles of the block. */
template <class C>
__device__ __forceinline__ void produce(const lt_cuda_gemm_params &p, const shared_map &s,
                                        uint32_t rank, uint32_t first, uint32_t stride)
{
    const uint32_t bytes = p.a_box_rows * 128 + C::B_BYTES;
    const steps k = share(p, rank);
    ring at;
    uint32_t early = 0;
    if (p.b_early) {
        early = produce_early<C>(p, s, bytes, k, locate<C>(p, first));
    }
    ptx::wait_for_predecessor();
    uint32_t turn = 0;
    for (uint32_t t = first; t < p.n_tiles; t += turn == 0 ? stride : 0) {
        tile to = locate<C>(p, t);
        if (C::TURNS) {
            to.row = turn_row<C>(to, turn);
            turn ^= 1;
        }
        gather from(p, C::SOURCE == LT_GEMM_CONV ? to.row : 0, k.begin);
        for (uint32_t step = k.begin; step < k.end; step++) {
            uint32_t a = s.stages + at.stage * C::STAGE_BYTES;
            uint32_t full = s.full + at.stage * 8;
            const bool has_b = early > 0;
            if (has_b) {
                early--;
            } else {
                ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
                ptx::barrier_expect(full, bytes);
            }
            int32_t c = (int32_t)(step * C::STEP), z = p.b_batched ? (int32_t)to.batch : 0;
            if (C::SOURCE == LT_GEMM_CONV) {
                c = (int32_t)(from.c * C::STEP);
                z = (int32_t)(from.tap_h * p.kw + from.tap_w);
                ptx::copy_im2col(a, &p.a, full, c, from.w, from.h, from.image,
                                 (uint16_t)(from.tap_w * p.dilation_w),
                                 (uint16_t)(from.tap_h * p.dilation_h));
                from.next(p);
            } else {
                ptx::copy_3d(a, &p.a, full, c, (int32_t)to.row,
                             p.a_batched ? (int32_t)to.batch : 0);
            }
            if (!has_b) {
                copy_b<C>(p, a + C::A_BYTES, full, c, to.column, z);
            }
            at.next(p.stages);
        }
        if (!C::BYTES && p.residual_stages > 0) {
            produce_residual<C>(p, s, at, to);
        }
    }
}

/* Each warp gives a stage back to all that copy to it. */
template <class C> __device__ __forceinline__ void release(const shared_map &s, uint32_t stage)
{
    if (C::SHARERS > 1) {
        if (threadIdx.x % 32 < C::SHARERS) {
            ptx::barrier_arrive_at(s.empty + stage * 8, threadIdx.x % 32);
        }
    } else if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(s.empty + stage * 8);
    }
}

/* Warpgroups' turns to multiply: a stage's barrier tells one phase from the next alone, so that a
 * warpgroup may wait for its stages only when the other has had all of its own. Barriers of the
 * block behind the two of column_numbers. */
__device__ __forceinline__ void await_turn(uint32_t group)
{
    ptx::group_sync(3 + group, 256);
}

__device__ __forceinline__ void give_turn(uint32_t group)
{
    ptx::group_arrive(3 + group, 256);
}

/* Sums of one tile over steps; leaves the ring behind the last. */
template <class C>
__device__ __forceinline__ void accumulate(const lt_cuda_gemm_params &p,
                                           typename C::S (&sums)[C::SUMS],
                                           const shared_map &s, ring &at, uint32_t count,
                                           uint32_t group, bool gives_turn)
{
    constexpr bool KN = C::SOURCE == LT_GEMM_KN;
    constexpr uint32_t PART = C::COLUMNS / 2; /* sums */
    const uint32_t first = C::TURNS ? 0 : group * 64; /* of this warpgroup's rows in a stage */
    uint32_t previous = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t a_rows = s.stages + at.stage * C::STAGE_BYTES + first * 128;
        const uint32_t b_rows = s.stages + at.stage * C::STAGE_BYTES + C::A_BYTES;
        ptx::barrier_wait(s.full + at.stage * 8, at.parity);
        ptx::product_hold(sums);
        ptx::product_fence();
#pragma unroll
        for (uint32_t k = 0; k < LT_GEMM_STEP_BYTES / 32; k++) {
            uint64_t b = KN ? ptx::descriptor(b_rows + k * 2048, 8192)
                            : ptx::descriptor(b_rows + k * 32, 16);
#pragma unroll
            for (uint32_t part = 0; part < C::PARTS; part++) {
                uint64_t a = ptx::descriptor(a_rows + part * 64 * 128 + k * 32, 16);
                ptx::product<typename C::T, C::COLUMNS, KN>(
                    reinterpret_cast<typename C::S(&)[PART]>(sums[part * PART]), a, b, i + k > 0);
            }
        }
        ptx::product_commit();
        if (i > 0) {
            ptx::product_wait<1>();
            release<C>(s, previous);
        }
        previous = at.stage;
        at.next(p.stages);
    }
    if (C::TURNS && p.residual_stages > 0) { /* all that is this warpgroup's has come */
        ptx::barrier_wait(s.full + at.stage * 8, at.parity);
    }
    if (gives_turn) {
        give_turn(group ^ 1);
    }
    ptx::product_wait<0>();
    ptx::product_hold(sums);
    release<C>(s, previous);
}

/* Adds the residual that lies in the next stages; leaves the ring behind them. */
template <class C>
__device__ __forceinline__ void add_residual_stages(const lt_cuda_gemm_params &p,
                                                    float (&sums)[C::SUMS], const shared_map &s,
                                                    ring &at, uint32_t group)
{
    const uint32_t first = (C::TURNS ? 0 : group * 64) + threadIdx.x / 32 % 4 * 16;
    constexpr uint32_t type = __is_same(typename C::T, __half) ? LT_GEMM_F16 : LT_GEMM_BF16;
#pragma unroll
    for (uint32_t panel = 0; panel < C::COLUMNS / 64; panel++) {
        const uint32_t place = panel % C::STAGE_PANELS;
        const uint32_t rows = s.stages + at.stage * C::STAGE_BYTES + place * C::A_BYTES + first * 128;
        if (place == 0) {
            ptx::barrier_wait(s.full + at.stage * 8, at.parity);
        }
#pragma unroll
        for (uint32_t part = 0; part < C::PARTS; part++) {
#pragma unroll
            for (uint32_t g = 0; g < 4; g++) {
                const uint32_t sum = part * (C::COLUMNS / 2) + panel * 32 + g * 8;
                uint32_t w[4];
                ptx::load_matrices(w, staged_matrices(rows + part * 64 * 128, g));
#pragma unroll
                for (uint32_t i = 0; i < 4; i++) {
                    const float2 pair = unpack_pair(type, w[i]);
                    sums[sum + 2 * i] += pair.x;
                    sums[sum + 2 * i + 1] += pair.y;
                }
            }
        }
        if (place + 1 == C::STAGE_PANELS || panel + 1 == C::COLUMNS / 64) {
            /* It has been read, and copies may come behind that: without the fence 16 rows here and
             * there took the next stage's bytes. */
            ptx::product_hold(sums);
            ptx::copy_fence();
            release<C>(s, at.stage);
            at.next(p.stages);
        }
    }
}

/* A warpgroup: computes all tiles of the block. */
template <class C>
__device__ __forceinline__ void consume(const lt_cuda_gemm_params &p, const shared_map &s,
                                        uint32_t rank, uint32_t first, uint32_t stride)
{
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* uniform, as seen */
    const uint32_t warp = threadIdx.x / 32;
    const steps k = share(p, rank);
    ring at;
    if (C::TURNS && group == 1) {
        at.skip(p.steps + p.residual_stages, p.stages);
        give_turn(0);
    }
    ptx::wait_for_predecessor();
    for (uint32_t t = first; t < p.n_tiles; t += stride) {
        const tile to = locate<C>(p, t);
        typename C::S sums[C::SUMS];
        typename C::template rows<C::PASS> rows;
        column_numbers<C> numbers;
        place where;
        where.row = C::TURNS ? turn_row<C>(to, group) + warp % 4 * 16 : to.row + warp * 16;
        where.batch = to.batch;
        where.staging = s.staging + warp * 2048;
        where.column = to.column;
        where.array_bytes = C::number_place(C::COLUMNS) * 4;
        where.numbers = s.numbers + group * 3 * where.array_bytes;
        numbers.load(p, to.column);
        if ((C::BYTES || p.residual_wide) && p.splits == 1) {
            rows.load(p, where.row, where.column, where.batch);
        }
        bool gives_turn = false;
        if (C::TURNS) {
            await_turn(group);
            gives_turn = group == 0 || t + stride < p.n_tiles; /* the other has rows to come */
        }
        accumulate<C>(p, sums, s, at, k.end - k.begin, group, gives_turn);
        numbers.keep(where.numbers, group, C::BYTES || (C::NORMS && p.norms));
        if constexpr (!C::BYTES) {
            if (p.residual_stages > 0) {
                add_residual_stages<C>(p, sums, s, at, group);
            }
        }
        if constexpr (C::TURNS) {
            at.skip(p.steps + p.residual_stages, p.stages);
        } else if (p.splits > 1) {
            finish_split<C>(p, sums, s, where, rank);
            continue;
        }
        if constexpr (C::NORMS) {
            if (p.norms) {
                finish_norm<C>(p, sums, where, group);
                continue;
            }
        }
        if constexpr (sizeof(typename C::T) == 2) {
            if (p.by_engine) {
                if (p.finish == LT_GEMM_FINISH_GELU) {
                    finish_by_engine<C, true>(p, sums, where);
                } else {
                    finish_by_engine<C, false>(p, sums, where);
                }
                continue;
            }
        }
        finish_tile<C>(p, sums, rows, where);
    }
    if (threadIdx.x % 32 == 0) { /* shared memory stays until results have left it */
        ptx::store_wait_read<0>();
    }
}

template <class C> __device__ __forceinline__ void run(const lt_cuda_gemm_params &p)
{
    const shared_map s = map_shared<C>(p);
    const uint32_t rank = p.splits > 1 ? ptx::cluster_rank() : 0;
    const uint32_t cluster = C::SHARERS > 1 ? C::SHARERS : p.splits;
    const uint32_t first = blockIdx.x / cluster, stride = gridDim.x / cluster;
    if (threadIdx.x == C::COMPUTING) {
        ptx::prefetch_map(&p.a);
        ptx::prefetch_map(&p.b);
        for (uint32_t i = 0; i < p.stages; i++) {
            ptx::barrier_init(s.full + i * 8, 1);
            ptx::barrier_init(s.empty + i * 8, C::TURNS ? 4 * C::SHARERS : C::COMPUTING / 32);
        }
        ptx::barrier_init_fence();
    }
    if (C::SHARERS > 1) {
        ptx::cluster_sync(); /* the other's barriers are there, too */
    } else {
        __syncthreads();
    }
    ptx::let_successor_start();
    if (threadIdx.x < C::COMPUTING) {
        if (C::GROUPS > 1) {
            ptx::registers_more<232>();
        }
        consume<C>(p, s, rank, first, stride);
    } else {
        if (C::GROUPS > 1) {
            ptx::registers_less<40>();
        }
        if (threadIdx.x == C::COMPUTING) {
            produce<C>(p, s, rank, first, stride);
        }
        __syncwarp();
        if (p.splits > 1) { /* those of finish_split */
            ptx::cluster_sync();
            ptx::cluster_sync();
        }
    }
    if (C::SHARERS > 1) {
        ptx::cluster_sync(); /* nobody still copies or arrives here */
    }
}

} // namespace gemm

/* All kernels of one type and source; step: elements of k. */
#define LT_GEMM_KERNEL(type, name, source, source_name, step, rows, columns, stages)               \
    extern "C" __global__ void                                                                     \
        __launch_bounds__(LT_GEMM_THREADS(rows), gemm::config<type, source, rows, columns,         \
                                                              stages>::BLOCKS)                     \
            lt_cuda_gemm_##name##_##source_name##_##rows##x##columns##x##step##_sm90(              \
                const __grid_constant__ lt_cuda_gemm_params p)                                     \
    {                                                                                              \
        gemm::run<gemm::config<type, source, rows, columns, stages>>(p);                           \
    }

#endif

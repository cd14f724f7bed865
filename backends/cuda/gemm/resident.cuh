/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of bytes with few steps of k, whose weights stay in shared memory.
 *
 * Formula, storage and epilogue as in mainloop.cuh and requantize.cuh. A block's tiles of 128 x 64
 * all lie in the same 64 columns: B of all steps is fetched once, before the kernel ahead in the
 * stream has ended, stages hold A alone, and the columns' numbers are kept once. Two warpgroups
 * compute 64 rows each, a thread copies, and two blocks share a multiprocessor: one computes while
 * the other finishes a tile. A tile's residual is on its way while the tile before is finished.
 *
 *     block b:    columns 64 (b % tiles_n), rows 128 (b / tiles_n), 128 (b / tiles_n + blocks), ...
 *     STEP:       bytes of k a step: 64 where a pixel has no more (rows of 64 bytes with the
 * 64-byte swizzle), else 128
 *
 * Results are bytes, residuals too, and activations a clamp: with less code, it stays in the
 * instruction cache.
 *
 * Tails: copies fill with zeros beyond m and k; stores are guarded.
 * Bounds: bytes of memory; for several columns of tiles those of the L2 cache, from which A comes
 * for each of them. */
#ifndef LEAT_CUDA_GEMM_RESIDENT_H
#define LEAT_CUDA_GEMM_RESIDENT_H

#include "mainloop.cuh"

namespace resident
{

template <class T_, uint32_t STEP_>
struct config : gemm::config<T_, LT_GEMM_NK, LT_RESIDENT_ROWS, LT_RESIDENT_COLUMNS, 1> {
    static constexpr uint32_t STEP = STEP_;
    static constexpr uint32_t A_BYTES = LT_RESIDENT_ROWS * STEP;
    static constexpr uint32_t B_BYTES = LT_RESIDENT_COLUMNS * STEP;
};

/* Addresses in shared memory. */
struct shared_map {
    uint32_t stages, weights, numbers;
    uint32_t full, empty, loaded; /* barriers */
};

template <class C> __device__ __forceinline__ shared_map map_shared(const lt_cuda_gemm_params &p)
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.stages = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.weights = s.stages + p.stages * C::A_BYTES;
    s.numbers = s.weights + p.steps * C::B_BYTES;
    s.full = s.numbers + LT_GEMM_COLUMN_BYTES(LT_RESIDENT_ROWS, LT_RESIDENT_COLUMNS);
    s.empty = s.full + LT_RESIDENT_MAX_STAGES * 8;
    s.loaded = s.empty + LT_RESIDENT_MAX_STAGES * 8;
    return s;
}

/* A block's place: its columns, its first row, and from one of its tiles to the next. */
struct walk {
    uint32_t column, row, stride;

    __device__ __forceinline__ explicit walk(const lt_cuda_gemm_params &p)
        : column(blockIdx.x % p.tiles_n * LT_RESIDENT_COLUMNS),
          row(blockIdx.x / p.tiles_n * LT_RESIDENT_ROWS),
          stride(gridDim.x / p.tiles_n * LT_RESIDENT_ROWS)
    {
    }
};

/* Rows of STEP bytes, eight of them an atom, which follow each other. */
template <class C> __device__ __forceinline__ uint64_t descriptor(uint32_t address)
{
    const uint64_t atom_bytes = 8 * C::STEP, swizzle = C::STEP == 64 ? 2 : 1;
    return (uint64_t)((address & 0x3ffff) >> 4) | (uint64_t)1 << 16 | (atom_bytes >> 4) << 32 |
           swizzle << 62;
}

/* One thread: B of all steps. */
template <class C>
__device__ __forceinline__ void load_weights(const lt_cuda_gemm_params &p, const shared_map &s,
                                             uint32_t column)
{
    gemm::gather at(p, 0, 0);
    ptx::barrier_expect(s.loaded, p.steps * C::B_BYTES);
    for (uint32_t step = 0; step < p.steps; step++) {
        const uint32_t to = s.weights + step * C::B_BYTES;
        const uint32_t tap = at.tap_h * p.kw + at.tap_w;
        ptx::copy_3d(to, &p.b, s.loaded, (int32_t)(at.c * C::STEP), (int32_t)column, (int32_t)tap);
        at.next(p);
    }
}

/* One thread: A of all steps of all tiles. */
template <class C>
__device__ __forceinline__ void produce(const lt_cuda_gemm_params &p, const shared_map &s,
                                        const walk &w)
{
    gemm::ring at;
    load_weights<C>(p, s, w.column);
    ptx::wait_for_predecessor();
    for (uint32_t row = w.row; row < p.m; row += w.stride) {
        gemm::gather from(p, row, 0);
        for (uint32_t step = 0; step < p.steps; step++) {
            const uint32_t to = s.stages + at.stage * C::A_BYTES, full = s.full + at.stage * 8;
            ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
            ptx::barrier_expect(full, C::A_BYTES);
            if (p.gathers) {
                ptx::copy_im2col(to, &p.a, full, (int32_t)(from.c * C::STEP), from.w, from.h,
                                 from.image, (uint16_t)(from.tap_w * p.dilation_w),
                                 (uint16_t)(from.tap_h * p.dilation_h));
            } else {
                ptx::copy_3d(to, &p.a, full, (int32_t)(step * C::STEP), (int32_t)row, 0);
            }
            from.next(p);
            at.next(p.stages);
        }
    }
}

/* Sums of one tile; leaves the ring behind the last step. */
template <class C>
__device__ __forceinline__ void accumulate(const lt_cuda_gemm_params &p,
                                           int32_t (&sums)[C::COLUMNS / 2], const shared_map &s,
                                           gemm::ring &at, uint32_t group)
{
    uint32_t previous = 0;
    for (uint32_t i = 0; i < p.steps; i++) {
        const uint32_t a_rows = s.stages + at.stage * C::A_BYTES + group * 64 * C::STEP;
        const uint32_t b_rows = s.weights + i * C::B_BYTES;
        ptx::barrier_wait(s.full + at.stage * 8, at.parity);
        ptx::product_hold(sums);
        ptx::product_fence();
#pragma unroll
        for (uint32_t k = 0; k < C::STEP / 32; k++) {
            ptx::product<typename C::T, C::COLUMNS, 0>(sums, descriptor<C>(a_rows + k * 32),
                                                       descriptor<C>(b_rows + k * 32), i + k > 0);
        }
        ptx::product_commit();
        if (i > 0) {
            ptx::product_wait<1>();
            if (threadIdx.x % 32 == 0) {
                ptx::barrier_arrive(s.empty + previous * 8);
            }
        }
        previous = at.stage;
        at.next(p.stages);
    }
    ptx::product_wait<0>();
    ptx::product_hold(sums);
    if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(s.empty + previous * 8);
    }
}

/* A warpgroup: its rows of all tiles of the block. */
template <class C>
__device__ __forceinline__ void consume(const lt_cuda_gemm_params &p, const shared_map &s,
                                        const walk &w)
{
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* uniform, as seen */
    const uint32_t own = threadIdx.x / 32 * 16;
    gemm::ring at;
    gemm::column_numbers<C> numbers;
    gemm::byte_rows<C::COLUMNS / 2> rows;
    gemm::place where;
    where.column = w.column;
    where.batch = 0;
    where.array_bytes = C::number_place(C::COLUMNS) * 4;
    where.numbers = s.numbers + group * 3 * where.array_bytes;
    ptx::wait_for_predecessor();
    numbers.load(p, w.column);
    numbers.keep(where.numbers, group);
    rows.load(p, w.row + own, w.column, 0);
    ptx::barrier_wait(s.loaded, 0);
    for (uint32_t row = w.row; row < p.m; row += w.stride) {
        int32_t sums[C::COLUMNS / 2];
        gemm::byte_rows<C::COLUMNS / 2> next;
        next.load(p, row + w.stride + own, w.column, 0);
        accumulate<C>(p, sums, s, at, group);
        where.row = row + own;
        gemm::finish_bytes<true>(p, sums, rows, where);
        rows = next;
    }
}

template <class C> __device__ __forceinline__ void run(const lt_cuda_gemm_params &p)
{
    const shared_map s = map_shared<C>(p);
    const walk w(p);
    if (threadIdx.x == C::COMPUTING) {
        ptx::prefetch_map(&p.a);
        ptx::prefetch_map(&p.b);
        for (uint32_t i = 0; i < p.stages; i++) {
            ptx::barrier_init(s.full + i * 8, 1);
            ptx::barrier_init(s.empty + i * 8, C::COMPUTING / 32);
        }
        ptx::barrier_init(s.loaded, 1);
        ptx::barrier_init_fence();
    }
    __syncthreads();
    ptx::let_successor_start();
    if (threadIdx.x < C::COMPUTING) {
        ptx::registers_more<104>();
        consume<C>(p, s, w);
    } else {
        ptx::registers_less<24>();
        if (threadIdx.x == C::COMPUTING) {
            produce<C>(p, s, w);
        }
    }
}

} // namespace resident

#define LT_RESIDENT_KERNEL(type, name, step)                                                       \
    extern "C" __global__ void __launch_bounds__(LT_RESIDENT_THREADS, 2)                           \
        lt_cuda_gemm_##name##_resident_128x64x##step##_sm90(                                       \
            const __grid_constant__ lt_cuda_gemm_params p)                                         \
    {                                                                                              \
        resident::run<resident::config<type, step>>(p);                                            \
    }

#endif

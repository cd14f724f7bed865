/* SPDX-License-Identifier: Apache-2.0 */
/* D[m][n] = act(scale * (sum over k of A[m][k] B[n][k] + sum over k of A2[m][k] B2[n][k]) + bias[n] +
 * bias2[n] + residual[m][n]) with results and residuals through the copy engine; A gathered from
 * pixels (mainloop.cuh), A2 pixels by strides, everything F16 or BF16 (biases F32, too), sums F32.
 *
 * A tile of 128 x COLUMNS; each of two warpgroups computes 64 rows. Results lie in one of a few
 * slots of shared memory, [warpgroup][64 columns][64 rows][128 bytes] with the 128-byte swizzle, and
 * leave by the copy engine; a residual comes into the very slot before:
 *
 *     warp 0:     A and B of a step -> full[stage]      (mainloop.cuh)
 *     warp 1:     wait free[slot], residual of a tile -> there[slot]
 *     consumer:   sums; wait there[slot]; add, activate in place; store the slot;
 *                 when the slot before has been read: free[it]
 *
 * so that residuals are on their way up to two tiles ahead and stores end two tiles behind. BLOCKS
 * of them share a multiprocessor: one computes while the other finishes a tile.
 *
 * Resident weights: where a block's tiles all lie in the same columns and B of all steps fits, it is
 * fetched once and stages hold A alone. That is half of what small layers read from the L2 cache.
 *
 * The weights of the first steps are fetched before the kernel ahead in the stream has ended; what
 * it may have written is read, and what it may read is written, only behind that.
 *
 * Tails: copies fill with zeros and do not write beyond m and n.
 * Bounds: bytes of memory, or of the L2 cache; bench/ladder/conv shows the rate. (Tiles of 256 x 128
 * were tried: no layer of ResNet-50 was faster.) */
#ifndef LEAT_CUDA_GEMM_STREAM_CUH
#define LEAT_CUDA_GEMM_STREAM_CUH

#include "mainloop.cuh"
#include "stream_params.h"

namespace stream
{

template <class T_, uint32_t COLUMNS_> struct config {
    using T = T_;
    static constexpr uint32_t COLUMNS = COLUMNS_, ROWS = LT_STREAM_ROWS;
    static constexpr uint32_t A_BYTES = ROWS * 128, B_BYTES = COLUMNS * 128;
    static constexpr uint32_t PANELS = COLUMNS / 64;
    static constexpr uint32_t PANEL_BYTES = 64 * 128; /* 64 rows of 64 columns */
    static constexpr uint32_t GROUP_BYTES = PANELS * PANEL_BYTES;
    static constexpr uint32_t SLOT_BYTES = 2 * GROUP_BYTES;
    static constexpr uint32_t SUMS = COLUMNS / 2; /* a thread's */
};

/* Addresses in shared memory. */
struct shared_map {
    uint32_t stages, stage_bytes, weights, slots, bias;
    uint32_t full, empty, there, free, loaded; /* barriers */
};

__device__ __forceinline__ uint32_t total_steps(const lt_cuda_stream_params &p)
{
    return p.gemm.steps + p.second.steps;
}

template <class C> __device__ __forceinline__ shared_map map_shared(const lt_cuda_stream_params &p)
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.stages = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.stage_bytes = C::A_BYTES + (p.resident ? 0 : C::B_BYTES);
    s.weights = s.stages + p.gemm.stages * s.stage_bytes;
    s.slots = s.weights + (p.resident ? total_steps(p) * C::B_BYTES : 0);
    s.bias = s.slots + p.slots * C::SLOT_BYTES;
    s.full = s.bias + 2 * C::COLUMNS * 4;
    s.empty = s.full + LT_STREAM_MAX_STAGES * 8;
    s.there = s.empty + LT_STREAM_MAX_STAGES * 8;
    s.free = s.there + LT_STREAM_MAX_SLOTS * 8;
    s.loaded = s.free + LT_STREAM_MAX_SLOTS * 8;
    return s;
}

/* Where a step's operands come from: a tap and channels of A, or behind those channels of A2. */
struct source {
    gemm::gather first;
    int32_t h2, w2;
    uint32_t step = 0;

    __device__ __forceinline__ source(const lt_cuda_stream_params &p, uint32_t row)
        : first(p.gemm, row, 0), h2(0), w2(0)
    {
        if (p.second.steps > 0) {
            h2 = (first.h - p.gemm.corner_h) / (int32_t)p.gemm.stride_h * p.second.stride_h;
            w2 = (first.w - p.gemm.corner_w) / (int32_t)p.gemm.stride_w * p.second.stride_w;
        }
    }
    __device__ __forceinline__ void next(const lt_cuda_gemm_params &p)
    {
        if (step++ < p.steps) {
            first.next(p);
        }
    }
    __device__ __forceinline__ void copy_a(const lt_cuda_stream_params &p, uint32_t target,
                                           uint32_t barrier) const
    {
        if (step < p.gemm.steps) {
            ptx::copy_im2col(target, &p.gemm.a, barrier, (int32_t)(first.c * 64), first.w, first.h,
                             first.image, (uint16_t)(first.tap_w * p.gemm.dilation_w),
                             (uint16_t)(first.tap_h * p.gemm.dilation_h));
        } else {
            ptx::copy_im2col(target, &p.second.a, barrier, (int32_t)(step - p.gemm.steps) * 64, w2,
                             h2, first.image, 0, 0);
        }
    }
    __device__ __forceinline__ void copy_b(const lt_cuda_stream_params &p, uint32_t target,
                                           uint32_t barrier, uint32_t column) const
    {
        if (step < p.gemm.steps) {
            ptx::copy_3d(target, &p.gemm.b, barrier, (int32_t)(first.c * 64), (int32_t)column,
                         (int32_t)(first.tap_h * p.gemm.kw + first.tap_w));
        } else {
            ptx::copy_3d(target, &p.second.b, barrier, (int32_t)(step - p.gemm.steps) * 64,
                         (int32_t)column, 0);
        }
    }
};

/* What no kernel writes: resident weights, or B of the first stages, whose A is announced. Returns
 * how many of those. */
template <class C>
__device__ __forceinline__ uint32_t produce_early(const lt_cuda_stream_params &p,
                                                  const shared_map &s, uint32_t bytes)
{
    const uint32_t column = gemm::locate<C>(p.gemm, blockIdx.x).column;
    const uint32_t steps = total_steps(p), count = p.resident ? steps : min(steps, p.gemm.stages);
    source at(p, 0);
    if (p.resident) {
        ptx::barrier_expect(s.loaded, count * C::B_BYTES);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (p.resident) {
            at.copy_b(p, s.weights + i * C::B_BYTES, s.loaded, column);
        } else {
            ptx::barrier_expect(s.full + i * 8, bytes);
            at.copy_b(p, s.stages + i * s.stage_bytes + C::A_BYTES, s.full + i * 8, column);
        }
        at.next(p.gemm);
    }
    return p.resident ? 0 : count;
}

/* One thread: A, and B unless it is resident, of all steps of all tiles of the block. */
template <class C>
__device__ __forceinline__ void produce(const lt_cuda_stream_params &params, const shared_map &s)
{
    const lt_cuda_gemm_params &p = params.gemm;
    const uint32_t steps = total_steps(params), bytes = p.a_box_rows * 128 + (params.resident ? 0 : C::B_BYTES);
    gemm::ring at;
    uint32_t early = produce_early<C>(params, s, bytes);
    ptx::wait_for_predecessor();
    for (uint32_t t = blockIdx.x; t < p.n_tiles; t += gridDim.x) {
        const gemm::tile to = gemm::locate<C>(p, t);
        source from(params, to.row);
        for (uint32_t step = 0; step < steps; step++) {
            const uint32_t a = s.stages + at.stage * s.stage_bytes, full = s.full + at.stage * 8;
            if (early > 0) {
                early--;
            } else {
                ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
                ptx::barrier_expect(full, bytes);
                if (!params.resident) {
                    from.copy_b(params, a + C::A_BYTES, full, to.column);
                }
            }
            from.copy_a(params, a, full);
            from.next(p);
            at.next(p.stages);
        }
    }
}

/* One thread: residuals. */
template <class C>
__device__ __forceinline__ void produce_residuals(const lt_cuda_stream_params &p,
                                                  const shared_map &s)
{
    gemm::ring at;
    ptx::wait_for_predecessor();
    for (uint32_t t = blockIdx.x; t < p.gemm.n_tiles; t += gridDim.x) {
        const gemm::tile to = gemm::locate<C>(p.gemm, t);
        const uint32_t there = s.there + at.stage * 8;
        uint32_t target = s.slots + at.stage * C::SLOT_BYTES;
        ptx::barrier_wait(s.free + at.stage * 8, at.parity ^ 1);
        ptx::barrier_expect(there, C::SLOT_BYTES);
        for (uint32_t i = 0; i < 2 * C::PANELS; i++) {
            ptx::copy_3d(target, &p.residual, there, (int32_t)(to.column + i % C::PANELS * 64),
                         (int32_t)(to.row + i / C::PANELS * 64), 0);
            target += C::PANEL_BYTES;
        }
        at.next(p.slots);
    }
}

/* A warpgroup keeps both biases' sum of its tile's columns in shared memory of its own. */
template <class C>
__device__ __forceinline__ void keep_bias(const lt_cuda_stream_params &p, uint32_t bias,
                                          uint32_t column, uint32_t group)
{
    const uint32_t own = threadIdx.x % 128, c = column + own;
    const bool inside = own < C::COLUMNS && c < p.gemm.n;
    float v = 0;
    if (inside && p.gemm.bias_type != LT_GEMM_NONE) {
        v = gemm::load_real(p.gemm.bias, p.gemm.bias_type, c);
    }
    if (inside && p.second.bias_type != LT_GEMM_NONE) {
        v += gemm::load_real(p.second.bias, p.second.bias_type, c);
    }
    ptx::group_sync(1 + group, 128); /* those of the columns before have been read */
    if (own < C::COLUMNS) {
        ptx::store_4(bias + own * 4, __float_as_uint(v));
    }
    ptx::group_sync(1 + group, 128);
}

/* Sums of one tile; leaves the ring behind the last step. */
template <class C>
__device__ __forceinline__ void accumulate(const lt_cuda_stream_params &p,
                                           float (&sums)[C::SUMS], const shared_map &s,
                                           gemm::ring &at, uint32_t group)
{
    const uint32_t steps = total_steps(p);
    uint32_t previous = 0;
    for (uint32_t i = 0; i < steps; i++) {
        const uint32_t stage = s.stages + at.stage * s.stage_bytes;
        const uint32_t a_rows = stage + group * 8192;
        const uint32_t b_rows = p.resident ? s.weights + i * C::B_BYTES : stage + C::A_BYTES;
        ptx::barrier_wait(s.full + at.stage * 8, at.parity);
        ptx::product_hold(sums);
        ptx::product_fence();
#pragma unroll
        for (uint32_t k = 0; k < LT_GEMM_STEP_BYTES / 32; k++) {
            const uint64_t a = ptx::descriptor(a_rows + k * 32, 16);
            const uint64_t b = ptx::descriptor(b_rows + k * 32, 16);
            ptx::product<typename C::T, C::COLUMNS, 0>(sums, a, b, i + k > 0);
        }
        ptx::product_commit();
        if (i > 0) {
            ptx::product_wait<1>();
            if (threadIdx.x % 32 == 0) {
                ptx::barrier_arrive(s.empty + previous * 8);
            }
        }
        previous = at.stage;
        at.next(p.gemm.stages);
    }
    ptx::product_wait<0>();
    ptx::product_hold(sums);
    if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(s.empty + previous * 8);
    }
}

/* A warp's 16 rows of 16 columns, in place: s are its sums, bias the address of the columns'. */
__device__ __forceinline__ void finish_16(const lt_cuda_gemm_params &p, float (&s)[8],
                                          uint32_t bias, uint32_t address)
{
    uint32_t w[4];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint2 pair = ptx::load_8(bias + half * 32 + threadIdx.x % 4 * 8);
        const float x = __uint_as_float(pair.x), y = __uint_as_float(pair.y);
        s[4 * half] = fmaf(s[4 * half], p.scale, x);
        s[4 * half + 1] = fmaf(s[4 * half + 1], p.scale, y);
        s[4 * half + 2] = fmaf(s[4 * half + 2], p.scale, x);
        s[4 * half + 3] = fmaf(s[4 * half + 3], p.scale, y);
    }
    if (p.residual_type != LT_GEMM_NONE) {
        ptx::load_matrices(w, address);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 pair = gemm::unpack_pair(p.residual_type, w[i]);
            s[2 * i] += pair.x;
            s[2 * i + 1] += pair.y;
        }
    }
    gemm::activate(p, s);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[i] = gemm::pack_pair(p.out_type, s[2 * i], s[2 * i + 1]);
    }
    ptx::store_matrices(address, w);
}

/* A warpgroup's rows of a tile into its half of the slot, a panel at a time: the sums move down, so
 * that the loop stays in the instruction cache. */
template <class C>
__device__ __forceinline__ void finish(const lt_cuda_gemm_params &p,
                                       float (&sums)[C::SUMS], uint32_t bias,
                                       uint32_t half)
{
    uint32_t rows = half + threadIdx.x / 32 % 4 * 2048; /* the warp's 16 */
#pragma unroll 1
    for (uint32_t panel = 0; panel < C::PANELS; panel++) {
        const uint32_t columns = bias + panel * 256;
#pragma unroll
        for (uint32_t g = 0; g < 4; g++) {
            finish_16(p, reinterpret_cast<float(&)[8]>(sums[8 * g]), columns + g * 64,
                      gemm::staged_matrices(rows, g));
        }
        rows += C::PANEL_BYTES;
#pragma unroll
        for (uint32_t i = 32; i < C::SUMS; i++) {
            sums[i - 32] = sums[i];
        }
    }
}

/* One thread: a warpgroup's half of a slot on its way out. */
template <class C>
__device__ __forceinline__ void store_half(const lt_cuda_stream_params &p, uint32_t half,
                                           const gemm::tile &to, uint32_t group)
{
    for (uint32_t i = 0; i < C::PANELS; i++) {
        ptx::store_3d(&p.d, half + i * C::PANEL_BYTES, (int32_t)(to.column + i * 64),
                      (int32_t)(to.row + group * 64), 0);
    }
    ptx::store_commit();
}

/* A warpgroup: its half of all tiles of the block. */
template <class C>
__device__ __forceinline__ void consume(const lt_cuda_stream_params &p, const shared_map &s)
{
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1; /* uniform, as seen */
    const bool residual = p.gemm.residual_type != LT_GEMM_NONE;
    const bool leader = threadIdx.x % 128 == 0;
    const uint32_t bias = s.bias + group * C::COLUMNS * 4;
    gemm::ring at, slot;
    uint32_t previous = LT_STREAM_MAX_SLOTS, column = ~0u;
    ptx::wait_for_predecessor();
    if (p.resident) {
        ptx::barrier_wait(s.loaded, 0);
    }
    for (uint32_t t = blockIdx.x; t < p.gemm.n_tiles; t += gridDim.x) {
        const gemm::tile to = gemm::locate<C>(p.gemm, t);
        const uint32_t half = s.slots + slot.stage * C::SLOT_BYTES + group * C::GROUP_BYTES;
        float sums[C::SUMS];
        if (to.column != column) {
            column = to.column;
            keep_bias<C>(p, bias, column, group);
        }
        accumulate<C>(p, sums, s, at, group);
        if (residual) {
            ptx::barrier_wait(s.there + slot.stage * 8, slot.parity);
        } else {
            if (leader && p.slots > 1) { /* the slot's last store has been read */
                ptx::store_wait_read<1>();
            } else if (leader) {
                ptx::store_wait_read<0>();
            }
            ptx::group_sync(1 + group, 128);
        }
        finish<C>(p.gemm, sums, bias, half);
        ptx::copy_fence();
        ptx::group_sync(1 + group, 128);
        if (leader) {
            store_half<C>(p, half, to, group);
            if (residual && previous != LT_STREAM_MAX_SLOTS) {
                ptx::store_wait_read<1>();
                ptx::barrier_arrive(s.free + previous * 8);
            }
        }
        previous = slot.stage;
        slot.next(p.slots);
    }
    if (leader) {
        ptx::store_wait_read<0>();
    }
}

template <class C, int BLOCKS> __device__ __forceinline__ void run(const lt_cuda_stream_params &p)
{
    const shared_map s = map_shared<C>(p);
    if (threadIdx.x == 0) {
        ptx::prefetch_map(&p.gemm.a);
        ptx::prefetch_map(&p.gemm.b);
        ptx::prefetch_map(&p.d);
        for (uint32_t i = 0; i < p.gemm.stages; i++) {
            ptx::barrier_init(s.full + i * 8, 1);
            ptx::barrier_init(s.empty + i * 8, 8);
        }
        for (uint32_t i = 0; i < p.slots; i++) {
            ptx::barrier_init(s.there + i * 8, 1);
            ptx::barrier_init(s.free + i * 8, 2);
        }
        ptx::barrier_init(s.loaded, 1);
        ptx::barrier_init_fence();
    }
    __syncthreads();
    ptx::let_successor_start();
    if (threadIdx.x < 128) {
        ptx::registers_less<40>();
        if (threadIdx.x == 0) {
            produce<C>(p, s);
        } else if (threadIdx.x == 32 && p.gemm.residual_type != LT_GEMM_NONE) {
            produce_residuals<C>(p, s);
        }
    } else {
        ptx::registers_more<BLOCKS == 1 ? 232 : 96>();
        consume<C>(p, s);
    }
}

} // namespace stream

#define LT_STREAM_KERNEL(type, name, columns, blocks)                                              \
    extern "C" __global__ void __launch_bounds__(LT_STREAM_THREADS, blocks)                        \
        lt_cuda_gemm_##name##_stream_128x##columns##x64_##blocks##_sm90(                           \
            const __grid_constant__ lt_cuda_stream_params p)                                       \
    {                                                                                              \
        stream::run<stream::config<type, columns>, blocks>(p);                                     \
    }

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Fused attention on wgmma and TMA: y = softmax(scale * q k^T + mask) v for heads of up to 64
 * elements and masks of one row a head. Storage F16 or BF16; scores, softmax and sums F32; weights
 * rounded to the type as factors of the second product. After Shah et al., "FlashAttention-3"
 * (arXiv:2407.08608).
 *
 * A block takes items - 192 rows of q of one head - in turn. Three warpgroups have 64 rows each;
 * tiles of 128 keys or values come to a ring of stages, all three read them:
 *
 *     warp 0 of the fourth   wait empty[s]   copy a tile of k or v, or q -> full[s]
 *     warp 1                 wait empty[s]   biases of a tile of keys    -> full[s]
 *     a warpgroup            s = q k^T of tile j and o += weights v of tile j - 1 run together;
 *                            softmax of s while the latter still runs; s becomes weights
 *
 * The order of tiles is k0, k1, v0, k2, v1, ... Results leave by the copy engine from shared memory
 * of their own while the next item is computed.
 * In shared memory rows of 128 bytes with the 128-byte swizzle; scores of a thread as ptx::product
 * says. Tails: copies fill with zeros and do not write beyond rows and sizes; keys beyond the end
 * have bias -infinity.
 * Bound by the exponential (16 a cycle) as much as by tensor cores; bench/ladder/attention. */
#ifndef LEAT_CUDA_GEMM_ATTEND_CUH
#define LEAT_CUDA_GEMM_ATTEND_CUH

#include "attend_params.h"
#include "mainloop.cuh"

namespace attend
{

constexpr uint32_t SCORES = LT_ATTEND_KEYS / 2, SUMS = LT_ATTEND_SIZE / 2; /* a thread's */
constexpr float NOTHING_SEEN = -__builtin_inff();

/* Addresses in shared memory. */
struct shared_map {
    uint32_t stages, queries, results, biases;
    uint32_t full, empty, there, free; /* barriers: of stages; of q */
};

__device__ __forceinline__ shared_map map_shared()
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.stages = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.queries = s.stages + LT_ATTEND_STAGES * LT_ATTEND_TILE_BYTES;
    s.results = s.queries + 2 * LT_ATTEND_Q_BYTES;
    s.biases = s.results + LT_ATTEND_Q_BYTES;
    s.full = s.biases + LT_ATTEND_STAGES * LT_ATTEND_KEYS * 4;
    s.empty = s.full + LT_ATTEND_STAGES * 8;
    s.there = s.empty + LT_ATTEND_STAGES * 8;
    s.free = s.there + 2 * 8;
    return s;
}

struct item {
    uint32_t image, head, row;
};

__device__ __forceinline__ item locate(const lt_cuda_attend_params &p, uint32_t i)
{
    const uint32_t heads = i / p.row_tiles, image = heads / p.heads;
    return {image, heads - image * p.heads, (i - heads * p.row_tiles) * LT_ATTEND_ROWS};
}

/* --- those that copy --------------------------------------------------------------------------- */

__device__ __forceinline__ void copy(const lt_cuda_attend_tensor &t, uint32_t target,
                                     uint32_t barrier, uint32_t row, uint32_t head, uint32_t image)
{
    ptx::copy_4d(target, &t.map, barrier, 0, (int32_t)(t.heads_first ? head : row),
                 (int32_t)(t.heads_first ? row : head), (int32_t)image);
}

/* Waits for the next stage and fills it with a tile. */
__device__ __forceinline__ void produce_tile(const shared_map &s, gemm::ring &at,
                                             const lt_cuda_attend_tensor &t, uint32_t tile,
                                             uint32_t head, uint32_t image)
{
    const uint32_t full = s.full + at.stage * 8;
    ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
    ptx::barrier_expect(full, LT_ATTEND_TILE_BYTES);
    copy(t, s.stages + at.stage * LT_ATTEND_TILE_BYTES, full, tile * LT_ATTEND_KEYS, head, image);
    at.next(LT_ATTEND_STAGES);
}

/* One thread. */
__device__ __forceinline__ void produce(const lt_cuda_attend_params &p, const shared_map &s)
{
    gemm::ring at, slot;
    ptx::wait_for_predecessor();
    for (uint32_t i = blockIdx.x; i < p.n_items; i += gridDim.x) {
        const item to = locate(p, i);
        const uint32_t kv_head = to.head / p.sharers, there = s.there + slot.stage * 8;
        ptx::barrier_wait(s.free + slot.stage * 8, slot.parity ^ 1);
        ptx::barrier_expect(there, LT_ATTEND_Q_BYTES);
        copy(p.q, s.queries + slot.stage * LT_ATTEND_Q_BYTES, there, to.row, to.head, to.image);
        slot.next(2);
        for (uint32_t tile = 0; tile <= p.key_tiles; tile++) {
            if (tile < p.key_tiles) {
                produce_tile(s, at, p.k, tile, kv_head, to.image);
            }
            if (tile > 0) {
                produce_tile(s, at, p.v, tile - 1, kv_head, to.image);
            }
        }
    }
}

/* What is added to the scaled score of a column, to base 2. */
template <class T>
__device__ __forceinline__ float bias_of(const lt_cuda_attend_params &p, int64_t mask,
                                         uint32_t column)
{
    if (column >= p.kv_rows || column >= p.mask_columns) {
        return NOTHING_SEEN;
    }
    if (p.mask_kind == LT_GPU_MASK_NONE) {
        return 0.0f;
    }
    const int64_t at = mask + column * p.mask_column;
    if (p.mask_kind == LT_GPU_MASK_BOOL) {
        return ((const uint8_t *)p.mask)[at] != 0 ? 0.0f : NOTHING_SEEN;
    }
    const bool f32 = p.mask_kind == LT_GPU_MASK_F32;
    return 1.44269504f *
           (f32 ? ((const float *)p.mask)[at] : gemm::to_float(((const T *)p.mask)[at]));
}

/* A warp: biases of the tiles of keys, into the stages' own places; it answers for each stage. */
template <class T>
__device__ __forceinline__ void produce_biases(const lt_cuda_attend_params &p, const shared_map &s)
{
    const uint32_t lane = threadIdx.x % 32;
    gemm::ring at;
    ptx::wait_for_predecessor();
    for (uint32_t i = blockIdx.x; i < p.n_items; i += gridDim.x) {
        const item to = locate(p, i);
        const int64_t mask = to.image * p.mask_batch + to.head * p.mask_head;
        for (uint32_t turn = 0; turn < 2 * p.key_tiles; turn++) {
            /* k0, k1, v0, k2, v1, ..., the last v */
            const bool keys = turn == 0 || (turn % 2 == 1 && turn + 1 < 2 * p.key_tiles);
            const uint32_t first = (turn + 1) / 2 * LT_ATTEND_KEYS;
            float bias[LT_ATTEND_KEYS / 32];
#pragma unroll
            for (uint32_t k = 0; keys && k < LT_ATTEND_KEYS / 32; k++) {
                bias[k] = bias_of<T>(p, mask, first + k * 32 + lane);
            }
            ptx::barrier_wait(s.empty + at.stage * 8, at.parity ^ 1);
#pragma unroll
            for (uint32_t k = 0; keys && k < LT_ATTEND_KEYS / 32; k++) {
                ptx::store_4(s.biases + (at.stage * LT_ATTEND_KEYS + k * 32 + lane) * 4,
                             __float_as_uint(bias[k]));
            }
            __syncwarp();
            if (lane == 0) {
                ptx::barrier_arrive(s.full + at.stage * 8);
            }
            at.next(LT_ATTEND_STAGES);
        }
    }
}

/* --- those that compute ------------------------------------------------------------------------ */

/* o += (accumulate 0: =) weights v over 16 rows of v. */
#define LT_ATTEND_MIX(name)                                                                        \
    asm volatile("{\n"                                                                             \
                 ".reg .pred add;\n"                                                               \
                 "setp.ne.b32 add, %37, 0;\n"                                                      \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name                       \
                 " {" LT_NAMES_0 "," LT_NAMES_16 "}, {%32, %33, %34, %35}, %36, add, 1, 1, 1;\n"   \
                 "}\n"                                                                             \
                 : LT_SUMS_32(LT_REAL, 0)                                                          \
                 : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(v), "r"(accumulate))

template <class T>
__device__ __forceinline__ void mix(float (&d)[SUMS], const uint32_t *w, uint64_t v,
                                    uint32_t accumulate)
{
    if constexpr (__is_same(T, __half)) {
        LT_ATTEND_MIX("f16");
    } else {
        LT_ATTEND_MIX("bf16");
    }
}

template <class T>
__device__ __forceinline__ void start_mix(float (&o)[SUMS], const uint32_t (&w)[SCORES / 2],
                                          uint32_t values, bool first)
{
#pragma unroll
    for (uint32_t k = 0; k < LT_ATTEND_KEYS / 16; k++) {
        mix<T>(o, w + 4 * k, ptx::descriptor(values + k * 2048, 16), k > 0 || !first);
    }
    ptx::product_commit();
}

template <class T>
__device__ __forceinline__ void start_scores(float (&s)[SCORES], uint32_t queries, uint32_t keys)
{
#pragma unroll
    for (uint32_t k = 0; k < LT_ATTEND_SIZE / 16; k++) {
        ptx::product<T, LT_ATTEND_KEYS, 0>(s, ptx::descriptor(queries + k * 32, 16),
                                           ptx::descriptor(keys + k * 32, 16), k > 0);
    }
    ptx::product_commit();
}

/* A thread's two rows, l / 4 and eight further; total: of its own columns. */
struct state {
    float most[2], total[2];
};

/* Scaled scores with biases, their rows' new maxima, and by how much sums of before shrink. */
__device__ __forceinline__ void scale_scores(float (&s)[SCORES], uint32_t biases, float scale,
                                             state &at, float (&shrink)[2])
{
    float most[2] = {at.most[0], at.most[1]};
#pragma unroll
    for (uint32_t n = 0; n < SCORES; n += 4) {
        const uint2 bias = ptx::load_8(biases + n * 8 + threadIdx.x % 4 * 8);
        const float x = __uint_as_float(bias.x), y = __uint_as_float(bias.y);
        s[n] = fmaf(s[n], scale, x);
        s[n + 1] = fmaf(s[n + 1], scale, y);
        s[n + 2] = fmaf(s[n + 2], scale, x);
        s[n + 3] = fmaf(s[n + 3], scale, y);
        most[0] = fmaxf(most[0], fmaxf(s[n], s[n + 1]));
        most[1] = fmaxf(most[1], fmaxf(s[n + 2], s[n + 3]));
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        most[half] = fmaxf(most[half], __shfl_xor_sync(~0u, most[half], 2));
        most[half] = fmaxf(most[half], __shfl_xor_sync(~0u, most[half], 1));
        const float from = most[half] == NOTHING_SEEN ? 0.0f : most[half];
        shrink[half] = gemm::exp2_fast(at.most[half] - from);
        at.most[half] = most[half];
    }
}

/* Scores become weights. */
__device__ __forceinline__ void weigh(float (&s)[SCORES], state &at, const float (&shrink)[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float from = at.most[half] == NOTHING_SEEN ? 0.0f : at.most[half];
        float added[2] = {0.0f, 0.0f};
#pragma unroll
        for (uint32_t n = 2 * half; n < SCORES; n += 4) {
            s[n] = gemm::exp2_fast(s[n] - from);
            s[n + 1] = gemm::exp2_fast(s[n + 1] - from);
            added[0] += s[n];
            added[1] += s[n + 1];
        }
        at.total[half] = fmaf(at.total[half], shrink[half], added[0] + added[1]);
    }
}

template <class T> __device__ __forceinline__ uint32_t pack(float x, float y)
{
    return gemm::pack_pair(__is_same(T, __half) ? LT_GEMM_F16 : LT_GEMM_BF16, x, y);
}

/* As ptx::product_hold: they are operands of products that are under way. */
__device__ __forceinline__ void hold_weights(uint32_t (&w)[SCORES / 2])
{
#pragma unroll
    for (uint32_t i = 0; i < SCORES / 2; i++) {
        asm volatile("" : "+r"(w[i])::"memory");
    }
}

template <class T>
__device__ __forceinline__ void pack_weights(uint32_t (&w)[SCORES / 2], const float (&s)[SCORES])
{
#pragma unroll
    for (uint32_t i = 0; i < SCORES / 2; i++) {
        w[i] = pack<T>(s[2 * i], s[2 * i + 1]);
    }
}

/* Warpgroups' turns to give the tensor cores work, one after the other: else all three would
 * multiply at one time and make weights at another. Barriers of the block behind those of finish.
 */
__device__ __forceinline__ void await_turn(uint32_t group)
{
    ptx::group_sync(1 + LT_ATTEND_GROUPS + group, 256);
}

__device__ __forceinline__ void give_turn(uint32_t group)
{
    ptx::group_arrive(1 + LT_ATTEND_GROUPS + (group + 1) % LT_ATTEND_GROUPS, 256);
}

__device__ __forceinline__ void give_back(uint32_t barrier)
{
    if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(barrier);
    }
}

/* A warpgroup's 64 rows of an item: o without the division by its rows' totals. */
template <class T>
__device__ __forceinline__ void compute(const lt_cuda_attend_params &p, const shared_map &s,
                                        float (&o)[SUMS], state &at, gemm::ring &next,
                                        uint32_t queries, uint32_t queries_free,
                                        uint32_t group)
{
    float scores[SCORES], shrink[2];
    uint32_t weights[SCORES / 2];
    uint32_t keys = next.stage;
    await_turn(group);
    ptx::barrier_wait(s.full + next.stage * 8, next.parity);
    next.next(LT_ATTEND_STAGES);
    ptx::product_hold(scores);
    ptx::product_fence();
    start_scores<T>(scores, queries, s.stages + keys * LT_ATTEND_TILE_BYTES);
    give_turn(group);
    ptx::product_wait<0>();
    ptx::product_hold(scores);
    scale_scores(scores, s.biases + keys * LT_ATTEND_KEYS * 4, p.scale, at, shrink);
    ptx::product_hold(scores); /* biases have been read */
    give_back(s.empty + keys * 8);
    weigh(scores, at, shrink);
    pack_weights<T>(weights, scores);
    for (uint32_t tile = 1; tile < p.key_tiles; tile++) {
        keys = next.stage;
        await_turn(group);
        ptx::barrier_wait(s.full + next.stage * 8, next.parity);
        next.next(LT_ATTEND_STAGES);
        ptx::product_hold(scores);
        ptx::product_hold(o);
        hold_weights(weights);
        ptx::product_fence();
        start_scores<T>(scores, queries, s.stages + keys * LT_ATTEND_TILE_BYTES);
        const uint32_t values = next.stage;
        ptx::barrier_wait(s.full + next.stage * 8, next.parity);
        next.next(LT_ATTEND_STAGES);
        ptx::product_fence();
        start_mix<T>(o, weights, s.stages + values * LT_ATTEND_TILE_BYTES, tile == 1);
        give_turn(group);
        ptx::product_wait<1>();
        ptx::product_hold(scores);
        scale_scores(scores, s.biases + keys * LT_ATTEND_KEYS * 4, p.scale, at, shrink);
        ptx::product_hold(scores); /* biases have been read */
        give_back(s.empty + keys * 8);
        weigh(scores, at, shrink);
        ptx::product_wait<0>();
        ptx::product_hold(o);
        hold_weights(weights);
        give_back(s.empty + values * 8);
#pragma unroll
        for (uint32_t i = 0; i < SUMS; i++) {
            o[i] *= shrink[i / 2 % 2];
        }
        pack_weights<T>(weights, scores);
    }
    give_back(queries_free);
    const uint32_t values = next.stage;
    ptx::barrier_wait(s.full + next.stage * 8, next.parity);
    next.next(LT_ATTEND_STAGES);
    ptx::product_hold(o);
    hold_weights(weights);
    ptx::product_fence();
    start_mix<T>(o, weights, s.stages + values * LT_ATTEND_TILE_BYTES, p.key_tiles == 1);
    ptx::product_wait<0>();
    ptx::product_hold(o);
    give_back(s.empty + values * 8);
}

/* Divides by the rows' totals; results of 64 rows on their way out. */
template <class T>
__device__ __forceinline__ void finish(const lt_cuda_attend_params &p, const float (&o)[SUMS],
                                       const state &at, uint32_t results, uint32_t group,
                                       const item &to)
{
    float factor[2];
    bool none[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = at.total[half];
        total += __shfl_xor_sync(~0u, total, 2);
        total += __shfl_xor_sync(~0u, total, 1);
        none[half] = at.most[half] == NOTHING_SEEN && total == 0.0f;
        factor[half] = 1.0f / total;
    }
    if (threadIdx.x % 128 == 0) { /* those of the item before have been read */
        ptx::store_wait_read<0>();
    }
    ptx::group_sync(1 + group, 128);
#pragma unroll
    for (uint32_t g = 0; g < SUMS / 8; g++) {
        uint32_t w[4];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t k = 8 * g + 2 * i, half = i % 2;
            w[i] = none[half] ? pack<T>(p.nothing, p.nothing)
                              : pack<T>(o[k] * factor[half], o[k + 1] * factor[half]);
        }
        ptx::store_matrices(gemm::staged_matrices(results + threadIdx.x / 32 % 4 * 2048, g), w);
    }
    ptx::copy_fence();
    ptx::group_sync(1 + group, 128);
    if (threadIdx.x % 128 == 0) {
        const uint32_t row = to.row + group * 64;
        ptx::store_4d(&p.y.map, results, 0, (int32_t)(p.y.heads_first ? to.head : row),
                      (int32_t)(p.y.heads_first ? row : to.head), (int32_t)to.image);
        ptx::store_commit();
    }
}

/* A warpgroup. */
template <class T>
__device__ __forceinline__ void consume(const lt_cuda_attend_params &p, const shared_map &s)
{
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* uniform, as seen */
    gemm::ring next, slot;
    ptx::wait_for_predecessor();
    if (group == LT_ATTEND_GROUPS - 1) {
        give_turn(group);
    }
    for (uint32_t i = blockIdx.x; i < p.n_items; i += gridDim.x) {
        float o[SUMS];
        state at = {{NOTHING_SEEN, NOTHING_SEEN}, {0.0f, 0.0f}};
        const uint32_t rows = group * 64 * 128;
        ptx::barrier_wait(s.there + slot.stage * 8, slot.parity);
        compute<T>(p, s, o, at, next, s.queries + slot.stage * LT_ATTEND_Q_BYTES + rows,
                   s.free + slot.stage * 8, group);
        slot.next(2);
        finish<T>(p, o, at, s.results + rows, group, locate(p, i));
    }
    if (group == 0) { /* the last turn that was given */
        await_turn(group);
    }
    if (threadIdx.x % 128 == 0) {
        ptx::store_wait_read<0>();
    }
}

template <class T> __device__ __forceinline__ void run(const lt_cuda_attend_params &p)
{
    const shared_map s = map_shared();
    constexpr uint32_t computing = LT_ATTEND_GROUPS * 128;
    if (threadIdx.x == computing) {
        ptx::prefetch_map(&p.q.map);
        ptx::prefetch_map(&p.k.map);
        ptx::prefetch_map(&p.v.map);
        ptx::prefetch_map(&p.y.map);
        for (uint32_t i = 0; i < LT_ATTEND_STAGES; i++) {
            ptx::barrier_init(s.full + i * 8, 2); /* who copies, who brings biases */
            ptx::barrier_init(s.empty + i * 8, computing / 32);
        }
        for (uint32_t i = 0; i < 2; i++) {
            ptx::barrier_init(s.there + i * 8, 1);
            ptx::barrier_init(s.free + i * 8, computing / 32);
        }
        ptx::barrier_init_fence();
    }
    __syncthreads();
    ptx::let_successor_start();
    if (threadIdx.x < computing) {
        ptx::registers_more<160>();
        consume<T>(p, s);
    } else {
        ptx::registers_less<32>();
        if (threadIdx.x == computing) {
            produce(p, s);
        } else if (threadIdx.x / 32 == computing / 32 + 1) {
            produce_biases<T>(p, s);
        }
    }
}

} // namespace attend

#define LT_ATTEND_KERNEL(type, name)                                                               \
    extern "C" __global__ void __launch_bounds__(LT_ATTEND_THREADS, 1)                             \
        lt_cuda_gemm_##name##_attend_192x128x64_sm90(                                              \
            const __grid_constant__ lt_cuda_attend_params p)                                       \
    {                                                                                              \
        attend::run<type>(p);                                                                      \
    }

#endif

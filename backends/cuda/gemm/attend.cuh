/* SPDX-License-Identifier: Apache-2.0 */
/* Fused attention on wgmma and TMA: y = softmax(scale * q k^T + mask) v for heads of up to 64
 * elements and masks of one row a head. Storage F16 or BF16; scores, softmax and sums F32; weights
 * rounded to the type as factors of the second product. After Shah et al., "FlashAttention-3"
 * (arXiv:2407.08608).
 *
 * A block takes items - 192 rows of q of one head - in turn. Three warpgroups have 64 rows each;
 * tiles of 128 keys come to a ring of stages, those of values to another, all three read them:
 *
 *     warp 0 of the fourth   wait empty[s]   copy a tile of k or v, or q -> full[s]
 *     warp 1                 wait empty[s]   biases of a tile of keys    -> full[s]
 *     a warpgroup            s = q k^T of tile j and o += weights v of tile j - 1 run together;
 *                            softmax of s while the latter still runs; s becomes weights
 *
 * Tiles of all items of a block are one sequence: the last mix of an item runs beside the first
 * scores of the next. Where the tiles of a head fit into the rings, a block takes all its items in
 * turn (`together`), and its keys and values are copied once: who computes goes back to where they
 * began, and gives stages back while it takes the last item. Results leave by the copy engine from shared memory of their own.
 * Weights are by a maximum that is exact within 2^8: sums shrink only when it grows by more, which
 * after the first tile is rare. Where a tile has no biases the scale is folded into the exponent.
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
    uint32_t keys, values, queries, results, biases, plain;
    uint32_t keys_full, keys_empty, values_full, values_empty, there, free; /* barriers */
};

__device__ __forceinline__ shared_map map_shared()
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.keys = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.values = s.keys + LT_ATTEND_STAGES * LT_ATTEND_TILE_BYTES;
    s.queries = s.values + LT_ATTEND_STAGES * LT_ATTEND_TILE_BYTES;
    s.results = s.queries + 2 * LT_ATTEND_Q_BYTES;
    s.biases = s.results + LT_ATTEND_Q_BYTES;
    s.plain = s.biases + LT_ATTEND_STAGES * LT_ATTEND_KEYS * 4;
    s.keys_full = s.plain + LT_ATTEND_STAGES * 8;
    s.keys_empty = s.keys_full + LT_ATTEND_STAGES * 8;
    s.values_full = s.keys_empty + LT_ATTEND_STAGES * 8;
    s.values_empty = s.values_full + LT_ATTEND_STAGES * 8;
    s.there = s.values_empty + LT_ATTEND_STAGES * 8;
    s.free = s.there + 2 * 8;
    return s;
}

struct item {
    uint32_t image, head, row;
};

/* A block's items: `together` neighbours, whose keys and values stay, of every gridDim.x * together
 * items. */
__device__ __forceinline__ uint32_t first_item(const lt_cuda_attend_params &p)
{
    return blockIdx.x * p.together;
}

/* Whether an item is the last of its neighbours. */
__device__ __forceinline__ bool ends(const lt_cuda_attend_params &p, uint32_t i)
{
    return (i + 1) % p.together == 0;
}

__device__ __forceinline__ uint32_t next_item(const lt_cuda_attend_params &p, uint32_t i)
{
    return ends(p, i) ? i + 1 + (gridDim.x - 1) * p.together : i + 1;
}

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

/* Waits for a stage and fills it with a tile. */
__device__ __forceinline__ void produce_tile(uint32_t stages, uint32_t full, uint32_t empty,
                                             const gemm::ring &at, const lt_cuda_attend_tensor &t,
                                             uint32_t tile, uint32_t head, uint32_t image)
{
    const uint32_t barrier = full + at.stage * 8;
    ptx::barrier_wait(empty + at.stage * 8, at.parity ^ 1);
    ptx::barrier_expect(barrier, LT_ATTEND_TILE_BYTES);
    copy(t, stages + at.stage * LT_ATTEND_TILE_BYTES, barrier, tile * LT_ATTEND_KEYS, head, image);
}

/* One thread. */
__device__ __forceinline__ void produce(const lt_cuda_attend_params &p, const shared_map &s)
{
    gemm::ring at, slot;
    ptx::wait_for_predecessor();
    for (uint32_t i = first_item(p); i < p.n_items; i = next_item(p, i)) {
        const item to = locate(p, i);
        const uint32_t kv_head = to.head / p.sharers, there = s.there + slot.stage * 8;
        ptx::barrier_wait(s.free + slot.stage * 8, slot.parity ^ 1);
        ptx::barrier_expect(there, LT_ATTEND_Q_BYTES);
        copy(p.q, s.queries + slot.stage * LT_ATTEND_Q_BYTES, there, to.row, to.head, to.image);
        slot.next(2);
        for (uint32_t tile = 0; i % p.together == 0 && tile < p.key_tiles; tile++) {
            produce_tile(s.keys, s.keys_full, s.keys_empty, at, p.k, tile, kv_head, to.image);
            if (i == first_item(p)) { /* what is needed first comes first */
                ptx::barrier_wait(there, 0);
                ptx::barrier_wait(s.keys_full + at.stage * 8, at.parity);
            }
            produce_tile(s.values, s.values_full, s.values_empty, at, p.v, tile, kv_head, to.image);
            at.next(LT_ATTEND_STAGES);
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

/* A warp: biases of the tiles of keys and whether there are any; it answers for each stage.
 * compute-sanitizer's racecheck reports hazards between these stores and their reads, of all lanes
 * but the first, and reports the same of the same lanes where each arrives at the barrier itself
 * (33 arrivals), which alone orders its stores before every thread that waits: it follows arrivals
 * of a warp's first lane only. Here the order is store, __syncwarp, arrival, wait, read. */
template <class T>
__device__ __forceinline__ void produce_biases(const lt_cuda_attend_params &p, const shared_map &s)
{
    const uint32_t lane = threadIdx.x % 32;
    gemm::ring at;
    ptx::wait_for_predecessor();
    for (uint32_t i = first_item(p); i < p.n_items; i += gridDim.x * p.together) {
        const item to = locate(p, i);
        const int64_t mask = to.image * p.mask_batch + to.head * p.mask_head;
        for (uint32_t tile = 0; tile < p.key_tiles; tile++) {
            float bias[LT_ATTEND_KEYS / 32];
            bool plain = p.scale > 0.0f;
#pragma unroll
            for (uint32_t k = 0; k < LT_ATTEND_KEYS / 32; k++) {
                bias[k] = bias_of<T>(p, mask, tile * LT_ATTEND_KEYS + k * 32 + lane);
                plain = plain && bias[k] == 0.0f;
            }
            plain = __all_sync(~0u, plain);
            ptx::barrier_wait(s.keys_empty + at.stage * 8, at.parity ^ 1);
#pragma unroll
            for (uint32_t k = 0; k < LT_ATTEND_KEYS / 32; k++) {
                ptx::store_4(s.biases + (at.stage * LT_ATTEND_KEYS + k * 32 + lane) * 4,
                             __float_as_uint(bias[k]));
            }
            if (lane == 0) {
                ptx::store_4(s.plain + at.stage * 8, plain);
            }
            __syncwarp();
            if (lane == 0) {
                ptx::barrier_arrive(s.keys_full + at.stage * 8);
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

/* That of an operand `bytes` further; no address of shared memory carries. */
__device__ __forceinline__ uint64_t further(uint64_t descriptor, uint32_t bytes)
{
    return (descriptor >> 32) << 32 | ((uint32_t)descriptor + (bytes >> 4));
}

template <class T>
__device__ __forceinline__ void start_mix(float (&o)[SUMS], const uint32_t (&w)[SCORES / 2],
                                          uint32_t values, bool first)
{
    const uint64_t v = ptx::descriptor(values, 16);
#pragma unroll
    for (uint32_t k = 0; k < LT_ATTEND_KEYS / 16; k++) {
        mix<T>(o, w + 4 * k, further(v, k * 2048), k > 0 || !first);
    }
    ptx::product_commit();
}

template <class T>
__device__ __forceinline__ void start_scores(float (&s)[SCORES], uint32_t queries, uint32_t keys)
{
    const uint64_t a = ptx::descriptor(queries, 16), b = ptx::descriptor(keys, 16);
#pragma unroll
    for (uint32_t k = 0; k < LT_ATTEND_SIZE / 16; k++) {
        ptx::product<T, LT_ATTEND_KEYS, 0>(s, further(a, k * 32), further(b, k * 32), k > 0);
    }
    ptx::product_commit();
}

/* A thread's two rows, l / 4 and eight further; from: what their weights are by, within 2^8 the
 * largest score; total: of its own columns. */
struct state {
    float from[2], total[2];
};

/* Scaled scores with biases. */
__device__ __forceinline__ void add_biases(float (&s)[SCORES], uint32_t biases, float scale)
{
#pragma unroll
    for (uint32_t n = 0; n < SCORES; n += 4) {
        const uint2 bias = ptx::load_8(biases + n * 8 + threadIdx.x % 4 * 8);
        const float x = __uint_as_float(bias.x), y = __uint_as_float(bias.y);
        s[n] = fmaf(s[n], scale, x);
        s[n + 1] = fmaf(s[n + 1], scale, y);
        s[n + 2] = fmaf(s[n + 2], scale, x);
        s[n + 3] = fmaf(s[n + 3], scale, y);
    }
}

/* Rows' new maxima of scores times scale, and by how much sums of before shrink. */
__device__ __forceinline__ void follow_most(const float (&s)[SCORES], float scale, state &at,
                                            float (&shrink)[2])
{
    float most[4] = {s[0], s[2], s[4], s[6]}; /* even: the upper row */
#pragma unroll
    for (uint32_t n = 0; n < SCORES; n += 2) {
        most[n / 2 % 4] = fmaxf(most[n / 2 % 4], fmaxf(s[n], s[n + 1]));
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float all = fmaxf(most[half], most[half + 2]);
        all = fmaxf(all, __shfl_xor_sync(~0u, all, 2));
        all = fmaxf(all, __shfl_xor_sync(~0u, all, 1)) * scale;
        const float from = all > at.from[half] + 8.0f ? all : at.from[half];
        shrink[half] = gemm::exp2_fast(at.from[half] - (from == NOTHING_SEEN ? 0.0f : from));
        shrink[half] = from == at.from[half] ? 1.0f : shrink[half];
        at.from[half] = from;
    }
}

/* Scores become weights. */
__device__ __forceinline__ void weigh(float (&s)[SCORES], float scale, state &at,
                                      const float (&shrink)[2])
{
    const float from[2] = {at.from[0] == NOTHING_SEEN ? 0.0f : at.from[0],
                           at.from[1] == NOTHING_SEEN ? 0.0f : at.from[1]};
    float added[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (uint32_t n = 0; n < SCORES; n++) {
        s[n] = gemm::exp2_fast(fmaf(s[n], scale, -from[n / 2 % 2]));
        added[n % 4] += s[n];
    }
    at.total[0] = fmaf(at.total[0], shrink[0], added[0] + added[1]);
    at.total[1] = fmaf(at.total[1], shrink[1], added[2] + added[3]);
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
 * multiply at one time and make weights at another. */
__device__ __forceinline__ void await_turn(uint32_t group)
{
    ptx::group_sync(1 + group, 256);
}

__device__ __forceinline__ void give_turn(uint32_t group)
{
    ptx::group_arrive(1 + (group + 1) % LT_ATTEND_GROUPS, 256);
}

/* The warp is done with what `barrier` guards. */
__device__ __forceinline__ void give_back(uint32_t barrier)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
        ptx::barrier_arrive(barrier);
    }
}

/* Scores of a tile, products done, become weights; done: with its stage. Returns whether sums of before shrink in any of
 * the warp's rows; or the totals are no numbers, where shrinking changes nothing: so that the
 * answer, and the wait for the products of before behind it, comes after the weights. */
__device__ __forceinline__ bool soften(const shared_map &s, uint32_t stage, float scale,
                                       float (&scores)[SCORES], state &at, float (&shrink)[2],
                                       bool done)
{
    if (ptx::load_4(s.plain + stage * 8) == 0) {
        add_biases(scores, s.biases + stage * LT_ATTEND_KEYS * 4, scale);
        scale = 1.0f;
    }
    ptx::product_hold(scores); /* biases have been read */
    if (done) {
        give_back(s.keys_empty + stage * 8);
    }
    follow_most(scores, scale, at, shrink);
    weigh(scores, scale, at, shrink);
    ptx::product_hold(scores);
    return __any_sync(~0u, shrink[0] != 1.0f || shrink[1] != 1.0f ||
                               !(at.total[0] + at.total[1] >= 0.0f));
}

/* Divides by the rows' totals; results of the warp's 16 rows on their way out. */
template <class T>
__device__ __forceinline__ void finish(const lt_cuda_attend_params &p, const float (&o)[SUMS],
                                       const state &at, uint32_t results, uint32_t i)
{
    float factor[2];
    bool none[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = at.total[half];
        total += __shfl_xor_sync(~0u, total, 2);
        total += __shfl_xor_sync(~0u, total, 1);
        none[half] = at.from[half] == NOTHING_SEEN && total == 0.0f;
        factor[half] = __fdividef(1.0f, total);
    }
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    results += warp * 16 * 128;
    if (lane == 0) { /* those of the item before have been read */
        ptx::store_wait_read<0>();
    }
    __syncwarp();
#pragma unroll
    for (uint32_t g = 0; g < SUMS / 8; g++) {
        uint32_t w[4];
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t n = 8 * g + 2 * k, half = k % 2;
            w[k] = none[half] ? pack<T>(p.nothing, p.nothing)
                              : pack<T>(o[n] * factor[half], o[n + 1] * factor[half]);
        }
        ptx::store_matrices(gemm::staged_matrices(results, g), w);
    }
    ptx::copy_fence();
    __syncwarp();
    if (lane == 0) {
        const item to = locate(p, i);
        const uint32_t row = to.row + warp * 16;
        ptx::store_4d(&p.y.map, results, 0, (int32_t)(p.y.heads_first ? to.head : row),
                      (int32_t)(p.y.heads_first ? row : to.head), (int32_t)to.image);
        ptx::store_commit();
    }
}

__device__ __forceinline__ void rescale(float (&o)[SUMS], const float (&shrink)[2])
{
#pragma unroll
    for (uint32_t i = 0; i < SUMS; i++) {
        o[i] *= shrink[i / 2 % 2];
    }
}

/* A warpgroup. */
template <class T>
__device__ __forceinline__ void consume(const lt_cuda_attend_params &p, const shared_map &s)
{
    const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* uniform, as seen */
    const uint32_t queries = s.queries + group * 64 * 128;
    const state fresh = {{NOTHING_SEEN, NOTHING_SEEN}, {0.0f, 0.0f}};
    gemm::ring keys, values, slot, first_keys, first_values; /* first: of the neighbours */
    float scores[SCORES], o[SUMS], shrink[2];
    uint32_t weights[SCORES / 2];
    state at = fresh;
    ptx::wait_for_predecessor();
    if (group == LT_ATTEND_GROUPS - 1) {
        give_turn(group);
    }
    /* The first scores of all, with nothing beside them. */
    await_turn(group);
    ptx::barrier_wait(s.there, 0);
    ptx::barrier_wait(s.keys_full, 0);
    ptx::product_hold(scores);
    ptx::product_fence();
    start_scores<T>(scores, queries, s.keys);
    give_turn(group);
    ptx::product_wait<0>();
    ptx::product_hold(scores);
    uint32_t i = first_item(p), done = i; /* done: the item of `tile` */
    bool ending = ends(p, i); /* item i is the last of its neighbours */
    soften(s, 0, p.scale, scores, at, shrink, ending);
    pack_weights<T>(weights, scores);
    keys.next(LT_ATTEND_STAGES);
    uint32_t tile = 0;
    for (;;) {
        /* Scores of what comes next beside the mix of `tile`, whose weights are there. */
        const bool last = tile + 1 == p.key_tiles;
        const bool ended = ending;
        done = i;
        if (last) {
            give_back(s.free + slot.stage * 8);
            slot.next(2);
            i = next_item(p, i);
            if (i >= p.n_items) {
                break;
            }
            ending = ends(p, i);
            if (ended) {
                first_keys = keys;
            } else {
                keys = first_keys;
            }
            ptx::barrier_wait(s.there + slot.stage * 8, slot.parity);
        }
        const uint32_t stage = keys.stage;
        await_turn(group);
        ptx::barrier_wait(s.keys_full + stage * 8, keys.parity);
        ptx::barrier_wait(s.values_full + values.stage * 8, values.parity);
        ptx::product_hold(scores);
        ptx::product_hold(o);
        hold_weights(weights);
        ptx::product_fence();
        start_scores<T>(scores, queries + slot.stage * LT_ATTEND_Q_BYTES,
                        s.keys + stage * LT_ATTEND_TILE_BYTES);
        start_mix<T>(o, weights, s.values + values.stage * LT_ATTEND_TILE_BYTES, tile == 0);
        give_turn(group);
        keys.next(LT_ATTEND_STAGES);
        ptx::product_wait<1>();
        ptx::product_hold(scores);
        state next = last ? fresh : at;
        /* The wait is in both arms: ptxas moves one before or behind the branch up to where the
         * scores are there, and nothing would run beside the mix. */
        if (soften(s, stage, p.scale, scores, next, shrink, ending)) {
            ptx::product_wait<0>();
            ptx::product_hold(o);
            if (!last) {
                rescale(o, shrink);
            }
        } else {
            ptx::product_wait<0>();
            ptx::product_hold(o);
        }
        hold_weights(weights);
        if (ended) {
            give_back(s.values_empty + values.stage * 8);
        }
        values.next(LT_ATTEND_STAGES);
        if (last) {
            if (ended) {
                first_values = values;
            } else {
                values = first_values;
            }
            finish<T>(p, o, at, s.results, done);
        }
        at = next;
        tile = last ? 0 : tile + 1;
        pack_weights<T>(weights, scores);
    }
    ptx::barrier_wait(s.values_full + values.stage * 8, values.parity);
    ptx::product_hold(o);
    hold_weights(weights);
    ptx::product_fence();
    start_mix<T>(o, weights, s.values + values.stage * LT_ATTEND_TILE_BYTES, tile == 0);
    ptx::product_wait<0>();
    ptx::product_hold(o);
    finish<T>(p, o, at, s.results, done);
    if (group == 0) { /* the last turn that was given */
        await_turn(group);
    }
    if (threadIdx.x % 32 == 0) {
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
            ptx::barrier_init(s.keys_full + i * 8, 2); /* who copies, who brings biases */
            ptx::barrier_init(s.keys_empty + i * 8, computing / 32);
            ptx::barrier_init(s.values_full + i * 8, 1);
            ptx::barrier_init(s.values_empty + i * 8, computing / 32);
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

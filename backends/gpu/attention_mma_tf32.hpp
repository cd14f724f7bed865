/* SPDX-License-Identifier: Apache-2.0 */
/* Fused attention of f32 on tensor cores: y = softmax(scale * q * k^T + mask) * v, letters, strides
 * and masks as in params/attention.h. Storage f32; factors of both products rounded to TF32 (10
 * bits of fraction, to the nearest), sums and softmax f32. The plan is attention_mma.hpp's: a warp
 * has 16 rows of q in registers, a block of 8 warps 128 rows, or 64 of which two groups of warps
 * have half of each tile's keys each. Tiles of keys and values are fetched to registers while the
 * one before is computed with, rounded, and stored beside it.
 *
 * Products are 16 x 8 x 8. Which of eight elements a lane's two factors are is free as long as both
 * operands agree: lane l has elements 2 (l % 4) and one more, so that the fragments of s are those
 * of the second product's left operand, and two elements of a key are one load.
 * Rows in shared memory are D + 8 words of keys and D + 4 of values apart: eight rows' loads then
 * lie in all banks. Tails: as there. Bound by loads from shared memory (two words of a lane for a
 * product) and the exponential. */
#ifndef LT_GPU_ATTENTION_MMA_TF32_HPP
#define LT_GPU_ATTENTION_MMA_TF32_HPP

#include "attention_mma.hpp"

namespace gpu
{

template <int D_, int ROWS_> struct attention_tf32_shape {
    using T = float;
    static constexpr int D = D_, ROWS = ROWS_;
    static constexpr int GROUPS = 128 / ROWS, WARPS = ROWS / 16; /* of a group */
    static constexpr int TILE_KEYS = 2048 / D, KEYS = TILE_KEYS / GROUPS;
    static constexpr int KEY_STEP = D + 8, VALUE_STEP = D + 4; /* words from row to row */
    static constexpr int TILE = TILE_KEYS * KEY_STEP;          /* words of a tile's place */
};

/* How this thread brings tiles of k or v: PASSES pieces of 4 elements each, STEP rows apart. */
template <class C> struct attention_tf32_source {
    static constexpr int PIECES = C::D / 4, STEP = LT_GPU_THREADS / PIECES;
    static constexpr int PASSES = C::TILE_KEYS / STEP;
    const float *from; /* its first piece of the next tile */
    int64_t step;      /* elements of STEP rows */
    int row, column;   /* of that piece */
    int at;            /* its place in a tile */
    bool inside;       /* of the head's size */
    pack<float, 4> fetched[PASSES];
};

template <class C, int WORDS>
GPU_FN attention_tf32_source<C> attention_tf32_start(const float *data, int64_t stride, int size)
{
    using source = attention_tf32_source<C>;
    const int row = thread_x() / source::PIECES, column = thread_x() % source::PIECES * 4;
    source s;
    s.from = data + row * stride + column;
    s.step = source::STEP * stride;
    s.row = row;
    s.column = column;
    s.at = row * WORDS + column;
    s.inside = column < size;
    return s;
}

/* Begins to fetch the next tile. */
template <class C>
GPU_FN void attention_tf32_fetch(attention_tf32_source<C> &s, int rows, bool wide)
{
    GPU_UNROLL
    for (int i = 0; i < s.PASSES; i++) {
        pack<float, 4> v = {{0.0f, 0.0f, 0.0f, 0.0f}};
        if (s.inside && s.row < rows) {
            if (wide) {
                v = load_pack<4>(s.from);
            } else {
                for (int k = 0; k < 4; k++) {
                    v.v[k] = s.from[k];
                }
            }
        }
        s.fetched[i] = v;
        s.from += s.step;
        s.row += s.STEP;
    }
}

/* Stores it, rounded. */
template <class C, int WORDS, class Tile>
GPU_FN void attention_tf32_put(Tile &tile, int to, const attention_tf32_source<C> &s)
{
    GPU_UNROLL
    for (int i = 0; i < s.PASSES; i++) {
        pack<uint32_t, 4> v;
        GPU_UNROLL
        for (int k = 0; k < 4; k++) {
            v.v[k] = to_tf32(s.fetched[i].v[k]);
        }
        store_pack(tile.span(to + s.at + i * s.STEP * WORDS, 4), v);
    }
}

/* s = q k^T of a tile. */
template <class C, class Tile>
GPU_FN void attention_tf32_scores(float (&s)[C::KEYS / 8][4], const uint32_t (&q)[C::D / 8][4],
                                  Tile &keys, int at)
{
    const int lane = thread_x() % 32, from = at + lane / 4 * C::KEY_STEP + 2 * (lane % 4);
    GPU_UNROLL
    for (int n = 0; n < C::KEYS / 8; n++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            s[n][i] = 0.0f;
        }
    }
    GPU_UNROLL
    for (int k = 0; k < C::D / 8; k++) {
        GPU_UNROLL
        for (int n = 0; n < C::KEYS / 8; n++) {
            const pack<uint32_t, 2> b =
                load_pack<2>((const uint32_t *)keys.span(from + 8 * n * C::KEY_STEP + 8 * k, 2));
            mma_tf32(s[n], q[k], b.v[0], b.v[1]);
        }
    }
}

/* o += weights v. */
template <class C, class Tile>
GPU_FN void attention_tf32_mix(float (&o)[C::D / 8][4], const float (&s)[C::KEYS / 8][4],
                               Tile &values, int at)
{
    const int lane = thread_x() % 32, from = at + 2 * (lane % 4) * C::VALUE_STEP + lane / 4;
    GPU_UNROLL
    for (int k = 0; k < C::KEYS / 8; k++) {
        const uint32_t a[4] = {to_tf32(s[k][0]), to_tf32(s[k][2]), to_tf32(s[k][1]),
                               to_tf32(s[k][3])};
        GPU_UNROLL
        for (int n = 0; n < C::D / 8; n++) {
            const int b = from + 8 * k * C::VALUE_STEP + 8 * n;
            mma_tf32(o[n], a, values[b], values[b + C::VALUE_STEP]);
        }
    }
}

/* The fragments of 16 rows of q: a lane's element, zero outside. */
GPU_FN uint32_t attention_tf32_query(const lt_gpu_attention &p, const float *q, int row, int column)
{
    return row < p.q_rows && column < p.head_size ? to_tf32(q[row * p.q_stride[2] + column]) : 0u;
}

template <class C> GPU_FN void attention_tf32_item(const lt_gpu_attention &p, int64_t item)
{
    GPU_SHARED(uint32_t, keys, 2 * C::TILE);
    GPU_SHARED(uint32_t, values, 2 * C::TILE);
    GPU_SHARED(float, biases, 2 * C::TILE_KEYS);
    const attention_head<float> h = attention_locate<C>(p, item);
    const bool wide = aligned_16(p.q) && aligned_16(p.k) && aligned_16(p.v) && aligned_16(p.y);
    const bool own = p.mask_kind != LT_GPU_MASK_NONE && p.mask_stride[2] != 0;
    const int lane = thread_x() % 32, column = 2 * (lane % 4), warp = thread_x() / 32;
    const int row = h.first + warp % C::WARPS * 16 + lane / 4;
    const int key = warp / C::WARPS * C::KEYS; /* first of this warp's in a tile */
    const float scale = p.scale * 1.44269504f;
    uint32_t q[C::D / 8][4];
    float o[C::D / 8][4] = {}, s[C::KEYS / 8][4], bias = 0.0f;
    attention_state state = {{max_op::start, max_op::start}, {0.0f, 0.0f}};
    attention_tf32_source<C> next_keys =
        attention_tf32_start<C, C::KEY_STEP>(h.k, p.k_stride[2], p.head_size);
    attention_tf32_source<C> next_values =
        attention_tf32_start<C, C::VALUE_STEP>(h.v, p.v_stride[2], p.v_size);
    attention_tf32_fetch<C>(next_keys, p.kv_rows, wide);
    attention_tf32_fetch<C>(next_values, p.kv_rows, wide);
    if (thread_x() < C::TILE_KEYS) {
        bias = attention_bias<float>(p, h.mask, thread_x());
    }
    GPU_UNROLL
    for (int k = 0; k < C::D / 8; k++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            q[k][i] = attention_tf32_query(p, h.q, row + 8 * (i & 1), 8 * k + column + (i >> 1));
        }
    }
    barrier(); /* those who still read the tiles of the item before */
    for (int c0 = 0, turn = 0; c0 < h.columns; c0 += C::TILE_KEYS, turn ^= 1) {
        const int next = c0 + C::TILE_KEYS, tile = turn * C::TILE;
        attention_tf32_put<C, C::KEY_STEP>(keys, tile, next_keys);
        attention_tf32_put<C, C::VALUE_STEP>(values, tile, next_values);
        if (thread_x() < C::TILE_KEYS) {
            biases[turn * C::TILE_KEYS + thread_x()] = bias;
        }
        barrier(); /* this tile is here; whoever is here has read the one before */
        if (next < h.columns) {
            attention_tf32_fetch<C>(next_keys, p.kv_rows, wide);
            attention_tf32_fetch<C>(next_values, p.kv_rows, wide);
            if (thread_x() < C::TILE_KEYS) {
                bias = attention_bias<float>(p, h.mask, next + thread_x());
            }
        }
        attention_tf32_scores<C>(s, q, keys, tile + key * C::KEY_STEP);
        attention_add_biases<C>(s, scale, biases, turn * C::TILE_KEYS + key + column);
        if (own || (p.causal != 0 && next > h.first + p.past)) {
            attention_add_own<C>(p, s, h.mask, row, c0 + key + column);
        }
        attention_softmax<C>(s, o, state);
        attention_tf32_mix<C>(o, s, values, tile + key * C::VALUE_STEP);
    }
    if constexpr (C::GROUPS == 2) {
        GPU_SHARED(float, states, 4 * 32 * C::WARPS);
        attention_join<C>(o, state, keys, values, states);
    }
    attention_store<C>(p, h.y + row * p.y_stride[2], o, state, row, wide);
}

template <class C> GPU_FN void attention_tf32(const lt_gpu_attention &p)
{
    const int64_t items = (int64_t)p.batch * p.heads * ((p.q_rows + C::ROWS - 1) / C::ROWS);
    for (int64_t item = block_x(); item < items; item += grid_x()) {
        attention_tf32_item<C>(p, item);
    }
}

} // namespace gpu

#define LT_GPU_ATTENTION_TF32(d, rows)                                                             \
    GPU_KERNEL_OF(lt_gpu_attention_tf32_##d##x##rows, lt_gpu_attention, LT_GPU_THREADS, 128 / d)   \
    {                                                                                              \
        gpu::attention_tf32<gpu::attention_tf32_shape<d, rows>>(p);                                \
    }
LT_GPU_ATTENTION_TF32(64, 64)
LT_GPU_ATTENTION_TF32(64, 128)
LT_GPU_ATTENTION_TF32(128, 64)
LT_GPU_ATTENTION_TF32(128, 128)
#undef LT_GPU_ATTENTION_TF32

#endif

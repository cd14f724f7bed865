/* SPDX-License-Identifier: Apache-2.0 */
/* Fused attention on tensor cores: y = softmax(scale * q * k^T + mask) * v, letters, strides and
 * masks as in params/attention.h; q, k, v, y of T (f16, bf16), sums and softmax f32, weights
 * rounded to T as factors of the second product. After Dao, "FlashAttention-2" (arXiv:2307.08691).
 *
 * A warp has 16 rows of q in registers, a block of 8 warps 128 rows; or 64, and then two groups of
 * warps have the same rows and half of each tile's keys each, and what they summed meets in the
 * end. Keys and values come in tiles to shared memory, two at a time: one is computed with while
 * the next is copied. For each tile, of which a warp has KEYS rows,
 *
 *     s = q k^T           KEYS / 8 fragments of 16 x 8; a lane has 2 numbers of rows l / 4 and + 8
 *     softmax, online     row maximum over 4 lanes; weights by exp2; sums shrink as it grows
 *     o += weights v      the fragments of s are those of the left operand here
 *
 * What is alike for all rows of q - a mask of one row, the end of the keys - is a row of biases in
 * shared memory beside each tile; other masks are read where they are needed.
 * Rows of D elements in shared memory: the 16-byte pieces of row r are exchanged by r % 8
 * (mma.hpp's exchanged), so that eight rows' pieces lie in all banks. Tails: rows of q beyond the
 * end are zeros and not stored; keys beyond are zeros with bias -infinity; head sizes below D are
 * zeros. Bound by tensor cores and the exponential: bench/ladder/attention. */
#ifndef LT_GPU_ATTENTION_MMA_HPP
#define LT_GPU_ATTENTION_MMA_HPP

#include "mma.hpp"
#include "params/attention.h"

namespace gpu
{

template <class T_, int D_, int ROWS_> struct attention_shape {
    using T = T_;
    static constexpr int D = D_, ROWS = ROWS_;
    static constexpr int GROUPS = 128 / ROWS, WARPS = ROWS / 16; /* of a group */
    static constexpr int TILE_KEYS = 4096 / D, KEYS = TILE_KEYS / GROUPS;
    static constexpr int TILE = TILE_KEYS * D; /* elements of a tile of k or v */
};

/* One block's work: pointers at its head, the first of its rows. */
template <class T> struct attention_head {
    const T *q, *k, *v;
    T *y;
    int64_t mask; /* element of the mask */
    int first;
    int columns; /* that any row of the block sees */
};

template <class C>
GPU_FN attention_head<typename C::T> attention_locate(const lt_gpu_attention &p, int64_t item)
{
    using T = typename C::T;
    const int blocks = (p.q_rows + C::ROWS - 1) / C::ROWS;
    const int64_t head = item / blocks % p.heads, image = item / blocks / p.heads;
    const int64_t kv_head = head / (p.heads / p.kv_heads);
    attention_head<T> h;
    h.first = (int)(item % blocks) * C::ROWS;
    h.q = (const T *)p.q + image * p.q_stride[0] + head * p.q_stride[1];
    h.k = (const T *)p.k + image * p.k_stride[0] + kv_head * p.k_stride[1];
    h.v = (const T *)p.v + image * p.v_stride[0] + kv_head * p.v_stride[1];
    h.y = (T *)p.y + image * p.y_stride[0] + head * p.y_stride[1];
    h.mask = image * p.mask_stride[0] + head * p.mask_stride[1];
    h.columns = p.kv_rows;
    if (p.causal != 0 && h.first + C::ROWS + p.past < h.columns) {
        h.columns = h.first + C::ROWS + p.past;
    }
    return h;
}

/* How this thread brings tiles of k or v: PASSES pieces of 8 elements each, STEP rows apart, so
 * that all lie at the same place of the exchange. */
template <class C> struct attention_source {
    static constexpr int PIECES = C::D / 8, STEP = LT_GPU_THREADS / PIECES;
    static constexpr int PASSES = C::TILE_KEYS / STEP;
    const typename C::T *from; /* its first piece of the next tile */
    int64_t step;              /* elements of STEP rows */
    int row;                   /* of that piece */
    int at;                    /* its place in a tile */
    bool inside;               /* of the head's size */
};

template <class C>
GPU_FN attention_source<C> attention_start(const typename C::T *data, int64_t stride, int size)
{
    using source = attention_source<C>;
    const uint32_t thread = (uint32_t)thread_x();
    const int row = (int)(thread / source::PIECES), piece = (int)(thread % source::PIECES);
    static_assert(source::STEP % 8 == 0, "the exchange goes by eight rows");
    return {data + row * stride + 8 * piece, source::STEP * stride, row,
            exchanged<C::D>(row, piece), 8 * piece < size};
}

/* Begins to copy the next tile; `wide`: data on 16 bytes. */
template <class C, class Tile>
GPU_FN void attention_fetch(Tile &tile, int to, attention_source<C> &source, int rows, bool wide)
{
    GPU_UNROLL
    for (int i = 0; i < source.PASSES; i++) {
        const bool take = source.inside && source.row < rows;
        const int at = to + source.at + i * source.STEP * C::D;
        if (wide) {
            copy_8(tile, at, source.from, take);
        } else {
            uint16_t *out = tile.span(at, 8);
            for (int k = 0; k < 8; k++) {
                out[k] = take ? source.from[k].bits : (uint16_t)0;
            }
        }
        source.from += source.step;
        source.row += source.STEP;
    }
}

/* Element `at` of the mask as what is added, to base 2. */
template <class T> GPU_FN float attention_masked(const lt_gpu_attention &p, int64_t at)
{
    if (p.mask_kind == LT_GPU_MASK_BOOL) {
        return ((const uint8_t *)p.mask)[at] != 0 ? 0.0f : max_op::start;
    }
    const bool f32 = p.mask_kind == LT_GPU_MASK_F32;
    return 1.44269504f * (f32 ? ((const float *)p.mask)[at] : to_f32(((const T *)p.mask)[at]));
}

/* What is added to the scaled score of a column in any row, to base 2. */
template <class T> GPU_FN float attention_bias(const lt_gpu_attention &p, int64_t mask, int column)
{
    const bool masked = p.mask_kind != LT_GPU_MASK_NONE;
    if (column >= p.kv_rows || (masked && column >= p.mask_columns)) {
        return max_op::start;
    }
    if (!masked || p.mask_stride[2] != 0) {
        return 0.0f;
    }
    const int64_t at = mask + column * p.mask_stride[3];
    return attention_masked<T>(p, at);
}

/* What hides or changes a score in this row alone. */
template <class T>
GPU_FN float attention_own_bias(const lt_gpu_attention &p, int64_t mask, int row, int column)
{
    if (row >= p.q_rows || column >= p.kv_rows) {
        return 0.0f; /* hidden already, or not stored */
    }
    if (p.causal != 0 && column > row + p.past) {
        return max_op::start;
    }
    if (p.mask_kind == LT_GPU_MASK_NONE || p.mask_stride[2] == 0 || column >= p.mask_columns) {
        return 0.0f;
    }
    const int64_t at = mask + row * p.mask_stride[2] + column * p.mask_stride[3];
    return attention_masked<T>(p, at);
}

template <class C>
GPU_FN void attention_add_own(const lt_gpu_attention &p, float (&s)[C::KEYS / 8][4], int64_t mask,
                              int row, int column)
{
    GPU_UNROLL
    for (int n = 0; n < C::KEYS / 8; n++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            s[n][i] += attention_own_bias<typename C::T>(p, mask, row + 8 * (i >> 1),
                                                         column + 8 * n + (i & 1));
        }
    }
}

/* The fragments of 16 rows of q: two elements, zeros outside. */
template <class T>
GPU_FN uint32_t attention_query(const lt_gpu_attention &p, const T *q, int row, int column,
                                bool wide)
{
    if (row >= p.q_rows || column >= p.head_size) {
        return 0;
    }
    const T *from = q + row * p.q_stride[2] + column;
    return wide ? *(const uint32_t *)from : from[0].bits | (uint32_t)from[1].bits << 16;
}

/* s = q k^T of a tile. */
template <class C, class Tile>
GPU_FN void attention_scores(float (&s)[C::KEYS / 8][4], const uint32_t (&q)[C::D / 16][4],
                             Tile &keys, int at)
{
    GPU_UNROLL
    for (int n = 0; n < C::KEYS / 8; n++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            s[n][i] = 0.0f;
        }
    }
    mma_begin<C::D>(s);
    GPU_UNROLL
    for (int k = 0; k < C::D / 16; k++) {
        mma_rows<typename C::T, C::D>(s, q[k], keys, at, k);
    }
    mma_end<C::D>(s);
}

/* o += weights v. */
template <class C, class Tile>
GPU_FN void attention_mix(float (&o)[C::D / 8][4], const float (&s)[C::KEYS / 8][4], Tile &values,
                          int at)
{
    using T = typename C::T;
    uint32_t a[C::KEYS / 16][4];
    GPU_UNROLL
    for (int k = 0; k < C::KEYS / 16; k++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            const int n = 2 * k + i / 2;
            a[k][i] = pair<T>(s[n][i % 2 * 2], s[n][i % 2 * 2 + 1]);
        }
    }
    mma_begin<C::D>(o);
    GPU_UNROLL
    for (int k = 0; k < C::KEYS / 16; k++) {
        mma_columns<T, C::D>(o, a[k], values, at, k);
    }
    mma_end<C::D>(o);
}

/* Where the softmax of a lane's two rows stands; `total` is of the lane's own columns. */
struct attention_state {
    float largest[2];
    float total[2];
};

/* Scores become weights, o shrinks. */
template <class C>
GPU_FN void attention_softmax(float (&s)[C::KEYS / 8][4], float (&o)[C::D / 8][4],
                              attention_state &state)
{
    GPU_UNROLL
    for (int half = 0; half < 2; half++) {
        float most = state.largest[half], added = 0.0f;
        GPU_UNROLL
        for (int n = 0; n < C::KEYS / 8; n++) {
            most = f_larger(most, f_larger(s[n][2 * half], s[n][2 * half + 1]));
        }
        most = f_larger(most, shuffle_xor(most, 2));
        most = f_larger(most, shuffle_xor(most, 1));
        const float from = most == max_op::start ? 0.0f : most; /* nothing seen yet: weights 0 */
        const float shrink = f_exp2(state.largest[half] - from);
        GPU_UNROLL
        for (int n = 0; n < C::KEYS / 8; n++) {
            GPU_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                s[n][i] = f_exp2(s[n][i] - from);
                added += s[n][i];
            }
        }
        GPU_UNROLL
        for (int n = 0; n < C::D / 8; n++) {
            o[n][2 * half] *= shrink;
            o[n][2 * half + 1] *= shrink;
        }
        state.total[half] = state.total[half] * shrink + added;
        state.largest[half] = most;
    }
}

/* Two neighbours of y; `wide`: y on 16 bytes. */
template <class T> GPU_FN void attention_put(T *y, float low, float high, bool wide)
{
    if (!wide) {
        y[0] = from_f32<T>(low);
        y[1] = from_f32<T>(high);
    } else if constexpr (sizeof(T) == 4) {
        store_pack(y, pack<T, 2>{{low, high}});
    } else {
        *(uint32_t *)y = pair<T>(low, high);
    }
}

/* Divides a lane's two rows by their totals and stores them, y the upper one's. */
template <class C>
GPU_FN void attention_store(const lt_gpu_attention &p, typename C::T *y,
                            const float (&o)[C::D / 8][4], const attention_state &state, int row,
                            bool wide)
{
    const int column = 2 * (thread_x() % 4);
    GPU_UNROLL
    for (int half = 0; half < 2; half++) {
        float total = state.total[half];
        total += shuffle_xor(total, 2);
        total += shuffle_xor(total, 1);
        const bool none = state.largest[half] == max_op::start && total == 0.0f;
        const float factor = 1.0f / total;
        if (row + 8 * half >= p.q_rows || thread_x() / 32 >= C::WARPS) {
            continue;
        }
        GPU_UNROLL
        for (int n = 0; n < C::D / 8; n++) {
            if (8 * n + column < p.v_size) {
                attention_put(y + 8 * half * p.y_stride[2] + 8 * n + column,
                              none ? p.nothing : o[n][2 * half] * factor,
                              none ? p.nothing : o[n][2 * half + 1] * factor, wide);
            }
        }
    }
}

/* A float in shared memory that was declared as halves. */
typedef float aliased_float __attribute__((may_alias));

/* The first group's o and state become those of both. n-th sums of all lanes are neighbours. */
template <class C, class Tile, class States>
GPU_FN void attention_join(float (&o)[C::D / 8][4], attention_state &state, Tile &keys,
                           Tile &values, States &states)
{
    constexpr int lanes = 32 * C::WARPS, parts = C::D / 16;
    const int lane = thread_x() % lanes;
    const bool second = thread_x() >= lanes;
    aliased_float *low = (aliased_float *)keys.span(0, 2 * C::TILE);
    aliased_float *high = (aliased_float *)values.span(0, 2 * C::TILE);
    barrier(); /* nobody reads the last tile */
    if (second) {
        GPU_UNROLL
        for (int n = 0; n < parts; n++) {
            GPU_UNROLL
            for (int i = 0; i < 4; i++) {
                low[(4 * n + i) * lanes + lane] = o[n][i];
                high[(4 * n + i) * lanes + lane] = o[parts + n][i];
            }
        }
        for (int half = 0; half < 2; half++) {
            states[half * lanes + lane] = state.largest[half];
            states[(2 + half) * lanes + lane] = state.total[half];
        }
    }
    barrier();
    if (second) {
        return;
    }
    GPU_UNROLL
    for (int half = 0; half < 2; half++) {
        const float other = states[half * lanes + lane];
        const float most = f_larger(state.largest[half], other);
        const float from = most == max_op::start ? 0.0f : most;
        const float mine = f_exp2(state.largest[half] - from), theirs = f_exp2(other - from);
        GPU_UNROLL
        for (int n = 0; n < parts; n++) {
            GPU_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                const int at = (4 * n + i) * lanes + lane;
                o[n][i] = o[n][i] * mine + low[at] * theirs;
                o[parts + n][i] = o[parts + n][i] * mine + high[at] * theirs;
            }
        }
        state.total[half] = state.total[half] * mine + states[(2 + half) * lanes + lane] * theirs;
        state.largest[half] = most;
    }
}

/* Scores times scale, plus the biases of their keys; `first`: of this lane's first key. */
template <class C, class Biases>
GPU_FN void attention_add_biases(float (&s)[C::KEYS / 8][4], float scale, Biases &biases, int first)
{
    GPU_UNROLL
    for (int n = 0; n < C::KEYS / 8; n++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            s[n][i] = f_fma(s[n][i], scale, biases[first + 8 * n + (i & 1)]);
        }
    }
}

template <class C> GPU_FN void attention_mma_item(const lt_gpu_attention &p, int64_t item)
{
    using T = typename C::T;
    GPU_SHARED(uint16_t, keys, 2 * C::TILE);
    GPU_SHARED(uint16_t, values, 2 * C::TILE);
    GPU_SHARED(float, biases, 2 * C::TILE_KEYS);
    const attention_head<T> h = attention_locate<C>(p, item);
    const bool wide = aligned_16(p.q) && aligned_16(p.k) && aligned_16(p.v) && aligned_16(p.y);
    const bool own = p.mask_kind != LT_GPU_MASK_NONE && p.mask_stride[2] != 0;
    const int lane = thread_x() % 32, column = 2 * (lane % 4), warp = thread_x() / 32;
    const int row = h.first + warp % C::WARPS * 16 + lane / 4;
    const int key = warp / C::WARPS * C::KEYS; /* first of this warp's in a tile */
    const float scale = p.scale * 1.44269504f;
    uint32_t q[C::D / 16][4];
    float o[C::D / 8][4] = {}, s[C::KEYS / 8][4], bias = 0.0f;
    attention_state state = {{max_op::start, max_op::start}, {0.0f, 0.0f}};
    barrier(); /* those who still read the tiles of the item before */
    attention_source<C> next_keys = attention_start<C>(h.k, p.k_stride[2], p.head_size);
    attention_source<C> next_values = attention_start<C>(h.v, p.v_stride[2], p.v_size);
    attention_fetch<C>(keys, 0, next_keys, p.kv_rows, wide);
    attention_fetch<C>(values, 0, next_values, p.kv_rows, wide);
    if (thread_x() < C::TILE_KEYS) {
        bias = attention_bias<T>(p, h.mask, thread_x());
    }
    GPU_UNROLL
    for (int k = 0; k < C::D / 16; k++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            q[k][i] =
                attention_query<T>(p, h.q, row + 8 * (i & 1), 16 * k + column + 8 * (i >> 1), wide);
        }
    }
    for (int c0 = 0, turn = 0; c0 < h.columns; c0 += C::TILE_KEYS, turn ^= 1) {
        const int next = c0 + C::TILE_KEYS, tile = turn * C::TILE;
        if (thread_x() < C::TILE_KEYS) {
            biases[turn * C::TILE_KEYS + thread_x()] = bias;
        }
        copies_wait();
        mma_visible();
        barrier(); /* this tile is here, and nobody reads the one before */
        if (next < h.columns) {
            attention_fetch<C>(keys, C::TILE - tile, next_keys, p.kv_rows, wide);
            attention_fetch<C>(values, C::TILE - tile, next_values, p.kv_rows, wide);
            if (thread_x() < C::TILE_KEYS) {
                bias = attention_bias<T>(p, h.mask, next + thread_x());
            }
        }
        attention_scores<C>(s, q, keys, tile + key * C::D);
        attention_add_biases<C>(s, scale, biases, turn * C::TILE_KEYS + key + column);
        if (own || (p.causal != 0 && next > h.first + p.past)) {
            attention_add_own<C>(p, s, h.mask, row, c0 + key + column);
        }
        attention_softmax<C>(s, o, state);
        attention_mix<C>(o, s, values, tile + key * C::D);
    }
    if constexpr (C::GROUPS == 2) {
        GPU_SHARED(float, states, 4 * 32 * C::WARPS);
        attention_join<C>(o, state, keys, values, states);
    }
    attention_store<C>(p, h.y + row * p.y_stride[2], o, state, row, wide);
}

template <class C> GPU_FN void attention_mma(const lt_gpu_attention &p)
{
    const int64_t items = (int64_t)p.batch * p.heads * ((p.q_rows + C::ROWS - 1) / C::ROWS);
    for (int64_t item = block_x(); item < items; item += grid_x()) {
        attention_mma_item<C>(p, item);
    }
}

} // namespace gpu

#define LT_GPU_ATTENTION_MMA(type, name, d, rows)                                                  \
    GPU_KERNEL_OF(lt_gpu_attention_mma_##name##_##d##x##rows, lt_gpu_attention, LT_GPU_THREADS,    \
                  128 / d)                                                                         \
    {                                                                                              \
        gpu::attention_mma<gpu::attention_shape<type, d, rows>>(p);                                \
    }
LT_GPU_ATTENTION_MMA(gpu::f16, f16, 64, 64)
LT_GPU_ATTENTION_MMA(gpu::f16, f16, 64, 128)
LT_GPU_ATTENTION_MMA(gpu::f16, f16, 128, 64)
LT_GPU_ATTENTION_MMA(gpu::f16, f16, 128, 128)
LT_GPU_ATTENTION_MMA(gpu::bf16, bf16, 64, 64)
LT_GPU_ATTENTION_MMA(gpu::bf16, bf16, 64, 128)
LT_GPU_ATTENTION_MMA(gpu::bf16, bf16, 128, 64)
LT_GPU_ATTENTION_MMA(gpu::bf16, bf16, 128, 128)
#undef LT_GPU_ATTENTION_MMA

#endif

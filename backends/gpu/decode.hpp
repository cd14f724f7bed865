/* SPDX-License-Identifier: Apache-2.0 */
/* What language models run token by token; parameters: params/decode.h.
 *
 * Attention of few queries over a long cache: a block takes one row of q and one part of the keys.
 * D / V threads (V elements in 16 bytes) share a key: each has V elements of q, of k and of v, so
 * that a warp reads whole rows; the groups of the block walk over the keys with the online softmax
 * (Milakov and Gimelshein, arXiv:1805.02867), each for itself; at the end those of a warp meet by
 * shuffles, warps in shared memory.
 * Parts of one row are joined likewise by a second kernel. Storage T, all else f32. Bound by
 * the bytes of keys and values, and for short caches by the latency of a few such reads. */
#ifndef LT_GPU_DECODE_HPP
#define LT_GPU_DECODE_HPP

#include "gpu.hpp"
#include "params/decode.h"

namespace gpu
{

/* ---- attention ------------------------------------------------------------------------------- */

/* V elements from `at` on of a row of `size`; beyond it 0. */
template <class T, int V>
GPU_FN void decode_load(const T *row, int at, int size, bool packed, float (&out)[V])
{
    if (packed && at + V <= size) {
        const pack<T, V> x = load_pack<V>(row + at);
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            out[i] = to_f32(x.v[i]);
        }
        return;
    }
    for (int i = 0; i < V; i++) {
        out[i] = at + i < size ? to_f32(row[at + i]) : 0.0f;
    }
}

/* Where the rows of one head are: of the past, then the new ones. */
template <class T> struct decode_rows {
    const T *past;
    const T *added;
    int64_t past_stride;
    int64_t added_stride;
    int past_rows;
    bool packed;

    GPU_FN const T *row(int i) const
    {
        return i < past_rows ? past + i * past_stride : added + (i - past_rows) * added_stride;
    }
};

template <class T>
GPU_FN decode_rows<T> decode_find(const void *past, const int64_t *past_stride, const void *added,
                                  const int64_t *stride, int past_rows, int64_t batch, int64_t head)
{
    constexpr int V = per_16_bytes<T>;
    decode_rows<T> r = {};
    if (past_rows > 0) {
        r.past = (const T *)past + batch * past_stride[0] + head * past_stride[1];
    }
    r.added = (const T *)added + batch * stride[0] + head * stride[1];
    r.past_stride = past_stride[2];
    r.added_stride = stride[2];
    r.past_rows = past_rows;
    r.packed = aligned_16(r.past) && aligned_16(r.added) && stride[2] % V == 0 &&
               (past_rows == 0 || past_stride[2] % V == 0);
    return r;
}

/* Keys of a batch item that count. */
GPU_FN int decode_count(const lt_gpu_decode &p, int64_t batch)
{
    const int all = p.past_rows + p.kv_rows;
    if (p.lengths == nullptr) {
        return all;
    }
    const int64_t count = p.lengths[batch];
    if (count < 0 || count > all) {
        atomic_or(p.error, 1u);
        return count < 0 ? 0 : all;
    }
    return (int)count;
}

/* Keys that row i sees, at most. */
GPU_FN int decode_end(const lt_gpu_decode &p, int count, int i)
{
    if (p.causal == 0) {
        return count;
    }
    const int before = p.lengths != nullptr ? count - p.q_rows : p.past_rows;
    const int end = before + i + 1;
    return end < 0 ? 0 : end < count ? end : count;
}

/* A dot product as a score; -infinity hides it. */
template <class T>
GPU_FN float decode_score(const lt_gpu_decode &p, int64_t mask, int column, float dot)
{
    float s = p.scale * dot;
    if (p.softcap != 0.0f) {
        s = p.softcap * f_tanh(s / p.softcap);
    }
    if (p.mask_kind == LT_GPU_DECODE_UNMASKED) {
        return s;
    }
    if (column >= p.mask_columns) {
        return max_op::start;
    }
    const int64_t at = mask + column * p.mask_stride[3];
    if (p.mask_kind == LT_GPU_DECODE_ADDED) {
        return s + to_f32(((const T *)p.mask)[at]);
    }
    return ((const uint8_t *)p.mask)[at] != 0 ? s : max_op::start;
}

/* One of several sums that are weighted by exponentials from their own largest score. */
struct decode_sum {
    float largest;
    float total;
};

/* The factor of a sum where `most` is the largest score of all; 0 for one that saw nothing. */
GPU_FN float decode_factor(float largest, float most)
{
    return largest == max_op::start ? 0.0f : f_exp(largest - most);
}

template <class T, int D> struct decode_shape {
    static constexpr int V = per_16_bytes<T>;
    static constexpr int lanes = D / V; /* threads of a key */
    static constexpr int groups = LT_GPU_THREADS / lanes;
    static constexpr int warps = LT_GPU_THREADS / 32; /* at most */
    static constexpr int ahead = 2; /* keys that a group reads before it uses them */
};

/* This thread's part of the keys [begin, end). Lanes of a warp stay together. */
template <class T, int D>
GPU_FN decode_sum decode_walk(const lt_gpu_decode &p, const decode_rows<T> &k,
                              const decode_rows<T> &v, const float (&q)[per_16_bytes<T>],
                              int64_t mask, int begin, int end, float (&sums)[per_16_bytes<T>])
{
    using shape = decode_shape<T, D>;
    constexpr int V = shape::V, U = shape::ahead;
    const int group = thread_x() / shape::lanes, at = thread_x() % shape::lanes * V;
    decode_sum own = {max_op::start, 0.0f};
    for (int base = begin; base < end; base += shape::groups * U) {
        float keys[U][V], values[U][V], scores[U];
        GPU_UNROLL
        for (int u = 0; u < U; u++) {
            const int c = base + u * shape::groups + group;
            if (c < end) {
                decode_load<T, V>(k.row(c), at, p.head_size, k.packed, keys[u]);
                decode_load<T, V>(v.row(c), at, p.v_size, v.packed, values[u]);
            } else {
                for (int i = 0; i < V; i++) {
                    keys[u][i] = values[u][i] = 0.0f;
                }
            }
        }
        float most = own.largest;
        GPU_UNROLL
        for (int u = 0; u < U; u++) {
            const int c = base + u * shape::groups + group;
            float dot = 0.0f;
            for (int i = 0; i < V; i++) {
                dot = f_fma(q[i], keys[u][i], dot);
            }
            for (int step = shape::lanes / 2; step > 0; step /= 2) {
                dot += shuffle_xor(dot, step);
            }
            scores[u] = c < end ? decode_score<T>(p, mask, c, dot) : max_op::start;
            most = max_op::apply(most, scores[u]);
        }
        const float shrink = decode_factor(own.largest, most);
        own.total *= shrink;
        for (int i = 0; i < V; i++) {
            sums[i] *= shrink;
        }
        GPU_UNROLL
        for (int u = 0; u < U; u++) {
            const float weight = decode_factor(scores[u], most);
            own.total += weight;
            for (int i = 0; i < V; i++) {
                sums[i] = f_fma(weight, values[u][i], sums[i]);
            }
        }
        own.largest = most;
    }
    return own;
}

/* The sums of a warp's groups, which all of them get. */
template <int V> GPU_FN void decode_meet(int lanes, decode_sum &own, float (&sums)[V])
{
    for (int step = lanes; step < warp_width(); step *= 2) {
        const float other = shuffle_xor(own.largest, step);
        const float most = max_op::apply(own.largest, other);
        const float mine = decode_factor(own.largest, most), theirs = decode_factor(other, most);
        own.total = own.total * mine + shuffle_xor(own.total, step) * theirs;
        for (int i = 0; i < V; i++) {
            sums[i] = sums[i] * mine + shuffle_xor(sums[i], step) * theirs;
        }
        own.largest = most;
    }
}

/* Largest score and total of n sums, each scaled to the largest. */
template <class Get> GPU_FN decode_sum decode_total(int n, const Get &get)
{
    decode_sum all = {max_op::start, 0.0f};
    for (int i = 0; i < n; i++) {
        all.largest = max_op::apply(all.largest, get(i).largest);
    }
    for (int i = 0; i < n; i++) {
        all.total += get(i).total * decode_factor(get(i).largest, all.largest);
    }
    return all;
}

template <class T, int D> GPU_FN void decode_item(const lt_gpu_decode &p, int64_t item)
{
    using shape = decode_shape<T, D>;
    constexpr int V = shape::V;
    GPU_SHARED(float, sums_of, shape::warps *D);
    GPU_SHARED(decode_sum, of, shape::warps);
    const int split = (int)(item % p.splits);
    const int64_t row = item / p.splits;
    const int i = (int)(row % p.q_rows);
    const int64_t head = row / p.q_rows % p.heads, batch = row / p.q_rows / p.heads;
    const int64_t kv_head = head / (p.heads / p.kv_heads);
    const int warp = thread_x() / warp_width(), lane = thread_x() % warp_width();
    const int warps = LT_GPU_THREADS / warp_width(), at = thread_x() % shape::lanes * V;
    const T *q_row =
        (const T *)p.q + batch * p.q_stride[0] + head * p.q_stride[1] + i * p.q_stride[2];
    const decode_rows<T> k =
        decode_find<T>(p.past_k, p.past_k_stride, p.k, p.k_stride, p.past_rows, batch, kv_head);
    const decode_rows<T> v =
        decode_find<T>(p.past_v, p.past_v_stride, p.v, p.v_stride, p.past_rows, batch, kv_head);
    const int end = decode_end(p, decode_count(p, batch), i);
    const int part = (end + p.splits - 1) / p.splits, begin = split * part;
    const int64_t mask = batch * p.mask_stride[0] + head * p.mask_stride[1] + i * p.mask_stride[2];
    float q[V], sums[V] = {};
    decode_load<T, V>(q_row, at, p.head_size, false, q);
    decode_sum own =
        decode_walk<T, D>(p, k, v, q, mask, begin, begin + part < end ? begin + part : end, sums);
    decode_meet(shape::lanes, own, sums);
    barrier(); /* those who still read the sums of the item before */
    for (int e = 0; e < V && lane < shape::lanes; e++) {
        sums_of[warp * D + at + e] = sums[e];
    }
    if (lane == 0) {
        of[warp] = own;
    }
    barrier();
    if (thread_x() >= D) {
        return;
    }
    const int d = thread_x();
    const auto get = [&](int g) { return of[g]; };
    const decode_sum all = decode_total(warps, get);
    float sum = 0.0f;
    for (int g = 0; g < warps; g++) {
        sum += sums_of[g * D + d] * decode_factor(get(g).largest, all.largest);
    }
    if (p.splits > 1) {
        float *to = p.parts + item * (p.v_size + 2);
        if (d < p.v_size) {
            to[2 + d] = sum;
        }
        if (d == 0) {
            to[0] = all.largest;
            to[1] = all.total;
        }
    } else if (d < p.v_size) {
        T *y = (T *)p.y + batch * p.y_stride[0] + head * p.y_stride[1] + i * p.y_stride[2];
        y[d] = from_f32<T>(all.total != 0.0f ? sum / all.total : 0.0f);
    }
}

template <class T, int D> GPU_FN void decode(const lt_gpu_decode &p)
{
    const int64_t items = (int64_t)p.batch * p.heads * p.q_rows * p.splits;
    for (int64_t item = block_x(); item < items; item += grid_x()) {
        decode_item<T, D>(p, item);
    }
}

template <class T> GPU_FN void decode_join(const lt_gpu_decode &p)
{
    const int width = warp_width(), lane = thread_x() % width;
    const int warps = LT_GPU_THREADS / width;
    const int64_t rows = (int64_t)p.batch * p.heads * p.q_rows;
    for (int64_t row = (int64_t)block_x() * warps + thread_x() / width; row < rows;
         row += (int64_t)grid_x() * warps) {
        const int64_t i = row % p.q_rows, head = row / p.q_rows % p.heads;
        const int64_t batch = row / p.q_rows / p.heads;
        const int64_t size = p.v_size + 2;
        const float *parts = p.parts + row * p.splits * size;
        const auto get = [&](int s) { return decode_sum{parts[s * size], parts[s * size + 1]}; };
        const decode_sum all = decode_total(p.splits, get);
        T *y = (T *)p.y + batch * p.y_stride[0] + head * p.y_stride[1] + i * p.y_stride[2];
        for (int d = lane; d < p.v_size; d += width) {
            float sum = 0.0f;
            for (int s = 0; s < p.splits; s++) {
                sum += parts[s * size + 2 + d] * decode_factor(get(s).largest, all.largest);
            }
            y[d] = from_f32<T>(all.total != 0.0f ? sum / all.total : 0.0f);
        }
    }
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

template <class T> GPU_FN void rotary(const lt_gpu_rotary &p)
{
    for (int64_t n = global_thread(); n < p.count; n += grid_threads()) {
        uint32_t token = (uint32_t)n;
        const int e = (int)split(token, p.size);
        const T *x = (const T *)p.x + (n - e);
        T *y = (T *)p.y + n;
        if (e >= 2 * p.half) {
            *y = x[e];
            continue;
        }
        if (p.heads_first != 0) { /* [batch][heads][seq] */
            uint32_t batch = token;
            const uint32_t t = split(batch, p.seq);
            token = divide(batch, p.heads) * p.seq.value + t;
        } else {
            token = divide(token, p.heads);
        }
        const int64_t row = p.positions != nullptr ? p.positions[token] : (int64_t)token;
        if (row < 0 || row >= p.table_rows) {
            atomic_or(p.error, 1u);
            *y = from_f32<T>(0.0f);
            continue;
        }
        const int i = p.interleaved != 0 ? e / 2 : e % p.half;
        const bool second = p.interleaved != 0 ? e % 2 != 0 : e >= p.half;
        const float a = to_f32(x[p.interleaved != 0 ? 2 * i : i]);
        const float b = to_f32(x[p.interleaved != 0 ? 2 * i + 1 : p.half + i]);
        const float c = to_f32(((const T *)p.cosines)[row * p.half + i]);
        const float s = to_f32(((const T *)p.sines)[row * p.half + i]);
        *y = from_f32<T>(second ? a * s + b * c : a * c - b * s);
    }
}

/* ---- writing into a cache -------------------------------------------------------------------- */

/* Where the update of a batch item begins; -1: nowhere. */
GPU_FN int64_t scatter_first(const lt_gpu_tensor_scatter &p, int64_t batch)
{
    const int64_t length = p.length.value;
    int64_t first = p.indices != nullptr ? p.indices[batch] : 0;
    if (p.circular != 0) {
        first %= length;
        return first < 0 ? first + length : first;
    }
    if (first < 0 || first > length - (int64_t)p.added.value) {
        atomic_or(p.error, 1u);
        return -1;
    }
    return first;
}

/* In place: elements of the update, each to its place. */
template <class T> GPU_FN void scatter_update(const lt_gpu_tensor_scatter &p)
{
    const int64_t count = (int64_t)p.batch * p.rows.value * p.added.value * p.run.value;
    for (int64_t n = global_thread(); n < count; n += grid_threads()) {
        uint32_t row = (uint32_t)n;
        const uint32_t e = split(row, p.run), i = split(row, p.added);
        const int64_t first = scatter_first(p, divide(row, p.rows));
        if (first >= 0) {
            int64_t to = first + i;
            to -= to >= (int64_t)p.length.value ? p.length.value : 0;
            ((T *)p.y)[(row * (int64_t)p.length.value + to) * p.run.value + e] =
                ((const T *)p.update)[n];
        }
    }
}

template <class T> GPU_FN void tensor_scatter(const lt_gpu_tensor_scatter &p)
{
    if (p.x == p.y) {
        scatter_update<T>(p);
        return;
    }
    const int64_t count = (int64_t)p.batch * p.rows.value * p.length.value * p.run.value;
    for (int64_t n = global_thread(); n < count; n += grid_threads()) {
        uint32_t row = (uint32_t)n;
        const uint32_t e = split(row, p.run), to = split(row, p.length);
        const int64_t first = scatter_first(p, divide(row, p.rows));
        int64_t i = (int64_t)to - first;
        i += i < 0 ? p.length.value : 0;
        const bool fresh = first >= 0 && i < (int64_t)p.added.value;
        ((T *)p.y)[n] =
            fresh ? ((const T *)p.update)[(row * (int64_t)p.added.value + i) * p.run.value + e]
                  : ((const T *)p.x)[n];
    }
}

} // namespace gpu

#define LT_GPU_DECODES(type, name)                                                                 \
    GPU_KERNEL(lt_gpu_decode_##name##_64, lt_gpu_decode)                                           \
    {                                                                                              \
        gpu::decode<type, 64>(p);                                                                  \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_decode_##name##_128, lt_gpu_decode)                                          \
    {                                                                                              \
        gpu::decode<type, 128>(p);                                                                 \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_decode_join_##name, lt_gpu_decode)                                           \
    {                                                                                              \
        gpu::decode_join<type>(p);                                                                 \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_rotary_##name, lt_gpu_rotary)                                                \
    {                                                                                              \
        gpu::rotary<type>(p);                                                                      \
    }
LT_GPU_DECODES(float, f32)
LT_GPU_DECODES(gpu::f16, f16)
LT_GPU_DECODES(gpu::bf16, bf16)
#undef LT_GPU_DECODES

#define LT_GPU_SCATTERS(type, bytes)                                                               \
    GPU_KERNEL(lt_gpu_tensor_scatter_##bytes, lt_gpu_tensor_scatter)                               \
    {                                                                                              \
        gpu::tensor_scatter<type>(p);                                                              \
    }
LT_GPU_SCATTERS(uint8_t, 1)
LT_GPU_SCATTERS(uint16_t, 2)
LT_GPU_SCATTERS(uint32_t, 4)
LT_GPU_SCATTERS(uint64_t, 8)
#undef LT_GPU_SCATTERS

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNorm, RMSNorm, each with a skip connection; BatchNorm, InstanceNorm, GroupNorm. f32 sums;
 * the variance is that of differences from the mean (two passes; the second reads from cache).
 * Bound by bytes. Parameters: params/norm.h. */
#ifndef LT_GPU_NORM_HPP
#define LT_GPU_NORM_HPP

#include "function.hpp"
#include "params/norm.h"
#include "team.hpp"

namespace gpu
{

/* V elements of x. */
template <class T, int V> GPU_FN void norm_unpack(const pack<T, V> &x, float (&s)[V])
{
    for (int k = 0; k < V; k++) {
        s[k] = to_f32(x.v[k]);
    }
}

template <int V> GPU_FN float norm_sum(const float (&s)[V])
{
    float sum = 0.0f;
    for (int k = 0; k < V; k++) {
        sum += s[k];
    }
    return sum;
}

/* Elements become differences from the mean; the sum of their squares. */
template <int V> GPU_FN float norm_center(float (&s)[V], float mean)
{
    float squares = 0.0f;
    for (int k = 0; k < V; k++) {
        s[k] -= mean;
        squares = f_fma(s[k], s[k], squares);
    }
    return squares;
}

/* y of V differences from the mean. BOTH: there are scale and bias, and nothing to choose for each
 * element. */
template <bool BOTH, class T, int V>
GPU_FN void norm_store(const lt_gpu_layer_norm &p, T *y, int i, const float (&s)[V], float inverse)
{
    pack<T, V> out, scale, bias;
    for (int k = 0; k < V && !BOTH; k++) {
        scale.v[k] = from_f32<T>(1.0f);
        bias.v[k] = from_f32<T>(0.0f);
    }
    if (BOTH || p.scale != nullptr) {
        scale = load_pack<V>((const T *)p.scale + i);
    }
    if (BOTH || p.bias != nullptr) {
        bias = load_pack<V>((const T *)p.bias + i);
    }
    for (int k = 0; k < V; k++) {
        out.v[k] = from_f32<T>(f_fma(s[k] * inverse, to_f32(scale.v[k]), to_f32(bias.v[k])));
    }
    store_pack<V>(y + i, out);
}

/* A row's statistics from its sum of squares: 1 / sqrt(...). */
template <class Team>
GPU_FN float norm_finish(const lt_gpu_layer_norm &p, int64_t row, float mean, float squares)
{
    const float inverse =
        1.0f / f_sqrt(Team::template reduce<add_op>(squares) / (float)p.n + p.epsilon);
    if (member<Team>() == 0) {
        if (p.mean != nullptr) {
            p.mean[row] = mean;
        }
        if (p.inverse != nullptr) {
            p.inverse[row] = inverse;
        }
    }
    return inverse;
}

/* Rows that fit the team's registers: read once. A member has STEPS packs of V elements; all of
 * them are on their way before the first is used, which would wait for memory STEPS times. */
template <class T, class Team, int V, int STEPS>
GPU_FN void layer_norm_held(const lt_gpu_layer_norm &p)
{
    const int step = Team::size() * V, first = member<Team>() * V;
    const bool both = p.scale != nullptr && p.bias != nullptr;
    for (int64_t row = Team::first(); row < p.rows; row += Team::count()) {
        const T *x = (const T *)p.x + row * p.n;
        T *y = (T *)p.y + row * p.n;
        pack<uint32_t, 4> read[STEPS] = {}; /* words: zeros beyond the row's end cost nothing */
        float s[STEPS][V], mean = 0.0f, squares = 0.0f;
        GPU_UNROLL
        for (int j = 0; j < STEPS; j++) {
            if (first + j * step < p.n) {
                read[j] = load_pack<4>((const uint32_t *)(x + first + j * step));
            }
        }
        GPU_UNROLL
        for (int j = 0; j < STEPS; j++) {
            norm_unpack(__builtin_bit_cast(pack<T, V>, read[j]), s[j]);
            mean += norm_sum(s[j]);
        }
        mean = p.rms == 0 ? Team::template reduce<add_op>(mean) / (float)p.n : 0.0f;
        GPU_UNROLL
        for (int j = 0; j < STEPS; j++) {
            const float more = norm_center(s[j], mean);
            squares += first + j * step < p.n ? more : 0.0f;
        }
        const float inverse = norm_finish<Team>(p, row, mean, squares);
        GPU_UNROLL
        for (int j = 0; j < STEPS; j++) {
            if (first + j * step < p.n && both) {
                norm_store<true>(p, y, first + j * step, s[j], inverse);
            } else if (first + j * step < p.n) {
                norm_store<false>(p, y, first + j * step, s[j], inverse);
            }
        }
    }
}

template <class T, class Team, int V> GPU_FN void layer_norm_rows(const lt_gpu_layer_norm &p)
{
    const int step = Team::size() * V, first = member<Team>() * V;
    for (int64_t row = Team::first(); row < p.rows; row += Team::count()) {
        const T *x = (const T *)p.x + row * p.n;
        T *y = (T *)p.y + row * p.n;
        float s[V], mean = 0.0f, squares = 0.0f;
        if (p.rms == 0) {
            for (int i = first; i < p.n; i += step) {
                norm_unpack(load_pack<V>(x + i), s);
                mean += norm_sum(s);
            }
            mean = Team::template reduce<add_op>(mean) / (float)p.n;
        }
        for (int i = first; i < p.n; i += step) {
            norm_unpack(load_pack<V>(x + i), s);
            squares += norm_center(s, mean);
        }
        const float inverse = norm_finish<Team>(p, row, mean, squares);
        for (int i = first; i < p.n; i += step) {
            norm_unpack(load_pack<V>(x + i), s);
            (void)norm_center(s, mean);
            norm_store<false>(p, y, i, s, inverse);
        }
    }
}

template <class T, class Team> GPU_FN void layer_norm(const lt_gpu_layer_norm &p)
{
    constexpr int V = per_16_bytes<T>, STEPS = 4;
    /* NULL is aligned. */
    if (p.n % V != 0 || !aligned_16(p.x) || !aligned_16(p.y) || !aligned_16(p.scale) ||
        !aligned_16(p.bias)) {
        layer_norm_rows<T, Team, 1>(p);
    } else if (p.n <= Team::size() * V * STEPS) {
        layer_norm_held<T, Team, V, STEPS>(p);
    } else {
        layer_norm_rows<T, Team, V>(p);
    }
}

template <class T> GPU_FN void batch_norm(const lt_gpu_batch_norm &p)
{
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        uint32_t c = divide((uint32_t)i, p.inner);
        c = split(c, p.channels);
        const float factor = p.scale[c] / f_sqrt(p.variance[c] + p.epsilon);
        const float v = (to_f32(((const T *)p.x)[i]) - p.mean[c]) * factor + p.bias[c];
        ((T *)p.y)[i] = from_f32<T>(apply_activation(p.activation, v));
    }
}

/* Where element e of a group lies: neighbours in memory are neighbours in number. */
GPU_FN int64_t group_offset(const lt_gpu_group_norm &p, int64_t e, int group_channels, int &channel)
{
    const bool by_pixel = p.pixel_stride == 1;
    channel = (int)(by_pixel ? e / p.pixels : e % group_channels);
    const int64_t pixel = by_pixel ? e % p.pixels : e / group_channels;
    return channel * p.channel_stride + pixel * p.pixel_stride;
}

template <class T> GPU_FN void group_norm(const lt_gpu_group_norm &p)
{
    const int channels = p.channels / p.groups;
    const int64_t count = (int64_t)channels * p.pixels;
    for (int item = block_x(); item < p.images * p.groups; item += grid_x()) {
        const int c0 = item % p.groups * channels;
        const int64_t base =
            (int64_t)(item / p.groups) * p.channels * p.pixels + c0 * p.channel_stride;
        const T *x = (const T *)p.x + base;
        T *y = (T *)p.y + base;
        int c;
        float mean = 0.0f, squares = 0.0f;
        for (int64_t e = thread_x(); e < count; e += LT_GPU_THREADS) {
            mean += to_f32(x[group_offset(p, e, channels, c)]);
        }
        mean = block_reduce<add_op>(mean) / (float)count;
        for (int64_t e = thread_x(); e < count; e += LT_GPU_THREADS) {
            const float d = to_f32(x[group_offset(p, e, channels, c)]) - mean;
            squares += d * d;
        }
        squares = block_reduce<add_op>(squares);
        const float inverse = 1.0f / f_sqrt(squares / (float)count + p.epsilon);
        for (int64_t e = thread_x(); e < count; e += LT_GPU_THREADS) {
            const int64_t at = group_offset(p, e, channels, c);
            const float v = (to_f32(x[at]) - mean) * inverse;
            y[at] = from_f32<T>(v * p.scale[c0 + c] + p.bias[c0 + c]);
        }
    }
}

} // namespace gpu

#define LT_GPU_NORMS(type, name)                                                                   \
    GPU_KERNEL_OF(lt_gpu_layer_norm_warp_##name, lt_gpu_layer_norm, LT_GPU_THREADS, 4)             \
    {                                                                                              \
        gpu::layer_norm<type, gpu::warp_team>(p);                                                  \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_layer_norm_block_##name, lt_gpu_layer_norm)                                  \
    {                                                                                              \
        gpu::layer_norm<type, gpu::block_team>(p);                                                 \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_batch_norm_##name, lt_gpu_batch_norm)                                        \
    {                                                                                              \
        gpu::batch_norm<type>(p);                                                                  \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_group_norm_##name, lt_gpu_group_norm)                                        \
    {                                                                                              \
        gpu::group_norm<type>(p);                                                                  \
    }
LT_GPU_NORMS(float, f32)
LT_GPU_NORMS(gpu::f16, f16)
LT_GPU_NORMS(gpu::bf16, bf16)
#undef LT_GPU_NORMS

#endif

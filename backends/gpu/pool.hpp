/* SPDX-License-Identifier: Apache-2.0 */
/* MaxPool and AveragePool, any layout by strides: a thread for an element of y, or 16 bytes of them
 * in NHWC. Bound by bytes; the windows' overlaps come from cache. Global pooling in NHWC: a block
 * for an image's 64 channels. Parameters: params/conv.h. */
#ifndef LT_GPU_POOL_HPP
#define LT_GPU_POOL_HPP

#include "gpu.hpp"
#include "params/conv.h"

namespace gpu
{

/* Steps of a window that begins at `begin` that lie in [lowest, highest). */
GPU_FN int window_count(int begin, int taps, int dilation, int lowest, int highest)
{
    int n = 0;
    for (int k = 0; k < taps; k++) {
        const int at = begin + k * dilation;
        n += at >= lowest && at < highest;
    }
    return n;
}

/* What V channels of a window have come to. */
template <class T_, int V_> struct pool_floats {
    typedef T_ T;
    static constexpr int V = V_;
    typedef pack<T, V> packed;
    float v[V];

    GPU_FN void start(const lt_gpu_pool &p)
    {
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            v[i] = p.average != 0 ? add_op::start : max_op::start;
        }
    }
    GPU_FN void add(const lt_gpu_pool &p, const packed &u)
    {
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            const float f = to_f32(u.v[i]);
            v[i] = p.average != 0 ? v[i] + f : max_op::apply(v[i], f);
        }
    }
    GPU_FN packed result(const lt_gpu_pool &p, int count) const
    {
        packed y;
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            y.v[i] = from_f32<T>(p.average != 0 ? v[i] / (float)count : v[i]);
        }
        return y;
    }
};

/* The largest of bytes, two to a word: a byte is compared as the upper one of a half, where what
 * lies below it changes nothing. Three instructions for four bytes; as floats they were 20. */
template <class T_, class Half> struct pool_bytes {
    typedef T_ T;
    static constexpr int V = 16;
    typedef pack<uint32_t, 4> packed;
    uint32_t odd[4], even[4];

    GPU_FN void start(const lt_gpu_pool &)
    {
        const uint32_t least = (Half)-1 < 0 ? 0x80008000u : 0u;
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            odd[i] = even[i] = least;
        }
    }
    GPU_FN void add(const lt_gpu_pool &, const packed &u)
    {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            odd[i] = max2<Half>(odd[i], u.v[i]);
            even[i] = max2<Half>(even[i], u.v[i] << 8);
        }
    }
    GPU_FN packed result(const lt_gpu_pool &, int) const
    {
        packed y;
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            y.v[i] = (odd[i] & 0xff00ff00u) | (even[i] >> 8 & 0x00ff00ffu);
        }
        return y;
    }
};

/* A window's channels from x on; `count` elements of each lie within the image. */
template <class A>
GPU_FN void pool_window(const lt_gpu_pool &p, const typename A::T *x, int top, int left, A &a,
                        int &count)
{
    typedef typename A::T T;
    const lt_gpu_window &w = p.window;
    a.start(p);
    count = 0;
    for (int kh = 0; kh < w.kernel_h; kh++) {
        const int row = top + kh * w.dilation_h;
        if (row < 0 || row >= w.height) {
            continue;
        }
        const T *line = x + row * p.x_stride[2];
        for (int kw = 0; kw < w.kernel_w; kw += 3) { /* three loads are under way together */
            typename A::packed u[3];
            bool inside[3];
            GPU_UNROLL
            for (int k = 0; k < 3; k++) {
                const int column = left + (kw + k) * w.dilation_w;
                inside[k] = kw + k < w.kernel_w && column >= 0 && column < w.width;
                if (inside[k]) {
                    u[k] =
                        *(const typename A::packed *)(const void *)(line + column * p.x_stride[3]);
                }
            }
            GPU_UNROLL
            for (int k = 0; k < 3; k++) {
                if (inside[k]) {
                    a.add(p, u[k]);
                    count++;
                }
            }
        }
    }
}

/* V elements of y a thread: neighbours along the innermost dimension, channels where V > 1. */
template <class A> GPU_FN void pool_by(const lt_gpu_pool &p)
{
    typedef typename A::T T;
    constexpr int V = A::V;
    const lt_gpu_window &w = p.window;
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        uint32_t left_over = (uint32_t)i;
        int at[4] = {}; /* n, c, h, w */
        for (int d = 3; d >= 0; d--) {
            const int v = (int)split(left_over, p.index.size[d]);
            at[0] = d == p.n ? v : at[0];
            at[1] = d == p.c ? v : at[1];
            at[2] = d == p.h ? v : at[2];
            at[3] = d == p.w ? v : at[3];
        }
        const int top = at[2] * w.stride_h - w.pad_top;
        const int left = at[3] * w.stride_w - w.pad_left;
        const T *x = (const T *)p.x + at[0] * p.x_stride[0] + at[1] * p.x_stride[1];
        A a;
        int count;
        pool_window(p, x, top, left, a, count);
        if (p.average != 0 && p.count_pad != 0) {
            count =
                window_count(top, w.kernel_h, w.dilation_h, -w.pad_top, w.height + p.pad_bottom) *
                window_count(left, w.kernel_w, w.dilation_w, -w.pad_left, w.width + p.pad_right);
        }
        *(typename A::packed *)(void *)((T *)p.y + i) = a.result(p, count);
    }
}

/* How a type's 16 bytes are pooled. */
template <class T> struct pool_packs {
    typedef pool_floats<T, per_16_bytes<T>> type;
};
template <> struct pool_packs<uint8_t> {
    typedef pool_bytes<uint8_t, uint16_t> type;
};
template <> struct pool_packs<int8_t> {
    typedef pool_bytes<int8_t, int16_t> type;
};

template <class T> GPU_FN void pool(const lt_gpu_pool &p)
{
    constexpr int V = per_16_bytes<T>;
    bool packed = p.c == 3 && p.x_stride[1] == 1 && p.index.size[3].value % V == 0 &&
                  aligned_16(p.x) && aligned_16(p.y);
    for (int d = 0; d < 4; d++) {
        packed = packed && (d == 1 || p.x_stride[d] % V == 0);
    }
    packed = packed && (sizeof(T) > 1 || p.average == 0);
    if (packed) {
        pool_by<typename pool_packs<T>::type>(p);
    } else {
        pool_by<pool_floats<T, 1>>(p);
    }
}

/* A block's threads stand as `across` packs of V channels by LT_GPU_THREADS / across pixels: each
 * goes over every so many pixels, then they meet in shared memory. */
template <class T, int V>
GPU_FN void global_pool_item(const lt_gpu_global_pool &p, int image, int first)
{
    constexpr int C = LT_GPU_GLOBAL_POOL_CHANNELS, across = C / V, down = LT_GPU_THREADS / across;
    GPU_SHARED(float, parts, down *C);
    const int lane = thread_x() % across * V, c = first + lane;
    const float start = p.average != 0 ? add_op::start : max_op::start;
    float v[V];
    GPU_UNROLL
    for (int i = 0; i < V; i++) {
        v[i] = start;
    }
    const T *x = (const T *)p.x + (int64_t)image * p.pixels * p.channels + c;
    for (int at = thread_x() / across; at < p.pixels && c < p.channels; at += down) {
        const pack<T, V> u = load_pack<V>(x + (int64_t)at * p.channels);
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            const float f = to_f32(u.v[i]);
            v[i] = p.average != 0 ? v[i] + f : max_op::apply(v[i], f);
        }
    }
    GPU_UNROLL
    for (int i = 0; i < V; i++) {
        parts[thread_x() / across * C + lane + i] = v[i];
    }
    barrier();
    if (thread_x() < C && first + thread_x() < p.channels) {
        float sum = start;
        for (int i = 0; i < down; i++) {
            const float f = parts[i * C + thread_x()];
            sum = p.average != 0 ? sum + f : max_op::apply(sum, f);
        }
        sum = p.average != 0 ? sum / (float)p.pixels : sum;
        ((T *)p.y)[(int64_t)image * p.channels + first + thread_x()] = from_f32<T>(sum);
    }
    barrier();
}

template <class T> GPU_FN void global_pool(const lt_gpu_global_pool &p)
{
    constexpr int V = per_16_bytes<T>;
    const int parts = (p.channels + LT_GPU_GLOBAL_POOL_CHANNELS - 1) / LT_GPU_GLOBAL_POOL_CHANNELS;
    const bool packed = p.channels % V == 0 && aligned_16(p.x);
    for (int item = block_x(); item < p.images * parts; item += grid_x()) {
        const int first = item % parts * LT_GPU_GLOBAL_POOL_CHANNELS;
        if (packed) {
            global_pool_item<T, V>(p, item / parts, first);
        } else {
            global_pool_item<T, 1>(p, item / parts, first);
        }
    }
}

} // namespace gpu

#define LT_GPU_POOLS(type, name)                                                                   \
    GPU_KERNEL(lt_gpu_pool_##name, lt_gpu_pool)                                                    \
    {                                                                                              \
        gpu::pool<type>(p);                                                                        \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_global_pool_##name, lt_gpu_global_pool)                                      \
    {                                                                                              \
        gpu::global_pool<type>(p);                                                                 \
    }
LT_GPU_POOLS(float, f32)
LT_GPU_POOLS(gpu::f16, f16)
LT_GPU_POOLS(gpu::bf16, bf16)
LT_GPU_POOLS(uint8_t, u8)
LT_GPU_POOLS(int8_t, i8)
#undef LT_GPU_POOLS

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* MaxPool and AveragePool, any layout by strides: a thread for an element of y. Bound by bytes; the
 * windows' overlaps come from cache. Global pooling is a reduction (reduce.hpp). Parameters:
 * params/conv.h. */
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

template <class T>
GPU_FN float pool_window(const lt_gpu_pool &p, const T *x, int top, int left, int &count)
{
    const lt_gpu_window &w = p.window;
    float v = p.average != 0 ? add_op::start : max_op::start;
    count = 0;
    for (int kh = 0; kh < w.kernel_h; kh++) {
        const int row = top + kh * w.dilation_h;
        if (row < 0 || row >= w.height) {
            continue;
        }
        for (int kw = 0; kw < w.kernel_w; kw++) {
            const int column = left + kw * w.dilation_w;
            if (column < 0 || column >= w.width) {
                continue;
            }
            const float u = to_f32(x[row * p.x_stride[2] + column * p.x_stride[3]]);
            v = p.average != 0 ? v + u : max_op::apply(v, u);
            count++;
        }
    }
    return v;
}

template <class T> GPU_FN void pool(const lt_gpu_pool &p)
{
    const lt_gpu_window &w = p.window;
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
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
        int count;
        float v = pool_window<T>(p, x, top, left, count);
        if (p.average != 0) {
            if (p.count_pad != 0) {
                count = window_count(top, w.kernel_h, w.dilation_h, -w.pad_top,
                                     w.height + p.pad_bottom) *
                        window_count(left, w.kernel_w, w.dilation_w, -w.pad_left,
                                     w.width + p.pad_right);
            }
            v = v / (float)count;
        }
        ((T *)p.y)[i] = from_f32<T>(v);
    }
}

} // namespace gpu

#define LT_GPU_POOLS(type, name)                                                                   \
    GPU_KERNEL(lt_gpu_pool_##name, lt_gpu_pool)                                                    \
    {                                                                                              \
        gpu::pool<type>(p);                                                                        \
    }
LT_GPU_POOLS(float, f32)
LT_GPU_POOLS(gpu::f16, f16)
LT_GPU_POOLS(gpu::bf16, bf16)
#undef LT_GPU_POOLS

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution NHWC without tensor cores, f32 sums: an implicit GEMM, rows the pixels of y, columns
 * its channels, k over (kh, kw, channel); x is gathered where the panel is fetched, padding is 0.
 * Any kernel, stride, dilation and groups. Bound by f32 arithmetic. Depthwise: a thread sums 16
 * bytes of channels of one pixel; bound by bytes. Parameters: params/conv.h. */
#ifndef LT_GPU_CONV_HPP
#define LT_GPU_CONV_HPP

#include "function.hpp"
#include "image_rows.hpp"

namespace gpu
{

/* Rows of the implicit matrix: pixels of y from `first` on; its columns: taps of one group. */
template <class T, int B> struct image_loader : image_rows<B> {
    const lt_gpu_conv &p;
    const T *x;
    int end;

    GPU_FN image_loader(const lt_gpu_conv &params, const T *data, int64_t first, int64_t pixels,
                        int k)
        : image_rows<B>(params.window, first, pixels), p(params), x(data), end(k)
    {
    }
    GPU_FN void fetch(int k0, float (&v)[image_rows<B>::per_thread]) const
    {
        const int k = k0 + thread_x() % gemm_k;
        uint32_t tap = (uint32_t)k;
        const int channel = (int)split(tap, p.group_channels);
        const int kw = (int)split(tap, p.kernel_w);
        GPU_UNROLL
        for (int e = 0; e < image_rows<B>::per_thread; e++) {
            const int64_t pixel = k < end ? this->pixel(p.window, e, (int)tap, kw) : -1;
            v[e] = pixel >= 0 ? to_f32(x[pixel * p.channels + channel]) : 0.0f;
        }
    }
};

template <class T>
GPU_FN void conv_store(const lt_gpu_conv &p, int64_t pixel, int channel, float sum)
{
    const int64_t at = pixel * p.out_channels + channel;
    const float bias = p.bias != nullptr ? load_mixed<T>(p.bias, channel, p.wide_bias) : 0.0f;
    const float residual =
        p.residual != nullptr ? load_mixed<T>(p.residual, at, p.wide_residual) : 0.0f;
    store_mixed<T>(p.y, at, p.wide_y, epilogue(sum, bias, residual, p.activation));
}

template <class T> GPU_FN void conv(const lt_gpu_conv &p)
{
    constexpr int S = LT_GPU_CONV_TILE;
    const int64_t pixels = (int64_t)p.images * p.window.out_h.value * p.window.out_w.value;
    const int group_out = p.out_channels / p.groups;
    const int group_in = (int)p.group_channels.value;
    const int k = p.window.kernel_h * p.window.kernel_w * group_in;
    const int64_t down = (pixels + S - 1) / S;
    const int across = (group_out + S - 1) / S;
    for (int64_t item = block_x(); item < down * across * p.groups; item += grid_x()) {
        const int64_t first = item % down * S;
        const int j0 = (int)(item / down % across) * S;
        const int group = (int)(item / down / across);
        const image_loader<T, S> a(p, (const T *)p.x + group * group_in, first, pixels, k);
        const strided_loader<T, S> b = {
            (const T *)p.w + ((int64_t)group * group_out + j0) * k, k, 1, group_out - j0, k, true};
        tile_sums<S, S> sums;
        gemm_tile<S, S>(a, b, 0, k, sums);
        for (int i = 0; i < S / 16; i++) {
            for (int j = 0; j < S / 16; j++) {
                const int64_t pixel = first + tile_row(i);
                const int column = j0 + tile_column(j);
                if (pixel < pixels && column < group_out) {
                    conv_store<T>(p, pixel, group * group_out + column, sums.v[i][j]);
                }
            }
        }
    }
}

/* V channels from c on of one pixel of y. */
template <class T, int V> GPU_FN void depthwise_pixel(const lt_gpu_conv &p, int64_t pixel, int c)
{
    const lt_gpu_window &w = p.window;
    uint32_t at = (uint32_t)pixel;
    const int left = (int)split(at, w.out_w) * w.stride_w - w.pad_left;
    const int top = (int)split(at, w.out_h) * w.stride_h - w.pad_top;
    const T *x = (const T *)p.x + (int64_t)at * w.height * w.width * p.channels + c;
    const T *weight = (const T *)p.w + c;
    float sums[V] = {};
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
            const pack<T, V> u = load_pack<V>(x + ((int64_t)row * w.width + column) * p.channels);
            const pack<T, V> f =
                load_pack<V>(weight + (int64_t)(kh * w.kernel_w + kw) * p.channels);
            GPU_UNROLL
            for (int v = 0; v < V; v++) {
                sums[v] = f_fma(to_f32(u.v[v]), to_f32(f.v[v]), sums[v]);
            }
        }
    }
    GPU_UNROLL
    for (int v = 0; v < V; v++) {
        conv_store<T>(p, pixel, c + v, sums[v]);
    }
}

template <class T> GPU_FN void depthwise(const lt_gpu_conv &p)
{
    constexpr int V = per_16_bytes<T>;
    const int64_t pixels = (int64_t)p.images * p.window.out_h.value * p.window.out_w.value;
    const bool packed = p.channels % V == 0 && aligned_16(p.x) && aligned_16(p.w);
    const int share = packed ? V : 1;
    const int per_pixel = p.channels / share;
    for (int64_t i = global_thread(); i < pixels * per_pixel; i += grid_threads()) {
        const int c = (int)(i % per_pixel) * share;
        if (packed) {
            depthwise_pixel<T, V>(p, i / per_pixel, c);
        } else {
            depthwise_pixel<T, 1>(p, i / per_pixel, c);
        }
    }
}

} // namespace gpu

#define LT_GPU_CONVOLUTIONS(type, name)                                                            \
    GPU_KERNEL(lt_gpu_conv_##name, lt_gpu_conv)                                                    \
    {                                                                                              \
        gpu::conv<type>(p);                                                                        \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_depthwise_##name, lt_gpu_conv)                                               \
    {                                                                                              \
        gpu::depthwise<type>(p);                                                                   \
    }
LT_GPU_CONVOLUTIONS(float, f32)
LT_GPU_CONVOLUTIONS(gpu::f16, f16)
LT_GPU_CONVOLUTIONS(gpu::bf16, bf16)
#undef LT_GPU_CONVOLUTIONS

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and matrix product of bytes by dot4, i32 sums, requantized in the epilogue:
 *
 *   sum (x - zx)(w - zw) = sum x w - zx sum w - zw sum x + k zx zw
 *
 * An implicit GEMM as in conv.hpp, its elements words of four channels; padding is zx, the channels
 * that fill the last word are 0 in both. Bound by dot4. Parameters: params/quantize.h. */
#ifndef LT_GPU_QCONV_HPP
#define LT_GPU_QCONV_HPP

#include "function.hpp"
#include "image_rows.hpp"
#include "quantize.hpp"

namespace gpu
{

template <class X, bool Zero> struct byte_math {
    typedef uint32_t element;
    typedef int32_t sum;
    static constexpr bool row_sums = Zero;
    GPU_FN static int32_t fma(uint32_t a, uint32_t b, int32_t c)
    {
        return dot4<X, int8_t>(a, b, c);
    }
    GPU_FN static int32_t add(uint32_t a, int32_t c)
    {
        return dot4<X, int8_t>(a, 0x01010101u, c);
    }
};

/* `count` (1 to 4) bytes, others 0. */
GPU_FN uint32_t load_word(const uint8_t *data, int count, bool aligned)
{
    if (aligned && count == 4) {
        return *(const uint32_t *)data;
    }
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word |= i < count ? (uint32_t)data[i] << (8 * i) : 0u;
    }
    return word;
}

template <int B> struct byte_image_loader : image_rows<B> {
    const lt_gpu_qconv &p;
    const uint8_t *x;
    int end;
    uint32_t zero; /* the zero point in every byte */
    bool aligned;

    GPU_FN byte_image_loader(const lt_gpu_qconv &params, const uint8_t *data, int64_t first,
                             int64_t pixels, int words, uint32_t zero_byte)
        : image_rows<B>(params.window, first, pixels), p(params), x(data), end(words),
          zero((zero_byte & 255u) * 0x01010101u),
          aligned(params.channels % 4 == 0 && ((uintptr_t)data & 3u) == 0)
    {
    }
    GPU_FN void fetch(int k0, uint32_t (&v)[image_rows<B>::per_thread]) const
    {
        const int k = k0 + thread_x() % gemm_k;
        uint32_t tap = (uint32_t)k;
        const int channel = (int)split(tap, p.words) * 4;
        const int kw = (int)split(tap, p.kernel_w);
        const int left = p.group_channels - channel, count = left < 4 ? left : 4;
        const uint32_t padding = count == 4 ? zero : zero & ((1u << (8 * count)) - 1);
        GPU_UNROLL
        for (int e = 0; e < image_rows<B>::per_thread; e++) {
            const int64_t pixel = k < end ? this->pixel(p.window, e, (int)tap, kw) : -2;
            v[e] = pixel >= 0    ? load_word(x + pixel * p.channels + channel, count, aligned)
                   : pixel == -1 ? padding
                                 : 0u;
        }
    }
};

template <int B> struct byte_weight_loader {
    static constexpr int per_thread = B * gemm_k / LT_GPU_THREADS;
    const uint32_t *w;
    int rows;
    int end; /* words of a row */

    GPU_FN void place(int e, int &i, int &k) const
    {
        i = (thread_x() + e * LT_GPU_THREADS) / gemm_k;
        k = thread_x() % gemm_k;
    }
    GPU_FN void fetch(int k0, uint32_t (&v)[per_thread]) const
    {
        for (int e = 0; e < per_thread; e++) {
            int i, k;
            place(e, i, k);
            v[e] = i < rows && k0 + k < end ? w[(int64_t)i * end + k0 + k] : 0u;
        }
    }
};

GPU_FN int scale_zero(const lt_gpu_scale &s)
{
    return s.zero != nullptr ? load_byte(s.zero, 0, s.is_signed != 0) : 0;
}

GPU_FN int quantize_by(const lt_gpu_scale &s, float v)
{
    return quantized(v / *s.scale, scale_zero(s), s.is_signed != 0);
}

GPU_FN float dequantize_by(const lt_gpu_scale &s, int q)
{
    return (float)(q - scale_zero(s)) * *s.scale;
}

GPU_FN float q_residual(const lt_gpu_qconv &p, int64_t at)
{
    switch (p.residual_dtype) {
    case LT_GPU_F32:
        return ((const float *)p.residual)[at];
    case LT_GPU_F16:
        return to_f32(((const f16 *)p.residual)[at]);
    case LT_GPU_BF16:
        return to_f32(((const bf16 *)p.residual)[at]);
    default:
        return dequantize_by(p.r_scale, load_byte(p.residual, at, p.r_scale.is_signed != 0));
    }
}

GPU_FN void q_store(const lt_gpu_qconv &p, int64_t at, const lt_gpu_scale &scale, float v)
{
    if (scale.scale != nullptr) {
        ((uint8_t *)p.y)[at] = (uint8_t)quantize_by(scale, v);
        return;
    }
    switch (p.y_dtype) {
    case LT_GPU_F16:
        ((f16 *)p.y)[at] = from_f32<f16>(v);
        break;
    case LT_GPU_BF16:
        ((bf16 *)p.y)[at] = from_f32<bf16>(v);
        break;
    default:
        ((float *)p.y)[at] = v;
        break;
    }
}

/* `sum` has its zero points taken off. */
GPU_FN void q_epilogue(const lt_gpu_qconv &p, int64_t pixel, int channel, int32_t sum)
{
    const int64_t at = pixel * p.out_channels + channel;
    if (p.x_scale == nullptr) {
        ((int32_t *)p.y)[at] = sum;
        return;
    }
    const float scale = *p.x_scale * p.w_scale[channel * p.w_scale_step];
    if (p.bias != nullptr && p.bias_i32 != 0) {
        sum += ((const int32_t *)p.bias)[channel];
    }
    float v = (float)sum * scale;
    if (p.bias != nullptr && p.bias_i32 == 0) {
        v += ((const float *)p.bias)[channel];
    }
    if (p.residual == nullptr) {
        q_store(p, at, p.y_scale, apply_activation(p.activation, v));
        return;
    }
    if (p.y_scale.scale != nullptr) {
        v = dequantize_by(p.y_scale, quantize_by(p.y_scale, v));
    }
    q_store(p, at, p.z_scale, apply_activation(p.activation, v + q_residual(p, at)));
}

template <class X, bool Zero> GPU_FN void qconv(const lt_gpu_qconv &p)
{
    constexpr int S = LT_GPU_CONV_TILE;
    const int64_t pixels = (int64_t)p.images * p.window.out_h.value * p.window.out_w.value;
    const int group_out = p.out_channels / p.groups;
    const int taps = p.window.kernel_h * p.window.kernel_w;
    const int words = taps * (int)p.words.value;
    const int64_t down = (pixels + S - 1) / S;
    const int across = (group_out + S - 1) / S;
    const int x_zero = p.x_zero != nullptr ? *(const X *)p.x_zero : 0;
    const int64_t items = down * across * p.groups;
    for (int64_t i = block_x(); i < items * (p.batch > 1 ? p.batch : 1); i += grid_x()) {
        const int64_t item = i % items;
        const int batch = (int)(i / items);
        const int64_t first = item % down * S;
        const int group = (int)(item / down / across);
        const int o0 = group * group_out + (int)(item / down % across) * S;
        const int w0 = batch * p.out_channels + o0; /* its place among all weights */
        const int rows = (group + 1) * group_out - o0;
        const uint8_t *x = (const uint8_t *)p.x + batch * p.x_batch + group * p.group_channels;
        const byte_image_loader<S> a(p, x, first, pixels, words, (uint32_t)x_zero);
        const byte_weight_loader<S> b = {(const uint32_t *)p.w + (int64_t)w0 * words, rows, words};
        tile_sums<S, S, int32_t> sums;
        gemm_tile<S, S, byte_math<X, Zero>>(a, b, 0, words, sums);
        for (int r = 0; r < S / 16; r++) {
            for (int j = 0; j < S / 16; j++) {
                const int64_t pixel = first + tile_row(r);
                const int o = tile_column(j);
                if (pixel >= pixels || o >= rows) {
                    continue;
                }
                int32_t sum = sums.v[r][j] - x_zero * p.w_sum[w0 + o];
                if (Zero) {
                    const int w_zero = p.w_zero[(w0 + o) * p.w_zero_step];
                    sum -= w_zero * (sums.rows[r] - taps * p.group_channels * x_zero);
                }
                q_epilogue(p, batch * pixels + pixel, o0 + o, sum);
            }
        }
    }
}

template <class X> GPU_FN int32_t qdepthwise_sum(const lt_gpu_qconv &p, int64_t pixel, int c)
{
    const lt_gpu_window &w = p.window;
    const int x_zero = p.x_zero != nullptr ? *(const X *)p.x_zero : 0;
    const int w_zero = p.w_zero != nullptr ? p.w_zero[c * p.w_zero_step] : 0;
    uint32_t at = (uint32_t)pixel;
    const int left = (int)split(at, w.out_w) * w.stride_w - w.pad_left;
    const int top = (int)split(at, w.out_h) * w.stride_h - w.pad_top;
    const X *x = (const X *)p.x + (int64_t)at * w.height * w.width * p.channels + c;
    int32_t sum = 0;
    for (int kh = 0; kh < w.kernel_h; kh++) {
        const int row = top + kh * w.dilation_h;
        for (int kw = 0; kw < w.kernel_w; kw++) {
            const int column = left + kw * w.dilation_w;
            if (row >= 0 && row < w.height && column >= 0 && column < w.width) {
                const int weight = p.w[(int64_t)(kh * w.kernel_w + kw) * p.channels + c];
                sum += (x[((int64_t)row * w.width + column) * p.channels] - x_zero) *
                       (weight - w_zero);
            }
        }
    }
    return sum;
}

template <class X> GPU_FN void qdepthwise(const lt_gpu_qconv &p)
{
    const int64_t pixels = (int64_t)p.images * p.window.out_h.value * p.window.out_w.value;
    for (int64_t i = global_thread(); i < pixels * p.channels; i += grid_threads()) {
        const int c = (int)(i % p.channels);
        q_epilogue(p, i / p.channels, c, qdepthwise_sum<X>(p, i / p.channels, c));
    }
}

/* ---- what goes before ------------------------------------------------------------------------ */

GPU_FN void qpack(const lt_gpu_qpack &p)
{
    const bool is_signed = p.is_signed != 0;
    const int shift = is_signed ? 0 : 128, words = (p.inputs + 3) / 4;
    for (int64_t o = global_thread(); o < p.outputs; o += grid_threads()) {
        const int64_t from = o / p.n * p.batch_stride + o % p.n * p.o_stride;
        int32_t sum = 0;
        for (int tap = 0; tap < p.taps; tap++) {
            for (int i = 0; i < words * 4; i++) {
                if (p.depthwise != 0 && i > 0) {
                    break;
                }
                const int64_t at = from + i * p.i_stride + tap * p.tap_stride;
                const int v = i < p.inputs ? load_byte(p.w, at, is_signed) - shift : 0;
                const int64_t to = p.depthwise != 0 ? (int64_t)tap * p.outputs + o
                                                    : (o * p.taps + tap) * words * 4 + i;
                p.packed[to] = (int8_t)v;
                sum += v;
            }
        }
        p.sums[o] = sum;
        const int zero =
            p.w_zero != nullptr ? load_byte(p.w_zero, o % p.n * p.zero_step, is_signed) : 0;
        p.zeros[o] = (int8_t)(zero - shift);
    }
}

GPU_FN void byte_columns(const lt_gpu_byte_columns &p)
{
    const lt_gpu_window &w = p.window;
    const int64_t packs = p.pixels * (p.row / 16);
    for (int64_t item = global_thread(); item < packs; item += grid_threads()) {
        uint32_t at = (uint32_t)item;
        const int k0 = (int)split(at, p.row_packs) * 16;
        const int64_t pixel = at;
        const int left = (int)split(at, w.out_w) * w.stride_w - w.pad_left;
        const int top = (int)split(at, w.out_h) * w.stride_h - w.pad_top;
        pack<uint8_t, 16> v;
        GPU_UNROLL
        for (int i = 0; i < 16; i++) {
            uint32_t tap = (uint32_t)(k0 + i);
            const int channel = (int)split(tap, p.channels);
            const int column = left + (int)split(tap, p.kernel_w) * w.dilation_w;
            const int row = top + (int)tap * w.dilation_h;
            const bool inside = row >= 0 && row < w.height && column >= 0 && column < w.width;
            const int64_t from = ((int64_t)at * w.height + row) * w.width + column;
            v.v[i] = k0 + i >= p.end ? (uint8_t)0
                     : inside        ? p.x[from * p.channels.value + channel]
                                     : (uint8_t)p.zero;
        }
        store_pack<16>(p.out + pixel * p.row + k0, v);
    }
}

} // namespace gpu

GPU_KERNEL(lt_gpu_qpack_i8, lt_gpu_qpack)
{
    gpu::qpack(p);
}
GPU_KERNEL(lt_gpu_byte_columns_u8, lt_gpu_byte_columns)
{
    gpu::byte_columns(p);
}

#define LT_GPU_QCONVS(type, name)                                                                  \
    GPU_KERNEL(lt_gpu_qconv_##name##_plain, lt_gpu_qconv)                                          \
    {                                                                                              \
        gpu::qconv<type, false>(p);                                                                \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_qconv_##name##_zero, lt_gpu_qconv)                                           \
    {                                                                                              \
        gpu::qconv<type, true>(p);                                                                 \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_qdepthwise_##name, lt_gpu_qconv)                                             \
    {                                                                                              \
        gpu::qdepthwise<type>(p);                                                                  \
    }
LT_GPU_QCONVS(uint8_t, u8)
LT_GPU_QCONVS(int8_t, i8)
#undef LT_GPU_QCONVS

#endif

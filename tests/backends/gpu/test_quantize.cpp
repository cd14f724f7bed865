/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "qconv.hpp"

#include <vector>

/* One channel or several; scales are powers of two, so that only the rule of ties decides. */
template <class T, class Q>
static void check_quantize(void (*quantize)(const lt_gpu_quantize &),
                           void (*dequantize)(const lt_gpu_quantize &), int channels)
{
    const int inner = 7, count = 3 * channels * inner;
    const bool is_signed = (Q)-1 < 0;
    buffer<T> x((size_t)count), real((size_t)count);
    buffer<Q> y((size_t)count), zero((size_t)channels);
    buffer<float> scale((size_t)channels);
    fill(x, 1, -40, 40);
    fill(zero, 2, is_signed ? -20 : 0, 100);
    for (int c = 0; c < channels; c++) {
        scale[(size_t)c] = c % 2 ? 0.25f : 0.125f;
    }
    x[0] = stored<T>(0.0625); /* ties */
    x[1] = stored<T>(0.1875);
    std::vector<double> expected((size_t)count);
    for (int with_zero = 0; with_zero < 2; with_zero++) {
        lt_gpu_quantize p = {x.data,
                             y.data,
                             scale.data,
                             with_zero ? zero.data : nullptr,
                             count,
                             lt_gpu_divisor_make(inner),
                             lt_gpu_divisor_make((uint32_t)channels),
                             is_signed};
        auto zero_of = [&](size_t i) {
            return with_zero ? (double)zero[i / inner % (size_t)channels] : 0;
        };
        for (size_t i = 0; i < (size_t)count; i++) {
            double q = rint(value(x[i]) / scale[i / inner % (size_t)channels]) + zero_of(i);
            expected[i] = fmin(fmax(q, is_signed ? -128 : 0), is_signed ? 127 : 255);
        }
        check_kernel(quantize, p, 1, y, expected.data(), {0, 0});
        for (size_t i = 0; i < (size_t)count; i++) {
            double q = (double)y[i];
            expected[i] = (q - zero_of(i)) * scale[i / inner % (size_t)channels];
        }
        p.x = y.data;
        p.y = real.data;
        check_kernel(dequantize, p, 1, real, expected.data(), within<T>(0));
    }
}

template <class T>
static void check_quantizes(void (*quantize)(const lt_gpu_quantize &),
                            void (*dequantize)(const lt_gpu_quantize &))
{
    check_quantize<T, uint8_t>(quantize, dequantize, 1);
    check_quantize<T, int8_t>(quantize, dequantize, 1);
    check_quantize<T, int8_t>(quantize, dequantize, 5);
}

static void quantizes_and_back(void **)
{
    check_quantizes<float>(lt_gpu_quantize_f32, lt_gpu_dequantize_f32);
    check_quantizes<gpu::f16>(lt_gpu_quantize_f16, lt_gpu_dequantize_f16);
    check_quantizes<gpu::bf16>(lt_gpu_quantize_bf16, lt_gpu_dequantize_bf16);
}

template <class T>
static void check_dynamic(void (*range)(const lt_gpu_range &),
                          void (*quantize)(const lt_gpu_dynamic_quantize &))
{
    const double cases[][4] = {
        /* smallest, largest, scale, zero */
        {-1, 254, 1, 1},
        {2, 510, 2, 0},
        {-255, -3, 1, 255},
        {0, 0, 0, 0},
    };
    const size_t count = 2003;
    for (const double(&c)[4] : cases) {
        float scale = -1, parts[2 * 3];
        uint8_t zero = 77;
        buffer<T> x(count);
        buffer<uint8_t> y(count);
        std::vector<double> expected(count);
        for (size_t i = 0; i < count; i++) {
            const double v = c[0] + (c[1] - c[0]) * (double)i / count;
            x[i] = stored<T>(i == 1234 ? c[0] : i == 2001 ? c[1] : v);
            expected[i] = c[2] > 0 ? rint(value(x[i]) / c[2]) + c[3] : 0;
            expected[i] = fmin(fmax(expected[i], 0), 255);
        }
        const lt_gpu_range r = {x.data, parts, (int64_t)count};
        const lt_gpu_dynamic_quantize p = {x.data, y.data, parts, &scale, &zero, (int64_t)count, 3};
        launch_ok(range, r, 3, 1, 1, all_ways[0]);
        check_kernel(quantize, p, 2, y, expected.data(), {0, 0});
        assert_true(scale == (float)c[2]);
        assert_int_equal(zero, (int)c[3]);
    }
}

static void dynamic_scale_covers_zero(void **)
{
    check_dynamic<float>(lt_gpu_range_f32, lt_gpu_dynamic_quantize_f32);
    check_dynamic<gpu::f16>(lt_gpu_range_f16, lt_gpu_dynamic_quantize_f16);
    check_dynamic<gpu::bf16>(lt_gpu_range_bf16, lt_gpu_dynamic_quantize_bf16);
}

/* Factors by column, columns that come again. */
template <class T>
static void check_smooth(void (*range)(const lt_gpu_smooth_quantize &),
                         void (*bytes)(const lt_gpu_smooth_quantize &), int rows, int columns,
                         int n_again)
{
    float scale = -1, parts[2 * 3];
    uint8_t zero = 77;
    buffer<T> x((size_t)(rows * columns));
    buffer<float> factors((size_t)columns);
    buffer<int64_t> again((size_t)n_again);
    const int across = columns + n_again;
    buffer<uint8_t> y((size_t)(rows * across));
    fill(x, 71);
    for (int c = 0; c < columns; c++) {
        factors[(size_t)c] = c % 3 == 0 ? 0.5f : 2.0f;
    }
    for (int i = 0; i < n_again; i++) {
        again[(size_t)i] = (i * 7 + columns - 1) % columns;
    }
    float lowest = 0, highest = 0;
    for (int i = 0; i < rows * columns; i++) {
        const float v = (float)value(x[(size_t)i]) * factors[(size_t)(i % columns)];
        lowest = v < lowest ? v : lowest;
        highest = v > highest ? v : highest;
    }
    const float wanted = (highest - lowest) / 255.0f;
    const double shift = rint((double)(-lowest / wanted));
    std::vector<double> expected(y.count);
    for (int i = 0; i < rows * across; i++) {
        const int k = i % across, c = k < columns ? k : (int)again[(size_t)(k - columns)];
        const float v =
            (float)value(x[(size_t)(i / across * columns + c)]) * factors[(size_t)c] / wanted;
        expected[(size_t)i] = fmin(fmax(rint((double)v) + shift, 0), 255);
    }
    lt_gpu_smooth_quantize p = {};
    p.x = x.data;
    p.y = y.data;
    p.factors = factors.data;
    p.again = again.data;
    p.parts = parts;
    p.scale = &scale;
    p.zero = &zero;
    p.count = rows * columns;
    p.columns = lt_gpu_divisor_make((uint32_t)columns);
    p.again_count = lt_gpu_divisor_make(n_again > 0 ? (uint32_t)n_again : 1u);
    p.n_again = (uint32_t)n_again;
    p.n_parts = 3;
    launch_ok(range, p, 3, 1, 1, all_ways[0]);
    check_kernel(bytes, p, 2, y, expected.data(), {0, 0});
    assert_true(scale == wanted);
    assert_int_equal(zero, (int)shift);
}

template <class T>
static void check_smooths(void (*range)(const lt_gpu_smooth_quantize &),
                          void (*bytes)(const lt_gpu_smooth_quantize &))
{
    check_smooth<T>(range, bytes, 37, 48, 16);
    check_smooth<T>(range, bytes, 11, 64, 0);
    check_smooth<T>(range, bytes, 5, 40, 3);
    check_smooth<T>(range, bytes, 9, 33, 2);
    check_smooth<T>(range, bytes, 1, 1, 1);
}

static void columns_are_evened_out(void **)
{
    check_smooths<float>(lt_gpu_smooth_range_f32, lt_gpu_smooth_bytes_f32);
    check_smooths<gpu::f16>(lt_gpu_smooth_range_f16, lt_gpu_smooth_bytes_f16);
    check_smooths<gpu::bf16>(lt_gpu_smooth_range_bf16, lt_gpu_smooth_bytes_bf16);
}

/* Rows side by side, quantized: pixels of two rows of four channels, and others. */
template <class T>
static void check_rows(void (*kernel)(const lt_gpu_quantize_rows &), int rows, int slots_log2,
                       int channels, bool is_signed, bool with_zero)
{
    const int images = 2, height = 7, width = 9, top = 2, left = 3, groups = 5, columns = 16;
    const int slots = 1 << slots_log2;
    const float scale = 0.125f;
    const int8_t zero = is_signed ? -17 : 90;
    buffer<T> x((size_t)(images * height * width * channels));
    buffer<uint8_t> y((size_t)(images * groups * columns * rows * slots));
    fill(x, 51, -30, 30);
    x[3] = stored<T>(0.0625); /* a tie */
    lt_gpu_quantize_rows p = {};
    p.image.x = x.data;
    p.image.y = y.data;
    p.image.count = (int64_t)y.count;
    p.image.x_stride[0] = channels * height * width;
    p.image.x_stride[1] = height * width;
    p.image.x_stride[2] = width;
    p.image.x_stride[3] = 1;
    p.image.groups = lt_gpu_divisor_make(groups);
    p.image.columns = lt_gpu_divisor_make(columns);
    p.image.pixel = lt_gpu_divisor_make((uint32_t)(rows * slots));
    p.image.rows = rows;
    p.image.slots_log2 = slots_log2;
    p.image.channels = channels;
    p.image.height = height;
    p.image.width = width;
    p.image.top = top;
    p.image.left = left;
    p.image.fill = 3; /* is not read */
    p.scale = &scale;
    p.zero = with_zero ? &zero : nullptr;
    p.is_signed = is_signed;
    std::vector<double> expected(y.count);
    for (int i = 0; i < (int)y.count; i++) {
        const int c = i % slots, r = i / slots % rows;
        const int column = i / slots / rows % columns - left;
        const int row = i / slots / rows / columns % groups * rows + r - top;
        const int image = i / slots / rows / columns / groups;
        double v = with_zero ? zero : 0;
        if (c < channels && row >= 0 && row < height && column >= 0 && column < width) {
            const int at = ((image * channels + c) * height + row) * width + column;
            v = fmin(fmax(rint(value(x[(size_t)at]) / scale) + v, is_signed ? -128 : 0),
                     is_signed ? 127 : 255);
        }
        expected[(size_t)i] = (double)(uint8_t)(int)v;
    }
    check_kernel(kernel, p, 2, y, expected.data(), {0, 0});
}

template <class T> static void check_all_rows(void (*kernel)(const lt_gpu_quantize_rows &))
{
    for (bool with_zero : {false, true}) {
        check_rows<T>(kernel, 2, 2, 3, true, with_zero);
        check_rows<T>(kernel, 2, 2, 4, false, with_zero);
        check_rows<T>(kernel, 1, 4, 9, true, with_zero);
        check_rows<T>(kernel, 3, 3, 7, false, with_zero);
        check_rows<T>(kernel, 4, 2, 1, true, with_zero);
    }
}

static void images_are_quantized_into_rows(void **)
{
    check_all_rows<float>(lt_gpu_quantize_rows_f32);
    check_all_rows<gpu::f16>(lt_gpu_quantize_rows_f16);
    check_all_rows<gpu::bf16>(lt_gpu_quantize_rows_bf16);
}

/* Against whole sums and one rounding each way; scales by which no mean is a tie. */
template <class X, class Y> static void check_mean(int images, int pixels, int channels)
{
    const float x_scale = 0.03f, y_scale = 0.0101f;
    const bool x_signed = (X)-1 < 0, y_signed = (Y)-1 < 0;
    const X x_zero = x_signed ? (X)-9 : (X)120;
    const Y y_zero = (Y)31;
    buffer<X> x((size_t)(images * pixels * channels));
    buffer<Y> y((size_t)(images * channels));
    buffer<float> real(y.count);
    fill(x, 61, x_signed ? -128 : 0, x_signed ? 128 : 256);
    std::vector<double> mean(y.count), expected(y.count);
    lt_gpu_byte_mean p = {x.data, real.data, &x_scale, nullptr,  &x_zero, nullptr,
                          images, pixels,    channels, x_signed, y_signed};
    for (size_t i = 0; i < y.count; i++) {
        const size_t image = i / (size_t)channels, c = i % (size_t)channels;
        double sum = 0;
        for (int k = 0; k < pixels; k++) {
            sum += x[(image * (size_t)pixels + (size_t)k) * (size_t)channels + c] - x_zero;
        }
        mean[i] = sum * x_scale / pixels;
        expected[i] =
            fmin(fmax(rint(mean[i] / y_scale) + y_zero, y_signed ? -128 : 0), y_signed ? 127 : 255);
    }
    check_kernel(lt_gpu_mean_of_bytes, p, 3, real, mean.data(), within<float>(4));
    p.y = y.data;
    p.y_scale = &y_scale;
    p.y_zero = &y_zero;
    check_kernel(lt_gpu_mean_of_bytes, p, 3, y, expected.data(), {0, 0});
    p.x_zero = p.y_zero = nullptr;
    for (size_t i = 0; i < y.count; i++) {
        const double v = rint((mean[i] + (double)x_zero * x_scale) / y_scale);
        expected[i] = fmin(fmax(v, y_signed ? -128 : 0), y_signed ? 127 : 255);
    }
    check_kernel(lt_gpu_mean_of_bytes, p, 3, y, expected.data(), {0, 0});
}

static void means_of_bytes(void **)
{
    check_mean<uint8_t, uint8_t>(2, 49, 144);
    check_mean<int8_t, int8_t>(3, 7, 67);
    check_mean<int8_t, uint8_t>(1, 300, 16);
    check_mean<uint8_t, int8_t>(2, 1, 5);
}

enum {
    BIAS_I32 = 1,
    BIAS_F32 = 2,
    W_ZERO = 4,
    RESIDUAL = 8,      /* bytes */
    RESIDUAL_F32 = 16, /* and y_scale none, stored as f32 */
    PER_CHANNEL = 32,
};

struct qcase {
    int images, channels, out_channels, groups;
    int size[2], kernel[2], stride[2], dilation[2], pad[2], out[2];
    int with;
    bool depthwise;
};

static int saturate(double v, bool is_signed)
{
    return (int)fmin(fmax(rint(v), is_signed ? -128 : 0), is_signed ? 127 : 255);
}

/* Sum of (x - zx)(w - zw) for an element of y. */
template <class X>
static int64_t real_sum(const qcase &c, buffer<X> &x, const std::vector<int> &w, int x_zero,
                        const std::vector<int> &w_zero, int element)
{
    const int o = element % c.out_channels, ow = element / c.out_channels % c.out[1];
    const int oh = element / c.out_channels / c.out[1] % c.out[0];
    const int n = element / c.out_channels / c.out[1] / c.out[0];
    const int in = c.channels / c.groups, group = o / (c.out_channels / c.groups);
    int64_t sum = 0;
    for (int kh = 0; kh < c.kernel[0]; kh++) {
        for (int kw = 0; kw < c.kernel[1]; kw++) {
            const int h = oh * c.stride[0] + kh * c.dilation[0] - c.pad[0];
            const int ww = ow * c.stride[1] + kw * c.dilation[1] - c.pad[1];
            if (h < 0 || h >= c.size[0] || ww < 0 || ww >= c.size[1]) {
                continue;
            }
            for (int i = 0; i < in; i++) {
                size_t at =
                    (size_t)(((n * c.size[0] + h) * c.size[1] + ww) * c.channels + group * in + i);
                int tap = (o * c.kernel[0] + kh) * c.kernel[1] + kw;
                sum += (x[at] - x_zero) * (w[(size_t)(tap * in + i)] - w_zero[(size_t)o]);
            }
        }
    }
    return sum;
}

/* w as the kernels want it. */
static void pack_weights(const qcase &c, const std::vector<int> &w, buffer<int8_t> &packed,
                         buffer<int32_t> &sums)
{
    const int in = c.channels / c.groups, taps = c.kernel[0] * c.kernel[1];
    const int words = (in + 3) / 4;
    memset(packed.data, 0, packed.count);
    for (int o = 0; o < c.out_channels; o++) {
        sums[(size_t)o] = 0;
        for (int t = 0; t < taps; t++) {
            for (int i = 0; i < in; i++) {
                const int v = w[(size_t)((o * taps + t) * in + i)];
                const int at = c.depthwise ? t * c.channels + o : (o * taps + t) * words * 4 + i;
                packed[(size_t)at] = (int8_t)v;
                sums[(size_t)o] += v;
            }
        }
    }
}

template <class X> static void check_qconv(const qcase &c, void (*kernel)(const lt_gpu_qconv &))
{
    const bool x_signed = (X)-1 < 0, f32_out = (c.with & RESIDUAL_F32) != 0;
    const int in = c.channels / c.groups, taps = c.kernel[0] * c.kernel[1];
    const int count = c.images * c.out[0] * c.out[1] * c.out_channels;
    const int words = (in + 3) / 4;
    buffer<X> x((size_t)(c.images * c.size[0] * c.size[1] * c.channels));
    buffer<int8_t> packed(
        (size_t)(c.depthwise ? taps * c.channels : c.out_channels * taps * words * 4));
    buffer<int32_t> sums((size_t)c.out_channels), bias_i32((size_t)c.out_channels);
    buffer<float> bias((size_t)c.out_channels), residual_f32((size_t)count), y_f32((size_t)count);
    buffer<float> w_scale((size_t)c.out_channels);
    buffer<int8_t> w_zero((size_t)c.out_channels), residual((size_t)count);
    buffer<uint8_t> y((size_t)count);
    fill(x, 1, x_signed ? -128 : 0, x_signed ? 127 : 255);
    fill(bias_i32, 3, -3000, 3000);
    fill(residual, 4, -100, 100);
    fill(residual_f32, 5, -8, 8);
    fill(w_zero, 6, -9, 9);
    std::vector<int> w((size_t)(c.out_channels * taps * in)), zeros((size_t)c.out_channels);
    uint64_t seed = 7;
    for (int &v : w) {
        v = (int)(random_number(&seed) * 127);
    }
    for (int o = 0; o < c.out_channels; o++) {
        w_scale[(size_t)o] = (c.with & PER_CHANNEL) && o % 3 == 1 ? 0x1p-9f : 0x1p-8f;
        bias[(size_t)o] = (float)(o % 7) * 0.25f - 0.5f;
        zeros[(size_t)o] = c.with & W_ZERO ? w_zero[(size_t)(c.with & PER_CHANNEL ? o : 0)] : 0;
    }
    pack_weights(c, w, packed, sums);
    const float x_scale = 0x1p-3f, y_scale = 0x1p-1f, r_scale = 0.25f, z_scale = 0.5f;
    const X x_zero = x_signed ? (X)-7 : (X)131;
    const uint8_t y_zero = 120, z_zero = 99;
    const int8_t r_zero = -5;
    lt_gpu_qconv p = {};
    p.x = x.data;
    p.w = packed.data;
    p.w_sum = sums.data;
    p.x_scale = &x_scale;
    p.x_zero = &x_zero;
    p.w_scale = w_scale.data;
    p.w_scale_step = p.w_zero_step = (c.with & PER_CHANNEL) != 0;
    p.w_zero = c.with & W_ZERO ? w_zero.data : nullptr;
    p.bias = c.with & BIAS_I32   ? (const void *)bias_i32.data
             : c.with & BIAS_F32 ? bias.data
                                 : nullptr;
    p.bias_i32 = (c.with & BIAS_I32) != 0;
    p.residual = f32_out             ? (const void *)residual_f32.data
                 : c.with & RESIDUAL ? residual.data
                                     : nullptr;
    p.residual_dtype = f32_out ? LT_GPU_F32 : LT_GPU_I8;
    p.y = f32_out ? (void *)y_f32.data : y.data;
    p.y_dtype = f32_out ? LT_GPU_F32 : LT_GPU_U8;
    p.images = c.images;
    p.channels = c.channels;
    p.out_channels = c.out_channels;
    p.groups = c.groups;
    p.group_channels = in;
    p.window = {c.size[0],
                c.size[1],
                c.kernel[0],
                c.kernel[1],
                c.stride[0],
                c.stride[1],
                c.dilation[0],
                c.dilation[1],
                c.pad[0],
                c.pad[1],
                lt_gpu_divisor_make((uint32_t)c.out[0]),
                lt_gpu_divisor_make((uint32_t)c.out[1]),
                0,
                0};
    p.words = lt_gpu_divisor_make((uint32_t)words);
    p.kernel_w = lt_gpu_divisor_make((uint32_t)c.kernel[1]);
    if (!f32_out) {
        p.y_scale = {&y_scale, &y_zero, 0};
        p.z_scale = {&z_scale, &z_zero, 0};
    }
    p.r_scale = {&r_scale, &r_zero, 1};
    p.activation = {LT_GPU_RELU, 0, 0};
    std::vector<double> expected((size_t)count);
    for (int i = 0; i < count; i++) {
        const size_t o = (size_t)(i % c.out_channels), at = (size_t)i;
        double v =
            (double)(real_sum(c, x, w, x_zero, zeros, i) + (c.with & BIAS_I32 ? bias_i32[o] : 0)) *
            x_scale * w_scale[o];
        v += c.with & BIAS_F32 ? bias[o] : 0;
        if (f32_out) {
            v = fmax(v + residual_f32[at], 0);
        } else if (c.with & RESIDUAL) {
            v = (saturate(rint(v / y_scale) + y_zero, false) - y_zero) * y_scale;
            v = fmax(v + (residual[at] - r_zero) * r_scale, 0);
            v = saturate(rint(v / z_scale) + z_zero, false);
        } else {
            v = saturate(rint(fmax(v, 0) / y_scale) + y_zero, false);
        }
        expected[at] = v;
    }
    const int64_t items = c.depthwise ? 1 : lt_gpu_qconv_items(&p);
    if (f32_out) {
        check_kernel(kernel, p, (unsigned)items, y_f32, expected.data(), within<float>(4, 8));
    } else {
        check_kernel(kernel, p, (unsigned)items, y, expected.data(), {0, 0});
    }
}

static const qcase plain_cases[] = {
    {1, 3, 9, 1, {7, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {4, 5}, BIAS_I32 | PER_CHANNEL, false},
    {1, 33, 70, 1, {1, 67}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 67}, BIAS_F32, false},
    {2, 16, 6, 2, {5, 4}, {3, 2}, {1, 1}, {1, 2}, {1, 1}, {5, 4}, RESIDUAL | PER_CHANNEL, false},
    {1, 10, 8, 2, {4, 4}, {2, 2}, {1, 1}, {1, 1}, {0, 0}, {3, 3}, RESIDUAL_F32 | BIAS_I32, false},
};
static const qcase zero_cases[] = {
    {1, 6, 9, 1, {7, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {4, 5}, W_ZERO | PER_CHANNEL, false},
    {1, 70, 65, 1, {1, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 5}, W_ZERO | BIAS_I32, false},
};
static const qcase depthwise_cases[] = {
    {2, 7, 7, 7, {6, 5}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {3, 5}, BIAS_I32 | PER_CHANNEL, true},
    {1, 8, 8, 8, {6, 6}, {5, 3}, {1, 1}, {1, 1}, {2, 1}, {6, 6}, W_ZERO | RESIDUAL, true},
};

template <class X>
static void check_qconvs(void (*plain)(const lt_gpu_qconv &), void (*zero)(const lt_gpu_qconv &),
                         void (*depthwise)(const lt_gpu_qconv &))
{
    for (const qcase &c : plain_cases) {
        check_qconv<X>(c, plain);
    }
    for (const qcase &c : zero_cases) {
        check_qconv<X>(c, zero);
    }
    for (const qcase &c : depthwise_cases) {
        check_qconv<X>(c, depthwise);
    }
}

static void products_of_bytes_are_exact(void **)
{
    check_qconvs<uint8_t>(lt_gpu_qconv_u8_plain, lt_gpu_qconv_u8_zero, lt_gpu_qdepthwise_u8);
    check_qconvs<int8_t>(lt_gpu_qconv_i8_plain, lt_gpu_qconv_i8_zero, lt_gpu_qdepthwise_i8);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantizes_and_back),     cmocka_unit_test(dynamic_scale_covers_zero),
        cmocka_unit_test(columns_are_evened_out), cmocka_unit_test(images_are_quantized_into_rows),
        cmocka_unit_test(means_of_bytes),         cmocka_unit_test(products_of_bytes_are_exact),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

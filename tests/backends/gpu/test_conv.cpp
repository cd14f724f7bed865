/* SPDX-License-Identifier: Apache-2.0 */
#include "conv.hpp"
#include "gpu_test.hpp"
#include "pool.hpp"

#include <type_traits>
#include <vector>

struct conv_case {
    int images, channels, out_channels, groups;
    int size[2], kernel[2], stride[2], dilation[2], pad[2]; /* height, width; pads before */
    int out[2];
    bool depthwise;
    int spread[2] = {0, 0}; /* of x's pixels, zeros between them; 0: none */
};

static lt_gpu_window make_window(const conv_case &c)
{
    lt_gpu_window w = {};
    w.height = c.size[0];
    w.width = c.size[1];
    w.kernel_h = c.kernel[0];
    w.kernel_w = c.kernel[1];
    w.stride_h = c.stride[0];
    w.stride_w = c.stride[1];
    w.dilation_h = c.dilation[0];
    w.dilation_w = c.dilation[1];
    w.pad_top = c.pad[0];
    w.pad_left = c.pad[1];
    w.out_h = lt_gpu_divisor_make((uint32_t)c.out[0]);
    w.out_w = lt_gpu_divisor_make((uint32_t)c.out[1]);
    w.spread_h = c.spread[0];
    w.spread_w = c.spread[1];
    return w;
}

/* x of an image, channel, row and column; NAN outside. */
template <class T>
static double pixel(const conv_case &c, buffer<T> &x, int n, int ch, int h, int w)
{
    if (c.spread[0] != 0) {
        if (h % c.spread[0] != 0 || w % c.spread[1] != 0) {
            return NAN;
        }
        h /= c.spread[0];
        w /= c.spread[1];
    }
    if (h < 0 || h >= c.size[0] || w < 0 || w >= c.size[1]) {
        return NAN;
    }
    return value(x[(size_t)(((n * c.size[0] + h) * c.size[1] + w) * c.channels + ch)]);
}

/* Sum of one element of y before the epilogue; `size` of its products. */
template <class T>
static double conv_sum(const conv_case &c, buffer<T> &x, buffer<T> &w, size_t element)
{
    const int o = (int)element % c.out_channels, ow = (int)element / c.out_channels % c.out[1];
    const int oh = (int)element / c.out_channels / c.out[1] % c.out[0];
    const int n = (int)element / c.out_channels / c.out[1] / c.out[0];
    const int in = c.channels / c.groups, group = o / (c.out_channels / c.groups);
    double sum = 0;
    for (int kh = 0; kh < c.kernel[0]; kh++) {
        for (int kw = 0; kw < c.kernel[1]; kw++) {
            for (int i = 0; i < in; i++) {
                double v =
                    pixel(c, x, n, group * in + i, oh * c.stride[0] + kh * c.dilation[0] - c.pad[0],
                          ow * c.stride[1] + kw * c.dilation[1] - c.pad[1]);
                int tap = kh * c.kernel[1] + kw;
                int at = c.depthwise ? tap * c.channels + o
                                     : (o * c.kernel[0] * c.kernel[1] + tap) * in + i;
                sum += isnan(v) ? 0 : v * value(w[(size_t)at]);
            }
        }
    }
    return sum;
}

template <class T>
static void check_conv(const conv_case &c, void (*kernel)(const lt_gpu_conv &), bool epilogue)
{
    const int in = c.channels / c.groups, k = c.kernel[0] * c.kernel[1] * in;
    const size_t count = (size_t)(c.images * c.out[0] * c.out[1] * c.out_channels);
    buffer<T> x((size_t)(c.images * c.size[0] * c.size[1] * c.channels));
    buffer<T> w((size_t)(c.out_channels * k)), bias((size_t)c.out_channels), residual(count);
    buffer<T> y(count);
    fill(x, 1);
    fill(w, 2);
    fill(bias, 3);
    fill(residual, 4);
    lt_gpu_conv p = {};
    p.x = x.data;
    p.w = w.data;
    p.bias = epilogue ? bias.data : nullptr;
    p.residual = epilogue ? residual.data : nullptr;
    p.y = y.data;
    p.images = c.images;
    p.channels = c.channels;
    p.out_channels = c.out_channels;
    p.groups = c.groups;
    p.window = make_window(c);
    p.group_channels = lt_gpu_divisor_make((uint32_t)in);
    p.kernel_w = lt_gpu_divisor_make((uint32_t)c.kernel[1]);
    p.activation = {epilogue ? LT_GPU_HARD_SWISH : LT_GPU_IDENTITY, 0, 0};
    std::vector<double> expected(count);
    for (size_t i = 0; i < count; i++) {
        double v = conv_sum(c, x, w, i);
        if (epilogue) {
            v += value(bias[i % (size_t)c.out_channels]) + value(residual[i]);
            v *= fmin(fmax(v / 6 + 0.5, 0), 1);
        }
        expected[i] = v;
    }
    const int64_t items = c.depthwise ? 2 : lt_gpu_conv_items(&p);
    check_kernel(kernel, p, (unsigned)(items > 1 ? items - 1 : 1), y, expected.data(),
                 within<T>(k + 8, 2));
}

static const conv_case cases[] = {
    {1, 3, 8, 1, {9, 11}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {5, 6}, false},
    {2, 5, 7, 1, {6, 7}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {6, 7}, false},
    {2, 6, 70, 2, {7, 5}, {3, 2}, {1, 2}, {2, 1}, {2, 0}, {7, 2}, false},
    {1, 16, 66, 1, {1, 40}, {1, 7}, {1, 3}, {1, 2}, {0, 5}, {1, 12}, false},
    {1, 8, 8, 8, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {5, 5}, false},
    {2, 6, 10, 2, {4, 5}, {3, 4}, {1, 1}, {1, 1}, {1, 2}, {7, 13}, false, {2, 3}},
    {1, 4, 3, 1, {3, 6}, {2, 2}, {1, 1}, {2, 1}, {-1, 1}, {3, 7}, false, {2, 1}},
};
static const conv_case depthwise_cases[] = {
    {2, 16, 16, 16, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {7, 9}, true},
    {1, 24, 24, 24, {8, 8}, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {4, 4}, true},
    {1, 7, 7, 7, {9, 6}, {3, 2}, {1, 1}, {2, 3}, {0, 1}, {5, 4}, true},
};

template <class T>
static void check_convs(void (*conv)(const lt_gpu_conv &), void (*depthwise)(const lt_gpu_conv &))
{
    for (const conv_case &c : cases) {
        check_conv<T>(c, conv, c.channels % 2 == 0);
    }
    for (const conv_case &c : depthwise_cases) {
        check_conv<T>(c, depthwise, c.channels % 2 == 0);
    }
}

static void convolutions_of_any_window(void **)
{
    check_convs<float>(lt_gpu_conv_f32, lt_gpu_depthwise_f32);
    check_convs<gpu::f16>(lt_gpu_conv_f16, lt_gpu_depthwise_f16);
    check_convs<gpu::bf16>(lt_gpu_conv_bf16, lt_gpu_depthwise_bf16);
}

/* Adds a window's element; `padded`: it lies within x and its padding. */
template <class T>
static double pooled(const conv_case &c, buffer<T> &x, int n, int ch, int oh, int ow, bool average,
                     bool count_pad, int after)
{
    double v = average ? 0 : -INFINITY;
    int count = 0;
    for (int kh = 0; kh < c.kernel[0]; kh++) {
        for (int kw = 0; kw < c.kernel[1]; kw++) {
            int h = oh * c.stride[0] + kh * c.dilation[0] - c.pad[0];
            int w = ow * c.stride[1] + kw * c.dilation[1] - c.pad[1];
            bool inside = h >= 0 && h < c.size[0] && w >= 0 && w < c.size[1];
            count += count_pad ? h < c.size[0] + after && w < c.size[1] + after : inside;
            if (inside) {
                double u = pixel(c, x, n, ch, h, w);
                v = average ? v + u : isnan(u) || isnan(v) ? NAN : fmax(v, u);
            }
        }
    }
    return average ? v / count : v;
}

/* x lies as NHWC, or (first) is read and written as NCHW. */
template <class T>
static void check_pool(const conv_case &c, void (*kernel)(const lt_gpu_pool &), bool first,
                       bool average, bool count_pad, int after)
{
    const int plane = c.size[0] * c.size[1], out_plane = c.out[0] * c.out[1];
    buffer<T> x((size_t)(c.images * plane * c.channels));
    buffer<T> turned(x.count), y((size_t)(c.images * out_plane * c.channels));
    if (sizeof(T) == 1) {
        fill(x, 31, std::is_signed<T>::value ? -128 : 0, std::is_signed<T>::value ? 128 : 256);
    } else {
        fill(x, 31);
        x[5] = stored<T>(NAN);
    }
    for (size_t i = 0; i < x.count; i++) {
        size_t image = i / (size_t)(plane * c.channels), ch = i % (size_t)c.channels;
        size_t at = i / (size_t)c.channels % (size_t)plane;
        turned[(image * (size_t)c.channels + ch) * (size_t)plane + at] = x[i];
    }
    lt_gpu_pool p = {};
    p.x = first ? turned.data : x.data;
    p.y = y.data;
    p.count = (int64_t)y.count;
    const int nhwc[] = {c.images, c.out[0], c.out[1], c.channels};
    const int nchw[] = {c.images, c.channels, c.out[0], c.out[1]};
    p.index = make_index(4, first ? nchw : nhwc);
    p.c = first ? 1 : 3;
    p.h = first ? 2 : 1;
    p.w = first ? 3 : 2;
    p.x_stride[0] = plane * c.channels;
    p.x_stride[1] = first ? plane : 1;
    p.x_stride[2] = c.size[1] * (first ? 1 : c.channels);
    p.x_stride[3] = first ? 1 : c.channels;
    p.window = make_window(c);
    p.pad_bottom = p.pad_right = after;
    p.average = average;
    p.count_pad = count_pad;
    std::vector<double> expected(y.count);
    for (int n = 0; n < c.images; n++) {
        for (int ch = 0; ch < c.channels; ch++) {
            for (int o = 0; o < out_plane; o++) {
                size_t at = (size_t)(first ? (n * c.channels + ch) * out_plane + o
                                           : (n * out_plane + o) * c.channels + ch);
                expected[at] =
                    pooled(c, x, n, ch, o / c.out[1], o % c.out[1], average, count_pad, after);
            }
        }
    }
    check_kernel(kernel, p, 2, y, expected.data(), within<T>(40));
}

template <class T> static void check_pools(void (*kernel)(const lt_gpu_pool &))
{
    const conv_case a = {2, 5, 5, 1, {7, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {4, 5}, false};
    const conv_case b = {1, 8, 8, 1, {8, 5}, {2, 3}, {1, 2}, {2, 1}, {0, 1}, {6, 3}, false};
    const conv_case wide = {2, 24, 24, 1, {5, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {3, 4}, false};
    for (int c = 0; c < 6; c++) {
        check_pool<T>(a, kernel, c % 2 == 1, c >= 2, c >= 4, 1);
        check_pool<T>(b, kernel, c % 2 == 1, c >= 2, c >= 4, 0);
        check_pool<T>(wide, kernel, c % 2 == 1, c >= 2, c >= 4, 1);
    }
}

template <class T>
static void check_global_pool(void (*kernel)(const lt_gpu_global_pool &), int images, int pixels,
                              int channels, bool average)
{
    buffer<T> x((size_t)(images * pixels * channels)), y((size_t)(images * channels));
    fill(x, 37);
    x[x.count / 2] = stored<T>(NAN);
    std::vector<double> expected(y.count);
    for (size_t i = 0; i < y.count; i++) {
        const size_t image = i / (size_t)channels, c = i % (size_t)channels;
        double v = average ? 0 : -INFINITY;
        for (int k = 0; k < pixels; k++) {
            double u = value(x[(image * (size_t)pixels + (size_t)k) * (size_t)channels + c]);
            v = average ? v + u / pixels : isnan(u) || isnan(v) ? NAN : fmax(v, u);
        }
        expected[i] = v;
    }
    const lt_gpu_global_pool p = {x.data, y.data, images, pixels, channels, average};
    check_kernel(kernel, p, 3, y, expected.data(), within<T>(pixels + 4));
}

template <class T> static void check_global_pools(void (*kernel)(const lt_gpu_global_pool &))
{
    for (bool average : {false, true}) {
        check_global_pool<T>(kernel, 2, 49, 136, average);
        check_global_pool<T>(kernel, 3, 7, 67, average);
        check_global_pool<T>(kernel, 1, 300, 8, average);
    }
}

static void global_pools_of_channels_last_data(void **)
{
    check_global_pools<float>(lt_gpu_global_pool_f32);
    check_global_pools<gpu::f16>(lt_gpu_global_pool_f16);
    check_global_pools<gpu::bf16>(lt_gpu_global_pool_bf16);
}

/* The largest of bytes, both ends of the range among them. */
template <class T> static void check_byte_pools(void (*kernel)(const lt_gpu_pool &))
{
    const conv_case a = {2, 5, 5, 1, {7, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {4, 5}, false};
    const conv_case wide = {2, 48, 48, 1, {5, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {3, 4}, false};
    const conv_case two = {1, 16, 16, 1, {8, 6}, {2, 2}, {2, 2}, {1, 1}, {0, 0}, {4, 3}, false};
    for (bool first : {false, true}) {
        check_pool<T>(a, kernel, first, false, false, 1);
        check_pool<T>(wide, kernel, first, false, false, 1);
        check_pool<T>(two, kernel, first, false, false, 0);
    }
}

static void pools_in_both_layouts(void **)
{
    check_byte_pools<uint8_t>(lt_gpu_pool_u8);
    check_byte_pools<int8_t>(lt_gpu_pool_i8);
    check_pools<float>(lt_gpu_pool_f32);
    check_pools<gpu::f16>(lt_gpu_pool_f16);
    check_pools<gpu::bf16>(lt_gpu_pool_bf16);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_any_window),
        cmocka_unit_test(pools_in_both_layouts),
        cmocka_unit_test(global_pools_of_channels_last_data),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

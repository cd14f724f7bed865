/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "norm.hpp"

#include <vector>

/* Expected y; also what is kept of a row. */
template <class T>
static std::vector<double> expect_layer_norm(const lt_gpu_layer_norm &p, std::vector<double> &means,
                                             std::vector<double> &inverses)
{
    std::vector<double> y;
    auto at = [](const void *data, int i, double otherwise) {
        return data ? value(((const T *)data)[i]) : otherwise;
    };
    for (int row = 0; row < p.rows; row++) {
        double mean = 0, squares = 0;
        std::vector<double> s;
        for (int i = 0; i < p.n; i++) {
            s.push_back(at(p.x, row * p.n + i, 0));
            mean += p.rms ? 0 : s.back() / p.n;
        }
        for (double v : s) {
            squares += (v - mean) * (v - mean) / p.n;
        }
        const double inverse = 1 / sqrt(squares + p.epsilon);
        for (int i = 0; i < p.n; i++) {
            y.push_back((s[(size_t)i] - mean) * inverse * at(p.scale, i, 1) + at(p.bias, i, 0));
        }
        means.push_back(mean);
        inverses.push_back(inverse);
    }
    return y;
}

/* What is given or asked for. */
enum {
    SCALE = 1,
    BIAS = 2,
    STATISTICS = 4,
    RMS = 8
};

template <class T>
static void check_layer_norm(void (*warp)(const lt_gpu_layer_norm &),
                             void (*block)(const lt_gpu_layer_norm &), int n, int with)
{
    const int rows = 11;
    const size_t count = (size_t)(rows * n);
    buffer<T> x(count), scale((size_t)n), bias((size_t)n), y(count);
    buffer<float> mean(rows), inverse(rows);
    fill(x, 1, 1, 4);
    fill(scale, 4);
    fill(bias, 5);
    const lt_gpu_layer_norm p = {x.data,
                                 with & SCALE ? scale.data : nullptr,
                                 with & BIAS ? bias.data : nullptr,
                                 y.data,
                                 with & STATISTICS ? mean.data : nullptr,
                                 with & STATISTICS ? inverse.data : nullptr,
                                 rows,
                                 n,
                                 1e-5f,
                                 with & RMS ? 1 : 0};
    std::vector<double> means, inverses;
    const std::vector<double> expected = expect_layer_norm<T>(p, means, inverses);
    for (int by_block = 0; by_block < 2; by_block++) {
        check_kernel(by_block ? block : warp, p, 2, y, expected.data(), within<T>(32, 4));
        if (with & STATISTICS) {
            compare(mean, means.data(), within<float>(32), "mean");
            compare(inverse, inverses.data(), within<float>(32), "inverse");
        }
    }
}

template <class T>
static void check_layer_norms(void (*warp)(const lt_gpu_layer_norm &),
                              void (*block)(const lt_gpu_layer_norm &))
{
    const int both = SCALE + BIAS;
    check_layer_norm<T>(warp, block, 1, both);
    check_layer_norm<T>(warp, block, 77, both + STATISTICS); /* not on 16 bytes */
    check_layer_norm<T>(warp, block, 96, 0);
    check_layer_norm<T>(warp, block, 768, both + STATISTICS);
    check_layer_norm<T>(warp, block, 1024, both);
    check_layer_norm<T>(warp, block, 2064, both); /* too long for a warp to hold */
    check_layer_norm<T>(warp, block, 333, SCALE + RMS + STATISTICS);
    check_layer_norm<T>(warp, block, 64, SCALE + RMS);
    check_layer_norm<T>(warp, block, 520, RMS + STATISTICS);
}

static void layer_norms_with_all_their_parts(void **)
{
    check_layer_norms<float>(lt_gpu_layer_norm_warp_f32, lt_gpu_layer_norm_block_f32);
    check_layer_norms<gpu::f16>(lt_gpu_layer_norm_warp_f16, lt_gpu_layer_norm_block_f16);
    check_layer_norms<gpu::bf16>(lt_gpu_layer_norm_warp_bf16, lt_gpu_layer_norm_block_bf16);
}

template <class T> static void check_batch_norm(void (*kernel)(const lt_gpu_batch_norm &))
{
    const int channels = 7, inner = 45, count = 2 * 7 * 45;
    buffer<T> x(count), y(count);
    buffer<float> scale(7), bias(7), mean(7), variance(7);
    fill(x, 1);
    fill(scale, 2);
    fill(bias, 3);
    fill(mean, 4);
    fill(variance, 5, 0.1, 2);
    const lt_gpu_batch_norm p = {x.data,
                                 y.data,
                                 scale.data,
                                 bias.data,
                                 mean.data,
                                 variance.data,
                                 count,
                                 lt_gpu_divisor_make(inner),
                                 lt_gpu_divisor_make(channels),
                                 1e-3f,
                                 {LT_GPU_RELU, 0, 0}};
    double expected[count];
    for (size_t i = 0; i < count; i++) {
        size_t c = i / inner % channels;
        expected[i] =
            fmax(0, (value(x[i]) - mean[c]) / sqrt(variance[c] + 1e-3) * scale[c] + bias[c]);
    }
    check_kernel(kernel, p, 2, y, expected, within<T>(16, 4));
}

static void batch_norm_scales_channels(void **)
{
    check_batch_norm<float>(lt_gpu_batch_norm_f32);
    check_batch_norm<gpu::f16>(lt_gpu_batch_norm_f16);
    check_batch_norm<gpu::bf16>(lt_gpu_batch_norm_bf16);
}

template <class T>
static void check_group_norm(void (*kernel)(const lt_gpu_group_norm &), int groups, bool last)
{
    const int images = 2, channels = 6, pixels = 91, count = images * channels * pixels;
    buffer<T> x(count), y(count);
    buffer<float> scale(channels), bias(channels);
    fill(x, 1, 0, 3);
    fill(scale, 2);
    fill(bias, 3);
    const lt_gpu_group_norm p = {
        x.data, y.data, scale.data,        bias.data,           images, channels,
        groups, pixels, last ? 1 : pixels, last ? channels : 1, 1e-5f};
    double expected[count];
    const int per = channels / groups;
    for (int g = 0; g < images * groups; g++) {
        double mean = 0, squares = 0;
        auto at = [&](int e) {
            int64_t c = g % groups * per + e / pixels;
            return (size_t)(g / groups * channels * pixels + c * p.channel_stride +
                            e % pixels * p.pixel_stride);
        };
        for (int e = 0; e < per * pixels; e++) {
            mean += value(x[at(e)]) / (per * pixels);
        }
        for (int e = 0; e < per * pixels; e++) {
            squares += pow(value(x[at(e)]) - mean, 2) / (per * pixels);
        }
        for (int e = 0; e < per * pixels; e++) {
            size_t c = (size_t)(g % groups * per + e / pixels);
            expected[at(e)] = (value(x[at(e)]) - mean) / sqrt(squares + 1e-5) * scale[c] + bias[c];
        }
    }
    check_kernel(kernel, p, 3, y, expected, within<T>(32, 4));
}

static void groups_are_normalized_in_both_layouts(void **)
{
    for (int last = 0; last < 2; last++) {
        check_group_norm<float>(lt_gpu_group_norm_f32, 6, last);
        check_group_norm<float>(lt_gpu_group_norm_f32, 2, last);
        check_group_norm<gpu::f16>(lt_gpu_group_norm_f16, 3, last);
        check_group_norm<gpu::bf16>(lt_gpu_group_norm_bf16, 1, last);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norms_with_all_their_parts),
        cmocka_unit_test(batch_norm_scales_channels),
        cmocka_unit_test(groups_are_normalized_in_both_layouts),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "reduce.hpp"

#include <vector>

static double reduced(int op, const std::vector<double> &v)
{
    double r = op == LT_GPU_REDUCE_MAX   ? -INFINITY
               : op == LT_GPU_REDUCE_MIN ? INFINITY
                                         : op == LT_GPU_REDUCE_PROD;
    for (double x : v) {
        switch (op) {
        case LT_GPU_REDUCE_MAX:
            r = isnan(x) || isnan(r) ? NAN : fmax(r, x);
            break;
        case LT_GPU_REDUCE_MIN:
            r = isnan(x) || isnan(r) ? NAN : fmin(r, x);
            break;
        case LT_GPU_REDUCE_PROD:
            r *= x;
            break;
        case LT_GPU_REDUCE_L1:
            r += fabs(x);
            break;
        case LT_GPU_REDUCE_L2:
        case LT_GPU_REDUCE_SUM_SQUARE:
            r += x * x;
            break;
        default:
            r += x;
        }
    }
    return op == LT_GPU_REDUCE_MEAN      ? r / (double)v.size()
           : op == LT_GPU_REDUCE_L2      ? sqrt(r)
           : op == LT_GPU_REDUCE_LOG_SUM ? log(r)
                                         : r;
}

/* x of 3 x 5 x n x 2: axes {1, 3} or {2} reduced. */
template <class T>
static void check_reduce(void (*block)(const lt_gpu_reduce &),
                         void (*thread)(const lt_gpu_reduce &), int n)
{
    const int64_t stride[] = {10 * n, 2 * n, 2, 1};
    const int size[] = {3, 5, n, 2};
    const int kept[2][3] = {{0, 2, -1}, {0, 1, 3}}, gone[2][2] = {{1, 3}, {2, -1}};
    buffer<T> x((size_t)(30 * n));
    fill(x, 3, 0.5, 1.5);
    x[7] = stored<T>(NAN);
    /* Many elements of y, each by a block, would take long. */
    for (int c = n > 100 ? 1 : 0; c < 2; c++) {
        lt_gpu_reduce p = {};
        int sizes[3], rank = 0;
        p.n_kept = p.n_reduced = 1;
        for (int d = 0; d < 3 && kept[c][d] >= 0; d++) {
            sizes[rank] = size[kept[c][d]];
            p.n_kept *= sizes[rank];
            p.kept_stride[rank++] = stride[kept[c][d]];
        }
        p.kept = make_index(rank, sizes);
        rank = 0;
        for (int d = 0; d < 2 && gone[c][d] >= 0; d++) {
            sizes[rank] = size[gone[c][d]];
            p.n_reduced *= sizes[rank];
            p.reduced_stride[rank++] = stride[gone[c][d]];
        }
        p.reduced = make_index(rank, sizes);
        buffer<T> y((size_t)p.n_kept);
        p.x = x.data;
        p.y = y.data;
        for (p.op = 0; p.op <= LT_GPU_REDUCE_LOG_SUM; p.op++) {
            std::vector<double> expected;
            for (int i = 0; i < p.n_kept; i++) {
                std::vector<double> row;
                for (int r = 0; r < p.n_reduced; r++) {
                    int64_t at = c == 0
                                     ? i / n * stride[0] + i % n * 2 + r / 2 * stride[1] + r % 2
                                     : i / 10 * stride[0] + i / 2 % 5 * stride[1] + i % 2 + r * 2;
                    row.push_back(value(x[(size_t)at]));
                }
                expected.push_back(reduced(p.op, row));
            }
            const tolerance t = within<T>(p.n_reduced + 8);
            check_kernel(block, p, 3, y, expected.data(), t);
            check_kernel(thread, p, 1, y, expected.data(), t);
        }
    }
}

static void reductions_over_any_axes(void **)
{
    check_reduce<float>(lt_gpu_reduce_block_f32, lt_gpu_reduce_thread_f32, 7);
    check_reduce<float>(lt_gpu_reduce_block_f32, lt_gpu_reduce_thread_f32, 601);
    check_reduce<gpu::f16>(lt_gpu_reduce_block_f16, lt_gpu_reduce_thread_f16, 7);
    check_reduce<gpu::bf16>(lt_gpu_reduce_block_bf16, lt_gpu_reduce_thread_bf16, 7);
}

static void empty_reductions_are_neutral(void **)
{
    buffer<float> x(1), y(2);
    lt_gpu_reduce p = {};
    p.x = x.data;
    p.y = y.data;
    p.n_kept = 2;
    const double zero[] = {0, 0}, one[] = {1, 1}, lowest[] = {-INFINITY, -INFINITY};
    check_kernel(lt_gpu_reduce_block_f32, p, 1, y, zero, {0, 0});
    p.op = LT_GPU_REDUCE_PROD;
    check_kernel(lt_gpu_reduce_thread_f32, p, 1, y, one, {0, 0});
    p.op = LT_GPU_REDUCE_MAX;
    check_kernel(lt_gpu_reduce_block_f32, p, 1, y, lowest, {0, 0});
}

template <class T> static void check_arg(void (*kernel)(const lt_gpu_arg &), int size)
{
    const int outer = 3, inner = 2;
    buffer<T> x((size_t)(outer * size * inner));
    buffer<int64_t> y((size_t)(outer * inner));
    fill(x, 17);
    for (size_t i = 0; i < x.count; i++) { /* many equals */
        x[i] = stored<T>(floor(value(x[i]) * 4));
    }
    for (int c = 0; c < 4; c++) {
        const lt_gpu_arg p = {x.data, y.data, outer, size, inner, c % 2, c / 2};
        std::vector<double> expected;
        for (int i = 0; i < outer * inner; i++) {
            int best = 0;
            for (int k = 1; k < size; k++) {
                double v = value(x[(size_t)((i / 2 * size + k) * 2 + i % 2)]);
                double w = value(x[(size_t)((i / 2 * size + best) * 2 + i % 2)]);
                bool better = p.smallest ? v < w : v > w;
                best = better || (p.last && v == w) ? k : best;
            }
            expected.push_back(best);
        }
        check_kernel(kernel, p, 4, y, expected.data(), {0, 0});
    }
}

static void arg_finds_first_and_last(void **)
{
    check_arg<float>(lt_gpu_arg_f32, 1);
    check_arg<float>(lt_gpu_arg_f32, 700);
    check_arg<gpu::f16>(lt_gpu_arg_f16, 39);
    check_arg<gpu::bf16>(lt_gpu_arg_bf16, 256);
}

template <class T>
static void check_softmax(void (*warp)(const lt_gpu_softmax &),
                          void (*block)(const lt_gpu_softmax &), int size, int inner)
{
    const int outer = 5;
    buffer<T> x((size_t)(outer * size * inner)), y((size_t)(outer * size * inner));
    fill(x, 19, -8, 8);
    x[0] = stored<T>(-INFINITY);
    for (int log = 0; log < 2; log++) {
        const lt_gpu_softmax p = {x.data, y.data, outer, size, inner, log};
        std::vector<double> expected(y.count);
        for (int r = 0; r < outer * inner; r++) {
            double largest = -INFINITY, sum = 0;
            auto at = [&](int i) { return (size_t)((r / inner * size + i) * inner + r % inner); };
            for (int i = 0; i < size; i++) {
                largest = fmax(largest, value(x[at(i)]));
            }
            for (int i = 0; i < size; i++) {
                sum += exp(value(x[at(i)]) - largest);
            }
            for (int i = 0; i < size; i++) {
                double v = value(x[at(i)]) - largest;
                expected[at(i)] = log ? v - ::log(sum) : exp(v) / sum;
            }
        }
        const tolerance t = within<T>(24 + size / 32, log ? 16 : 1);
        check_kernel(warp, p, 2, y, expected.data(), t);
        check_kernel(block, p, 3, y, expected.data(), t);
    }
}

static void softmax_along_any_axis(void **)
{
    check_softmax<float>(lt_gpu_softmax_warp_f32, lt_gpu_softmax_block_f32, 3, 7);
    check_softmax<float>(lt_gpu_softmax_warp_f32, lt_gpu_softmax_block_f32, 1001, 1);
    check_softmax<gpu::f16>(lt_gpu_softmax_warp_f16, lt_gpu_softmax_block_f16, 77, 1);
    check_softmax<gpu::bf16>(lt_gpu_softmax_warp_bf16, lt_gpu_softmax_block_bf16, 64, 2);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions_over_any_axes),
        cmocka_unit_test(empty_reductions_are_neutral),
        cmocka_unit_test(arg_finds_first_and_last),
        cmocka_unit_test(softmax_along_any_axis),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

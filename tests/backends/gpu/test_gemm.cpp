/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm.hpp"
#include "gpu_test.hpp"

#include <type_traits>
#include <vector>

struct product {
    int m, n, k;
    bool trans_a, trans_b;
    int batch; /* b is the same for all when batch is odd */
    int splits;
    bool bias, residual;
};

enum kind {
    TILES,
    NT,
    NN
};

/* Strides of a dense row-major matrix, or of one that is stored transposed. */
static void set_strides(bool transposed, int rows, int columns, int64_t *row, int64_t *column)
{
    *row = transposed ? 1 : columns;
    *column = transposed ? rows : 1;
}

/* W: of bias, residual and result. */
template <class T, class W>
static void expect(const lt_gpu_gemm &p, std::vector<double> &out, double &most)
{
    const T *a = (const T *)p.a, *b = (const T *)p.b;
    const W *bias = (const W *)p.bias, *residual = (const W *)p.residual;
    most = 0;
    for (int z = 0; z < p.batch; z++) {
        for (int i = 0; i < p.m; i++) {
            for (int j = 0; j < p.n; j++) {
                double sum = 0, size = 1;
                for (int k = 0; k < p.k; k++) {
                    double v = value(a[z * p.a_stride[0] + i * p.a_row + k * p.a_column]) *
                               value(b[z * p.b_stride[0] + k * p.b_row + j * p.b_column]);
                    sum += v;
                    size += fabs(v);
                }
                const size_t at = (size_t)((z * p.m + i) * p.n + j);
                sum *= p.alpha;
                sum += bias ? p.beta * value(bias[i * p.bias_row + j * p.bias_column]) : 0;
                sum += residual ? value(residual[at]) : 0;
                out[at] = fmax(sum, 0);
                most = fmax(most, size);
            }
        }
    }
}

template <class T, class W = T>
static void check_product(const product &c, kind kind, void (*kernel)(const lt_gpu_gemm &),
                          void (*finish)(const lt_gpu_gemm &), int tile)
{
    const size_t count = (size_t)c.batch * c.m * c.n;
    const int b_count = c.batch % 2 == 1 ? 1 : c.batch;
    buffer<T> a((size_t)c.batch * c.m * c.k), b((size_t)b_count * c.k * c.n);
    buffer<W> bias((size_t)c.n), residual(count), y(count);
    buffer<float> workspace((size_t)c.splits * count);
    fill(a, 1);
    fill(b, 2);
    fill(bias, 3);
    fill(residual, 4);
    lt_gpu_gemm p = {};
    p.a = a.data;
    p.b = b.data;
    p.bias = c.bias ? bias.data : nullptr;
    p.residual = c.residual ? residual.data : nullptr;
    p.y = y.data;
    p.workspace = workspace.data;
    p.m = c.m;
    p.n = c.n;
    p.k = c.k;
    p.batch = c.batch;
    p.splits = c.splits;
    p.k_split = (c.k / c.splits / LT_GPU_GEMM_K + 1) * LT_GPU_GEMM_K;
    set_strides(c.trans_a, c.m, c.k, &p.a_row, &p.a_column);
    set_strides(c.trans_b, c.k, c.n, &p.b_row, &p.b_column);
    p.bias_column = 1;
    p.batch_index = make_index(1, &c.batch);
    p.a_stride[0] = c.m * c.k;
    p.b_stride[0] = b_count > 1 ? c.k * c.n : 0;
    p.alpha = 0.5f;
    p.beta = 2.0f;
    p.wide_y = p.wide_bias = p.wide_residual = !std::is_same<T, W>::value;
    p.activation.function = LT_GPU_RELU;
    std::vector<double> expected(count);
    double most;
    expect<T, W>(p, expected, most);
    const tolerance t = {rounding<W>() * 1.01, (c.k + 4) * 0x1p-24 * most};
    int64_t items = kind == TILES ? lt_gpu_gemm_items(&p, tile)
                    : kind == NN  ? lt_gpu_gemv_nn_items(&p, sizeof(T))
                                  : (c.n * c.batch + 3) / 4;
    for (const way &w : all_ways) {
        y.fill_bytes(0xa5);
        workspace.fill_bytes(0xa5);
        launch_ok(kernel, p, (unsigned)(items > 2 ? items - 1 : items), 1, 1, w);
        if (c.splits > 1) {
            launch_ok(finish, p, 2, 1, 1, w);
        }
        compare(y, expected.data(), t, "product");
        workspace.check();
    }
}

static const product tiles[] = {
    {1, 1, 1, false, false, 1, 1, false, false}, {65, 70, 33, false, false, 1, 1, true, true},
    {65, 70, 33, true, true, 1, 1, true, false}, {17, 129, 40, false, true, 2, 1, false, true},
    {64, 64, 64, true, false, 3, 1, true, true}, {30, 20, 100, false, true, 2, 3, true, true},
};

template <class T, class W = T>
static void check_tiles(void (*small)(const lt_gpu_gemm &), void (*large)(const lt_gpu_gemm &),
                        void (*finish)(const lt_gpu_gemm &))
{
    for (const product &c : tiles) {
        check_product<T, W>(c, TILES, small, finish, 64);
    }
    check_product<T, W>(tiles[1], TILES, large, finish, 128);
    check_product<T, W>(tiles[3], TILES, large, finish, 128);
    const product wide = {129, 130, 20, true, true, 1, 1, true, true};
    check_product<T, W>(wide, TILES, large, finish, 128);
}

static void tiles_multiply_all_layouts(void **)
{
    check_tiles<float>(lt_gpu_gemm_f32_64x64, lt_gpu_gemm_f32_128x128, lt_gpu_gemm_finish_f32);
    check_tiles<gpu::f16>(lt_gpu_gemm_f16_64x64, lt_gpu_gemm_f16_128x128, lt_gpu_gemm_finish_f16);
    check_tiles<gpu::bf16>(lt_gpu_gemm_bf16_64x64, lt_gpu_gemm_bf16_128x128,
                           lt_gpu_gemm_finish_bf16);
}

template <class T, class W = T>
static void check_rows(void (*nt)(const lt_gpu_gemm &), void (*nn)(const lt_gpu_gemm &),
                       void (*finish)(const lt_gpu_gemm &))
{
    for (int m = 1; m <= LT_GPU_GEMV_ROWS; m++) {
        const product dense = {m, 37, 264, false, true, 1 + m % 3, 1, true, m % 2 == 0};
        check_product<T, W>(dense, NT, nt, finish, 0);
        const product odd = {m, 5, 27, false, true, 2, 1, false, true};
        check_product<T, W>(odd, NT, nt, finish, 0);
        const product columns = {m, 264, 40, m % 2 == 0, false, 1, 1 + m % 3, true, true};
        check_product<T, W>(columns, NN, nn, finish, 0);
        const product few = {m, 13, 9, false, false, 2, 1, true, false};
        check_product<T, W>(few, NN, nn, finish, 0);
    }
}

static void few_rows_multiply(void **)
{
    check_rows<float>(lt_gpu_gemv_nt_f32, lt_gpu_gemv_nn_f32, lt_gpu_gemm_finish_f32);
    check_rows<gpu::f16>(lt_gpu_gemv_nt_f16, lt_gpu_gemv_nn_f16, lt_gpu_gemm_finish_f16);
    check_rows<gpu::bf16>(lt_gpu_gemv_nt_bf16, lt_gpu_gemv_nn_bf16, lt_gpu_gemm_finish_bf16);
}

/* Products of halves whose bias, residual and result are f32. */
static void halves_have_wide_results(void **)
{
    check_tiles<gpu::f16, float>(lt_gpu_gemm_f16_64x64, lt_gpu_gemm_f16_128x128,
                                 lt_gpu_gemm_finish_f16);
    check_tiles<gpu::bf16, float>(lt_gpu_gemm_bf16_64x64, lt_gpu_gemm_bf16_128x128,
                                  lt_gpu_gemm_finish_bf16);
    check_rows<gpu::f16, float>(lt_gpu_gemv_nt_f16, lt_gpu_gemv_nn_f16, lt_gpu_gemm_finish_f16);
    check_rows<gpu::bf16, float>(lt_gpu_gemv_nt_bf16, lt_gpu_gemv_nn_bf16, lt_gpu_gemm_finish_bf16);
}

static void bias_broadcasts_by_strides(void **)
{
    buffer<float> a(3 * 2), b(2 * 5), bias(3), y(15);
    fill(a, 1);
    fill(b, 2);
    fill(bias, 3);
    lt_gpu_gemm p = {};
    p.a = a.data;
    p.b = b.data;
    p.bias = bias.data;
    p.y = y.data;
    p.m = 3;
    p.n = 5;
    p.k = 2;
    p.batch = p.splits = 1;
    set_strides(false, 3, 2, &p.a_row, &p.a_column);
    set_strides(false, 2, 5, &p.b_row, &p.b_column);
    p.bias_row = 1;
    p.alpha = p.beta = 1;
    double expected[15];
    for (size_t i = 0; i < 15; i++) {
        expected[i] = value(bias[i / 5]) + value(a[i / 5 * 2]) * value(b[i % 5]) +
                      value(a[i / 5 * 2 + 1]) * value(b[5 + i % 5]);
    }
    check_kernel(lt_gpu_gemm_f32_64x64, p, 1, y, expected, within<float>(8, 3));
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_multiply_all_layouts),
        cmocka_unit_test(few_rows_multiply),
        cmocka_unit_test(halves_have_wide_results),
        cmocka_unit_test(bias_broadcasts_by_strides),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

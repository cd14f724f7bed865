/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products without tensor cores, f32 sums, storage f32, f16 or bf16: true f32 precision, and
 * all sizes and strides that the tensor-core kernels do not take. Tiles: gemm_tile.hpp, bound by
 * f32 arithmetic. Few rows (gemv): bound by the bytes of b. Parameters: params/gemm.h. */
#ifndef LT_GPU_GEMM_HPP
#define LT_GPU_GEMM_HPP

#include "function.hpp"
#include "gemm_tile.hpp"
#include "index.hpp"

namespace gpu
{

/* What sum (i, j) of a matrix becomes. */
template <class T>
GPU_FN float gemm_result(const lt_gpu_gemm &p, int64_t matrix, int i, int j, float sum)
{
    float bias = 0.0f, residual = 0.0f;
    if (p.bias != nullptr) {
        bias = p.beta * load_mixed<T>(p.bias, i * p.bias_row + j * p.bias_column, p.wide_bias);
    }
    if (p.residual != nullptr) {
        residual = load_mixed<T>(p.residual, (matrix * p.m + i) * p.n + j, p.wide_residual);
    }
    return epilogue(p.alpha * sum, bias, residual, p.activation);
}

/* Stores a result, or a sum of one of several splits. */
template <class T>
GPU_FN void gemm_store(const lt_gpu_gemm &p, int split, int64_t matrix, int i, int j, float sum)
{
    const int64_t at = (matrix * p.m + i) * p.n + j;
    if (p.splits > 1) {
        p.workspace[(int64_t)split * p.batch * p.m * p.n + at] = sum;
    } else {
        store_mixed<T>(p.y, at, p.wide_y, gemm_result<T>(p, matrix, i, j, sum));
    }
}

GPU_FN void gemm_matrices(const lt_gpu_gemm &p, int matrix, int64_t (&at)[2])
{
    const int64_t *const strides[2] = {p.a_stride, p.b_stride};
    offsets(p.batch_index, (uint32_t)matrix, strides, at);
}

template <class T, int S> GPU_FN void gemm(const lt_gpu_gemm &p)
{
    const int down = (p.m + S - 1) / S, across = (p.n + S - 1) / S;
    const int64_t items = (int64_t)p.batch * p.splits * down * across;
    for (int64_t item = block_x(); item < items; item += grid_x()) {
        const int i0 = (int)(item % down) * S;
        const int j0 = (int)(item / down % across) * S;
        const int split = (int)(item / down / across % p.splits);
        const int matrix = (int)(item / down / across / p.splits);
        const int begin = split * p.k_split;
        const int end = p.splits == 1 || begin + p.k_split > p.k ? p.k : begin + p.k_split;
        int64_t at[2];
        gemm_matrices(p, matrix, at);
        const strided_loader<T, S> a = {(const T *)p.a + at[0] + i0 * p.a_row,
                                        p.a_row,
                                        p.a_column,
                                        p.m - i0,
                                        end,
                                        p.a_column == 1};
        const strided_loader<T, S> b = {(const T *)p.b + at[1] + j0 * p.b_column,
                                        p.b_column,
                                        p.b_row,
                                        p.n - j0,
                                        end,
                                        p.b_row == 1};
        tile_sums<S, S> sums;
        gemm_tile<S, S>(a, b, begin, end, sums);
        for (int i = 0; i < S / 16; i++) {
            for (int j = 0; j < S / 16; j++) {
                const int row = i0 + tile_row(i), column = j0 + tile_column(j);
                if (row < p.m && column < p.n) {
                    gemm_store<T>(p, split, matrix, row, column, sums.v[i][j]);
                }
            }
        }
    }
}

template <class T> GPU_FN void gemm_finish(const lt_gpu_gemm &p)
{
    const int64_t count = (int64_t)p.batch * p.m * p.n;
    for (int64_t at = global_thread(); at < count; at += grid_threads()) {
        float sum = 0.0f;
        for (int s = 0; s < p.splits; s++) {
            sum += p.workspace[s * count + at];
        }
        const int64_t row = at / p.n;
        store_mixed<T>(p.y, at, p.wide_y,
                       gemm_result<T>(p, row / p.m, (int)(row % p.m), (int)(at % p.n), sum));
    }
}

/* ---- few rows
 * --------------------------------------------------------------------------------
 */

/* A column of b times M rows of a: this lane's part of the sums. Several packs are on their way at
 * once: the product waits for memory, not for bytes. */
template <class T, int M>
GPU_FN void gemv_walk(const lt_gpu_gemm &p, const T *a, const T *b, int lane, float (&sums)[M])
{
    constexpr int V = per_16_bytes<T>;
    constexpr int U = 4;
    const int step = warp_width() * V;
    int done = 0;
    if (aligned_16(a) && aligned_16(b) && p.a_row % V == 0) {
        done = p.k / V * V;
    }
    for (int k0 = lane * V; k0 < done; k0 += step * U) {
        pack<T, V> w[U];
        GPU_UNROLL
        for (int u = 0; u < U; u++) {
            if (k0 + u * step < done) {
                w[u] = load_pack<V>(b + k0 + u * step);
            }
        }
        GPU_UNROLL
        for (int u = 0; u < U; u++) {
            const int k = k0 + u * step;
            for (int i = 0; i < M && k < done; i++) {
                const pack<T, V> x = load_pack<V>(a + i * p.a_row + k);
                for (int v = 0; v < V; v++) {
                    sums[i] = f_fma(to_f32(x.v[v]), to_f32(w[u].v[v]), sums[i]);
                }
            }
        }
    }
    for (int k = done + lane; k < p.k; k += warp_width()) {
        for (int i = 0; i < M; i++) {
            sums[i] = f_fma(to_f32(a[i * p.a_row + k]), to_f32(b[k]), sums[i]);
        }
    }
}

/* b's columns are dense: a warp walks one, 16 bytes a lane; lane i ends row i. */
template <class T, int M> GPU_FN void gemv_nt(const lt_gpu_gemm &p)
{
    const int width = warp_width(), lane = thread_x() % width;
    const int warps = LT_GPU_THREADS / width;
    const int items = p.batch * p.n;
    for (int item = block_x() * warps + thread_x() / width; item < items;
         item += grid_x() * warps) {
        const int matrix = p.batch == 1 ? 0 : item / p.n, j = item - matrix * p.n;
        const int64_t y = ((int64_t)matrix * p.m + lane) * p.n + j;
        int64_t at[2] = {0, 0};
        float bias = 0.0f, residual = 0.0f, own = 0.0f, sums[M] = {};
        if (p.batch != 1) {
            gemm_matrices(p, matrix, at);
        }
        if (lane < M && p.bias != nullptr) {
            bias =
                p.beta * load_mixed<T>(p.bias, lane * p.bias_row + j * p.bias_column, p.wide_bias);
        }
        if (lane < M && p.residual != nullptr) {
            residual = load_mixed<T>(p.residual, y, p.wide_residual);
        }
        gemv_walk<T, M>(p, (const T *)p.a + at[0], (const T *)p.b + at[1] + j * p.b_column, lane,
                        sums);
        GPU_UNROLL
        for (int i = 0; i < M; i++) {
            const float sum = warp_reduce<add_op>(sums[i]);
            own = lane == i ? sum : own;
        }
        if (lane < M) {
            store_mixed<T>(p.y, y, p.wide_y, epilogue(p.alpha * own, bias, residual, p.activation));
        }
    }
}

/* The parts of gemv_nn: one array, whatever M is. */
template <class T> GPU_FN shared_array<float, LT_GPU_THREADS * per_16_bytes<T>> &gemv_parts()
{
    GPU_SHARED(float, parts, LT_GPU_THREADS *per_16_bytes<T>);
    return parts;
}

/* b's rows are dense: 32 threads take 16 bytes of columns each, 8 such groups share k and meet in
 * shared memory. */
template <class T, int M> GPU_FN void gemv_nn(const lt_gpu_gemm &p)
{
    constexpr int V = per_16_bytes<T>;
    constexpr int C = LT_GPU_GEMV_COLUMNS;
    constexpr int groups = LT_GPU_THREADS / C;
    auto &parts = gemv_parts<T>();
    const int across = (p.n + C * V - 1) / (C * V);
    const int pack_x = thread_x() % C, group = thread_x() / C;
    const int64_t items = (int64_t)p.batch * p.splits * across;
    for (int64_t item = block_x(); item < items; item += grid_x()) {
        const int j = ((int)(item % across) * C + pack_x) * V;
        const int split = (int)(item / across % p.splits);
        const int matrix = (int)(item / across / p.splits);
        const int begin = split * p.k_split;
        const int end = p.splits == 1 || begin + p.k_split > p.k ? p.k : begin + p.k_split;
        int64_t at[2];
        gemm_matrices(p, matrix, at);
        const T *a = (const T *)p.a + at[0];
        const T *b = (const T *)p.b + at[1];
        const bool packed = aligned_16(b) && p.b_row % V == 0 && j + V <= p.n;
        float sums[M][V] = {};
        for (int k = begin + group; k < end; k += groups) {
            pack<T, V> w = {};
            if (packed) {
                w = load_pack<V>(b + k * p.b_row + j);
            } else {
                for (int v = 0; v < V; v++) {
                    w.v[v] = j + v < p.n ? b[k * p.b_row + j + v] : from_f32<T>(0.0f);
                }
            }
            for (int i = 0; i < M; i++) {
                const float u = to_f32(a[i * p.a_row + k * p.a_column]);
                for (int v = 0; v < V; v++) {
                    sums[i][v] = f_fma(u, to_f32(w.v[v]), sums[i][v]);
                }
            }
        }
        GPU_UNROLL
        for (int i = 0; i < M; i++) {
            barrier();
            for (int v = 0; v < V; v++) {
                parts[(group * C + pack_x) * V + v] = sums[i][v];
            }
            barrier();
            for (int c = thread_x(); c < C * V; c += LT_GPU_THREADS) {
                float sum = 0.0f;
                for (int g = 0; g < groups; g++) {
                    sum += parts[g * C * V + c];
                }
                const int column = (int)(item % across) * C * V + c;
                if (column < p.n) {
                    gemm_store<T>(p, split, matrix, i, column, sum);
                }
            }
        }
    }
}

#define LT_GPU_BY_ROWS(function, type)                                                             \
    switch (p.m) {                                                                                 \
    case 1:                                                                                        \
        gpu::function<type, 1>(p);                                                                 \
        break;                                                                                     \
    case 2:                                                                                        \
        gpu::function<type, 2>(p);                                                                 \
        break;                                                                                     \
    case 3:                                                                                        \
        gpu::function<type, 3>(p);                                                                 \
        break;                                                                                     \
    case 4:                                                                                        \
        gpu::function<type, 4>(p);                                                                 \
        break;                                                                                     \
    case 5:                                                                                        \
        gpu::function<type, 5>(p);                                                                 \
        break;                                                                                     \
    case 6:                                                                                        \
        gpu::function<type, 6>(p);                                                                 \
        break;                                                                                     \
    case 7:                                                                                        \
        gpu::function<type, 7>(p);                                                                 \
        break;                                                                                     \
    default:                                                                                       \
        gpu::function<type, 8>(p);                                                                 \
        break;                                                                                     \
    }

} // namespace gpu

#define LT_GPU_PRODUCTS(type, name)                                                                \
    GPU_KERNEL(lt_gpu_gemm_##name##_64x64, lt_gpu_gemm)                                            \
    {                                                                                              \
        gpu::gemm<type, 64>(p);                                                                    \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_gemm_##name##_128x128, lt_gpu_gemm)                                          \
    {                                                                                              \
        gpu::gemm<type, 128>(p);                                                                   \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_gemm_finish_##name, lt_gpu_gemm)                                             \
    {                                                                                              \
        gpu::gemm_finish<type>(p);                                                                 \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_gemv_nt_##name, lt_gpu_gemm){LT_GPU_BY_ROWS(gemv_nt, type)} GPU_KERNEL(      \
        lt_gpu_gemv_nn_##name, lt_gpu_gemm)                                                        \
    {                                                                                              \
        LT_GPU_BY_ROWS(gemv_nn, type)                                                              \
    }
LT_GPU_PRODUCTS(float, f32)
LT_GPU_PRODUCTS(gpu::f16, f16)
LT_GPU_PRODUCTS(gpu::bf16, bf16)
#undef LT_GPU_PRODUCTS
#undef LT_GPU_BY_ROWS

#endif

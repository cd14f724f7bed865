/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that move elements without looking at them; an element is an integer of its size. Bound
 * by bytes. Parameters: params/layout.h. */
#ifndef LT_GPU_LAYOUT_HPP
#define LT_GPU_LAYOUT_HPP

#include "index.hpp"
#include "params/layout.h"

namespace gpu
{

template <class T, int V> GPU_FN void copy_strided(const lt_gpu_copy &p)
{
    const int64_t *const strides[2] = {p.x_stride, p.y_stride};
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        int64_t at[2];
        offsets(p.index, (uint32_t)i, strides, at);
        store_pack<V>((T *)p.y + at[1], load_pack<V>((const T *)p.x + at[0]));
    }
}

template <class T> GPU_FN void copy(const lt_gpu_copy &p)
{
    constexpr int V = per_16_bytes<T>;
    if (packs<V>(p.index, (const T *)p.x, p.x_stride, false) &&
        packs<V>(p.index, (const T *)p.y, p.y_stride, false)) {
        copy_strided<T, V>(p);
    } else {
        copy_strided<T, 1>(p);
    }
}

/* R rows, few: a thread takes 16 bytes of each and writes what is then 16 R bytes in a row. */
template <class T, int R> GPU_FN void transpose_few(const lt_gpu_transpose &p)
{
    constexpr int V = per_16_bytes<T>;
    const uint32_t packs = (uint32_t)(p.columns / V), count = (uint32_t)p.batch * packs;
    for (uint32_t i = (uint32_t)global_thread(); i < count; i += (uint32_t)grid_threads()) {
        const uint32_t batch = i / packs, column = (i - batch * packs) * V;
        const T *x = (const T *)p.x + (int64_t)batch * R * p.columns + column;
        T *y = (T *)p.y + ((int64_t)batch * p.columns + column) * R;
        pack<T, V> in[R];
        GPU_UNROLL
        for (int r = 0; r < R; r++) {
            in[r] = load_pack<V>(x + (int64_t)r * p.columns);
        }
        GPU_UNROLL
        for (int j = 0; j < R; j++) {
            pack<T, V> out;
            GPU_UNROLL
            for (int k = 0; k < V; k++) {
                out.v[k] = in[(j * V + k) % R].v[(j * V + k) / R];
            }
            store_pack<V>(y + j * V, out);
        }
    }
}

/* A tile of 32 x 32 is read by rows and written by columns; one column of padding keeps the 32
 * elements of a column in 32 banks. */
template <class T> GPU_FN void transpose_tiles(const lt_gpu_transpose &p)
{
    constexpr int S = LT_GPU_TRANSPOSE_TILE;
    GPU_SHARED(T, tile, S * (S + 1));
    const int64_t across = (p.columns + S - 1) / S;
    const int64_t down = (p.rows + S - 1) / S;
    const int column = thread_x() % S;
    const int row = thread_x() / S;
    for (int64_t t = block_x(); t < p.batch * down * across; t += grid_x()) {
        const int64_t batch = t / (down * across);
        const int r0 = (int)(t / across % down) * S;
        const int c0 = (int)(t % across) * S;
        const T *x = (const T *)p.x + batch * p.rows * p.columns;
        T *y = (T *)p.y + batch * p.rows * p.columns;
        for (int r = row; r < S; r += LT_GPU_THREADS / S) {
            if (r0 + r < p.rows && c0 + column < p.columns) {
                tile[r * (S + 1) + column] = x[(int64_t)(r0 + r) * p.columns + c0 + column];
            }
        }
        barrier();
        for (int r = row; r < S; r += LT_GPU_THREADS / S) {
            if (c0 + r < p.columns && r0 + column < p.rows) {
                y[(int64_t)(c0 + r) * p.rows + r0 + column] = tile[column * (S + 1) + r];
            }
        }
        barrier();
    }
}

template <class T> GPU_FN void transpose(const lt_gpu_transpose &p)
{
    const bool packs = p.columns % per_16_bytes<T> == 0 && aligned_16(p.x) && aligned_16(p.y);
    if (packs && p.rows == 2) {
        transpose_few<T, 2>(p);
    } else if (packs && p.rows == 3) {
        transpose_few<T, 3>(p);
    } else if (packs && p.rows == 4) {
        transpose_few<T, 4>(p);
    } else {
        transpose_tiles<T>(p);
    }
}

/* A pixel of y is 16 bytes: ROWS rows of V / ROWS channels. */
template <class T, int ROWS> GPU_FN void interleave_pixels(const lt_gpu_interleave &p)
{
    constexpr int V = per_16_bytes<T>, SLOTS = V / ROWS;
    const uint32_t count = (uint32_t)(p.count / V);
    const int by_channel = (int)p.x_stride[1], by_row = (int)p.x_stride[2];
    const int by_column = (int)p.x_stride[3];
    for (uint32_t i = (uint32_t)global_thread(); i < count; i += (uint32_t)grid_threads()) {
        uint32_t image = i;
        const int column = (int)split(image, p.columns) - p.left;
        const int first = (int)split(image, p.groups) * ROWS - p.top;
        const T *x = (const T *)p.x + image * p.x_stride[0];
        const bool across = column >= 0 && column < p.width;
        pack<T, V> v;
        GPU_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const bool inside = across && first + r >= 0 && first + r < p.height;
            const int at = (first + r) * by_row + column * by_column;
            GPU_UNROLL
            for (int c = 0; c < SLOTS; c++) {
                v.v[r * SLOTS + c] = inside && c < p.channels ? x[at + c * by_channel] : (T)p.fill;
            }
        }
        store_pack<V>((T *)p.y + (int64_t)i * V, v);
    }
}

template <class T> GPU_FN void interleave(const lt_gpu_interleave &p)
{
    constexpr int V = per_16_bytes<T>;
    if ((int)p.pixel.value == V && p.rows == 2) {
        interleave_pixels<T, 2>(p);
        return;
    }
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        uint32_t image = (uint32_t)i;
        int e = (int)split(image, p.pixel);
        int column = (int)split(image, p.columns) - p.left;
        const int first = (int)split(image, p.groups) * p.rows - p.top;
        const T *x = (const T *)p.x + image * p.x_stride[0];
        const int by_channel = (int)p.x_stride[1], by_row = (int)p.x_stride[2];
        const int by_column = (int)p.x_stride[3];
        pack<T, V> v;
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            const int row = first + (e >> p.slots_log2);
            const int c = e & ((1 << p.slots_log2) - 1);
            const bool inside =
                c < p.channels && row >= 0 && row < p.height && column >= 0 && column < p.width;
            v.v[k] = inside ? x[c * by_channel + row * by_row + column * by_column] : (T)p.fill;
            if (++e == (int)p.pixel.value) {
                e = 0;
                column++;
            }
        }
        store_pack<V>((T *)p.y + i, v);
    }
}

/* The element of a dimension that padding repeats; negative: none. */
GPU_FN int pad_source(int i, int size, int mode)
{
    if (mode == LT_GPU_PAD_CONSTANT) {
        return i < size ? i : -1;
    }
    if (mode == LT_GPU_PAD_EDGE) {
        return i < 0 ? 0 : i < size ? i : size - 1;
    }
    if (mode == LT_GPU_PAD_WRAP) {
        i %= size;
        return i < 0 ? i + size : i;
    }
    if (size == 1) {
        return 0;
    }
    const int period = 2 * (size - 1);
    i %= period;
    i = i < 0 ? i + period : i;
    return i < size ? i : period - i;
}

template <class T> GPU_FN void pad(const lt_gpu_pad &p)
{
    for (int64_t n = global_thread(); n < p.count; n += grid_threads()) {
        uint32_t left = (uint32_t)n;
        int64_t at = 0;
        bool inside = true;
        for (int d = p.index.rank - 1; d >= 0; d--) {
            uint32_t i = d > 0 ? split(left, p.index.size[d]) : left;
            int from = pad_source((int)i - p.before[d], p.x_size[d], p.mode);
            inside = inside && from >= 0;
            at += (int64_t)from * p.x_stride[d];
        }
        ((T *)p.y)[n] = inside ? ((const T *)p.x)[at] : (T)p.value;
    }
}

/* V elements at a time, which have one index. */
template <class T, int V> GPU_FN void gather_packs(const lt_gpu_gather &p)
{
    for (int64_t n = global_thread() * V; n < p.count; n += grid_threads() * V) {
        uint32_t outer = (uint32_t)n;
        const uint32_t inner = split(outer, p.inner);
        const uint32_t i = split(outer, p.n_indices);
        int64_t index = p.indices_64 != 0 ? ((const int64_t *)p.indices)[i]
                                          : (int64_t)((const int32_t *)p.indices)[i];
        index = index < 0 ? index + p.axis_size : index;
        pack<T, V> v = {};
        if (index < 0 || index >= p.axis_size) {
            atomic_or(p.error, 1u);
        } else {
            v = load_pack<V>((const T *)p.x +
                             ((int64_t)outer * p.axis_size + index) * p.inner.value + inner);
        }
        store_pack<V>((T *)p.y + n, v);
    }
}

template <class T> GPU_FN void gather(const lt_gpu_gather &p)
{
    constexpr int V = per_16_bytes<T>;
    if (p.inner.value % V == 0 && aligned_16(p.x) && aligned_16(p.y)) {
        gather_packs<T, V>(p);
    } else {
        gather_packs<T, 1>(p);
    }
}

} // namespace gpu

#define LT_GPU_MOVES(type, bytes)                                                                  \
    GPU_KERNEL(lt_gpu_copy_##bytes, lt_gpu_copy)                                                   \
    {                                                                                              \
        gpu::copy<type>(p);                                                                        \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_transpose_##bytes, lt_gpu_transpose)                                         \
    {                                                                                              \
        gpu::transpose<type>(p);                                                                   \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_pad_##bytes, lt_gpu_pad)                                                     \
    {                                                                                              \
        gpu::pad<type>(p);                                                                         \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_gather_##bytes, lt_gpu_gather)                                               \
    {                                                                                              \
        gpu::gather<type>(p);                                                                      \
    }
GPU_KERNEL(lt_gpu_interleave_1, lt_gpu_interleave)
{
    gpu::interleave<uint8_t>(p);
}
GPU_KERNEL(lt_gpu_interleave_2, lt_gpu_interleave)
{
    gpu::interleave<uint16_t>(p);
}
GPU_KERNEL(lt_gpu_interleave_4, lt_gpu_interleave)
{
    gpu::interleave<uint32_t>(p);
}
LT_GPU_MOVES(uint8_t, 1)
LT_GPU_MOVES(uint16_t, 2)
LT_GPU_MOVES(uint32_t, 4)
LT_GPU_MOVES(uint64_t, 8)
#undef LT_GPU_MOVES

#endif

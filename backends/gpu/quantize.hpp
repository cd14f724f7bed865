/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear; floats move by 16 bytes a thread
 * where one scale serves all. Images of few channels quantized into rows side by side, and means
 * of bytes. Bound by bytes. Parameters: params/quantize.h. */
#ifndef LT_GPU_QUANTIZE_HPP
#define LT_GPU_QUANTIZE_HPP

#include "gpu.hpp"
#include "params/quantize.h"

namespace gpu
{

GPU_FN int load_byte(const void *data, int64_t i, bool is_signed)
{
    return is_signed ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
}

/* round(v) + zero, saturated; NaN gives the lowest number. */
GPU_FN int quantized(float v, int zero, bool is_signed)
{
    const float lowest = is_signed ? -128.0f : 0.0f, highest = is_signed ? 127.0f : 255.0f;
    const float q = f_rint(v) + (float)zero;
    return (int)(q > lowest ? q < highest ? q : highest : lowest);
}

/* All of x by one scale, V elements at a time where both sides are aligned. */
template <class T>
GPU_FN void quantize_all(const T *x, uint8_t *y, int64_t count, float scale, int zero,
                         bool is_signed)
{
    constexpr int V = per_16_bytes<T>;
    const int64_t packs = aligned_16(x) && ((uintptr_t)y & (V - 1)) == 0 ? count / V : 0;
    for (int64_t i = global_thread(); i < packs; i += grid_threads()) {
        const pack<T, V> v = load_pack<V>(x + i * V);
        pack<uint8_t, V> q;
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            q.v[k] = (uint8_t)quantized(to_f32(v.v[k]) / scale, zero, is_signed);
        }
        store_pack<V>(y + i * V, q);
    }
    for (int64_t i = packs * V + global_thread(); i < count; i += grid_threads()) {
        y[i] = (uint8_t)quantized(to_f32(x[i]) / scale, zero, is_signed);
    }
}

template <class T> GPU_FN void quantize(const lt_gpu_quantize &p)
{
    const bool is_signed = p.is_signed != 0;
    if (p.channels.value == 1) {
        const int zero = p.zero != nullptr ? load_byte(p.zero, 0, is_signed) : 0;
        quantize_all<T>((const T *)p.x, (uint8_t *)p.y, p.count, *p.scale, zero, is_signed);
        return;
    }
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        uint32_t c = divide((uint32_t)i, p.inner);
        c = split(c, p.channels);
        const int zero = p.zero != nullptr ? load_byte(p.zero, c, is_signed) : 0;
        ((uint8_t *)p.y)[i] =
            (uint8_t)quantized(to_f32(((const T *)p.x)[i]) / p.scale[c], zero, is_signed);
    }
}

template <class T>
GPU_FN void dequantize_all(const uint8_t *x, T *y, int64_t count, float scale, int zero,
                           bool is_signed)
{
    constexpr int V = per_16_bytes<T>;
    const int64_t packs = aligned_16(y) && ((uintptr_t)x & (V - 1)) == 0 ? count / V : 0;
    for (int64_t i = global_thread(); i < packs; i += grid_threads()) {
        const pack<uint8_t, V> q = load_pack<V>(x + i * V);
        pack<T, V> v;
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            const int byte = is_signed ? (int8_t)q.v[k] : q.v[k];
            v.v[k] = from_f32<T>((float)(byte - zero) * scale);
        }
        store_pack<V>(y + i * V, v);
    }
    for (int64_t i = packs * V + global_thread(); i < count; i += grid_threads()) {
        y[i] = from_f32<T>((float)(load_byte(x, i, is_signed) - zero) * scale);
    }
}

template <class T> GPU_FN void dequantize(const lt_gpu_quantize &p)
{
    const bool is_signed = p.is_signed != 0;
    if (p.channels.value == 1) {
        const int zero = p.zero != nullptr ? load_byte(p.zero, 0, is_signed) : 0;
        dequantize_all<T>((const uint8_t *)p.x, (T *)p.y, p.count, *p.scale, zero, is_signed);
        return;
    }
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        uint32_t c = divide((uint32_t)i, p.inner);
        c = split(c, p.channels);
        const int zero = p.zero != nullptr ? load_byte(p.zero, c, is_signed) : 0;
        ((T *)p.y)[i] = from_f32<T>((float)(load_byte(p.x, i, is_signed) - zero) * p.scale[c]);
    }
}

/* Pixels of y with ROWS rows of SLOTS channels, as many as 16 bytes hold. */
template <class T, int ROWS, int SLOTS>
GPU_FN void quantize_pixels(const lt_gpu_quantize_rows &q, float scale, int zero)
{
    constexpr int COLUMNS = 16 / (ROWS * SLOTS);
    const lt_gpu_interleave &p = q.image;
    const uint32_t count = (uint32_t)(p.count / 16);
    const int by_channel = (int)p.x_stride[1], by_row = (int)p.x_stride[2];
    const int by_column = (int)p.x_stride[3];
    for (uint32_t i = (uint32_t)global_thread(); i < count; i += (uint32_t)grid_threads()) {
        uint32_t image = i * COLUMNS;
        const int column = (int)split(image, p.columns) - p.left;
        const int first = (int)split(image, p.groups) * ROWS - p.top;
        const T *x = (const T *)p.x + image * p.x_stride[0];
        float v[16];
        bool inside[16];
        GPU_UNROLL
        for (int k = 0; k < 16; k++) { /* all loads are under way together */
            const int at = column + k / (ROWS * SLOTS), row = first + k / SLOTS % ROWS;
            inside[k] = at >= 0 && at < p.width && row >= 0 && row < p.height;
            inside[k] = inside[k] && k % SLOTS < p.channels;
            v[k] = inside[k] ? to_f32(x[k % SLOTS * by_channel + row * by_row + at * by_column])
                             : 0.0f;
        }
        pack<uint8_t, 16> y;
        GPU_UNROLL
        for (int k = 0; k < 16; k++) {
            y.v[k] = (uint8_t)(inside[k] ? quantized(v[k] / scale, zero, q.is_signed != 0) : zero);
        }
        store_pack<16>((uint8_t *)p.y + (int64_t)i * 16, y);
    }
}

template <class T> GPU_FN void quantize_rows(const lt_gpu_quantize_rows &q)
{
    const lt_gpu_interleave &p = q.image;
    const int zero = q.zero != nullptr ? load_byte(q.zero, 0, q.is_signed != 0) : 0;
    const float scale = *q.scale;
    if (p.rows == 2 && p.slots_log2 == 2 && p.columns.value % 2 == 0) {
        quantize_pixels<T, 2, 4>(q, scale, zero);
        return;
    }
    for (int64_t i = global_thread() * 16; i < p.count; i += grid_threads() * 16) {
        pack<uint8_t, 16> y;
        for (int k = 0; k < 16; k++) {
            uint32_t image = (uint32_t)(i + k);
            const int e = (int)split(image, p.pixel);
            const int column = (int)split(image, p.columns) - p.left;
            const int row = (int)split(image, p.groups) * p.rows - p.top + (e >> p.slots_log2);
            const int c = e & ((1 << p.slots_log2) - 1);
            const bool inside =
                c < p.channels && row >= 0 && row < p.height && column >= 0 && column < p.width;
            int v = zero;
            if (inside) {
                const T *x = (const T *)p.x + image * p.x_stride[0] + c * p.x_stride[1];
                const float f = to_f32(x[row * p.x_stride[2] + column * p.x_stride[3]]);
                v = quantized(f / scale, zero, q.is_signed != 0);
            }
            y.v[k] = (uint8_t)v;
        }
        store_pack<16>((uint8_t *)p.y + i, y);
    }
}

/* A block's threads stand as `across` packs of V channels by LT_GPU_THREADS / across pixels. */
template <int V> GPU_FN void byte_mean_item(const lt_gpu_byte_mean &p, int image, int first)
{
    constexpr int C = LT_GPU_GLOBAL_POOL_CHANNELS, across = C / V, down = LT_GPU_THREADS / across;
    GPU_SHARED(int32_t, parts, down * C);
    const int lane = thread_x() % across * V, c = first + lane;
    const uint32_t flip = p.x_signed != 0 ? 0x80u : 0u; /* signed bytes are summed plus 128 */
    uint32_t v[V];
    GPU_UNROLL
    for (int i = 0; i < V; i++) {
        v[i] = 0;
    }
    const uint8_t *x = (const uint8_t *)p.x + (int64_t)image * p.pixels * p.channels + c;
    for (int at = thread_x() / across; at < p.pixels && c < p.channels; at += down) {
        const pack<uint8_t, V> u = load_pack<V>(x + (int64_t)at * p.channels);
        GPU_UNROLL
        for (int i = 0; i < V; i++) {
            v[i] += u.v[i] ^ flip;
        }
    }
    GPU_UNROLL
    for (int i = 0; i < V; i++) {
        parts[thread_x() / across * C + lane + i] = (int32_t)v[i];
    }
    barrier();
    if (thread_x() < C && first + thread_x() < p.channels) {
        const int zero = p.x_zero != nullptr ? load_byte(p.x_zero, 0, p.x_signed != 0) : 0;
        int32_t sum = -p.pixels * (zero + (int)flip);
        for (int i = 0; i < down; i++) {
            sum += parts[i * C + thread_x()];
        }
        const float mean = (float)sum * *p.x_scale / (float)p.pixels;
        const int64_t at = (int64_t)image * p.channels + first + thread_x();
        if (p.y_scale == nullptr) {
            ((float *)p.y)[at] = mean;
        } else {
            const int to = p.y_zero != nullptr ? load_byte(p.y_zero, 0, p.y_signed != 0) : 0;
            ((uint8_t *)p.y)[at] = (uint8_t)quantized(mean / *p.y_scale, to, p.y_signed != 0);
        }
    }
    barrier();
}

GPU_FN void byte_mean(const lt_gpu_byte_mean &p)
{
    const int parts = (p.channels + LT_GPU_GLOBAL_POOL_CHANNELS - 1) / LT_GPU_GLOBAL_POOL_CHANNELS;
    const bool packed = p.channels % 16 == 0 && aligned_16(p.x);
    for (int item = block_x(); item < p.images * parts; item += grid_x()) {
        const int first = item % parts * LT_GPU_GLOBAL_POOL_CHANNELS;
        if (packed) {
            byte_mean_item<16>(p, item / parts, first);
        } else {
            byte_mean_item<1>(p, item / parts, first);
        }
    }
}

GPU_FN void keep_range(float smallest, float largest, float *parts)
{
    smallest = block_reduce<min_op>(smallest);
    largest = block_reduce<max_op>(largest);
    if (thread_x() == 0) {
        parts[2 * block_x()] = smallest;
        parts[2 * block_x() + 1] = largest;
    }
}

template <class T> GPU_FN void range(const lt_gpu_range &p)
{
    constexpr int V = per_16_bytes<T>;
    const T *x = (const T *)p.x;
    const int64_t packs = aligned_16(x) ? p.count / V : 0;
    float smallest = min_op::start, largest = max_op::start;
    for (int64_t i = global_thread(); i < packs; i += grid_threads()) {
        const pack<T, V> v = load_pack<V>(x + i * V);
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            smallest = min_op::apply(smallest, to_f32(v.v[k]));
            largest = max_op::apply(largest, to_f32(v.v[k]));
        }
    }
    for (int64_t i = packs * V + global_thread(); i < p.count; i += grid_threads()) {
        smallest = min_op::apply(smallest, to_f32(x[i]));
        largest = max_op::apply(largest, to_f32(x[i]));
    }
    keep_range(smallest, largest, p.parts);
}

/* Every block finds scale and zero point from the parts, which are few. */
template <class P> GPU_FN float find_scale(const P &p, int &zero)
{
    float lowest = 0.0f, highest = 0.0f;
    for (int i = thread_x(); i < p.n_parts; i += LT_GPU_THREADS) {
        lowest = min_op::apply(lowest, p.parts[2 * i]);
        highest = max_op::apply(highest, p.parts[2 * i + 1]);
    }
    lowest = block_reduce<min_op>(lowest);
    highest = block_reduce<max_op>(highest);
    const float scale = (highest - lowest) / 255.0f;
    zero = scale > 0.0f ? quantized(-lowest / scale, 0, false) : 0;
    if (thread_x() == 0 && block_x() == 0) {
        *p.scale = scale;
        *p.zero = (uint8_t)zero;
    }
    return scale;
}

template <class T> GPU_FN void dynamic_quantize(const lt_gpu_dynamic_quantize &p)
{
    int zero;
    const float scale = find_scale(p, zero);
    quantize_all<T>((const T *)p.x, p.y, p.count, scale, zero, false);
}

/* V columns of x times their factors; sets the first column, returns the row. */
template <class T, int V>
GPU_FN uint32_t smooth(const lt_gpu_smooth_quantize &p, uint32_t i, float (&v)[V], uint32_t &column)
{
    uint32_t row = i * V;
    const pack<T, V> x = load_pack<V>((const T *)p.x + row);
    column = split(row, p.columns);
    GPU_UNROLL
    for (int k = 0; k < V; k++) {
        v[k] = to_f32(x.v[k]) * p.factors[column + k];
    }
    return row;
}

template <class T, int V> GPU_FN void smooth_range_by(const lt_gpu_smooth_quantize &p)
{
    const uint32_t packs = (uint32_t)(p.count / V);
    float smallest = min_op::start, largest = max_op::start;
    for (uint32_t i = (uint32_t)global_thread(); i < packs; i += (uint32_t)grid_threads()) {
        float v[V];
        uint32_t column;
        smooth<T, V>(p, i, v, column);
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            smallest = min_op::apply(smallest, v[k]);
            largest = max_op::apply(largest, v[k]);
        }
    }
    keep_range(smallest, largest, p.parts);
}

template <class T, int V> GPU_FN void smooth_bytes_by(const lt_gpu_smooth_quantize &p)
{
    int zero;
    const float scale = find_scale(p, zero);
    const uint32_t packs = (uint32_t)(p.count / V), columns = p.columns.value;
    const int64_t across = (int64_t)columns + p.n_again;
    for (uint32_t i = (uint32_t)global_thread(); i < packs; i += (uint32_t)grid_threads()) {
        float v[V];
        uint32_t column;
        const uint32_t row = smooth<T, V>(p, i, v, column);
        pack<uint8_t, V> q;
        GPU_UNROLL
        for (int k = 0; k < V; k++) {
            q.v[k] = (uint8_t)quantized(v[k] / scale, zero, false);
        }
        store_pack<V>(p.y + row * across + column, q);
    }
    const uint32_t repeated = (uint32_t)p.count / columns * p.n_again;
    for (uint32_t i = (uint32_t)global_thread(); i < repeated; i += (uint32_t)grid_threads()) {
        uint32_t row = i;
        const uint32_t k = split(row, p.again_count), column = (uint32_t)p.again[k];
        const float v =
            to_f32(((const T *)p.x)[(int64_t)row * columns + column]) * p.factors[column];
        p.y[row * across + columns + k] = (uint8_t)quantized(v / scale, zero, false);
    }
}

template <class T> GPU_FN bool smooth_packs(const lt_gpu_smooth_quantize &p)
{
    constexpr int V = per_16_bytes<T>;
    return p.columns.value % V == 0 && p.n_again % V == 0 && aligned_16(p.x) &&
           ((uintptr_t)p.y & (V - 1)) == 0;
}

template <class T> GPU_FN void smooth_range(const lt_gpu_smooth_quantize &p)
{
    if (smooth_packs<T>(p)) {
        smooth_range_by<T, per_16_bytes<T>>(p);
    } else {
        smooth_range_by<T, 1>(p);
    }
}

template <class T> GPU_FN void smooth_bytes(const lt_gpu_smooth_quantize &p)
{
    if (smooth_packs<T>(p)) {
        smooth_bytes_by<T, per_16_bytes<T>>(p);
    } else {
        smooth_bytes_by<T, 1>(p);
    }
}

} // namespace gpu

#define LT_GPU_QUANTIZES(type, name)                                                               \
    GPU_KERNEL(lt_gpu_quantize_##name, lt_gpu_quantize)                                            \
    {                                                                                              \
        gpu::quantize<type>(p);                                                                    \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_dequantize_##name, lt_gpu_quantize)                                          \
    {                                                                                              \
        gpu::dequantize<type>(p);                                                                  \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_quantize_rows_##name, lt_gpu_quantize_rows)                                  \
    {                                                                                              \
        gpu::quantize_rows<type>(p);                                                               \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_range_##name, lt_gpu_range)                                                  \
    {                                                                                              \
        gpu::range<type>(p);                                                                       \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_smooth_range_##name, lt_gpu_smooth_quantize)                                 \
    {                                                                                              \
        gpu::smooth_range<type>(p);                                                                \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_smooth_bytes_##name, lt_gpu_smooth_quantize)                                 \
    {                                                                                              \
        gpu::smooth_bytes<type>(p);                                                                \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_dynamic_quantize_##name, lt_gpu_dynamic_quantize)                            \
    {                                                                                              \
        gpu::dynamic_quantize<type>(p);                                                            \
    }
LT_GPU_QUANTIZES(float, f32)
LT_GPU_QUANTIZES(gpu::f16, f16)
LT_GPU_QUANTIZES(gpu::bf16, bf16)
#undef LT_GPU_QUANTIZES
GPU_KERNEL(lt_gpu_mean_of_bytes, lt_gpu_byte_mean)
{
    gpu::byte_mean(p);
}

#endif

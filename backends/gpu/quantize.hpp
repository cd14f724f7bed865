/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear; floats move by 16 bytes a thread
 * where one scale serves all. Bound by bytes. Parameters: params/quantize.h. */
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
    smallest = block_reduce<min_op>(smallest);
    largest = block_reduce<max_op>(largest);
    if (thread_x() == 0) {
        p.parts[2 * block_x()] = smallest;
        p.parts[2 * block_x() + 1] = largest;
    }
}

/* Every block finds scale and zero point from the parts, which are few. */
template <class T> GPU_FN void dynamic_quantize(const lt_gpu_dynamic_quantize &p)
{
    float lowest = 0.0f, highest = 0.0f;
    for (int i = thread_x(); i < p.n_parts; i += LT_GPU_THREADS) {
        lowest = min_op::apply(lowest, p.parts[2 * i]);
        highest = max_op::apply(highest, p.parts[2 * i + 1]);
    }
    lowest = block_reduce<min_op>(lowest);
    highest = block_reduce<max_op>(highest);
    const float scale = (highest - lowest) / 255.0f;
    const int zero = scale > 0.0f ? quantized(-lowest / scale, 0, false) : 0;
    if (thread_x() == 0 && block_x() == 0) {
        *p.scale = scale;
        *p.zero = (uint8_t)zero;
    }
    quantize_all<T>((const T *)p.x, p.y, p.count, scale, zero, false);
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
    GPU_KERNEL(lt_gpu_range_##name, lt_gpu_range)                                                  \
    {                                                                                              \
        gpu::range<type>(p);                                                                       \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_dynamic_quantize_##name, lt_gpu_dynamic_quantize)                            \
    {                                                                                              \
        gpu::dynamic_quantize<type>(p);                                                            \
    }
LT_GPU_QUANTIZES(float, f32)
LT_GPU_QUANTIZES(gpu::f16, f16)
LT_GPU_QUANTIZES(gpu::bf16, bf16)
#undef LT_GPU_QUANTIZES

#endif

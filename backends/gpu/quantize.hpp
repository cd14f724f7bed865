/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear's scale. Bound by bytes. Parameters:
 * params/quantize.h. */
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

template <class T> GPU_FN void quantize(const lt_gpu_quantize &p)
{
    const bool is_signed = p.is_signed != 0;
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        uint32_t c = divide((uint32_t)i, p.inner);
        c = split(c, p.channels);
        const int zero = p.zero != nullptr ? load_byte(p.zero, c, is_signed) : 0;
        ((uint8_t *)p.y)[i] =
            (uint8_t)quantized(to_f32(((const T *)p.x)[i]) / p.scale[c], zero, is_signed);
    }
}

template <class T> GPU_FN void dequantize(const lt_gpu_quantize &p)
{
    const bool is_signed = p.is_signed != 0;
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        uint32_t c = divide((uint32_t)i, p.inner);
        c = split(c, p.channels);
        const int zero = p.zero != nullptr ? load_byte(p.zero, c, is_signed) : 0;
        ((T *)p.y)[i] = from_f32<T>((float)(load_byte(p.x, i, is_signed) - zero) * p.scale[c]);
    }
}

GPU_FN void range(const lt_gpu_range &p)
{
    float smallest = min_op::start, largest = max_op::start;
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        smallest = min_op::apply(smallest, p.x[i]);
        largest = max_op::apply(largest, p.x[i]);
    }
    smallest = block_reduce<min_op>(smallest);
    largest = block_reduce<max_op>(largest);
    if (thread_x() == 0) {
        p.parts[2 * block_x()] = smallest;
        p.parts[2 * block_x() + 1] = largest;
    }
}

GPU_FN void dynamic_scale(const lt_gpu_dynamic_scale &p)
{
    float lowest = 0.0f, highest = 0.0f;
    for (int i = thread_x(); i < p.count; i += LT_GPU_THREADS) {
        lowest = min_op::apply(lowest, p.parts[2 * i]);
        highest = max_op::apply(highest, p.parts[2 * i + 1]);
    }
    lowest = block_reduce<min_op>(lowest);
    highest = block_reduce<max_op>(highest);
    if (thread_x() == 0) {
        const float scale = (highest - lowest) / 255.0f;
        *p.scale = scale;
        *p.zero = scale > 0.0f ? (uint8_t)quantized(-lowest / scale, 0, false) : 0;
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
    }
LT_GPU_QUANTIZES(float, f32)
LT_GPU_QUANTIZES(gpu::f16, f16)
LT_GPU_QUANTIZES(gpu::bf16, bf16)
#undef LT_GPU_QUANTIZES

GPU_KERNEL(lt_gpu_range_f32, lt_gpu_range)
{
    gpu::range(p);
}
GPU_KERNEL(lt_gpu_dynamic_scale_u8, lt_gpu_dynamic_scale)
{
    gpu::dynamic_scale(p);
}

#endif

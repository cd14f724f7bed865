/* SPDX-License-Identifier: Apache-2.0 */
/* Resize by tables that the host made: an element of y, or 16 bytes of them, a thread, in any
 * layout. Bound by bytes; the taps that neighbours share come from cache. Parameters:
 * params/resize.h. */
#ifndef LT_GPU_RESIZE_HPP
#define LT_GPU_RESIZE_HPP

#include "gpu.hpp"
#include "params/resize.h"

namespace gpu
{

/* Where element i of y lies: x's offset without the axes, and the entries of these. */
GPU_FN int64_t resize_place(const lt_gpu_resize &p, uint32_t i, int (&first)[LT_GPU_RESIZE_AXES])
{
    int64_t at = 0;
    for (int a = 0; a < LT_GPU_RESIZE_AXES; a++) {
        first[a] = 0;
    }
    for (int d = p.index.rank - 1; d >= 0; d--) {
        const int c = (int)split(i, p.index.size[d]);
        at += c * p.x_stride[d];
        GPU_UNROLL
        for (int a = 0; a < LT_GPU_RESIZE_AXES; a++) {
            if (a < p.n_axes && p.axis[a].dimension == d) {
                first[a] = c * p.axis[a].taps;
            }
        }
    }
    return at;
}

GPU_FN int64_t resize_offset(const lt_gpu_resize &p, int a, int entry)
{
    return a < p.n_axes ? ((const int32_t *)p.table)[p.axis[a].index + entry] * p.axis[a].x_stride
                        : 0;
}

GPU_FN float resize_weight(const lt_gpu_resize &p, int a, int entry)
{
    return a < p.n_axes ? ((const float *)p.table)[p.axis[a].weight + entry] : 1.0f;
}

GPU_FN int resize_taps(const lt_gpu_resize &p, int a)
{
    return a < p.n_axes ? p.axis[a].taps : 1;
}

template <class T, int V> GPU_FN void resize_add(const T *x, float weight, float (&sums)[V])
{
    const pack<T, V> u = load_pack<V>(x);
    GPU_UNROLL
    for (int v = 0; v < V; v++) {
        sums[v] = f_fma(weight, to_f32(u.v[v]), sums[v]);
    }
}

template <class T, int V> GPU_FN void resize_by(const lt_gpu_resize &p)
{
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        int first[LT_GPU_RESIZE_AXES];
        const T *x = (const T *)p.x + resize_place(p, (uint32_t)i, first);
        float sums[V] = {};
        for (int j = 0; j < resize_taps(p, 0); j++) {
            const T *at_0 = x + resize_offset(p, 0, first[0] + j);
            const float w_0 = resize_weight(p, 0, first[0] + j);
            for (int k = 0; k < resize_taps(p, 1); k++) {
                const T *at_1 = at_0 + resize_offset(p, 1, first[1] + k);
                const float w_1 = w_0 * resize_weight(p, 1, first[1] + k);
                for (int l = 0; l < resize_taps(p, 2); l++) {
                    const T *at_2 = at_1 + resize_offset(p, 2, first[2] + l);
                    const float w_2 = w_1 * resize_weight(p, 2, first[2] + l);
                    for (int m = 0; m < resize_taps(p, 3); m++) {
                        resize_add<T, V>(at_2 + resize_offset(p, 3, first[3] + m),
                                         w_2 * resize_weight(p, 3, first[3] + m), sums);
                    }
                }
            }
        }
        pack<T, V> out;
        GPU_UNROLL
        for (int v = 0; v < V; v++) {
            out.v[v] = from_f32<T>(sums[v]);
        }
        store_pack<V>((T *)p.y + i, out);
    }
}

template <class T, int V> GPU_FN void resize_copy_by(const lt_gpu_resize &p)
{
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        int first[LT_GPU_RESIZE_AXES];
        const T *x = (const T *)p.x + resize_place(p, (uint32_t)i, first);
        for (int a = 0; a < LT_GPU_RESIZE_AXES; a++) {
            x += resize_offset(p, a, first[a]);
        }
        store_pack<V>((T *)p.y + i, load_pack<V>(x));
    }
}

template <class T> GPU_FN bool resize_packs(const lt_gpu_resize &p)
{
    const int last = p.index.rank - 1;
    return p.packed != 0 && p.index.size[last].value % per_16_bytes<T> == 0 && aligned_16(p.x) &&
           aligned_16(p.y);
}

template <class T> GPU_FN void resize(const lt_gpu_resize &p)
{
    if (resize_packs<T>(p)) {
        resize_by<T, per_16_bytes<T>>(p);
    } else {
        resize_by<T, 1>(p);
    }
}

template <class T> GPU_FN void resize_copy(const lt_gpu_resize &p)
{
    if (resize_packs<T>(p)) {
        resize_copy_by<T, per_16_bytes<T>>(p);
    } else {
        resize_copy_by<T, 1>(p);
    }
}

} // namespace gpu

#define LT_GPU_RESIZES(function, type, name)                                                       \
    GPU_KERNEL(lt_gpu_resize_##name, lt_gpu_resize)                                                \
    {                                                                                              \
        gpu::function<type>(p);                                                                    \
    }
LT_GPU_RESIZES(resize, float, f32)
LT_GPU_RESIZES(resize, gpu::f16, f16)
LT_GPU_RESIZES(resize, gpu::bf16, bf16)
LT_GPU_RESIZES(resize_copy, uint8_t, 1)
LT_GPU_RESIZES(resize_copy, uint16_t, 2)
LT_GPU_RESIZES(resize_copy, uint32_t, 4)
LT_GPU_RESIZES(resize_copy, uint64_t, 8)
#undef LT_GPU_RESIZES

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Walking tensors by strides: a thread takes `V` elements of the innermost dimension at a time, V
 * being 16 bytes' worth where everything is dense and aligned there, otherwise 1. */
#ifndef LT_GPU_INDEX_HPP
#define LT_GPU_INDEX_HPP

#include "gpu.hpp"

namespace gpu
{

/* Where element `at` (of the dimensions `index`) lies in N tensors. */
template <int N>
GPU_FN void offsets(const lt_gpu_index &index, uint32_t at, const int64_t *const (&stride)[N],
                    int64_t (&out)[N])
{
    for (int t = 0; t < N; t++) {
        out[t] = 0;
    }
    for (int d = index.rank - 1; d > 0; d--) {
        uint32_t i = split(at, index.size[d]);
        for (int t = 0; t < N; t++) {
            out[t] += (int64_t)i * stride[t][d];
        }
    }
    if (index.rank > 0) {
        for (int t = 0; t < N; t++) {
            out[t] += (int64_t)at * stride[t][0];
        }
    }
}

/* True when a tensor's innermost dimension lets V elements of T move at once: dense, or one number
 * for all (which also loads as a pack of V by `load_inner`). */
template <int V, class T>
GPU_FN bool packs(const lt_gpu_index &index, const T *data, const int64_t *stride, bool may_repeat)
{
    const int last = index.rank - 1;
    if (last < 0 || index.size[last].value % V != 0) {
        return false;
    }
    if (stride[last] == 0 && may_repeat) {
        return true;
    }
    if (stride[last] != 1 || !aligned_16(data)) {
        return false;
    }
    for (int d = 0; d < last; d++) {
        if (stride[d] % V != 0) {
            return false;
        }
    }
    return true;
}

template <int V, class T> GPU_FN pack<T, V> load_inner(const T *p, bool repeat)
{
    if (!repeat) {
        return load_pack<V>(p);
    }
    pack<T, V> v;
    for (int i = 0; i < V; i++) {
        v.v[i] = *p;
    }
    return v;
}

} // namespace gpu

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions over any axes, ArgMax and ArgMin, Softmax and LogSoftmax; f32 sums. Bound by bytes.
 * Parameters: params/reduce.h. */
#ifndef LT_GPU_REDUCE_HPP
#define LT_GPU_REDUCE_HPP

#include "index.hpp"
#include "params/reduce.h"
#include "team.hpp"

namespace gpu
{

/* What an element adds. */
GPU_FN float reduce_map(int op, float x)
{
    switch (op) {
    case LT_GPU_REDUCE_L1:
        return f_abs(x);
    case LT_GPU_REDUCE_L2:
    case LT_GPU_REDUCE_SUM_SQUARE:
        return x * x;
    default:
        return x;
    }
}

GPU_FN float reduce_end(int op, float v, int count)
{
    switch (op) {
    case LT_GPU_REDUCE_MEAN:
        return v / (float)count;
    case LT_GPU_REDUCE_L2:
        return f_sqrt(v);
    case LT_GPU_REDUCE_LOG_SUM:
        return f_log(v);
    default:
        return v;
    }
}

GPU_FN int64_t offset(const lt_gpu_index &index, const int64_t *stride, int i)
{
    const int64_t *const strides[1] = {stride};
    int64_t at[1];
    offsets(index, (uint32_t)i, strides, at);
    return at[0];
}

/* Elements first, first + step, ... of one row. */
template <class T, class Op>
GPU_FN float reduce_part(const lt_gpu_reduce &p, int64_t base, int first, int step)
{
    const T *x = (const T *)p.x + base;
    float v = Op::start;
    for (int r = first; r < p.n_reduced; r += step) {
        v = Op::apply(v, reduce_map(p.op, to_f32(x[offset(p.reduced, p.reduced_stride, r)])));
    }
    return v;
}

template <class T, class Op> GPU_FN void reduce_block(const lt_gpu_reduce &p)
{
    for (int i = block_x(); i < p.n_kept; i += grid_x()) {
        const int64_t base = offset(p.kept, p.kept_stride, i);
        float v = reduce_part<T, Op>(p, base, thread_x(), LT_GPU_THREADS);
        v = block_reduce<Op>(v);
        if (thread_x() == 0) {
            ((T *)p.y)[i] = from_f32<T>(reduce_end(p.op, v, p.n_reduced));
        }
    }
}

template <class T, class Op> GPU_FN void reduce_thread(const lt_gpu_reduce &p)
{
    for (int64_t i = global_thread(); i < p.n_kept; i += grid_threads()) {
        const int64_t base = offset(p.kept, p.kept_stride, (int)i);
        const float v = reduce_part<T, Op>(p, base, 0, 1);
        ((T *)p.y)[i] = from_f32<T>(reduce_end(p.op, v, p.n_reduced));
    }
}

#define LT_GPU_BY_OPERATION(function)                                                              \
    switch (p.op) {                                                                                \
    case LT_GPU_REDUCE_MAX:                                                                        \
        function<T, max_op>(p);                                                                    \
        break;                                                                                     \
    case LT_GPU_REDUCE_MIN:                                                                        \
        function<T, min_op>(p);                                                                    \
        break;                                                                                     \
    case LT_GPU_REDUCE_PROD:                                                                       \
        function<T, mul_op>(p);                                                                    \
        break;                                                                                     \
    default:                                                                                       \
        function<T, add_op>(p);                                                                    \
        break;                                                                                     \
    }

template <class T> GPU_FN void reduce_by_block(const lt_gpu_reduce &p)
{
    LT_GPU_BY_OPERATION(reduce_block)
}
template <class T> GPU_FN void reduce_by_thread(const lt_gpu_reduce &p)
{
    LT_GPU_BY_OPERATION(reduce_thread)
}
#undef LT_GPU_BY_OPERATION

/* True when (v, i) goes before (w, j). */
GPU_FN bool arg_before(const lt_gpu_arg &p, float v, int i, float w, int j)
{
    if (v != w) {
        return p.smallest != 0 ? v < w : v > w;
    }
    return p.last != 0 ? i > j : i < j;
}

template <class T> GPU_FN void arg(const lt_gpu_arg &p)
{
    GPU_SHARED(float, values, LT_GPU_THREADS);
    GPU_SHARED(int, places, LT_GPU_THREADS);
    const int64_t rows = (int64_t)p.outer * p.inner;
    const int t = thread_x();
    for (int64_t row = block_x(); row < rows; row += grid_x()) {
        const T *x = (const T *)p.x + row / p.inner * p.size * p.inner + row % p.inner;
        int best = t < p.size ? t : 0;
        float v = to_f32(x[(int64_t)best * p.inner]);
        for (int i = t + LT_GPU_THREADS; i < p.size; i += LT_GPU_THREADS) {
            const float w = to_f32(x[(int64_t)i * p.inner]);
            if (arg_before(p, w, i, v, best)) {
                v = w;
                best = i;
            }
        }
        values[t] = v;
        places[t] = best;
        for (int half = LT_GPU_THREADS / 2; half > 0; half /= 2) {
            barrier();
            if (t < half &&
                arg_before(p, values[t + half], places[t + half], values[t], places[t])) {
                values[t] = values[t + half];
                places[t] = places[t + half];
            }
        }
        if (t == 0) {
            p.y[row] = places[0];
        }
        barrier();
    }
}

template <class T, class Team> GPU_FN void softmax(const lt_gpu_softmax &p)
{
    const int64_t rows = (int64_t)p.outer * p.inner;
    for (int64_t row = Team::first(); row < rows; row += Team::count()) {
        const int64_t base = row / p.inner * p.size * p.inner + row % p.inner;
        const T *x = (const T *)p.x + base;
        T *y = (T *)p.y + base;
        float largest = max_op::start;
        for (int i = member<Team>(); i < p.size; i += Team::size()) {
            largest = max_op::apply(largest, to_f32(x[(int64_t)i * p.inner]));
        }
        largest = Team::template reduce<max_op>(largest);
        float sum = 0.0f;
        for (int i = member<Team>(); i < p.size; i += Team::size()) {
            sum += f_exp(to_f32(x[(int64_t)i * p.inner]) - largest);
        }
        sum = Team::template reduce<add_op>(sum);
        const float factor = 1.0f / sum, log_sum = p.log != 0 ? f_log(sum) : 0.0f;
        for (int i = member<Team>(); i < p.size; i += Team::size()) {
            const float v = to_f32(x[(int64_t)i * p.inner]) - largest;
            y[(int64_t)i * p.inner] = from_f32<T>(p.log != 0 ? v - log_sum : f_exp(v) * factor);
        }
    }
}

} // namespace gpu

#define LT_GPU_REDUCTIONS(type, name)                                                              \
    GPU_KERNEL(lt_gpu_reduce_block_##name, lt_gpu_reduce)                                          \
    {                                                                                              \
        gpu::reduce_by_block<type>(p);                                                             \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_reduce_thread_##name, lt_gpu_reduce)                                         \
    {                                                                                              \
        gpu::reduce_by_thread<type>(p);                                                            \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_arg_##name, lt_gpu_arg)                                                      \
    {                                                                                              \
        gpu::arg<type>(p);                                                                         \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_softmax_warp_##name, lt_gpu_softmax)                                         \
    {                                                                                              \
        gpu::softmax<type, gpu::warp_team>(p);                                                     \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_softmax_block_##name, lt_gpu_softmax)                                        \
    {                                                                                              \
        gpu::softmax<type, gpu::block_team>(p);                                                    \
    }
LT_GPU_REDUCTIONS(float, f32)
LT_GPU_REDUCTIONS(gpu::f16, f16)
LT_GPU_REDUCTIONS(gpu::bf16, bf16)
#undef LT_GPU_REDUCTIONS

#endif

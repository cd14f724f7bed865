/* SPDX-License-Identifier: Apache-2.0 */
/* Fused attention without tensor cores: a block takes 32 rows of q and walks over k and v in tiles
 * of 32 rows with the online softmax (Milakov and Gimelshein, 2018; Dao et al., 2022): sums are
 * scaled down when a larger score appears, scores never leave shared memory. Storage T, all else
 * f32. 8 threads share a row: of a tile each has 4 scores (columns own + 8 j) and D / 8 sums. Bound
 * by f32 arithmetic. Parameters: params/attention.h. */
#ifndef LT_GPU_ATTENTION_HPP
#define LT_GPU_ATTENTION_HPP

#include "gpu.hpp"
#include "params/attention.h"

namespace gpu
{

constexpr int attention_rows = LT_GPU_ATTENTION_ROWS;

/* Copies up to 32 rows of `size` elements into a tile with rows of D + 1; others become 0. */
template <class T, int D, class Tile>
GPU_FN void attention_load(Tile &tile, const T *data, int64_t stride, int rows, int size,
                           float factor)
{
    for (int e = thread_x(); e < attention_rows * D; e += LT_GPU_THREADS) {
        const int row = e / D, column = e % D;
        const bool inside = row < rows && column < size;
        tile[row * (D + 1) + column] = inside ? factor * to_f32(data[row * stride + column]) : 0.0f;
    }
}

/* What is added to the score of a row and a column; -infinity hides it. */
template <class T>
GPU_FN float attention_mask(const lt_gpu_attention &p, int64_t base, int row, int column)
{
    const float hidden = max_op::start;
    if (row >= p.q_rows || column >= p.kv_rows || (p.causal != 0 && column > row + p.past)) {
        return hidden;
    }
    const int64_t at = base + row * p.mask_stride[2] + column * p.mask_stride[3];
    if (p.mask_kind != LT_GPU_MASK_NONE && column >= p.mask_columns) {
        return hidden;
    }
    switch (p.mask_kind) {
    case LT_GPU_MASK_ADDED:
        return to_f32(((const T *)p.mask)[at]);
    case LT_GPU_MASK_F32:
        return ((const float *)p.mask)[at];
    case LT_GPU_MASK_BOOL:
        return ((const uint8_t *)p.mask)[at] != 0 ? 0.0f : hidden;
    default:
        return 0.0f;
    }
}

/* Over the 8 threads of a row, which are neighbours in a warp. */
template <class Op> GPU_FN float row_reduce(float v)
{
    v = Op::apply(v, shuffle_xor(v, 4));
    v = Op::apply(v, shuffle_xor(v, 2));
    return Op::apply(v, shuffle_xor(v, 1));
}

template <class T, int D> GPU_FN void attention_item(const lt_gpu_attention &p, int64_t item)
{
    GPU_SHARED(float, q_tile, attention_rows *(D + 1));
    GPU_SHARED(float, kv_tile, attention_rows *(D + 1));
    GPU_SHARED(float, weights, attention_rows *(attention_rows + 1));
    const int blocks = (p.q_rows + attention_rows - 1) / attention_rows;
    const int first = (int)(item % blocks) * attention_rows;
    const int64_t head = item / blocks % p.heads, image = item / blocks / p.heads;
    const int64_t kv_head = head / (p.heads / p.kv_heads);
    const T *q = (const T *)p.q + image * p.q_stride[0] + head * p.q_stride[1];
    const T *k = (const T *)p.k + image * p.k_stride[0] + kv_head * p.k_stride[1];
    const T *v = (const T *)p.v + image * p.v_stride[0] + kv_head * p.v_stride[1];
    const int64_t mask = image * p.mask_stride[0] + head * p.mask_stride[1];
    const int row = thread_x() / 8, lane = thread_x() % 8;
    float sums[D / 8] = {}, total = 0.0f, largest = max_op::start;
    int columns = p.kv_rows; /* that any row of the block sees */
    if (p.causal != 0 && first + attention_rows + p.past < columns) {
        columns = first + attention_rows + p.past;
    }
    barrier(); /* those who still read the tiles of the item before */
    attention_load<T, D>(q_tile, q + first * p.q_stride[2], p.q_stride[2], p.q_rows - first,
                         p.head_size, p.scale);
    for (int c0 = 0; c0 < columns; c0 += attention_rows) {
        barrier();
        attention_load<T, D>(kv_tile, k + c0 * p.k_stride[2], p.k_stride[2], p.kv_rows - c0,
                             p.head_size, 1.0f);
        barrier();
        float scores[4] = {};
        for (int d = 0; d < p.head_size; d++) {
            const float u = q_tile[row * (D + 1) + d];
            GPU_UNROLL
            for (int j = 0; j < 4; j++) {
                scores[j] = f_fma(u, kv_tile[(lane + 8 * j) * (D + 1) + d], scores[j]);
            }
        }
        float most = largest;
        GPU_UNROLL
        for (int j = 0; j < 4; j++) {
            scores[j] += attention_mask<T>(p, mask, first + row, c0 + lane + 8 * j);
            most = max_op::apply(most, scores[j]);
        }
        most = row_reduce<max_op>(most);
        const bool none = most == max_op::start; /* nothing seen yet */
        const float shrink = none ? 1.0f : f_exp(largest - most);
        float added = 0.0f;
        GPU_UNROLL
        for (int j = 0; j < 4; j++) {
            const float weight = none ? 0.0f : f_exp(scores[j] - most);
            weights[row * (attention_rows + 1) + lane + 8 * j] = weight;
            added += weight;
        }
        total = total * shrink + row_reduce<add_op>(added);
        largest = most;
        barrier();
        attention_load<T, D>(kv_tile, v + c0 * p.v_stride[2], p.v_stride[2], p.kv_rows - c0,
                             p.v_size, 1.0f);
        barrier();
        GPU_UNROLL
        for (int j = 0; j < D / 8; j++) {
            sums[j] *= shrink;
        }
        for (int c = 0; c < attention_rows; c++) {
            const float weight = weights[row * (attention_rows + 1) + c];
            GPU_UNROLL
            for (int j = 0; j < D / 8; j++) {
                sums[j] = f_fma(weight, kv_tile[c * (D + 1) + lane + 8 * j], sums[j]);
            }
        }
    }
    if (first + row < p.q_rows) {
        T *y =
            (T *)p.y + image * p.y_stride[0] + head * p.y_stride[1] + (first + row) * p.y_stride[2];
        const bool none = largest == max_op::start;
        const float factor = 1.0f / total;
        GPU_UNROLL
        for (int j = 0; j < D / 8; j++) {
            if (lane + 8 * j < p.v_size) {
                y[lane + 8 * j] = from_f32<T>(none ? p.nothing : sums[j] * factor);
            }
        }
    }
}

template <class T, int D> GPU_FN void attention(const lt_gpu_attention &p)
{
    const int blocks = (p.q_rows + attention_rows - 1) / attention_rows;
    for (int64_t item = block_x(); item < (int64_t)p.batch * p.heads * blocks; item += grid_x()) {
        attention_item<T, D>(p, item);
    }
}

} // namespace gpu

#define LT_GPU_ATTENTIONS(type, name)                                                              \
    GPU_KERNEL(lt_gpu_attention_##name##_64, lt_gpu_attention)                                     \
    {                                                                                              \
        gpu::attention<type, 64>(p);                                                               \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_attention_##name##_128, lt_gpu_attention)                                    \
    {                                                                                              \
        gpu::attention<type, 128>(p);                                                              \
    }
LT_GPU_ATTENTIONS(float, f32)
LT_GPU_ATTENTIONS(gpu::f16, f16)
LT_GPU_ATTENTIONS(gpu::bf16, bf16)
#undef LT_GPU_ATTENTIONS

#endif

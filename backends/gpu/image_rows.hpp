/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a convolution's implicit matrix: which pixels of x a thread fetches for gemm_tile. */
#ifndef LT_GPU_IMAGE_ROWS_HPP
#define LT_GPU_IMAGE_ROWS_HPP

#include "gemm_tile.hpp"
#include "params/conv.h"

namespace gpu
{

/* Of this thread's rows among B from pixel `first` of y on. */
template <int B> struct image_rows {
    static constexpr int per_thread = B * gemm_k / LT_GPU_THREADS;
    int image[per_thread]; /* negative: past the last row */
    int top[per_thread];   /* the window's corner */
    int left[per_thread];

    GPU_FN image_rows(const lt_gpu_window &w, int64_t first, int64_t pixels)
    {
        GPU_UNROLL
        for (int e = 0; e < per_thread; e++) {
            int i, unused;
            place(e, i, unused);
            uint32_t at = (uint32_t)(first + i);
            const int column = (int)split(at, w.out_w);
            const int row = (int)split(at, w.out_h);
            image[e] = first + i < pixels ? (int)at : -1;
            top[e] = row * w.stride_h - w.pad_top;
            left[e] = column * w.stride_w - w.pad_left;
        }
    }
    GPU_FN void place(int e, int &i, int &k) const
    {
        i = (thread_x() + e * LT_GPU_THREADS) / gemm_k;
        k = thread_x() % gemm_k;
    }
    /* The pixel of x under tap (kh, kw) of row e; -1: padding, -2: no such row. */
    GPU_FN int64_t pixel(const lt_gpu_window &w, int e, int kh, int kw) const
    {
        int row = top[e] + kh * w.dilation_h, column = left[e] + kw * w.dilation_w;
        if (image[e] < 0) {
            return -2;
        }
        if (w.spread_h != 0) {
            if (row % w.spread_h != 0 || column % w.spread_w != 0) {
                return -1;
            }
            row /= w.spread_h;
            column /= w.spread_w;
        }
        if (row < 0 || row >= w.height || column < 0 || column >= w.width) {
            return -1;
        }
        return ((int64_t)image[e] * w.height + row) * w.width + column;
    }
};

} // namespace gpu

#endif

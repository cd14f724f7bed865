/* SPDX-License-Identifier: Apache-2.0 */
/* mma.hpp's runs of products where each warp multiplies alone. */
#ifndef LT_GPU_MMA_ALONE_HPP
#define LT_GPU_MMA_ALONE_HPP

namespace gpu
{

template <class T, int D, int N, class Tile>
GPU_FN void mma_rows(float (&c)[N][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    warp_mma_rows<T, D>(c, a, s, at, k);
}

template <class T, int D, class Tile>
GPU_FN void mma_columns(float (&c)[D / 8][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    warp_mma_columns<T, D>(c, a, s, at, k);
}

GPU_FN void mma_visible()
{
}

template <int D, int N> GPU_FN void mma_begin(float (&)[N][4])
{
}

template <int D, int N> GPU_FN void mma_end(float (&)[N][4])
{
}

} // namespace gpu

#endif

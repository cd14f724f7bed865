/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNormalization at the end of a product: D = (x - mean) / sqrt(variance + epsilon) * scale + bias
 * by rows of x = A B + bias + residual.
 *
 * A warpgroup's tile is 128 rows of 128 columns; the others of those rows are computed at the same
 * time by other blocks: tiles of a row follow each other (swath 1), and the grid is a multiple of
 * them. Each leaves mean and sum of squared differences of its columns in `moments`, waits until all
 * of its rows' have arrived (a word of `meetings` for every 128 rows, 0 again when the last has
 * passed) and puts them together; meanwhile the block's other warpgroup multiplies. Moments are f32
 * and about the tile's own mean, so that no squares cancel.
 * All blocks have room at one time (the grid is at most one a multiprocessor). Where others' kernels
 * leave less, the blocks of a row are neighbours in the grid and share their rows in all rounds, so
 * that those of which all have started end, and the rest find room, unless so many streams run this
 * kernel that blocks of rows of which some have not started fill the device:
 * lt_cuda_gemm_norm_may_wait bounds them. */
#ifndef LEAT_CUDA_GEMM_NORM_END_H
#define LEAT_CUDA_GEMM_NORM_END_H

#include "tile_end.cuh"

namespace gemm
{

/* A thread has four rows of a tile: r % 2 is upper or lower, r / 2 the part of 64 rows. */
constexpr uint32_t NORM_ROWS = 4;

/* Element i of a thread's row r. */
template <class C> __device__ __forceinline__ constexpr uint32_t norm_element(uint32_t r, uint32_t i)
{
    return r / 2 * (C::COLUMNS / 2) + i / 2 * 4 + r % 2 * 2 + i % 2;
}

__device__ __forceinline__ uint32_t norm_row(const place &at, uint32_t r)
{
    return at.row + r / 2 * 64 + r % 2 * 8 + threadIdx.x % 32 / 4;
}

/* Over the four threads that share a row. */
__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

template <class C>
__device__ __forceinline__ void norm_add_bias(float (&sums)[C::SUMS], const place &at)
{
#pragma unroll
    for (uint32_t i = 0; i < C::COLUMNS / 4; i += 2) {
        const uint2 pair = number_pair(at, 0, threadIdx.x % 4 * 2 + i * 4);
#pragma unroll
        for (uint32_t r = 0; r < NORM_ROWS; r++) {
            sums[norm_element<C>(r, i)] += __uint_as_float(pair.x);
            sums[norm_element<C>(r, i + 1)] += __uint_as_float(pair.y);
        }
    }
}

/* Mean and sum of squared differences of a row's columns in this tile. */
template <class C>
__device__ __forceinline__ float2 norm_moments(const float (&sums)[C::SUMS], uint32_t r)
{
    float total[2] = {0.0f, 0.0f}, squares[2] = {0.0f, 0.0f};
#pragma unroll
    for (uint32_t i = 0; i < C::COLUMNS / 4; i++) {
        total[i % 2] += sums[norm_element<C>(r, i)];
    }
    const float mean = quad_sum(total[0] + total[1]) * (1.0f / C::COLUMNS);
#pragma unroll
    for (uint32_t i = 0; i < C::COLUMNS / 4; i++) {
        const float d = sums[norm_element<C>(r, i)] - mean;
        squares[i % 2] = fmaf(d, d, squares[i % 2]);
    }
    return make_float2(mean, quad_sum(squares[0] + squares[1]));
}

/* Waits until the warpgroups of all tiles of these rows have come here. */
__device__ __forceinline__ void norm_meet(const lt_cuda_gemm_params &p, uint32_t row,
                                          uint32_t group)
{
    ptx::group_sync(1 + group, 128);
    if (threadIdx.x % 128 == 0) {
        const uint64_t word = p.meetings + row / LT_GEMM_NORM_MEETING_ROWS * 4;
        ptx::add_release(word, 1);
        while (ptx::load_acquire(word) < p.tiles_n) {
        }
        if (ptx::add_release(word, 1) == 2 * p.tiles_n - 1) { /* all have passed */
            *(volatile uint32_t *)word = 0;
        }
    }
    ptx::group_sync(1 + group, 128);
}

/* The whole row's 1 / deviation and -mean / deviation of all tiles' moments; own: this one's. */
template <class C>
__device__ __forceinline__ float2 norm_of_row(const lt_cuda_gemm_params &p, uint32_t row,
                                              float own)
{
    float differences = 0.0f, squared = 0.0f, squares = 0.0f;
    for (uint32_t t = threadIdx.x % 4; t < p.tiles_n; t += 4) {
        const float2 v = ptx::load_shared_pair(p.moments + ((uint64_t)row * p.tiles_n + t) * 8);
        const float d = v.x - own;
        differences += d;
        squared = fmaf(d, d, squared);
        squares += v.y;
    }
    differences = quad_sum(differences);
    squared = quad_sum(squared);
    squares = quad_sum(squares);
    const float shift = differences / (float)p.tiles_n;
    const float all = fmaf(fmaf(-differences, shift, squared), (float)C::COLUMNS, squares);
    const float inverse = rsqrtf(all / (float)p.n + p.epsilon);
    return make_float2(inverse, -(own + shift) * inverse);
}

template <class C>
__device__ __forceinline__ void finish_norm(const lt_cuda_gemm_params &p, float (&sums)[C::SUMS],
                                            place at, uint32_t group)
{
    static_assert(C::PARTS == 2 && C::COLUMNS == LT_GEMM_NORM_COLUMNS, "a thread's four rows");
    const uint32_t tile = at.column / C::COLUMNS, quad = threadIdx.x % 4;
    float means[NORM_ROWS];
    float2 norms[NORM_ROWS];
    norm_add_bias<C>(sums, at);
#pragma unroll
    for (uint32_t r = 0; r < NORM_ROWS; r++) {
        const float2 own = norm_moments<C>(sums, r);
        means[r] = own.x;
        if (quad == r) { /* rows beyond m have room, too */
            ((float2 *)p.moments)[(uint64_t)norm_row(at, r) * p.tiles_n + tile] = own;
        }
    }
    norm_meet(p, at.row, group);
#pragma unroll
    for (uint32_t r = 0; r < NORM_ROWS; r++) {
        norms[r] = norm_of_row<C>(p, norm_row(at, r), means[r]);
    }
#pragma unroll
    for (uint32_t i = 0; i < C::COLUMNS / 4; i += 2) {
        const uint2 scale = number_pair(at, 1, quad * 2 + i * 4);
        const uint2 bias = number_pair(at, 2, quad * 2 + i * 4);
#pragma unroll
        for (uint32_t r = 0; r < NORM_ROWS; r++) {
            float &x = sums[norm_element<C>(r, i)], &y = sums[norm_element<C>(r, i + 1)];
            x = fmaf(fmaf(x, norms[r].x, norms[r].y), __uint_as_float(scale.x),
                     __uint_as_float(bias.x));
            y = fmaf(fmaf(y, norms[r].x, norms[r].y), __uint_as_float(scale.y),
                     __uint_as_float(bias.y));
        }
    }
    constexpr uint32_t TAKEN = C::PASS / 2;
#pragma unroll
    for (uint32_t pass = 0; pass < C::SUMS / TAKEN; pass++) {
        place to = at;
        to.row += pass * C::PASS / C::COLUMNS * 64;
        to.column += pass * C::PASS % C::COLUMNS;
        store_by_engine<typename C::T>(p, reinterpret_cast<float(&)[TAKEN]>(sums[pass * TAKEN]),
                                       to);
    }
}

} // namespace gemm

#endif

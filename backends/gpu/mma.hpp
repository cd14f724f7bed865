/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Words of kernels for tensor cores, beside those of gpu.hpp: 16 x 8 x 16 products of a warp of 32
 * lanes, loads of their operands, copies that run on. NVIDIA's fragments (PTX ISA, "mma.m16n8k16");
 * the plain C++ form moves them by shuffles, and 64 lanes are two warps to it.
 *
 *   mma<T>(c, a, b0, b1)    c += A B. Lane l has c[0], c[1] of row l / 4, columns 2 (l % 4) and
 *                           one more; c[2], c[3] eight rows below. a[0] holds A's row l / 4 and
 *                           columns as those of c, a[1] eight rows below, a[2] and a[3] the
 *                           columns eight further; b0 B's column l / 4 and rows as c's columns,
 *                           b1 those eight further
 *   load_matrices(v, s, at) four 8 x 8 matrices of halves from the shared array s of uint16_t;
 *                           `at` of lane l is where row l % 8 of matrix l / 8 begins (aligned
 *                           on 8). v[i]: of matrix i row l / 4, columns 2 (l % 4) and one more
 *   load_transposed(v, s, at)        the same of the transposed matrices
 *   copy_8(s, at, source, take)      8 halves from global memory to s[at], zeros unless `take`; both
 *                                    aligned on 16 bytes. Done after copies_wait and a barrier
 *   copies_wait()           for this thread's copies
 *   pair<T>(low, high)      two numbers rounded to T
 *   mma_rows<T, D>(c, a, s, at, k)   c += A B over 16 elements of k: B's columns are c's rows of D
 *                           halves from s[at] on, of each its elements 16 k to 16 k + 15. Pieces of
 *                           8 halves of row r are exchanged by r % 8, and at is a multiple of 8 rows
 *   mma_columns<T, D>(c, a, s, at, k)        the same where B is rows 16 k to 16 k + 15 from s[at]
 *                           on, and its D columns are those of the rows
 *   mma_visible()           before the barrier behind which others' mma_rows read what this thread
 *                           copied or wrote
 *   mma_begin(c), mma_end(c)         around a run of mma_rows or mma_columns into c. Where four
 *                           warps multiply together (sm_90a) they run on in between, and the four
 *                           that lie together in a block do all this in step
 *   to_tf32(x)              the bits of x rounded to 10 bits of fraction, ties away from zero
 *   mma_tf32(c, a, b0, b1)  the same as mma of 16 x 8 x 8 such numbers: a[0] holds A's row l / 4
 *                           and column l % 4, a[1] eight rows below, a[2] and a[3] the column four
 *                           further; b0 B's column l / 4 and row l % 4, b1 the row four further
 *   f_exp2(x)               2^x to 2^-21
 *   f_larger(a, b)          the larger; of a number and NaN the number */
/* clang-format on */
#ifndef LT_GPU_MMA_HPP
#define LT_GPU_MMA_HPP

#include "gpu.hpp"

#if defined(__CUDACC__)
#include "mma_cuda.hpp"
#else
#include "mma_emulate.hpp"
#endif

namespace gpu
{

/* Where piece `piece` of row `row` begins among rows of D halves. */
template <int D> GPU_FN int exchanged(int row, int piece)
{
    return row * D + ((piece ^ (row & 7)) << 3);
}

/* The two, by products of a warp. */
template <class T, int D, int N, class Tile>
GPU_FN void warp_mma_rows(float (&c)[N][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    const int lane = thread_x() % 32;
    const int row = (lane >> 4) * 8 + (lane & 7), piece = lane >> 3 & 1;
    GPU_UNROLL
    for (int n = 0; n < N; n += 2) {
        uint32_t b[4];
        load_matrices(b, s, at + exchanged<D>(8 * n + row, 2 * k + piece));
        mma<T>(c[n], a, b[0], b[1]);
        mma<T>(c[n + 1], a, b[2], b[3]);
    }
}

template <class T, int D, class Tile>
GPU_FN void warp_mma_columns(float (&c)[D / 8][4], const uint32_t (&a)[4], Tile &s, int at, int k)
{
    const int lane = thread_x() % 32;
    const int row = (lane >> 3 & 1) * 8 + (lane & 7), piece = lane >> 4;
    GPU_UNROLL
    for (int n = 0; n < D / 8; n += 2) {
        uint32_t b[4];
        load_transposed(b, s, at + exchanged<D>(16 * k + row, n + piece));
        mma<T>(c[n], a, b[0], b[1]);
        mma<T>(c[n + 1], a, b[2], b[3]);
    }
}

} // namespace gpu

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "mma_group.hpp"
#else
#include "mma_alone.hpp"
#endif

#endif

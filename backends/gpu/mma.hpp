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

#endif
